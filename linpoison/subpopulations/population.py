"""Labelled rows with annotations, and the three disjoint parts that a subpopulation attack is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core import Dataset, Domain, InputError, check_integer

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Population:
    """Rows of any shape, labels of any kind, and what else is known of each row.

    Parameters
    ----------
    X : array_like or CSR, shape (n, ...)
        Rows: feature vectors, or images and the like for networks. CSR stays CSR; a data frame becomes an array,
        of numbers if all its columns are.
    y : array_like, shape (n,)
    annotations : mapping of str to array_like of shape (n,)
        Attributes that the learner need not see, such as a group or an age.
    feature_names : sequence of str, optional
        One for each column; those of a data frame by default, if they are text.

    Raises
    ------
    InputError
        For labels, annotations or names of another shape.

    Examples
    --------
    >>> people = Population([[0.0], [1.0]], [-1, 1], {"age": [30, 60]})
    >>> people.take([1]).annotations["age"]
    array([60])
    """

    X: Any
    y: NDArray[Any]
    annotations: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    feature_names: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        names = _column_names(self.X) if self.feature_names is None else tuple(self.feature_names)
        if isinstance(self.feature_names, str) or not all(isinstance(name, str) for name in names or ()):
            raise InputError("feature names that are text, one for each column", repr(self.feature_names))
        object.__setattr__(self, "X", _rows_of(self.X))
        object.__setattr__(self, "feature_names", names)
        object.__setattr__(self, "y", np.asarray(self.y))
        object.__setattr__(self, "annotations", {name: np.asarray(v) for name, v in self.annotations.items()})
        for name, values in {"y": self.y, **self.annotations}.items():
            if values.shape != (self.n,):
                raise InputError(f"{name} of shape ({self.n},), one for each row", f"shape {values.shape}")
        if names is not None and (len(self.X.shape) != 2 or len(names) != self.X.shape[1]):
            raise InputError("feature names, one for each column", f"{len(names)} for X of shape {self.X.shape}")

    @classmethod
    def of(cls, data: Dataset, annotations: Mapping[str, Any] | None = None) -> Population:
        """The rows of a `Dataset`, whose weights must be one."""
        if (data.weight != 1).any():
            raise InputError("rows of weight one", "other weights", "Repeat the rows.")
        return cls(data.X, data.y, annotations or {}, data.feature_names)

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    def take(self, rows: Any) -> Population:
        """The rows given by an index array or a boolean mask."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.intp)
        annotations = {name: v[index] for name, v in self.annotations.items()}
        return Population(self.X[index], self.y[index], annotations, self.feature_names)

    def mix(self, other: Population) -> Population:
        """These rows, then those of `other`, without annotations: what a learner trains on.

        Raises
        ------
        InputError
            If both have names of columns, and not the same.
        """
        names = self.feature_names or other.feature_names
        if None not in (self.feature_names, other.feature_names) and self.feature_names != other.feature_names:
            raise InputError(f"rows of the columns {self.feature_names}", f"{other.feature_names}", "Order them alike.")
        if sp.issparse(self.X):
            X: Any = sp.csr_array(sp.vstack([self.X, sp.csr_array(other.X)]))
        else:
            X = np.concatenate([self.X, other.X.toarray() if sp.issparse(other.X) else other.X])
        return Population(X, np.concatenate([self.y, other.y]), feature_names=names)

    def dataset(self, domain: Domain | None = None) -> Dataset:
        """As a `Dataset`, for labels in {-1, +1}."""
        return Dataset(self.X, self.y, domain=domain or Domain.real(), feature_names=self.feature_names)


def _rows_of(X: Any) -> Any:
    """Lists and data frames as arrays, sparse rows as CSR, anything else as it is."""
    if sp.issparse(X):
        return sp.csr_array(X)
    if not hasattr(X, "to_numpy"):
        return np.asarray(X) if isinstance(X, (list, tuple)) else X
    rows = X.to_numpy()
    kinds = {getattr(kind, "kind", "O") for kind in getattr(X, "dtypes", ["O"])} if rows.dtype == object else {"f"}
    if kinds <= set("biuf") and hasattr(X, "columns"):  # numbers, some of them missing
        return np.asarray(X.to_numpy(dtype=np.float64, na_value=np.nan))
    return rows.astype(np.float64) if rows.dtype.kind in "biuf" else rows


def _column_names(X: Any) -> tuple[str, ...] | None:
    """Of a data frame whose columns all have text for a name."""
    names = tuple(X.columns) if hasattr(X, "to_numpy") and hasattr(X, "columns") else ()
    return names if names and all(isinstance(name, str) for name in names) else None


@dataclass(frozen=True, eq=False)
class Parts:
    """Training rows (the defender's), auxiliary rows (all that the attacker sees) and test rows, disjoint.

    Parameters
    ----------
    train, auxiliary, test : Population
    rows : tuple of three ndarrays of int, optional
        Where they come from in the whole.

    References
    ----------
    Jagielski et al., "Subpopulation data poisoning attacks", 2021, section 3.1.
    """

    train: Population
    auxiliary: Population
    test: Population
    rows: tuple[Index, Index, Index] | None = None

    def __post_init__(self) -> None:
        if self.rows is None:
            return
        together = np.concatenate(self.rows)
        if np.unique(together).size != together.size:
            raise InputError("disjoint train, auxiliary and test rows", "a row that is in two of them")


def three_parts(whole: Population, sizes: Sequence[float], seed: int = 0) -> Parts:
    """Draw training, auxiliary and test rows without replacement.

    Parameters
    ----------
    whole : Population
    sizes : three numbers
        Whole numbers of rows, or fractions of all rows that add up to at most 1.
    seed : int

    Raises
    ------
    InputError
        If there are not enough rows, or a part would be empty.

    Examples
    --------
    >>> parts = three_parts(Population(np.zeros((10, 1)), np.arange(10)), (0.4, 0.4, 0.2))
    >>> parts.train.n, parts.auxiliary.n, parts.test.n
    (4, 4, 2)
    """
    if len(sizes) != 3:
        raise InputError("three sizes: train, auxiliary, test", f"{len(sizes)}")
    fractions = all(0 < size < 1 for size in sizes)
    if fractions:
        counts = np.diff(np.round(np.cumsum([0.0, *sizes]) * whole.n).astype(int)).tolist()
    else:
        counts = [check_integer(size, "a size", at_least=1) for size in sizes]
    if min(counts) < 1 or sum(counts) > whole.n:
        raise InputError(f"three parts of {whole.n} rows, none empty", f"sizes {counts}")
    order = np.random.default_rng(seed).permutation(whole.n)
    ends = np.cumsum(counts)
    rows = (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] : ends[2]])
    train, auxiliary, test = (whole.take(part) for part in rows)
    return Parts(train, auxiliary, test, rows)
