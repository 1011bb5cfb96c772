"""Poison made at fixed parameters: gradient optimisation, influence, gradient matching."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...core import InputError
from ...core.validation import Array
from ...risk.arrays import movable
from ...risk.descent import Optimiser, Progress, ProjectedGradient, silent
from ...risk.fields import Align, Match, PoisonObjective
from ...risk.implicit import hessian
from ...risk.projections import Everywhere
from ...risk.protocols import InverseHVP, Projection, Risk, Solution, Vector
from ...risk.ranks import Alone
from ...risk.samples import Sample
from ...risk.solvers import Identity


@dataclass(frozen=True, eq=False)
class Crafted:
    """Poison made at fixed parameters.

    Parameters
    ----------
    poison : Sample
    history : ndarray
        Values of the objective at the start and after each step.
    solution : Solution or None
        Of the linear system, if there was one.
    """

    poison: Sample
    history: Array
    solution: Solution | None


@dataclass(frozen=True)
class FixedModelAttack:
    """Move poison rows, the model held fixed, so that a step of training on them raises the loss of other rows.

    ::

        minimise_(Z)  s sum_j a_j <u, d/dw l(z_j, y_j; w)>,     H u = grad L_t(w),     a_j = c_j / sum c

    with ``s = 1`` where the target rows carry their true labels, and ``s = -1`` where they carry labels that the
    attacker wants. `solver` Identity is gradient optimisation, any other an influence attack.

    The published objective of gradient optimisation maximises the inner product, which is right for the
    attacker's labels only; published code minimises, with true labels.

    Parameters
    ----------
    solver : InverseHVP, default Identity()
    optimiser : Optimiser, default ProjectedGradient(steps=50)
    projection : Projection, default Everywhere()
        The objective has no lower bound on rows that may lie anywhere.
    labels : {"true", "adversary"}, default "true"

    References
    ----------
    Jagielski et al., "Subpopulation data poisoning attacks", 2021, section 4.3; Koh, Liang (2017), section 5.2.
    """

    solver: InverseHVP = field(default_factory=Identity)
    optimiser: Optimiser = field(default_factory=lambda: ProjectedGradient(steps=50))
    projection: Projection = field(default_factory=Everywhere)
    labels: Literal["true", "adversary"] = "true"

    def __post_init__(self) -> None:
        _sign(self.labels)

    def run(
        self, risk: Risk, w: Vector, train: Sample, seeds: Sample, target: Sample, *, progress: Progress = silent
    ) -> Crafted:
        """Move `seeds`, which keep their labels, against the loss of `target`.

        Parameters
        ----------
        risk : Risk
        w : Vector
            The model, learned on `train`.
        train : Sample
            Rows of the Hessian; not used by Identity.
        seeds : Sample
            Poison rows to begin with.
        target : Sample
            Rows whose loss is to grow (labels "true") or to fall ("adversary").
        """
        slope = risk.data_grad(w, target.X, target.y, target.weights)
        solution = self.solver.solve(hessian(risk, w, train), slope)
        field_ = Align(_sign(self.labels) * solution.x)
        return _craft(self.optimiser, self.projection, risk, w, seeds, (field_, solution), progress)


@dataclass(frozen=True)
class GradientMatching:
    """Move poison rows, the model held fixed, until their gradient points the way of the attacker's.

    ::

        minimise_(Z)  1 - cos( sum_j a_j d/dw l(z_j, y_j; w),  s grad L_t(w) )

    with ``s = 1`` where the target rows carry labels that the attacker wants, and ``s = -1`` for true labels.

    Parameters
    ----------
    optimiser, projection, labels
        As for `FixedModelAttack`; labels are "adversary" by default.

    References
    ----------
    Geiping et al., "Witches' Brew", 2021, equation (3).
    """

    optimiser: Optimiser = field(default_factory=lambda: ProjectedGradient(steps=250))
    projection: Projection = field(default_factory=Everywhere)
    labels: Literal["true", "adversary"] = "adversary"

    def __post_init__(self) -> None:
        _sign(self.labels)

    def run(self, risk: Risk, w: Vector, seeds: Sample, target: Sample, *, progress: Progress = silent) -> Crafted:
        """Move `seeds`, which keep their labels."""
        slope = risk.data_grad(w, target.X, target.y, target.weights)
        field_ = Match(-_sign(self.labels) * slope)
        return _craft(self.optimiser, self.projection, risk, w, seeds, (field_, None), progress)


def _craft(
    optimiser: Optimiser,
    projection: Projection,
    risk: Risk,
    w: Vector,
    seeds: Sample,
    aim: tuple[Any, Solution | None],
    progress: Progress,
) -> Crafted:
    rows = seeds.take(range(seeds.n))
    objective = PoisonObjective(risk, w, aim[0], rows.y, rows.mass / rows.total)
    start = projection.project(movable(risk.rows(rows.X)))
    found = optimiser.minimise(objective, start, projection, tol=-np.inf, ranks=Alone(), progress=progress)
    return Crafted(Sample(found.X, rows.y, rows.mass), found.history, aim[1])


def _sign(labels: str) -> float:
    if labels not in ("true", "adversary"):
        raise InputError("labels 'true' or 'adversary'", repr(labels))
    return 1.0 if labels == "true" else -1.0
