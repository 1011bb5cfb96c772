"""The least budget of a hinge target among structured sets, by an interior-point method whose coordinates separate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from ...core.errors import SolverFailed
from ...core.poison import Poison
from ...core.validation import LABELS, Array
from ...optimality.elimination import Class
from ...optimality.set_cone import SetCone
from ...optimality.stationarity import VANISHING
from ...sets import Box, Halfspace, intersect
from ...sets.structure import structure_of
from .dual import Proof, cone_of, dual_ratio
from .least_mass import LeastMass, Saddle
from .target import Answer, BudgetTarget

UNIT = 1e-4
"""Mass in which the program is stated."""
GAP = 0.1
"""Share of the tolerance that is aimed at; what meets all of it serves where rounding allows no more."""
_VANISHES = 0.1
_FEASIBLE = 1e-8
_LIGHT = 1e-6


def structured_applies(target: BudgetTarget) -> bool:
    """Whether the loss is the hinge and both sets are bounded intersections of a known structure."""
    if target.problem.loss.kink is None or not target.condition.decoy.coef.any():
        return False
    return all(cone_of(target.feasible(group)) is not None for group in target.groups)


def structured_budget(target: BudgetTarget, tol: float, first: Proof) -> Answer:
    """The least budget by one interior-point program, see `LeastMass`.

    Beside a weighted point of each class there is mass without pull, where that strengthens the regulariser. The
    duals of the residual are the direction, those of the sets its slopes and duals; each iterate's proof is
    evaluated exactly, and the program ends where the best of them meets the mass of an iterate whose residual vanishes.

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
    search = _Search(target, tol, first)
    failed = ""
    try:
        steps = search.program.descend(search.done)
    except SolverFailed as error:
        failed = str(error)
    if np.isinf(search.bound):
        return Answer(np.inf, None, np.zeros(0), search.proof, 0.0, "infeasible")
    if search.met is None:
        raise SolverFailed(failed)
    return search.answer(search.met, failed or f"optimal after {steps} steps")


class _Search:
    """The program, with the best proof so far and the iterate that meets it."""

    def __init__(self, target: BudgetTarget, tol: float, first: Proof) -> None:
        self.target, self.tol = target, tol
        self.bound, self.proof = dual_ratio(target, first), first
        self.met: Saddle | None = None
        condition = target.condition
        c0, c1 = condition.penalty
        members = [
            Class(y, cone, c1 - y * np.append(cone.structure.origin + cone.base, 1.0)) for y, cone in self._cut()
        ]
        if target.padded:
            members.append(Class(1.0, _nothing(condition.train.d), c1))
        constant, matrix = (condition.constant + c0) / UNIT, condition.kink_matrix / UNIT
        if not target.problem.fit_intercept:
            constant = np.append(constant[:-1], 0.0)
            matrix = sp.vstack([matrix[:-1], sp.csc_array((1, matrix.shape[1]))])
            members = [Class(m.label, m.cone, np.append(m.mass[:-1], 0.0)) for m in members]
        soft = max(condition.size, 1e-6) ** 2
        self.program = LeastMass(constant, sp.csc_array(matrix), members, soft=soft, tol=GAP * tol)

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

    def done(self, now: Saddle, left: float, violation: float) -> bool:
        """Whether the iterate's mass is proved to be the least, or any mass to be too little."""
        if now.p.any():
            self._learn(self._proof_at(now))
        weight = float(now.at.e.sum())
        vanishes = UNIT * left <= _VANISHES * VANISHING * self.target.condition.size
        if np.isinf(self.bound) or not (vanishes and violation <= _FEASIBLE * max(weight, 1.0)):
            return bool(np.isinf(self.bound))
        if UNIT * weight > self.bound * (1 + self.tol):
            return False
        self.met = now
        return UNIT * weight <= self.bound * (1 + GAP * self.tol)

    def _learn(self, proof: Proof) -> None:
        ratio = dual_ratio(self.target, proof)
        if ratio > self.bound:
            self.bound, self.proof = ratio, proof

    def _proof_at(self, now: Saddle) -> Proof:
        """The direction of the duals of the residual, with the slopes and duals that the iterate holds."""
        size = float(np.linalg.norm(now.p))
        cuts = np.cumsum([member.cone.size for member in self.program.members])
        slopes, duals = [], []
        for k, member in enumerate(self.program.members[: len(LABELS)]):
            cone = member.cone
            slope, dual = _signed(cone, now.at.dual[cuts[k] - cone.size : cuts[k]] / size)
            slopes.append(slope / float(np.linalg.norm(self.target.condition.decoy.coef)))
            duals.append(dual)
        return Proof(now.p / size, np.array(slopes), tuple(duals))

    def answer(self, now: Saddle, status: str) -> Answer:
        """The poison of an iterate whose residual vanishes; what is left of its mass does not pull."""
        total, shares = self.target.condition.train.total, now.at.e / float(now.at.e.sum())
        points, labels, counts = [], [], []
        for y, member, u, e, share in zip(LABELS, self.program.members, now.at.u, now.at.e, shares, strict=False):
            if share > _LIGHT:
                points.append(u / e + member.cone.base + member.cone.structure.origin)
                labels.append(y)
                counts.append(total * UNIT * float(e))
        X = np.array(points).reshape(-1, self.target.condition.train.d)
        multipliers = np.clip(now.at.a, 0.0, 1.0)
        slack = UNIT * float(now.at.e[len(LABELS) :].sum())
        epsilon = sum(counts) / total + slack
        return Answer(epsilon, Poison(X, np.array(labels), np.array(counts)), multipliers, self.proof, slack, status)


def _signed(cone: SetCone, duals: Array) -> tuple[float, Array]:
    """The dual of the cut, which is the last row, and the others with the sign of the side that pays."""
    rows = iter(cone.parts(duals)[3].tolist())
    structure = cone.structure
    own = [next(rows)] if structure.radius is not None else []
    for low, high in zip(structure.low, structure.high, strict=True):
        dual = next(rows) if np.isfinite(high) else 0.0
        own.append(dual - (next(rows) if np.isfinite(low) else 0.0))
    return max(own[-1], 0.0), np.array(own[:-1])


def _nothing(d: int) -> SetCone:
    """The set of the zero vector: mass without pull."""
    structure = structure_of(intersect(Box(np.zeros(d), np.zeros(d))))
    if structure is None:
        raise SolverFailed("expected a structure of a box, got none.")
    return SetCone(structure)
