"""The loss defence: rows that a model trained on everything fits badly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ..core import Array, CapabilityError, Dataset, LinearModel, Matrix
from ..learners import LinearClassifier, make_learner, translate_estimator
from ..losses import Problem
from ..sets import FeasibleSet, Halfspace, Slab, everywhere, intersect, loss_cap, rival_caps
from .base import Codes, Defense
from .known import Known


class LossDefense(Defense):
    """Score ``phi(y f(x))``, the loss of a linear model f trained on all the rows.

    The variant "reference" scores ``1 - y f(x)``: the hinge without its clip at zero, which has no
    ties among the rows that are fitted well. Of more than two classes, with a `MultiProblem` as estimator, the hinge of
    Crammer and Singer is scored without its clip and cross-entropy as it is, in both variants.

    Parameters
    ----------
    remove : float, default 0.05
    variant : {"paper", "reference"}, default "paper"
    estimator : Problem or scikit-learn classifier, optional
        How f is trained and which loss is meant: a `Problem` or `MultiProblem`, or any classifier
        that `linpoison.learners.translate_estimator` knows, but no Pipeline. `LinearClassifier()` by
        default.

    Attributes
    ----------
    model_ : LinearModel
        f, with greater scores for the second of `classes_`; a `MultiModel` of more than two.
    loss_ : MarginLoss or MultiLoss

    Raises
    ------
    CapabilityError
        At fit, for more classes than the estimator takes, or an estimator that is not linear in the features.

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
    model_: Any

    def __init__(self, remove: float = 0.05, variant: str = "paper", estimator: Any = None) -> None:
        super().__init__(remove, variant)
        self.estimator = estimator

    @classmethod
    def made(cls, remove: float, variant: str, problem: Any) -> Self:
        return cls(remove, variant, problem)

    @property
    def many_classes(self) -> bool:  # type: ignore[override]
        """See `Defense.many_classes`."""
        return isinstance(self.estimator, Problem) and self.estimator.many_classes

    def fit_from_model(self, X: Any, y: Any, model: LinearModel, loss: Any) -> Self:
        """Like `fit`, with a model that has been trained on these very rows already."""
        rows, codes = self._begin(X, y)
        self._require_known_classes()
        self.model_, self.loss_ = model, loss
        return self._finish(rows, codes)

    def fit_beside(self, X: Any, y: Any, known: Known, undefended: Callable[[], LinearModel]) -> Self:
        """The undefended model is its own without an estimator, or with the defender's problem as its estimator."""
        if self.estimator is None or self.estimator == known.problem:
            return self.fit_from_model(X, y, undefended(), known.problem.loss)
        return self.fit(X, y)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self._require_known_classes()
        if isinstance(self.estimator, Problem):
            rows = (_Rivals if self.many_classes else _Margins).rows(X, codes)
            self.model_, self.loss_ = make_learner(self.estimator).fit(rows), self.estimator.loss
            return
        fitted = clone(self._classifier()).fit(X, self.classes_[codes])
        translated = translate_estimator(fitted, X.shape[0])
        self.model_, self.loss_ = translated.model, translated.problem.loss

    def _require_known_classes(self) -> None:
        if not self.many_classes:
            self._require_binary("loss")

    def _classifier(self) -> Any:
        if isinstance(self.estimator, Pipeline):
            raise CapabilityError(
                "a Problem or a linear classifier for the loss defence",
                "a Pipeline",
                "Put its transformers in front of the defence.",
            )
        return LinearClassifier() if self.estimator is None else self.estimator

    @property
    def _reading(self) -> _Margins:
        return (_Rivals if self.many_classes else _Margins)(self.model_, self.loss_, self.variant == "reference")

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        return self._reading.scores(X, codes)

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        return self._reading.region(code, threshold)


@dataclass(frozen=True)
class _Margins:
    """How a model of two classes is read: by the loss of its margins, or by what lacks of a margin of 1."""

    model: Any
    loss: Any
    unclipped: bool

    @staticmethod
    def rows(X: Matrix, codes: Codes) -> Dataset:
        return Dataset(X, _signs(codes))

    def scores(self, X: Matrix, codes: Codes) -> Array:
        margins = _signs(codes) * self.model.decision_function(X)
        return np.asarray(1.0 - margins if self.unclipped else self.loss.value(margins))

    def region(self, code: int, threshold: float) -> FeasibleSet:
        if not self.model.coef.any():  # all rows of a class have one loss
            return everywhere(self.model.d)
        label = 2.0 * code - 1.0
        normal, shift = label * self.model.coef, label * self.model.intercept
        if self.unclipped:
            return Halfspace(-normal, threshold - 1.0 + shift)
        if self.loss.turn is not None:
            turn = self.loss.turn
            return Slab(normal, turn - shift, turn - self.loss.margin_at_loss(threshold))
        return loss_cap(self.model, label, self.loss, threshold)


class _Rivals(_Margins):
    """How a model of more classes is read: by what its loss ranks rows by."""

    @staticmethod
    def rows(X: Matrix, codes: Codes) -> Dataset:
        return Dataset.coded(X, codes)

    def scores(self, X: Matrix, codes: Codes) -> Array:
        return np.asarray(self.loss.rank(self.model.decision_function(X), codes))

    def region(self, code: int, threshold: float) -> FeasibleSet:
        return intersect(*rival_caps(self.model, code, self.loss.hinge_at_rank(threshold)))


def _signs(codes: Codes) -> Array:
    return np.where(codes == 1, 1.0, -1.0)
