"""Bounds on each coordinate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from ..core import Array, InputError, Matrix, check_integer
from .base import FeasibleSet, as_vector, unbounded
from .piece import Piece

_BLOCK = 1 << 22  # dense entries that are held at a time


@dataclass(frozen=True, eq=False, repr=False)
class Box(FeasibleSet):
    """``{x: lower <= x <= upper}``. The violation is that of the worst coordinate.

    Parameters
    ----------
    lower, upper : array_like, shape (d,)
        With ``lower <= upper``; minus and plus infinity leave a side open.

    Examples
    --------
    >>> box = Box([0.0, 0.0], [1.0, np.inf])
    >>> box.violation([[1.5, 9.0], [0.5, -2.0]])
    array([0.5, 2. ])
    """

    lower: Array
    upper: Array

    def __post_init__(self) -> None:
        lower = as_vector(self.lower, "lower bounds", finite=False)
        upper = as_vector(self.upper, "upper bounds", lower.size, finite=False)
        if (lower > upper).any() or (lower == np.inf).any() or (upper == -np.inf).any():
            raise InputError("lower <= upper", "bounds that no point meets")
        self._set(lower=lower, upper=upper)

    @property
    def d(self) -> int:
        return int(self.lower.size)

    @property
    def piece(self) -> Piece:
        return Piece(lower=self.lower, upper=self.upper)

    @cached_property
    def extent(self) -> float:
        return float(np.linalg.norm(np.maximum(np.abs(self.lower), np.abs(self.upper))))

    def _cone(self, u: Any, t: Any) -> list[Any]:
        fixed = self.lower == self.upper
        low, high = np.isfinite(self.lower) & ~fixed, np.isfinite(self.upper) & ~fixed
        parts = []
        if fixed.any():
            parts.append(u[fixed] == self.lower[fixed] * t)
        if low.any():
            parts.append((u if low.all() else u[low]) >= self.lower[low] * t)
        if high.any():
            parts.append((u if high.all() else u[high]) <= self.upper[high] * t)
        return parts

    def _violation(self, X: Matrix) -> Array:
        if not sp.issparse(X):
            return np.asarray(np.maximum(self.lower - X, X - self.upper).max(axis=1))
        if (self.lower <= 0).all() and (self.upper >= 0).all():
            entries = np.maximum(self.lower[X.indices] - X.data, X.data - self.upper[X.indices]).clip(min=0)
            worst = sp.csr_array((entries, X.indices, X.indptr), shape=X.shape).max(axis=1)
            return np.asarray(worst.toarray()).ravel()
        return np.concatenate([np.zeros(0), *(self._violation(block) for block in dense_blocks(X))])

    def _support(self, w: Array) -> Array:
        corner = np.where(w > 0, self.upper, np.where(w < 0, self.lower, np.clip(0.0, self.lower, self.upper)))
        if not np.isfinite(corner).all():
            raise unbounded("box")
        return np.asarray(corner)

    def _support_bound(self, w: Array) -> float:
        return self._at_support(w)

    def _project(self, X: Array) -> Array:
        return np.clip(X, self.lower, self.upper)


class NonNegative(Box):
    """``{x: x >= 0}`` in R^d, a box without upper bounds, which is what files call it."""

    kind: ClassVar[str] = "Box"

    def __init__(self, d: int) -> None:
        size = check_integer(d, "d", at_least=1)
        super().__init__(np.zeros(size), np.full(size, np.inf))


def everywhere(d: int) -> Box:
    """All of R^d, as a box without bounds.

    Examples
    --------
    >>> everywhere(2).contains([[1e9, -1e9]])
    array([ True])
    """
    size = check_integer(d, "d", at_least=1)
    return Box(np.full(size, -np.inf), np.full(size, np.inf))


def dense_blocks(X: Any) -> Iterator[Array]:
    """The rows of a CSR matrix as dense blocks of bounded size."""
    step = max(1, _BLOCK // X.shape[1])
    for start in range(0, X.shape[0], step):
        yield X[start : start + step].toarray()
