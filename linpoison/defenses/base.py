"""What every data sanitisation defence does: score the rows, then drop the worst of each class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from ..core.errors import CapabilityError, InputError
from ..core.model import LinearModel
from ..core.validation import Array, Matrix, as_matrix, check_number, label_array, refuse_missing
from ..learners.checked import validate_data
from ..sets import FeasibleSet
from .quota import quota

if TYPE_CHECKING:
    from .known import Known

Codes = NDArray[np.intp]
VARIANTS = ("paper", "reference")


class Defense(BaseEstimator, ABC):  # type: ignore[misc]
    """Fit an anomaly detector on labelled rows and drop the most anomalous of each class.

    A detector with parameters beta, fitted on all rows (poison included), gives each row a score
    ``s_beta(x, y)``, greater for a stranger row. Of a class with n rows the
    ``round((1 - remove) n)`` least scores are kept; among equal scores earlier rows are kept.

    Parameters
    ----------
    remove : float, default 0.05
        Fraction of each class that is dropped, in [0, 1).
    variant : {"paper", "reference"}, default "paper"
        The definition of the paper, or what the authors' own program computes.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in sorted order.
    decision_scores_ : ndarray of shape (n,)
        Score of each row that the defence was fitted on.
    sample_indices_ : ndarray of int
        Rows that are kept, ascending.
    thresholds_ : dict
        For each label the largest score that is kept.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if it was fitted on a data frame.

    References
    ----------
    Koh, Steinhardt and Liang, "Stronger data poisoning attacks break data sanitization defenses",
    Machine Learning 111 (2022), section 2.2.
    """

    n_features_in_: int
    cheap: ClassVar[bool] = False
    """Whether it costs next to nothing, so that every step of an attack scores it."""
    costly_fit: ClassVar[bool] = False
    """Whether a search of thousands of poisons fits it now and then only, and scores by its last fit in between."""
    caps_loss: ClassVar[bool] = False
    """Whether it caps the loss of the undefended model, as an attacker does with that of the model it plants."""
    threshold_factor: ClassVar[float] = 1.0
    """Share of a threshold that planted rows keep to, since rounding and the next refit move scores a little."""
    measures_distance: ClassVar[bool] = False
    """Whether scores are distances, of rows whose rounding is that of their lengths."""
    blind_because: ClassVar[str] = ""
    """Why all rows can have the same score, in brackets."""
    many_classes: ClassVar[bool] = True
    """Whether it takes more than two classes."""
    passed_by: ClassVar[str] = "An attack meets it by retraining behind it."
    """Without a convex set: how an attacker meets it, in one sentence."""
    drops_share: ClassVar[bool] = True
    """Whether it drops `n_dropped` rows of a class: a quota, which poison can overrun."""

    def __init__(self, remove: float = 0.05, variant: str = "paper") -> None:
        self.remove = remove
        self.variant = variant

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the detector and choose the rows to keep.

        Parameters
        ----------
        X : array_like, data frame or sparse, shape (n, d)
        y : array_like, shape (n,)
            Labels of any kind that can be sorted.

        Raises
        ------
        InputError
            For input that is not numeric, parameters out of range, or a class of which no row
            would be left.
        """
        rows, codes = self._begin(X, y)
        self._fit_detector(rows, codes)
        return self._finish(rows, codes)

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Fit, then return the kept rows and labels in the containers they came in; COO, BSR, DIA and DOK as CSR."""
        self.fit(X, y)
        rows = X.tocsr() if sp.issparse(X) and X.format not in ("csr", "csc", "lil") else X
        return _safe_indexing(rows, self.sample_indices_), _safe_indexing(y, self.sample_indices_)

    def ready(self) -> Self:
        """Itself, with what is the same for all rows that it may be fitted on computed once: its parameters stay."""
        return self

    def fit_beside(self, X: Any, y: Any, known: Known, undefended: Callable[[], LinearModel]) -> Self:
        """Like `fit`, but what the defender has computed already is not computed again.

        Parameters
        ----------
        X : array_like or sparse, shape (n, d)
            The clean rows of `known`, then others.
        y : array_like, shape (n,)
        known : Known
        undefended : callable
            Tells the model that the defender's learner has from these very rows.
        """
        return self.fit(X, y)

    def decision_function(self, X: Any, y: Any) -> Array:
        """Scores of other rows under the fitted detector, shape (n,).

        Parameters
        ----------
        X : array_like, data frame or sparse, shape (n, d)
        y : array_like, shape (n,)
            Labels among `classes_`.
        """
        check_is_fitted(self, "decision_scores_")
        rows = self._rows(X, reset=False)
        return self._scores(rows, self._codes_of(y, rows.shape[0]))

    def feasible_set(self, label: Hashable, threshold: float | None = None) -> FeasibleSet:
        """The rows x that pass the fitted detector under `label`: ``s_beta(x, label) <= threshold``.

        Parameters
        ----------
        label : hashable
            One of `classes_`.
        threshold : float, optional
            Largest score that passes; ``thresholds_[label]`` by default.
        """
        check_is_fitted(self, "decision_scores_")
        code = self._codes_of(np.asarray([label]), 1)[0]
        limit = self.thresholds_[label] if threshold is None else check_number(threshold, "threshold")
        return self._set_of(int(code), limit)

    @property
    def title(self) -> str:
        """What reports call it if it is handed over without a name."""
        return type(self).__name__

    @property
    def follows_poison(self) -> bool:
        """Whether scores and thresholds come from the rows to be sanitised, poison included."""
        return True

    @classmethod
    def made(cls, remove: float, variant: str, problem: Any) -> Self:
        """The defence with the options that all of them share, as far as its constructor has them."""
        shared: dict[str, Any] = {"remove": remove, "variant": variant}
        return cls(**{name: value for name, value in shared.items() if name in cls._get_param_names()})

    @property
    def has_convex_set(self) -> bool:
        """Whether the rows that pass are those of a convex set: it has a `_set_of`."""
        return type(self)._set_of is not Defense._set_of

    def least_gap(self, X: Matrix) -> float:
        """How far apart rows of one class have to lie, beside the rows of `X`, so as not to be taken for copies."""
        return 0.0

    @property
    def copies_to_pass(self) -> int:
        """Equal rows that it takes for a row far from all others to be no stranger."""
        return 1

    def n_dropped(self, n: int) -> int:
        """How many rows of a class of `n` rows are sure to go if theirs are the greatest scores."""
        return quota(self.remove, n) if self.drops_share else 0

    def set_entries(self, n: int, d: int) -> int:
        """Numbers in the description of its set, of `n` rows of `d` features, where they are more than a few rows'."""
        return 0

    def fit_work(self, X: Matrix) -> float:
        """About how many multiplications a fit on such rows takes, where they may be many more than entries; or 0."""
        return 0.0

    @abstractmethod
    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        """Learn the parameters of the detector; `codes` index `classes_`."""

    @abstractmethod
    def _scores(self, X: Matrix, codes: Codes) -> Array:
        """Scores of rows under the fitted detector."""

    def _fitted_scores(self, X: Matrix, codes: Codes) -> Array:
        """Scores of the very rows that the detector was fitted on."""
        return self._scores(X, codes)

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        """The feasible set of the class ``classes_[code]``."""
        raise CapabilityError("a defence whose feasible set is convex", type(self).__name__, self.passed_by)

    def _begin(self, X: Any, y: Any) -> tuple[Matrix, Codes]:
        check_number(self.remove, "remove", at_least=0, below=1, remedy="It is the fraction of rows to drop.")
        if self.variant not in VARIANTS:
            raise InputError(f"a variant among {', '.join(VARIANTS)}", repr(self.variant))
        rows = self._rows(X, reset=True)
        self.classes_, codes = _encode(y, rows.shape[0])
        return rows, codes

    def _finish(self, X: Matrix, codes: Codes) -> Self:
        self.decision_scores_ = self._fitted_scores(X, codes)
        kept = [
            keep_least(self.decision_scores_, np.flatnonzero(codes == code), self.remove, label)
            for code, label in enumerate(self.classes_.tolist())
        ]
        return self._keep(codes, np.sort(np.concatenate(kept)))

    def _keep(self, codes: Codes, kept: Codes) -> Self:
        """What a fit leaves: the rows that stay, and the largest score among them of each class."""
        self.sample_indices_ = kept
        scores = [self.decision_scores_[kept[codes[kept] == code]] for code in range(self.classes_.size)]
        self.thresholds_: dict[Any, float] = {
            label: float(mine.max()) if mine.size else 0.0
            for label, mine in zip(self.classes_.tolist(), scores, strict=True)
        }
        return self

    def _rows(self, X: Any, *, reset: bool) -> Matrix:
        rows = as_matrix(X)
        if not reset and rows.shape[1] != self.n_features_in_:
            raise InputError(f"rows of {self.n_features_in_} features", f"{rows.shape[1]} features")
        if rows is not X or hasattr(self, "feature_names_in_"):  # checked numbers without names have nothing to add
            validate_data(self, X, reset=reset, skip_check_array=True)
        self.n_features_in_ = int(rows.shape[1])
        return rows

    def _codes_of(self, y: Any, n: int) -> Codes:
        labels = label_array(y)
        if labels.shape != (n,):
            raise InputError(f"{n} labels, one for each row", f"shape {labels.shape}")
        known = np.isin(labels, self.classes_)
        if not known.all():
            raise InputError(f"labels among {self.classes_.tolist()}", f"the label {labels[~known].tolist()[0]!r}")
        return np.searchsorted(self.classes_, labels)

    def _require_binary(self, name: str) -> None:
        if self.classes_.size > 2:
            raise CapabilityError(
                f"two classes for the {name} defence", f"{self.classes_.size} classes", "Use l2, svd or knn."
            )
        if self.classes_.size < 2:
            raise InputError("rows of both classes", f"only the label {self.classes_.tolist()[0]!r}")


def keep_least(scores: Array, members: Codes, remove: float, label: Any) -> Codes:
    """The rows of one class that stay, ascending: ``round((1 - remove) n)`` least scores, of equal ones earlier rows.

    Parameters
    ----------
    scores : ndarray of shape (n_all,)
    members : ndarray of int
        Rows of the class, ascending.
    remove : float
        Fraction to drop.
    label : object
        How the error calls the class.

    Examples
    --------
    >>> keep_least(np.array([3.0, 1.0, 1.0, 1.0]), np.array([0, 1, 2, 3]), 0.5, "spam")
    array([1, 2])
    """
    n_keep = members.size - quota(remove, members.size)
    if n_keep == 0:
        raise InputError(
            "at least one row kept of each class",
            f"remove={remove:g} on {members.size} rows of class {label!r}",
            "Remove a smaller fraction.",
        )
    mine = scores[members]
    limit = np.partition(mine, n_keep - 1)[n_keep - 1]
    kept = mine < limit
    ties = (mine == limit).nonzero()[0]  # without NaN: scores are finite
    kept[ties[: n_keep - np.count_nonzero(kept)]] = True
    return members[kept]


def _encode(y: Any, n: int) -> tuple[NDArray[Any], Codes]:
    labels = label_array(y)
    if labels.shape != (n,):
        raise InputError(f"labels of shape ({n},), one for each row", f"shape {labels.shape}")
    refuse_missing(labels)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InputError("finite labels", "infinity among them", "Drop those rows first.")
    if labels.dtype.kind == "f" and (labels != np.round(labels)).any():
        raise InputError(
            "labels of classes", "continuous targets (Unknown label type: continuous)",
            "Cut them into classes first, such as by a threshold.",
        )  # fmt: skip
    if labels.dtype.kind in "biuf" and labels.size:  # two classes without a sort
        classes = np.unique(np.array([labels.min(), labels.max()], dtype=labels.dtype))
        codes = (labels == classes[-1]).astype(np.intp) * (classes.size - 1)
        if (classes[codes] == labels).all():
            return classes, codes
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError:
        raise InputError("labels of one type", "a mix of types that cannot be sorted") from None
    if classes.size == n > 10:
        raise InputError("labels of classes", f"{n} different labels for {n} rows", "Pass the class of each row.")
    return classes, codes.ravel()
