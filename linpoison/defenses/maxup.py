"""MaxUp: training on the worst of several perturbed copies of each row."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ..core import InputError, check_integer, check_number
from ..learners.checked import validate_data
from .learned import learner_of


class MaxUp(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Minimise the mean over rows of the greatest loss among perturbed copies.

    ::

        minimise over theta   mean_i  max_(j <= copies)  loss(theta; x_i + sigma z_ij, y_i),    z_ij standard normal

    by turns: the worst copy of each row under the model, then a model for these. It drops no row. Rows may
    have any shape that the learner takes.

    Parameters
    ----------
    learner : Problem or RowLearner, optional
        A network by `deep.RiskLearner`; the linear core has two classes.
    copies : int, default 4
    sigma : float, default 0.1
    rounds : int, default 10
    random_state : int, default 0

    References
    ----------
    Gong et al., "MaxUp: a simple way to improve generalization of neural network training", 2020.

    Examples
    --------
    >>> X, y = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array(["a", "a", "b", "b"])
    >>> MaxUp().fit(X, y).predict([[3.0]])
    array(['b'], dtype='<U1')
    """

    def __init__(
        self, learner: Any = None, copies: int = 4, sigma: float = 0.1, rounds: int = 10, random_state: int = 0
    ) -> None:
        self.learner = learner
        self.copies = copies
        self.sigma = sigma
        self.rounds = rounds
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train; of all rounds the model of least objective is kept."""
        rows, labels = validate_data(self, X, y, allow_nd=True)
        copies = check_integer(self.copies, "copies", at_least=1)
        sigma = check_number(self.sigma, "sigma", at_least=0)
        self.classes_ = np.unique(labels)
        if self.classes_.size < 2:
            raise InputError("rows of two classes or more", f"{self.classes_.size}")
        noise = np.random.default_rng(self.random_state).normal(size=(copies, *rows.shape))
        clouds, learner = rows + sigma * noise, learner_of(self.learner, self.classes_)
        self.objective_, chosen = np.inf, clouds[0]
        for _ in range(check_integer(self.rounds, "rounds", at_least=1)):
            model = learner.fit(chosen, labels)
            losses = np.array([model.losses(cloud, labels) for cloud in clouds])
            value = float(losses.max(axis=0).mean())
            if value >= self.objective_:
                break
            self.objective_, self.model_ = value, model
            chosen = clouds[losses.argmax(axis=0), np.arange(len(rows))]
        return self

    def predict(self, X: Any) -> Any:
        """The label of less loss, shape (n,)."""
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, allow_nd=True)
        losses = [self.model_.losses(rows, np.full(len(rows), label)) for label in self.classes_]
        return self.classes_[np.argmin(losses, axis=0)]
