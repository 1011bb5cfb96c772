"""Newton's method on few columns, whatever the scale of the rows; for the hinge with a kink that is rounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from ..core.dataset import Dataset
from ..core.model import LinearModel
from ..core.validation import Array
from ..losses import MarginLoss, Problem
from .base import ProvenFit

NEARLY, FLAT = 0.1, 1e-4  # of the first slope: where a line search ends, and where it does not begin
NEAR_KINK = 1e-2  # half width of the parabola in place of a kink
_WIDTHS = (1.0, 1e-2, 1e-4, 1e-5, 1e-6)  # steps grow less with their ratio than with their number
_STATIONARY = 1e-21
"""Decrease that a step promises at which a rounded problem is solved for its proof.

The bound of the dual squares what the slope in a column has left and divides it by the penalty alone: in a column of
30,000 a decrease of 1e-11 leaves a gap of thousands. From there to the rounding of the slopes is one step more, since
the rows in their parabolas are known by then.
"""
_WARM = 1  # of these widths is left out from a start
MANY = 4000
"""Rows from which Newton's method looks at those near the kink alone."""
THIN = 8
"""One of so many rows begins where there is no start."""
_REACH = 0.1  # from the kink, in margins; rows beyond mostly stay on their side of it
_MOST = 0.5  # share of the rows near the kink from which all are looked at
_ROUNDS = 6  # after which all rows are looked at


class SignedRows:
    """``Z_i = y_i (x_i, 1)`` of dense rows; without an intercept the last column is zero.

    Of many rows most need no copy: their margins and sums take a product with the rows as they are.

    Parameters
    ----------
    data : Dataset
        Of two classes and dense.
    fit_intercept : bool, default True
    """

    def __init__(self, data: Dataset, fit_intercept: bool = True) -> None:
        self.X, self.y, self.one = data.X, data.y, float(fit_intercept)
        self._last: tuple[Array | None, Array] = None, np.zeros(0)

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.y.size)

    @cached_property
    def all(self) -> Array:
        """Z, shape (n, d + 1)."""
        return self._signed(self.X, self.y)

    def take(self, index: NDArray[np.intp]) -> Array:
        """Some of its rows."""
        return self._signed(self.X.take(index, axis=0), self.y[index])

    def margins(self, vector: Array) -> Array:
        """``Z v``, shape (n,); of the vector that was asked for last they are kept."""
        if self._last[0] is not vector:
            self._last = vector, self.y * (self.X @ vector[:-1] + self.one * vector[-1])
        return self._last[1]

    def combined(self, weight: Array) -> Array:
        """``Z' a``, shape (d + 1,)."""
        signed = self.y * weight
        return np.append(signed @ self.X, self.one * signed.sum())

    def thinned(self) -> SignedRows:
        """One row in `THIN`."""
        few = copy(self)
        few.X, few.y, few._last = np.ascontiguousarray(self.X[::THIN]), self.y[::THIN], (None, self.y)
        few.__dict__.pop("all", None)
        return few

    def _signed(self, X: Array, y: Array) -> Array:
        Z = np.empty((y.size, X.shape[1] + 1))
        np.multiply(X, y[:, None], out=Z[:, :-1])
        Z[:, -1] = self.one * y
        return Z


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
    rows, share = SignedRows(data, problem.fit_intercept), data.weight / data.total
    if not problem.fit_intercept:
        vector[-1], penalty[-1] = 0.0, 1.0
    best = ProvenFit(LinearModel.from_vector(vector), np.inf, np.inf)
    if start is None and rows.n >= MANY:
        vector = begun(_WIDTHS[:2], rows, share, penalty, vector, tol=1e-6)
    for width in _WIDTHS[_WARM * (start is not None or rows.n >= MANY) :]:
        vector = rounded_newton(width, rows, share, penalty, vector, tol=_STATIONARY)
        found = _proven(rows, share, penalty, vector, width)
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
    rows, share = SignedRows(data, problem.fit_intercept), data.weight / data.total
    penalty, vector = problem.reg_at(data.total) * problem.penalty_mask(data.d), start.vector
    if not problem.fit_intercept:
        vector[-1], penalty[-1] = 0.0, 1.0
    if problem.loss.kink is not None:
        return rounded_newton(NEAR_KINK, rows, share, penalty, vector, tol=1e-7)
    return newton(problem.loss, rows.all, share, penalty, vector, tol=1e-15)


def _proven(rows: SignedRows, share: Array, penalty: Array, vector: Array, width: float) -> ProvenFit:
    """A model, its objective, and the gap to the dual point that the rounded loss gives."""
    # For any 0 <= a_i <= share_i: hinge(m) >= a (1 - m) / share, and min_v v'Pv / 2 - r . v = -r'P^-1 r / 2 with
    # r = sum a_i Z_i. A free intercept has no minimum unless r vanishes there: the label of more mass gives up some.
    margins = rows.margins(vector)
    value = 0.5 * float(penalty @ vector**2) + float(share @ np.maximum(0.0, 1.0 - margins))
    dual = share * np.clip((1.0 + width - margins) / (2 * width), 0.0, 1.0)
    penalised = penalty > 0
    if not penalised[-1]:
        high = rows.y > 0
        mass = np.array([dual[~high].sum(), dual[high].sum()])
        dual *= (mass.min() / np.maximum(mass, 1e-300))[high.astype(int)]
    reached = rows.combined(dual)[penalised]
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


def begun(
    widths: Sequence[float], rows: SignedRows, share: Array, penalty: Array, vector: Array, *, tol: float
) -> Array:
    """A start for `rounded_newton` where there is none: that of one row in `THIN`, in widths one after the other.

    Without a start every margin is zero and every row near a wide kink, so that none of many rows would be left out.
    """
    few = rows.thinned()
    part = share[::THIN] * (share.sum() / share[::THIN].sum())
    for width in widths:
        vector = rounded_newton(width, few, part, penalty, vector, tol=tol)
    return vector


def rounded_newton(
    width: float, rows: SignedRows, share: Array, penalty: Array, vector: Array, *, tol: float = 1e-9
) -> Array:
    """`newton` of the hinge with a parabola of half width w in place of its kink.

    A row whose margin lies beyond ``1 +- w`` on its side of the kink adds a constant to the gradient and nothing to the
    Hessian. Of many rows only those near the kink enter, and the others by their sum. Where none of the others has come
    within w of the kink, what is found is the minimiser for all rows, since the gradients are equal. Where some have,
    the way there is gone as far as the objective of all rows falls, and the rows that have come so near join those that
    are looked at: a few rows may hold a free intercept far out, or not at all.

    Parameters
    ----------
    width : float
    rows : SignedRows
    share, penalty, vector : ndarray of shape (n,), (d + 1,), (d + 1,)
    tol : float
        See `newton`.
    """
    near, reach = np.zeros(rows.n, dtype=bool), max(_REACH, 4 * width)
    margins = rows.margins(vector) if rows.n >= MANY else np.zeros(0)
    for _ in range(_ROUNDS * (rows.n >= MANY)):
        near |= np.abs(margins - 1.0) <= reach
        chosen = near.nonzero()[0]
        if chosen.size > _MOST * rows.n:
            break
        below = ~near & (margins < 1.0)
        pull = -rows.combined(share * below)
        found = _among(width, rows.take(chosen), share[chosen], penalty, pull, vector, tol)
        reached = rows.margins(found)
        if not _crossed(width, near, below, reached).any():
            return found
        length = _towards(width, share, penalty, vector, found, margins, reached)
        vector, margins = vector + length * (found - vector), margins + length * (reached - margins)
        near |= _crossed(width, near, below, margins)
    return _among(width, rows.all, share, penalty, np.zeros_like(penalty), vector, tol)


def _crossed(width: float, near: NDArray[np.bool_], below: NDArray[np.bool_], margins: Array) -> NDArray[np.bool_]:
    """Rows that were left out, and whose loss is no longer the line on whose side of the kink they were."""
    return ~near & np.where(below, margins > 1.0 - width, margins < 1.0 + width)


def _towards(
    width: float, share: Array, penalty: Array, vector: Array, found: Array, margins: Array, reached: Array
) -> float:
    """How much of the way from `vector` to `found`, whose margins are `reached`, the objective of all rows falls.

    At `vector` its gradient is that of the rows that were looked at, so that it falls at first.
    """
    step, change = found - vector, reached - margins
    base, bend = float((penalty * vector) @ step), float(penalty @ step**2)
    q, along, room = (margins - (1.0 + width)) / (2 * width), share * change, np.empty_like(margins)
    slope = partial(_rounded_slope, q, change / (2 * width), along, base, bend, room)
    first = slope(0.0)
    return step_length(slope, first) if first < 0 else 0.0


def _among(
    width: float, Z: Array, share: Array, penalty: Array, pull: Array, vector: Array, tol: float, steps: int = 60
) -> Array:
    """The minimiser of some rows and of a slope that others add.

    In ``q = (m - 1 - w) / 2w`` the derivative of a row is q itself between -1 and 0, and only rows in between have
    curvature. On some hundred rows numpy's calls cost more than their work: a slope takes five here, without new
    arrays.
    """
    q = (Z @ vector - (1.0 + width)) / (2 * width)
    bends, room = share / (2 * width), np.empty_like(q)
    for _ in range(steps):
        np.minimum(np.maximum(q, -1.0, out=room), 0.0, out=room)
        gradient = Z.T @ (share * room) + (penalty * vector + pull)
        step = _step(Z, bends, ((room > -1.0) & (room < 0.0)).nonzero()[0], penalty, gradient)
        promised = float(-gradient @ step)
        if not promised > tol:
            break
        along = Z @ step
        base, bend = float((penalty * vector + pull) @ step), float(penalty @ step**2)
        slope = partial(_rounded_slope, q, along / (2 * width), share * along, base, bend, room)
        length = step_length(slope, -promised)
        vector, q = vector + length * step, q + (length / (2 * width)) * along
    return vector


def _rounded_slope(q: Array, change: Array, along: Array, base: float, bend: float, room: Array, t: float) -> float:
    """Derivative of the objective after ``t`` of a step; `room` is for the derivatives of the losses."""
    np.multiply(change, t, out=room)
    np.minimum(np.maximum(np.add(room, q, out=room), -1.0, out=room), 0.0, out=room)
    return base + t * bend + float(room @ along)


def _step(Z: Array, curvature: Array, curved: NDArray[np.intp], penalty: Array, gradient: Array) -> Array:
    """Newton's step, where only the `curved` rows have curvature."""
    rows = Z.take(curved, axis=0)
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
    """One, or where a slope that rises from ``first < 0`` is nearly zero if that comes before: by false position.

    A slope that is slight at one may be so from long before: where a free intercept has gone far out, one class alone
    pulls back, which may have few rows. So the end is halved as long as the slope is positive halfway.
    """
    high, at_high = 1.0, slope(1.0)
    if at_high <= -FLAT * first:
        return 1.0
    low, at_low = 0.5, slope(0.5)
    while at_low > 0 and low > 0:
        low, high, at_high = 0.5 * low, low, at_low
        at_low = slope(low)
    if at_high <= -NEARLY * first:
        return high
    t = high
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
