"""The tube around an affine subspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import Array, InputError, Matrix, as_matrix, check_number
from .ball import excess_share, norm_at_most, unit
from .base import FeasibleSet, as_vector, squared_distances, unbounded
from .piece import Piece, Tube


@dataclass(frozen=True, eq=False, repr=False)
class SubspaceTube(FeasibleSet):
    """``{x: |(I - B B') (x - center)| <= radius}``. The violation is the Euclidean distance to the tube.

    The cone needs k more variables and no d x d matrix: the norm equals ``min_a |x - center - B a|``.

    Parameters
    ----------
    basis : array_like, shape (d, k)
        ``B``, with orthonormal columns; k may be 0, which leaves the ball around `center`.
    radius : float
        At least 0.
    center : array_like, shape (d,), optional
        A point of the affine subspace, zero by default.

    Examples
    --------
    >>> tube = SubspaceTube([[1.0], [0.0]], 1.0)
    >>> tube.violation([[100.0, 3.0]])
    array([2.])
    """

    basis: Array
    radius: float
    center: Any = None

    def __post_init__(self) -> None:
        basis = _as_basis(self.basis)
        d, k = basis.shape
        if k > d or np.abs(basis.T @ basis - np.eye(k)).max(initial=0.0) > 1e-8:
            raise InputError(
                "a basis of shape (d, k) with orthonormal columns", f"shape {basis.shape}, not so", _REMEDY
            )
        center = np.zeros(d) if self.center is None else as_vector(self.center, "center", d)
        self._set(basis=basis, center=center, radius=check_number(self.radius, "radius", at_least=0))

    @property
    def d(self) -> int:
        return int(self.basis.shape[0])

    @property
    def normals(self) -> Array:
        """Directions across the subspace, and the center."""
        across = np.linalg.qr(self.basis, mode="complete")[0][:, self.basis.shape[1] :]
        return np.vstack([across.T, self.center])

    @property
    def piece(self) -> Piece:
        return Piece(tube=Tube(basis=self.basis, center=self.center, radius=self.radius))

    def _cone(self, u: Any, t: Any) -> list[Any]:
        import cvxpy as cp

        offset, k = u - self.center * t, self.basis.shape[1]
        return norm_at_most(offset - self.basis @ cp.Variable(k) if k else offset, self.radius, t)

    def _residual(self, X: Array) -> Array:
        offset = X - self.center
        return np.asarray(offset - (offset @ self.basis) @ self.basis.T)

    def _violation(self, X: Matrix) -> Array:
        if not sp.issparse(X):
            return np.asarray(np.linalg.norm(self._residual(X), axis=1) - self.radius)
        whole = squared_distances(X, self.center)
        along = np.asarray(X @ self.basis) - self.center @ self.basis
        squares = np.maximum(whole - np.einsum("ij,ij->i", along, along), 0.0)
        cancelled = np.flatnonzero(squares <= 1e-6 * whole)  # few digits left: these rows the long way
        for row in cancelled:
            squares[row] = np.sum(self._residual(X[[row]].toarray()) ** 2)
        return np.asarray(np.sqrt(squares) - self.radius)

    def _support(self, w: Array) -> Array:
        if np.linalg.norm(w @ self.basis) > 1e-9 * np.linalg.norm(w):
            raise unbounded("tube")
        return np.asarray(self.center + self.radius * unit(w))

    def _project(self, X: Array) -> Array:
        residual = self._residual(X)
        return np.asarray(X - residual * excess_share(np.linalg.norm(residual, axis=1), self.radius)[:, None])


def _as_basis(basis: Any) -> Array:
    if np.ndim(basis) == 2 and np.shape(basis)[1] == 0 and np.shape(basis)[0] > 0:
        return np.zeros(np.shape(basis))
    return np.array(as_matrix(basis, "basis"))


_REMEDY = "Take the columns from numpy.linalg.qr or an SVD."
