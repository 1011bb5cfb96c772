"""The slab between two parallel hyperplanes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.validation import Array, Matrix, check_number
from .base import FeasibleSet, as_normal
from .halfspace import multiple_of
from .piece import Piece


@dataclass(frozen=True, eq=False, repr=False)
class Slab(FeasibleSet):
    """``{x: |normal . x - offset| <= halfwidth}``. The violation is the Euclidean distance to the slab.

    Parameters
    ----------
    normal : array_like, shape (d,)
        Any length but zero: offset and halfwidth are in units of ``normal . x``.
    offset : float
        ``normal . x`` in the middle of the slab.
    halfwidth : float
        At least 0.

    Examples
    --------
    >>> slab = Slab([2.0, 0.0], 0.0, 2.0)
    >>> slab.violation([[3.0, 9.0]])
    array([2.])
    >>> slab.project([[3.0, 9.0]])
    array([[1., 9.]])
    """

    normal: Array
    offset: float
    halfwidth: float

    def __post_init__(self) -> None:
        self._set(
            normal=as_normal(self.normal),
            offset=check_number(self.offset, "offset"),
            halfwidth=check_number(self.halfwidth, "halfwidth", at_least=0),
        )

    @property
    def d(self) -> int:
        return int(self.normal.size)

    @property
    def normals(self) -> Array:
        return np.atleast_2d(self.normal)

    @property
    def piece(self) -> Piece:
        low, high = self.offset - self.halfwidth, self.offset + self.halfwidth
        return Piece(rows=self.normals, low=np.array([low]), high=np.array([high]))

    def _cone(self, u: Any, t: Any) -> list[Any]:
        length = np.linalg.norm(self.normal)
        middle = (self.normal / length) @ u - (self.offset / length) * t
        if self.halfwidth == 0:
            return [middle == 0]
        reach = (self.halfwidth / length) * t
        return [middle <= reach, -middle <= reach]

    def _violation(self, X: Matrix) -> Array:
        return np.asarray((np.abs(X @ self.normal - self.offset) - self.halfwidth) / np.linalg.norm(self.normal))

    def _support(self, w: Array) -> Array:
        side = np.sign(multiple_of(w, self.normal, "slab"))
        return np.asarray(self.normal * ((self.offset + side * self.halfwidth) / (self.normal @ self.normal)))

    def grown(self, by: float) -> FeasibleSet:
        return replace(self, halfwidth=self.halfwidth + by * float(np.linalg.norm(self.normal)), relation="outer")

    def _project(self, X: Array) -> Array:
        length = np.linalg.norm(self.normal)
        side = np.sign(X @ self.normal - self.offset)
        return np.asarray(X - (side * np.maximum(self._violation(X), 0.0))[:, None] * (self.normal / length))
