"""The derivative of a validation loss in training rows, through what is learned: what attacks take parts of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from linpoison.core.validation import Array
from linpoison.risk import MINRES, hessian
from linpoison.risk.arrays import movable, to_numpy
from linpoison.risk.implicit import in_rows
from linpoison.risk.protocols import InverseHVP, Risk, Solution, Vector
from linpoison.risk.samples import Sample


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

    Lu, Kamath, Yu (2022), equation (5), there as the total derivative of the leader; Koh, Liang (2017), equation (5),
    of which this is the version for rows that were trained on.
    """
    slope = risk.data_grad(w, validation.X, validation.y, validation.weights)
    solution = solver.solve(hessian(risk, w, train, gauss_newton=solver.gauss_newton), slope)
    rows = movable(risk.rows(poison.X)) if poison.y is not None else poison.X
    moved = Sample(rows, poison.y, poison.weights)
    pulls = to_numpy(risk.loss_jvp(w, rows, poison.y, solution.x)) + float(risk.penalty_grad(w) @ solution.x)
    value = float(np.average(to_numpy(risk.loss(w, validation.X, validation.y)), weights=validation.mass))
    return TotalGradient(value, in_rows(risk, w, moved, solution.x, train.total), -pulls / train.total, solution)
