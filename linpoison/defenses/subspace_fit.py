"""The top right singular vectors of a large sparse matrix, as many as its energy calls for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cholesky, solve_triangular

from ..core.parts import dense
from ..core.validation import Array, Matrix, squared_norms
from ..learners.base import narrow
from .block_lanczos import BlockLanczos
from .rows import cancelled, chunks

_DENSE = 600  # a Gram matrix up to this size is decomposed at once
_ANGLE = 1e-9  # between the computed subspace and the true one
_ROUNDING = 1e-14  # a residual this small against the largest eigenvalue is rounding
_WIDE = 10_000  # rows from which blocks are wider
_EIGH = 9.0  # multiplications of a full decomposition, in cubes of the size
_GUESSED = 4_000  # size above which the work of sparse rows is worth a guess
_SPAN = 2.75  # columns of the Krylov basis for each wanted vector, at first


@dataclass(frozen=True, eq=False)
class Subspace:
    """The main right subspace of a matrix.

    Parameters
    ----------
    X : ndarray or csr_array, shape (n, d)
        The matrix.
    values : ndarray of shape (k,)
        Singular values, greatest first.
    left, right : ndarray of shape (n, k) or (d, k), optional
        Singular vectors; one of the two is enough.
    """

    X: Matrix
    values: Array
    left: Array | None = None
    right: Array | None = None

    @property
    def rank(self) -> int:
        """Number of singular vectors."""
        return int(self.values.size)

    @cached_property
    def basis(self) -> Array:
        """Right singular vectors, orthonormal columns of shape (d, k)."""
        if self.right is not None:
            return self.right
        return _orthonormal(np.asarray(self.X.T @ (self._left / self.values)))

    def first(self, k: int) -> Subspace:
        """The subspace of the k greatest singular values."""
        cut = [None if part is None else part[:, :k] for part in (self.left, self.right)]
        return replace(self, values=self.values[:k], left=cut[0], right=cut[1])

    def coordinates(self, rows: Array) -> Array:
        """``rows B`` of a few dense rows (m, d), shape (m, k)."""
        if self.right is not None:
            return np.asarray(rows @ self.right)
        return np.asarray((self.X @ rows.T).T @ (self._left / self.values))

    def combine(self, coordinates: Array) -> Array:
        """``coordinates B'``, dense rows of shape (m, d)."""
        if self.right is not None:
            return np.asarray(coordinates @ self.right.T)
        return np.asarray((self.X.T @ (coordinates @ (self._left / self.values).T).T).T)

    def own_coordinates(self) -> Array:
        """``X B``, shape (n, k)."""
        return np.asarray(self.X @ self.right) if self.right is not None else self._left * self.values

    def own_residuals(self, extra: Array) -> Array:
        """``|(I - B B' - E E') x|`` of the rows of the matrix, for orthonormal rows E (m, d) outside the subspace.

        Without the right singular vectors where they are not known: they need more memory than all the rest.
        """
        along = self.own_coordinates()
        beside = np.asarray(self.X @ extra.T)
        norms = squared_norms(self.X)
        squared = norms - squared_norms(along) - squared_norms(beside)
        for rows in chunks(cancelled(squared, norms)):
            part = dense(self.X[rows]) - self.combine(along[rows]) - beside[rows] @ extra
            squared[rows] = squared_norms(part)
        return np.sqrt(squared)

    @property
    def _left(self) -> Array:
        if self.left is None:
            raise AttributeError("left singular vectors")
        return self.left


def principal_subspace(X: Matrix, energy: float, *, rank_hint: int | None = None, limit: int | None = None) -> Subspace:
    """Return the least number of top right singular vectors that exceed a share of the energy.

    ::

        k = min {k : sum_{i <= k} sigma_i^2 > energy |X|_F^2}

    Eigenvectors of the smaller of ``X X'`` and ``X' X``, by block Lanczos iteration with products
    of X (never formed), until the angle between the subspace and its limit is below 1e-9, or the
    residuals are rounding; small matrices, and flat spectra, are decomposed at once. Deterministic.
    Word counts of 25,000 rows with 1,400 such vectors take a Krylov basis of 4,000 columns.

    Parameters
    ----------
    X : ndarray or csr_array, shape (n, d)
    energy : float
        In (0, 1).
    rank_hint : int, optional
        A guess of k, such as that of a similar matrix; it saves time only.
    limit : int, optional
        The most vectors to return; a greater k is cut to it.

    Returns
    -------
    Subspace
        Without a vector if X is zero.
    """
    total = float(squared_norms(X).sum())
    if total == 0:
        return Subspace(X, np.zeros(0), right=np.zeros((X.shape[1], 0)))
    wide = X.shape[0] < X.shape[1]
    X = narrow(X)
    most = min(X.shape) if limit is None else min(limit, *X.shape)
    values, vectors = _leading(X, total, energy * total, most, rank_hint)
    k = _enough(values, energy * total, most)
    values, vectors = np.sqrt(values[:k]), vectors[:, :k]
    return Subspace(X, values, left=vectors) if wide else Subspace(X, values, right=vectors)


def subspace_work(X: Matrix, energy: float) -> float:
    """About how many multiplications `principal_subspace` takes.

    Of large sparse rows by a guess of k from a few eigenvalues l_1, ..., l_m and the energy that these leave. The
    others are taken to fall as ``l_m (i / m)^-s``, with the s by which all of them sum to that energy.
    """
    size, across = min(X.shape), max(X.shape)
    whole = _EIGH * size**3 + (0.0 if sp.issparse(X) else float(size) ** 2 * across)
    if not sp.issparse(X) or size <= _GUESSED:
        return whole
    wide, X = X.shape[0] < X.shape[1], narrow(X)
    turned = sp.csr_array(X.T)
    first, second = (turned, X) if wide else (X, turned)
    krylov = BlockLanczos(lambda block: np.asarray(second @ (first @ block)), size, 16)
    krylov.grow(192)
    total = float(squared_norms(X).sum())
    columns = _SPAN * _rank_of_power_law(krylov.pairs()[0][:64], total, energy, size)
    return min(whole, 2.0 * size * columns**2) if columns < 0.6 * size else whole


def _rank_of_power_law(values: Array, total: float, energy: float, size: int) -> int:
    """The number of eigenvalues that exceed a share of the energy, if those after `values` fall like a power."""
    left, log = total - values.sum(), np.log(np.arange(values.size + 1.0, size + 1.0) / values.size)
    if values[-1] <= 0 or left <= 0:
        return int(values.size)
    low, high = 0.0, 64.0  # of s: the sum falls with it
    for _ in range(50):
        s = (low + high) / 2
        low, high = (s, high) if values[-1] * np.exp(-s * log).sum() > left else (low, s)
    fallen = np.concatenate([values, values[-1] * np.exp(-low * log)])
    return int(np.searchsorted(np.cumsum(fallen), energy * total)) + 1


def _enough(values: Array, goal: float, most: int) -> int:
    """How many eigenvalues sum to more than `goal`; `most`, or all of them, if they do not."""
    return min(int(np.searchsorted(np.cumsum(values), goal, side="right")) + 1, values.size, most)


def _leading(X: Matrix, total: float, goal: float, most: int, rank_hint: int | None) -> tuple[Array, Array]:
    """Eigenpairs of the smaller Gram matrix, greatest first: `most`, or fewer that sum to more than `goal`."""
    size, wide = min(X.shape), X.shape[0] < X.shape[1]
    if size <= _DENSE:
        return _dense(X, wide)
    across = sp.csr_array(X.T) if sp.issparse(X) else X.T
    first, second = (across, X) if wide else (X, across)
    width = 16 if size < _WIDE else 64
    krylov = BlockLanczos(lambda block: np.asarray(second @ (first @ block)), size, width)
    columns = 6 * width if rank_hint is None else int(_SPAN * min(rank_hint, most)) + 3 * width
    columns = min(columns, size // 2)
    while columns < 0.6 * size and not krylov.exhausted:
        krylov.grow(columns)
        values, inner, residuals = krylov.pairs()
        k = _enough(values, goal, most)
        if values.sum() > goal or k == most:
            if _settled(values, residuals, k) and (not krylov.exhausted or values.sum() > (1 - 1e-10) * total):
                return values[:k], krylov.expand(np.ascontiguousarray(inner[:, :k]))
            columns = max(krylov.columns + 2 * width, int(min(1.1 * krylov.columns, _SPAN * k)))
        else:
            columns = max(int(1.2 * krylov.columns), int(_SPAN * min(_larger_rank(values, goal), most)))
    return _dense(X, wide)


def _settled(values: Array, residuals: Array, k: int) -> bool:
    """Whether the span of the first k Ritz vectors is that of the first k eigenvectors."""
    gap = values[k - 1] - (values[k] if k < values.size else 0.0)
    return bool(residuals[:k].max() <= max(_ANGLE * gap, _ROUNDING * values[0]))


def _dense(X: Matrix, wide: bool) -> tuple[Array, Array]:
    gram = X @ X.T if wide else X.T @ X
    values, vectors = np.linalg.eigh(dense(gram))
    return values[::-1].clip(min=0), vectors[:, ::-1]


def _larger_rank(values: Array, goal: float) -> int:
    """Guess k from the values so far, as if they went on falling like a power of their index."""
    k = max(values.size // 3, 2)  # only these are near eigenvalues
    tail = np.arange(k // 2, k) + 1.0
    slope = np.polyfit(np.log(tail), np.log(values[k // 2 : k].clip(min=values[0] * 1e-16)), 1)[0] if k > 3 else -1.0
    index = np.arange(k + 1.0, 40 * k)
    reached = values[:k].sum() + np.cumsum(values[k - 1] * (index / k) ** slope)
    return int(k + 1 + np.searchsorted(reached, goal))


def _orthonormal(columns: Array) -> Array:
    """Columns that are nearly orthonormal, made so (Cholesky QR)."""
    factor = cholesky(columns.T @ columns, lower=False, check_finite=False)
    turned = solve_triangular(factor, columns.T, trans="T", lower=False, check_finite=False, overwrite_b=True)
    return np.asarray(turned.T)
