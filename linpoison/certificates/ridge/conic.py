"""The ridge program as it is written: a second-order cone program for each test row."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize_scalar

from ...core.dataset import Dataset
from ...core.errors import LinpoisonError
from ...core.poison import Poison
from ...core.validation import Array
from ..certificate import Witness
from ..claim import Claim
from ..joint import Joint
from .model import GROUPS, RidgeSystem, comparator_bounds

WIDEST = 200
"""Most features for which one program after the other looks for cuts."""


class ConicAnswer(NamedTuple):
    """What a solver said about one row."""

    V: Array
    """Comparator, shape (D,)."""
    points: Array
    """One point for each group, shape (4, d)."""
    share: Array
    """Shares of the groups, shape (4,)."""
    value: float
    """What the solver says the greatest score is."""


class RidgeProgram:
    """``max c'v`` over the set of all parameters that poison can reach, or a convex set around it.

    ::

        v = v0 + H^-1 u,   u = sum_g s_g u_g,   u_g in w_g F_g,   sum_g e_g <= eps,
        u'H^-1 u + u'v0 <= sum_g ( s_g k_g w_g - w_g^2 / e_g ).

    Parameters
    ----------
    system : RidgeSystem
        With a positive budget.
    """

    def __init__(self, system: RidgeSystem) -> None:
        self.system = system
        self._lower = system.lower

    @cached_property
    def _parts(self) -> dict[str, Any]:
        import cvxpy as cp

        system, d = self.system, self.system.claim.train.d
        u = [cp.Variable(d) for _ in GROUPS]
        w, e, slack = cp.Variable(4, nonneg=True), cp.Variable(4, nonneg=True), cp.Variable(4, nonneg=True)
        total: Any = 0
        limits: list[Any] = [cp.sum(e) <= 1]
        gain: Any = 0
        for g, (label, sign) in enumerate(GROUPS):
            row = cp.hstack([u[g] - w[g] * system.rows.origin, w[g]]) if system.intercept else u[g]
            total = total + sign * row
            gain = gain + sign * label * w[g] - slack[g]
            limits += system.claim.sets[label].constraints(u[g], w[g])
            limits.append(cp.quad_over_lin(w[g], e[g]) <= slack[g] * system.claim.epsilon)
        whitened = cp.Variable(system.H.shape[0])
        limits.append(self._lower @ whitened == total)
        balance = cp.sum_squares(whitened) + total @ system.clean <= gain
        cost = cp.Parameter(system.H.shape[0])
        program = cp.Problem(cp.Maximize(cost @ whitened), [*limits, balance])
        return {"program": program, "cost": cost, "u": u, "w": w, "e": e, "whitened": whitened, "balance": balance}

    def solve(self, row: int) -> ConicAnswer | None:
        """The best comparator for one row of the claim, with the poison that goes with it; None if the solver fails."""
        from ...convex import solve

        system, parts = self.system, self._parts
        size = system.sizes[row]
        parts["cost"].value = solve_triangular(self._lower, system.directions[row] / size, lower=True)
        try:
            solve(parts["program"])
        except LinpoisonError:
            return None
        middle = 2 * solve_triangular(self._lower, parts["whitened"].value, lower=True, trans=1) + system.clean
        value = system.directions[row] @ system.clean + size * parts["cost"].value @ parts["whitened"].value
        return ConicAnswer(self._comparator(row, middle), *self._poison(), float(value))

    def joint(self, most: Array) -> Joint:
        """Programs with the scores of all rows of the claim; `most` is no less than each margin."""
        system, parts = self.system, self._parts
        turned = solve_triangular(self._lower, system.directions.T, lower=True).T
        scores = system.directions @ system.clean + turned @ parts["whitened"]
        constraints = parts["program"].constraints
        return Joint(lambda: (scores, constraints), self._settle, self._advised, lambda mu: None, most)

    def _settle(self, make: Callable[[], Any]) -> bool:
        from ...convex import solve

        try:
            solve(make(), check=lambda: 0.0)  # its multipliers are evaluated, whatever they are
        except LinpoisonError:
            return False
        return True

    def _advised(self) -> Poison | None:
        """The poison of the last solution, of the whole budget, shared among the groups as their mass is."""
        points, _ = self._poison()
        mass = np.maximum(self._parts["e"].value, 0.0)
        used = mass > 1e-6
        count = mass[used] / max(mass[used].sum(), 1e-300) * self.system.claim.epsilon * self.system.claim.mass
        return Poison(points[used], np.array([label for label, _ in GROUPS])[used], count) if used.any() else None

    def _comparator(self, row: int, middle: Array) -> Array:
        """``v = v0 + 2 H^-1 u - kappa H^-1 c`` with the least bound over kappa, near the solver's multiplier."""
        system = self.system
        response = system.responses[row] / system.sizes[row]
        price = float(np.ravel(self._parts["balance"].dual_value)[0])
        guess = np.log(1 / max(abs(price), 1e-12))

        def bound(log: float) -> float:
            return float(comparator_bounds(system, (middle - np.exp(log) * response)[None], [row])[0])

        found = minimize_scalar(bound, bounds=(guess - 0.1, guess + 0.1), method="bounded", options={"xatol": 1e-9})
        best = found.x if found.fun < bound(guess) else guess
        return np.asarray(middle - np.exp(best) * response)

    def _poison(self) -> tuple[Array, Array]:
        w = np.maximum(self._parts["w"].value, 0.0)
        share = np.where(w > 1e-6 * w.max(initial=0.0), w, 0.0)
        points = np.array([u.value / max(weight, 1e-300) for u, weight in zip(self._parts["u"], w, strict=True)])
        points[share == 0] = 0.0
        return points, share / max(share.sum(), np.finfo(float).tiny)


def joint_of_ridge(claim: Claim, witness: Witness) -> Callable[[Dataset, Array], Joint] | None:
    """For rows and bounds on their margins, programs with all of them; None without a budget or with many features."""
    if not claim.epsilon or claim.train.d > WIDEST:
        return None
    return lambda rows, most: RidgeProgram(RidgeSystem.of(claim.about(rows))).joint(most)
