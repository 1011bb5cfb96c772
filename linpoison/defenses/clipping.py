"""Rows moved towards the median, so that none is far: what bounds the pull of a row on any model."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..core.validation import Array, Matrix, check_number
from ..learners.checked import validate_data
from ..sets.base import squared_distances
from .rows import column_medians


class NormClipper(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Pull rows that lie farther than a radius from the median back to that radius.

    ::

        x  ->  med + (x - med) min(1, r / |x - med|)

    Parameters
    ----------
    quantile : float, default 0.95
        The radius r is this quantile of the distances of the fitted rows to `med`, the median of each column. Poison
        of less than half of the rows moves the median, and of less than ``1 - quantile`` the radius, by a bounded
        amount only.

    Attributes
    ----------
    center_ : ndarray of shape (d,)
    radius_ : float
    n_features_in_ : int

    Examples
    --------
    >>> clipper = NormClipper(quantile=0.5).fit([[0.0], [1.0], [2.0], [3.0], [90.0]])
    >>> clipper.transform([[90.0], [1.5]]).tolist()
    [[3.0], [1.5]]
    """

    def __init__(self, quantile: float = 0.95) -> None:
        self.quantile = quantile

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the median and the radius; `y` is not looked at."""
        share = check_number(self.quantile, "quantile", above=0, at_most=1)
        rows = validate_data(self, X, accept_sparse="csr", dtype=np.float64)
        self.center_ = column_medians(rows)
        self.radius_ = float(np.quantile(self._distances(rows), share))
        return self

    def transform(self, X: Any) -> Any:
        """Rows with those that are too far pulled back; CSR stays CSR where the median is sparse."""
        check_is_fitted(self)
        rows = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        factor = np.minimum(1.0, self.radius_ / np.maximum(self._distances(rows), 1e-300))
        if not sp.issparse(rows):
            return factor[:, None] * rows + (1.0 - factor)[:, None] * self.center_
        shift = sp.csr_array((1.0 - factor)[:, None]) @ sp.csr_array(self.center_[None, :])
        return sp.csr_array(sp.diags_array(factor) @ sp.csr_array(rows) + shift)

    def _distances(self, rows: Matrix) -> Array:
        return np.sqrt(squared_distances(sp.csr_array(rows) if sp.issparse(rows) else rows, self.center_))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
