"""A learner for searches that plant far rows: Newton's method on few columns, whatever the scale of the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg.lapack import dposv

from ...core.dataset import Dataset
from ...core.model import LinearModel
from ...core.validation import Array
from ...learners import Learner, make_learner
from ...learners.base import with_ones
from ...learners.svm_warm import warm_hinge
from ...losses import MarginLoss, Problem

COLUMNS = 400
"""Columns of dense rows up to which the Hessian is written out."""
GAP, STEPS = 1e-3, 80
"""The relative duality gap that is enough for a search over wide rows, and Newton steps at most."""
WIDTHS = (2.0, 0.3, 0.05, 0.004)
"""Half widths over which a kink is rounded, widest first; from a start only the last two."""
NEARLY = 0.1  # of the first slope, where a line search ends


@dataclass(frozen=True)
class RoundedHinge:
    """The hinge with a parabola in place of its kink: only rows within the width of the margin have curvature.

    Parameters
    ----------
    width : float
        Half of it.
    """

    width: float

    def derivative(self, m: Array) -> Array:
        """Minus one before the kink, zero behind it, a line between."""
        share = (m - (1.0 + self.width)) / (2 * self.width)
        return np.asarray(np.minimum(np.maximum(share, -1.0), 0.0))  # twice as fast as np.clip on some hundred rows

    def second_derivative(self, m: Array) -> Array:
        """Of the parabola."""
        return np.where(np.abs(1.0 - m) < self.width, 0.5 / self.width, 0.0)


class NewtonLearner(Learner):
    """Any loss with a derivative, and the hinge with a rounded kink: quick, and indifferent to far rows.

    Dual coordinate methods need thousands of passes where one row is hundreds of times as long as the others; a Newton
    step does not. Where rows are wide or sparse the hinge goes to `warm_hinge`, with a loose gap, and other losses to
    `make_learner` with the method ``quick``.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._other = make_learner(problem, method="quick")

    def _fit(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        if data.is_sparse or data.d > COLUMNS:
            return self._of_wide_rows(data, start)
        vector = np.zeros(data.d + 1) if start is None else start.vector.copy()
        penalty = self.problem.reg_at(data.total) * self.problem.penalty_mask(data.d)
        Z, share = with_ones(data.X), data.weight / data.total
        if not self.problem.fit_intercept:
            Z[:, -1], vector[-1], penalty[-1] = 0.0, 0.0, 1.0
        rows = Z * data.y[:, None]
        if self.problem.loss.kink is None:
            return LinearModel.from_vector(newton(self.problem.loss, rows, share, penalty, vector))
        for width in WIDTHS if start is None else WIDTHS[2:]:
            vector = newton(RoundedHinge(width), rows, share, penalty, vector)
        return LinearModel.from_vector(vector)

    def _of_wide_rows(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        if self.problem.loss.kink is None:
            return self._other.fit(data, start)
        begin = LinearModel(np.zeros(data.d)) if start is None else start
        return warm_hinge(self.problem, data, begin, gap_tol=GAP, max_steps=STEPS).model


def newton(
    loss: MarginLoss | RoundedHinge,
    Z: Array,
    share: Array,
    penalty: Array,
    vector: Array,
    *,
    tol: float = 1e-9,
    steps: int = 60,
) -> Array:
    """``argmin_v sum_i share_i phi(Z_i . v) + penalty . v^2 / 2`` by Newton's method with a line search on the slope.

    Parameters
    ----------
    loss : MarginLoss or RoundedHinge
        With a derivative.
    Z : ndarray of shape (n, p)
        Rows times their labels.
    share, penalty, vector : ndarray of shape (n,), (p,), (p,)
    tol : float
        Decrease that the next step promises at which the method ends: losses are of the size of one.
    steps : int
        At most.
    """
    margins = Z @ vector
    for _ in range(steps):
        gradient = Z.T @ (share * loss.derivative(margins)) + penalty * vector
        curvature = share * loss.second_derivative(margins)
        curved = np.flatnonzero(curvature)  # few rows, where a kink is rounded
        rows = Z[curved]
        hessian = (rows * curvature[curved, None]).T @ rows
        hessian.flat[:: hessian.shape[0] + 1] += penalty + 1e-10
        step = -_solved(hessian, gradient)
        promised = float(-gradient @ step)
        if not promised > tol:
            break
        along = Z @ step
        base, bend = float(penalty @ (vector * step)), float(penalty @ step**2)
        slope = partial(_slope, loss, share, margins, along, base, bend)
        length = step_length(slope, -promised)
        vector, margins = vector + length * step, margins + length * along
    return vector


def _solved(hessian: Array, gradient: Array) -> Array:
    """By Cholesky's factors without checks of the input, or by those of LU where rounding has lost definiteness."""
    _, step, info = dposv(hessian.T, gradient)
    return np.asarray(step if info == 0 else np.linalg.solve(hessian, gradient))


def _slope(
    loss: MarginLoss | RoundedHinge, share: Array, margins: Array, along: Array, base: float, bend: float, t: float
) -> float:
    """Derivative of the objective after ``t`` of a step."""
    return base + t * bend + float((share * loss.derivative(margins + t * along)) @ along)


def step_length(slope: Callable[[float], float], first: float) -> float:
    """One, or where a slope that rises from ``first < 0`` is nearly zero if that comes before: by false position."""
    low, high, at_low, at_high = 0.0, 1.0, first, slope(1.0)
    if at_high <= -NEARLY * first:
        return 1.0
    t = 1.0
    for _ in range(60):
        t = low - at_low * (high - low) / (at_high - at_low)
        now = slope(t)
        if abs(now) <= -NEARLY * first:
            break
        if now > 0:
            high, at_high, at_low = t, now, 0.5 * at_low  # halved, so that one end does not stay for long
        else:
            low, at_low, at_high = t, now, 0.5 * at_high
    return t
