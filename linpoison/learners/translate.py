"""From a fitted scikit-learn estimator to the problem it solved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..core import CapabilityError, InputError, LinearModel, Matrix, check_integer, check_number
from ..core.parts import dense
from ..losses import Hinge, Logistic, MarginLoss, Problem, Squared, SquaredHinge
from .unwrap import unknown_kind, unwrap


@dataclass(frozen=True, eq=False)
class TranslatedModel:
    """A fitted estimator in the words of this library.

    Parameters
    ----------
    problem : Problem
        What the estimator minimises.
    model : LinearModel
        What it was fitted to, in the features that its last step sees.
    classes : tuple
        The estimator's labels for -1 and +1.
    transform : callable
        Takes rows as the estimator takes them to rows that `model` takes.
    note : str
        The convention in words, for a report.
    classifier : object
        What was read: the classifier at the end of a pipeline or search.
    """

    problem: Problem
    model: LinearModel
    classes: tuple[Any, Any]
    transform: Callable[[Any], Matrix] = field(repr=False)
    note: str
    classifier: Any = field(default=None, repr=False)


def translate_estimator(estimator: Any, n_train: int, *, mean_weight: float = 1.0) -> TranslatedModel:
    """The problem and the model of a fitted scikit-learn estimator.

    A fixed ``C`` or Ridge's ``alpha`` multiplies a sum over rows, so it is a `Problem` of
    scaling ``sum`` with ``n_reference = n_train``: ``reg = 1 / (C n_train)`` for hinge and
    logistic loss, ``1 / (2 C n_train)`` for the squared hinge (which has a factor 1/2 here and
    none there) and ``alpha / n_train`` for Ridge. The ``alpha`` of SGDClassifier multiplies a mean:
    ``reg = alpha``, and ``alpha / 2`` for the squared hinge.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Fitted, of two classes.
    n_train : int
        Number of rows that it was fitted on.
    mean_weight : float, default 1.0
        Mean of the sample weights that it was fitted with. The problem is that of weights divided by it.

    Raises
    ------
    InputError
        If the estimator is not fitted.
    CapabilityError
        If it is of another kind, or has settings that no `Problem` describes.

    Examples
    --------
    >>> from sklearn.svm import LinearSVC
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], [0, 0, 1, 1]
    >>> translated = translate_estimator(LinearSVC(loss="hinge", C=0.5, random_state=0).fit(X, y), 4)
    >>> translated.problem.reg, translated.problem.penalize_intercept, translated.classes
    (0.5, True, (0, 1))
    """
    n_train = check_integer(n_train, "n_train", at_least=1)
    try:
        return _translated(estimator, n_train, mean_weight)
    except InputError:
        raise
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, RecursionError) as error:
        reason = f"one with parts that do not fit ({type(error).__name__}: {error})"
        raise InputError("a fitted scikit-learn classifier as fit leaves it", reason, "Fit it again.") from error


def _translated(estimator: Any, n_train: int, mean_weight: float) -> TranslatedModel:
    classifier, transform = fitted_classifier(estimator)
    problem, note = _READERS[type(classifier).__name__](classifier, n_train)
    if mean_weight != 1:
        problem = replace(problem, reg=problem.reg / check_number(mean_weight, "mean_weight", above=0))
        note += f"; sample weights, of mean {mean_weight:g}, which makes reg {problem.reg:g} beside weights of mean 1"
    classes = classifier.classes_
    if len(classes) != 2:
        raise CapabilityError("an estimator of two classes", f"{len(classes)} classes", "Fit it one class against one.")
    problem = replace(problem, class_weight=_class_weight(classifier, np.asarray(classes).tolist()))
    if problem.class_weight is not None:
        note += f"; class weights {classifier.class_weight!r}"
    return TranslatedModel(
        problem, _model_of(classifier), tuple(np.asarray(classes).tolist()), transform, note, classifier
    )


def fitted_classifier(estimator: Any) -> tuple[Any, Callable[[Any], Matrix]]:
    """The classifier at the end of an estimator, and what happens to rows before it (`same_rows` if nothing does)."""
    classifier, transform = unwrap(estimator)
    if type(classifier).__name__ not in _READERS or not _is_known(classifier):
        raise unknown_kind(classifier)
    _check_fitted(estimator, classifier)
    return classifier, transform


def _is_known(classifier: Any) -> bool:
    return type(classifier).__module__.startswith(("sklearn.", "linpoison."))


def _check_fitted(estimator: Any, classifier: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(classifier, "coef_" if not hasattr(classifier, "kernel") else "support_vectors_")
    except NotFittedError:
        raise InputError(
            "a fitted estimator", f"{type(estimator).__name__} before fit", "Call its fit first."
        ) from None


def _model_of(classifier: Any) -> LinearModel:
    return LinearModel(dense(classifier.coef_).ravel(), float(np.ravel(classifier.intercept_)[0]))


def _require(condition: bool, classifier: Any, expected: str, got: str) -> None:
    if not condition:
        raise CapabilityError(f"{type(classifier).__name__} with {expected}", got)


def _require_plain(classifier: Any) -> None:
    """An L2 penalty, under the old and the new names of the parameters."""
    penalty = getattr(classifier, "penalty", "deprecated")
    _require(penalty in ("l2", "deprecated"), classifier, "an L2 penalty", f"penalty={penalty!r}")


def _class_weight(classifier: Any, classes: list[Any]) -> Any:
    """Weights of the two classes in their order, "balanced", or None."""
    weight = getattr(classifier, "class_weight", None)
    if weight is None or isinstance(weight, str):
        return weight
    return tuple(float(weight.get(label, 1.0)) for label in classes)


def _require_unit_scaling(classifier: Any) -> None:
    scaling = classifier.intercept_scaling
    _require(
        scaling == 1 or not classifier.fit_intercept,
        classifier,
        "intercept_scaling=1",
        f"intercept_scaling={scaling:g}",
    )


def _sum_problem(
    loss: MarginLoss, strength: float, n_train: int, *, penalize: bool, fit_intercept: bool = True
) -> Problem:
    """``strength / 2 |theta|^2 + sum_i phi_i`` as a problem of scaling ``sum``."""
    return Problem(
        loss,
        strength / n_train,
        penalize_intercept=penalize,
        fit_intercept=bool(fit_intercept),
        scaling="sum",
        n_reference=n_train,
    )


def _intercept_words(problem: Problem) -> str:
    if not problem.fit_intercept:
        return "no intercept"
    return "penalised intercept" if problem.penalize_intercept else "free intercept"


def _c_note(classifier: Any, problem: Problem) -> str:
    return (
        f"{type(classifier).__name__}(C={classifier.C:g}): {problem.loss.name}, {_intercept_words(problem)}, "
        f"reg = {problem.reg:g} at {problem.n_reference:g} rows; C is fixed, so reg falls as rows are added"
    )


def _read_linear_svc(svc: Any, n_train: int) -> tuple[Problem, str]:
    _require_plain(svc)
    _require_unit_scaling(svc)
    squared = svc.loss == "squared_hinge"
    loss: MarginLoss = SquaredHinge() if squared else Hinge()
    strength = 1 / (2 * svc.C) if squared else 1 / svc.C
    problem = _sum_problem(loss, strength, n_train, penalize=True, fit_intercept=svc.fit_intercept)
    return problem, _c_note(svc, problem)


def _read_svc(svc: Any, n_train: int) -> tuple[Problem, str]:
    _require(svc.kernel == "linear", svc, "kernel='linear'", f"kernel={svc.kernel!r}")
    _require_plain(svc)
    problem = _sum_problem(Hinge(), 1 / svc.C, n_train, penalize=False)
    return problem, _c_note(svc, problem)


def _read_logistic(machine: Any, n_train: int) -> tuple[Problem, str]:
    _require_plain(machine)
    ridge_only = not machine.l1_ratio or getattr(machine, "penalty", "deprecated") == "l2"
    _require(ridge_only, machine, "an L2 penalty", f"l1_ratio={machine.l1_ratio!r}")
    _require(bool(np.isfinite(machine.C)), machine, "a finite C", f"C={machine.C:g}")
    liblinear = machine.solver == "liblinear"
    if liblinear:
        _require_unit_scaling(machine)
    problem = _sum_problem(Logistic(), 1 / machine.C, n_train, penalize=liblinear, fit_intercept=machine.fit_intercept)
    return problem, _c_note(machine, problem)


_SGD_LOSSES: dict[str, tuple[MarginLoss, float]] = {
    "hinge": (Hinge(), 1.0),
    "log_loss": (Logistic(), 1.0),
    "squared_hinge": (SquaredHinge(), 0.5),
    "squared_error": (Squared(), 1.0),
}


def _read_sgd(machine: Any, n_train: int) -> tuple[Problem, str]:
    _require_plain(machine)
    _require(machine.loss in _SGD_LOSSES, machine, f"a loss among {', '.join(_SGD_LOSSES)}", f"loss={machine.loss!r}")
    _require(machine.alpha > 0, machine, "alpha above 0", f"alpha={machine.alpha:g}")
    loss, factor = _SGD_LOSSES[machine.loss]
    problem = Problem(loss, factor * machine.alpha, penalize_intercept=False, fit_intercept=bool(machine.fit_intercept))
    note = (
        f"SGDClassifier(alpha={machine.alpha:g}): {loss.name}, {_intercept_words(problem)}, reg = {problem.reg:g} "
        "at any number of rows; SGD stops near the minimiser, the exact minimiser is what is studied"
    )
    return problem, note


def _read_ridge(machine: Any, n_train: int) -> tuple[Problem, str]:
    _require(not machine.positive, machine, "positive=False", "positive=True")
    alpha = float(np.ravel(machine.alpha)[0])
    _require(alpha > 0, machine, "alpha above 0", f"alpha={alpha:g}")
    problem = _sum_problem(Squared(), alpha, n_train, penalize=False, fit_intercept=machine.fit_intercept)
    note = (
        f"RidgeClassifier(alpha={alpha:g}): {problem.loss.name}, {_intercept_words(problem)}, reg = {problem.reg:g} "
        f"at {n_train} rows; alpha is fixed, so reg falls as rows are added"
    )
    return problem, note


def _read_own(machine: Any, n_train: int) -> tuple[Problem, str]:
    """A `LinearClassifier`, which may have any loss."""
    problem = machine.problem_
    note = f"LinearClassifier(reg={problem.reg:g}): {problem.loss.name}, {_intercept_words(problem)}"
    return problem, f"{note}, reg = {problem.reg:g} at any number of rows"


_READERS: dict[str, Callable[[Any, int], tuple[Problem, str]]] = {
    "LinearSVC": _read_linear_svc,
    "SVC": _read_svc,
    "LogisticRegression": _read_logistic,
    "SGDClassifier": _read_sgd,
    "RidgeClassifier": _read_ridge,
    "LinearClassifier": _read_own,
}
