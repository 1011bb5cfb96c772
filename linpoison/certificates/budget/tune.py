"""Good multipliers for a direction: slopes and duals that make its bound a tight one."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from ...core.validation import LABELS, Array
from ...sets.structure import Structure
from .dual import Proof, cone_of, dual_count, dual_ratio, group_cap, group_most, held
from .target import BudgetTarget

_DOUBLINGS = 40
_ROUNDS = 4
_STEPS = 400
_GAIN = 1e-11
"""Share of a cap that a round of the search must take off it for another to follow."""


def tuned(target: BudgetTarget, v: Array, start: Proof | None = None) -> Proof:
    """The proof of a direction with slopes and duals near their best.

    The cap of each group is convex in its slope and duals together: without duals a bounded search over
    the slope finds the least, with duals a simplex search over the few of them.

    Parameters
    ----------
    target : BudgetTarget
    v : ndarray, shape (d + 1,)
        Any direction but zero.
    start : Proof, optional
        Slopes and duals to begin from.
    """
    v = held(target, v / np.linalg.norm(v))
    slopes, duals = [], []
    for k, group in enumerate(target.groups):
        cone = cone_of(target.feasible(group))
        if cone is None:
            slopes.append(_slope(target, k, v))
            duals.append(np.zeros(0))
            continue
        best = _slope_and_duals(target, k, v, _starts(target, k, v, cone.structure, start))
        slopes.append(max(float(best[0]), 0.0))
        duals.append(best[1:])
    return Proof(v, np.array(slopes), tuple(duals))


def along_the_model(target: BudgetTarget, v: Array) -> Proof | None:
    """The same direction with its features along the model's, where no set bounds any other direction.

    The slope then leaves nothing of the features, and the bound is that of the closed form.
    """
    share, coef = _share(target, v), target.condition.decoy.coef
    if share <= 0:
        return None
    slopes = np.full(len(target.groups), share)
    return Proof(held(target, np.append(share * coef, v[-1])), slopes, (np.zeros(0),) * len(target.groups))


def toward_margins(target: BudgetTarget) -> list[Proof]:
    """For a loss with a turn t, directions in which no point of one class pulls: the residuals of its own rows.

    With ``v = (theta, b - t y)`` a point of class `y` pulls by ``-phi'(m) y v . (x, 1) = phi'(m) (t - m)``, not above
    zero on whichever side of t it lies. Where a set has points on both sides no other direction does so, and none
    strictly.
    """
    turn = target.problem.loss.turn
    if turn is None or not target.condition.decoy.coef.any():
        return []
    last = np.append(np.zeros(target.condition.train.d), turn)
    return [tuned(target, target.vector - y * last) for y in LABELS]


def best_proof(target: BudgetTarget, proofs: Sequence[Proof | None]) -> tuple[float, Proof]:
    """The proof of the greatest bound, with it."""
    found = [(dual_ratio(target, proof), proof) for proof in proofs if proof is not None]
    return max(found, key=lambda item: item[0])


def _share(target: BudgetTarget, v: Array) -> float:
    """How much of the model a direction holds."""
    coef = target.condition.decoy.coef
    square = float(coef @ coef)
    return float(v[:-1] @ coef) / square if square > 0 else 0.0


def _slope(target: BudgetTarget, k: int, v: Array) -> float:
    """The best slope of a convex cap: double until it rises, then search."""
    unit = 1.0 / max(float(np.linalg.norm(target.vector)), 1e-12)

    def cap(slope: float) -> float:
        return group_cap(target, k, v, float(slope), np.zeros(0))

    high, now = unit, cap(unit)
    for _ in range(_DOUBLINGS):
        further = cap(2 * high)
        if not further < now:
            break
        high, now = 2 * high, further
    found = minimize_scalar(cap, bounds=(0.0, 2 * high), method="bounded", options={"xatol": 1e-11 * high})
    slopes = [0.0, high, float(found.x), _least_reach(target, k, v, high), max(_share(target, v), 0.0)]
    return min((cap(slope), slope) for slope in slopes)[1]


def _least_reach(target: BudgetTarget, k: int, v: Array, high: float) -> float:
    """The slope at which points of the group's branch pull least: where that is nothing at all, the cap is zero.

    The cap of a quadratic loss is flat there, so that a search for the least cap stops short of zero.
    """
    side = target.groups[k].side * (target.problem.loss.turn or 1.0)

    def reach(slope: float) -> float:
        return min(group_most(target, k, v, float(slope), np.zeros(0)) + side * float(slope), 1e300)

    found = minimize_scalar(reach, bounds=(0.0, 2 * high), method="bounded", options={"xatol": 1e-11 * high})
    return float(found.x)


def _starts(target: BudgetTarget, k: int, v: Array, structure: Structure, start: Proof | None) -> list[Array]:
    """Slope and duals to begin from: those that were given, else some of the right size."""
    count = int(structure.radius is not None) + int(structure.low.size)
    if start is not None and start.duals and start.duals[k].size == count:
        return [np.append(start.slopes[k], start.duals[k])]
    slope = start.slopes[k] if start is not None else 0.0
    core = [1.0 / (2 * max(structure.reach, 1e-12))] if structure.radius is not None else []
    return [np.concatenate([[slope], core, np.zeros(structure.low.size)])]


def _slope_and_duals(target: BudgetTarget, k: int, v: Array, starts: list[Array]) -> Array:
    cone = cone_of(target.feasible(target.groups[k]))
    count = 0 if cone is None else dual_count(cone)
    first = cone is not None and cone.structure.radius is not None
    unit = np.concatenate([[1 / max(float(np.linalg.norm(target.vector)), 1e-12)], np.ones(count)])
    if first and cone is not None:
        unit[1] = 1 / (2 * max(cone.structure.reach, 1e-12))

    def cap(z: Array) -> float:
        point = z * unit
        point[: 1 + int(first)] = np.abs(point[: 1 + int(first)])
        return min(group_cap(target, k, v, float(point[0]), point[1:]), 1e300)

    best, least = starts[0] / unit, inf
    for begin in starts:
        z = begin / unit
        for turn in range(_ROUNDS):
            spread = 0.3 / 10**turn
            simplex = np.vstack([z, z + spread * np.diag(1 + np.abs(z))])
            options = {"initial_simplex": simplex, "maxfev": _STEPS, "xatol": 1e-10, "fatol": 1e-13}
            found = minimize(cap, z, method="Nelder-Mead", options=options)
            gained = least - float(found.fun)
            if gained > 0:
                best, least = found.x, float(found.fun)
            z = best
            if gained <= _GAIN * abs(least):
                break
    point = best * unit
    point[: 1 + int(first)] = np.abs(point[: 1 + int(first)])
    return np.asarray(point)
