"""A step of a learned model, and the poison that makes the model after it optimal, as one convex program."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg

from ..convex import solve
from ..core import LABELS, Array, Dataset, LinearModel, Poison, SolverFailed
from ..learners.hessian import Hessian
from ..losses import Problem
from ..optimality.stationarity import Stationarity
from ..sets import ByLabel

THRIFT = 1e-3
"""What the whole budget costs, in the gain of a step of the radius one: less mass where less will do."""
WEIGHTLESS = 1e-6
"""Share of the budget below which the pull of a class counts as none."""
TRACE = 1e-10
"""Added to the diagonal of the Hessian before it is factorised."""


@dataclass(frozen=True, eq=False)
class Goal:
    """What a step is to do, to first order.

    Parameters
    ----------
    gains, costs : ndarray of shape (d + 1,)
        Slopes in (coef, intercept) of what is maximised, and of what is to grow by no more than `room`.
    room : float
        Negative where it has grown too much already.
    penalty : float
        Of each unit beyond, in units of what is maximised.
    """

    gains: Array
    costs: Array
    room: float
    penalty: float


@dataclass(frozen=True, eq=False)
class Planted:
    """A model learned from clean rows and poison, and how the two move together, to first order.

    With poison of mass ``e`` per clean row, the model ``theta + D`` is optimal iff

    ::

        g(theta + D) + c(e) (theta + D) = sum_y y (u_y, w_y),    c(e) = (1 + e) reg_N',  N' = (1 + e) N

    where `g` is the gradient of the clean losses, `N` the number of clean rows and ``(u_y, w_y)`` the pulls of the
    poison at ``theta + D``. From ``e0``, the mass of the poison so far,

    ::

        g(theta + D) + c(e) (theta + D) = g(theta) + c(e) theta + H D + O(|D|^2 + |e - e0| |D|),    H = g' + c(e0)

    with the penalised entries alone in ``c``. Under mean scaling ``c(e) = (1 + e) reg``; under sum scaling it does not
    depend on `e`, and H is the Hessian of the clean objective.

    Parameters
    ----------
    train : Dataset
        Clean rows.
    problem : Problem
        With a loss that has a second derivative.
    model : LinearModel
        Learned from the clean rows and `poison`.
    poison : Poison
    """

    train: Dataset
    problem: Problem
    model: LinearModel
    poison: Poison

    @cached_property
    def condition(self) -> Stationarity:
        """``g + c(e) theta - sum_y y (u_y, w_y)``."""
        return Stationarity(self.train, self.problem, self.model)

    @cached_property
    def hessian(self) -> Array:
        """``H`` in (coef, intercept), dense, shape (d + 1, d + 1); see `Hessian.matrix`."""
        train, problem = self.train, self.problem
        mixed = train.total + self.poison.total
        penalty = mixed / train.total * problem.reg_at(mixed) * problem.penalty_mask(train.d)
        curvature = train.weight * problem.loss.second_derivative(self.model.margins(train)) / train.total
        return Hessian(train.X, curvature, penalty, fit_intercept=problem.fit_intercept).matrix()

    @cached_property
    def root(self) -> Array:
        """Lower triangular, ``L L' = H`` but for a trace, which an intercept that is held needs."""
        try:
            return np.asarray(np.linalg.cholesky(self.hessian + TRACE * np.eye(self.train.d + 1)), dtype=np.float64)
        except np.linalg.LinAlgError:
            raise SolverFailed("the Hessian has no Cholesky factor. Standardise the columns, or raise reg.") from None

    @cached_property
    def inverse_root(self) -> Array:
        """``L^(-1)``."""
        return np.asarray(scipy.linalg.solve_triangular(self.root, np.eye(self.train.d + 1), lower=True))

    @cached_property
    def pulls(self) -> dict[float, tuple[float, Array]]:
        """``{y: (w_y, u_y)}`` of the poison so far, per clean row."""
        found = {}
        for label in LABELS:
            part = self.poison.y == label
            rows = self.poison.X[part]
            pulls = self.problem.loss.pull(label * self.model.decision_function(rows))
            weights = pulls * self.poison.count[part] / self.train.total
            found[label] = float(weights.sum()), np.asarray(weights @ rows)
        return found


class JointStep:
    """The program of `linpoison.attacks.groups.plant_jointly`, which states it, at one model.

    Parameters
    ----------
    before : Planted
        Where the step begins. It keeps its factors, so that programs of other radii cost no more of them.
    sets : ByLabel
    count : int
        Poison rows at most.
    goal : Goal
    radius : float
        Of the trust region, in the norm of ``before.hessian``.

    Attributes
    ----------
    problem : cvxpy.Problem
    step : cvxpy expression of shape (d + 1,)
        How the model moves.

    Raises
    ------
    SolverFailed
        If rounding leaves the Hessian without a Cholesky factor.
    """

    def __init__(self, before: Planted, sets: ByLabel, count: int, goal: Goal, radius: float) -> None:
        import cvxpy as cp

        train = before.train
        self.before, self.sets, self.count, self.radius, self.scale = before, sets, count, radius, count / train.total
        self.point = {label: cp.Variable(train.d) for label in LABELS}
        self.pull = {label: cp.Variable(nonneg=True) for label in LABELS}
        self.mass = {label: cp.Variable(nonneg=True) for label in LABELS}
        ball, over = cp.Variable(train.d + 1), cp.Variable(nonneg=True)  # in units of the radius
        inverse = before.inverse_root
        self.step = radius * (inverse.T @ ball)
        costs, gains = (radius * inverse @ slope for slope in (goal.costs, goal.gains))
        rules = [cp.norm(ball) <= 1, over >= (costs @ ball - goal.room) / radius]
        spent = self.mass[1.0] + self.mass[-1.0]
        objective = cp.Maximize(gains @ ball / radius - goal.penalty * over - THRIFT * spent)
        self.problem = cp.Problem(objective, [*rules, *self._planted(ball), *self._placed()])

    def solve(self) -> Poison | None:
        """The poison of the solution; None where nothing pulls.

        Raises
        ------
        SolverFailed, InfeasibleSet
        """
        solve(self.problem, solver="CLARABEL")
        return self.poison()

    def _planted(self, ball: Any) -> list[Any]:
        """The model after the step is optimal on clean rows and poison."""
        import cvxpy as cp

        condition = self.before.condition
        c0, c1 = condition.penalty
        spent = self.mass[1.0] + self.mass[-1.0]
        pulled = cp.hstack([self.point[1.0] - self.point[-1.0], self.pull[1.0] - self.pull[-1.0]])
        clean = (condition.constant + c0) / self.scale + (self.radius / self.scale) * (self.before.root @ ball)
        residual = clean + spent * c1 - pulled
        if self.before.problem.fit_intercept:
            return [spent <= 1, residual == 0]
        return [spent <= 1, residual[:-1] == 0, self.step[-1] == 0]

    def _placed(self) -> list[Any]:
        """Points in their sets, whose pulls at the model after the step need no more than their mass."""
        model, loss = self.before.model, self.before.problem.loss
        rules: list[Any] = []
        for label, (weight, point) in self.before.pulls.items():
            margin = self.point[label] @ model.coef + model.intercept * self.pull[label]
            moved = (point @ self.step[:-1] + weight * self.step[-1]) / self.scale
            rules += self.sets[label].constraints(self.point[label], self.pull[label])
            rules += loss.pull_constraints(self.pull[label], label * (margin + moved), self.mass[label])
        return rules

    def poison(self) -> Poison | None:
        """Points and weights of the solution."""
        train, loss = self.before.train, self.before.problem.loss
        model = LinearModel.from_vector(self.before.model.vector + self.step.value)
        rows, labels, counts = [], [], []
        for label in LABELS:
            weight = float(self.pull[label].value)
            if weight > WEIGHTLESS:
                point = train.domain.clip(self.point[label].value / weight)
                pull = float(loss.pull(label * model.decision_function(point[None, :]))[0])
                rows.append(point)
                labels.append(label)
                counts.append(weight * self.count / max(pull, WEIGHTLESS))
        if not rows:
            return None
        share = min(1.0, self.count / sum(counts))
        return Poison(np.array(rows), np.array(labels), share * np.array(counts))
