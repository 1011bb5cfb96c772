"""L-BFGS where the numbers are: no iteration waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arrays import length, on_host, where
from .protocols import Vector

Valued = Callable[[Vector], tuple[Any, Vector]]
"""A smooth function: its value, as a number of the kind of the vector, and its gradient."""


def quasi_newton(
    function: Valued, start: Vector, *, steps: int, tol: float, memory: int = 20, every: int | None = None
) -> Vector:
    """Minimise a smooth function by limited-memory BFGS, one evaluation in each iteration.

    Parameters
    ----------
    function : callable
    start : vector
    steps : int
        The most iterations.
    tol : float
        Length of the gradient at which to stop.
    memory : int, default 20
        Pairs of steps and changes of the gradient that are kept.
    every : int, optional
        Iterations between two looks at whether it is done, see `linpoison.risk.solvers.Krylov`.

    Returns
    -------
    vector
        The point of the least value that a step was taken to.

    References
    ----------
    Nocedal, Wright, "Numerical optimization", 2006, algorithm 7.4; the test of a step by Hager, Zhang, "A new conjugate
    gradient method with guaranteed descent and an efficient line search", 2005, which holds where values only round.

    Examples
    --------
    >>> import numpy as np
    >>> quasi_newton(lambda x: ((x - 1) @ (x - 1), 2 * (x - 1)), np.zeros(2), steps=20, tol=1e-12)
    array([1., 1.])
    """
    # Every iteration tries x + t d. A step that is refused changes x by nothing, halves t and keeps d; its pair has
    # the weight rho = 0, with which it has no influence on directions. So no branch depends on a number.
    x, (value, slope) = start, function(start)
    direction, stride = -1.0 * slope, 1.0 / where(length(slope) > 1.0, length(slope), 1.0)
    pairs: list[tuple[Vector, Vector, Any]] = []
    scale = 1.0 + 0.0 * value
    every = every or (1 if on_host(start) else 16)
    for step in range(steps):
        if step % every == 0 and not bool(length(slope) > tol):
            break
        moved = x + stride * direction
        trial, trial_slope = function(moved)
        down, ahead = slope @ direction, trial_slope @ direction
        near = (trial <= value + 1e-12 * abs(value)) & (abs(ahead) <= 0.9 * abs(down))
        good = (trial <= value + 1e-4 * stride * down) | near
        change, bend = moved - x, where(good, trial_slope - slope, 0.0)  # which may not be a number
        curved = change @ bend
        kept = good & (curved > 1e-12 * (bend @ bend))
        pairs = [*pairs, (change, bend, where(kept, 1.0 / where(kept, curved, 1.0), 0.0))][-memory:]
        scale = where(kept, curved / where(kept, bend @ bend, 1.0), scale)
        x, slope = where(good, moved, x), where(good, trial_slope, slope)
        value = where(good, trial, value)
        direction = where(good, _direction(slope, pairs, scale), direction)
        stride = where(good, 1.0, 0.5 * stride)
    return x


def _direction(slope: Vector, pairs: list[tuple[Vector, Vector, Any]], scale: Any) -> Vector:
    """``-H slope`` with the inverse Hessian that the pairs say."""
    q, found = -1.0 * slope, []
    for change, bend, rho in reversed(pairs):
        a = rho * (change @ q)
        q = q - a * bend
        found.append(a)
    q = scale * q
    for (change, bend, rho), a in zip(pairs, reversed(found), strict=True):
        q = q + (a - rho * (bend @ q)) * change
    return q
