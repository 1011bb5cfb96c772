"""The L2 defence: rows far from the mean of their class."""

from __future__ import annotations

import numpy as np

from ..core.validation import Array, Matrix
from ..sets import Ball, FeasibleSet
from ..sets.base import squared_distances
from .base import Codes, Defense
from .rows import class_means


class L2Defense(Defense):
    """Score ``|x - mu_y|``, the distance to the mean of the class; the same in both variants.

    Parameters
    ----------
    remove : float, default 0.05
    variant : {"paper", "reference"}, default "paper"

    Attributes
    ----------
    means_ : ndarray of shape (n_classes, d)
        ``mu_y`` in the order of `classes_`.

    References
    ----------
    Koh, Steinhardt and Liang (2022), section 2.2, "L2 defense".

    Examples
    --------
    >>> defense = L2Defense(remove=0.25).fit([[0.0], [1.0], [2.0], [9.0]] * 2, [0] * 4 + [1] * 4)
    >>> defense.sample_indices_, defense.thresholds_
    (array([0, 1, 2, 4, 5, 6]), {0: 3.0, 1: 3.0})
    """

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self.means_ = class_means(X, codes, self.classes_.size)

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        scores = np.zeros(X.shape[0])
        for code, mean in enumerate(self.means_):
            members = np.flatnonzero(codes == code)
            scores[members] = np.sqrt(squared_distances(X[members], mean))
        return scores

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        return Ball(self.means_[code], threshold)
