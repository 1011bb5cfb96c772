"""Supports of one set in many directions at once, each with a bound that proves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.errors import CapabilityError
from ...core.validation import Array
from ...sets import FeasibleSet, Piece

_LEAST = 1e-7  # least multiplier of the ball, relative to |w| / radius
_EMPTY = 1e-6  # by how much the dual must fall below what every point of the ball reaches
_INSIDE = 1e-6  # largest violation of a point that is used, relative to 1 + radius
_BACKTRACKS = 25


class Supports(NamedTuple):
    """Points of the set with the greatest ``w . x``.

    Attributes
    ----------
    points : ndarray, shape (p, d)
    bounds : ndarray, shape (p,)
        Values of the dual: no point of the set reaches more, however well the dual was solved.
    empty : bool
        Whether the dual proved the set empty.
    inside : ndarray of bool, shape (p,)
        Whether the point meets the constraints to 1e-6; where the multipliers did not converge it may not.
    """

    points: Array
    bounds: Array
    empty: bool
    inside: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SupportBatch:
    """The set ``{x: |x - c| <= r, l <= x <= u, A x <= b}`` seen from many directions at once.

    The dual has one multiplier for the ball and one for each half-space::

        max w . x  =  min_{v > 0, a >= 0}  max_{l <= x <= u} (w - A' a) . x - (v / 2)(|x - c|^2 - r^2) + a . b

    whose inner maximum is ``clip(c + (w - A' a) / v, l, u)``. A projected Newton method finds the
    multipliers of all directions together; the Hessian is a Gram matrix of size ``m + 1``.

    Parameters
    ----------
    center, radius : the ball
    lower, upper : ndarray, shape (d,)
        May be infinite.
    normals : ndarray, shape (m, d)
        Of length one.
    offsets : ndarray, shape (m,)
    tol : float
        Largest residual of a constraint or of complementarity, relative to the length of w.
    max_iter : int

    Examples
    --------
    >>> from linpoison.sets import Ball, Halfspace, Intersection
    >>> batch = SupportBatch.of(Intersection([Ball([0.0, 0.0], 1.0), Halfspace([1.0, 0.0], 0.6)]))
    >>> found = batch(np.array([[1.0, 0.0], [0.0, 2.0]]))
    >>> found.bounds.round(6), found.points[1].round(6) + 0.0
    (array([0.6, 2. ]), array([0., 1.]))
    """

    center: Array
    radius: float
    lower: Array
    upper: Array
    normals: Array
    offsets: Array
    tol: float = 1e-8
    max_iter: int = 60

    @classmethod
    def of(cls, region: FeasibleSet) -> SupportBatch:
        """The batch of a set made of one ball, boxes, half-spaces and slabs.

        Raises
        ------
        CapabilityError
            For any other set.
        """
        piece, d = region.piece, region.d
        if piece is None or piece.center is None or piece.radius == 0 or piece.counts or piece.tube:
            raise CapabilityError("one ball, boxes, half-spaces and slabs", repr(region))
        lower = np.full(d, -np.inf) if piece.lower is None else piece.lower
        upper = np.full(d, np.inf) if piece.upper is None else piece.upper
        return cls(piece.center, piece.radius, lower, upper, *_unit_halfspaces(piece, d))

    def __call__(self, directions: Array) -> Supports:
        """Supports in each row of `directions`, shape (p, d)."""
        length = np.linalg.norm(directions, axis=1)
        flat = (length == 0)[:, None]  # any point will do: that of some other direction
        some = np.full(directions.shape, 1.0 / np.sqrt(directions.shape[1]))
        dual = _Dual(self, np.where(flat, some, directions / np.where(flat, 1.0, length[:, None])))
        dual.solve()
        empty = bool((dual.value < dual.floor - _EMPTY).any())
        inside = self.violation(dual.x) <= _INSIDE * (1.0 + self.radius)
        return Supports(dual.x, dual.value * length, empty, inside)

    def violation(self, X: Array) -> Array:
        """Largest violation of each row, shape (n,)."""
        parts = [np.linalg.norm(X - self.center, axis=1) - self.radius, (self.lower - X).max(axis=1)]
        parts += [(X - self.upper).max(axis=1), *(X @ self.normals.T - self.offsets).T]
        return np.asarray(np.max(parts, axis=0)).clip(min=0)


def _unit_halfspaces(piece: Piece, d: int) -> tuple[Array, Array]:
    """Normals of length one and offsets of all rows, both sides of a slab."""
    if piece.rows is None or piece.low is None or piece.high is None:
        return np.zeros((0, d)), np.zeros(0)
    lengths = np.array([np.linalg.norm(row) for row in piece.rows])
    normals, below = piece.rows / lengths[:, None], np.isfinite(piece.low)
    return np.vstack([normals, -normals[below]]), np.concatenate([piece.high / lengths, -(piece.low / lengths)[below]])


class _Dual:
    """The multipliers of all directions, and the points that they give; the last column is the ball's."""

    def __init__(self, region: SupportBatch, w: Array) -> None:
        self.region, self.w = region, w
        self.multipliers = np.zeros((w.shape[0], region.offsets.size + 1))
        self.multipliers[:, -1] = 1.0 / region.radius
        self.least = np.zeros(region.offsets.size + 1)
        self.least[-1] = _LEAST / region.radius
        self.floor = w @ region.center - region.radius
        self.value, self.gradient, self.x, self.free = self.at(self.multipliers, np.arange(w.shape[0]))

    def at(self, multipliers: Array, rows: NDArray[np.intp]) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
        """Dual value, gradient, maximiser and its coordinates off the box, for some directions."""
        region, w, share, ball = self.region, self.w[rows], multipliers[:, :-1], multipliers[:, -1:]
        target = region.center + (w - share @ region.normals) / ball
        x = np.clip(target, region.lower, region.upper)
        offset = x - region.center
        slack = region.offsets - x @ region.normals.T
        room = 0.5 * (region.radius**2 - np.einsum("ij,ij->i", offset, offset))
        value = np.einsum("ij,ij->i", w, x) + np.einsum("ij,ij->i", share, slack) + ball[:, 0] * room
        return value, np.hstack([slack, room[:, None]]), x, (target > region.lower) & (target < region.upper)

    def solve(self) -> None:
        for _ in range(self.region.max_iter):
            rows = self.unsolved()
            if not rows.size or not self.step(rows):
                return

    def unsolved(self) -> NDArray[np.intp]:
        """Directions whose optimality conditions fail and whose set is not proved empty."""
        bound = self.multipliers <= self.least
        violated = np.where(bound, np.minimum(self.gradient, 0.0), self.gradient)
        weighed = violated * np.where(self.gradient > 0, np.minimum(self.multipliers, 1.0), 1.0)
        residual = np.abs(weighed).max(axis=1)
        return np.flatnonzero((residual > self.region.tol) & (self.value >= self.floor - _EMPTY))

    def step(self, rows: NDArray[np.intp]) -> bool:
        """One projected Newton step with backtracking; False if no direction moved."""
        old, gradient, value = self.multipliers[rows], self.gradient[rows], self.value[rows]
        direction = self.newton(rows, old, gradient)
        length, waiting = np.ones(rows.size), np.arange(rows.size)
        for _ in range(_BACKTRACKS):
            trial = np.maximum(old[waiting] + length[waiting, None] * direction[waiting], self.least)
            trial[:, -1] = np.maximum(trial[:, -1], 0.1 * old[waiting, -1])
            outcome = self.at(trial, rows[waiting])
            decrease = np.einsum("ij,ij->i", trial - old[waiting], gradient[waiting])
            good = outcome[0] <= value[waiting] + 1e-4 * decrease + 1e-15
            self._accept(rows[waiting[good]], trial[good], tuple(part[good] for part in outcome))
            waiting = waiting[~good]
            length[waiting] *= 0.4
            if not waiting.size:
                return True
        return waiting.size < rows.size

    def newton(self, rows: NDArray[np.intp], old: Array, gradient: Array) -> Array:
        region = self.region
        size = region.offsets.size + 1
        facets = np.broadcast_to(region.normals, (rows.size, *region.normals.shape))
        edges = np.concatenate([facets, (self.x[rows] - region.center)[:, None, :]], axis=1)
        edges = edges * self.free[rows][:, None, :]
        hessian = edges @ edges.transpose(0, 2, 1) / old[:, -1, None, None]
        trace = np.trace(hessian, axis1=1, axis2=2)[:, None, None] / size
        hessian = hessian + (1e-10 * trace + 1e-12) * np.eye(size)
        loose = ~((old <= self.least) & (gradient > 0))
        hessian = np.where(loose[:, :, None] & loose[:, None, :], hessian, np.eye(size))
        return np.asarray(np.linalg.solve(hessian, np.where(loose, -gradient, 0.0)[..., None])[..., 0])

    def _accept(self, rows: NDArray[np.intp], multipliers: Array, outcome: tuple[Array, ...]) -> None:
        self.multipliers[rows] = multipliers
        self.value[rows], self.gradient[rows], self.x[rows], self.free[rows] = outcome
