"""Means, norms and distances of rows, dense or CSR, without making CSR dense; and rows of more than one axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import Array, InputError, Matrix, squared_norms
from ..core.parts import dense
from .base import Codes

_CHUNK = 256
_CANCELLED = 1e-6  # below this share of its terms a difference of squares is computed anew


class ShapedRows:
    """For a `Defense` that need not have rows as vectors: takes tensors, and rows of shape (n, ...), as they are."""

    def _rows(self, X: Any, *, reset: bool) -> Matrix:
        values = X.detach().cpu().numpy() if hasattr(X, "detach") else X
        shape = np.shape(values) if hasattr(values, "ndim") else ()
        if len(shape) <= 2:
            return super()._rows(values, reset=reset)  # type: ignore[misc]
        flat = super()._rows(np.reshape(values, (shape[0], -1)), reset=reset)  # type: ignore[misc]
        return flat.reshape(shape)


def class_means(X: Matrix, codes: Codes, n_classes: int) -> Array:
    """Mean of the rows of each class, shape (n_classes, d)."""
    n = X.shape[0]
    share = 1.0 / np.bincount(codes, minlength=n_classes)
    average = sp.csr_array((share[codes], (codes, np.arange(n))), shape=(n_classes, n))
    return dense(average @ X)


CENTERS = ("mean", "median")


def class_centers(X: Matrix, codes: Codes, n_classes: int, center: str) -> Array:
    """Mean, or median of each column, of the rows of each class, shape (n_classes, d)."""
    if center not in CENTERS:
        raise InputError(f"a center among {', '.join(CENTERS)}", repr(center))
    if center == "mean":
        return class_means(X, codes, n_classes)
    return np.vstack([column_medians(X[np.flatnonzero(codes == code)]) for code in range(n_classes)])


def column_medians(X: Matrix) -> Array:
    """Median of each column, shape (d,)."""
    if not sp.issparse(X):
        return np.asarray(np.median(X, axis=0))
    from sklearn.utils.sparsefuncs import csc_median_axis_0

    return np.asarray(csc_median_axis_0(sp.csc_matrix(X)))


def residual_norms(X: Matrix, basis: Array) -> Array:
    """``|(I - B B') x|`` of each row, for orthonormal columns B of shape (d, k)."""
    along = np.asarray(X @ basis)
    norms = squared_norms(X)
    squared = norms - squared_norms(along)
    for rows in chunks(cancelled(squared, norms)):
        squared[rows] = squared_norms(dense(X[rows]) - along[rows] @ basis.T)
    return np.sqrt(squared)


def cancelled(squared: Array, norms: Array) -> Codes:
    """Rows whose difference of squares has lost its digits and is to be computed anew."""
    return np.flatnonzero(squared <= _CANCELLED * norms)


def chunks(rows: Codes) -> list[Codes]:
    """Rows in portions that may be made dense."""
    return [rows[start : start + _CHUNK] for start in range(0, rows.size, _CHUNK)]
