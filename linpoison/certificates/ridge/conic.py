"""The ridge program as it is written: a second-order cone program for each test row."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize_scalar

from ...convex.cones import Cones, Solution, Term
from ...core.dataset import Dataset
from ...core.poison import Poison
from ...core.validation import Array
from ..certificate import Witness
from ..claim import Claim
from ..joint import Extend, Joint
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
    def _parts(self) -> tuple[Cones, dict[str, slice]]:
        """The program without its aim, and where its parts are."""
        system, d, cones = self.system, self.system.claim.train.d, Cones()
        D = system.H.shape[0]
        place = {"u": cones.variable(4 * d), "whitened": cones.variable(D)}
        w, e, slack = (cones.variable(4) for _ in range(3))
        place |= {"w": w, "e": e}
        for part in (w, e, slack):
            cones.nonneg([(part, 1.0)], np.zeros(4))
        cones.nonneg([(e, -1.0)], 1.0)
        total: list[Term] = [(place["whitened"], self._lower)]
        room: list[Term] = [(slack, -1.0)]
        for g, (label, sign) in enumerate(GROUPS):
            u, of, mass, left = (_part(place["u"], g, d), *(_part(part, g, 1) for part in (w, e, slack)))
            total.append((u, -sign * np.eye(D, d)))
            if system.intercept:
                total.append((of, sign * np.append(system.rows.origin, -1.0)[:, None]))
            cones.cone(system.claim.sets[label], u, of)
            # w^2 <= e slack epsilon:  |(2 w, e - epsilon slack)| <= e + epsilon slack
            cost, column = system.claim.epsilon, np.eye(3)[:, :, None]
            gains = [(of, 2 * column[1]), (mass, column[0] + column[2]), (left, cost * (column[0] - column[2]))]
            cones.soc(gains, np.zeros(3))
            room.append((of, sign * label))
        cones.zero(total, np.zeros(D))
        room.append((place["whitened"], -(self._lower.T @ system.clean)))
        place["balance"] = cones.square([(place["whitened"], 1.0)], np.zeros(D), room, 0.0)
        return cones, place

    def solve(self, row: int) -> ConicAnswer | None:
        """The best comparator for one row of the claim, with the poison that goes with it; None if the solver fails."""
        system, size = self.system, self.system.sizes[row]
        cost = solve_triangular(self._lower, system.directions[row] / size, lower=True)
        if self._settle(lambda cones, whitened, at: cones.minimise(whitened, -cost), brisk=False) is None:
            return None
        whitened = self._found("whitened")
        middle = 2 * solve_triangular(self._lower, whitened, lower=True, trans=1) + system.clean
        value = system.directions[row] @ system.clean + size * cost @ whitened
        return ConicAnswer(self._comparator(row, middle), *self._poison(), float(value))

    def joint(self, most: Array) -> Joint:
        """Programs with the scores of all rows of the claim; `most` is no less than each margin."""
        system = self.system
        turned, middle = (
            solve_triangular(self._lower, system.directions.T, lower=True).T,
            system.directions @ system.clean,
        )
        lead = partial(self._found, "whitened")
        return Joint(self._settle, turned, middle, lead, self._advised, lambda mu: None, most)

    def _settle(self, extend: Extend, brisk: bool = True) -> Solution | None:
        cones, place = self._parts
        cones = cones.copy()
        extend(cones, place["whitened"], np.zeros(len(self._lower)))
        answer = cones.solve(brisk=brisk)
        if answer is not None:
            self._answer = answer
        return answer

    def _found(self, name: str) -> Array:
        """A part of the last solution."""
        return self._answer.x[self._parts[1][name]]

    def _advised(self) -> Poison | None:
        """The poison of the last solution, of the whole budget, shared among the groups as their mass is."""
        points, _ = self._poison()
        mass, claim = np.maximum(self._found("e"), 0.0), self.system.claim
        used = np.flatnonzero(mass > 1e-6)
        if not used.size:
            return None
        labels = np.array([label for label, _ in GROUPS])[used]
        X = [claim.sets[int(label)].project(x[None])[0] for label, x in zip(labels, points[used], strict=True)]
        return Poison(np.array(X), labels, mass[used] / mass[used].sum() * claim.epsilon * claim.mass)

    def _comparator(self, row: int, middle: Array) -> Array:
        """``v = v0 + 2 H^-1 u - kappa H^-1 c`` with the least bound over kappa, near the solver's multiplier."""
        system = self.system
        response = system.responses[row] / system.sizes[row]
        balance = self._answer.z[self._parts[1]["balance"]]
        price = float(balance[0] - balance[-1])
        guess = np.log(1 / max(abs(price), 1e-12))

        def bound(log: float) -> float:
            return float(comparator_bounds(system, (middle - np.exp(log) * response)[None], [row])[0])

        found = minimize_scalar(bound, bounds=(guess - 0.1, guess + 0.1), method="bounded", options={"xatol": 1e-9})
        best = found.x if found.fun < bound(guess) else guess
        return np.asarray(middle - np.exp(best) * response)

    def _poison(self) -> tuple[Array, Array]:
        w = np.maximum(self._found("w"), 0.0)
        share = np.where(w > 1e-6 * w.max(initial=0.0), w, 0.0)
        points = self._found("u").reshape(4, -1) / np.maximum(w, 1e-300)[:, None]
        points[share == 0] = 0.0
        return points, share / max(share.sum(), np.finfo(float).tiny)


def _part(where: slice, number: int, size: int) -> slice:
    """One of several blocks of variables of the same size."""
    return slice(where.start + number * size, where.start + (number + 1) * size)


def joint_of_ridge(claim: Claim, witness: Witness) -> Callable[[Dataset, Array], Joint] | None:
    """For rows and bounds on their margins, programs with all of them; None without a budget or with many features."""
    if not claim.epsilon or claim.train.d > WIDEST:
        return None
    return lambda rows, most: RidgeProgram(RidgeSystem.of(claim.about(rows))).joint(most)
