"""Newton's model of the min-max program: the clean half to second order, the worst poison exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve

from ..core.validation import Array
from .saddle_parts import CleanPart, Piece, PoisonPart
from .saddle_qp import capped_simplex_qp

CURVED = 1500
"""Rows whose curvature is used at most (the largest): a direction costs the cube of their number."""


class CurvedRows:
    """``H = diag(ridge) + sum_i k_i (x_i, 1)(x_i, 1)'`` over the clean rows in play, to solve with (Woodbury)."""

    def __init__(self, clean: CleanPart, piece: Piece, ridge: Array) -> None:
        near = np.flatnonzero(piece.curvature)
        if near.size > CURVED:
            near = near[np.argsort(-piece.curvature[near], kind="stable")[:CURVED]]
        self.ridge = ridge
        self.X: Any = clean.data.X[near]
        self.root = np.sqrt(piece.curvature[near])
        gram = self.X @ self.X.T
        gram = gram.toarray() if sp.issparse(gram) else gram
        system = self.root[:, None] * (gram / ridge[0] + 1 / ridge[-1]) * self.root
        system[np.diag_indices_from(system)] += 1.0
        self.factor = cho_factor(system, lower=True, overwrite_a=True, check_finite=False) if near.size else None

    def images(self, vectors: Array) -> Array:
        """``K^(1/2) (X, 1) diag(ridge)^-1 vectors'`` for vectors in rows, shape (rows in play, vectors)."""
        pushed = np.asarray(self.X @ vectors[:, :-1].T) / self.ridge[0] + vectors[:, -1] / self.ridge[-1]
        return np.asarray(self.root[:, None] * pushed)

    def inner(self, images: Array) -> Array:
        """Woodbury's inner solve."""
        return images if self.factor is None else np.asarray(cho_solve(self.factor, images, check_finite=False))

    def solve(self, vector: Array) -> Array:
        """``H^-1 vector``."""
        weights = self.root * self.inner(self.images(vector[None, :]))[:, 0]
        return np.asarray((vector - np.append(self.X.T @ weights, weights.sum())) / self.ridge)


def direction(rows: CurvedRows, gradient: Array, poison: PoisonPart, values: Array) -> tuple[Array, Array]:
    """The step to the minimum of ``gradient . s + s' H s / 2 + epsilon max(0, max_j l_j(v + s))``, and the weights b.

    Its dual is a quadratic program over the weights: ``s = -H^-1 (gradient + sum_j b_j g_j)``.
    """
    alone = -rows.solve(gradient)
    images = rows.images(poison.gradients)
    last = poison.gradients[:, -1]
    quadratic = poison.gram / rows.ridge[0] + np.outer(last, last) / rows.ridge[-1] - images.T @ rows.inner(images)
    weights = capped_simplex_qp(quadratic, values + poison.gradients @ alone, poison.epsilon, poison.weights)
    return -rows.solve(gradient + weights @ poison.gradients), weights


def zero_of(slope: Callable[[float], float]) -> float:
    """A step near the zero of an increasing function, or the full step if the function is not yet positive there."""
    if slope(0.0) >= 0:
        return 0.0
    if slope(1.0) <= 0:
        return 1.0
    first, low, high = -slope(0.0), 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        value = slope(middle)
        if value <= 0:
            low = middle
        else:
            high = middle
        if low > 0 and (-0.1 * first <= value <= 0 or high - low < 0.05 * low):
            break
    return low
