"""Smooth losses that no library learner covers: Newton's method with an exact line search."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from ..core import Array, Dataset, LinearModel
from ..losses import Problem
from .base import Learner, LearnerWarning
from .hessian import Hessian, squared_lengths, without_light_rows

_CG_STEPS = 500
_LIGHT = 1e-3


class SmoothLearner(Learner):
    """Any loss of finite smoothness (squared hinge, smoothed hinge), any convention of the intercept.

    Newton's method: directions by conjugate gradients on products of the Hessian (so CSR stays
    CSR), in coordinates scaled by the curvature that each column can have, and an exact search
    along each. Where conjugate gradients stall and there are at most 2000 columns, the Hessian is
    factorised. A loss is approached through those of its `continuation`. scipy's own
    methods stall on small widths and on columns of very different scales. `start` is where the
    iterations begin.

    Attributes
    ----------
    tol : float
        Bound on the Euclidean norm of the scaled gradient, relative to that at zero.
    max_iter : int
        Bound on Newton steps; a `LearnerWarning` says when it was too low.
    """

    tolerances = {"follow": {"tol": 1e-5}}
    tol = 1e-8
    max_iter = 200

    def _fit(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        model = LinearModel(np.zeros(data.d)) if start is None else start
        if not self.problem.fit_intercept:
            model = LinearModel(model.coef)
        reached = True
        for problem in self._path(start is None):
            model, reached = _newton(_Objective(problem, data), model, self.tol, self.max_iter)
        if not reached:
            warnings.warn(
                f"Newton's method stopped before its tolerance {self.tol:g}: the model is approximate. "
                "Scale the columns, or raise reg.",
                LearnerWarning,
                stacklevel=3,
            )
        return model

    def _path(self, cold: bool) -> Iterator[Problem]:
        """The problem, after the same one with flatter losses where that is the way in."""
        if cold:
            yield from (replace(self.problem, loss=loss) for loss in self.problem.loss.continuation)
        yield self.problem


class _Objective:
    """The objective's scaled gradient, Newton directions, and the exact search along one."""

    def __init__(self, problem: Problem, data: Dataset) -> None:
        self.problem, self.data = problem, data
        self.share = data.weight / data.total
        self.penalty = problem.reg_at(data.total) * problem.penalty_mask(data.d)
        self.lengths = squared_lengths(data.X)
        spread = np.append(np.asarray((data.X**2).T @ self.share).ravel(), 1.0)
        self.scale = 1 / np.sqrt(problem.loss.smoothness * spread + self.penalty)
        if not problem.fit_intercept:
            self.scale[-1] = 0.0

    def gradient(self, model: LinearModel) -> Array:
        return self.problem.gradient(model, self.data)

    def size(self, gradient: Array) -> float:
        """Norm of the gradient in coordinates scaled by the curvature that each column can have."""
        return float(np.linalg.norm(self.scale * gradient))

    def direction(self, model: LinearModel, gradient: Array, rtol: float) -> Array:
        """A Newton direction, exact but for curvatures that hardly count; flat places stay solvable."""
        curvature = self.problem.loss.second_derivative(model.margins(self.data)) * self.share
        curvature = without_light_rows(curvature, self.lengths, _LIGHT * self.penalty[0], _LIGHT)
        penalty = np.append(self.penalty[:-1], max(self.penalty[-1], 1e-12 * self.problem.loss.smoothness))
        free = self.problem.fit_intercept
        hessian = Hessian(self.data.X, curvature, penalty, fit_intercept=free, rtol=rtol, max_iter=_CG_STEPS)
        return -hessian.solve(gradient)

    def step(self, model: LinearModel, direction: Array) -> float:
        """The exact minimiser along `direction`: the root of an increasing function."""
        margins, loss = model.margins(self.data), self.problem.loss
        slope = self.data.y * (self.data.X @ direction[:-1] + direction[-1])
        linear = float(self.penalty @ (model.vector * direction))
        square = float(self.penalty @ direction**2)

        def derivative(t: float) -> float:
            pull = float((self.share * slope) @ loss.derivative(margins + t * slope))
            return pull + linear + t * square

        if derivative(0.0) >= 0:
            return 0.0
        high = 1.0
        while derivative(high) < 0 and high < 1e12:
            high *= 4
        return float(brentq(derivative, 0.0, high, xtol=1e-14, rtol=1e-10)) if derivative(high) > 0 else high


def _newton(objective: _Objective, model: LinearModel, tol: float, max_iter: int) -> tuple[LinearModel, bool]:
    zero = LinearModel(np.zeros(model.d))
    first = objective.size(objective.gradient(zero))
    if first == 0:  # the minimum, as the objective is convex; nothing to measure a tolerance by
        return zero, True
    for _ in range(max_iter):
        gradient = objective.gradient(model)
        size = objective.size(gradient)
        if size <= tol * first:
            return model, True
        direction = objective.direction(model, gradient, min(0.1, size / first))
        step = objective.step(model, direction)
        if step == 0:
            break
        model = LinearModel.from_vector(model.vector + step * direction)
    return model, objective.size(objective.gradient(model)) <= 100 * tol * first
