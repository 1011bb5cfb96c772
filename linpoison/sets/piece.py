"""What a set adds to the separable structure of an intersection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.validation import Array

MAX_ROWS = 12
"""Most half-spaces and slabs that the structured solvers take on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """``{x: |(I - B B') (x - center)| <= radius}``.

    Parameters
    ----------
    basis : ndarray, shape (d, k)
        ``B``, with orthonormal columns.
    center : ndarray, shape (d,)
    """

    basis: Array
    center: Array
    radius: float


Bounds = tuple[Array | None, float | None, Array, Array]
"""Center and radius, if they are more than the bounds after them say: lower and upper, shape (d,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """``{x: lower <= x <= upper, low <= A x <= high, |x - center| <= radius}``, in a tube: each as far as it is given.

    Parameters
    ----------
    lower, upper : ndarray, shape (d,), optional
    rows : ndarray, shape (m, d), optional
        ``A``, of any length but zero.
    low, high : ndarray, shape (m,), optional
        May be infinite.
    center : ndarray, shape (d,), optional
    radius : float, optional
    counts : callable, optional
        Tells the envelope of counts that takes the place of the ball around `center`, or raises if it is empty.
    tube : Tube, optional
    """

    lower: Array | None = None
    upper: Array | None = None
    rows: Array | None = None
    low: Array | None = None
    high: Array | None = None
    center: Array | None = None
    radius: float = 0.0
    counts: Callable[[], Bounds] | None = None
    tube: Tube | None = None

    @property
    def is_box(self) -> bool:
        """Whether there are bounds on the coordinates and nothing else."""
        return self.rows is None and self.center is None and self.tube is None

    @property
    def is_ball(self) -> bool:
        """Whether there is a Euclidean ball and nothing else."""
        rest = (self.counts, self.rows, self.lower, self.tube)
        return self.center is not None and all(part is None for part in rest)

    @property
    def slab(self) -> tuple[Array, float, float] | None:
        """Normal, offset and halfwidth where there is one row with both sides, None elsewhere."""
        if self.rows is None or self.low is None or self.high is None or len(self.low) > 1 or self.low[0] == -np.inf:
            return None
        return self.rows[0], float(self.low[0] + self.high[0]) / 2, float(self.high[0] - self.low[0]) / 2


def joined(pieces: Sequence[Piece | None]) -> Piece | None:
    """What several sets add together; None where one adds nothing, or all add more than the solvers take on."""
    known = [piece for piece in pieces if piece is not None]
    cores = [piece for piece in known if piece.center is not None]
    tubes = [piece.tube for piece in known if piece.tube is not None]
    rows, low, high, lower, upper = (_given(known, name) for name in ("rows", "low", "high", "lower", "upper"))
    if len(known) < len(pieces) or len(cores) > 1 or len(tubes) > 1 or sum(map(len, rows)) > MAX_ROWS:
        return None
    core = cores[0] if cores else Piece()
    return replace(
        core,
        lower=np.max(lower, axis=0) if lower else None,
        upper=np.min(upper, axis=0) if upper else None,
        rows=np.concatenate(rows) if rows else None,
        low=np.concatenate(low) if low else None,
        high=np.concatenate(high) if high else None,
        tube=tubes[0] if tubes else None,
    )


def _given(pieces: Sequence[Piece], name: str) -> list[Array]:
    return [value for value in (getattr(piece, name) for piece in pieces) if value is not None]
