"""The k-NN defence: rows far from their nearest neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

from ..core.errors import CapabilityError, InputError
from ..core.validation import Array, Matrix, check_integer
from ..sets import FeasibleSet
from .base import Codes, Defense


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

    def __init__(self, remove: float = 0.05, variant: str = "paper", k: int = 5) -> None:
        super().__init__(remove, variant)
        self.k = k

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        k = check_integer(self.k, "k", at_least=1)
        if X.shape[0] <= k:
            raise InputError(
                f"more than k={k} rows", f"{X.shape[0]} rows", "Use a smaller k, or leave the knn defence out."
            )
        self._others = k if self.variant == "paper" else k - 1
        self._neighbors: Any = NearestNeighbors(algorithm="brute").fit(X)
        self._fit_rows = X

    def _fitted_scores(self, X: Matrix, codes: Codes) -> Array:
        return self._summary(X, None)

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        return self._summary(X, X)

    def _summary(self, X: Matrix, query: Matrix | None) -> Array:
        if self._others == 0:
            return np.zeros(X.shape[0])
        near = self._neighbors.kneighbors(query, n_neighbors=self._others, return_distance=False)
        distances = _row_distances(X, self._fit_rows, near)
        return np.asarray(distances.max(axis=1) if self.variant == "paper" else distances.sum(axis=1))

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        raise CapabilityError(
            "a defence whose feasible set is convex",
            "knn",
            "The attacker passes it by concentration: several equal rows are each other's neighbours.",
        )


def _row_distances(X: Matrix, others: Matrix, index: Codes) -> Array:
    """``|X[i] - others[index[i, j]]|`` from the differences themselves, shape of `index`."""
    columns = []
    for near in index.T:
        step = X - others[near]
        squares = step.multiply(step) if sp.issparse(step) else step * step
        columns.append(np.sqrt(np.asarray(squares.sum(axis=1)).ravel()))
    return np.column_stack(columns)
