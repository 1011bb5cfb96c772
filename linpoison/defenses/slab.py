"""The slab defence: rows far from the mean of their class along the line between the means."""

from __future__ import annotations

import numpy as np

from ..core import Array, InputError, Matrix
from ..sets import FeasibleSet, Slab, everywhere
from .base import Codes, Defense
from .rows import class_centers

_SAME = 1e-13  # relative difference of means that agree but for rounding


class SlabDefense(Defense):
    """Score ``|v . (x - mu_y)|`` with ``v = mu_+ - mu_-``, for two classes.

    The variant "reference" divides v by its length: the same order, other units.

    Parameters
    ----------
    remove : float, default 0.05
    variant : {"paper", "reference"}, default "paper"
    center : {"mean", "median"}, default "mean"
        With "median" ``mu_y`` is the median of each column, which less than half of a class cannot carry off.

    Attributes
    ----------
    means_ : ndarray of shape (2, d)
    direction_ : ndarray of shape (d,)
        ``v``, from the mean of the first class to that of the second.

    Raises
    ------
    CapabilityError
        At fit, for more than two classes.

    References
    ----------
    Koh, Steinhardt and Liang (2022), section 2.2, "slab defense"; Steinhardt, Koh and Liang,
    "Certified defenses for data poisoning attacks" (2017).

    Examples
    --------
    >>> defense = SlabDefense(remove=0.5).fit([[0.0], [2.0], [4.0], [8.0]], ["a", "a", "b", "b"])
    >>> defense.direction_, defense.decision_scores_
    (array([5.]), array([ 5.,  5., 10., 10.]))
    """

    cheap = True
    threshold_factor = 0.96
    many_classes = False

    def __init__(self, remove: float = 0.05, variant: str = "paper", center: str = "mean") -> None:
        super().__init__(remove, variant)
        self.center = center

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self._require_binary("slab")
        self.means_ = class_centers(X, codes, 2, self.center)
        direction = self.means_[1] - self.means_[0]
        if np.linalg.norm(direction) <= _SAME * np.linalg.norm(self.means_):
            direction = np.zeros_like(direction)
        if self.variant == "reference":
            length = float(np.linalg.norm(direction))
            if length == 0:
                raise InputError("class means that differ", "equal means", "Use the variant 'paper'.")
            direction = direction / length
        self.direction_ = direction

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        return np.asarray(np.abs(X @ self.direction_ - (self.means_ @ self.direction_)[codes]))

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        if not self.direction_.any():  # means that agree, from which every row has the score zero
            return everywhere(self.direction_.size)
        return Slab(self.direction_, float(self.means_[code] @ self.direction_), threshold)
