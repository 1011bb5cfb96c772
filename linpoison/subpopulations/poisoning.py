"""Attacks on one subpopulation that any learner can be given: label flips, and flips whose rows are moved."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from ..attacks.gradient import FixedModelAttack
from ..core.errors import CapabilityError, InputError
from ..core.validation import check_integer, check_number
from ..risk import CG, Everywhere, Identity, ProjectedGradient, Sample
from .matching import Subpopulation
from .population import Population
from .trainers import RiskPredictor


class SubpopulationAttack(Protocol):
    """Makes poison from what the attacker sees."""

    def poison(self, auxiliary: Population, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Population:
        """`count` poison rows against `group`; `surrogate` was trained on the auxiliary rows."""


def poison_count(alpha: float, group: Subpopulation, auxiliary: Population) -> int:
    """``alpha m``, rounded, but at least 1: the poison for m auxiliary rows of the group.

    Raises
    ------
    InputError
        If no auxiliary row is in the group.
    """
    check_number(alpha, "alpha", above=0, remedy="It is the poison as a multiple of the group's auxiliary rows.")
    members = int(group.mask(auxiliary).sum())
    if not members:
        raise InputError(f"auxiliary rows of {group.name}", "none")
    return max(round(alpha * members), 1)


@dataclass(frozen=True)
class LabelFlip:
    """Auxiliary rows of the subpopulation under one wrong label, the same for all of them.

    Rows are drawn without replacement as long as they last: each is used ``floor(count / m)`` or
    ``ceil(count / m)`` times.

    Parameters
    ----------
    label : {"loss", "rarest"} or a class, default "loss"
        "loss": the label under which the surrogate's mean loss on the rows is greatest (from `predict_proba`, from
        `decision_function` of two classes, or from predictions, whichever there is first). "rarest": the class
        that the fewest rows of the subpopulation have (what the published image code does).

    References
    ----------
    Jagielski et al. (2021), section 4.2.
    """

    label: Hashable = "loss"

    def poison(self, auxiliary: Population, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Population:
        """See `SubpopulationAttack.poison`."""
        members = np.flatnonzero(group.mask(auxiliary))
        if not members.size:
            raise InputError(f"auxiliary rows of {group.name}", "none")
        rng = np.random.default_rng(seed)
        repeats = -(-check_integer(count, "count", at_least=1) // members.size)
        drawn = np.concatenate([rng.permutation(members) for _ in range(repeats)])[:count]
        rows = auxiliary.take(drawn)
        wrong = self.wrong_label(auxiliary, auxiliary.take(members), surrogate)
        return Population(rows.X, np.full(count, wrong, dtype=auxiliary.y.dtype))

    def wrong_label(self, auxiliary: Population, rows: Population, surrogate: Any) -> Any:
        """The label that all poison rows get."""
        classes = np.unique(auxiliary.y)
        if self.label == "rarest":
            return classes[np.argmin([(rows.y == label).sum() for label in classes])]
        if self.label == "loss":
            return classes[np.argmin(_support(classes, rows.X, surrogate))]
        if self.label not in classes.tolist():
            raise InputError(f"'loss', 'rarest' or a label among {classes.tolist()}", repr(self.label))
        return self.label


def _support(classes: Any, X: Any, surrogate: Any) -> Any:
    """For each class a number that is less where its mean loss is greater."""
    if isinstance(surrogate, RiskPredictor):
        rows = surrogate.risk.rows(X)
        losses = [surrogate.risk.loss(surrogate.w, rows, np.full(len(rows), label)) for label in classes]
        return [-float(loss.mean()) for loss in losses]
    if hasattr(surrogate, "predict_proba"):
        return np.log(np.maximum(surrogate.predict_proba(X), 1e-12)).mean(axis=0)
    if hasattr(surrogate, "decision_function") and len(classes) == 2:
        score = float(np.mean(surrogate.decision_function(X)))
        return [-score, score]
    predicted = np.asarray(surrogate.predict(X))
    return [(predicted == label).mean() for label in classes]


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

    def poison(self, auxiliary: Population, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Population:
        """See `SubpopulationAttack.poison`; the surrogate must be that of a `RiskTrainer`."""
        if not isinstance(surrogate, RiskPredictor):
            raise CapabilityError("a surrogate with derivatives, as `RiskTrainer` trains", type(surrogate).__name__)
        risk, w = surrogate.risk, surrogate.w
        start = self.flip.poison(auxiliary, group, count, surrogate, seed)
        seeds = Sample(risk.rows(start.X), start.y)
        target = auxiliary.take(group.mask(auxiliary))
        aim = Sample(risk.rows(target.X), target.y)
        train = Sample(risk.rows(auxiliary.X), auxiliary.y)
        moved = self.attack.craft(risk, w, train, seeds, aim).poison.X
        X = moved.detach().cpu().numpy() if hasattr(moved, "detach") else np.asarray(moved)
        return Population(X, start.y)


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
        ``CG()`` by default.
    """
    return _moved(CG() if solver is None else solver, projection, steps, step)


def _moved(solver: Any, projection: Any, steps: int, step: float | None) -> MovedFlips:
    place = Everywhere() if projection is None else projection
    labels: Literal["true"] = "true"
    return MovedFlips(FixedModelAttack(solver, ProjectedGradient(step, steps), place, labels))
