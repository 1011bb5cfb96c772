"""The relaxations of the hinge loss as one conic program, whose multipliers are what is wanted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...convex import solve
from ...core.errors import LinpoisonError
from ...core.validation import Array
from ..clean.rows import LABELS
from .dual import Multipliers, dual_bound
from .frame import Frame, Rows


@dataclass(frozen=True, eq=False)
class Relaxed:
    """What a solve left: multipliers, the bound they prove, and the primal point if there is one.

    Parameters
    ----------
    bound : float
    point : Multipliers
    v : ndarray, shape (d + 1,), or None
    a : ndarray, shape (copies, n), or None
    kept : ndarray, shape (n,), or None
        The weight ``s`` that each row keeps, where some lose it.
    poison : dict
        ``{y: (w_y, u_y)}`` for the classes that have mass.
    """

    bound: float
    point: Multipliers
    v: Array | None
    a: Array | None
    kept: Array | None
    poison: dict[int, tuple[float, Array]]


class CaseProgram:
    """The program of `dual_bound`, compiled once for a frame and solved for many aims and states of the rows.

    With a floor it is homogenised: all variables are scaled by ``tau`` in [0, 1] and the objective is
    ``-aim . v + (1 - tau) floor``. It is then feasible even where no ``v`` meets the constraints, and its
    multipliers prove what matters of a program that ends below the floor.

    Parameters
    ----------
    bare : Frame
    floored : bool
        Whether `solve` is called with floors.
    """

    def __init__(self, bare: Frame, floored: bool) -> None:
        import cvxpy as cp

        self.bare = bare
        n, width, copies = bare.share.size, bare.center.size, bare.copies
        size = copies * n
        self.aim, self.floor = cp.Parameter(width), cp.Parameter()
        self.least, self.most = cp.Parameter(size, nonneg=True), cp.Parameter(size, nonneg=True)
        self.low, self.high = cp.Parameter(size), cp.Parameter(size)
        self.loss, self.gain = cp.Parameter(size, nonneg=True), cp.Parameter(size, nonneg=True)
        self.tau: Any = cp.Variable(nonneg=True) if floored else cp.Constant(1.0)
        self.v, self.a, self.t = cp.Variable(width), cp.Variable(size), cp.Variable(size, nonneg=True)
        self.s = cp.Variable(n, nonneg=True) if bare.changed > 0 else None
        self.u = {label: cp.Variable(width - 1) for label in LABELS}
        self.w = {label: cp.Variable(nonneg=True) for label in LABELS}
        self.named: dict[str, Any] = {}
        rules = [*self._poison(), *self._rows(), *self._sums()]
        if floored:
            rules.append(self.tau <= 1)
        objective = -self.aim @ self.v
        if floored:
            objective = objective + self.floor - self.floor * self.tau
        self.problem = cp.Problem(cp.Maximize(objective), [*rules, *self.named.values()])

    def _poison(self) -> list[Any]:
        """Poison in units of the budget."""
        if not self.bare.claim.epsilon:
            return [part == 0 for label in LABELS for part in (self.u[label], self.w[label])]
        rules = [self.w[1] + self.w[-1] <= self.tau]
        for label in LABELS:
            rules += self.bare.claim.sets[label].constraints(self.u[label], self.w[label])
        return rules

    def _pull(self) -> Any:
        """``u_+ - u_-``, extended."""
        import cvxpy as cp

        eps, one = self.bare.claim.epsilon, self.bare.one
        return eps * cp.hstack([self.u[1] - self.u[-1], one * (self.w[1] - self.w[-1])])

    def _weights(self) -> Any:
        """The weight of each row and copy."""
        import cvxpy as cp

        n = self.bare.share.size
        if self.s is None:
            kept = np.ones(n) * self.tau
            return kept if self.bare.copies == 1 else cp.hstack([kept, np.zeros(n)])
        return self.s if self.bare.copies == 1 else cp.hstack([self.s, np.ones(n) * self.tau - self.s])

    def _rows(self) -> list[Any]:
        import cvxpy as cp

        whole = np.ones(self.a.size) * self.tau
        weights = self._weights()
        short = whole - self._flat_rows @ self.v
        self.named["beta"] = self.t >= short - cp.multiply(self.loss, whole - weights)
        self.named["gamma"] = self.t <= cp.multiply(self.low, self.a)
        self.named["delta"] = self.t <= short + cp.multiply(self.high, whole - self.a)
        self.named["zeta"] = self.t >= cp.multiply(self.gain, self.a)
        rules = [self.a >= cp.multiply(self.least, weights), self.a <= cp.multiply(self.most, weights)]
        if self.s is not None:
            kept = np.ones(self.s.size) * self.tau - self.s
            rules.append(kept >= 0)
            self.named["mu"] = self.bare.share @ kept <= self.bare.changed * self.tau
        return rules

    def _sums(self) -> list[Any]:
        import cvxpy as cp

        bare, pull = self.bare, self._pull()
        share, penalised = np.tile(bare.share, bare.copies), np.flatnonzero(bare.claim.mask)
        balance = (
            bare.reg * cp.multiply(bare.claim.mask, self.v) - self._flat_rows.T @ cp.multiply(share, self.a) - pull
        )
        entries = slice(None) if bare.one else slice(-1)
        self.named["p"] = balance[entries] == 0
        square = cp.quad_over_lin(self.v[penalised], self.tau)
        mass = bare.claim.epsilon * (self.w[1] + self.w[-1])
        self.named["sigma"] = bare.reg * square + share @ (self.t - self.a) <= mass
        rules = [] if bare.one else [self.v[-1] == 0]
        if bare.capped:
            offset = cp.Variable(bare.center.size)
            self.named["r"] = offset == self.v - bare.center * self.tau - pull / (2 * bare.reg)
            far = sum(bare.reach[label] * self.w[label] for label in LABELS) * bare.claim.epsilon / (2 * bare.reg)
            if self.s is not None:
                far = far + (bare.share * bare.strain / bare.reg) @ (np.ones(self.s.size) * self.tau - self.s)
            rules.append(cp.norm2(offset) <= far + bare.slack * self.tau)
        return rules

    @property
    def _flat_rows(self) -> Array:
        return self.bare.rows.reshape(-1, self.bare.center.size)

    def solve(self, aim: Array, rows: Rows, floor: float | None = None) -> Relaxed | None:
        """Multipliers for one aim and one state of the rows; None if the solver failed, or if a margin is unbounded.

        Without a floor a homogenised program takes one that is below the value of every ``v``.
        """
        if not (np.isfinite(rows.lower).all() and np.isfinite(rows.upper).all()):
            return None
        least = -self.bare.direct(-aim) - 1.0
        self.aim.value, self.floor.value = aim, least if floor is None else max(least, floor)
        self.least.value, self.most.value = rows.least.ravel(), rows.most.ravel()
        self.low.value, self.high.value = 1 - rows.lower.ravel(), rows.upper.ravel() - 1
        self.loss.value = np.maximum(self.low.value, 0.0)
        self.gain.value = np.maximum(-self.high.value, 0.0)
        try:
            solve(self.problem, solver="CLARABEL")
        except LinpoisonError:
            return None
        point = self._multipliers()
        return Relaxed(dual_bound(self.bare, rows, point, aim), point, *self._primal())

    def _multipliers(self) -> Multipliers:
        n, copies, width = self.bare.share.size, self.bare.copies, self.bare.center.size
        pieces = np.stack(
            [self._dual(name, copies * n).reshape(copies, n) for name in ("beta", "gamma", "delta", "zeta")]
        )
        p = np.zeros(width)
        found = self._dual("p", width if self.bare.one else width - 1)
        p[: found.size] = found
        sigma, mu = float(self._dual("sigma", 1)[0]), float(self._dual("mu", 1)[0])
        return Multipliers(p, -self._dual("r", width), sigma, mu, pieces)

    def _dual(self, name: str, size: int) -> Array:
        value = self.named[name].dual_value if name in self.named else None
        return np.zeros(size) if value is None else np.asarray(value, dtype=np.float64).reshape(size)

    def _primal(self) -> tuple[Array | None, Array | None, Array | None, dict[int, tuple[float, Array]]]:
        scale = float(self.tau.value)
        if not scale > 1e-3:
            return None, None, None, {}
        eps = self.bare.claim.epsilon
        poison = {}
        for label in LABELS:
            mass = eps * float(self.w[label].value) / scale
            if mass > 1e-6 * eps > 0:
                poison[label] = (mass, eps * np.asarray(self.u[label].value) / scale)
        a = np.asarray(self.a.value).reshape(self.bare.copies, -1) / scale
        kept = None if self.s is None else np.asarray(self.s.value) / scale
        return np.asarray(self.v.value) / scale, a, kept, poison


def reference_multipliers(bare: Frame) -> Array:
    """Multipliers ``a0`` of the clean rows that are nearly optimal for them alone.

    ::

        maximize  (1/n) sum c_i a_i - |(1/n) sum c_i a_i y_i (x_i, 1)|^2 / (2 reg),   0 <= a <= 1
    """
    import cvxpy as cp

    a = cp.Variable(bare.share.size, bounds=[0, 1])
    pulled = (bare.rows[0] * bare.share[:, None]).T @ a
    square = cp.sum_squares(pulled) / (2 * bare.reg)
    try:
        solve(cp.Problem(cp.Maximize(bare.share @ a - square)))
    except LinpoisonError:
        return np.zeros(bare.share.size)
    return np.clip(np.asarray(a.value, dtype=np.float64), 0.0, 1.0)
