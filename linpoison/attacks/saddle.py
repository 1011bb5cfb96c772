"""The min-max attack as the convex program it is, solved to a duality gap."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..convex import chosen_solver
from ..core.dataset import Dataset
from ..core.errors import InputError, SolverFailed
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import SolveInfo
from ..core.validation import LABELS, Array, check_integer, check_number
from ..learners import make_learner
from ..losses import Problem
from ..sets import ByLabel, Oracle
from .balancing import at_its_counts
from .deadline import time_is_up
from .saddle_conic import solve_conic
from .saddle_newton import CurvedRows, direction, zero_of
from .saddle_parts import CleanPart, Piece, PoisonPart, Saddle

_CAUTION, _REACH = 0.7, 2.0
"""Where worst rows are looked for (0: at the new model, 1: at the best), and the step of `polish`."""
_SOFTEST, _SHARPEST = 0.3, 6.0
"""Range of the smoothing ``sigma``, in units of one over the clean rows: sharper, and Newton's method stumbles."""
_FLOOR = 1e-6
"""Ridge on an intercept without penalty in Newton's system (not in the objective)."""


@dataclass(frozen=True)
class SaddleProgram:
    """Steinhardt et al.'s min-max program, solved in both orders at once.

    ::

        max over poisons P in the sets, |P| = epsilon N    min_v  objective of the learner on clean rows and P
          =  min_v  reg'/2 |v|^2 + ( mean_i w_i phi(m_i(v)) + epsilon max_{y, x in F_y} w(y) phi(y (x, 1) . v) )
                                   / (1 + epsilon)

    with class weights ``w``, 1 without (balanced ones are those at the split of the last solution, solved again until
    it stays), ``v = (theta, b)`` and ``reg'`` the regulariser that holds at ``(1 + epsilon) N`` rows. A poison is any
    distribution over rows, so the order of max and min does not matter (Sion).

    Each round takes Newton steps on the program in which the maximum runs over the rows found so
    far; kinks (of the hinge, and of the maximum) are met by multipliers, which converge to the dual
    solution: weights of clean rows and of poison rows. Then `support` names the worst row of each class at the
    new model. The objective at a model is an upper bound, the dual value of the multipliers a lower
    bound.

    Parameters
    ----------
    tol : float, default 1e-4
        Relative gap at which to stop.
    max_rounds : int, default 400
    patience : int, default 3
        Newton steps of each round at most.
    solver : str, optional
        State the maximum as one conic program (`saddle_conic`) and solve it by this solver of cvxpy; where that
        fails, the method above, with supports and projections by this solver. By default (None or "structured") the
        method above, with structured ones.

    References
    ----------
    Steinhardt, Koh, Liang (2017), sections 2-3; Koh, Steinhardt, Liang, section 4.4 and Algorithm 5.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> from linpoison.sets import Ball
    >>> train = Dataset([[-1.0], [1.0]], [-1, 1])
    >>> sets = ByLabel({+1: Ball([1.0], 2.0), -1: Ball([-1.0], 2.0)})
    >>> saddle = SaddleProgram().solve(train, Problem(Hinge(), reg=0.1), sets, 0.5)
    >>> saddle.gap < 1e-4, round(saddle.poison.total, 6)
    (True, 1.0)
    """

    tol: float = 1e-4
    max_rounds: int = 400
    patience: int = 3
    solver: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "solver", chosen_solver(self.solver))
        check_number(self.tol, "tol", above=0)
        check_integer(self.max_rounds, "max_rounds", at_least=1)
        check_integer(self.patience, "patience", at_least=1)

    def solve(self, train: Dataset, problem: Problem, sets: ByLabel, epsilon: float) -> Saddle:
        """The saddle point for given feasible sets.

        Raises
        ------
        InputError
            If a set is unbounded in a direction that matters.
        InfeasibleSet
            If a set is empty.
        SolverFailed
            If the bounds are not finite, or the conic solver fails.
        UnfitSolver
            If the solver of choice cannot take the cones of the program.
        """
        return at_its_counts(problem, train, epsilon, lambda fixed: self._solve(train, fixed, sets, epsilon))

    def _solve(self, train: Dataset, problem: Problem, sets: ByLabel, epsilon: float) -> Saddle:
        """`solve` for class weights that no row moves."""
        if self.solver is not None:
            try:
                return solve_conic(train, problem, sets, epsilon, self.solver)
            except SolverFailed:  # such as OSQP where the program is nearly linear: smaller ones may do
                sets = sets.solved_by(self.solver)
        began = time.perf_counter()
        state = _State(self, train, problem, sets, epsilon)
        state.begin()
        for _ in range(self.max_rounds):
            state.descend()
            state.bound_below()
            state.look(_CAUTION)
            state.polish()
            if state.gap <= self.tol or time_is_up():
                break
            state.tighten()
        return state.result(time.perf_counter() - began)


class _State:
    """One solve: the point v, both halves, bounds."""

    def __init__(self, program: SaddleProgram, train: Dataset, problem: Problem, sets: ByLabel, epsilon: float) -> None:
        train.require_both_classes()
        if sets.d != train.d:
            raise InputError(f"sets of {train.d} features", f"sets of {sets.d}")
        self.program, self.problem, self.sets = program, problem, sets
        self.epsilon = epsilon
        self.clean, self.poison = CleanPart(train, problem), PoisonPart(train.d, epsilon)
        rho = (1 + epsilon) * problem.pinned((1 + epsilon) * train.total).reg
        self.penalty = rho * problem.penalty_mask(train.d)
        self.ridge = np.append(self.penalty[:-1], max(self.penalty[-1], _FLOOR if problem.fit_intercept else 1e12))
        self.oracles = {label: Oracle(sets[label]) for label in LABELS}
        self.heavy = {label: float(problem.weights_of(label)) for label in LABELS}
        both = float(problem.loss.derivative(np.array([1e6]))[0]) > 0
        self.ends = (-1.0, 1.0) if both else (-1.0,)
        self.v = np.zeros(train.d + 1)
        self.best, self.upper, self.lower = self.v, np.inf, -np.inf
        self.weights = self.poison.weights
        self.rows, self.labels = self.poison.rows, self.poison.labels
        self.sigma = 3.0 / train.total
        self.settled = False
        self.history: list[tuple[float, float]] = []

    @property
    def gap(self) -> float:
        return (self.upper - self.lower) / max(self.upper, 1e-300)

    def begin(self) -> None:
        """The clean model, and the worst rows there."""
        clean = make_learner(self.problem).fit(self.clean.data)
        self.v = clean.vector
        self.clean.multiplier = self.clean.share * (self.clean.margins(self.v) < 1)
        self.look()

    def look(self, caution: float = 0.0) -> None:
        """The worst row of each class near v (a share `caution` of the way back to the best point), the objective."""
        v = self.v if not np.isfinite(self.upper) else self.v + caution * (self.best - self.v)
        worst = -np.inf
        for label in LABELS:
            for end in self.ends:
                row = self.oracles[label].support(end * label * v[:-1])
                margin = label * float(row @ v[:-1] + v[-1])
                worst = max(worst, self.heavy[label] * float(self.problem.loss.value(np.array([margin]))[0]))
                self._add(row, label, margin)
        risk = self.clean.risk(self.clean.margins(v))
        value = 0.5 * float(self.penalty @ v**2) + risk + self.epsilon * worst
        if value < self.upper:
            self.best, self.upper = v, float(value)
        self.history.append((self.upper, self.lower))

    def polish(self) -> None:
        """For each class the mean of its rows, moved to where it serves the dual best and projected on the set.

        With all else fixed the dual value falls with the squared distance of the class's share of
        the pull from a point, so that a projection is the best row (a step of 1); a longer step makes
        up for clean rows that give way. Without such rows thousands of worst rows would have to be mixed.
        """
        v, weights = self.v, self.poison.weights
        labels, rows = self.poison.labels, self.poison.rows
        for label in LABELS:
            share = np.where(labels == label, weights, 0.0)
            mass = float(share.sum())
            if mass <= 1e-6 * self.epsilon:
                continue
            mean = share @ rows / mass
            away = _REACH * label * self.penalty[0] * v[:-1] / (self.heavy[label] * mass)
            row = self.oracles[label].project(mean - away)
            self._add(row, label, label * float(row @ v[:-1] + v[-1]))

    def _add(self, row: Array, label: float, margin: float) -> None:
        loss = self.problem.loss
        at = np.array([margin])
        slope = -1.0 if loss.kink is not None else float(loss.derivative(at)[0])
        offset = float(loss.kink) if loss.kink is not None else float(loss.value(at)[0]) - slope * margin
        self.poison.add(row, label, self.heavy[label] * slope, self.heavy[label] * offset)

    def descend(self) -> None:
        """Newton steps on the smoothed program over the rows found so far.

        Raises
        ------
        SolverFailed
            If the rows are so long that rounding hides the penalty beside their squares.
        """
        try:
            self._descend()
        except np.linalg.LinAlgError as error:
            raise SolverFailed(f"expected a positive definite system, got: {error}. Rescale the features.") from error

    def _descend(self) -> None:
        for _ in range(self.program.patience):
            margins, values = self.clean.margins(self.v), self.poison.values(self.v)
            piece = self.clean.piece(margins, self.sigma)
            gradient = self.penalty * self.v + self.clean.pull(piece.slope)
            if not self.problem.fit_intercept:
                gradient[-1] = 0.0
            rows = CurvedRows(self.clean, piece, self.ridge)
            move, self.poison.weights = direction(rows, gradient, self.poison, values)
            length = self._length(margins, values, move)
            self.v = self.v + length * move
            self.settled = bool(length == 1.0 and self._nearly(margins, move, piece))
            if length == 0.0 or self.settled:
                break

    def _nearly(self, margins: Array, move: Array, piece: Piece) -> bool:
        """Whether the slopes of the clean half after a full step are those that its model foretold."""
        turn = self.clean.margins(move)
        after = self.clean.piece(margins + turn, self.sigma).slope
        return bool(np.abs(after - piece.slope - piece.curvature * turn).sum() <= 1e-3)

    def _length(self, margins: Array, values: Array, move: Array) -> float:
        turn, change = self.clean.margins(move), self.poison.gradients @ move
        linear, square = float((self.penalty * self.v) @ move), float(self.penalty @ move**2)

        def slope(t: float) -> float:
            clean = float(self.clean.piece(margins + t * turn, self.sigma).slope @ turn)
            return clean + self.poison.slope(values + t * change, change) + linear + t * square

        return zero_of(slope)

    def bound_below(self) -> None:
        """The dual value of the multipliers, which move to where the smoothed program has put them."""
        margins = self.clean.margins(self.v)
        gradient, offset = self.clean.cut(margins, self.v, self.sigma)
        steep, lift = self.poison.cut()
        pull = gradient + steep
        value = offset + lift - 0.5 * float(np.sum(pull[:-1] ** 2)) / self.penalty[0]
        if self.penalty[-1] > 0:
            value -= 0.5 * float(pull[-1] ** 2) / self.penalty[-1]
        elif self.problem.fit_intercept:
            value -= abs(float(pull[-1])) * self._largest_intercept()
        if value > self.lower:
            self.lower = float(value)
            self.weights, self.rows, self.labels = self.poison.weights, self.poison.rows, self.poison.labels
        self.poison.drop_idle()

    def _largest_intercept(self) -> float:
        """A bound of ``|b|`` at the solution: on the mean of a class the loss is at least ``phi(0) + phi'(0) m``."""
        data, zero = self.clean.data, np.zeros(1)
        drop, height = -float(self.problem.loss.derivative(zero)[0]), float(self.problem.loss.value(zero)[0])
        largest = 0.0
        length = np.sqrt(2 * self.upper / self.penalty[0])
        for label in LABELS:
            share = np.where(data.y == label, self.clean.share, 0.0)
            mean = np.asarray(data.X.T @ share) / share.sum()
            reach = (self.upper / share.sum() - height) / drop + float(np.linalg.norm(mean)) * length
            largest = max(largest, reach)
        return largest

    def tighten(self) -> None:
        """Less smoothing after a round that Newton's method found easy, more after a hard one."""
        total = self.clean.data.total
        self.sigma = (
            min(self.sigma * 1.3, _SHARPEST / total) if self.settled else max(self.sigma * 0.7, _SOFTEST / total)
        )

    def result(self, seconds: float) -> Saddle:
        if not np.isfinite([self.upper, self.lower]).all():
            raise SolverFailed(f"expected finite bounds of the min-max value, got {self.lower} and {self.upper}.")
        total = self.clean.data.total
        used = self.weights > 0
        poison = Poison(self.rows[used], self.labels[used], self._spent(self.weights[used]) * total)
        poison = poison.merged()
        scale = 1 + self.epsilon
        history = tuple((upper / scale, lower / scale) for upper, lower in self.history)
        violation = float(self.sets.violation(poison.X, poison.y).max(initial=0.0))
        status = "optimal" if self.gap <= self.program.tol else "inexact"
        info = SolveInfo("saddle", status, self.lower / scale, seconds, violation)
        model = LinearModel.from_vector(self.best)
        return Saddle(model, poison, self.upper / scale, self.lower / scale, history, info)

    def _spent(self, weights: Array) -> Array:
        """Weights that use up the budget: what the dual leaves would have no loss anywhere."""
        return weights * (self.epsilon / weights.sum()) if weights.size else weights
