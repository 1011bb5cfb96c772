"""The parts of an intersection that separate over coordinates once a few multipliers are fixed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core import Array, InfeasibleSet
from .base import FeasibleSet
from .piece import Piece, Tube


@dataclass(frozen=True, eq=False)
class Structure:
    """``{lower <= x <= upper, low <= A x <= high, |x|^2 <= radius^2 or its envelope around center}``.

    Coordinates are relative to `origin`, the center of a plain ball, so that only an envelope has a
    `center` of its own.

    Parameters
    ----------
    origin, lower, upper : ndarray, shape (d,)
    rows : ndarray, shape (m, d)
        ``A``, rows of length 1.
    low, high : ndarray, shape (m,)
    radius : float or None
        None without a core.
    center : ndarray, shape (d,), or None
        Center of an envelope of counts; None for a plain ball.
    tube : Tube or None
        Around the rest, in the coordinates of the user.
    """

    origin: Array
    lower: Array
    upper: Array
    rows: Array
    low: Array
    high: Array
    radius: float | None
    center: Array | None
    tube: Tube | None

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.origin.size)

    @property
    def boxed(self) -> bool:
        """Whether any coordinate has a bound."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    @cached_property
    def reach(self) -> float:
        """A bound on ``|x|`` over the set, infinite where the bounds and the core give none."""
        by_core = np.inf if self.radius is None else self.radius
        if self.center is not None and self.radius is not None:
            by_core += float(np.linalg.norm(self.center))
        corner = np.maximum(np.abs(self.lower), np.abs(self.upper))
        return min(float(by_core), float(np.linalg.norm(corner)))

    @property
    def somewhere(self) -> Array:
        """The point within the bounds that is nearest to zero, in the coordinates of the user."""
        return np.asarray(np.clip(0.0, self.lower + self.origin, self.upper + self.origin))

    @property
    def bounded_box(self) -> bool:
        """Whether every coordinate has both bounds."""
        return bool(np.isfinite(self.lower).all() and np.isfinite(self.upper).all())


def structure_of(feasible: FeasibleSet) -> Structure | None:
    """The structure of a set, or None where it has another one.

    Raises
    ------
    InfeasibleSet
        If bounds contradict each other.
    """
    piece = feasible.piece
    if piece is None:
        return None
    lower, upper = np.full(feasible.d, -np.inf), np.full(feasible.d, np.inf)
    origin, center, radius = np.zeros(feasible.d), None, None
    if piece.counts is not None:
        center, radius, lower, upper = piece.counts()
    elif piece.center is not None:
        origin, radius = piece.center, piece.radius
        if radius == 0:
            lower, upper, radius = origin.copy(), origin.copy(), None
    if piece.lower is not None and piece.upper is not None:
        lower, upper = np.maximum(lower, piece.lower), np.minimum(upper, piece.upper)
    if (lower > upper).any():
        raise InfeasibleSet("expected bounds that some point meets, got bounds that contradict each other.")
    rows, low, high = _of_unit_length(piece, origin)
    return Structure(origin, lower - origin, upper - origin, rows, low, high, radius, center, piece.tube)


def _of_unit_length(piece: Piece, origin: Array) -> tuple[Array, Array, Array]:
    if piece.rows is None or piece.low is None or piece.high is None:
        return np.zeros((0, origin.size)), np.zeros(0), np.zeros(0)
    lengths = np.array([np.linalg.norm(row) for row in piece.rows])
    rows = piece.rows / lengths[:, None]
    shift = np.array([row @ origin for row in rows])
    return rows, piece.low / lengths - shift, piece.high / lengths - shift
