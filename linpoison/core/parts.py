"""What groups of features may hold where each group is made from one value of a raw table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .validation import Array, Matrix

_BLOCK = 1 << 22  # dense entries that are held at a time
_FINE = 24  # copies of its most frequent word that a text may have
_TINY = 1e-6  # share of the greatest weight of a row below which a word is left out
_ROUNDING, _LEAST, _LARGE = 1e-9, 1e-300, 50.0


@dataclass(frozen=True, eq=False)
class Part(ABC):
    """A group of features that move together, and apart from all others.

    Parameters
    ----------
    columns : ndarray of int, shape (c,)
        Their places among all features.
    """

    columns: NDArray[np.intp]
    searched: ClassVar[bool] = False
    """Whether `nearest` is a search, which may miss a row that the group can hold."""

    @abstractmethod
    def nearest(self, X: Array) -> Array:
        """For each row of shape (c,) one that the group can hold, as near as can be found; such a row is itself."""

    def off(self, X: Matrix) -> Array:
        """How far each row of shape (c,) is from the nearest one that the group can hold, in its largest feature.

        In units of the feature itself where that is above 1.
        """
        worst = np.zeros(X.shape[0])
        step = max(1, _BLOCK // max(1, X.shape[1]))
        for start in range(0, X.shape[0], step):
            rows = dense(X[start : start + step])
            off = np.abs(rows - self.nearest(rows)) / np.maximum(1.0, np.abs(rows))
            worst[start : start + step] = off.max(axis=1, initial=0.0)
        return worst

    @abstractmethod
    def bounds(self) -> tuple[Array, Array]:
        """The least and the greatest value of each feature, perhaps infinite."""

    @property
    def ranged(self) -> bool:
        """Whether a range check would keep the group `within` bounds."""
        return False

    def within(self, X: Matrix, factor: float) -> Part:
        """The group in the range that the rows `X` of shape (n, c) show, so many times as wide; by default itself."""
        return self

    @property
    def free(self) -> bool:
        """Whether it is one feature that may be any number."""
        return False

    @property
    def count_limit(self) -> float | None:
        """The most that a feature may be, if the group is all counts of words, as they are; perhaps infinite."""
        return None

    @property
    def most(self) -> float | None:
        """The greatest sum of the features, where it is less than that of their bounds."""
        return None

    @property
    def radius(self) -> float:
        """The greatest length of the features, where it is less than that of their bounds."""
        return float("inf")


@dataclass(frozen=True, eq=False)
class Choice(Part):
    """One of some points, such as the categories of a one-hot group or the rows of columns that nobody may change.

    Parameters
    ----------
    points : ndarray of shape (k, c)
    far : ndarray of bool, shape (k,)
        Points beyond the range of the clean rows; none by default.

    Examples
    --------
    >>> Choice(np.arange(2), np.eye(2)).nearest(np.array([[0.4, 0.7]]))
    array([[0., 1.]])
    """

    points: Array
    far: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    @property
    def ranged(self) -> bool:
        return bool(self.far.any())

    def within(self, X: Matrix, factor: float) -> Choice:
        return replace(self, points=self.points[~self.far], far=self.far[:0]) if self.ranged else self

    def which(self, X: Array) -> NDArray[np.intp]:
        """Numbers of the nearest points."""
        half = (self.points**2).sum(axis=1) / 2
        step = max(1, _BLOCK // max(1, half.size))
        blocks = [X[start : start + step] @ self.points.T - half for start in range(0, len(X), step)]
        return np.concatenate([np.zeros(0, dtype=np.intp), *(block.argmax(axis=1) for block in blocks)])

    def nearest(self, X: Array) -> Array:
        return self.points[self.which(X)]

    def bounds(self) -> tuple[Array, Array]:
        return self.points.min(axis=0), self.points.max(axis=0)

    @property
    def most(self) -> float | None:
        greatest = float(self.points.sum(axis=1).max())
        return greatest if self.columns.size > 1 and greatest < self.points.max(axis=0).sum() else None


@dataclass(frozen=True, eq=False)
class Line(Part):
    """Features ``start + v step`` of one number v: a scaled column, on a lattice where v is whole.

    Parameters
    ----------
    start, step : ndarray of shape (c,)
    whole : bool
        Whether v is a whole number.
    low, high : float
        Bounds of v.
    also : ndarray of shape (k, c)
        Points besides, such as what stands for a missing value.

    Examples
    --------
    >>> years = Line(np.array([0]), np.array([-4.0]), np.array([0.1]), whole=True, low=0.0)
    >>> years.nearest(np.array([[0.33], [-9.0]])).round(3).tolist()
    [[0.3], [-4.0]]
    """

    start: Array
    step: Array
    whole: bool = False
    low: float = -np.inf
    high: float = np.inf
    also: Array = field(default_factory=lambda: np.zeros((0, 0)))

    def value(self, X: Array) -> Array:
        """The number v of the nearest point of the line, of each row; NaN where a point besides is nearer."""
        v = (X - self.start) @ self.step / float(self.step @ self.step)
        v = np.clip(np.round(v) if self.whole else v, self.low, self.high)
        if self.also.size:
            off = np.linalg.norm(X - self._at(v), axis=1)
            beside = np.linalg.norm(X[:, None, :] - self.also, axis=2).min(axis=1)
            v = np.where(beside < off, np.nan, v)
        return np.asarray(v)

    @property
    def ranged(self) -> bool:
        return True

    @property
    def free(self) -> bool:
        return self.columns.size == 1 and not (self.whole or self.also.size or np.isfinite([self.low, self.high]).any())

    def _at(self, v: Array) -> Array:
        return np.asarray(self.start + v[:, None] * self.step)

    def nearest(self, X: Array) -> Array:
        v = self.value(X)
        rows = self._at(v)
        if (lost := np.isnan(v)).any():
            rows[lost] = self.also[np.linalg.norm(X[lost][:, None, :] - self.also, axis=2).argmin(axis=1)]
        return rows

    def bounds(self) -> tuple[Array, Array]:
        with np.errstate(invalid="ignore"):
            ends = np.where(self.step == 0, self.start, self.start + np.array([[self.low], [self.high]]) * self.step)
        points = np.vstack([ends, self.also.reshape(-1, self.columns.size)])
        return points.min(axis=0), points.max(axis=0)

    def within(self, X: Matrix, factor: float) -> Line:
        v = self.value(dense(X))
        v = v[~np.isnan(v)]
        if not v.size:
            return self
        low, high = float(v.min()), float(v.max())
        more = (factor - 1) / 2 * (high - low)
        return replace(self, low=max(self.low, low - more), high=min(self.high, high + more))


@dataclass(frozen=True, eq=False)
class Words(Part):
    """Rows of word counts, weighted and scaled to one length: what TF-IDF makes of a text.

    Parameters
    ----------
    scale : ndarray of shape (c,)
        Weight of each word.
    usable : ndarray of bool, shape (c,)
        Words that a text can be given one by one.
    longest : int
        Most words of a text.
    norm : {"l2", "l1", None}
    sublinear, binary : bool
        Whether n copies of a word count ``1 + log n``, or 1.
    least, greatest : ndarray of shape (c,), optional
        Copies of each word that a range check lets through: of words that are counted as they are, without `norm`.

    Examples
    --------
    >>> words = Words(np.arange(2), np.ones(2), np.ones(2, dtype=bool), longest=9)
    >>> words.counts(np.array([[0.9, 0.4]])).tolist()
    [[5.0, 2.0]]
    """

    searched: ClassVar[bool] = True
    scale: Array
    usable: NDArray[np.bool_]
    longest: int
    norm: Literal["l2", "l1"] | None = "l2"
    sublinear: bool = False
    binary: bool = False
    least: Array | None = None
    greatest: Array | None = None

    @property
    def ranged(self) -> bool:
        return self.norm is None

    def within(self, X: Matrix, factor: float) -> Words:
        if not self.ranged or not X.shape[0]:
            return self
        values = sp.csc_array(X)
        low, high = (np.asarray(end.toarray()).ravel() / self.scale for end in (values.min(axis=0), values.max(axis=0)))
        if self.sublinear:
            low, high = (np.where(end > 0, np.exp(end - 1.0), 0.0) for end in (low, high))
        more = (factor - 1) / 2 * (high - low)
        least = np.where(self.usable, np.maximum(np.ceil(low - more - _ROUNDING), 0.0), 0.0)
        return replace(self, least=least, greatest=np.floor(high + more + _ROUNDING))

    def _kept(self, counts: Array) -> Array:
        """Counts that a range check lets through."""
        return counts if self.least is None or self.greatest is None else np.clip(counts, self.least, self.greatest)

    def rows(self, counts: Array) -> Array:
        """The features of texts with so many copies of each word, shape (n, c)."""
        values = self._weighted(counts) * self.scale
        return np.asarray(values / self._length(values)[:, None])

    def _weighted(self, counts: Array) -> Array:
        if self.binary:
            return np.minimum(counts, 1.0)
        if self.sublinear:
            return np.where(counts > 0, 1.0 + np.log(np.maximum(counts, 1.0)), 0.0)
        return counts

    def _length(self, values: Array) -> Array:
        if self.norm is None:
            return np.ones(len(values))
        length = np.linalg.norm(values, axis=1) if self.norm == "l2" else np.abs(values).sum(axis=1)
        return np.where(length > 0, length, 1.0)

    def counts(self, X: Array) -> Array:
        """Whole copies of each word of a text whose features are near each row."""
        return self._kept(np.array([self._counted(row) for row in X]).reshape(X.shape))

    def nearest(self, X: Array) -> Array:
        return self.rows(self.counts(X))

    def off(self, X: Matrix) -> Array:
        if self.least is not None and self.least.any():  # a word that each row has
            return super().off(X)
        rows = sp.csr_array(X)
        worst = self._off_of_rare(rows)
        others = np.flatnonzero(worst > _ROUNDING)
        worst[others] = super().off(rows[others])
        return worst

    def _off_of_rare(self, X: Any) -> Array:
        """The same of the texts in which some word stands once, and infinity or more than that of all others."""
        worst = np.zeros(X.shape[0])
        used = np.flatnonzero(np.diff(X.indptr))
        if not used.size:
            return worst
        starts, place = X.indptr[used], np.repeat(np.arange(used.size), np.diff(X.indptr)[used])
        weight = X.data / self.scale[X.indices]
        least = np.minimum.reduceat(weight, starts)
        if self.norm is not None:
            weight = weight / np.maximum(least, _LEAST)[place]
        counts = np.round(np.exp(np.minimum(weight - 1.0, _LARGE)) if self.sublinear else weight)
        values = self._weighted(counts) * self.scale[X.indices]
        if self.norm is not None:
            sums = np.add.reduceat(values**2 if self.norm == "l2" else np.abs(values), starts)
            values = values / (np.sqrt(sums) if self.norm == "l2" else sums)[place]
        bad = (X.data <= 0) | ~self.usable[X.indices]
        if self.greatest is not None:
            bad |= counts > self.greatest[X.indices]
        off = np.where(bad, np.inf, np.abs(values - X.data) / np.maximum(1.0, np.abs(X.data)))
        worst[used] = np.maximum.reduceat(off, starts)
        worst[used[np.add.reduceat(counts, starts) > self.longest]] = np.inf
        return worst

    def bounds(self) -> tuple[Array, Array]:
        most = np.full(self.scale.size, 1.0)
        if self.norm is None:
            longest = self._kept(np.full((1, self.scale.size), float(self.longest)))
            most = self._weighted(longest)[0] * self.scale
        least = self._weighted(self._kept(np.zeros((1, self.scale.size))))[0] * self.scale
        return least, np.where(self.usable, most, 0.0)

    @property
    def count_limit(self) -> float | None:
        plain = self.norm is None and not self.sublinear and bool((self.scale == 1).all())
        return (1.0 if self.binary else float("inf")) if plain else None

    @property
    def radius(self) -> float:
        return 1.0 if self.norm == "l2" else float("inf")

    def _counted(self, row: Array) -> Array:
        """Of several lengths of the text, each rounded, the one whose features lie nearest."""
        found = np.zeros(row.size)
        words = np.flatnonzero((row > 0) & self.usable)
        weight = row[words] / self.scale[words]
        words = words[weight > _TINY * weight.max(initial=0.0)]
        if not words.size:
            return found
        weight = row[words] / self.scale[words]
        order = np.argsort(-weight, kind="stable")[: self.longest]
        words, weight = words[order], weight[order]
        part = replace(
            self,
            columns=words,
            scale=self.scale[words],
            usable=np.ones(words.size, dtype=bool),
            least=None,
            greatest=None,
        )
        goal = row[words] / (self._length(row[None, :])[0] if self.norm else 1.0)
        best, least = np.zeros(words.size), np.inf
        for factor in self._factors(weight):
            counts = part._rounded(weight * factor)
            off = float(np.linalg.norm(part.rows(counts[None, :])[0] - goal))
            if off < least:
                best, least = counts, off
            if least < 1e-12:
                break
        found[words] = best
        return found

    def _factors(self, weight: Array) -> Array:
        """What weights are multiplied by: the rarest word once, twice, ..., or the most frequent one."""
        if self.norm is None:
            return np.ones(1)
        copies = np.arange(1.0, _FINE + 1)
        marks = 1.0 + np.log(copies) if self.sublinear else copies
        return np.concatenate([marks[:3] / weight.min(), marks / weight.max()])

    def _rounded(self, values: Array) -> Array:
        """Whole copies of such values, most frequent words first, as many as a text has room for."""
        exact = np.exp(values - 1.0) if self.sublinear else values
        counts = np.round(exact)
        if self.binary:
            counts = np.minimum(counts, 1.0)
        before = np.concatenate([[0.0], np.cumsum(counts)[:-1]])
        return np.asarray(np.minimum(counts, np.maximum(self.longest - before, 0.0)))


def dense(X: Matrix) -> Array:
    """Rows as a dense array, which is the same one if it is dense and of float64."""
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=np.float64)


def lowest_and_highest(parts: Any, d: int) -> tuple[Array, Array]:
    """Bounds of all features."""
    lower, upper = np.full(d, -np.inf), np.full(d, np.inf)
    for part in parts:
        lower[part.columns], upper[part.columns] = part.bounds()
    return lower, upper
