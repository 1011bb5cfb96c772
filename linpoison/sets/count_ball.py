"""The ball for counts: the linear-programming envelope of Koh et al. for whole-number features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import Array, InfeasibleSet, InputError, Matrix, check_number
from .base import FeasibleSet, Relation, as_vector, row_sums, squared_distances
from .box import Box
from .piece import Bounds, Piece


@dataclass(frozen=True, eq=False, repr=False)
class CountBall(FeasibleSet):
    """``{0 <= x <= upper: sum_i f(x_i) - 2 center . x + |center|^2 <= radius^2}``.

    ``f`` interpolates the squares of the whole numbers linearly, ``f(x) = max_k (2k - 1) x - k (k - 1)``,
    so that ``sum_i f(x_i)`` is the expected squared norm of ``x`` rounded at random without bias. The set
    holds every vector of counts in the ball, is a polytope, and lies inside the ball (``f(x) >= x^2``).

    *Adaptive pieces.* Each term ``h_i(x_i) = f(x_i) - 2 c_i x_i + c_i^2 >= (x_i - c_i)^2`` is at least zero
    and takes its least value ``g_i`` at a whole number. A point of the set therefore has
    ``(x_i - c_i)^2 <= h_i(x_i) <= radius^2 - sum_{j != i} g_j =: r_i^2``, so
    ``x_i <= M_i = min(upper_i, floor(c_i + r_i) + 1)`` excludes nothing, and on ``[0, M_i]`` the pieces
    ``k = 1..M_i`` are all that ``f`` has. Where ``M_i = 1``, ``f(x) = x`` needs no variable at all.

    The violation of a row is the larger of ``sqrt(sum_i f(x_i) - 2 center . x + |center|^2) - radius``
    (which for whole numbers is the distance to the ball) and of the worst coordinate outside
    ``[0, upper]``.

    Parameters
    ----------
    center : array_like, shape (d,)
    radius : float
        At least 0.
    upper : array_like, shape (d,)
        Largest count of each coordinate: whole numbers of at least 0, or infinity.

    Notes
    -----
    The relation is "outer" by default: as a set of counts it holds all that the ball does, and its
    fractional points have to be rounded and re-checked.

    References
    ----------
    Koh, Steinhardt, Liang: Stronger data poisoning attacks break data sanitization defenses,
    equations (5)-(8).

    Examples
    --------
    >>> ball = CountBall([0.0, 0.0], 2.0, [5, 5])
    >>> ball.support([1.0, 0.9])
    array([1.66666667, 1.        ])
    """

    center: Array
    radius: float
    upper: Array
    relation: Relation = field(default="outer", kw_only=True)

    def __post_init__(self) -> None:
        center = as_vector(self.center, "center")
        upper = as_vector(self.upper, "upper counts", center.size, finite=False)
        if (upper < 0).any() or (upper != np.floor(upper)).any():
            raise InputError("upper counts that are whole numbers of at least 0, or infinity", "other values")
        self._set(center=center, upper=upper, radius=check_number(self.radius, "radius", at_least=0))

    @property
    def d(self) -> int:
        return int(self.center.size)

    @cached_property
    def _lowest(self) -> Array:
        """The whole number at which each term is least."""
        return np.clip(np.round(self.center), 0.0, self.upper)

    @cached_property
    def _slack(self) -> float:
        """``radius^2 - sum_i g_i``: negative if the set is empty."""
        return float(self.radius**2 - np.sum((self._lowest - self.center) ** 2))

    @cached_property
    def largest(self) -> Array:
        """``M_i``, the greatest count that coordinate i can need, shape (d,)."""
        reach = np.sqrt(np.maximum(self._slack + (self._lowest - self.center) ** 2, 0.0))
        return np.clip(np.floor(self.center + reach) + 1.0, 0.0, self.upper)

    @cached_property
    def _segments(self) -> tuple[Any, Array, Array]:
        """Coordinate, number ``k`` and slope ``2k - 1 - 2 c_i`` of each piece ``[k - 1, k]`` of a term."""
        sizes = self.largest.astype(np.int64)
        index = np.repeat(np.arange(self.d), sizes)
        k = np.arange(1.0, index.size + 1) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return index, k, 2 * k - 1 - 2 * self.center[index]

    @property
    def piece(self) -> Piece:
        return Piece(center=self.center, radius=self.radius, counts=self.separable)

    def separable(self) -> Bounds:
        """Center, radius and bounds; where the radius leaves least terms only, bounds say so alone."""
        self._budget()
        if self._slack > 1e-13 * (1 + self.radius**2):
            return self.center, self.radius, np.zeros(self.d), self.largest
        lower = np.clip(np.ceil(self.center - 0.5), 0.0, self.upper)
        return None, None, lower, np.clip(np.floor(self.center + 0.5), 0.0, self.upper)

    @cached_property
    def extent(self) -> float:
        center, radius, _, upper = self.separable()
        corner = float(np.linalg.norm(upper))
        return corner if center is None or radius is None else min(radius + float(np.linalg.norm(center)), corner)

    def _cone(self, u: Any, t: Any) -> list[Any]:
        import cvxpy as cp

        constant = float(self.center @ self.center) - self.radius**2
        many = np.flatnonzero(self.largest >= 2)
        linear = np.where(self.largest >= 2, 0.0, 1.0) - 2 * self.center
        bounds = Box(np.zeros(self.d), self.largest)._cone(u, t)
        if not many.size:
            return [*bounds, linear @ u + constant * t <= 0]
        squares = cp.Variable(many.size)
        pieces, select, shift = self._pieces(many)
        return [
            *bounds,
            pieces @ u - shift * t <= select @ squares,
            cp.sum(squares) + linear @ u + constant * t <= 0,
        ]

    def _pieces(self, many: Any) -> tuple[Any, Any, Array]:
        """Rows ``(2k - 1) u_i - k (k - 1) t <= e_i`` of the coordinates with more than one piece."""
        # the chord of x^2 over [k - 1, k]; the envelope is the greatest of all chords
        index, k, _ = self._segments
        kept = self.largest[index] >= 2
        index, k = index[kept], k[kept]
        rows = np.arange(index.size)
        pieces = sp.csr_array((2 * k - 1, (rows, index)), shape=(index.size, self.d))
        select = sp.csr_array(
            (np.ones(index.size), (rows, np.searchsorted(many, index))), shape=(index.size, many.size)
        )
        return pieces, select, k * (k - 1)

    def _violation(self, X: Matrix) -> Array:
        squares = squared_distances(X, self.center) + _row_spread(X)
        outside = Box(np.zeros(self.d), self.upper)._violation(X)
        return np.maximum(np.sqrt(squares) - self.radius, outside)

    def _support(self, w: Array) -> Array:
        """Exact by a fractional knapsack: at most one coordinate is not whole.

        From the point of least ``sum h_i`` every step along a piece changes ``w . x`` by ``|w_i|`` and
        uses up ``|slope|`` of what is left of ``radius^2``; the multiplier of the constraint orders the
        steps by their ratio, and convexity of ``f`` keeps the pieces of a coordinate in order.
        """
        budget = self._budget()
        index, _, slope = self._segments
        inside = (slope < 0) | ((slope == 0) & (w[index] > 0))
        start = np.bincount(index, weights=inside, minlength=self.d)
        step = np.flatnonzero((inside & (w[index] < 0)) | ((slope > 0) & (w[index] > 0)))
        cost, sign = np.abs(slope[step]), np.sign(w[index[step]])
        order = np.argsort(-np.abs(w[index[step]]) / cost, kind="stable")
        taken = _fill(cost[order], budget)
        moves = np.bincount(index[step[order]], weights=taken * sign[order], minlength=self.d)
        return np.asarray(start + moves)

    def _budget(self) -> float:
        if self._slack < -1e-9 * (1 + self.radius**2):
            raise InfeasibleSet(
                f"expected a ball that holds a vector of counts or a mixture of them, got a radius of "
                f"{self.radius:g} below the least distance {np.sqrt(self.radius**2 - self._slack):g}."
            )
        return max(self._slack, 0.0)

    def _support_bound(self, w: Array) -> float:
        return self._at_support(w)

    def grown(self, by: float) -> FeasibleSet:
        return replace(self, radius=self.radius + by, relation="outer")

    def _project(self, X: Array) -> Array:
        """By bisection on the multiplier ``lam`` of the constraint.

        For fixed ``lam`` the coordinates separate: with ``q = z + 2 lam c`` and ``k = round(q / (1 + 2 lam))``
        the minimiser of ``(x - z)^2 / 2 + lam (f(x) - 2 c x)`` is ``k`` moved towards ``q - 2 lam k`` by
        the part of ``|q - (1 + 2 lam) k|`` beyond ``lam``, cut to ``[0, M]``.
        """
        limit = self._budget() + np.sum((self._lowest - self.center) ** 2)
        low, high = np.zeros(X.shape[0]), np.zeros(X.shape[0])
        for _ in range(_DOUBLINGS):
            outside = self._cost(self._shrunk(X, high)) > limit
            if not outside.any():
                break
            high[outside] = np.maximum(2 * high[outside], 2.0**-20)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            outside = self._cost(self._shrunk(X, middle)) > limit
            low, high = np.where(outside, middle, low), np.where(outside, high, middle)
        return self._shrunk(X, high)

    def _shrunk(self, X: Array, lam: Array) -> Array:
        column = lam[:, None]
        target, period = X + 2 * column * self.center, 1 + 2 * column
        whole = np.round(target / period)
        rest = target - period * whole
        moved = whole + np.sign(rest) * np.maximum(np.abs(rest) - column, 0.0)
        return np.asarray(np.clip(moved, 0.0, self.largest))

    def _cost(self, X: Array) -> Array:
        return squared_distances(X, self.center) + _row_spread(X)


_DOUBLINGS, _HALVINGS = 60, 100


def _fill(cost: Array, budget: float) -> Array:
    """How much of each step, in order, a budget pays for: ones, one fraction, zeros."""
    spent = np.cumsum(cost)
    return np.asarray(np.clip((budget - (spent - cost)) / cost, 0.0, 1.0))


def _row_spread(X: Matrix) -> Array:
    """Variance that unbiased random rounding adds to each row, ``sum_i (f(x_i) - x_i^2)``."""
    values = X.data if sp.issparse(X) else X
    part = values - np.floor(values)
    spread = part * (1.0 - part)
    return row_sums(X, spread) if sp.issparse(X) else np.asarray(spread.sum(axis=1))
