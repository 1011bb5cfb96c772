"""The direction in which the gradients of rows vary most: from their matrix, or from products with it alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackError, LinearOperator, svds

from ..core import Array, SolverFailed
from .spectral import top_direction

_TIGHT, _LOOSE = 1e-12, 1e-5
"""Relative residual of the squared singular value, for models in double and in single precision."""
_ROUNDING, _COARSE = 1e-13, 1e-5
"""Variation in units of the mean gradient that is taken for rounding, in double and in single precision."""


@dataclass(frozen=True, eq=False)
class GradientFrame:
    """Mean and top right singular vector of the gradients of some rows.

    Parameters
    ----------
    direction : ndarray of shape (p,)
        Of length 1, or zero where the gradients do not vary by more than rounding: by 1e-13 of the mean gradient's
        length, root mean square, or 1e-5 for a model in single precision.
    centre : float
        The mean gradient along it.
    size : float
        The singular value.
    """

    direction: Array
    centre: float
    size: float

    @classmethod
    def of(cls, model: Any, X: Any, y: Any) -> GradientFrame:
        """The frame of the gradients of a `RowModel`, without their matrix if it is a `ProductModel`."""
        if hasattr(model, "gradient_products") and len(y) > 1:
            return _from_products(model, X, y)
        mean, direction, size = top_direction(np.asarray(model.gradients(X, y), dtype=np.float64))
        return _flat(mean) if size <= _noise(model, mean, len(y)) else cls(direction, float(mean @ direction), size)

    def scores(self, model: Any, X: Any, y: Any) -> Array:
        """``((g_i - mean g) . v)^2`` of rows, shape (n,)."""
        if hasattr(model, "gradient_products"):
            along = model.gradient_products(X, y, self.direction)
        else:
            along = np.asarray(model.gradients(X, y), dtype=np.float64) @ self.direction
        return np.asarray((along - self.centre) ** 2)


def _from_products(model: Any, X: Any, y: Any) -> GradientFrame:
    """By Lanczos iteration (ARPACK) on ``v -> J v`` and ``u -> J' u``, both centred: memory for vectors alone."""
    n = len(y)
    mean = model.gradient_sum(X, y, np.full(n, 1.0 / n))

    def along(v: Array) -> Array:
        values = model.gradient_products(X, y, np.ravel(v))
        return np.asarray(values - values.mean())

    def back(u: Array) -> Array:
        weights = np.ravel(u)
        return np.asarray(model.gradient_sum(X, y, weights - weights.mean()))

    start = np.random.default_rng(0).normal(size=n)
    first = back(start)
    length = float(np.linalg.norm(first))
    if length <= _noise(model, mean, n):
        return _flat(mean)
    if mean.size == 1:
        direction = first / length
        return GradientFrame(direction, float(mean @ direction), float(np.linalg.norm(along(direction))))
    operator = LinearOperator((n, mean.size), matvec=along, rmatvec=back, dtype=np.float64)
    tol = _LOOSE if getattr(model, "single_precision", False) else _TIGHT
    begin = first if mean.size <= n else start
    try:
        _, sizes, rows = svds(operator, k=1, tol=tol, v0=begin, return_singular_vectors="vh")
    except ArpackError as error:
        raise SolverFailed(f"the singular vector of the gradients was not found: {error}. Use float64.") from None
    direction = np.asarray(rows[0], dtype=np.float64)
    return GradientFrame(direction, float(mean @ direction), float(sizes[0]))


def _flat(mean: Array) -> GradientFrame:
    """Of gradients that do not vary."""
    return GradientFrame(np.zeros(mean.size), 0.0, 0.0)


def _noise(model: Any, mean: Array, n: int) -> float:
    """The singular value, or the length of a product with n standard normal numbers, that rounding alone gives."""
    rounding = _COARSE if getattr(model, "single_precision", False) else _ROUNDING
    return rounding * float(np.linalg.norm(mean)) * float(np.sqrt(n))
