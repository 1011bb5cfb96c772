"""The best comparator for one test row over any sets, from points that the sets' oracles return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from ...core.errors import LinpoisonError
from ...core.validation import LABELS, Array
from ...sets import Oracle
from .model import GROUPS, RidgeSystem

MAX_ROUNDS = 200
MAX_POINTS = 40
TOL = 1e-8
_KAPPA_ROUNDS = 60
_TINY = 1e-300


class _Mix(NamedTuple):
    """The poison that is best among the points known so far."""

    weight: Array
    kappa: float
    w: Array
    """The comparator, whitened."""
    norm: float
    worst: float


@dataclass
class _Pool:
    """Points known so far: raw, whitened, and what they are worth."""

    X: list[Array] = field(default_factory=list)
    white: list[Array] = field(default_factory=list)
    group: list[int] = field(default_factory=list)

    def keep(self, chosen: Sequence[bool]) -> None:
        for name in ("X", "white", "group"):
            setattr(self, name, [item for item, kept in zip(getattr(self, name), chosen, strict=True) if kept])


class ColumnDual:
    """``min_v ( c'v + |c|_{H^-1} sqrt(|v - v0|_H^2 + eps M(v)^2) ) / 2`` by cutting planes on ``M``.

    With finitely many points the best comparator is ``v0 + 2 H^-1 sum_j s_j w_j x_j - kappa H^-1 c`` with
    weights ``w >= 0`` from a non-negative least-squares problem of as many unknowns as points; for the
    points in use, kappa has a closed form. Each round adds the points of the sets with greater residuals
    and, of many, drops those without weight. The two values close in on the optimum from both sides.

    Parameters
    ----------
    system : RidgeSystem
        With a positive budget.
    """

    def __init__(self, system: RidgeSystem) -> None:
        self.system = system
        self._lower = system.lower
        self._clean = self._lower.T @ system.clean
        self._oracles = {label: Oracle(system.claim.sets[label]) for label in LABELS}

    def solve(self, row: int) -> tuple[Array, Array, Array, float] | None:
        """Comparator (D,), points (4, d), shares (4,) and the gap that is left; None if an oracle fails."""
        size = max(float(self.system.sizes[row]), np.finfo(float).tiny)
        cost = solve_triangular(self._lower, self.system.directions[row] / size, lower=True)
        pool, w = _Pool(), self._clean - cost
        best, least, gap = w, np.inf, np.inf
        mix: _Mix | None = None
        for _ in range(MAX_ROUNDS):
            try:
                worst = self._extend(pool, w, 0.0 if mix is None else mix.worst)
            except LinpoisonError:
                return None
            value = self._value(w, cost, worst)
            if value < least:
                least, best = value, w
            if mix is not None:
                gap = size * (least - self._value(mix.w, cost, mix.worst))
                if gap <= TOL:
                    break
            mix = self._mix(pool, cost)
            w = mix.w
        points, share = self._poison(pool, mix)
        return solve_triangular(self._lower, best, lower=True, trans=1), points, share, float(gap)

    def _value(self, w: Array, cost: Array, worst: float) -> float:
        off = w - self._clean
        return float(cost @ (w + self._clean) + np.sqrt(off @ off + self.system.claim.epsilon * worst**2)) / 2

    def _extend(self, pool: _Pool, w: Array, known: float) -> float:
        """Add the points of greater residual than known; the greatest residual."""
        system, d = self.system, self.system.claim.train.d
        v = solve_triangular(self._lower, w, lower=True, trans=1)
        offset = v[-1] if system.intercept else 0.0
        worst = known
        for g, (label, sign) in enumerate(GROUPS):
            x = self._oracles[label].support(-sign * v[:d])
            residual = sign * label - sign * (float((x - system.rows.origin) @ v[:d]) + offset)
            if residual > known + 1e-12:
                pool.X.append(x)
                pool.white.append(solve_triangular(self._lower, system.extend(x[None])[0], lower=True))
                pool.group.append(g)
            worst = max(worst, residual)
        return worst

    def _mix(self, pool: _Pool, cost: Array) -> _Mix:
        system = self.system
        signs = np.array([GROUPS[g][1] for g in pool.group])
        S = np.array(pool.white) * signs[:, None]
        still = np.array([GROUPS[g][0] * GROUPS[g][1] for g in pool.group]) - S @ self._clean
        moved = S @ cost
        root = _root(S @ S.T + 1 / system.claim.epsilon)
        first, second = (solve_triangular(root, part, lower=True) for part in (still, moved))
        weight, kappa = _price(root, first, second)
        w = self._clean + 2 * weight @ S - kappa * cost
        worst = float(np.max(still - S @ (w - self._clean)))
        kept = weight >= 0 if len(weight) <= MAX_POINTS else weight > 0
        pool.keep(list(kept))
        off = w - self._clean
        return _Mix(weight[kept], kappa, w, float(np.linalg.norm(off)), max(worst, 0.0))

    def _poison(self, pool: _Pool, mix: _Mix | None) -> tuple[Array, Array]:
        points, total = np.zeros((4, self.system.claim.train.d)), np.zeros(4)
        if mix is not None:
            for x, g, weight in zip(pool.X, pool.group, mix.weight, strict=False):
                points[g] += weight * x
                total[g] += weight
        points /= np.where(total > 0, total, 1.0)[:, None]
        return points, total / max(total.sum(), np.finfo(float).tiny)


def _root(gram: Array) -> Array:
    """Lower Cholesky factor of a Gram matrix, with as much added to the diagonal as that takes."""
    for jitter in (1e-14, 1e-12, 1e-10):
        try:
            return np.asarray(np.linalg.cholesky(gram + jitter * np.diag(np.diag(gram))))
        except np.linalg.LinAlgError:
            continue
    return np.asarray(np.linalg.cholesky(gram + 1e-6 * np.diag(np.diag(gram))))


def _price(root: Array, first: Array, second: Array) -> tuple[Array, float]:
    """``argmin_w |root'w - (first + kappa second) / 2|`` over ``w >= 0``, with the kappa that belongs to it.

    That kappa makes ``w . root (kappa second - first)`` zero, which increases with it. On the points in use
    it has a closed form; a bracket keeps the iteration from jumping between two sets of points.
    """
    low, high = 0.0, np.inf
    kappa = float(np.linalg.norm(first) / max(float(np.linalg.norm(second)), _TINY))
    weight = np.zeros(len(first))
    for _ in range(_KAPPA_ROUNDS):
        weight = nnls(root.T, (first + kappa * second) / 2)[0]
        used = root.T[:, weight > 0]
        if not used.size:  # poison of these points only lowers the score
            break
        excess = float((root.T @ weight) @ (kappa * second - first))
        low, high = (low, kappa) if excess > 0 else (kappa, high)
        before, kappa = kappa, _closed(used, first, second)
        if abs(kappa - before) <= 1e-13 * before:
            break
        if not low < kappa < high:
            kappa = 4 * low if high == np.inf else (np.sqrt(low * high) if low > 0 else high / 4)
    return weight, kappa


def _closed(used: Array, first: Array, second: Array) -> float:
    basis = np.linalg.qr(used)[0]
    return float(np.linalg.norm(basis.T @ first) / max(float(np.linalg.norm(basis.T @ second)), _TINY))
