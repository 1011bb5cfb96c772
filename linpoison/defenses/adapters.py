"""Outlier detectors of scikit-learn and samplers of imbalanced-learn as defences."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone

from ..core import Array, CapabilityError, InputError, Matrix
from ..learners.checked import translated
from .base import Codes, Defense


class DetectorDefense(Defense):
    """Score rows by an outlier detector of scikit-learn, fitted on each class by itself: minus its `score_samples`.

    Parameters
    ----------
    detector : estimator
        With `fit` and `score_samples`, greater for rows that are less strange: `IsolationForest`, `OneClassSVM`,
        `LocalOutlierFactor(novelty=True)`, `EllipticEnvelope`, `KernelDensity`, pipelines that end in one of them, ...
    remove : float, default 0.05

    Attributes
    ----------
    detectors_ : list of estimator
        In the order of `classes_`.

    Notes
    -----
    Where `random_state` is None it is 0, so that the same rows go each time.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> X = [[0.0], [0.1], [9.0], [5.0], [5.1], [5.2]]
    >>> DetectorDefense(KernelDensity(), remove=0.3).fit(X, [0, 0, 0, 1, 1, 1]).sample_indices_
    array([0, 1, 3, 4])
    """

    costly_fit = True

    def __init__(self, detector: Any = None, remove: float = 0.05) -> None:
        super().__init__(remove)
        self.detector = detector

    @property
    def title(self) -> str:
        return type(self.detector).__name__

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self.detectors_ = []
        for code in range(self.classes_.size):
            with translated():
                self.detectors_.append(_seeded(self.detector).fit(X[np.flatnonzero(codes == code)]))

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        scores = np.zeros(codes.size)
        for code, detector in enumerate(self.detectors_):
            members = np.flatnonzero(codes == code)
            if members.size:
                with translated():
                    scores[members] = -np.asarray(detector.score_samples(X[members]), dtype=np.float64)
        if not np.isfinite(scores).all():
            raise InputError("finite scores of the rows", f"others by {self.title}")
        return scores


class SamplerDefense(Defense):
    """Keep the rows that a sampler of imbalanced-learn keeps.

    Parameters
    ----------
    sampler : estimator
        With `fit_resample`, which sets `sample_indices_`: the rows that it keeps, each once. It may drop as many rows
        of a class as it likes, but not all.

    Attributes
    ----------
    sampler_ : estimator
    decision_scores_ : ndarray
        0 for rows that are kept, 1 for others. Rows that it was not fitted on have no score.

    Notes
    -----
    Where `random_state` is None it is 0, so that the same rows go each time.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> class EveryOther(BaseEstimator):
    ...     def fit_resample(self, X, y):
    ...         self.sample_indices_ = np.arange(0, len(y), 2)
    ...         return X[::2], y[::2]
    >>> SamplerDefense(EveryOther()).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 1, 0]).sample_indices_
    array([0, 2])
    """

    passed_by = "No attack knows what a sampler keeps: poison is only scored behind it."
    drops_share = False

    def __init__(self, sampler: Any = None) -> None:
        super().__init__(remove=0.0)
        self.sampler = sampler

    @property
    def title(self) -> str:
        return type(self.sampler).__name__

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        with translated():
            self.sampler_ = _seeded(self.sampler)
            self.sampler_.fit_resample(X, self.classes_[codes])
        kept = getattr(self.sampler_, "sample_indices_", None)
        if kept is None:
            wanted = "a sampler that tells in sample_indices_ which rows it keeps"
            raise CapabilityError(wanted, f"{self.title}, which does not")
        self._kept = np.sort(np.asarray(kept, dtype=np.intp))
        if np.unique(self._kept).size < self._kept.size:
            raise CapabilityError("a sampler that drops rows", f"{self.title}, which repeats some")

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        raise CapabilityError("a defence that scores rows", "a sampler, which only says what it keeps")

    def _finish(self, X: Matrix, codes: Codes) -> Self:
        left = np.bincount(codes[self._kept], minlength=self.classes_.size)
        if not left.all():
            label = self.classes_.tolist()[int(np.argmin(left))]
            raise InputError("at least one row kept of each class", f"none of class {label!r}")
        self.decision_scores_ = np.ones(codes.size)
        self.decision_scores_[self._kept] = 0.0
        return self._keep(codes, self._kept)


def as_defense(thing: Any, remove: float = 0.05) -> Defense:
    """A defence as it is; an outlier detector or a sampler as one.

    Parameters
    ----------
    thing : Defense or estimator
    remove : float, default 0.05
        Fraction of each class that a detector drops; a sampler drops what it likes.

    Raises
    ------
    CapabilityError
        If it is neither, or lacks what a defence needs.

    Examples
    --------
    >>> from sklearn.svm import OneClassSVM
    >>> as_defense(OneClassSVM(), remove=0.1)
    DetectorDefense(detector=OneClassSVM(), remove=0.1)
    """
    if not hasattr(thing, "get_params") or isinstance(thing, type):
        got = f"the class {thing.__name__}" if isinstance(thing, type) else repr(thing)[:80]
        raise CapabilityError(_WANTED, got, "Pass an instance with the parameters of its constructor (get_params).")
    try:
        copy = clone(thing)
    except (RuntimeError, TypeError) as error:
        raise CapabilityError(_WANTED, f"{type(thing).__name__} that clone does not copy ({error})") from None
    if isinstance(copy, Defense):
        return copy
    if hasattr(copy, "fit_resample"):
        return SamplerDefense(copy)
    if hasattr(copy, "score_samples"):
        return DetectorDefense(copy, remove)
    raise CapabilityError(
        _WANTED, f"{type(thing).__name__} without score_samples or fit_resample",
        "LocalOutlierFactor scores rows with novelty=True.",
    )  # fmt: skip


_WANTED = "a defence: an object of linpoison.defenses.Defense, an outlier detector, or a sampler"


def _seeded(estimator: Any) -> Any:
    """An unfitted copy whose random draws are the same each time."""
    copy = clone(estimator)
    loose = {name: 0 for name, value in copy.get_params().items() if name.endswith("random_state") and value is None}
    return copy.set_params(**loose)
