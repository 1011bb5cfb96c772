"""The Hessian of a linear learning problem as something to solve with, on its smaller side."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtrs
from scipy.sparse.linalg import LinearOperator, cg

from ..core import Array, Matrix, SolverFailed, squared_norms
from ..core.parts import dense
from .base import with_ones

DIRECT = 700
"""The smaller side (curved rows, or columns) up to which the Hessian is factorised at once."""
STALLED = 2500
"""The smaller side up to which it is factorised where conjugate gradients stall."""


class Hessian:
    """``H = diag(penalty) + sum_i k_i (x_i, 1)(x_i, 1)'`` in ``(theta, b)``, to solve ``H s = v``.

    Three routes. With ``A`` the rows of positive curvature ``k`` and
    ``K`` the diagonal matrix of their curvatures:

    * few rows: Woodbury's identity, with a Cholesky factor of ``M = I + K^(1/2) A A' K^(1/2) / lam``;
      the intercept by its Schur complement ``s = penalty_b + 1' K^(1/2) M^(-1) K^(1/2) 1``;
    * few columns: a Cholesky factor of ``H`` itself;
    * otherwise conjugate gradients on products with ``A``, in coordinates scaled to a unit diagonal;
      where they stall, one of the former if it is affordable at all.

    Parameters
    ----------
    X : dense or CSR, shape (n, d)
    curvature : ndarray of shape (n,)
        ``k >= 0``: the share of a row times the second derivative of its loss.
    penalty : ndarray of shape (d + 1,)
        One positive number for all coefficients, and that of the intercept, which may be zero.
    fit_intercept : bool, default True
        If False the intercept is held: its entry of every answer is zero.
    rtol : float, default 1e-12
        Of conjugate gradients.
    max_iter : int, default 2000
        Of conjugate gradients.
    direct : int, optional
        The smaller side up to which the Hessian is factorised at once; `DIRECT` by default.

    Attributes
    ----------
    stalled : bool
        Whether conjugate gradients ended before their tolerance in the last `solve`.
    """

    def __init__(
        self,
        X: Matrix,
        curvature: Array,
        penalty: Array,
        *,
        fit_intercept: bool = True,
        rtol: float = 1e-12,
        max_iter: int = 2000,
        direct: int | None = None,
    ) -> None:
        curved = np.flatnonzero(curvature > 0)
        self.rows: Matrix = X if curved.size == X.shape[0] else X[curved]
        self.curvature = curvature[curved]
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.rtol, self.max_iter = rtol, max_iter
        self.direct = DIRECT if direct is None else direct
        self.stalled = False

    @property
    def smaller_side(self) -> int:
        """Curved rows or columns, whichever are fewer: what a factorisation costs the cube of."""
        return int(min(self.rows.shape))

    def product(self, s: Array) -> Array:
        """``H s`` for ``s`` of shape (d + 1,); with a held intercept ``s`` has zero there, and so has the answer."""
        pushed = self.curvature * (self.rows @ s[:-1] + s[-1])
        image = np.append(np.asarray(self.rows.T @ pushed).ravel(), pushed.sum()) + self.penalty * s
        image[-1] *= float(self.fit_intercept)
        return np.asarray(image)

    def residual(self, s: Array, v: Array) -> float:
        """``|H s - v| / |v|`` in coordinates scaled to a unit diagonal."""
        return float(np.linalg.norm(self._scale * (self.product(s) - v)) / np.linalg.norm(self._scale * v))

    def solve(self, v: Array) -> Array:
        """``H^(-1) v``, shape (d + 1,)."""
        vector = np.asarray(v, dtype=np.float64)
        if self.smaller_side > self.direct:
            answer = self._by_iterations(vector)
            if not self.stalled or self.smaller_side > STALLED:
                return answer
        few_rows = self.rows.shape[0] <= self.rows.shape[1]
        return self._by_rows(vector) if few_rows else self._by_columns(vector)

    def matrix(self) -> Array:
        """``H``, dense, shape (d + 1, d + 1); with a held intercept its row and column are zero."""
        full = with_ones(self.rows)
        weighed = full.multiply(self._root[:, None]).tocsr() if sp.issparse(full) else full * self._root[:, None]
        gram = weighed.T @ weighed
        full = dense(gram) + np.diag(self.penalty)
        if not self.fit_intercept:
            full[-1] = full[:, -1] = 0.0
        return np.asarray(full)

    @cached_property
    def _root(self) -> Array:
        return np.asarray(np.sqrt(self.curvature))

    @cached_property
    def _row_factor(self) -> Any:
        try:
            return _factor(self._row_matrix())
        except LinAlgError:  # nearly equal rows far from the origin: rounding has eaten the penalty
            matrix = self._row_matrix()
            matrix[np.diag_indices_from(matrix)] += 4 * len(matrix) * np.finfo(float).eps * matrix.diagonal().max()
            return _factor(matrix)

    def _row_matrix(self) -> Array:
        matrix = dense(self.rows @ self.rows.T) * (self._root[:, None] * self._root / self.penalty[0])
        matrix.flat[:: len(matrix) + 1] += 1.0
        return np.asarray(matrix)

    def _shrunk(self, r: Array) -> Array:
        """``(lam I + A' K A)^(-1) r``."""
        lam = self.penalty[0]
        inner = _factor_solve(self._row_factor, self._root * (self.rows @ r))
        return np.asarray((r - np.asarray(self.rows.T @ (self._root * inner)).ravel() / lam) / lam)

    @cached_property
    def _border(self) -> tuple[Array, float]:
        """``G^(-1) A' K 1`` and the Schur complement of the intercept, with ``G = lam I + A' K A``."""
        half = _triangular(self._row_factor, self._root)
        inner = _triangular(self._row_factor, half, transposed=True)
        reach = np.asarray(self.rows.T @ (self._root * inner)).ravel() / self.penalty[0]
        return reach, float(self.penalty[-1] + half @ half)

    def _by_rows(self, v: Array) -> Array:
        start = self._shrunk(v[:-1])
        if not self.fit_intercept:
            return np.append(start, 0.0)
        reach, schur = self._border
        b = (v[-1] - reach @ v[:-1]) / schur
        return np.append(start - b * reach, b)

    @cached_property
    def _scale(self) -> Array:
        squares = np.asarray((self.rows**2).T @ self.curvature).ravel()
        scale = 1 / np.sqrt(np.append(squares, self.curvature.sum()) + self.penalty)
        scale[-1] *= float(self.fit_intercept)
        return np.asarray(scale)

    @cached_property
    def _column_factor(self) -> Any:
        dense = self._scale[:, None] * self.matrix() * self._scale
        dense[-1, -1] += float(not self.fit_intercept)
        dense[np.diag_indices_from(dense)] += 1e-15
        try:
            return _factor(dense)
        except np.linalg.LinAlgError as error:
            raise SolverFailed(
                f"expected a Hessian that is positive definite, got: {error}. Rescale the features."
            ) from None

    def _by_columns(self, v: Array) -> Array:
        return np.asarray(self._scale * _factor_solve(self._column_factor, self._scale * v))

    def _by_iterations(self, v: Array) -> Array:
        scale, size = self._scale, self.penalty.size
        operator = LinearOperator((size, size), matvec=lambda z: scale * self.product(scale * z.ravel()), dtype=float)
        answer, info = cg(operator, scale * v, rtol=self.rtol, maxiter=self.max_iter)
        self.stalled = info != 0
        return np.asarray(scale * answer)


def _factor(matrix: Array) -> Array:
    """The lower Cholesky factor. `scipy.linalg` would check and dispatch for longer than a small factor takes."""
    if not matrix.size:  # LAPACK takes no empty ones
        return matrix
    factor, info = dpotrf(matrix, lower=1, overwrite_a=1)
    if info:
        raise LinAlgError(f"the leading minor of order {info} is not positive definite")
    return np.asarray(factor)


def _triangular(factor: Array, v: Array, transposed: bool = False) -> Array:
    return np.asarray(dtrtrs(factor, v, lower=1, trans=int(transposed))[0]) if factor.size else np.zeros_like(v)


def _factor_solve(factor: Array, v: Array) -> Array:
    return np.asarray(dpotrs(factor, v, lower=1)[0]) if factor.size else np.zeros_like(v)


def without_light_rows(curvature: Array, lengths: Array, trace: float, share: float) -> Array:
    """`curvature` with the least of its entries set to zero.

    Together they change the Hessian by at most `trace` in the spectral norm, and the curvature of the
    intercept by at most the given share of itself.

    Parameters
    ----------
    curvature : ndarray of shape (n,)
    lengths : ndarray of shape (n,)
        Squared length of each row ``(x_i, 1)``, see `squared_lengths`.
    """
    weight = curvature * lengths
    order = np.argsort(weight, kind="stable")
    light = np.cumsum(weight[order]) <= trace
    light &= np.cumsum(curvature[order]) <= share * curvature.sum()
    kept = curvature.copy()
    kept[order[light]] = 0.0
    return np.asarray(kept)


def squared_lengths(X: Matrix) -> Array:
    """``|x_i|^2 + 1`` of each row, shape (n,)."""
    return squared_norms(X) + 1.0
