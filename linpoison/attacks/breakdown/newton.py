"""A learner for searches that plant far rows: Newton's method on few columns, whatever the scale of the rows."""

from __future__ import annotations

import numpy as np

from ...core.dataset import Dataset
from ...core.model import LinearModel
from ...core.validation import Array
from ...learners import Learner, make_learner
from ...learners.base import with_ones
from ...losses import MarginLoss, Problem, SmoothHinge

COLUMNS = 400
"""Columns of dense rows up to which the Hessian is written out."""
WIDTHS = (0.3, 0.03, 0.002)
"""Widths of the smoothed loss in place of one with a kink, widest first; from a start only the last two."""


class NewtonLearner(Learner):
    """Any loss with a derivative, and the hinge smoothed to a width of 0.002: quick, and indifferent to far rows.

    Dual coordinate methods need thousands of passes where one row is hundreds of times as long as the others; a Newton
    step does not. Wide or sparse rows go to `make_learner` with the method ``quick``.

    Attributes
    ----------
    guess : LinearModel or None
        Where a fit without a start begins: what a search learned last.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.guess: LinearModel | None = None
        self._other = make_learner(problem, method="quick")

    def _fit(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        if data.is_sparse or data.d > COLUMNS:
            return self._other.fit(data, start)
        begin = start or self.guess
        vector = np.zeros(data.d + 1) if begin is None else begin.vector.copy()
        penalty = self.problem.reg_at(data.total) * self.problem.penalty_mask(data.d)
        Z, share = with_ones(data.X), data.weight / data.total
        if not self.problem.fit_intercept:
            Z[:, -1], vector[-1], penalty[-1] = 0.0, 0.0, 1.0
        for loss in smoothed(self.problem.loss, warm=begin is not None):
            vector = newton(loss, Z * data.y[:, None], share, penalty, vector)
        return LinearModel.from_vector(vector)


def smoothed(loss: MarginLoss, *, warm: bool) -> list[MarginLoss]:
    """The loss itself, or smoother and smoother ones in its place where it has a kink."""
    if loss.kink is None:
        return [loss]
    return [SmoothHinge(width) for width in WIDTHS[int(warm) :]]


def newton(
    loss: MarginLoss, Z: Array, share: Array, penalty: Array, vector: Array, *, tol: float = 1e-9, steps: int = 60
) -> Array:
    """``argmin_v sum_i share_i phi(Z_i . v) + penalty . v^2 / 2`` by Newton's method with halved steps.

    Parameters
    ----------
    loss : MarginLoss
        With a derivative.
    Z : ndarray of shape (n, p)
        Rows times their labels.
    share, penalty, vector : ndarray of shape (n,), (p,), (p,)
    tol : float
        Decrease that the next step promises, relative to the value, at which the method ends.
    """
    margins = Z @ vector
    value = float(share @ loss.value(margins) + 0.5 * penalty @ vector**2)
    for _ in range(steps):
        gradient = Z.T @ (share * loss.derivative(margins)) + penalty * vector
        curvature = share * loss.second_derivative(margins)
        curved = np.flatnonzero(curvature)  # few rows, where a kink is smoothed
        rows = Z[curved]
        hessian = (rows * curvature[curved, None]).T @ rows
        hessian.flat[:: hessian.shape[0] + 1] += penalty + 1e-10
        step = -np.linalg.solve(hessian, gradient)
        promised = float(-gradient @ step)
        if not promised > tol * max(value, 1e-6):
            break
        along, length = Z @ step, 1.0
        while length > 1e-9:
            trial = vector + length * step
            new = float(share @ loss.value(margins + length * along) + 0.5 * penalty @ trial**2)
            if new <= value - 1e-4 * length * promised:
                break
            length *= 0.5
        else:
            break
        vector, margins, value = trial, margins + length * along, new
    return vector
