"""What a defence asks of a learner: losses and gradients of the rows under what was learned from some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..core import Array, Dataset, InputError, LinearModel
from ..core.parts import dense
from ..learners import make_learner
from ..losses import Logistic, Problem


class RowModel(Protocol):
    """A trained model, as defences look at it."""

    def losses(self, X: Any, y: Any) -> Array:
        """Loss of each row, shape (n,)."""

    def gradients(self, X: Any, y: Any) -> Array:
        """Gradient of each row's loss in the parameters (or in those of a last layer), shape (n, p)."""


class ProductModel(RowModel, Protocol):
    """A `RowModel` that multiplies with the matrix J of its gradients without writing it out: for `SEVER`.

    Attributes
    ----------
    single_precision : bool, optional
        Whether products carry the rounding of float32.
    """

    def gradient_products(self, X: Any, y: Any, v: Array) -> Array:
        """``J v``, shape (n,), for v of shape (p,)."""

    def gradient_sum(self, X: Any, y: Any, coefficients: Array) -> Array:
        """``J' c``, shape (p,), for c of shape (n,)."""


class RowLearner(Protocol):
    """Trains on rows. A network takes part by an object with this one method: `deep.RiskLearner`.

    Its models may also have ``representation(X)``, shape (n, h), for the defences that look at one, and
    ``self_influence(X, y, train)`` or, of a `ProductModel`, ``influence_vector(group, train)``, shape (p,), for
    `InfluenceDefense`. A learner with ``of_classes(classes)`` is told all classes of the rows that a defence is fitted
    on, before it trains on parts of them that may lack one.
    """

    def fit(self, X: Any, y: Any) -> RowModel:
        """Train from scratch."""


@dataclass(frozen=True, eq=False)
class LinearRows:
    """A linear model and its problem, two classes; the second label counts as +1."""

    problem: Problem
    model: LinearModel
    classes: Any

    def losses(self, X: Any, y: Any) -> Array:
        """``phi(y f(x))``."""
        return np.asarray(self.problem.loss.value(self.signs(y) * self.model.decision_function(X)))

    def gradients(self, X: Any, y: Any) -> Array:
        """``phi'(y f(x)) y (x, 1)``, dense; without the last column where there is no intercept."""
        signs = self.signs(y)
        pull = signs * self.problem.loss.derivative(signs * self.model.decision_function(X))
        rows = dense(X)
        columns = np.column_stack([rows, np.ones(len(pull))]) if self.problem.fit_intercept else rows
        return np.asarray(pull[:, None] * columns)

    def gradient_products(self, X: Any, y: Any, v: Array) -> Array:
        """``gradients(X, y) @ v``, of sparse rows too without making them dense."""
        signs = self.signs(y)
        d = self.model.d
        scores = X @ v[:d] + (v[d] if self.problem.fit_intercept else 0.0)
        return np.asarray(signs * self.problem.loss.derivative(signs * self.model.decision_function(X)) * scores)

    def gradient_sum(self, X: Any, y: Any, coefficients: Array) -> Array:
        """``gradients(X, y).T @ coefficients``."""
        signs = self.signs(y)
        pull = coefficients * signs * self.problem.loss.derivative(signs * self.model.decision_function(X))
        total = np.asarray(X.T @ pull).ravel()
        return np.append(total, pull.sum()) if self.problem.fit_intercept else total

    def self_influence(self, X: Any, y: Any, train: tuple[Any, Any]) -> Array:
        """``g_i' H^(-1) g_i`` with the Hessian H on `train`."""
        gradients = self.gradients(X, y)
        return np.asarray(np.einsum("ij,ij->i", gradients, np.linalg.solve(self.hessian(*train), gradients.T).T))

    def influence_vector(self, group: tuple[Any, Any], train: tuple[Any, Any]) -> Array:
        """``H^(-1) grad L`` with L the mean loss of a group and the Hessian H on `train`."""
        n = len(group[1])
        return np.asarray(np.linalg.solve(self.hessian(*train), self.gradient_sum(*group, np.full(n, 1.0 / n))))

    def hessian(self, X: Any, y: Any) -> Array:
        """Of the objective, shape (p, p)."""
        signs = self.signs(y)
        rows = dense(X)
        columns = np.column_stack([rows, np.ones(len(signs))]) if self.problem.fit_intercept else rows
        bend = self.problem.loss.second_derivative(signs * self.model.decision_function(X))
        mask = self.problem.penalty_mask(self.model.d)[: columns.shape[1]]
        bent: Array = columns.T @ (bend[:, None] * columns) / len(signs)
        return bent + np.diag(self.problem.reg_at(len(signs)) * mask)

    def signs(self, y: Any) -> Array:
        """Labels as -1 and +1."""
        return np.where(np.asarray(y) == self.classes[-1], 1.0, -1.0)


@dataclass(frozen=True)
class LinearRowLearner:
    """The linear core as a `RowLearner`, logistic regression by default.

    Examples
    --------
    >>> rows = LinearRowLearner().fit(np.array([[-1.0], [1.0]]), np.array([-1.0, 1.0]))
    >>> rows.gradients(np.array([[1.0]]), np.array([1.0])).shape
    (1, 2)
    """

    problem: Problem = Problem(Logistic(), 0.01)

    def fit(self, X: Any, y: Any) -> LinearRows:
        """Train on two classes."""
        classes = np.unique(y)
        if classes.size != 2:
            raise InputError("rows of two classes", f"{classes.size}", "Give a learner for more classes.")
        data = Dataset(X, np.where(np.asarray(y) == classes[1], 1.0, -1.0))
        return LinearRows(self.problem, make_learner(self.problem).fit(data), classes)


def learner_of(learner: Any, classes: Any) -> Any:
    """`None`, a `Problem`, or a `RowLearner`, as a `RowLearner` of these classes."""
    if learner is None:
        return LinearRowLearner()
    if isinstance(learner, Problem):
        return LinearRowLearner(learner)
    if not hasattr(learner, "fit"):
        raise InputError("a Problem, or an object with fit(X, y)", repr(learner))
    return learner.of_classes(classes) if hasattr(learner, "of_classes") else learner
