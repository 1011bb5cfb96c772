"""The clean rows of a ridge claim: sums over them, each with a bound on what rounding may have done to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp

from ...core.dataset import Dataset
from ...core.parts import dense
from ...core.validation import Array, Matrix
from ...losses import Problem
from ..claim import Claim
from ..rounding import gamma

_SMALLEST, _GREATEST = 1e-100, 1e100
"""Column sizes beyond these bounds could underflow or overflow; nothing is then proved."""
FLOOR = 1e-150
"""Added to every norm, so that squares that underflow are paid for."""
_FAR = 4.0
"""A sparse column is shifted if its mean is so many times its standard deviation: such a column has few zeros."""


@dataclass(frozen=True, eq=False)
class CleanRows:
    """Rows ``e_i = (x_i - origin, 1)`` with shares ``q_i = c_i / sum_j c_j``, in floating point.

    A subtraction and a division round once, so that the entries of ``e_i`` and the shares are those of the true rows up
    to a relative error of ``2 u`` each. Everything below is charged for that and for its own sums.

    Parameters
    ----------
    E : ndarray or csr_array, shape (n, D)
        ``D`` is ``d + 1`` if an intercept is fitted, else ``d`` (and then the 1 is left out).
    y, share : ndarray, shape (n,)
    origin : ndarray, shape (d,)
        Any finite vector if the intercept is free, else 0.
    """

    E: Matrix
    y: Array
    share: Array
    origin: Array

    @classmethod
    def of(cls, claim: Claim, origin: Any = None) -> CleanRows:
        """The rows of a claim; the origin is the mean of the columns where that is a symmetry, unless one is given."""
        train, problem = claim.train, claim.problem
        free = problem.fit_intercept and not problem.penalize_intercept
        key = (
            train.digest(),
            claim.mass,
            problem.fit_intercept,
            free,
            None if origin is None else np.asarray(origin).tobytes(),
        )
        kept = _KEPT.get(train)
        if kept is not None and kept[0] == key:
            return kept[1]
        found = cls.made(train, claim.share, problem, origin)
        _KEPT[train] = (key, found)
        return found

    @classmethod
    def made(cls, data: Dataset, share: Array, problem: Problem, origin: Any = None) -> CleanRows:
        """The rows of data with shares of sum 1, from an origin as in `of`."""
        at = np.zeros(data.d)
        if problem.fit_intercept and not problem.penalize_intercept:
            at = _origin(data.X, share) if origin is None else np.asarray(origin, dtype=np.float64)
        E = shifted(data.X, at)
        if problem.fit_intercept:
            ones = np.ones((data.n, 1))
            E = sp.csr_array(sp.hstack([E, ones])) if sp.issparse(E) else np.hstack([E, ones])
        return cls(E, data.y, share, at)

    @cached_property
    def dense(self) -> Array:
        """The rows, dense."""
        return dense(self.E)

    @property
    def step(self) -> int:
        """How many rows are summed before the partial sums are: errors grow with ``sqrt(n)`` instead of n."""
        return max(64, math.isqrt(len(self.y)))

    @property
    def depth(self) -> float:
        """What `gamma` takes for a sum over the rows, with the errors of entries and shares."""
        n = len(self.y)
        return min(n, self.step) + math.ceil(n / self.step) + 8

    @cached_property
    def gram(self) -> Array:
        """``sum_i q_i e_i e_i'``, shape (D, D)."""
        root = np.sqrt(self.share)[:, None]
        if sp.issparse(self.E):
            scaled = self.E.multiply(root).tocsr()
            return np.asarray((scaled.T @ scaled).toarray())
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = self.E * root
            return np.asarray(scaled.T @ scaled)

    @cached_property
    def moment(self) -> Array:
        """``sum_i q_i y_i e_i``, shape (D,)."""
        return self.pulled(self.y[:, None])[:, 0]

    @cached_property
    def sizes(self) -> Array:
        """No less than ``sqrt(sum_i q_i e_ij^2)``, which ``sum_i q_i |e_ij|`` does not exceed either, shape (D,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            squares = self.E.multiply(self.E).T @ self.share if sp.issparse(self.E) else self.share @ self.E**2
        found = np.sqrt(np.asarray(squares).ravel()) * (1 + gamma(len(self.y) + 8))
        fine = (found == 0) | ((found > _SMALLEST) & (found < _GREATEST))
        return np.where(fine, found, np.inf)

    @cached_property
    def middle(self) -> Array:
        """No less than ``|sum_i q_i e_i|``, entry by entry, shape (D,)."""
        return np.abs(self.pulled(np.ones((len(self.y), 1)))[:, 0]) + gamma(self.depth) * self.sizes

    def lengths(self, scale: Array) -> Array:
        """No less than ``|e_i / scale|``, shape (n,)."""
        scaled = self.E.multiply(1 / scale).tocsr() if sp.issparse(self.E) else self.E / scale
        squares = scaled.multiply(scaled).sum(axis=1) if sp.issparse(scaled) else np.einsum("ij,ij->i", scaled, scaled)
        return np.sqrt(np.asarray(squares).ravel()) * (1 + gamma(len(scale) + 8)) + FLOOR

    def scores(self, V: Array) -> Array:
        """``e_i . v`` for each column `v` of `V`, shape (n, columns)."""
        return np.asarray(self.E @ V)

    def pulled(self, T: Array) -> Array:
        """``sum_i q_i t_i e_i`` for each column `t` of `T`, by blocks of `step` rows, shape (D, columns)."""
        weighted, total = self.share[:, None] * T, np.zeros((self.E.shape[1], T.shape[1]))
        for i in range(0, len(T), self.step):
            total += self.E[i : i + self.step].T @ weighted[i : i + self.step]
        return total

    def rms(self, T: Array) -> Array:
        """No less than ``sqrt(sum_i q_i t_i^2)`` of each column `t` of `T`, shape (columns,)."""
        total = np.zeros(T.shape[1])
        for i in range(0, len(T), self.step):
            total += self.share[i : i + self.step] @ T[i : i + self.step] ** 2
        return np.sqrt(total) * (1 + gamma(self.depth)) + FLOOR


_KEPT: WeakKeyDictionary[Dataset, tuple[Any, CleanRows]] = WeakKeyDictionary()
"""The rows of data that are alive: a radius or a test error asks for them once for each budget and kind of row.

With the hash of the rows: a dataset is a view of arrays that somebody else may have changed since."""


def shifted(X: Matrix, origin: Array) -> Matrix:
    """``x - origin`` with one rounding for each entry; only columns that move become dense in a sparse matrix."""
    moved = np.flatnonzero(origin)
    if not moved.size:
        return X
    if not sp.issparse(X):
        return np.asarray(X - origin)
    still = np.ones(X.shape[1])
    still[moved] = 0.0
    block = sp.csr_array(X[:, moved].toarray() - origin[moved])
    place = sp.csr_array((np.ones(moved.size), (np.arange(moved.size), moved)), shape=(moved.size, X.shape[1]))
    return sp.csr_array(X.multiply(still)) + block @ place


def _origin(X: Matrix, share: Array) -> Array:
    """Means of the columns; zero for sparse columns near zero, and where the mean overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.asarray(share @ X).ravel() if not sp.issparse(X) else np.asarray(X.T @ share).ravel()
        if sp.issparse(X):
            variance = np.asarray(X.multiply(X).T @ share).ravel() - mean**2
            mean = np.where(np.abs(mean) > _FAR * np.sqrt(np.maximum(variance, 0.0)), mean, 0.0)
    return np.where(np.isfinite(mean), mean, 0.0)
