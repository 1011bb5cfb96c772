"""How a loss on other rows moves with the training rows, through what is learned from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.validation import Array
from .arrays import movable, per_row, to_numpy
from .linear_risk import shares
from .protocols import HVP, InverseHVP, Risk, Rows, Solution, Vector
from .samples import Sample
from .solvers import MINRES


def hessian(risk: Risk, w: Vector, data: Sample, *, gauss_newton: bool = False) -> HVP:
    """Products with the Hessian of the objective at `w`, over all rows in a fixed order.

    Parameters
    ----------
    risk : Risk
    w : vector
        Parameters.
    data : Sample
    gauss_newton : bool, default False
        With the Gauss-Newton matrix instead.
    """
    part = risk.curvature(w, data.X, data.y, shares(data.weights, data.n), gauss_newton=gauss_newton)
    return (lambda v: part(v) + risk.penalty_grad(v)) if risk.reg else part


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
    risk: Risk,
    w: Vector,
    train: Sample,
    poison: Sample,
    validation: Sample,
    solver: InverseHVP = MINRES(),  # noqa: B008
) -> TotalGradient:
    """The derivative, by the implicit function theorem, of the validation loss of what is learned.

    With w the minimiser of the objective on `train`, N the copies in it, and ``u = H^(-1) grad L_v(w)``::

        d L_v / d z_j = -(c_j / N) C(z_j)' u,        d L_v / d c_j = -(1 / N) <d/dw l(z_j; w) + reg P w, u>

    Parameters
    ----------
    risk : Risk
    w : Vector
        Where the gradient on `train` vanishes; otherwise the result is approximate.
    train : Sample
        All training rows, poison included.
    poison : Sample
        The rows to differentiate in, with their copies.
    validation : Sample
    solver : InverseHVP, default MINRES()
        Damped by default. `CG` is for objectives known to be convex.

    References
    ----------
    Lu, Kamath, Yu (2022), equation (5), there as the total derivative of the leader; Koh, Liang (2017), equation (5),
    of which this is the version for rows that were trained on.

    Examples
    --------
    >>> from linpoison.risk import LBFGSTrainer, LinearRisk
    >>> from linpoison.losses import Squared
    >>> risk, rows = LinearRisk(Squared(), 1.0, fit_intercept=False), Sample([[1.0], [-1.0]], [1.0, -1.0])
    >>> w = LBFGSTrainer().fit(risk, rows).w  # 1 / 2, with both rows at x: 1 / (x^2 + 1) x
    >>> total_gradient(risk, w, rows, rows, rows, MINRES(relative_damping=0)).rows.round(6) + 0.0
    array([[0.],
           [0.]])
    """
    slope = risk.data_grad(w, validation.X, validation.y, validation.weights)
    solution = solver.solve(hessian(risk, w, train, gauss_newton=solver.gauss_newton), slope)
    rows = movable(risk.rows(poison.X)) if poison.y is not None else poison.X
    moved = Sample(rows, poison.y, poison.weights)
    pulls = to_numpy(risk.loss_jvp(w, rows, poison.y, solution.x)) + float(risk.penalty_grad(w) @ solution.x)
    value = float(np.average(to_numpy(risk.loss(w, validation.X, validation.y)), weights=validation.mass))
    return TotalGradient(value, in_rows(risk, w, moved, solution.x, train.total), -pulls / train.total, solution)


def in_rows(risk: Risk, w: Vector, rows: Sample, u: Vector, total: float) -> Rows:
    """``-(c_j / N) C(z_j)' u`` for `rows` with ``c_j`` copies among `total` N, at ``u = H^(-1) grad L_v``."""
    mixed = risk.mixed_product(w, rows.X, rows.y, u)
    return per_row(-rows.mass / total, mixed) * mixed
