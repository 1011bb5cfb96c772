"""What a defender of k classes minimises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.dataset import Dataset
from ..core.model import MultiModel
from ..core.validation import Array, check_number
from .losses import CrammerSinger, MultiLoss, make_multi_loss


@dataclass(frozen=True)
class MultiProblem:
    """The learning problem of a linear model of k classes.

    ::

        W, b = argmin  (reg / 2) |W|_F^2 [+ (reg / 2) |b|^2 if penalize_intercept]
                       + (1 / N) sum_i c_i phi(W x_i + b, y_i),     N = sum_i c_i

    Parameters
    ----------
    loss : MultiLoss or {"crammer_singer", "softmax"}
    reg : float
        ``lambda >= 0``; zero only for learners that stop early (`AdaGradLearner`).
    penalize_intercept : bool, default True
        scikit-learn's LinearSVC penalises intercepts, its LogisticRegression does not.

    Examples
    --------
    >>> data = Dataset.coded([[1.0], [-1.0]], [0, 1])
    >>> MultiProblem("crammer_singer", reg=0.1).value(MultiModel.zeros(2, 1), data)
    1.0
    """

    loss: MultiLoss = CrammerSinger()
    reg: float = 0.0
    penalize_intercept: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", make_multi_loss(self.loss))
        object.__setattr__(self, "reg", check_number(self.reg, "reg", at_least=0))

    def mask(self, d: int) -> Array:
        """Which entries of a row of ``(W, b)`` are penalised, as 0 / 1, shape (d + 1,)."""
        return np.append(np.ones(d), float(self.penalize_intercept))

    def penalty(self, model: MultiModel) -> float:
        """The regulariser at `model`, reg included."""
        matrix = model.matrix
        return 0.5 * self.reg * float((self.mask(matrix.shape[1] - 1) * matrix**2).sum())

    def mean_loss(self, model: MultiModel, data: Dataset) -> float:
        """The weighted mean of the losses."""
        return float(data.weight @ self.loss.value(model.scores(data.X), data.codes)) / data.total

    def value(self, model: MultiModel, data: Dataset) -> float:
        """The objective at `model`."""
        return self.penalty(model) + self.mean_loss(model, data)

    def data_gradient(self, model: MultiModel, data: Dataset) -> Array:
        """Gradient of the mean loss in ``(W, b)``, shape (k, d + 1); at a kink some subgradient."""
        pull = self.loss.pulls(model.scores(data.X), data.codes) * (data.weight / data.total)[:, None]
        return moments(pull, data.X)

    def gradient(self, model: MultiModel, data: Dataset) -> Array:
        """Gradient of the objective in ``(W, b)``, shape (k, d + 1)."""
        matrix = model.matrix
        return self.data_gradient(model, data) + self.reg * self.mask(matrix.shape[1] - 1) * matrix


def moments(pull: Array, X: object) -> Array:
    """``sum_i pull_i (x_i, 1)'``, shape (k, d + 1)."""
    return np.hstack([np.asarray((X.T @ pull).T), pull.sum(axis=0)[:, None]])  # type: ignore[attr-defined]
