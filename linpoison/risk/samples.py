"""Rows of whatever kind with labels, weights and annotations: what risks, trainers and matchers are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core import Dataset, Domain, InputError, as_weights, check_number, check_seed, stack_rows
from ..core.validation import Array
from .arrays import count_rows, stacked, take_rows, to_numpy


@dataclass(frozen=True, eq=False)
class Sample:
    """Weighted rows of any shape, and what else is known of each.

    Parameters
    ----------
    X : array_like, CSR or tensor, shape (n, ...), or torch Dataset
        Feature vectors, or images and the like for networks. CSR stays CSR; a data frame becomes an array, of numbers
        if all its columns are. A map-style Dataset gives (x, y) for each whole number below its length; `y` is left out
        then. Whole numbers, such as tokens, stay whole where the model takes them.
    y : array_like or tensor, shape (n,), optional
        Labels of any kind; as numbers for a `LinearRisk`.
    weights : array_like, shape (n,), optional
        Copies of each row, one each by default.
    annotations : mapping of str to array_like of shape (n,)
        Attributes that the learner need not see, such as a group or an age.
    feature_names : sequence of str, optional
        One for each column; those of a data frame by default, if they are text.

    Raises
    ------
    InputError
        For labels, weights, annotations or names of another shape.

    Examples
    --------
    >>> Sample(np.zeros((3, 2)), np.ones(3), [1, 1, 2]).total
    4.0
    >>> people = Sample([[0.0], [1.0]], [-1, 1], annotations={"age": [30, 60]})
    >>> people.take([1]).annotations["age"]
    array([60])
    """

    X: Any
    y: Any = None
    weights: Any = None
    annotations: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    feature_names: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        names = _column_names(self.X) if self.feature_names is None else tuple(self.feature_names)
        if isinstance(self.feature_names, str) or not all(isinstance(name, str) for name in names or ()):
            raise InputError("feature names that are text, one for each column", repr(self.feature_names))
        object.__setattr__(self, "X", _rows_of(self.X))
        object.__setattr__(self, "feature_names", names)
        if isinstance(self.y, (list, tuple)):
            object.__setattr__(self, "y", np.asarray(self.y))
        if self.y is None and hasattr(self.X, "shape"):
            raise InputError("labels y with an array X", "none")
        if hasattr(self.y, "to_numpy"):
            object.__setattr__(self, "y", self.y.to_numpy())
        if self.y is not None and (np.ndim(self.y) == 0 or len(self.y) != self.n):
            raise InputError(f"{self.n} labels, one for each row", f"{len(self.y) if np.ndim(self.y) else 'one'}")
        if self.weights is not None:
            object.__setattr__(self, "weights", as_weights(_numbers(self.weights), self.n))
        object.__setattr__(self, "annotations", {name: np.asarray(v) for name, v in self.annotations.items()})
        for name, values in self.annotations.items():
            if values.shape != (self.n,):
                raise InputError(f"{name} of shape ({self.n},), one for each row", f"shape {values.shape}")
        if names is not None and (len(self.X.shape) != 2 or len(names) != self.X.shape[1]):
            raise InputError("feature names, one for each column", f"{len(names)} for X of shape {self.X.shape}")

    @classmethod
    def of(cls, data: Dataset) -> Sample:
        """The rows of a `Dataset`, with their weights and names."""
        return cls(data.X, data.y, data.weight, feature_names=data.feature_names)

    @property
    def n(self) -> int:
        """Number of distinct rows."""
        return count_rows(self.X)

    @property
    def mass(self) -> Array:
        """Copies of each row, shape (n,)."""
        return np.ones(self.n) if self.weights is None else np.asarray(self.weights)

    @property
    def total(self) -> float:
        """Number of rows, copies counted."""
        return float(self.mass.sum())

    def take(self, index: Any) -> Sample:
        """The rows given by an index array or a boolean mask, as arrays."""
        index = np.asarray(index)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.intp)
        annotations = {name: v[index] for name, v in self.annotations.items()}
        return Sample(*take_rows(self.X, self.y, index), self.mass[index], annotations, self.feature_names)

    def drawn(self, m: int, seed: int) -> Sample:
        """`m` of the rows with their labels, one copy each: different ones, unless there are fewer than `m`."""
        rng = np.random.default_rng(check_seed(seed))
        rows = self.take(rng.choice(self.n, size=m, replace=m > self.n))
        return Sample(rows.X, rows.y)

    def held_out(self, fraction: float, seed: int) -> tuple[Sample, Sample]:
        """The rows in two disjoint parts; the second has this fraction of them."""
        check_number(fraction, "fraction", above=0, below=1)
        order = np.random.default_rng(check_seed(seed)).permutation(self.n)
        cut = self.n - round(fraction * self.n)
        if cut in (0, self.n):
            raise InputError("at least one row in each part", f"{self.n} rows and the fraction {fraction:g}")
        return self.take(order[:cut]), self.take(order[cut:])

    def mix(self, other: Sample) -> Sample:
        """These rows, then those of `other`, without annotations: what a learner trains on.

        Raises
        ------
        InputError
            If both have names of columns, and not the same.
        """
        names = self.feature_names or other.feature_names
        if None not in (self.feature_names, other.feature_names) and self.feature_names != other.feature_names:
            raise InputError(f"rows of the columns {self.feature_names}", f"{other.feature_names}", "Order them alike.")
        y, weights = np.concatenate([self.y, other.y]), np.concatenate([self.mass, other.mass])
        return Sample(stack_rows(self.X, other.X), y, weights, feature_names=names)

    def dataset(self, domain: Domain | None = None) -> Dataset:
        """As a `Dataset`, for labels in {-1, +1}."""
        return Dataset(self.X, self.y, self.mass, domain or Domain.real(), feature_names=self.feature_names)

    def joined(self, other: Sample, risk: Any) -> Sample:
        """These rows and then the others, as arrays of the kind of `risk`."""
        first, second = self.take(range(self.n)), other.take(range(other.n))
        both = (risk.rows(first.X), risk.rows(second.X))
        X = stacked(*both)
        y = np.concatenate([_labels(first.y), _labels(second.y)])
        return Sample(X, y, np.concatenate([first.mass, second.mass]))


@dataclass(frozen=True, eq=False)
class Held:
    """Weighted rows where a risk computes.

    Parameters
    ----------
    X : ndarray or tensor
    y : vector
        Labels as the loss takes them.
    mass : vector
        Copies of each row.
    total : float
        Their sum, on the host.
    """

    X: Any
    y: Any
    mass: Any
    total: float

    def take(self, index: Any, total: float) -> Held:
        """Some of the rows, by a slice or by numbers of the kind of the rows, and what they weigh."""
        return Held(self.X[index], self.y[index], self.mass[index], total)

    def joined(self, other: Held) -> Held:
        """These rows and then the others."""
        X, y, mass = stacked(self.X, other.X), stacked(self.y, other.y), stacked(self.mass, other.mass)
        return Held(X, y, mass, self.total + other.total)


def _numbers(weights: Any) -> Array:
    """Weights on the host."""
    try:
        return to_numpy(weights)
    except (TypeError, ValueError):
        remedy = "What else is known of rows goes into annotations=."
        raise InputError("weights that are numbers, one for each row", type(weights).__name__, remedy) from None


def _rows_of(X: Any) -> Any:
    """Lists and data frames as arrays, sparse rows as CSR, anything else as it is."""
    if isinstance(X, (list, tuple)):
        return _array(X)
    if sp.issparse(X):
        return sp.csr_array(X) if X.ndim == 2 else X
    if not hasattr(X, "to_numpy"):
        return X
    rows = X.to_numpy()
    kinds = {getattr(kind, "kind", "O") for kind in getattr(X, "dtypes", ["O"])} if rows.dtype == object else {"f"}
    if kinds <= set("biuf") and hasattr(X, "columns"):  # numbers, some of them missing
        return np.asarray(X.to_numpy(dtype=np.float64, na_value=np.nan))
    return rows


def _column_names(X: Any) -> tuple[str, ...] | None:
    """Of a data frame whose columns all have text for a name."""
    names = tuple(X.columns) if hasattr(X, "to_numpy") and hasattr(X, "columns") else ()
    return names if names and all(isinstance(name, str) for name in names) else None


def _array(rows: Any) -> Any:
    """Rows as one array: whole numbers stay whole."""
    try:
        found = np.asarray(rows)
    except ValueError as error:
        raise InputError("rows X of one length", str(error)[:80]) from None
    if found.dtype.kind not in "biuf":
        raise InputError("rows X as an array of numbers", f"{found.dtype}")
    return found


def _labels(y: Any) -> Any:
    return y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
