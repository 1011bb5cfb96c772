"""Many smooth functions of the same shape minimised side by side, so that their products become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.validation import Array

Places = np.ndarray[Any, np.dtype[np.intp]]
Evaluate = Callable[[Array, Places], tuple[Array, Array]]
"""``(x (m, N), which (m,)) -> value (m,), gradient (m, N)`` of the functions with these indices."""


class BatchLBFGS:
    """L-BFGS with one step length for each function, a diagonal metric and Armijo's rule.

    `memory` pairs are kept. Every accepted step decreases its function; where none does it is marked as `stalled`.

    Parameters
    ----------
    evaluate : callable
        See `Evaluate`.
    start : ndarray, shape (m, N)
    metric : ndarray, shape (m, N)
        Rough inverse of the diagonal of the second derivatives.

    Examples
    --------
    >>> curvature = np.array([[1.0, 100.0], [2.0, 3.0]])
    >>> def quadratic(x, which):
    ...     return 0.5 * np.sum(curvature[which] * (x - 1) ** 2, axis=1), curvature[which] * (x - 1)
    >>> solver = BatchLBFGS(quadratic, np.zeros((2, 2)), np.ones((2, 2)))
    >>> for _ in range(30):
    ...     solver.step()
    >>> solver.x.round(6)
    array([[1., 1.],
           [1., 1.]])
    """

    armijo = 1e-4
    halvings = 12
    memory = 20

    def __init__(self, evaluate: Evaluate, start: Array, metric: Array) -> None:
        self._evaluate = evaluate
        self.x = start.copy()
        self.metric = metric
        self.value, self.gradient = evaluate(self.x, np.arange(len(start)))
        self.stalled = ~np.isfinite(self.value)
        self._pairs: list[tuple[Array, Array, Array]] = []

    def step(self) -> None:
        """One step of every function that has not stalled."""
        self._advance(self._direction())

    def keep(self, rows: Places) -> None:
        """Go on with these functions alone; `evaluate` must know them by their new places."""
        self.x, self.metric, self.value = self.x[rows], self.metric[rows], self.value[rows]
        self.gradient, self.stalled = self.gradient[rows], self.stalled[rows]
        self._pairs = [(s[rows], y[rows], rho[rows]) for s, y, rho in self._pairs]

    def _direction(self) -> Array:
        q = self.gradient.copy()
        weights = []
        for s, y, rho in reversed(self._pairs):
            weight = rho * _dot(s, q)
            q -= weight[:, None] * y
            weights.append(weight)
        q *= self.metric * self._scale()[:, None]
        for (s, y, rho), weight in zip(self._pairs, reversed(weights), strict=True):
            q += (weight - rho * _dot(y, q))[:, None] * s
        downhill = _dot(q, self.gradient) > 0
        return np.where(downhill[:, None], -q, -self.metric * self.gradient)

    def _scale(self) -> Array:
        scale = np.ones(len(self.x))
        for _, y, rho in self._pairs:
            size = rho * _dot(y, self.metric * y)
            scale = np.where(rho > 0, 1.0 / np.where(size > 0, size, 1.0), scale)
        return scale

    def _advance(self, direction: Array) -> None:
        slope = _dot(direction, self.gradient)
        length = np.ones(len(self.x))
        x, value, gradient = self.x.copy(), self.value.copy(), self.gradient.copy()
        pending = np.flatnonzero(~self.stalled)
        for _ in range(self.halvings):
            if not pending.size:
                break
            trial = self.x[pending] + length[pending, None] * direction[pending]
            found, slopes = self._evaluate(trial, pending)
            good = found <= self.value[pending] + self.armijo * length[pending] * slope[pending]
            rows = pending[good]
            x[rows], value[rows], gradient[rows] = trial[good], found[good], slopes[good]
            pending = pending[~good]
            length[pending] *= 0.3
        self.stalled[pending] = True
        self._remember(x - self.x, gradient - self.gradient)
        self.x, self.value, self.gradient = x, value, gradient

    def _remember(self, s: Array, y: Array) -> None:
        product = _dot(s, y)
        curved = product > 1e-10 * np.sqrt(_dot(s, s) * _dot(y, y))
        rho = np.where(curved, 1.0 / np.where(curved, product, 1.0), 0.0)
        self._pairs = [*self._pairs, (s, y, rho)][-self.memory :]


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("ij,ij->i", a, b))
