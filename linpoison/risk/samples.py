"""Rows with labels and weights, of whatever kind: what attacks and trainers of this room are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import InputError, as_weights, check_number, check_seed
from ..core.validation import Array
from .arrays import count_rows, stacked, take_rows, to_numpy


@dataclass(frozen=True, eq=False)
class Sample:
    """Weighted rows.

    Parameters
    ----------
    X : array_like or tensor, shape (n, ...), or torch Dataset
        A map-style Dataset gives (x, y) for each whole number below its length; `y` is left out then. Whole numbers,
        such as tokens, stay whole where the model takes them.
    y : array_like or tensor, shape (n,), optional
        Labels of any kind for a `TorchRisk`; as numbers for a `LinearRisk`.
    weights : array_like, shape (n,), optional
        Copies of each row, one each by default.

    Examples
    --------
    >>> Sample(np.zeros((3, 2)), np.ones(3), [1, 1, 2]).total
    4.0
    """

    X: Any
    y: Any = None
    weights: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.X, (list, tuple)):
            object.__setattr__(self, "X", _array(self.X))
        if isinstance(self.y, (list, tuple)):
            object.__setattr__(self, "y", np.asarray(self.y))
        if self.y is None and hasattr(self.X, "shape"):
            raise InputError("labels y with an array X", "none")
        if hasattr(self.y, "to_numpy"):
            object.__setattr__(self, "y", self.y.to_numpy())
        if hasattr(self.X, "to_numpy"):
            object.__setattr__(self, "X", self.X.to_numpy())
        if self.y is not None and (np.ndim(self.y) == 0 or len(self.y) != self.n):
            raise InputError(f"{self.n} labels, one for each row", f"{len(self.y) if np.ndim(self.y) else 'one'}")
        if self.weights is not None:
            object.__setattr__(self, "weights", as_weights(to_numpy(self.weights), self.n))

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
        """Some of the rows, as arrays."""
        return Sample(*take_rows(self.X, self.y, index), self.mass[np.asarray(index, dtype=np.intp)])

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
