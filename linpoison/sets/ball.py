"""The Euclidean ball."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..core.validation import Array, Matrix, check_number
from .base import FeasibleSet, as_vector, squared_distances
from .piece import Piece


@dataclass(frozen=True, eq=False, repr=False)
class Ball(FeasibleSet):
    """``{x: |x - center| <= radius}``. The violation is the Euclidean distance to the ball.

    Parameters
    ----------
    center : array_like, shape (d,)
    radius : float
        At least 0; a radius of 0 leaves the center alone.

    Examples
    --------
    >>> ball = Ball([0.0, 0.0], 1.0)
    >>> ball.violation([[3.0, 4.0], [0.5, 0.0]])
    array([4., 0.])
    >>> ball.support([0.0, 2.0])
    array([0., 1.])
    """

    center: Array
    radius: float

    def __post_init__(self) -> None:
        self._set(center=as_vector(self.center, "center"), radius=check_number(self.radius, "radius", at_least=0))

    @property
    def d(self) -> int:
        return int(self.center.size)

    @property
    def normals(self) -> Array:
        return np.atleast_2d(self.center)

    @property
    def piece(self) -> Piece:
        return Piece(center=self.center, radius=self.radius)

    @cached_property
    def extent(self) -> float:
        return self.radius + float(np.linalg.norm(self.center))

    def _cone(self, u: Any, t: Any) -> list[Any]:
        return norm_at_most(u - self.center * t, self.radius, t)

    def _violation(self, X: Matrix) -> Array:
        return np.sqrt(squared_distances(X, self.center)) - self.radius

    def _support(self, w: Array) -> Array:
        return self.center + self.radius * unit(w)

    def _support_bound(self, w: Array) -> float:
        return self._at_support(w)

    def grown(self, by: float) -> FeasibleSet:
        return replace(self, radius=self.radius + by, relation="outer")

    def _project(self, X: Array) -> Array:
        offset = X - self.center
        return X - offset * excess_share(np.linalg.norm(offset, axis=1), self.radius)[:, None]


def norm_at_most(offset: Any, radius: float, t: Any) -> list[Any]:
    """``|offset| <= radius t``; an equation where the radius is zero."""
    import cvxpy as cp

    return [cp.norm2(offset) <= radius * t] if radius > 0 else [offset == 0]


def unit(w: Array) -> Array:
    """`w` scaled to length 1; zero stays zero."""
    largest = np.abs(w).max(initial=0.0)
    if largest == 0:
        return w
    scaled = w / largest
    return np.asarray(scaled / np.linalg.norm(scaled))


def excess_share(distance: Array, radius: float) -> Array:
    """The share ``(distance - radius)_+ / distance`` of an offset that a projection takes away."""
    outside = distance > radius
    return np.where(outside, 1.0 - radius / np.where(outside, distance, 1.0), 0.0)
