"""Newton's method on a concave dual function of a few multipliers with signs."""

from __future__ import annotations

from math import inf

from ..core.errors import InfeasibleSet
from .lagrangian import Lagrangian, Multipliers, Point
from .small_model import model_step

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
