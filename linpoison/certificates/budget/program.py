"""The least budget as one conic program, and the direction that proves it, or proves that there is none."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from ...convex import solve
from ...core.errors import InfeasibleSet, LinpoisonError, SolverFailed
from ...core.poison import MOST_COPIES, Poison
from ...core.validation import Array
from .dual import Proof
from .target import Answer, BudgetTarget
from .tune import along_the_model, best_proof, tuned

_LIGHT = 1e-6
"""Share of the budget below which a group's point would be 0 / 0 up to the solver's accuracy."""
_BRISK = 2000
_RAYS = (1e-2, 1e-4, 1e-6)
_TINY = 1e-9
_AGAIN = 3
_CLOSE = 1e-5


def conic_budget(target: BudgetTarget, solver: str | None, first: Proof, unit: float) -> Answer:
    """The least budget by one conic program.

    Parameters
    ----------
    target : BudgetTarget
    solver : str or None
    first : Proof
        Of the model's own direction; returned if the solver's direction proves less.
    unit : float
        A budget of about the right size, in which the program is stated.

    Raises
    ------
    SolverFailed
        If no solver gives an answer.
    """
    program = BudgetProgram(target, unit)
    try:
        status = program.run(solver)
        if not 0.02 < program.epsilon / unit < 50 and program.epsilon > _TINY:
            program = BudgetProgram(target, program.epsilon)
            status = program.run(solver)
    except (InfeasibleSet, SolverFailed) as error:
        bound, proof = best_proof(target, [first, *rays(target, unit, solver)])
        if isinstance(error, SolverFailed) and np.isfinite(bound):
            raise
        return Answer(np.inf, None, np.zeros(0), proof, 0.0, "infeasible")
    found = [first]
    for sign in (1.0, -1.0):
        v = sign * program.direction
        if np.any(v):
            found += [proof for proof in (along_the_model(target, v), tuned(target, v)) if proof is not None]
            if best_proof(target, found)[0] > 0.5 * program.epsilon:
                break
    for _ in range(_AGAIN):
        bound, proof = best_proof(target, found)
        if bound >= program.epsilon * (1 - _CLOSE) or bound < 0.5 * program.epsilon:
            break
        found.append(tuned(target, proof.v, proof))
    return program.answer(best_proof(target, found)[1], status)


class BudgetProgram:
    """Variables and constraints of the least budget, all in one unit of mass.

    Parameters
    ----------
    target : BudgetTarget
    unit : float
    """

    def __init__(self, target: BudgetTarget, unit: float) -> None:
        import cvxpy as cp

        self.target, self.unit = target, unit
        d = target.condition.train.d
        groups = target.groups
        self.points = [cp.Variable(d) for _ in groups]
        self.pulls = [cp.Variable(nonneg=True) for _ in groups]
        self.masses = [cp.Variable(nonneg=True) for _ in groups]
        self.mass = cp.Variable(nonneg=True) if target.padded else sum(self.masses)
        count = int(target.condition.on_kink.sum())
        self.multipliers = cp.Variable(count, nonneg=True) if count else None
        self.stationary: Any = None
        self.epsilon = np.nan
        self.direction = np.zeros(d + 1)

    @cached_property
    def rules(self) -> list[Any]:
        """All constraints but the condition of optimality."""
        target, decoy = self.target, self.target.condition.decoy
        rules = [sum(self.masses) <= self.mass] if target.padded else []
        for group, u, w, e in zip(target.groups, self.points, self.pulls, self.masses, strict=True):
            rules += target.feasible(group).constraints(u, w)
            margin = group.label * (u @ decoy.coef + decoy.intercept * w)
            loss = target.problem.loss
            rules += loss.pull_constraints(w, loss.on_branch(group.side, margin, w), e)
        if self.multipliers is not None:
            rules.append(self.multipliers <= 1)
        return rules

    @cached_property
    def residual(self) -> Any:
        """The condition of optimality, in units; without the intercept's entry where none is fitted."""
        import cvxpy as cp

        condition = self.target.condition
        c0, c1 = condition.penalty
        value = (condition.constant + c0) / self.unit
        if self.target.padded:
            value = value + self.mass * c1
        if self.multipliers is not None:
            value = value + (condition.kink_matrix / self.unit) @ self.multipliers
        for group, u, w in zip(self.target.groups, self.points, self.pulls, strict=True):
            value = value - group.sign * cp.hstack([u, w])
        return value if self.target.problem.fit_intercept else value[:-1]

    def run(self, solver: str | None) -> str:
        """Minimise the budget; a group that keeps a direction but no weight is left out, and the rest solved again."""
        status = self._minimise([], solver)
        light = [k for k, w in enumerate(self.pulls) if float(w.value) <= _LIGHT * max(self._pulled, _TINY)]
        if light and len(light) < len(self.pulls):
            rest = [rule for k in light for rule in (self.points[k] == 0, self.pulls[k] == 0)]
            kept = self.epsilon, self.direction, [u.value for u in self.points], [w.value for w in self.pulls]
            kept_multipliers = None if self.multipliers is None else self.multipliers.value
            try:
                again = self._minimise(rest, solver)
            except (InfeasibleSet, SolverFailed):
                again = ""
            if again and self.epsilon <= kept[0] * (1 + 1e-6) + _TINY:
                self.direction = kept[1]
                return again
            self.epsilon, self.direction = kept[:2]
            for variable, value in zip([*self.points, *self.pulls], [*kept[2], *kept[3]], strict=True):
                variable.value = value
            if self.multipliers is not None:
                self.multipliers.value = kept_multipliers
        return status

    @property
    def _pulled(self) -> float:
        return float(sum(float(w.value) for w in self.pulls))

    def _minimise(self, rest: list[Any], solver: str | None) -> str:
        import cvxpy as cp

        self.stationary = self.residual == 0
        program = cp.Problem(cp.Minimize(self.mass), [self.stationary, *self.rules, *rest])
        info = solve(program, solver=solver, brisk=self.target.condition.train.d >= _BRISK)
        v = np.asarray(self.stationary.dual_value, dtype=np.float64).ravel()
        self.direction = v if self.target.problem.fit_intercept else np.append(v, 0.0)
        self.epsilon = self.unit * float(info.value)
        return f"{info.solver}: {info.status}"

    def ray(self, tilt: float, solver: str | None) -> Array:
        """A direction against which no budget helps: the residual nearest to zero, tilted to be strict.

        ``min |r| - tilt (sum_k w_k [+ e])``: its dual is ``max N(v)`` over ``|v| <= 1`` and directions
        in which every point pulls at most ``-tilt`` [and the regulariser at least `tilt`].
        """
        import cvxpy as cp

        gain = sum(self.pulls) + (self.mass if self.target.padded else 0.0)
        residual = cp.Variable(self.residual.shape[0])
        objective = cp.Minimize(cp.norm(residual) - tilt * gain)
        self.stationary = residual == self.residual
        solve(cp.Problem(objective, [self.stationary, *self.rules]), solver=solver)
        v = np.asarray(residual.value, dtype=np.float64)
        return v if self.target.problem.fit_intercept else np.append(v, 0.0)

    def answer(self, proof: Proof, status: str) -> Answer:
        """The poison in the variables."""
        target = self.target
        total = target.condition.train.total
        points, labels, counts = [], [], []
        for group, u, w in zip(target.groups, self.points, self.pulls, strict=True):
            if float(w.value) > _LIGHT * max(self._pulled, _TINY):
                x = u.value / float(w.value)
                psi = abs(float(target.pulls(Poison(x[None, :], np.array([group.label]), np.ones(1)))[0]))
                copies = total * self.unit * float(w.value) / max(psi, 1e-300)
                if copies <= MOST_COPIES:  # no number of rows without a pull adds up to one
                    points.append(x)
                    labels.append(group.label)
                    counts.append(copies)
        X = np.array(points).reshape(-1, target.condition.train.d)
        poison = Poison(X, np.array(labels), np.array(counts))
        multipliers = np.zeros(0)
        if self.multipliers is not None:
            multipliers = np.clip(self.multipliers.value, 0.0, 1.0)
        slack = max(self.epsilon - poison.total / total, 0.0)
        return Answer(self.epsilon, poison, multipliers, proof, slack, status)


def rays(target: BudgetTarget, unit: float, solver: str | None) -> Iterator[Proof]:
    """Proofs that no budget will do, one for each tilt."""
    for tilt in _RAYS:
        try:
            v = BudgetProgram(target, unit).ray(tilt, solver)
        except LinpoisonError:
            continue
        if np.linalg.norm(v) > 0:
            along = along_the_model(target, v)
            yield tuned(target, v)
            if along is not None:
                yield along
