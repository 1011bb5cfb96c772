"""Exact distances to the nearest rows, dense or CSR, with bounded memory, and their update for a few more rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core.parts import dense
from ..core.validation import Array, Matrix, squared_norms

Index = NDArray[np.intp]
_BLOCK_ENTRIES = 12_000_000  # products of pairs that are held at once
_COMMON = 0.08  # columns filled in this share of the rows are cheaper dense
_FILLED = 0.05  # share of stored entries from which sparse rows are compared as dense ones
_PAIRS = 20_000  # pairs of poison rows that are compared at once
_FEW = 10_000  # pairs whose products take less than the checks of a library
_MANY = 10_000  # dense rows whose pairs are looked at in single precision first
_SOME = 16  # times as many rows as those that bound the distances
_BLOCK = 1024  # rows whose products with as many others stay in the cache
_CROWD = 300  # pairs to a row from which single precision does not tell enough of them apart
_SINGLE = 4e-6  # the same for single precision
_SLACK = 1e-9  # relative to the squared lengths: rounding of a distance by its expansion


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Rows, and the distances of each to its k nearest other rows.

    Candidates come from ``|a|^2 + |b|^2 - 2 a.b``, all pairs in blocks; their distances from the
    differences themselves, so that equal rows are at distance exactly zero.

    Parameters
    ----------
    X : ndarray or csr_array, shape (n, d)
        With ``n > k``.

    Attributes
    ----------
    distances : ndarray of shape (n, k)
        Ascending.
    """

    X: Matrix
    k: int
    distances: Array = field(init=False)

    def __post_init__(self) -> None:
        if sp.issparse(self.X) and _FILLED * self.X.shape[0] * self.X.shape[1] <= self.X.nnz:
            object.__setattr__(self, "X", self.X.toarray())  # no more memory than the products of its pairs
        products = _Products(self.X)
        object.__setattr__(self, "_products", products)
        found = None if products.sparse or products.n < _MANY else _self_joined(self.X, self.k)
        found = _nearest(products, products, self.k, skip_self=True) if found is None else found
        object.__setattr__(self, "distances", found)

    def of(self, rows: Matrix) -> Array:
        """Distances of other rows to their k nearest rows among these, shape (m, k)."""
        return _nearest(_Products(self._stored(rows), self._own), self._own, self.k)

    def _stored(self, rows: Matrix) -> Matrix:
        """Rows in the storage of these."""
        return rows if self._own.sparse else dense(rows)

    def joined(self, rows: Matrix) -> Array:
        """`distances` of the rows with more rows behind them, shape (n + m, k).

        Only the pairs with a new row are looked at, and equal new rows only once.
        """
        rows = self._stored(rows)
        first, which, copies = np.unique(row_keys(rows), return_index=True, return_inverse=True, return_counts=True)[1:]
        distinct = _Products(rows[first], self._own)
        copies = np.minimum(copies, self.k + 1)
        old = _merged(self.distances, _repeated(self._own, distinct, copies, self.distances), self.k)
        to_old = _nearest(distinct, self._own, self.k)
        new = _merged(to_old, _among_copies(distinct, copies, self.k), self.k)
        return np.vstack([old, new[which.ravel()]])

    @property
    def _own(self) -> _Products:
        products: _Products = self.__dict__["_products"]
        return products


class _Products:
    """Rows prepared for inner products: common columns dense, the others sparse."""

    def __init__(self, X: Matrix, like: _Products | None = None) -> None:
        self.X, self.n = X, X.shape[0]
        self.norms = squared_norms(X)
        self.sparse = sp.issparse(X)
        if not self.sparse:
            self.dense = X
            return
        self.common: Index = self._common() if like is None else like.common
        rest = np.ones(X.shape[1])
        rest[self.common] = 0.0
        self.dense = np.asarray(X[:, self.common].toarray())
        self.rest = sp.csr_array(X @ sp.diags_array(rest))
        self.rest.eliminate_zeros()

    def _common(self) -> Index:
        filled = np.bincount(self.X.indices, minlength=self.X.shape[1])
        return np.flatnonzero(filled > _COMMON * self.n)

    def squared_distances(self, rows: slice, others: _Products) -> Array:
        """``|a - b|^2`` of some rows to all the others, up to rounding, shape (len(rows), n_others)."""
        cross = self.dense[rows] @ others.dense.T
        if self.sparse:
            cross += (self.rest[rows] @ others.rest_across).toarray()
        cross *= -2.0
        cross += self.norms[rows, None]
        cross += others.norms
        return np.asarray(cross)

    @property
    def rest_across(self) -> Matrix:
        """The sparse part, transposed."""
        if "_across" not in self.__dict__:
            self._across = sp.csr_array(self.rest.T)
        return self._across

    def blocks(self, others: int) -> list[slice]:
        """Rows in portions whose products with so many others fit into memory."""
        size = max(1, _BLOCK_ENTRIES // max(others, 1))
        return [slice(start, min(start + size, self.n)) for start in range(0, self.n, size)]


def _nearest(rows: _Products, others: _Products, k: int, *, skip_self: bool = False) -> Array:
    """Ascending distances of each row to its k nearest others."""
    wanted = k + skip_self
    few = rows.sparse or rows.n * others.n <= _FEW
    near = (_near_in_blocks if few else _near_dense)(rows, others, wanted)
    first = np.repeat(np.arange(rows.n), wanted)
    distances = pair_distances(rows.X, first, others.X, near.ravel()).reshape(rows.n, wanted)
    if skip_self:
        distances[near == np.arange(rows.n)[:, None]] = np.inf
    return np.sort(distances, axis=1)[:, :k]


def _self_joined(X: Array, k: int) -> Array | None:
    """Ascending distances of each of many dense rows to its k nearest others; None where too many pairs are near.

    The k-th distance of a row to some of the others bounds that to all of them. With rows in the order of their bounds
    a pair takes a product in single precision, whose rounding only lets more pairs through, and one comparison with
    the bound of the later row, which is the greater one. Those that pass are measured in double precision.
    """
    n = X.shape[0]
    bound = _bounds(X, k)
    order = np.argsort(bound, kind="stable")
    Z, bound = (X - X.mean(axis=0))[order], bound[order]
    low = (1.0 - _SINGLE) * squared_norms(Z)
    ones = np.ones(n)
    left = np.column_stack([-2.0 * Z, low, ones]).astype(np.float32)
    right = np.column_stack([Z, ones, low]).astype(np.float32)
    limit = np.nextafter((bound**2).astype(np.float32), np.float32(np.inf))
    pairs, total = [], 0
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        for other in range(start, n, _BLOCK):
            cross = left[rows] @ right[other : other + _BLOCK].T
            near = np.flatnonzero(cross <= limit[other : other + _BLOCK])
            first, second = np.divmod(near, cross.shape[1])
            first, second = first[(new := first + start < second + other)] + start, second[new] + other
            distances = pair_distances(X, order[first], X, order[second])
            for one, two in ((first, second), (second, first)):
                inside = distances <= bound[one]
                pairs.append((order[one[inside]], order[two[inside]], distances[inside]))
            total += first.size
            if total > _CROWD * n:
                return None
    rows_of, others, measured = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return _least_of_each(rows_of, others, measured, n, k)


def _least_of_each(rows: Index, others: Index, distances: Array, n: int, k: int) -> Array:
    """The k least distances of each of n rows, ascending, of pairs in any order."""
    grouped = sp.coo_array((distances, (rows, others)), shape=(n, n)).tocsr()
    sizes, found = np.diff(grouped.indptr), np.empty((n, k))
    order = np.argsort(sizes, kind="stable")
    for part in np.array_split(order, max(1, n // _BLOCK)):
        most = int(sizes[part].max())
        place = np.minimum(grouped.indptr[part, None] + np.arange(most), grouped.nnz - 1)
        values = np.where(np.arange(most) < sizes[part, None], grouped.data[place], np.inf)
        found[part] = np.sort(np.partition(values, k - 1, axis=1)[:, :k], axis=1)
    return found


def _bounds(X: Array, k: int) -> Array:
    """The k-th distance of each row to some of the others."""
    some = np.arange(0, X.shape[0], _SOME)
    few, every = _Products(X[some]), _Products(X)
    near = _near_dense(every, few, k + 1)
    rows = np.repeat(np.arange(X.shape[0]), k + 1)
    distances = pair_distances(X, rows, few.X, near.ravel()).reshape(near.shape)
    distances[some[near] == np.arange(X.shape[0])[:, None]] = np.inf
    return np.sort(distances, axis=1)[:, k - 1]


def _near_dense(rows: _Products, others: _Products, k: int) -> Index:
    """The k nearest others of dense rows up to rounding, in no order: products and heaps in one compiled pass."""
    from sklearn import config_context
    from sklearn.neighbors import NearestNeighbors

    with config_context(assume_finite=True):
        search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(others.X)
        return np.asarray(search.kneighbors(rows.X, return_distance=False))


def _near_in_blocks(rows: _Products, others: _Products, k: int) -> Index:
    """The same of sparse rows."""
    near = np.empty((rows.n, k), dtype=np.intp)
    for block in rows.blocks(others.n):
        near[block] = _least(rows.squared_distances(block, others), k)
    return near


def _least(values: Array, k: int) -> Index:
    """Columns of the k least values of each row, in no order; all columns if there are no more."""
    if values.shape[1] <= k:
        return np.tile(np.arange(values.shape[1]), (values.shape[0], 1))
    return np.argpartition(values, k - 1, axis=1)[:, :k]


def _repeated(rows: _Products, few: _Products, copies: Index, worst: Array) -> Array:
    """Ascending distances of rows to the nearest of a few others with copies, infinite beyond the k-th of `worst`.

    A pair is looked at only if it can be among the k nearest.
    """
    k = worst.shape[1]
    bound = worst[:, -1] ** 2
    found = np.full((rows.n, k), np.inf)
    for block in rows.blocks(few.n):
        squared = rows.squared_distances(block, few)
        nearest = _least(squared, k)
        limit = bound[block, None] + _SLACK * (rows.norms[block, None] + few.norms[nearest])
        first, place = np.nonzero(np.take_along_axis(squared, nearest, axis=1) < limit)
        second = nearest[first, place]
        first += block.start
        _place(found, first, pair_distances(rows.X, first, few.X, second), copies[second])
    return found


def _place(found: Array, rows: Index, distances: Array, copies: Index) -> None:
    """Write the least distances of each row, with copies, into its line of `found`."""
    order = np.lexsort((distances, rows))
    rows, distances, copies = rows[order], distances[order], copies[order]
    rows, distances = np.repeat(rows, copies), np.repeat(distances, copies)
    start = np.searchsorted(rows, rows)
    place = np.arange(rows.size) - start
    fits = place < found.shape[1]
    found[rows[fits], place[fits]] = distances[fits]


def _among_copies(few: _Products, copies: Index, k: int) -> Array:
    """Ascending distances from each distinct row to all other copies, infinite where there are none."""
    found = np.full((few.n, k), np.inf)
    together = max(1, _PAIRS // few.n)
    for start in range(0, few.n, together):
        rows = np.arange(start, min(start + together, few.n))
        first, second = np.repeat(rows, few.n), np.tile(np.arange(few.n), rows.size)
        distances = pair_distances(few.X, first, few.X, second)
        _place(found, first, distances, copies[second] - (first == second))
    return found


def _merged(first: Array, second: Array, k: int) -> Array:
    return np.sort(np.hstack([first, second]), axis=1)[:, :k]


def pair_distances(X: Matrix, first: Index, others: Matrix, second: Index) -> Array:
    """``|X[i] - others[j]|`` of pairs, from the differences themselves."""
    size = max(1, _BLOCK_ENTRIES // (20 * X.shape[1])) if not sp.issparse(X) else 20_000
    parts = [np.zeros(0)]
    for start in range(0, first.size, size):
        step = X[first[start : start + size]] - others[second[start : start + size]]
        parts.append(np.sqrt(squared_norms(step)))
    return np.concatenate(parts)


def row_keys(X: Matrix) -> NDArray[np.object_]:
    """One value for each row, equal for equal rows."""
    if sp.issparse(X):
        rows = sp.csr_array(X, copy=True)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        X = rows
        keys = [
            X.indices[start:stop].astype(np.int64).tobytes() + X.data[start:stop].tobytes()
            for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True)
        ]
    else:
        keys = [row.tobytes() for row in np.ascontiguousarray(X) + 0.0]
    return np.array(keys, dtype=object)
