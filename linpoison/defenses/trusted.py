"""A defence that is fitted on trusted rows only, so that no poison moves it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..core import Array, InputError, Matrix
from ..sets import FeasibleSet
from .adapters import as_defense
from .base import Codes, Defense
from .l2 import L2Defense


class TrustedDefense(Defense):
    """Fit a defence on trusted rows, and drop every row that scores more than the threshold found there.

    ::

        keep (x, y)  iff  s_beta(x, y) <= t_y,      beta and t from the trusted rows

    How many rows go is not fixed: of a class any number may. Poison moves neither beta nor t, so its rows lie in the
    feasible sets of the defence, whatever their number; a defence that is fitted on clean and poison rows together
    holds neither (`linpoison.defenses.quota`).

    Parameters
    ----------
    defense : Defense or outlier detector, optional
        See `as_defense`; `L2Defense()` by default. Its `remove` is the share of the trusted rows beyond the thresholds.
    trusted : pair of array_like
        Rows and labels known to be clean, of every class.

    Attributes
    ----------
    defense_ : Defense
        Fitted on the trusted rows.

    Examples
    --------
    >>> clean = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> TrustedDefense(L2Defense(remove=0.0), clean).fit([[0.5], [9.0], [9.0], [2.5]], [0, 0, 0, 1]).sample_indices_
    array([0, 3])
    """

    drops_share = False
    _ready: Defense | None = None

    def __init__(self, defense: Any = None, trusted: Any = None) -> None:
        super().__init__()
        self.defense = defense
        self.trusted = trusted

    @property
    def follows_poison(self) -> bool:
        return False

    @property
    def has_convex_set(self) -> bool:
        return bool(self._chosen.has_convex_set)

    def ready(self) -> Self:
        self._ready = self._fixed()
        return self

    def _fixed(self) -> Defense:
        if self.trusted is None:
            raise InputError("trusted=(X, y), rows known to be clean", "none")
        fixed: Defense = self._chosen.fit(*self.trusted)
        return fixed

    @property
    def _chosen(self) -> Defense:
        return L2Defense() if self.defense is None else as_defense(self.defense)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self.defense_: Defense = self._fixed() if self._ready is None else self._ready
        if not np.array_equal(self.defense_.classes_, self.classes_):
            raise InputError(
                f"trusted rows of the classes {self.classes_.tolist()}", f"{self.defense_.classes_.tolist()}"
            )

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        return self.defense_.decision_function(X, self.classes_[codes])

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        return self.defense_.feasible_set(self.classes_[code], threshold)

    def _finish(self, X: Matrix, codes: Codes) -> Self:
        self.decision_scores_ = self._fitted_scores(X, codes)
        self.thresholds_ = dict(self.defense_.thresholds_)
        limits = np.array([self.thresholds_[label] for label in self.classes_.tolist()])
        kept = self.decision_scores_ <= limits[codes]
        for code, label in enumerate(self.classes_.tolist()):
            if not kept[codes == code].any():
                raise InputError("at least one row kept of each class", f"none of class {label!r}", "Trust more rows.")
        self.sample_indices_ = np.flatnonzero(kept)
        return self
