"""The duplicates defence: rows that nearly repeat an earlier row of their class."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from ..core.parts import dense
from ..core.validation import Array, Matrix, check_number
from ..sets.base import squared_distances
from .base import Codes, Defense
from .neighbors import pair_distances, row_keys
from .rows import column_medians

_FAR = 1e3  # times the base: beyond it distances of scikit-learn, which come from products, lose the digits that count
_SLACK = 1e-6  # of the base: pairs are looked for in so much more than the radius, then measured exactly


class DuplicatesDefense(Defense):
    """Drop every row within a distance r of an earlier row of its class that stays.

    ::

        score of row i  =  number of rows j < i of its class that stay, with |x_i - x_j| <= r;    it stays iff that is 0

    It removes by this rule and not by share: nothing where all rows are apart, and all copies but the first. Rows of
    different classes are no copies of each other.

    Parameters
    ----------
    tolerance : float, default 0.1
        The radius r in units of the median distance of the rows to the median of each column; 0 for exact copies alone.

    Attributes
    ----------
    radius_ : float
        r, in the units of the features.

    Notes
    -----
    It is no defence against rows that are made distinct: noise of a little more than r does that. A radius that such
    noise cannot pay for deletes clean rows, half of which have a neighbour within 0.5 in data sets of the usual kind.
    Exact copies are found by their bytes, near ones by `sklearn.neighbors.NearestNeighbors`.

    Examples
    --------
    >>> X = [[0.0], [4.0], [4.0], [4.1], [8.0], [12.0]]
    >>> DuplicatesDefense(tolerance=0.1).fit(X, [0, 0, 0, 0, 1, 1]).sample_indices_
    array([0, 1, 4, 5])
    """

    passed_by = "The attacker passes it by distinct rows."
    drops_share = False

    def __init__(self, tolerance: float = 0.1) -> None:
        super().__init__(remove=0.0)
        self.tolerance = tolerance

    def least_gap(self, X: Matrix) -> float:
        share = check_number(self.tolerance, "tolerance", at_least=0, at_most=10, remedy="0.1 is a usual one.")
        return share * base_of(X)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self.radius_, base = self.least_gap(X), base_of(X)
        stays, self._counts = np.ones(codes.size, dtype=bool), np.zeros(codes.size)
        for code in range(self.classes_.size):
            members = np.flatnonzero(codes == code)
            stays[members], self._counts[members] = _first_of_each(X[members], self.radius_, base)
        self._kept_rows = [X[np.flatnonzero(stays & (codes == code))] for code in range(self.classes_.size)]

    def _fitted_scores(self, X: Matrix, codes: Codes) -> Array:
        return self._counts

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        """How many of the rows that stay each row would be a copy of, as a newcomer."""
        scores = np.zeros(codes.size)
        for row, code in enumerate(codes):
            point = dense(X[[row]])[0]
            scores[row] = (squared_distances(self._kept_rows[code], point) <= self.radius_**2).sum()
        return scores

    def _finish(self, X: Matrix, codes: Codes) -> Self:
        self.decision_scores_ = self._counts
        self.sample_indices_ = np.flatnonzero(self._counts == 0)
        self.thresholds_ = dict.fromkeys(self.classes_.tolist(), 0.0)
        return self


def least_gap(X: Matrix) -> float:
    """Distance beyond which rows of a class, beside those of `X`, are no near-copies of each other by default."""
    return DuplicatesDefense().least_gap(X)


def distinct_rows(X: Matrix, y: Any) -> Codes:
    """Rows that are no near-copies of earlier ones of their class by default, ascending."""
    return np.asarray(DuplicatesDefense().fit(X, y).sample_indices_)


def base_of(X: Matrix) -> float:
    """The median distance of the rows to the median of each column: the unit of the tolerance."""
    return float(np.median(np.sqrt(squared_distances(X, column_medians(X)))))


def _first_of_each(X: Matrix, radius: float, base: float) -> tuple[Array, Array]:
    """Which rows stay, and of how many earlier ones that stay each row is a copy."""
    first, copy_of = np.unique(row_keys(X), return_index=True, return_inverse=True)[1:]
    original = first[copy_of.ravel()]
    distinct = np.flatnonzero(original == np.arange(original.size))
    later, earlier = close_pairs(X, distinct, radius, base)
    counts = np.zeros(original.size)
    for row in np.unique(later):  # ascending: what is earlier has been decided
        before = earlier[later == row]
        counts[row] = (counts[before] == 0).sum()
    repeats = np.flatnonzero(original != np.arange(original.size))
    counts[repeats] = np.maximum(counts[original[repeats]], 1)
    return counts == 0, counts


def close_pairs(X: Matrix, rows: Codes, radius: float, base: float) -> tuple[Codes, Codes]:
    """Pairs (later, earlier) of some rows within the radius of each other."""
    if radius == 0 or rows.size < 2:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    out = np.sqrt(squared_distances(X, column_medians(X)))[rows]
    near, far = rows[out <= _FAR * base], rows[out > _FAR * base - 2 * radius]
    pairs = [_pairs_nearby(X, near, radius + _SLACK * base), _all_pairs(far)]
    later, earlier = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    close = pair_distances(X, later, X, earlier) <= radius
    both = np.unique(np.column_stack([later[close], earlier[close]]), axis=0)
    return both[:, 0], both[:, 1]


def _pairs_nearby(X: Matrix, rows: Codes, radius: float) -> tuple[Codes, Codes]:
    from sklearn.neighbors import NearestNeighbors

    if rows.size < 2:
        return rows[:0], rows[:0]
    graph = sp.coo_array(NearestNeighbors(radius=radius).fit(X[rows]).radius_neighbors_graph(mode="connectivity"))
    below = graph.row > graph.col
    return rows[graph.row[below]], rows[graph.col[below]]


def _all_pairs(rows: Codes) -> tuple[Codes, Codes]:
    later, earlier = np.tril_indices(rows.size, -1)
    return rows[later], rows[earlier]
