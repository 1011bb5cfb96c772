"""The estimator that was handed in: read without running what strangers wrote, and held against the minimiser."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core import CapabilityError, InputError, LinearModel, MissingDependency, Split
from ..core.archives import UNREADABLE, check_file, user_path
from ..learners import TranslatedModel, make_learner
from ..learners.unwrap import cross_fitted, stopped_early
from ..reporting.cells import percent

# Excess of the objective at which a model is another one: of the least objective, and of that of the zero model (where
# the rows are separable the least objective is next to nothing, and so is any excess over it).
_FAR, _FAR_OF_ZERO = 0.1, 1e-3
# The same where the two models also label more than this share of the test rows differently.
_OFF, _OFF_OF_ZERO, _DIFFERENT = 0.01, 1e-4, 0.01


@dataclass(frozen=True)
class Handed:
    """The estimator's own coefficients beside the minimiser of the problem that was read off it.

    Parameters
    ----------
    objective, least_objective : float
        On the clean training rows, at the estimator's own coefficients and at the minimiser.
    test_error, refitted_test_error : float
        Of the estimator's own coefficients and of the minimiser, without defences.
    differently : float
        Share of the test rows to which the two give different labels.
    """

    objective: float
    least_objective: float
    test_error: float
    refitted_test_error: float
    differently: float

    @property
    def excess(self) -> float:
        """How far the estimator is above the least objective, as a share of it."""
        return (self.objective - self.least_objective) / max(self.least_objective, 1e-300)

    def words(self) -> str:
        """Both models side by side, in one sentence."""
        line = (
            f"The estimator's own coefficients have an objective of {self.objective:.6g} on the training rows and a "
            f"test error of {percent(self.test_error)}; the exact minimiser, which is what is studied, has "
            f"{self.least_objective:.6g} and {percent(self.refitted_test_error)}"
        )
        if self.excess <= 1e-3:
            return line + "."
        return (
            f"{line}: the estimator is not the minimiser (objective {percent(self.excess)} above the least), and "
            f"{percent(self.differently)} of the test rows get another label."
        )


def compare(translated: TranslatedModel, split: Split, estimator: Any) -> Handed:
    """Train the problem that was read off on the clean rows, and hold the estimator against it.

    Parameters
    ----------
    split : Split
        Behind the estimator's preprocessing.
    estimator : object
        As it was handed in.

    Raises
    ------
    CapabilityError
        If the estimator is another model than the minimiser: what an audit says would not be about it.
    """
    problem, own = translated.problem, translated.model
    least = make_learner(problem).fit(split.train, start=own)
    found = Handed(
        objective=problem.value(own, split.train),
        least_objective=problem.value(least, split.train),
        test_error=own.error(split.test),
        refitted_test_error=least.error(split.test),
        differently=float(np.mean(own.predict(split.test.X) != least.predict(split.test.X))),
    )
    zero = problem.value(LinearModel(np.zeros(own.d)), split.train)
    if _is_other(found, zero, split.test.n):
        raise CapabilityError(
            "an estimator that minimises its objective on the training rows",
            f"{type(translated.classifier).__name__} with an objective of {found.objective:.6g}, where the least is "
            f"{found.least_objective:.6g}, and a test error of {percent(found.test_error)}, where the minimiser's is "
            f"{percent(found.refitted_test_error)}",
            remedy(translated.classifier, estimator),
        )
    return found


def _is_other(found: Handed, zero: float, n_test: int) -> bool:
    excess, least = found.objective - found.least_objective, found.least_objective
    if excess > max(_FAR * least, _FAR_OF_ZERO * zero):
        return True
    changed = found.differently > max(_DIFFERENT, 1.5 / n_test)
    return changed and excess > max(_OFF * least, _OFF_OF_ZERO * zero)


def remedy(classifier: Any, estimator: Any) -> str:
    """What to do about an estimator that is not the minimiser, the likeliest reason first."""
    encoder = cross_fitted(estimator)
    if encoder is not None:
        return (
            f"{encoder} encodes training rows by cross-fitting, so transform(X_train) is not what the classifier was "
            "fitted on: fit the classifier on transform(X_train), and hand in these rows and that classifier."
        )
    if type(classifier).__name__ == "SGDClassifier":
        return (
            "SGD stopped away from the minimum: standardise the features, raise max_iter and lower tol and the step, "
            "or hand in the minimiser, such as LinearSVC or LogisticRegression with C = 1 / (alpha n)."
        )
    if stopped_early(classifier):
        return "It stopped before it converged: raise its max_iter, or standardise the features, and fit it again."
    return (
        "If it was fitted with sample_weight, pass the same sample_weight= (--weight COLUMN); if on other rows "
        "(resampled ones, or another split), pass exactly these; if it had not converged, lower its tol and raise its "
        "max_iter."
    )


_HARMLESS = ("numpy.dtype",)
"""Types beside those that skops trusts itself: a `SimpleImputer` keeps the type of its numbers."""
_REMEDY = "Save it with skops.io.dump(estimator, 'model.skops')."


def read_estimator(source: Any) -> Any:
    """A fitted estimator as it is, or read from a ``.skops`` file of trusted types only.

    Raises
    ------
    InputError
        For a pickle or joblib file (loading one runs any code in it), for a file that is not
        skops, or one with types outside of scikit-learn, scipy and numpy.
    """
    if not isinstance(source, (str, os.PathLike)):
        return source
    path = user_path(source, "an estimator file (.skops)")
    _check_file(path)
    try:
        from skops import io
    except ImportError:
        raise MissingDependency("skops", "to read estimator files", "skops") from None
    return _load(io, path)


def _check_file(path: Path) -> None:
    if path.suffix.lower() in (".pkl", ".pickle", ".joblib"):
        raise InputError(
            "an estimator file (.skops)", f"the pickle {path}", f"A pickle can run any code when it is read. {_REMEDY}"
        )
    check_file(path, "an existing estimator file (.skops)")
    if not zipfile.is_zipfile(path):
        raise InputError("an estimator file (.skops)", f"{path}, which is not one", _REMEDY)


def _load(io: Any, path: Path) -> Any:
    try:
        unknown = [name for name in io.get_untrusted_types(file=path) if name not in _HARMLESS]
        if unknown:
            raise InputError(
                "an estimator file with trusted types only",
                f"{path} with {', '.join(sorted(unknown)[:3])}",
                "Use an estimator made of scikit-learn's own parts.",
            )
        return io.load(path, trusted=list(_HARMLESS))
    except InputError:
        raise
    except (*UNREADABLE, ImportError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError("an estimator file (.skops) that can be read", f"{path} ({reason})", _REMEDY) from None
