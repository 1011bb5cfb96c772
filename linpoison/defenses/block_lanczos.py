"""Leading eigenpairs of a large Gram matrix, hundreds or thousands of them, by block Lanczos iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import eigh, qr

from ..core.validation import Array

_PANEL = 512  # columns of the Krylov basis that are stored in one array


@dataclass(eq=False)
class BlockLanczos:
    """Orthonormal basis Q of a block Krylov space of G, with ``Q' G Q`` block tridiagonal.

    Each step multiplies G with the newest block and orthogonalises the result against all earlier
    columns. Nothing is restarted: with a basis some three times as wide as the number of wanted
    eigenvectors these are exact to rounding, and all the work is products of matrices.

    Parameters
    ----------
    apply : callable
        ``V -> G V`` for V of shape (size, width); G is positive semidefinite.
    width : int
        Columns of a block.

    Attributes
    ----------
    columns : int
        Columns of Q so far, without the newest block, whose product is not known yet.
    exhausted : bool
        The space is invariant: no step can widen it.

    References
    ----------
    Golub and Underwood, "The block Lanczos method for computing eigenvalues" (1977).
    """

    apply: Callable[[Array], Array]
    size: int
    width: int
    columns: int = field(default=0, init=False)
    exhausted: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        start = np.random.default_rng(0).standard_normal((self.size, min(self.width, self.size)))
        self._panels: list[Array] = []
        self._used = _PANEL
        self._newest = np.asarray(qr(start, mode="economic")[0])
        self._before: Array | None = None
        self._diagonal: list[Array] = []
        self._below: list[Array] = []

    def grow(self, columns: int) -> None:
        """Take steps until Q has at least so many columns, or is exhausted."""
        while self.columns < columns and not self.exhausted:
            self._step()

    def pairs(self) -> tuple[Array, Array, Array]:
        """Ritz values (greatest first), their vectors in terms of Q, and the norms of their residuals."""
        values, inner = eigh(self._projected(), driver="evd", check_finite=False, overwrite_a=True)
        values, inner = values[::-1].clip(min=0), inner[:, ::-1]
        last = self._diagonal[-1].shape[0]
        return values, inner, np.linalg.norm(self._below[-1] @ inner[-last:], axis=0)

    def expand(self, inner: Array) -> Array:
        """``Q inner`` for columns of `pairs`."""
        total = np.zeros((self.size, inner.shape[1]))
        start = 0
        for panel in self._filled():
            total += panel @ inner[start : start + panel.shape[1]]
            start += panel.shape[1]
        return total

    def _step(self) -> None:
        block = self._newest
        self._store(block)
        fresh = self.apply(block)
        if self._before is not None:
            fresh -= self._before @ self._below[-1].T
        diagonal = block.T @ fresh
        fresh -= block @ diagonal
        self._diagonal.append(0.5 * (diagonal + diagonal.T))
        self._clean(fresh)
        self._before = block
        self._newest, below = self._split(fresh)
        self._below.append(below)
        self.columns += block.shape[1]
        self.exhausted = below.shape[0] == 0

    def _split(self, fresh: Array) -> tuple[Array, Array]:
        """Orthonormal columns for the next block and ``next' G block``; directions of rounding are dropped."""
        basis, triangle, order = qr(fresh, mode="economic", pivoting=True, check_finite=False)
        sizes = np.abs(np.diag(triangle))
        rank = int((sizes > 1e-14 * self._scale()).sum())
        below = np.empty((rank, fresh.shape[1]))
        below[:, order] = triangle[:rank]
        basis = np.ascontiguousarray(basis[:, :rank])
        if rank and sizes[rank - 1] < 1e-3 * sizes[0]:
            for _ in range(2):
                self._clean(basis)
                basis, turn = qr(basis, mode="economic", check_finite=False)
                below = turn @ below
        return basis, below

    def _scale(self) -> float:
        return max(float(np.linalg.norm(self._diagonal[0])), np.finfo(float).tiny)

    def _clean(self, block: Array) -> None:
        """Remove what lies along the stored columns."""
        for panel in self._filled():
            block -= panel @ (panel.T @ block)

    def _store(self, block: Array) -> None:
        if self._used + block.shape[1] > _PANEL:
            self._trim()
            self._panels.append(np.empty((self.size, max(_PANEL, block.shape[1])), order="F"))
            self._used = 0
        self._panels[-1][:, self._used : self._used + block.shape[1]] = block
        self._used += block.shape[1]

    def _trim(self) -> None:
        if self._panels:
            self._panels[-1] = self._panels[-1][:, : self._used]

    def _filled(self) -> list[Array]:
        return [*self._panels[:-1], self._panels[-1][:, : self._used]]

    def _projected(self) -> Array:
        matrix = np.zeros((self.columns, self.columns))
        start = 0
        for diagonal, below in zip(self._diagonal, self._below, strict=True):
            stop = start + diagonal.shape[0]
            matrix[start:stop, start:stop] = diagonal
            if stop < self.columns:
                matrix[stop : stop + below.shape[0], start:stop] = below
                matrix[start:stop, stop : stop + below.shape[0]] = below.T
            start = stop
        return matrix
