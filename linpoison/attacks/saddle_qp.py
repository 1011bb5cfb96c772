"""A small concave quadratic program over a capped simplex, by an active-set method that starts warm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.validation import Array

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
