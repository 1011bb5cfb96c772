"""What a defender of k classes minimises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..core import Array, CapabilityError, Dataset, LinearModel
from .multi import CrammerSinger, MultiLoss, make_multi_loss
from .problem import LEAST_REG, Problem


@dataclass(frozen=True)
class MultiProblem(Problem):
    """The learning problem of a linear model of k classes.

    ::

        W, b = argmin  (reg / 2) |W|_F^2 [+ (reg / 2) |b|^2 if penalize_intercept]
                       + (1 / N) sum_i c_i phi(W x_i + b, y_i),     N = sum_i c_i

    Parameters
    ----------
    loss : MultiLoss or {"crammer_singer", "softmax"}
    reg : float
        ``lambda > 0``; by default next to nothing, for learners that stop early (`AdaGradLearner`).
    penalize_intercept : bool, default True
        scikit-learn's LinearSVC penalises intercepts, its LogisticRegression does not.

    Examples
    --------
    >>> from linpoison.core import MultiModel
    >>> data = Dataset.coded([[1.0], [-1.0]], [0, 1])
    >>> MultiProblem("crammer_singer", reg=0.1).value(MultiModel.zeros(2, 1), data)
    1.0
    """

    loss: MultiLoss = CrammerSinger()  # type: ignore[assignment]
    reg: float = LEAST_REG

    many_classes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.class_weight is not None or self.scaling != "mean" or not self.fit_intercept:
            raise CapabilityError(
                "mean scaling, an intercept and no class weights with more than two classes", repr(self)
            )

    def _check_loss(self) -> None:
        object.__setattr__(self, "loss", make_multi_loss(self.loss))

    def losses(self, model: LinearModel, data: Dataset) -> Array:
        """The loss of each row, shape (n,)."""
        return self.loss.value(model.decision_function(data.X), data.codes)

    def data_gradient(self, model: LinearModel, data: Dataset) -> Array:
        """Gradient of the mean loss in ``(W, b)``, shape (k, d + 1); at a kink some subgradient."""
        pull = self.loss.pulls(model.decision_function(data.X), data.codes) * (data.weight / data.total)[:, None]
        return moments(pull, data.X)


def curvature(X: Any, shares: Any, weight: Any, penalty: Array) -> Callable[[Array], Array]:
    """``V -> Hessian times V``, both (k, d + 1), of a loss of a temperature: with ``diag(p) - p p'`` as that of a row.

    Parameters
    ----------
    X : matrix of shape (n, d)
        In the precision of the products, as are `shares` and `weight`.
    shares : ndarray of shape (n, k)
        See `MultiLoss.shares`.
    weight : ndarray of shape (n, 1)
        Of the rows, divided by the temperature.
    penalty : ndarray of shape (d + 1,)
        The regulariser of each column.
    """

    def product(V: Array) -> Array:
        moved = np.asarray(X @ V[:, :-1].T.astype(shares.dtype)) + V[:, -1].astype(shares.dtype)
        bent = shares * (moved - (shares * moved).sum(axis=1, keepdims=True)) * weight
        return moments(bent, X) + penalty * V

    return product


def moments(pull: Array, X: object) -> Array:
    """``sum_i pull_i (x_i, 1)'``, shape (k, d + 1)."""
    return np.hstack([np.asarray((X.T @ pull).T), pull.sum(axis=0)[:, None]])  # type: ignore[attr-defined]
