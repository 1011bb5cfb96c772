"""Newton's method on few columns, whatever the scale of the rows; for the hinge with a kink that is rounded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from ..core.dataset import Dataset
from ..core.model import LinearModel
from ..core.validation import Array
from ..losses import MarginLoss, Problem
from .base import ProvenFit, with_ones

NEARLY = 0.1  # of the first slope, where a line search ends
NEAR_KINK = 1e-2  # half width of the parabola in place of a kink
_WIDTHS = (1.0, 1e-2, 1e-4, 1e-5, 1e-6)  # steps grow less with their ratio than with their number
_WARM = 1  # of these widths is left out from a start


def newton_hinge(
    problem: Problem, data: Dataset, start: LinearModel | None = None, *, gap_tol: float = 1e-7
) -> ProvenFit:
    """The hinge-loss minimiser of many dense rows of few columns.

    ::

        min over v    v'Pv / 2 + sum_i u_i h_w(y_i (x_i, 1) . v),     h_w the hinge with a parabola of half width w

    for ever smaller w. With ``a_i = -u_i h_w'(m_i)``, which lies in [0, u_i], the dual of the hinge itself is at least
    ``sum a - r' P^(-1) r / 2``, ``r = sum_i a_i y_i (x_i, 1)``: many rows lie within w of the kink, so that the gap is
    small long before w is, and proves the model. A free intercept takes ``sum_i a_i y_i = 0``.

    Parameters
    ----------
    problem : Problem
        With the hinge loss.
    data : Dataset
    start : LinearModel, optional
    gap_tol : float
        Duality gap relative to the objective at which it stops. The caller judges the gap of what is returned.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> rng = np.random.default_rng(0)
    >>> data = Dataset(rng.normal(size=(2000, 2)), np.arange(2000) % 2 * 2 - 1)
    >>> found = newton_hinge(Problem(Hinge(), 0.1), data)
    >>> found.gap < 1e-5 * found.value
    True
    """
    vector = np.zeros(data.d + 1) if start is None else start.vector.copy()
    penalty = problem.reg_at(data.total) * problem.penalty_mask(data.d)
    Z, share = with_ones(data.X) * data.y[:, None], data.weight / data.total
    if not problem.fit_intercept:
        Z[:, -1], vector[-1], penalty[-1] = 0.0, 0.0, 1.0
    best = ProvenFit(LinearModel.from_vector(vector), np.inf, np.inf)
    for width in _WIDTHS[_WARM * (start is not None) :]:
        vector = rounded_newton(width, Z, share, penalty, vector, tol=1e-11)
        found = _proven(Z, data.y, share, penalty, vector, width)
        best = min(best, found, key=lambda fit: fit.value)
        if found.gap <= gap_tol * found.value:
            return found
    return best


def newton_near(problem: Problem, data: Dataset, start: LinearModel) -> Array:
    """Nearly the minimiser ``(theta, b)`` on a few dense columns, from that of similar rows, shape (d + 1,).

    For searches that compare hundreds of sets of rows, where a learner's checks take longer than its steps. A hinge
    has its kink rounded by a parabola of half width `NEAR_KINK`, and scores are wrong by as much; another loss needs a
    second derivative. Whatever is not finite is for a learner to solve.

    Parameters
    ----------
    problem : Problem
    data : Dataset
    start : LinearModel
    """
    Z, share = with_ones(data.X) * data.y[:, None], data.weight / data.total
    penalty, vector = problem.reg_at(data.total) * problem.penalty_mask(data.d), start.vector
    if not problem.fit_intercept:
        Z[:, -1], vector[-1], penalty[-1] = 0.0, 0.0, 1.0
    if problem.loss.kink is not None:
        return rounded_newton(NEAR_KINK, Z, share, penalty, vector, tol=1e-7)
    return newton(problem.loss, Z, share, penalty, vector, tol=1e-15)


def _proven(Z: Array, y: Array, share: Array, penalty: Array, vector: Array, width: float) -> ProvenFit:
    """A model, its objective, and the gap to the dual point that the rounded loss gives."""
    # For any 0 <= a_i <= share_i: hinge(m) >= a (1 - m) / share, and min_v v'Pv / 2 - r . v = -r'P^-1 r / 2 with
    # r = sum a_i Z_i. A free intercept has no minimum unless r vanishes there: the label of more mass gives up some.
    margins = Z @ vector
    value = 0.5 * float(penalty @ vector**2) + float(share @ np.maximum(0.0, 1.0 - margins))
    dual = share * np.clip((1.0 + width - margins) / (2 * width), 0.0, 1.0)
    penalised = penalty > 0
    if not penalised[-1]:
        mass = np.array([dual[y < 0].sum(), dual[y > 0].sum()])
        dual *= (mass.min() / np.maximum(mass, 1e-300))[(y > 0).astype(int)]
    reached = (Z.T @ dual)[penalised]
    bound = float(dual.sum()) - 0.5 * float((reached**2 / penalty[penalised]).sum())
    return ProvenFit(LinearModel.from_vector(vector), value - bound, value)


def newton(
    loss: MarginLoss,
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
    loss : MarginLoss
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
        step = _step(Z, curvature, np.flatnonzero(curvature), penalty, gradient)
        promised = float(-gradient @ step)
        if not promised > tol:
            break
        along = Z @ step
        base, bend = float(penalty @ (vector * step)), float(penalty @ step**2)
        slope = partial(_slope, loss, share, margins, along, base, bend)
        length = step_length(slope, -promised)
        vector, margins = vector + length * step, margins + length * along
    return vector


def rounded_newton(
    width: float, Z: Array, share: Array, penalty: Array, vector: Array, *, tol: float = 1e-9, steps: int = 60
) -> Array:
    """`newton` of the hinge with a parabola of half width w in place of its kink.

    In ``q = (m - 1 - w) / 2w`` its derivative is q itself between -1 and 0, and only rows in between have curvature. On
    some hundred rows numpy's calls cost more than their work: a slope takes five here, without new arrays.
    """
    q = (Z @ vector - (1.0 + width)) / (2 * width)
    bends, pull = share / (2 * width), np.empty_like(q)
    for _ in range(steps):
        np.minimum(np.maximum(q, -1.0, out=pull), 0.0, out=pull)
        gradient = Z.T @ (share * pull) + penalty * vector
        step = _step(Z, bends, ((pull > -1.0) & (pull < 0.0)).nonzero()[0], penalty, gradient)
        promised = float(-gradient @ step)
        if not promised > tol:
            break
        along = Z @ step
        base, bend = float(penalty @ (vector * step)), float(penalty @ step**2)
        slope = partial(_rounded_slope, q, along / (2 * width), share * along, base, bend, pull)
        length = step_length(slope, -promised)
        vector, q = vector + length * step, q + (length / (2 * width)) * along
    return vector


def _rounded_slope(q: Array, change: Array, along: Array, base: float, bend: float, pull: Array, t: float) -> float:
    """Derivative of the objective after ``t`` of a step; `pull` is room for the derivatives of the losses."""
    np.multiply(change, t, out=pull)
    np.minimum(np.maximum(np.add(pull, q, out=pull), -1.0, out=pull), 0.0, out=pull)
    return base + t * bend + float(pull @ along)


def _step(Z: Array, curvature: Array, curved: NDArray[np.intp], penalty: Array, gradient: Array) -> Array:
    """Newton's step, where only the `curved` rows have curvature."""
    rows = Z[curved]
    hessian = (rows * curvature[curved, None]).T @ rows
    hessian.flat[:: hessian.shape[0] + 1] += penalty + 1e-10
    return -_solved(hessian, gradient)


def _solved(hessian: Array, gradient: Array) -> Array:
    """By Cholesky's factors without checks of the input, or by those of LU where rounding has lost definiteness.

    Beside columns that depend on each other a far row takes the last digit of the penalty, and the matrix is singular:
    then the shortest of the steps that leave the least of the gradient.
    """
    _, step, info = dposv(hessian.T, gradient)
    if info == 0:
        return np.asarray(step)
    try:
        return np.asarray(np.linalg.solve(hessian, gradient))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(hessian, gradient)[0])


def _slope(loss: MarginLoss, share: Array, margins: Array, along: Array, base: float, bend: float, t: float) -> float:
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
