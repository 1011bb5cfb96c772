"""The maximum of a concave quadratic model of a few multipliers with signs, on plain numbers."""

from __future__ import annotations

from .lagrangian import Lagrangian, Multipliers, Point

_FLOOR, _FLAT, _PUSH = 1e-11, 1e-9, 1e-2
"""Damping of a multiplier, relative to its own curvature; where that vanishes, relative to the most it can be."""


def model_step(point: Point, matrix: list[Multipliers], dual: Lagrangian, damping: float) -> tuple[Multipliers, float]:
    """The step to the maximum of the quadratic model under the signs of the multipliers, and its gain.

    A multiplier of a slab ``low <= v <= high`` may have either sign and pays ``high`` or ``low`` for it;
    one of a half-space (``low = -inf``) stays at or above zero. A primal active-set method: move to the
    maximum over the multipliers in use, stop at the first that reaches zero and drop it, else take up the
    constraint that is violated most.

    Parameters
    ----------
    matrix : list of lists
        Minus the second derivative; changed in place by the damping.
    damping : float
        Relative to the largest curvatures.
    """
    theta, value, n = point.theta, dual.linear(point), dual.size
    for j, most in enumerate(dual.largest_curvatures(theta)):
        own = matrix[j][j]
        matrix[j][j] += damping * most + (_PUSH * most if own < _FLAT * most else _FLOOR * own)
    step, ahead = [0.0] * n, list(value)
    sign = [(t > 0) - (t < 0) for t in theta]
    for _ in range(4 * n + 4):
        active = [j for j in range(n) if sign[j] or dual.both[j]]
        if active:
            rest = [ahead[j] - dual.limit(j, sign[j]) for j in active]
            move = solve(matrix, active, rest)
            share, hit = _first_zero(theta, step, move, active, sign, dual.both)
            for j, part in zip(active, move, strict=True):
                step[j] += share * part
            if hit >= 0:
                step[hit], sign[hit] = -theta[hit], 0
            ahead = [v - sum(map(float.__mul__, row, step)) for v, row in zip(value, matrix, strict=True)]
            if hit >= 0:
                continue
        taken = _take_up(ahead, sign, dual)
        if not taken:
            break
    return step, _gain(theta, value, step, ahead, dual)


def _take_up(ahead: Multipliers, sign: list[int], dual: Lagrangian) -> bool:
    """Give a sign to the idle constraint that is violated most; whether there was one."""
    worst, chosen = 0.0, -1
    for j, v in enumerate(ahead):
        if not sign[j] and not dual.both[j]:
            excess = max(v - dual.high[j], dual.low[j] - v) - 1e-12 * (1 + abs(v))
            if excess > worst:
                worst, chosen = excess, j
    if chosen >= 0:
        sign[chosen] = 1 if ahead[chosen] > dual.high[chosen] else -1
    return chosen >= 0


def _first_zero(
    theta: Multipliers, step: Multipliers, move: Multipliers, active: list[int], sign: list[int], free: list[bool]
) -> tuple[float, int]:
    """The share of the move up to the first multiplier that would change its sign, and that multiplier."""
    share, hit = 1.0, -1
    for j, part in zip(active, move, strict=True):
        now = theta[j] + step[j]
        if not free[j] and (now + part) * sign[j] < 0:
            reach = min(max(-now / part, 0.0), 1.0)
            if hit < 0 or reach < share:
                share, hit = reach, j
    return share, hit


def _gain(theta: Multipliers, value: Multipliers, step: Multipliers, ahead: Multipliers, dual: Lagrangian) -> float:
    """What the model rises by."""
    gain = 0.0
    for j, part in enumerate(step):
        before, after = theta[j], theta[j] + part
        gain += 0.5 * part * (value[j] + ahead[j])
        gain += before * dual.limit(j, before) if before else 0.0
        gain -= after * dual.limit(j, after) if after else 0.0
    return gain


def solve(matrix: list[Multipliers], active: list[int], rest: Multipliers) -> Multipliers:
    """The solution of a positive definite system for the active rows and columns, by elimination."""
    k = len(active)
    rows = [[matrix[i][j] for j in active] + [r] for i, r in zip(active, rest, strict=True)]
    for i in range(k):
        pivot = rows[i]
        head = max(pivot[i], 1e-300)
        for other in rows[i + 1 :]:
            factor = other[i] / head
            if factor:
                for j in range(i, k + 1):
                    other[j] -= factor * pivot[j]
    move = [0.0] * k
    for i in range(k - 1, -1, -1):
        total = rows[i][k] - sum(rows[i][j] * move[j] for j in range(i + 1, k))
        move[i] = total / max(rows[i][i], 1e-300)
    return move
