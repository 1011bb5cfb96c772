"""From what a user hands in (a pipeline, a search) to the linear classifier at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core import CapabilityError, InputError, Matrix

SUPPORTED = (
    "a fitted binary LinearSVC, SVC(kernel='linear'), LogisticRegression, SGDClassifier or RidgeClassifier "
    "with an L2 penalty, or a Pipeline or search that ends in one"
)

_WAYS_OUT = {
    "LogisticRegressionCV": "Fit LogisticRegression(C=cv.C_[0]) with its other settings on the same rows.",
    "RidgeClassifierCV": "Fit RidgeClassifier(alpha=cv.alpha_) on the same rows.",
    "CalibratedClassifierCV": "Calibration changes probabilities, not the linear score: hand in the classifier that "
    "was calibrated, fitted on all training rows.",
    "TunedThresholdClassifierCV": "Hand in its estimator_; its threshold is then the usual one, 0.",
    "FixedThresholdClassifier": "Hand in its estimator_; its threshold is then the usual one, 0.",
    "OneVsRestClassifier": "Hand in one of its estimators_, each of which separates one class from the others.",
    "OneVsOneClassifier": "Hand in one of its estimators_, with the rows of its two classes.",
    "BaggingClassifier": "A vote of several models is not linear: hand in one of its estimators_.",
    "VotingClassifier": "A vote of several models is not linear: hand in one of its estimators_.",
    "StackingClassifier": "Hand in its final_estimator_, with the rows that it was fitted on.",
    "Perceptron": "SGDClassifier(loss='hinge') with a positive alpha is its regularised form.",
    "PassiveAggressiveClassifier": "SGDClassifier(loss='hinge') with a positive alpha is a regularised form.",
    "LinearDiscriminantAnalysis": "On two classes RidgeClassifier with a small alpha has its direction.",
    "GaussianNB": "Audit a linear classifier on the same rows.",
}
_GENERAL = "Hand in the linear classifier itself, or audit one with model= (--model)."


def unwrap(estimator: Any) -> tuple[Any, Callable[[Any], Matrix]]:
    """The classifier at the end, and what happens to rows before it.

    Raises
    ------
    InputError
        If a search is not fitted.
    CapabilityError
        For a search that has no best estimator, or a pipeline that resamples its training rows.
    """
    if hasattr(estimator, "fit") and _is_search(estimator):
        return unwrap(_best(estimator))
    steps = getattr(estimator, "steps", None)
    if not isinstance(steps, list) or not hasattr(estimator, "named_steps"):
        return estimator, same_rows
    if not steps:
        raise InputError("a pipeline that ends in a classifier", "one without steps")
    _refuse_samplers(estimator)
    classifier, last = unwrap(steps[-1][1])
    before = estimator[:-1] if len(steps) > 1 else None

    def transform(X: Any) -> Matrix:
        return last(X if before is None else before.transform(X))

    return classifier, transform


def unknown_kind(classifier: Any) -> CapabilityError:
    """What to say of a classifier that no `Problem` describes."""
    name = type(classifier).__name__
    return CapabilityError(SUPPORTED, name, _WAYS_OUT.get(name, _GENERAL))


def cross_fitted(estimator: Any) -> str | None:
    """The name of a step whose training rows are encoded from folds of the labels, so that transform gives others."""
    found = (type(part).__name__ for part in _parts(estimator) if hasattr(part, "transform") and hasattr(part, "cv"))
    return next(found, None)


def stopped_early(classifier: Any) -> bool:
    """Whether the solver used all the iterations that it was given."""
    steps, limit = getattr(classifier, "n_iter_", None), getattr(classifier, "max_iter", None)
    if steps is None or limit is None or limit < 0:
        return False
    return bool(max(steps if hasattr(steps, "__len__") else [steps]) >= limit)


def _is_search(estimator: Any) -> bool:
    from sklearn.model_selection._search import BaseSearchCV

    return isinstance(estimator, BaseSearchCV) or hasattr(estimator, "best_estimator_")


def _best(search: Any) -> Any:
    name = type(search).__name__
    if not getattr(search, "refit", True):
        raise CapabilityError(
            f"{name} with refit=True", "refit=False",
            "Fit its estimator with best_params_ on the training rows, and hand in that.",
        )  # fmt: skip
    if not hasattr(search, "best_estimator_"):
        raise InputError("a fitted estimator", f"{name} before fit", "Call its fit first.")
    return search.best_estimator_


def _refuse_samplers(pipeline: Any) -> None:
    for name, step in pipeline.steps[:-1]:
        if hasattr(step, "fit_resample"):
            raise CapabilityError(
                "a pipeline that fits its classifier on the rows that come in",
                f"the sampler {name!r} ({type(step).__name__}), which changes them",
                "Resample the training rows first, and hand in these rows with a pipeline of the other steps.",
            )


def _parts(estimator: Any) -> list[Any]:
    """The steps of an estimator, those of its steps, and so on."""
    steps = getattr(estimator, "best_estimator_", None)
    found = [] if steps is None else [steps]
    for name in ("steps", "transformers_", "transformer_list"):
        found += [entry[1] for entry in getattr(estimator, name, None) or []]
    return [inner for part in found if hasattr(part, "fit") for inner in (part, *_parts(part))]


def same_rows(X: Any) -> Any:
    """No preprocessing."""
    return X
