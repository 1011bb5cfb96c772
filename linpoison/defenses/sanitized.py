"""A classifier that sanitises its training rows first."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Tags, _safe_indexing, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ..learners.checked import validate_data
from .l2 import L2Defense


def _estimator_has(name: str) -> Any:
    def check(self: Any) -> bool:
        getattr(self.estimator_ if hasattr(self, "estimator_") else self._estimator(), name)
        return True

    return available_if(check)


class SanitizedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """Fit a defence, drop the rows it finds anomalous, and train a classifier on the rest.

    Parameters
    ----------
    defense : Defense, optional
        `L2Defense()` by default.
    estimator : scikit-learn classifier, optional
        `LogisticRegression()` by default.

    Attributes
    ----------
    defense_ : Defense
        Fitted on all rows.
    estimator_ : classifier
        Fitted on the kept rows.
    sample_indices_ : ndarray of int
        Rows that were kept, ascending.
    classes_ : ndarray
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if it was fitted on a data frame.

    Examples
    --------
    >>> from sklearn.svm import LinearSVC
    >>> X, y = [[0.0], [0.2], [-0.1], [40.0], [5.0], [5.1], [4.9], [7.0]], [0] * 4 + [1] * 4
    >>> model = SanitizedClassifier(L2Defense(remove=0.25), LinearSVC()).fit(X, y)
    >>> model.sample_indices_
    array([0, 1, 2, 4, 5, 6])
    >>> model.predict([[0.0], [5.0]])
    array([0, 1])
    """

    def __init__(self, defense: Any = None, estimator: Any = None) -> None:
        self.defense = defense
        self.estimator = estimator

    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """Sanitise and train.

        Parameters
        ----------
        X : array_like, data frame or sparse, shape (n, d)
        y : array_like, shape (n,)
        **fit_params
            For the classifier, one value for each row, such as ``sample_weight``.
        """
        rows, labels = validate_data(self, X, y, accept_sparse="csr")
        check_classification_targets(labels)
        self.defense_ = clone(L2Defense() if self.defense is None else self.defense).fit(rows, labels)
        self.sample_indices_ = self.defense_.sample_indices_
        kept = self.sample_indices_
        of_kept = {name: _safe_indexing(np.asarray(values), kept) for name, values in fit_params.items()}
        self.estimator_ = clone(self._estimator()).fit(_safe_indexing(rows, kept), labels[kept], **of_kept)
        self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X: Any) -> Any:
        """Labels of rows, shape (n,)."""
        rows = self._query(X)
        return self.estimator_.predict(rows)

    @_estimator_has("decision_function")  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Any:
        """Scores of the trained classifier."""
        rows = self._query(X)
        return self.estimator_.decision_function(rows)

    @_estimator_has("predict_proba")  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Class probabilities of the trained classifier, shape (n, n_classes)."""
        rows = self._query(X)
        return self.estimator_.predict_proba(rows)

    def _estimator(self) -> Any:
        return LogisticRegression() if self.estimator is None else self.estimator

    def _query(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse="csr", reset=False)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self._estimator()).input_tags.sparse
        return tags
