"""A smooth stand-in for the defender: trained by Newton steps, with products of its inverse Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import CapabilityError
from ...core.model import MultiModel
from ...core.validation import Array
from ...losses import MultiProblem
from ...losses.multi import margins, rivals
from ...losses.multi_problem import curvature, moments
from ...risk import CG

_HALVINGS = 8
_FLAT = 1e-3
_TRAINING_STEPS, _INFLUENCE_STEPS = 12, 25


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A problem with a smooth loss on weighted rows.

    Parameters
    ----------
    problem : MultiProblem
        With a loss of a temperature above 0, such as `Softmax`.
    single : bool, default False
        Multiply by the Hessian in single precision: half the time, and enough for directions that
        are computed to one per cent. Objective and gradient stay in double precision.
    """

    problem: MultiProblem
    single: bool = False

    def __post_init__(self) -> None:
        if not self.problem.loss.temperature:
            raise CapabilityError("a smooth loss for the surrogate", self.problem.loss.name, "Use Softmax.")

    def train(self, data: Dataset, start: MultiModel, steps: int) -> MultiModel:
        """At most so many truncated Newton steps from `start`; the objective never rises."""
        model, value = start, self.problem.value(start, data)
        for _ in range(steps):
            gradient = self.problem.gradient(model, data)
            if np.linalg.norm(gradient) < _FLAT:
                break
            direction = _inverse(self.hessian(model, data), -gradient, _TRAINING_STEPS)
            length, moved = 1.0, model
            for _ in range(_HALVINGS):
                moved = MultiModel.from_matrix(model.matrix + length * direction)
                reached = self.problem.value(moved, data)
                if reached < value:
                    break
                length /= 2
            else:
                break
            model, value = moved, reached
        return model

    def hessian(self, model: MultiModel, data: Dataset) -> Callable[[Array], Array]:
        """``V -> Hessian of the objective times V``, both of shape (k, d + 1)."""
        loss = self.problem.loss
        kind = np.float32 if self.single else np.float64
        shares = loss.shares(model.scores(data.X), data.codes).astype(kind)
        X = data.X.astype(kind)
        weight = (data.weight / data.total / (loss.temperature or 1.0)).astype(kind)[:, None]
        return curvature(X, shares, weight, self.problem.reg * self.problem.penalty_mask(data.d))

    def influence(self, model: MultiModel, data: Dataset, ascent: Array) -> Array:
        """``Hessian^-1 ascent``: a row with gradient g and weight e moves the target by ``-e <g, influence>``."""
        return _inverse(self.hessian(model, data), ascent, _INFLUENCE_STEPS)


def soft_error(model: MultiModel, data: Dataset, width: float) -> tuple[float, Array]:
    """The mean of ``1 / (1 + exp(margin / width))`` and its gradient in ``(W, b)``, shape (k, d + 1)."""
    scores = model.scores(data.X)
    rows, rival = np.arange(data.n), rivals(scores, data.codes)
    wrong = 1.0 / (1.0 + np.exp(np.clip(margins(scores, data.codes) / width, -50, 50)))
    share = data.weight / data.total
    slope = share * wrong * (1 - wrong) / width
    pull = np.zeros(scores.shape)
    pull[rows, rival], pull[rows, data.codes] = slope, -slope
    return float(share @ wrong), moments(pull, data.X)


def _inverse(product: Callable[[Array], Array], right: Array, steps: int) -> Array:
    """An approximate solution of ``product(x) = right`` for a positive definite map of matrices."""
    solver = CG(relative_damping=0.0, maxiter=steps, tol=1e-2)
    found, *_ = solver.iterate(lambda v: product(v.reshape(right.shape)).ravel(), right.ravel())
    return np.asarray(found).reshape(right.shape)
