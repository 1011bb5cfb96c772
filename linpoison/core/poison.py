"""Poison rows with their copies, and the file format they travel in."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from .archives import CSR_PARTS, arrays_writer, csr_of, parts_of, read_arrays
from .dataset import Dataset
from .domain import Domain
from .errors import InputError
from .validation import Array, Matrix, as_labels, as_matrix, as_weights
from .writing import write_file

MOST_COPIES = 1e15
"""Whole numbers below are exact in floating point."""


@dataclass(frozen=True, eq=False)
class Poison:
    """Distinct poison rows, each with a number of copies.

    Parameters
    ----------
    X : array_like or sparse, shape (k, d)
    y : array_like, shape (k,)
        Labels in {-1, +1}, or codes.
    count : array_like, shape (k,)
        Copies: whole numbers in a deployable poison, any weights in a relaxed one.
    n_classes : int, optional
        Of labels that are codes, see `Dataset`.

    Examples
    --------
    >>> poison = Poison([[1.0, 0.0], [0.0, 1.0]], [1, -1], [3, 2])
    >>> poison.total, poison.n_distinct, poison.relaxed
    (5.0, 2, False)
    """

    X: Matrix
    y: Array
    count: Array
    n_classes: int | None = None

    def __post_init__(self) -> None:
        X = as_matrix(self.X, "poison X", allow_empty=True)
        object.__setattr__(self, "X", X)
        object.__setattr__(self, "y", as_labels(self.y, X.shape[0], self.n_classes))
        object.__setattr__(self, "count", as_weights(self.count, X.shape[0], "count"))
        if self.count.sum() > MOST_COPIES:
            raise InputError(f"at most {MOST_COPIES:g} copies of poison rows", f"{self.count.sum():g}")

    @property
    def total(self) -> float:
        """Sum of the copies."""
        return float(self.count.sum())

    @property
    def n_distinct(self) -> int:
        """Number of rows that have at least one copy."""
        return int((self.count > 0).sum())

    @property
    def relaxed(self) -> bool:
        """Whether some copies are fractional, so that the poison cannot be planted as it is."""
        return bool((self.count != np.round(self.count)).any())

    def as_dataset(self, domain: Domain | None = None) -> Dataset:
        """The distinct rows, weighted by their copies."""
        return Dataset(self.X, self.y, self.count, domain or Domain.real(), name="poison", n_classes=self.n_classes)

    def expanded(self) -> Dataset:
        """One row per copy, in order."""
        if self.relaxed:
            raise InputError("whole copies", "fractional ones", "Round the poison first.")
        index = np.repeat(np.arange(self.y.size), self.count.astype(int))
        return Dataset(self.X[index], self.y[index], name="poison", n_classes=self.n_classes)

    def merged(self) -> Poison:
        """The same poison with equal rows of one label merged and rows of no copies dropped.

        Rows are in the order of their labels, and of their entries from the first on.
        """
        used = self.count > 0
        X, y, count = self.X[used], self.y[used], self.count[used]
        if not y.size:
            return replace(self, X=X, y=y, count=count)
        if sp.issparse(X):
            keys, first, inverse = np.unique(_sparse_keys(X, y), return_index=True, return_inverse=True)
        else:
            keys, first, inverse = np.unique(np.column_stack([y, X]), axis=0, return_index=True, return_inverse=True)
        merged = np.bincount(inverse.ravel(), weights=count, minlength=len(keys)).astype(np.float64)
        return replace(self, X=X[first], y=y[first], count=merged)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file without pickles, whole or not at all.

        Arrays: ``y`` in {-1, +1}, or codes beside ``n_classes``; ``count`` integers; and ``X`` dense or ``data``,
        ``indices``, ``indptr``, ``shape`` of a CSR matrix.
        """
        write_file(path, self.write)

    def write(self, stream: BinaryIO, **words: Any) -> None:
        """Write the file of `save` to an open stream; `words` are more arrays, which `load` passes over."""
        count = self.count if self.relaxed else self.count.astype(np.int64)
        coded = {} if self.n_classes is None else {"n_classes": np.array(self.n_classes)}
        y = self.y.astype(np.int8 if self.n_classes is None else np.int64)
        arrays_writer({"y": y, "count": count, **coded, **parts_of(self.X), **words})(stream)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Poison:
        """Read a file that `save` or another tool wrote in the same format."""
        arrays = read_arrays(path, "a poison file (.npz without pickles)", remedy=_FORMAT)
        if "y" not in arrays:
            raise InputError("a poison file with an array 'y'", f"the arrays {sorted(arrays)}", _FORMAT)
        X = _matrix_of(arrays)
        count = arrays.get("count", np.ones(np.size(arrays["y"])))
        coded = {"n_classes": arrays["n_classes"].item()} if np.size(arrays.get("n_classes", ())) == 1 else {}
        return cls(X, arrays["y"], count, **coded)


def _sparse_keys(X: Any, y: Array) -> Any:
    """One string of bytes for each row, ordered as label and dense row are, without making rows dense.

    An entry is its sign, its column (a positive entry is greater the earlier it comes, a negative one less) and
    its value in bits that are ordered as numbers are.
    """
    X.eliminate_zeros()
    X.sort_indices()
    positive = X.data > 0
    entries = np.empty((X.data.size, 13), dtype=np.uint8)
    entries[:, 0] = np.where(positive, 2, 0)
    column = np.where(positive, np.iinfo(np.uint32).max - X.indices.astype(np.int64), X.indices)
    entries[:, 1:5] = column.astype(">u4")[:, None].view(np.uint8)
    bits = X.data.view(np.uint64)
    entries[:, 5:] = np.where(positive, bits, ~bits).astype(">u8")[:, None].view(np.uint8)
    text = entries.tobytes()
    ends = 13 * X.indptr.astype(np.int64)
    labels = (int(label + 1).to_bytes(4) for label in y)
    keys = [label + text[start:stop] + b"\1" for label, start, stop in zip(labels, ends[:-1], ends[1:], strict=True)]
    return np.array(keys, dtype=object)


_FORMAT = "See the poison file format in docs/files.md."


def _matrix_of(arrays: dict[str, Any]) -> Matrix:
    if "X" in arrays:
        return arrays["X"]
    if not all(part in arrays for part in CSR_PARTS):
        raise InputError("an array 'X', or data, indices, indptr and shape", f"the arrays {sorted(arrays)}", _FORMAT)
    return csr_of(arrays, "the poison file", _FORMAT)
