"""The L2 defence: rows far from the mean of their class."""

from __future__ import annotations

import numpy as np

from ..core.validation import Array, Matrix
from ..sets import Ball, FeasibleSet
from ..sets.base import squared_distances
from .base import Codes, Defense
from .rows import class_centers


class L2Defense(Defense):
    """Score ``|x - mu_y|``, the distance to the mean of the class; the same in both variants.

    Parameters
    ----------
    remove : float, default 0.05
    variant : {"paper", "reference"}, default "paper"
    center : {"mean", "median"}, default "mean"
        With "median" ``mu_y`` is the median of each column: less than half of a class cannot carry it off, as one
        far row carries off a mean.

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

    cheap = measures_distance = True
    threshold_factor = 0.985

    def __init__(self, remove: float = 0.05, variant: str = "paper", center: str = "mean") -> None:
        super().__init__(remove, variant)
        self.center = center

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self.means_ = class_centers(X, codes, self.classes_.size, self.center)

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        scores = np.zeros(X.shape[0])
        for code, mean in enumerate(self.means_):
            members = np.flatnonzero(codes == code)
            scores[members] = np.sqrt(squared_distances(X[members], mean))
        return scores

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        return Ball(self.means_[code], threshold)
