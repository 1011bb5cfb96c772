"""The KKT attack on one decoy as one convex program in both classes' points and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..convex import chosen_solver, solve
from ..core.dataset import Dataset
from ..core.errors import InfeasibleSet, SolverFailed
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import SolveInfo
from ..core.validation import LABELS, Array, check_among, check_number
from ..losses import Problem
from ..optimality.nearest_point import HUGE, NearestPoint
from ..optimality.stationarity import VANISHING, KKTSolution, Stationarity
from ..sets import ByLabel
from .balancing import at_its_counts

LARGE = 300
"""Number of features from which `NearestPoint` is tried first."""
BRISK = 2000
"""Number of features from which Clarabel is tried without iterative refinement first."""
EXACT_ROUNDS = 12
"""Solutions of least mass at balanced class weights: they have to be those of their own poison."""
SLACK = 1e-3
"""Share of a class's mass from which on it counts as slack in the condition of a smooth loss."""
WEIGHTLESS = 1e-6
"""Share of the budget below which a class counts as unused: its point would be 0 / 0 up to the solver's accuracy."""


@dataclass(frozen=True)
class KKTProgram:
    """The joint program, and the variants that share its constraints.

    ::

        minimise    | r(e, a, u) |
        subject to  (u_y, w_y) in cone(F_y),  w_y = e_y w(y) psi(m_y)  for both classes y,
                    e_+ + e_- = e <= epsilon,  0 <= a <= 1

    with ``u_y = w_y x_y``. The condition on ``w_y`` is stated by the loss
    (`MarginLoss.pull_constraints`); it is jointly convex, so that no grid over the split of the
    budget is needed. For the hinge it says ``w_y = w(y) e_y`` and margin at most 1 (support vectors).
    ``w(y)`` are class weights, 1 without; balanced ones are those at the split of the last solution, solved again
    until it stays (`at_its_counts`).

    Parameters
    ----------
    free_multipliers : bool, default True
        Use the exact subdifferential at the margin. If False clean rows on the kink count as
        having no gradient, as in the reference implementation.
    intercept : {"objective", "ignored"}, default "objective"
        Whether the condition of the intercept is part of the residual. The reference
        implementation ignores it.
    kink_tolerance : float, default 1e-3
    solver : str, optional
        A cvxpy solver such as CLARABEL, ECOS, OSQP (for linear sets and the hinge) or SCS, to more digits than usual.
        By default ("structured" or None) `method` decides, and Clarabel and its fall-backs solve conic programs.
    method : {"auto", "conic", "nearest"}, default "auto"
        "nearest" solves by `NearestPoint` where it applies (hinge loss, bounded sets of a known
        structure), and by a conic program elsewhere, where the residual vanishes, and where the
        method fails. "auto" does so from `LARGE` features on and without a `solver` of choice.

    References
    ----------
    Koh, Steinhardt, Liang, section 4.2.2, equations (16) and (17), whose grid over ``eps_+`` is
    `split`. Two misprints there are corrected: the second constraint speaks of ``x_-``, and the
    regulariser carries the factor ``1 + epsilon`` since the defender averages over
    ``(1 + epsilon) n`` rows.
    """

    free_multipliers: bool = True
    intercept: Literal["objective", "ignored"] = "objective"
    kink_tolerance: float = 1e-3
    solver: str | None = None
    method: Literal["auto", "conic", "nearest"] = "auto"

    def __post_init__(self) -> None:
        check_number(self.kink_tolerance, "kink_tolerance", at_least=0)
        object.__setattr__(self, "solver", chosen_solver(self.solver))
        check_among(self.intercept, "intercept", "objective", "ignored")
        check_among(self.method, "method", "auto", "conic", "nearest")

    def solve(
        self,
        decoy: LinearModel,
        train: Dataset,
        problem: Problem,
        sets: ByLabel,
        epsilon: float,
        *,
        split: float | None = None,
    ) -> KKTSolution:
        """Solve the program for one decoy.

        Parameters
        ----------
        decoy : LinearModel
        train : Dataset
            Clean rows.
        problem : Problem
        sets : ByLabel
            Feasible set of each class.
        epsilon : float
            Greatest mass of the poison, as a fraction of the clean rows.
        split : float, optional
            Hold ``e_+`` at this value and ``e_-`` at the rest of epsilon: one point of the paper's
            grid. Free by default.

        Raises
        ------
        SolverFailed
            If no solver gives an answer that passes the checks in numpy.
        InfeasibleSet
            If no point of the sets can be a support vector of the decoy.
        UnfitSolver
            If the solver of choice cannot take the cones of the program.
        """
        epsilon = check_number(epsilon, "epsilon", above=0)
        if split is not None:
            split = check_number(split, "split", at_least=0, at_most=epsilon)
        return at_its_counts(
            problem, train, epsilon, lambda fixed: self._solve(decoy, train, fixed, sets, epsilon, split), split
        )

    def _solve(
        self, decoy: LinearModel, train: Dataset, problem: Problem, sets: ByLabel, epsilon: float, split: float | None
    ) -> KKTSolution:
        """`solve` for class weights that no row moves."""
        condition = Stationarity(train, problem, decoy, self.kink_tolerance)
        nearest = NearestPoint(condition, sets, epsilon, self.free_multipliers, self.intercept == "objective")
        if self._prefers(nearest):
            try:
                return nearest.solve(split)
            except SolverFailed:
                if train.d >= HUGE and self.solver is None and self.method == "auto":
                    raise  # a conic program of this size would take hours
        parts = _Parts(condition, sets, epsilon, self.free_multipliers)
        constraints = parts.constraints
        if split is not None:
            constraints = [*constraints, parts.mass[1.0] == split, parts.mass[-1.0] == epsilon - split]
        residual = parts.residual
        if self.intercept == "ignored" or not problem.fit_intercept:
            residual = residual[:-1]
        return parts.minimise(residual, constraints, self.solver)

    def _prefers(self, nearest: NearestPoint) -> bool:
        if self.method == "auto":
            return self.solver is None and nearest.condition.train.d >= LARGE and nearest.applies
        return self.method == "nearest" and nearest.applies

    def exact(self, decoy: LinearModel, train: Dataset, problem: Problem, sets: ByLabel, epsilon: float) -> KKTSolution:
        """The least mass, at most `epsilon`, that makes the decoy exactly optimal.

        Under balanced class weights it is the least at the weights that its own poison has, one of possibly several.

        Raises
        ------
        InfeasibleSet
            If no mass up to `epsilon` does.
        SolverFailed
            If no solver gives an answer that passes the checks in numpy, or if the least mass of the
            program is not attained: in unbounded sets it may only be approached, and for a smooth
            loss its points may pull harder than their share of the condition (`MarginLoss.pull_constraints`
            bounds the mass from below only).
        """
        return at_its_counts(
            problem, train, epsilon, lambda fixed: self._exact(decoy, train, fixed, sets, epsilon), rounds=EXACT_ROUNDS
        )

    def _exact(
        self, decoy: LinearModel, train: Dataset, problem: Problem, sets: ByLabel, epsilon: float
    ) -> KKTSolution:
        """`exact` for class weights that no row moves."""
        condition = Stationarity(train, problem, decoy, self.kink_tolerance)
        parts = _Parts(condition, sets, epsilon, self.free_multipliers)
        residual = parts.residual if problem.fit_intercept else parts.residual[:-1]
        solution = parts.cheapest([*parts.constraints, residual == 0], self.solver)
        if solution.residual_norm > VANISHING * condition.size:
            reason = "the least mass is approached by points ever farther out. Use bounded sets, or `solve`."
            if parts.slack() > SLACK:
                reason = (
                    f"at the least mass of the convex program, {solution.info.value * epsilon:.3g} per clean row, its "
                    "points pull harder than the condition asks for, so that this mass is a lower bound only. Use "
                    "`solve`, which may spend all of the budget, or larger sets."
                )
            raise SolverFailed(
                f"expected a poison that makes the decoy optimal, got a residual of {solution.residual_norm:.1e}: "
                + reason
            )
        return solution


class _Parts:
    """The variables, the residual and the constraints that all variants share.

    Variables are scaled by the budget, so that a solver sees numbers near one.
    """

    def __init__(self, condition: Stationarity, sets: ByLabel, epsilon: float, free_multipliers: bool) -> None:
        import cvxpy as cp

        d = condition.train.d
        self.weights = {label: float(condition.problem.weights_of(label)) for label in LABELS}
        self.condition, self.sets, self.scale = condition, sets, check_number(epsilon, "epsilon", above=0)
        scaled_point = {label: cp.Variable(d) for label in LABELS}
        scaled_pull = {label: cp.Variable(nonneg=True) for label in LABELS}
        scaled_mass = {label: cp.Variable(nonneg=True) for label in LABELS}
        count = int(condition.on_kink.sum()) if free_multipliers else 0
        self.multipliers = cp.Variable(count, nonneg=True) if count else None
        self.point = {label: epsilon * scaled_point[label] for label in LABELS}
        self.pull = {label: epsilon * scaled_pull[label] for label in LABELS}
        self.mass = {label: epsilon * scaled_mass[label] for label in LABELS}
        self.constraints = self._constraints(scaled_point, scaled_pull, scaled_mass)
        self.residual = self._residual(cp.Variable(d + 1), scaled_mass)

    def _constraints(self, point: Any, pull: Any, mass: Any) -> list[Any]:
        decoy, loss = self.condition.decoy, self.condition.problem.loss
        rules: list[Any] = [mass[1.0] + mass[-1.0] <= 1]
        for label in LABELS:
            margin = label * (point[label] @ decoy.coef + decoy.intercept * pull[label])
            rules += self.sets[label].constraints(point[label], pull[label])
            rules += loss.pull_constraints(pull[label], margin, self.weights[label] * mass[label])
        if self.multipliers is not None:
            rules.append(self.multipliers <= 1)
        return rules

    def _residual(self, variable: Any, mass: Any) -> Any:
        import cvxpy as cp

        condition = self.condition
        c0, c1 = condition.penalty
        value = condition.constant + c0 + (self.scale * (mass[1.0] + mass[-1.0])) * c1
        if self.multipliers is not None:
            value = value + condition.kink_matrix @ self.multipliers
        pulled = cp.hstack([self.point[1.0] - self.point[-1.0], self.pull[1.0] - self.pull[-1.0]])
        self.constraints.append(variable == (value - pulled) / self.scale)
        return variable

    def minimise(self, residual: Any, constraints: list[Any], solver: str | None) -> KKTSolution:
        """Least squared residual (a quadratic objective); where it vanishes, a solution without slack.

        With budget to spare the condition on the mass may be slack in a smooth loss. The points then
        weigh less than the program assumed, and the recomputed residual is not zero. The solutions
        of least mass and of greatest pull at full mass have no such slack.
        """
        import cvxpy as cp

        solution = self._solution(self._run(cp.Problem(cp.Minimize(cp.sum_squares(residual)), constraints), solver))
        if self.scale * float(np.linalg.norm(residual.value)) > 100 * VANISHING * self.condition.size:
            return solution
        for without_slack in (self.cheapest, self.fullest):
            try:
                other = without_slack([*constraints, residual == 0], solver)
            except InfeasibleSet:
                return solution
            except SolverFailed:
                continue
            if float(np.linalg.norm(other.residual[: residual.size])) <= VANISHING * self.condition.size:
                return other
        return solution

    def cheapest(self, constraints: list[Any], solver: str | None) -> KKTSolution:
        """Least mass. A class that keeps a direction but no weight is left out, and the rest solved again."""
        import cvxpy as cp

        objective = cp.Minimize((self.mass[1.0] + self.mass[-1.0]) / self.scale)
        info = self._run(cp.Problem(objective, constraints), solver)
        weightless = [label for label in LABELS if label not in self._values()]
        rest = [rule for label in weightless for rule in (self.point[label] == 0, self.pull[label] == 0)]
        if rest and len(weightless) < len(LABELS):
            info = self._run(cp.Problem(objective, [*constraints, *rest]), solver)
        return self._solution(info)

    def fullest(self, constraints: list[Any], solver: str | None) -> KKTSolution:
        """Greatest pull at full mass, which also draws the points near."""
        import cvxpy as cp

        spent = (self.mass[1.0] + self.mass[-1.0]) / self.scale
        pulled = (self.pull[1.0] + self.pull[-1.0]) / self.scale
        return self._solution(self._run(cp.Problem(cp.Maximize(pulled), [*constraints, spent == 1]), solver))

    def _run(self, program: Any, solver: str | None) -> SolveInfo:
        brisk = self.condition.train.d >= BRISK
        return solve(
            program, solver=solver, check=self._worst_violation, tol=1e-5, brisk=brisk, tight=solver is not None
        )

    def _worst_violation(self) -> float:
        """Violation of the cones and of the budget by the current values, as shares of the budget, in numpy."""
        poison = self._relaxed()
        share = poison.count / (self.condition.train.total * self.scale)
        rows = self.sets.violation(poison.X, poison.y) * np.minimum(share, 1.0)
        return max(float(share.sum()) - 1.0, float(rows.max(initial=0.0)))

    def _values(self) -> dict[float, tuple[float, Array]]:
        """``{y: (w_y, u_y)}``, without the classes whose pull is nothing."""
        values: dict[float, tuple[float, Array]] = {}
        for label in LABELS:
            pull, point = self.pull[label].value, self.point[label].value
            if pull is None or point is None:
                raise SolverFailed("expected a value for every variable, got none from the solver.")
            if float(pull) > WEIGHTLESS * self.scale:
                values[label] = (float(pull), np.asarray(point, dtype=np.float64))
        return values

    def slack(self) -> float:
        """Share of the mass that a smooth loss would not need for the pulls of the points, the largest of a class."""
        condition, worst = self.condition, 0.0
        for label, (pull, point) in self._values().items():
            margin = label * condition.decoy.decision_function(point[None, :] / pull)
            psi = 1.0 if condition.problem.loss.kink is not None else float(condition.problem.loss.pull(margin)[0])
            mass = float(self.mass[label].value)
            worst = max(worst, 1 - pull / max(psi * self.weights[label] * mass, 1e-300))
        return worst

    def _relaxed(self) -> Poison:
        condition, loss = self.condition, self.condition.problem.loss
        values = self._values()
        labels = np.array(list(values))
        X = np.array([point / pull for pull, point in values.values()]).reshape(-1, condition.train.d)
        pulls = np.array([pull for pull, _ in values.values()])
        psi = np.ones_like(pulls)
        if loss.kink is None and labels.size:
            psi = loss.pull(labels * condition.decoy.decision_function(X))
        count = condition.train.total * pulls / np.maximum(psi * condition.problem.weights_of(labels), 1e-300)
        return Poison(X, labels, count)

    def _solution(self, info: SolveInfo) -> KKTSolution:
        poison = self._relaxed()
        total = self.condition.train.total
        multipliers = np.zeros(int(self.condition.on_kink.sum()))
        if self.multipliers is not None:
            multipliers = np.clip(self.multipliers.value, 0.0, 1.0)
        residual = self.condition.residual(self._values(), poison.total / total, multipliers)
        violation = float(self.sets.violation(poison.X, poison.y)[poison.count >= 0.5].max(initial=0.0))
        return KKTSolution(poison, residual, violation, multipliers, info)
