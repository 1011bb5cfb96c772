"""Every loss and convention through the conic solver: slow, and the yardstick of the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Dataset, LinearModel, SolverFailed
from .base import Learner


class ReferenceLearner(Learner):
    """Any loss that states itself in cvxpy, any convention of the intercept.

    The objective is recomputed from numpy's losses and compared with that of the conic program,
    so a wrong program cannot pass. `start` is ignored: interior-point solvers cannot use it.

    Attributes
    ----------
    solver : str or None
        Name of a cvxpy solver; None takes the chain of `linpoison.convex.solve`.
    tol : float
        Largest disagreement of the two objectives, relative to the larger of 1 and their value.
    """

    solver: str | None = None
    tol = 1e-6

    def _fit(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        import cvxpy

        from ..convex import solve

        cp: Any = cvxpy
        theta, intercept = cp.Variable(data.d), self._intercept()
        margins = cp.multiply(data.y, data.X @ theta + intercept)
        loss = (data.weight / data.total) @ self.problem.loss.expression(margins)
        penalty = cp.sum_squares(theta)
        if self.problem.penalize_intercept and self.problem.fit_intercept:
            penalty += cp.square(intercept)
        program = cp.Problem(cp.Minimize(self.problem.reg_at(data.total) / 2 * penalty + loss))
        info = solve(program, solver=self.solver, tol=self.tol)
        model = LinearModel(np.asarray(theta.value), _number(intercept))
        self._check(model, data, info.value)
        return model

    def _intercept(self) -> Any:
        import cvxpy as cp

        return cp.Variable() if self.problem.fit_intercept else 0.0

    def _check(self, model: LinearModel, data: Dataset, stated: float) -> None:
        value = self.problem.value(model, data)
        if abs(value - stated) > self.tol * max(1.0, abs(value)):
            raise SolverFailed(f"the conic program states an objective of {stated:g}, numpy finds {value:g}")


def _number(value: Any) -> float:
    return float(np.asarray(getattr(value, "value", value)))
