"""What a defence asks of a learner: losses and gradients of the rows under what was learned from some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from ..core.dataset import Dataset
from ..core.errors import InputError
from ..core.model import LinearModel
from ..core.validation import Array
from ..learners import make_learner
from ..losses import Logistic, Problem


class RowModel(Protocol):
    """A trained model, as defences look at it."""

    def losses(self, X: Any, y: Any) -> Array:
        """Loss of each row, shape (n,)."""

    def gradients(self, X: Any, y: Any) -> Array:
        """Gradient of each row's loss in the parameters (or in those of a last layer), shape (n, p)."""


class RowLearner(Protocol):
    """Trains on rows. A network takes part by an object with this one method."""

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
        dense = X.toarray() if sp.issparse(X) else np.asarray(X)
        columns = np.column_stack([dense, np.ones(len(pull))]) if self.problem.fit_intercept else dense
        return np.asarray(pull[:, None] * columns)

    def hessian(self, X: Any, y: Any) -> Array:
        """Of the objective, shape (p, p)."""
        signs = self.signs(y)
        dense = X.toarray() if sp.issparse(X) else np.asarray(X)
        columns = np.column_stack([dense, np.ones(len(signs))]) if self.problem.fit_intercept else dense
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


def learner_of(learner: Any) -> Any:
    """`None`, a `Problem`, or a `RowLearner`, as a `RowLearner`."""
    if learner is None:
        return LinearRowLearner()
    if isinstance(learner, Problem):
        return LinearRowLearner(learner)
    if not hasattr(learner, "fit"):
        raise InputError("a Problem, or an object with fit(X, y)", repr(learner))
    return learner
