"""Newton's method on a concave dual function of a few multipliers with signs."""

from __future__ import annotations

from math import inf

from ..core.errors import InfeasibleSet
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


_ROUGH = 1e-6
_LOST = 1e100
"""A dual value that no nearest point can have, and that can still be computed with."""


def maximize(
    dual: Lagrangian, theta: Multipliers, scale: Multipliers, tol: float, floor: float = 0.0, rounds: int = 100
) -> Point | None:
    """The maximiser of the dual function from `theta`; None where Newton's method does not reach `tol`.

    None too where the dual value grows without end and `Lagrangian.ceiling` cannot tell that it does.

    Parameters
    ----------
    theta : list of float, length n
    scale : list of float, length n
        Units of the constraints.
    tol : float
        Largest violation, or slack beside a multiplier, in these units.
    rounds : int, default 100
        After so many steps the point is what it is, if `tol` is above 1e-6, and None otherwise.
    floor : float, default 0
        Give up once the core's multiplier falls below it and on: the core does not decide.

    Raises
    ------
    InfeasibleSet
        If the dual function exceeds what any point of the set could reach.
    """
    point = dual.at(theta)
    left, damping = residual(dual, point, scale), 0.0
    for _ in range(rounds):
        if not abs(point.dual) < _LOST:  # NaN too
            return None
        if left <= tol:
            return point
        if point.dual > dual.ceiling * (1 + 1e-6):
            raise InfeasibleSet("expected sets with a point in common, got multipliers that prove there is none.")
        step, gain = model_step(point, dual.hessian(point), dual, damping)
        if dual.bent and _fading(point.theta[0], step[0], floor):
            return None
        point, left, length = _search(dual, point, left, step, gain, scale)
        if length == 0 and (damping > 1e3 or tol > _ROUGH):
            break
        damping = _next(damping, length)
    return point if left <= tol or tol > _ROUGH else None


def residual(dual: Lagrangian, point: Point, scale: Multipliers) -> float:
    """The largest violation of a constraint, or slack of one with a multiplier, in units of `scale`."""
    worst = 0.0
    for j, v in enumerate(point.value):
        t = point.theta[j]
        off = abs(v - dual.limit(j, t)) if t else max(v - dual.high[j], dual.low[j] - v)
        worst = max(worst, off / scale[j])
    return worst


def _fading(mu: float, step: float, floor: float) -> bool:
    return mu < 1e-4 * floor or (mu < floor and step < -0.9 * mu)


def _next(damping: float, length: float) -> float:
    if length == 0:
        return max(100 * damping, 1e-8)
    if length < 0.01:
        return max(10 * damping, 1e-10)
    return damping / 100 if length >= 1 else damping


def _search(
    dual: Lagrangian, point: Point, left: float, step: Multipliers, gain: float, scale: Multipliers
) -> tuple[Point, float, float]:
    """Shorten the step, by the secant of the slope along it, until the dual function rises enough."""
    length, noise = 1.0, 1e-13 * (abs(point.dual) + 1e-300)
    least = 0.25 if dual.bent else 1e-3
    rise = -inf
    for _ in range(12 if dual.bent else 60):
        theta = advance(dual, point.theta, step, length)
        new = dual.at(theta)
        rest = residual(dual, new, scale)
        if new.dual > point.dual + max(1e-4 * length * gain, noise) or (rest < left and new.dual >= point.dual - noise):
            if dual.bent or rest < 0.5 * left:
                return new, rest, length
            return _stretch(dual, point, new, rest, step, length, scale)
        if rise == -inf:
            rise = slope(dual, point, step)
        fall = slope(dual, new, step)
        share = rise / (rise - fall) if fall < 0 < rise else 0.5
        length *= min(max(share, least), 0.9)
    return point, left, 0.0


def advance(dual: Lagrangian, theta: Multipliers, step: Multipliers, length: float) -> Multipliers:
    """The multipliers after a share of a step.

    Where only the core bends the objective, ``x`` is linear in ``1 / mu`` and ``lam / mu`` and not in the
    multipliers themselves: the step is taken there, which also keeps ``mu`` above zero.
    """
    if not dual.bent:
        moved = [t + length * s for t, s in zip(theta, step, strict=True)]
        return moved if length != 1 else [0.0 if t == -s else m for t, s, m in zip(theta, step, moved, strict=True)]
    pace = step[0] / theta[0]
    stretch = 1 / (1 - min(length * pace, 0.9))
    moved = [theta[0] * stretch]
    for t, s in zip(theta[1:], step[1:], strict=True):
        to = t + length * (s - t * pace)
        moved.append(0.0 if t + s == 0 or to * (t + s) < 0 else to * stretch)
    return moved


def _stretch(
    dual: Lagrangian, point: Point, new: Point, rest: float, step: Multipliers, length: float, scale: Multipliers
) -> tuple[Point, float, float]:
    """Go on while the dual function rises as steeply as at first: a flat model says nothing of its length."""
    rise = slope(dual, point, step)
    while length >= 1 and slope(dual, new, step) > 0.9 * rise and new.dual <= min(2 * dual.ceiling, _LOST):
        theta = [t + 8 * length * s for t, s in zip(point.theta, step, strict=True)]
        if any(a * b < 0 or (a < 0 and low == -inf) for a, b, low in zip(theta, point.theta, dual.low, strict=True)):
            break
        further = dual.at(theta)
        if further.dual <= new.dual:
            break
        new, rest, length = further, residual(dual, further, scale), 8 * length
    return new, rest, length


def slope(dual: Lagrangian, point: Point, step: Multipliers) -> float:
    """The derivative of the dual function at `point` along `step`."""
    return sum(s * (point.value[j] - dual.limit(j, point.theta[j] or s)) for j, s in enumerate(step) if s)
