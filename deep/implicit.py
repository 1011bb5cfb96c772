"""How a loss on other rows moves with the training rows, through what is learned from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from linpoison.core import InputError
from linpoison.core.validation import Array

from .arrays import movable, per_row, to_numpy
from .descent import Optimiser, Progress, ProjectedGradient, silent
from .fields import Align, Match, PoisonObjective
from .projections import Everywhere
from .protocols import HVP, InverseHVP, Projection, RiskModel, Solution, Vector
from .samples import Sample
from .solvers import CG, Identity


def hessian(risk: RiskModel, w: Vector, data: Sample) -> HVP:
    """Products with the Hessian of the objective at `w`, over all rows in a fixed order."""
    return lambda v: risk.hvp(w, data.X, data.y, v, data.weights)


def sampled_hessian(risk: RiskModel, w: Vector, data: Sample, batch_size: int, seed: int) -> HVP:
    """Products with the Hessian over rows drawn afresh each time: with `Neumann` the estimator LiSSA."""
    rng, chance = np.random.default_rng(seed), data.mass / data.total

    def product(v: Vector) -> Vector:
        batch = data.take(rng.choice(data.n, size=batch_size, p=chance))
        return risk.hvp(w, batch.X, batch.y, v)

    return product


@dataclass(frozen=True, eq=False)
class TotalGradient:
    """Derivative of a validation loss in training rows.

    Parameters
    ----------
    value : float
        The mean validation loss.
    rows : Rows
        In each row, all of its copies moved at once.
    counts : ndarray
        In the number of copies of each row.
    solution : Solution
        Of the linear system, with its residual and the sign of the curvature.
    """

    value: float
    rows: Any
    counts: Array
    solution: Solution


def total_gradient(
    risk: RiskModel,
    w: Vector,
    train: Sample,
    poison: Sample,
    validation: Sample,
    solver: InverseHVP = CG(),  # noqa: B008
) -> TotalGradient:
    """The derivative, by the implicit function theorem, of the validation loss of what is learned.

    With w the minimiser of the objective on `train`, N the copies in it, and ``u = H^(-1) grad L_v(w)``::

        d L_v / d z_j = -(c_j / N) C(z_j)' u,        d L_v / d c_j = -(1 / N) <d/dw l(z_j; w) + reg P w, u>

    Parameters
    ----------
    risk : RiskModel
    w : Vector
        Where the gradient on `train` vanishes; otherwise the result is approximate.
    train : Sample
        All training rows, poison included.
    poison : Sample
        The rows to differentiate in, with their copies.
    validation : Sample
    solver : InverseHVP, default CG()
        Damped by default: undamped conjugate gradients are for objectives known to be convex.

    References
    ----------
    Lu, Kamath, Yu (2022), equation (5), there as the total derivative of the leader; Koh, Liang (2017), equation (5),
    of which this is the version for rows that were trained on.

    Examples
    --------
    >>> from deep import LBFGSTrainer, LinearRisk
    >>> from linpoison.losses import Squared
    >>> risk, rows = LinearRisk(Squared(), 1.0, fit_intercept=False), Sample([[1.0], [-1.0]], [1.0, -1.0])
    >>> w = LBFGSTrainer().fit(risk, rows).w  # 1 / 2, with both rows at x: 1 / (x^2 + 1) x
    >>> total_gradient(risk, w, rows, rows, rows, CG(relative_damping=0)).rows.round(6) + 0.0
    array([[0.],
           [0.]])
    """
    slope = risk.data_grad(w, validation.X, validation.y, validation.weights)
    solution = solver.solve(hessian(risk, w, train), slope)
    u, rows = solution.x, movable(risk.rows(poison.X)) if poison.y is not None else poison.X
    mixed = risk.mixed_product(w, rows, poison.y, u)
    pulls = to_numpy(risk.loss_jvp(w, rows, poison.y, u)) + float(risk.penalty_grad(w) @ u)
    value = float(np.average(to_numpy(risk.loss(w, validation.X, validation.y)), weights=validation.mass))
    return TotalGradient(value, per_row(-poison.mass / train.total, mixed) * mixed, -pulls / train.total, solution)


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
        self, risk: RiskModel, w: Vector, train: Sample, seeds: Sample, target: Sample, *, progress: Progress = silent
    ) -> Crafted:
        """Move `seeds`, which keep their labels, against the loss of `target`.

        Parameters
        ----------
        risk : RiskModel
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

    def run(self, risk: RiskModel, w: Vector, seeds: Sample, target: Sample, *, progress: Progress = silent) -> Crafted:
        """Move `seeds`, which keep their labels."""
        slope = risk.data_grad(w, target.X, target.y, target.weights)
        field_ = Match(-_sign(self.labels) * slope)
        return _craft(self.optimiser, self.projection, risk, w, seeds, (field_, None), progress)


def _craft(
    optimiser: Optimiser,
    projection: Projection,
    risk: RiskModel,
    w: Vector,
    seeds: Sample,
    aim: tuple[Any, Solution | None],
    progress: Progress,
) -> Crafted:
    from .ranks import Alone

    rows = seeds.take(range(seeds.n))
    objective = PoisonObjective(risk, w, aim[0], rows.y, rows.mass / rows.total)
    start = projection.project(movable(risk.rows(rows.X)))
    found = optimiser.minimise(objective, start, projection, tol=-np.inf, ranks=Alone(), progress=progress)
    return Crafted(Sample(found.X, rows.y, rows.mass), found.history, aim[1])


def _sign(labels: str) -> float:
    if labels not in ("true", "adversary"):
        raise InputError("labels 'true' or 'adversary'", repr(labels))
    return 1.0 if labels == "true" else -1.0
