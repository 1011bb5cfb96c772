"""A step of a learned model, and the poison that makes the model after it optimal, as one convex program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from ..convex import solve
from ..core.dataset import Dataset
from ..core.errors import SolverFailed
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.validation import LABELS, Array
from ..losses import Problem
from ..optimality.stationarity import Stationarity
from ..sets import ByLabel

THRIFT = 1e-3
"""What the whole budget costs, in the gain of a step of the radius one: less mass where less will do."""
WEIGHTLESS = 1e-6
"""Share of the budget below which the pull of a class counts as none."""


@dataclass(frozen=True, eq=False)
class Goal:
    """What a step is to do, to first order.

    Parameters
    ----------
    gains, costs : ndarray of shape (d + 1,)
        Slopes in (coef, intercept) of what is maximised, and of what is to grow by no more than `room`.
    room : float
        Negative where it has grown too much already.
    price : float
        Of each unit beyond, in units of what is maximised.
    """

    gains: Array
    costs: Array
    room: float
    price: float


class JointStep:
    """The program of `linpoison.subpopulations.plant_jointly`, which states it, at one model.

    Parameters
    ----------
    train : Dataset
        Clean rows.
    problem : Problem
        With a loss that has a second derivative.
    sets : ByLabel
    count : int
        Poison rows at most.
    model : LinearModel
        Learned from the clean rows and `poison`.
    poison : Poison
    goal : Goal
    radius : float
        Of the trust region, in the norm of the Hessian.

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

    def __init__(
        self,
        train: Dataset,
        problem: Problem,
        sets: ByLabel,
        count: int,
        model: LinearModel,
        poison: Poison,
        goal: Goal,
        radius: float,
    ) -> None:
        import cvxpy as cp

        self.train, self.learning, self.sets, self.count = train, problem, sets, count
        self.model, self.before, self.radius, self.scale = model, poison, radius, count / train.total
        self.point = {label: cp.Variable(train.d) for label in LABELS}
        self.pull = {label: cp.Variable(nonneg=True) for label in LABELS}
        self.mass = {label: cp.Variable(nonneg=True) for label in LABELS}
        self.root = _root(clean_hessian(model, train, problem))
        ball, over = cp.Variable(train.d + 1), cp.Variable(nonneg=True)  # in units of the radius
        inverse = scipy.linalg.solve_triangular(self.root, np.eye(train.d + 1), lower=True)
        self.step = radius * (inverse.T @ ball)
        costs, gains = (radius * inverse @ slope for slope in (goal.costs, goal.gains))
        rules = [cp.norm(ball) <= 1, over >= (costs @ ball - goal.room) / radius]
        spent = self.mass[1.0] + self.mass[-1.0]
        objective = cp.Maximize(gains @ ball / radius - goal.price * over - THRIFT * spent)
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

        condition = Stationarity(self.train, self.learning, self.model)
        c0, c1 = condition.penalty
        spent = self.mass[1.0] + self.mass[-1.0]
        pulled = cp.hstack([self.point[1.0] - self.point[-1.0], self.pull[1.0] - self.pull[-1.0]])
        clean = (condition.constant + c0) / self.scale + (self.radius / self.scale) * (self.root @ ball)
        residual = clean + spent * c1 - pulled
        if self.learning.fit_intercept:
            return [spent <= 1, residual == 0]
        return [spent <= 1, residual[:-1] == 0, self.step[-1] == 0]

    def _placed(self) -> list[Any]:
        """Points in their sets, whose pulls at the model after the step need no more than their mass."""
        model, loss = self.model, self.learning.loss
        rules: list[Any] = []
        for label, (weight, point) in self._pulls_before().items():
            margin = self.point[label] @ model.coef + model.intercept * self.pull[label]
            margin = label * (margin + point @ self.step[:-1] + weight * self.step[-1])
            rules += self.sets[label].constraints(self.point[label], self.pull[label])
            rules += loss.pull_constraints(self.pull[label], margin, self.mass[label])
        return rules

    def _pulls_before(self) -> dict[float, tuple[float, Array]]:
        """``{y: (w_y, u_y)}`` of the poison so far, at the model that it has planted."""
        found = {}
        for label in LABELS:
            part = self.before.y == label
            rows = self.before.X[part]
            pulls = self.learning.loss.pull(label * self.model.decision_function(rows))
            weights = pulls * self.before.count[part] / (self.train.total * self.scale)
            found[label] = float(weights.sum()), np.asarray(weights @ rows)
        return found

    def poison(self) -> Poison | None:
        """Points and weights of the solution."""
        model = LinearModel.from_vector(self.model.vector + self.step.value)
        rows, labels, counts = [], [], []
        for label in LABELS:
            weight = float(self.pull[label].value)
            if weight > WEIGHTLESS:
                point = self.train.domain.clip(self.point[label].value / weight)
                pull = float(self.learning.loss.pull(label * model.decision_function(point[None, :]))[0])
                rows.append(point)
                labels.append(label)
                counts.append(weight * self.count / max(pull, WEIGHTLESS))
        if not rows:
            return None
        share = min(1.0, self.count / sum(counts))
        return Poison(np.array(rows), np.array(labels), share * np.array(counts))


def clean_hessian(model: LinearModel, train: Dataset, problem: Problem) -> Array:
    """Of the clean objective in (coef, intercept), dense, with a trace of the intercept's where it is held."""
    curvature = train.weight * problem.loss.second_derivative(model.margins(train)) / train.total
    X = train.X.toarray() if train.is_sparse else train.X
    rows = np.column_stack([X, np.full(train.n, float(problem.fit_intercept))])
    hessian = (rows * curvature[:, None]).T @ rows
    hessian[np.diag_indices(train.d + 1)] += problem.reg_at(train.total) * problem.penalty_mask(train.d) + 1e-10
    return np.asarray(hessian)


def _root(hessian: Array) -> Array:
    try:
        return np.asarray(np.linalg.cholesky(hessian), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise SolverFailed("the Hessian has no Cholesky factor. Standardise the columns, or raise reg.") from None
