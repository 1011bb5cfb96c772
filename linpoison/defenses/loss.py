"""The loss defence: rows that a model trained on everything fits badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ..core.dataset import Dataset
from ..core.errors import CapabilityError
from ..core.model import LinearModel
from ..core.validation import Array, Matrix
from ..learners import LinearClassifier, make_learner, translate_estimator
from ..losses import MarginLoss, Problem
from ..sets import FeasibleSet, Halfspace, Slab, loss_cap
from .base import Codes, Defense
from .known import Known


class LossDefense(Defense):
    """Score ``phi(y f(x))``, the loss of a linear model f trained on all the rows, for two classes.

    The variant "reference" scores ``1 - y f(x)``: the hinge without its clip at zero, which has no
    ties among the rows that are fitted well.

    Parameters
    ----------
    remove : float, default 0.05
    variant : {"paper", "reference"}, default "paper"
    estimator : Problem or scikit-learn classifier, optional
        How f is trained and which loss is meant: a `linpoison.losses.Problem`, or any classifier
        that `linpoison.learners.translate_estimator` knows, but no Pipeline. `LinearClassifier()` by
        default.

    Attributes
    ----------
    model_ : LinearModel
        f, with greater scores for the second of `classes_`.
    loss_ : MarginLoss

    Raises
    ------
    CapabilityError
        At fit, for more than two classes, or an estimator that is not linear in the features.

    References
    ----------
    Koh, Steinhardt and Liang (2022), section 2.2, "loss defense".

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> X = [[-3.0], [-2.0], [2.0], [3.0], [2.5], [-2.5]]
    >>> defense = LossDefense(remove=0.3, estimator=Problem(Hinge(), reg=0.1))
    >>> defense.fit(X, ["a", "a", "a", "b", "b", "b"]).sample_indices_
    array([0, 1, 3, 4])
    """

    cheap = caps_loss = True
    many_classes = False

    def __init__(self, remove: float = 0.05, variant: str = "paper", estimator: Any = None) -> None:
        super().__init__(remove, variant)
        self.estimator = estimator

    @classmethod
    def made(cls, remove: float, variant: str, problem: Any) -> Self:
        return cls(remove, variant, problem)

    def fit_from_model(self, X: Any, y: Any, model: LinearModel, loss: MarginLoss) -> Self:
        """Like `fit`, with a model that has been trained on these very rows already."""
        rows, codes = self._begin(X, y)
        self._require_binary("loss")
        self.model_, self.loss_ = model, loss
        return self._finish(rows, codes)

    def fit_beside(self, X: Any, y: Any, known: Known, undefended: Callable[[], LinearModel]) -> Self:
        """The undefended model is its own without an estimator, or with the defender's problem as its estimator."""
        if self.estimator is None or self.estimator == known.problem:
            return self.fit_from_model(X, y, undefended(), known.problem.loss)
        return self.fit(X, y)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self._require_binary("loss")
        if isinstance(self.estimator, Problem):
            self.model_ = make_learner(self.estimator).fit(Dataset(X, _signs(codes)))
            self.loss_ = self.estimator.loss
            return
        fitted = clone(self._classifier()).fit(X, self.classes_[codes])
        translated = translate_estimator(fitted, X.shape[0])
        self.model_, self.loss_ = translated.model, translated.problem.loss

    def _classifier(self) -> Any:
        if isinstance(self.estimator, Pipeline):
            raise CapabilityError(
                "a Problem or a linear classifier for the loss defence",
                "a Pipeline",
                "Put its transformers in front of the defence.",
            )
        return LinearClassifier() if self.estimator is None else self.estimator

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        margins = _signs(codes) * self.model_.decision_function(X)
        return 1.0 - margins if self.variant == "reference" else self.loss_.value(margins)

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        label = 2.0 * code - 1.0
        normal, shift = label * self.model_.coef, label * self.model_.intercept
        if self.variant == "reference":
            return Halfspace(-normal, threshold - 1.0 + shift)
        if self.loss_.turn is not None:
            turn = self.loss_.turn
            return Slab(normal, turn - shift, turn - self.loss_.margin_at_loss(threshold))
        return loss_cap(self.model_, label, self.loss_, threshold)


def _signs(codes: Codes) -> Array:
    return np.where(codes == 1, 1.0, -1.0)
