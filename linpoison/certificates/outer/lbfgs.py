"""Many smooth functions of the same shape minimised side by side, so that their products become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.validation import Array

Places = np.ndarray[Any, np.dtype[np.intp]]
Evaluate = Callable[[Array], tuple[Array, Array]]
"""``x (m, N) -> value (m,), gradient (m, N)`` of all functions, each at a point of its own."""


class BatchLBFGS:
    """L-BFGS with one step length for each function, a diagonal metric and Armijo's rule.

    A step evaluates every function once: those that it decreases move, the others try a shorter length at the next
    step, and where none decreases it a function is marked as `stalled`.

    The last `memory` pairs ``(s_k, y_k)`` of a function are rows of S and Y, in coordinates in which the metric is the
    identity. With ``R`` the upper triangle of ``S Y'`` in the order of time, ``D`` its diagonal and ``gamma`` the
    usual scale, the two loops over the pairs are products [1]_, Eq. 3.1::

        u = R^-1 S g,      q = g - Y' u,      H g = gamma q + S' R^-T (D u - gamma Y q)

    ``R^-1`` gains a column with a new pair, and loses its first row and column with the oldest, so that it is kept
    without solving; its rows and columns stand where there was room, not in the order of time.

    Parameters
    ----------
    evaluate : callable
        See `Evaluate`.
    start : ndarray, shape (m, N)
    metric : ndarray, shape (m, N)
        Rough inverse of the diagonal of the second derivatives.

    References
    ----------
    .. [1] Byrd, Nocedal and Schnabel, "Representations of quasi-Newton matrices and their use in limited memory
       methods", Mathematical Programming 63, 1994.

    Examples
    --------
    >>> curvature = np.array([[1.0, 100.0], [2.0, 3.0]])
    >>> def quadratic(x):
    ...     return 0.5 * np.sum(curvature * (x - 1) ** 2, axis=1), curvature * (x - 1)
    >>> solver = BatchLBFGS(quadratic, np.zeros((2, 2)), np.ones((2, 2)))
    >>> for _ in range(40):
    ...     solver.step()
    >>> solver.x.round(6)
    array([[1., 1.],
           [1., 1.]])
    """

    armijo = 1e-4
    shortest = 1e-6
    memory = 20

    def __init__(self, evaluate: Evaluate, start: Array, metric: Array) -> None:
        m, N = start.shape
        self._evaluate = evaluate
        self.x = start.copy()
        self.value, self.gradient = evaluate(self.x)
        self.stalled = ~np.isfinite(self.value)
        self._root = np.sqrt(metric)
        self._length, self._gamma = np.ones(m), np.ones(m)
        self._S, self._Y = np.zeros((m, self.memory, N)), np.zeros((m, self.memory, N))
        self._inverse, self._diagonal = np.zeros((m, self.memory, self.memory)), np.zeros((m, self.memory))
        self._slot = np.zeros(m, dtype=np.intp)

    def step(self) -> None:
        """One trial of every function that has not stalled."""
        if self.stalled.all():
            return
        direction = self._direction()
        slope = _dot(direction, self.gradient)
        trial = self.x + self._length[:, None] * direction
        value, gradient = self._evaluate(trial)
        good = (value <= self.value + self.armijo * self._length * slope) & ~self.stalled
        self._shorten(~good, value, slope)
        self._remember(np.flatnonzero(good), trial - self.x, gradient - self.gradient)
        self.value = np.where(good, value, self.value)
        self.x, self.gradient = np.where(good[:, None], (trial, gradient), (self.x, self.gradient))

    def keep(self, rows: Places) -> None:
        """Go on with these functions alone; `evaluate` must know that."""
        for name, state in vars(self).items():
            if isinstance(state, np.ndarray):
                setattr(self, name, state[rows])

    def _direction(self) -> Array:
        g = self._root * self.gradient
        u = _times(self._inverse, _times(self._S, g))
        q = g - _transposed_times(self._Y, u)
        w = self._diagonal * u - self._gamma[:, None] * _times(self._Y, q)
        step = self._gamma[:, None] * q + _transposed_times(self._S, _transposed_times(self._inverse, w))
        downhill = _dot(step, g) > 0
        return -self._root * np.where(downhill[:, None], step, g)

    def _shorten(self, bad: Any, value: Array, slope: Array) -> None:
        """Go to the minimum of the parabola through what a trial told, within limits; back to 1 where it was good."""
        length = self._length
        with np.errstate(divide="ignore", invalid="ignore"):
            guess = -slope * length**2 / (2 * (value - self.value - slope * length))
        shorter = np.fmax(np.fmin(guess, 0.5 * length), 0.1 * length)
        self._length = np.where(bad, shorter, 1.0)
        self.stalled |= self._length < self.shortest

    def _remember(self, rows: Places, s: Array, y: Array) -> None:
        s, y = s / self._root, y * self._root
        product, size = _dot(s, y), _dot(y, y)
        rows = rows[(product > 1e-10 * np.sqrt(_dot(s, s) * size))[rows]]
        slot = self._slot[rows]
        self._S[rows, slot], self._inverse[rows, slot] = 0.0, 0.0
        column = -_times(self._inverse, _times(self._S, y))[rows] / product[rows, None]
        self._inverse[rows, :, slot] = column
        self._inverse[rows, slot, slot] = 1 / product[rows]
        self._S[rows, slot], self._Y[rows, slot] = s[rows], y[rows]
        self._diagonal[rows, slot], self._gamma[rows] = product[rows], product[rows] / size[rows]
        self._slot[rows] = (slot + 1) % self.memory


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("ij,ij->i", a, b))


def _times(matrices: Array, vectors: Array) -> Array:
    """Each matrix (m, j, k) with its vector (m, k)."""
    return np.asarray((matrices @ vectors[:, :, None])[:, :, 0])


def _transposed_times(matrices: Array, vectors: Array) -> Array:
    """Each matrix (m, j, k), transposed, with its vector (m, j)."""
    return np.asarray((vectors[:, None, :] @ matrices)[:, 0])
