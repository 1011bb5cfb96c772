"""The top right singular vectors of a large sparse matrix, as many as its energy calls for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from ..core.validation import Array, Matrix
from .rows import squared_norms

_DENSE = 600  # a Gram matrix up to this size is decomposed at once
_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Subspace:
    """The main right subspace of a matrix.

    Parameters
    ----------
    basis : ndarray of shape (d, k)
        Orthonormal columns, greatest singular value first.
    values : ndarray of shape (k,)
        Singular values.
    """

    basis: Array
    values: Array


def principal_subspace(X: Matrix, energy: float, *, rank_hint: int | None = None) -> Subspace:
    """Return the least number of top right singular vectors that exceed a share of the energy.

    ::

        k = min {k : sum_{i <= k} sigma_i^2 > energy |X|_F^2}

    Eigenvectors of the smaller of ``X X'`` and ``X' X``, by Lanczos iteration with products of X
    (never formed), in growing numbers until the energy is reached; small matrices are decomposed
    at once. Deterministic.

    Parameters
    ----------
    X : ndarray or csr_array, shape (n, d)
    energy : float
        In (0, 1).
    rank_hint : int, optional
        A guess of k, such as that of a similar matrix; it saves time only.

    Returns
    -------
    Subspace
        Without a column if X is zero.
    """
    goal = energy * float(squared_norms(X).sum())
    if goal == 0:
        return Subspace(np.zeros((X.shape[1], 0)), np.zeros(0))
    wide = X.shape[0] < X.shape[1]
    tall = sp.csr_array(X.T) if wide and sp.issparse(X) else (X.T if wide else X)
    values, vectors = _leading(tall, goal, rank_hint)
    k = min(int(np.searchsorted(np.cumsum(values), goal, side="right")) + 1, values.size)
    values, vectors = values[:k], vectors[:, :k]
    if wide:
        vectors = np.linalg.qr(np.asarray(tall @ vectors) / np.sqrt(values))[0]
    return Subspace(vectors, np.sqrt(values))


def _leading(tall: Matrix, goal: float, rank_hint: int | None) -> tuple[Array, Array]:
    """Eigenpairs of ``tall' tall``, greatest first, whose values sum to more than `goal`."""
    size = tall.shape[1]
    k = min(100, size // 3) if rank_hint is None else rank_hint + 8
    while size > _DENSE and k < size // 3:
        try:
            values, vectors = _lanczos(tall, k)
        except ArpackNoConvergence:
            break
        if values.sum() > goal:
            return values, vectors
        k = _larger_rank(values, goal)
    return _dense(tall)


def _dense(tall: Matrix) -> tuple[Array, Array]:
    gram = tall.T @ tall
    values, vectors = np.linalg.eigh(gram.toarray() if sp.issparse(gram) else gram)
    return values[::-1].clip(min=0), vectors[:, ::-1]


def _lanczos(tall: Matrix, k: int) -> tuple[Array, Array]:
    size = tall.shape[1]
    across = sp.csr_array(tall.T) if sp.issparse(tall) else tall.T
    gram = LinearOperator((size, size), matvec=lambda v: across @ (tall @ v), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    values, vectors = eigsh(gram, k=k, v0=start, tol=_TOLERANCE)
    return values[::-1].clip(min=0), vectors[:, ::-1]


def _larger_rank(values: Array, goal: float) -> int:
    """Guess k from the values so far, as if they went on falling like a power of their index."""
    k = values.size
    tail = np.arange(k // 2, k) + 1.0
    slope = np.polyfit(np.log(tail), np.log(values[k // 2 :].clip(min=values[0] * 1e-16)), 1)[0]
    index = np.arange(k + 1.0, 20 * k)
    reached = values.sum() + np.cumsum(values[-1] * (index / k) ** slope)
    return int(1.25 * (k + 1 + np.searchsorted(reached, goal)))
