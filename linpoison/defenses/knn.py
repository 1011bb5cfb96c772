"""The k-NN defence: rows far from their nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from ..core import Array, InputError, LinearModel, Matrix, check_integer
from .base import Codes, Defense
from .known import Known
from .neighbors import Neighbors

_PAIR, _SPARSE_PAIR = 16, 400  # multiplications in the time of a pair without its product, and of a sparse one


class KNNDefense(Defense):
    """Score: the distance to the k-th nearest other row of the whole set, both classes together.

    The variant "reference" sums the distances to the k nearest rows, the row itself (at distance
    zero) counted as one of them. Equal rows are neighbours at distance exactly zero.

    Parameters
    ----------
    remove : float, default 0.05
    variant : {"paper", "reference"}, default "paper"
    k : int, default 5

    Notes
    -----
    `decision_function` scores rows as newcomers: all fitted rows are their neighbours.

    References
    ----------
    Koh, Steinhardt and Liang (2022), section 2.2, "k-NN defense"; Frederickson et al., "Attack
    strength vs. detectability dilemma in adversarial machine learning" (2018).

    Examples
    --------
    >>> X = [[0.0], [1.0], [3.0], [10.0], [11.0], [30.0]]
    >>> KNNDefense(remove=0.3, k=2).fit(X, [0, 0, 0, 1, 1, 1]).decision_scores_
    array([ 3.,  2.,  3.,  7.,  8., 20.])
    """

    measures_distance = True
    passed_by = "The attacker passes it by concentration: several equal rows are each other's neighbours."

    def __init__(self, remove: float = 0.05, variant: str = "paper", k: int = 5) -> None:
        super().__init__(remove, variant)
        self.k = k

    @property
    def n_others(self) -> int:
        """How many other rows a score depends on."""
        return check_integer(self.k, "k", at_least=1) - (self.variant == "reference")

    @property
    def copies_to_pass(self) -> int:
        return self.n_others + 1

    def fit_work(self, X: Matrix) -> float:
        """All pairs of rows: a product, and its place among the nearest. Sparse ones follow lists instead."""
        n, d = X.shape
        return float(n) ** 2 * (_SPARSE_PAIR if sp.issparse(X) else max(_PAIR, d))

    def fit_beside(self, X: Any, y: Any, known: Known, undefended: Callable[[], LinearModel]) -> Self:
        """Only pairs with a row that is not among the clean ones are looked at."""
        others, n = self.n_others, known.train.n
        if not 1 <= others < n - 1:
            return self.fit(X, y)
        rows, codes = self._begin(X, y)
        clean, extra = known.neighbors(others), rows[n:]
        self._others, self._rows_fitted = others, rows
        self._neighbors: Neighbors | None = None
        self._distances = (clean.joined(extra) if extra.shape[0] else clean.distances)[:, :others]
        return self._finish(rows, codes)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        k = check_integer(self.k, "k", at_least=1)
        if X.shape[0] <= k:
            raise InputError(
                f"more than k={k} rows", f"{X.shape[0]} rows", "Use a smaller k, or leave the knn defence out."
            )
        self._others, self._rows_fitted = self.n_others, X
        self._neighbors = Neighbors(X, max(self._others, 1))
        self._distances = self._neighbors.distances[:, : self._others]

    def _fitted_scores(self, X: Matrix, codes: Codes) -> Array:
        return self._summary(self._distances)

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        if self._neighbors is None:
            self._neighbors = Neighbors(self._rows_fitted, max(self._others, 1))
        return self._summary(self._neighbors.of(X)[:, : self._others])

    def _summary(self, distances: Array) -> Array:
        return np.asarray(distances.max(axis=1) if self.variant == "paper" else distances.sum(axis=1))
