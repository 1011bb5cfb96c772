"""Flips of one group whose rows are moved along derivatives of a surrogate: gradient optimisation and influence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...core import CapabilityError, Dataset, Poison
from ...risk import MINRES, Everywhere, Identity, ProjectedGradient, Sample
from ...subpopulations.matching import Subpopulation
from ...subpopulations.trainers import RiskPredictor
from ..gradient import FixedModelAttack
from .flips import LabelFlip

Rows = Sample | Dataset | Poison


@dataclass(frozen=True, eq=False)
class MovedFlips:
    """Label flips whose rows are then moved at the surrogate's parameters, against the loss of the subpopulation.

    With the attack `FixedModelAttack` and its solver `Identity` this is gradient optimisation,

    ::

        minimise over x_j   < grad L(auxiliary rows of the group, true labels), mean_j grad l(x_j, flipped label) >

    with any other solver the influence attack; with `GradientMatching` (labels "true") gradient matching. The
    paper maximises the product, which is right for labels that the attacker wants, not for true ones.

    Parameters
    ----------
    attack : object with ``craft(risk, w, train, seeds, target)``
        See `gradient_optimization` and `influence`.
    flip : LabelFlip
        Where the rows begin, and their label.

    References
    ----------
    Jagielski et al. (2021), sections 4.3 and 4.4.
    """

    attack: Any
    flip: LabelFlip = field(default_factory=LabelFlip)

    def poison(self, auxiliary: Sample, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Sample:
        """See `SubpopulationAttack.poison`; the surrogate must be that of a `RiskTrainer`."""
        if not isinstance(surrogate, RiskPredictor):
            raise CapabilityError("a surrogate with derivatives, as `RiskTrainer` trains", type(surrogate).__name__)
        start = self.flip.poison(auxiliary, group, count, surrogate, seed)
        target = auxiliary.take(group.mask(auxiliary))
        return Sample(self.moved(surrogate, auxiliary, target, start), start.y)

    def moved(self, surrogate: RiskPredictor, known: Rows, target: Rows, flips: Rows) -> Any:
        """The rows of flips after they have moved, against the loss of a target among the rows that are known."""
        risk, w = surrogate.risk, surrogate.w
        train, seeds, aim = (Sample(risk.rows(rows.X), rows.y) for rows in (known, flips, target))
        X = self.attack.craft(risk, w, train, seeds, aim).poison.X
        return X.detach().cpu().numpy() if hasattr(X, "detach") else np.asarray(X)


def gradient_optimization(projection: Any = None, *, steps: int = 50, step: float | None = None) -> MovedFlips:
    """Gradient optimisation: move label flips along the target's gradient, as if the Hessian were the identity.

    Parameters
    ----------
    projection : linpoison.risk.Projection, optional
        Where rows may lie, `Everywhere()` by default, where the objective has no lower bound.
    steps : int, default 50
    step : float, optional
        See `ProjectedGradient`.
    """
    return _moved(Identity(), projection, steps, step)


def influence(projection: Any = None, *, solver: Any = None, steps: int = 50, step: float | None = None) -> MovedFlips:
    """The influence attack: gradient optimisation with the inverse of the Hessian on the auxiliary rows.

    Parameters
    ----------
    projection, steps, step
        As for `gradient_optimization`.
    solver : linpoison.risk.InverseHVP, optional
        ``MINRES()`` by default.
    """
    return _moved(MINRES() if solver is None else solver, projection, steps, step)


def _moved(solver: Any, projection: Any, steps: int, step: float | None) -> MovedFlips:
    place = Everywhere() if projection is None else projection
    labels: Literal["true"] = "true"
    return MovedFlips(FixedModelAttack(solver, ProjectedGradient(step, steps), place, labels))
