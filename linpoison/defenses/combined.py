"""Several filters at once, and the range of each column as a filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone

from ..core.domain import Domain
from ..core.errors import InputError
from ..core.model import LinearModel
from ..core.validation import Array, Matrix
from ..sets import Box, FeasibleSet, intersect
from ..sets.box import dense_blocks
from .base import Codes, Defense

if TYPE_CHECKING:
    from .known import Known


class AllOf(Defense):
    """Keep the rows that every one of several filters keeps, each fitted on all rows.

    The score of a row is its greatest excess over the thresholds of the filters, ``max_i s_i(x, y) - t_i(y)``, so that
    rows of a score of at most zero stay and the feasible set is the intersection of theirs.

    Parameters
    ----------
    defenses : sequence of Defense
        At least one.

    Attributes
    ----------
    defenses_ : list of Defense
        Fitted.

    Examples
    --------
    >>> from linpoison.defenses import L2Defense, SlabDefense
    >>> X, y = [[0.0, 0.0], [1.0, 0.0], [0.0, 9.0], [4.0, 0.0], [5.0, 0.0], [9.0, 0.0]], [0, 0, 0, 1, 1, 1]
    >>> AllOf([L2Defense(remove=0.3), SlabDefense(remove=0.3)]).fit(X, y).sample_indices_
    array([0, 1, 3, 4])
    """

    drops_share = False

    def __init__(self, defenses: Sequence[Defense] = ()) -> None:
        super().__init__()
        self.defenses = defenses

    @property
    def follows_poison(self) -> bool:
        return any(part.follows_poison for part in self.defenses)

    @property
    def has_convex_set(self) -> bool:
        return all(part.has_convex_set for part in self.defenses)

    def n_dropped(self, n: int) -> int:
        return max((part.n_dropped(n) for part in self.defenses), default=0)

    def set_entries(self, n: int, d: int) -> int:
        return sum(part.set_entries(n, d) for part in self.defenses)

    def fit_work(self, X: Matrix) -> float:
        return sum(part.fit_work(X) for part in self.defenses)

    def least_gap(self, X: Matrix) -> float:
        return max((part.least_gap(X) for part in self.defenses), default=0.0)

    @property
    def copies_to_pass(self) -> int:
        return max((part.copies_to_pass for part in self.defenses), default=1)

    def fit_beside(self, X: Any, y: Any, known: Known, undefended: Callable[[], LinearModel]) -> Self:
        rows, codes = self._begin(X, y)
        self.defenses_ = [clone(part).fit_beside(X, y, known, undefended) for part in self._parts()]
        return self._finish(rows, codes)

    def _parts(self) -> Sequence[Defense]:
        if isinstance(self.defenses, Defense) or not len(self.defenses):
            raise InputError("a list of at least one defence", repr(self.defenses))
        return self.defenses

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        y = self.classes_[codes]
        self.defenses_ = [clone(part).fit(X, y) for part in self._parts()]

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        y = self.classes_[codes]
        return np.max([part.decision_function(X, y) - self._limits(part)[codes] for part in self.defenses_], axis=0)

    def _fitted_scores(self, X: Matrix, codes: Codes) -> Array:
        return np.max([part.decision_scores_ - self._limits(part)[codes] for part in self.defenses_], axis=0)

    def _limits(self, part: Defense) -> Array:
        return np.array([part.thresholds_[label] for label in self.classes_.tolist()])

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        label = self.classes_[code]
        return intersect(*(part.feasible_set(label, part.thresholds_[label] + threshold) for part in self.defenses_))

    def _finish(self, X: Matrix, codes: Codes) -> Self:
        self.decision_scores_ = self._fitted_scores(X, codes)
        kept = np.ones(codes.size, dtype=bool)
        for part in self.defenses_:
            kept &= np.isin(np.arange(codes.size), part.sample_indices_)
        for code, label in enumerate(self.classes_.tolist()):
            if not kept[codes == code].any():
                raise InputError("at least one row kept of each class", f"none of class {label!r}", "Remove fewer.")
        self._keep(codes, np.flatnonzero(kept))
        self.thresholds_ = dict.fromkeys(self.classes_.tolist(), 0.0)
        return self


class RangeDefense(Defense):
    """Keep rows that lie within what the fitted rows show in every column, whatever their class.

    ::

        s(x) = max_j max(low_j - x_j, x_j - high_j, 0) / (high_j - low_j)

    Poison among the rows that it is fitted on widens the range: fit it on trusted rows (`TrustedDefense`).

    Attributes
    ----------
    low_, high_ : ndarray of shape (d,)

    Examples
    --------
    >>> filter = RangeDefense().fit([[0.0], [4.0], [1.0], [2.0]], [0, 0, 1, 1])
    >>> filter.decision_function([[5.0], [3.0]], [1, 1])
    array([0.25, 0.  ])
    """

    cheap = True
    drops_share = False

    def __init__(self) -> None:
        super().__init__(remove=0.0)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        shown = Domain.range(X)
        self.low_, self.high_ = np.asarray(shown.lower), np.asarray(shown.upper)

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        blocks = dense_blocks(X) if sp.issparse(X) else [np.asarray(X)]
        return np.concatenate([self._excess(rows) for rows in blocks])

    def _excess(self, rows: Array) -> Array:
        return (np.maximum(self.low_ - rows, rows - self.high_).clip(min=0) / self._spread).max(axis=1)

    @property
    def _spread(self) -> Array:
        spread = self.high_ - self.low_
        return np.where(spread > 0, spread, 1.0)

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        margin = threshold * self._spread
        return Box(self.low_ - margin, self.high_ + margin)
