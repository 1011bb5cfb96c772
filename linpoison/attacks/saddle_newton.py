"""The Newton direction of the min-max program's smooth model, by its small quadratic program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ..core.parts import dense
from ..core.validation import Array
from .saddle_parts import CleanPart, Piece, PoisonPart

_RIDGE = 1e-12
_WHOLESALE = 6
"""How often several entries come in at once, before they come in one by one (which cannot cycle)."""


def capped_simplex_qp(quadratic: Array, linear: Array, total: float, start: Array) -> Array:
    """Maximise ``linear . b - b' quadratic b / 2`` over ``b >= 0, sum b <= total``.

    Parameters
    ----------
    quadratic : ndarray of shape (k, k)
        Positive semidefinite.
    linear : ndarray of shape (k,)
    start : ndarray of shape (k,)
        Any weights; those nearby are found fastest.

    Returns
    -------
    ndarray of shape (k,)

    Examples
    --------
    >>> capped_simplex_qp(np.eye(2), np.array([3.0, 2.5]), 1.0, np.zeros(2)).round(6)
    array([0.75, 0.25])
    """
    k = linear.size
    Q = np.zeros((k + 1, k + 1))  # the last entry is what is left of the total
    Q[:k, :k] = quadratic
    c = np.append(linear, 0.0)
    weights = np.append(np.maximum(start, 0.0), 0.0)
    weights[-1] = total - weights.sum()
    if weights[-1] < 0:
        weights = np.append(weights[:-1] * (total / weights[:-1].sum()), 0.0)
    active = weights > 0
    scale = 1e-10 * (np.abs(c).max(initial=0.0) + total * np.abs(Q).max(initial=0.0) + 1e-300)
    wholesale = _WHOLESALE
    for _ in range(10 * k + 50):
        chosen = np.flatnonzero(active)
        trial, level = _on_face(Q, c, total, chosen)
        if (trial < 0).any():
            _walk(weights, active, chosen, trial)
            continue
        weights = np.zeros(k + 1)
        weights[chosen] = trial
        profit = np.where(active, -np.inf, c - Q @ weights - level)
        best = int(np.argmax(profit))
        if profit[best] <= scale:
            break
        active |= profit > profit[best] * (0.3 if wholesale > 0 else 1.0)
        active[best] = True
        wholesale -= 1
    return weights[:-1]


def _on_face(Q: Array, c: Array, total: float, chosen: NDArray[np.intp]) -> tuple[Array, float]:
    """The optimum with the chosen entries alone, of any sign, and the multiplier of the total."""
    k = chosen.size
    system = np.ones((k + 1, k + 1))
    system[:k, :k] = Q[np.ix_(chosen, chosen)]
    system[np.arange(k), np.arange(k)] += _RIDGE * (np.trace(Q) / Q.shape[0] + 1e-300)
    system[k, k] = 0.0
    right = np.append(c[chosen], total)
    try:
        solution = np.linalg.solve(system, right)
    except np.linalg.LinAlgError:
        solution = np.linalg.lstsq(system, right, rcond=None)[0]
    return solution[:k], float(solution[k])


def _walk(weights: Array, active: NDArray[np.bool_], chosen: NDArray[np.intp], trial: Array) -> None:
    """Move towards `trial` until the first entries reach zero, and leave those out; in place."""
    now = weights[chosen]
    ratio = np.where(trial < 0, now / np.maximum(now - trial, 1e-300), np.inf)
    least = float(ratio.min())
    weights[chosen] = np.maximum(now + least * (trial - now), 0.0)
    left = chosen[ratio <= least]
    weights[left] = 0.0
    active[left] = False


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
        system = self.root[:, None] * (dense(self.X @ self.X.T) / ridge[0] + 1 / ridge[-1]) * self.root
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
