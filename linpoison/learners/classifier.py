"""A scikit-learn classifier around a learner."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..core import Dataset, InputError
from ..losses import MarginLoss, Problem, as_loss
from .checked import translated, validate_data
from .factory import Method, make_learner


class TwoClassClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What classifiers of two classes share: scores that are positive for ``classes_[1]``, and tags.

    A subclass has `fit`, which sets `classes_`, and `decision_function`.
    """

    _takes_sparse = True

    def predict(self, X: Any) -> Any:
        """Labels; a score of exactly zero is read as ``classes_[0]``."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int)]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = self._takes_sparse
        return tags


class LinearClassifier(TwoClassClassifier):
    """A linear classifier of two classes that minimises a `Problem` exactly.

    ::

        (reg / 2) |theta|^2 [+ (reg / 2) b^2] + (1 / N) sum_i c_i phi(y_i (x_i . theta + b)),    N = sum_i c_i

    Parameters
    ----------
    loss : str or MarginLoss, default "hinge"
        ``hinge``, ``squared_hinge``, ``smooth_hinge``, ``logistic``, ``squared``, or a loss object.
    reg : float, default 0.01
        The regulariser; scikit-learn's ``C`` is ``1 / (N reg)``.
    penalize_intercept : bool, optional
        None follows scikit-learn: free for the logistic and the squared loss (LogisticRegression,
        RidgeClassifier), penalised for the hinge losses (LinearSVC).
    fit_intercept : bool, default True
    method : {"auto", "reference"}, default "auto"
        See `make_learner`.
    class_weight : mapping or "balanced", optional
        Weights of the classes by label, as in `Problem`.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Sorted; the second is +1 inside.
    coef_ : ndarray of shape (1, d)
    intercept_ : ndarray of shape (1,)
    n_features_in_ : int
    problem_ : Problem
    model_ : LinearModel

    Examples
    --------
    >>> X = [[-2.0], [-1.0], [1.0], [2.0]]
    >>> LinearClassifier(reg=0.1).fit(X, ["ham", "ham", "spam", "spam"]).predict([[0.5]])
    array(['spam'], dtype='<U4')
    """

    def __init__(
        self,
        loss: str | MarginLoss = "hinge",
        reg: float = 0.01,
        *,
        penalize_intercept: bool | None = None,
        fit_intercept: bool = True,
        method: Method = "auto",
        class_weight: Any = None,
    ) -> None:
        self.loss = loss
        self.reg = reg
        self.penalize_intercept = penalize_intercept
        self.fit_intercept = fit_intercept
        self.method = method
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearClassifier:
        """Fit to rows `X` (dense or sparse), labels of two values, and optional copies of each row."""
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        self.classes_, signs = two_classes(y)
        with translated():
            weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        self.problem_ = self._problem()
        self.model_ = make_learner(self.problem_, method=self.method).fit(Dataset(X, signs, weight))
        self.coef_ = np.array(self.model_.coef)[None, :]
        self.intercept_ = np.array([self.model_.intercept])
        return self

    def decision_function(self, X: Any) -> Any:
        """Scores, positive for ``classes_[1]``, shape (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return np.asarray(X @ self.coef_.ravel()).ravel() + self.intercept_[0]

    def _problem(self) -> Problem:
        loss = as_loss(self.loss)
        penalize = not loss.free_intercept if self.penalize_intercept is None else self.penalize_intercept
        weight = self.class_weight
        if weight is not None and not isinstance(weight, str):
            labels, given = self.classes_.tolist(), dict(weight)
            if unknown := set(given) - set(labels):
                raise InputError(f"class weights of labels among {labels}", f"{sorted(unknown, key=str)}")
            weight = tuple(given.get(label, 1.0) for label in labels)
        return Problem(
            loss, self.reg, penalize_intercept=penalize, fit_intercept=self.fit_intercept, class_weight=weight
        )


def two_classes(y: Any) -> tuple[Any, Any]:
    """The two sorted classes, and the labels as -1 and +1."""
    with translated():
        check_classification_targets(y)
    if type_of_target(y) == "multiclass":
        raise InputError(
            "two classes", f"{np.unique(y).size}",
            "Only binary classification is supported. The type of the target is multiclass.",
        )  # fmt: skip
    classes, index = np.unique(y, return_inverse=True)
    if classes.size < 2:
        raise InputError("rows of 2 classes", "one class", "Check the label column.")
    return classes, 2.0 * index.ravel() - 1.0
