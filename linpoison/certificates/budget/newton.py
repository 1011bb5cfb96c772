"""The least budget of a hinge target among structured sets, by Newton's method on the residual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ...core.errors import SolverFailed
from ...core.poison import Poison
from ...core.validation import LABELS, Array
from ...losses import Hinge
from ...optimality.elimination import Class
from ...optimality.interior import Iterate, Nearest
from ...optimality.set_cone import SetCone
from ...sets import Box, Halfspace, intersect
from ...sets.structure import structure_of
from .dual import Proof, cone_of, dual_ratio, group_cap
from .target import Answer, BudgetTarget

GAP = 1e-3
"""Relative gap of each nearest point; the bound that follows from it is exact whatever it is."""
_ROUNDS = 40
_VANISHES = 1e-6
_NEAR = 3e4
"""Residuals this many times the floor may lie so near the root that rounding hides the way to it."""
_LIGHT = 1e-6
_FIRST = 4e-3


def newton_applies(target: BudgetTarget) -> bool:
    """Whether the loss is the hinge and both sets are bounded intersections of a known structure."""
    if not isinstance(target.problem.loss, Hinge) or not target.condition.decoy.coef.any():
        return False
    return all(cone_of(target.feasible(group)) is not None for group in target.groups)


def newton_budget(target: BudgetTarget, tol: float, first: Proof) -> Answer:
    """The least budget, by nearest points at budgets that prove each other too small.

    At a budget ``e`` the least residual ``r`` of the condition gives the direction ``v = r / |r|``. It proves
    that budgets below its ratio will not do, and that ratio is the Newton step for the root of the convex
    decreasing ``|r(e)|``. Steps rise and converge quadratically; each goes a little (a tenth of `tol`) beyond
    its ratio, so that the last one meets a residual of zero. Mass that does not pull is left out until
    points alone prove useless.

    Parameters
    ----------
    target : BudgetTarget
    tol : float
        Greatest relative difference between the budget and what is proved.
    first : Proof
        To begin from.

    Raises
    ------
    SolverFailed
        If the two do not meet.
    """
    search = _Search(target, tol, dual_ratio(target, first), first)
    try:
        return search.run(padded=False)
    except SolverFailed:
        if not target.padded:
            raise
    return search.run(padded=True)


@dataclass
class _Search:
    """What is known while budgets rise."""

    target: BudgetTarget
    tol: float
    bound: float
    proof: Proof

    def run(self, padded: bool) -> Answer:
        """Newton's method; where rounding stalls it near the root, budgets a little aside of the bound."""
        floor = _VANISHES * self.target.condition.size
        aside = [0.95, 1 + 0.95 * self.tol, 0.98, 1 + 0.6 * self.tol]
        epsilon = max(self.bound * (1 + 0.1 * self.tol), _FIRST)
        for step in range(1, _ROUNDS + 1):
            if not np.isfinite(epsilon):
                break
            found = _Round(self.target, epsilon, padded)
            at, _ = found.program.solve(GAP, 0.5 * floor / epsilon)
            left = epsilon * float(np.linalg.norm(found.program.residual(at)))
            if left <= floor:
                if epsilon <= self.bound * (1 + self.tol):
                    return found.answer(at, self.proof, f"optimal after {step} nearest points")
                epsilon = max(self.bound * (1 + 0.1 * self.tol), epsilon / 10)
            elif self._improves(found.proof(at)):
                padded = padded or self._idle()
                epsilon = self.bound * (1 + 0.1 * self.tol)
            elif aside and (left <= _NEAR * floor or len(aside) < 4):
                epsilon = self.bound * aside.pop()
            else:
                break
        raise SolverFailed(f"expected a budget within {self.tol:g} of its bound {self.bound:g}, got none.")

    def _idle(self) -> bool:
        """Whether more points would not help, only a stronger regulariser."""
        v, slopes, prices = self.proof.v, self.proof.slopes.tolist(), self.proof.prices
        pulls = [group_cap(self.target, k, v, slopes[k], price) for k, price in enumerate(prices)]
        return self.target.padded and max(pulls) <= 0

    def _improves(self, proof: Proof) -> bool:
        ratio = dual_ratio(self.target, proof)
        better = ratio > self.bound * (1 + 1e-9)
        if better:
            self.bound, self.proof = ratio, proof
        return better


class _Round:
    """The nearest-point program at one budget, in units of it, with a weightless class for padding."""

    def __init__(self, target: BudgetTarget, epsilon: float, padded: bool) -> None:
        self.target, self.epsilon = target, epsilon
        condition = target.condition
        c0, c1 = condition.penalty
        members = [
            Class(y, cone, c1 - y * np.append(cone.structure.origin + cone.base, 1.0)) for y, cone in self._cut()
        ]
        if padded:
            members.append(Class(1.0, _nothing(condition.train.d), c1))
        constant, matrix = (condition.constant + c0) / epsilon, condition.kink_matrix / epsilon
        if not target.problem.fit_intercept:
            constant = np.append(constant[:-1], 0.0)
            matrix = sp.vstack([matrix[:-1], sp.csc_array((1, matrix.shape[1]))])
            members = [Class(m.label, m.cone, np.append(m.mass[:-1], 0.0)) for m in members]
        self.program = Nearest(constant, sp.csc_array(matrix), members)

    def _cut(self) -> Sequence[tuple[float, SetCone]]:
        """The points of each class whose margin is at most 1."""
        decoy, cones = self.target.condition.decoy, []
        for y in LABELS:
            side = Halfspace(y * decoy.coef, 1 - y * decoy.intercept)
            structure = structure_of(intersect(self.target.sets[int(y)], side))
            if structure is None:
                raise SolverFailed("expected structured sets, got others.")
            cones.append((y, SetCone(structure)))
        return cones

    def proof(self, at: Iterate) -> Proof:
        """The direction of the residual, with the slopes and prices that the iterate holds."""
        r = self.program.residual(at)
        size = float(np.linalg.norm(r))
        cuts = np.cumsum([member.cone.size for member in self.program.members])
        slopes, prices = [], []
        for k, y in enumerate(LABELS):
            cone = self.program.members[k].cone
            own = at.price[cuts[k] - cone.size : cuts[k]] / size
            slope, price = _signed(cone, own, y)
            slopes.append(slope / float(np.linalg.norm(self.target.condition.decoy.coef)))
            prices.append(price)
        return Proof(r / size, np.array(slopes), tuple(prices))

    def answer(self, at: Iterate, proof: Proof, status: str) -> Answer:
        """The poison of an iterate whose residual vanishes."""
        total, spent = self.target.condition.train.total, 0.0
        points, labels, counts = [], [], []
        for y, member, u, share in zip(LABELS, self.program.members, at.u, at.e.tolist(), strict=False):
            if share > _LIGHT:
                points.append(u / share + member.cone.base + member.cone.structure.origin)
                labels.append(y)
                counts.append(total * self.epsilon * share)
                spent += share
        X = np.array(points).reshape(-1, self.target.condition.train.d)
        padding = float(at.e[2]) if at.e.size > 2 else 0.0
        # weightless classes left out, the rest stands
        epsilon = self.epsilon * (spent + padding)
        multipliers = np.clip(at.a, 0.0, 1.0)
        slack = self.epsilon * padding
        return Answer(epsilon, Poison(X, np.array(labels), np.array(counts)), multipliers, proof, slack, status)


def _signed(cone: SetCone, prices: Array, label: float) -> tuple[float, Array]:
    """The price of the cut, which is the last row, and the others with the sign of the side that pays."""
    rows = iter(cone.parts(prices)[3].tolist())
    structure = cone.structure
    own = [next(rows)] if structure.radius is not None else []
    for low, high in zip(structure.low, structure.high, strict=True):
        price = next(rows) if np.isfinite(high) else 0.0
        own.append(price - (next(rows) if np.isfinite(low) else 0.0))
    return max(own[-1], 0.0), np.array(own[:-1])


def _nothing(d: int) -> SetCone:
    """The set of the zero vector: mass without pull."""
    structure = structure_of(intersect(Box(np.zeros(d), np.zeros(d))))
    if structure is None:
        raise SolverFailed("expected a structure of a box, got none.")
    return SetCone(structure)
