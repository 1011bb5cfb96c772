"""Labelled rows, and the train / test pair that an audit works on."""

from __future__ import annotations

import hashlib
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .domain import Domain, parse_domain
from .errors import CapabilityError, InputError
from .parts import dense
from .validation import LABELS, Array, Codes, Matrix, as_labels, as_matrix, as_weights, label_array


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled rows with weights.

    Parameters
    ----------
    X : array_like or sparse, shape (n, d)
        Features; stored as a dense float64 array or as a float64 ``csr_array``. CSR stays CSR.
    y : array_like, shape (n,)
        Labels in {-1, +1}; with `n_classes` in {0, ..., k - 1}.
    weight : array_like, shape (n,), optional
        Copies of each row (whole or fractional), one by default.
    domain : Domain, optional
        The space the rows live in, R^d by default.
    name : str
    feature_names : tuple of str, optional
        One for each column.
    image_shape : tuple of int, optional
        ``(height, width)`` if a row is an image.
    row_numbers : array_like of int, shape (n,), optional
        Numbers of the rows in the user's file, from 0, a header not counted. Without them a row is its position.
    classes : tuple, optional
        The user's label values for -1 and +1, or for each code.
    label_name : str, optional
        The user's name of the label column.
    n_classes : int, optional
        ``k``, for labels that are codes. Without it there are two classes, whose labels are signs.

    Examples
    --------
    >>> data = Dataset([[0.0], [2.0]], [-1, 1])
    >>> data.n, data.d, data.k, data.total
    (2, 1, 2, 2.0)
    >>> Dataset.coded([[0.0], [1.0], [2.0]], [0, 1, 2]).labels
    (0.0, 1.0, 2.0)
    """

    X: Matrix
    y: Array
    weight: Array = field(default=None)  # type: ignore[arg-type]
    domain: Domain = field(default_factory=Domain.real)
    name: str = "data"
    feature_names: tuple[str, ...] | None = field(default=None, repr=False)
    image_shape: tuple[int, int] | None = field(default=None, repr=False)
    row_numbers: NDArray[np.int64] | None = field(default=None, repr=False)
    classes: tuple[Any, ...] | None = field(default=None, repr=False)
    label_name: str | None = field(default=None, repr=False)
    n_classes: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        X = as_matrix(self.X, allow_empty=True)
        n = X.shape[0]
        y = as_labels(self.y, n, self.n_classes)
        for name, value in (("X", X), ("y", y), ("weight", as_weights(self.weight, n))):
            object.__setattr__(self, name, _read_only(value))
        if self.domain.upper is not None and self.domain.upper.size != X.shape[1]:
            raise InputError(f"a domain of {X.shape[1]} features", f"one of {self.domain.upper.size}")
        if self.feature_names is not None and len(self.feature_names) != X.shape[1]:
            raise InputError(f"{X.shape[1]} feature names", f"{len(self.feature_names)}")
        if self.image_shape is not None and int(np.prod(self.image_shape)) != X.shape[1]:
            raise InputError(f"an image shape of {X.shape[1]} pixels", f"{self.image_shape}")
        if self.row_numbers is not None:
            numbers = np.asarray(self.row_numbers, dtype=np.int64)
            if numbers.shape != (n,):
                raise InputError(f"{n} row numbers", f"shape {numbers.shape}")
            object.__setattr__(self, "row_numbers", _read_only(numbers))

    @classmethod
    def coded(cls, X: Any, y: Any, weight: Any = None, n_classes: int | None = None, **more: Any) -> Dataset:
        """Rows with labels 0 to k - 1; k is one more than the largest of them by default, and 2 at least."""
        labels = label_array(y)
        least = int(labels.max()) + 1 if labels.size and labels.dtype.kind in "biu" else 2
        return cls(X, y, weight, n_classes=max(least, 2) if n_classes is None else n_classes, **more)

    @property
    def k(self) -> int:
        """Number of classes."""
        return 2 if self.n_classes is None else self.n_classes

    @property
    def labels(self) -> tuple[float, ...]:
        """Every label that a row can have."""
        return LABELS[::-1] if self.n_classes is None else tuple(map(float, range(self.n_classes)))

    @property
    def codes(self) -> Codes:
        """For each row the place of its label among `labels`, shape (n,)."""
        return np.asarray((self.y > 0) if self.n_classes is None else self.y, dtype=np.intp)

    @property
    def n(self) -> int:
        """Number of stored rows."""
        return int(self.X.shape[0])

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.X.shape[1])

    @property
    def total(self) -> float:
        """Sum of the weights: the number of rows when copies are counted."""
        return float(self.weight.sum())

    @property
    def is_sparse(self) -> bool:
        """Whether `X` is CSR."""
        return sp.issparse(self.X)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Row numbers of the user's file, or positions, shape (n,)."""
        return np.arange(self.n, dtype=np.int64) if self.row_numbers is None else self.row_numbers

    def positions(self, numbers: Any, what: str = "test") -> NDArray[np.intp]:
        """Positions of rows by their numbers, see `numbers`; `what` is what errors call the rows.

        Raises
        ------
        InputError
            If there is no such row here.
        """
        place = {int(number): position for position, number in enumerate(self.numbers)}
        lost = next((int(number) for number in numbers if int(number) not in place), None)
        if lost is None:
            return np.array([place[int(number)] for number in numbers], dtype=np.intp)
        if self.row_numbers is None:
            raise InputError(f"numbers of {what} rows below {self.n}", str(lost))
        some = ", ".join(map(str, self.row_numbers[:5])) + (", ..." if self.n > 5 else "")
        raise InputError(
            f"row numbers of the file among its {self.n} {what} rows ({some})", str(lost),
            "Rows are counted from 0, a header not counted; pick others, or give the test rows as a file of their own.",
        )  # fmt: skip

    def label_values(self, y: Any) -> list[Any]:
        """The user's label values of labels (an array of shape (m,)); whole numbers where there are none."""
        values = dict(zip(self.labels, map(int, self.labels) if self.classes is None else self.classes, strict=True))
        return [values[label] for label in np.asarray(y).tolist()]

    def take(self, rows: Any) -> Dataset:
        """The rows given by an index array or a boolean mask."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.intp)
        numbers = None if self.row_numbers is None else self.row_numbers[index]
        X = self.X[index] if self.is_sparse else self.X.take(index, axis=0)  # half the time of an index
        return self._with_rows(X, self.y[index], self.weight[index], numbers)

    def of_class(self, label: float) -> Dataset:
        """The rows of one label."""
        return self.take(self.y == label)

    def mix(self, other: Dataset) -> Dataset:
        """These rows followed by the rows of `other`, without row numbers; the domain and names are these."""
        if other.d != self.d:
            raise InputError(f"rows of {self.d} features", f"{other.d} features")
        if other.n_classes != self.n_classes:
            raise InputError(f"rows of {self.k} classes", f"{other.k} classes", "Say n_classes where rows are made.")
        y, weight = np.concatenate([self.y, other.y]), np.concatenate([self.weight, other.weight])
        return self._with_rows(stack_rows(self.X, other.X), y, weight, None)

    def _with_rows(self, X: Matrix, y: Array, weight: Array, numbers: NDArray[np.int64] | None) -> Dataset:
        """New rows that were checked when the data were made that they come from."""
        other = copy(self)
        for name, value in (("X", X), ("y", y), ("weight", weight), ("row_numbers", numbers)):
            object.__setattr__(other, name, None if value is None else _read_only(value))
        return other

    def require_all_classes(self, what: str = "training data") -> None:
        """Raise unless rows of every label are present."""
        present = np.count_nonzero(np.bincount(self.codes[self.weight > 0]))
        if present == self.k:
            return
        if self.n_classes is not None:
            raise InputError(f"{what} with rows of each of {self.k} classes", f"rows of {present}")
        got = f"{self.n} rows of one class" if self.n else "no rows"
        raise InputError(f"{what} with rows of both classes", got, "Check the label column.")

    def require_both_classes(self, what: str = "training data") -> None:
        """Raise unless labels are signs, of either of which there are rows."""
        if self.n_classes is not None:
            raise CapabilityError(
                f"{what} of two classes", f"{self.k} classes", "Keep two of the classes, or merge them into two."
            )
        self.require_all_classes(what)

    def digest(self) -> str:
        """SHA-256 of shape, rows, labels and weights, equal for equal data in the same storage."""
        classes = "" if self.n_classes is None else f" {self.n_classes}"
        code = hashlib.sha256(f"{self.X.shape} {self.is_sparse}{classes}".encode())
        arrays = [self.X.data, self.X.indices, self.X.indptr] if self.is_sparse else [self.X]
        for array in (*arrays, self.y, self.weight):
            dtype = np.int64 if np.issubdtype(array.dtype, np.integer) else np.float64
            code.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
        return code.hexdigest()


@dataclass(frozen=True, eq=False)
class Split:
    """Training rows and test rows of one problem."""

    train: Dataset
    test: Dataset

    def __post_init__(self) -> None:
        if self.train.d != self.test.d:
            raise InputError(f"test rows of {self.train.d} features", f"{self.test.d} features")
        if self.test.n == 0:
            raise InputError("at least one test row", "none")
        self.train.require_all_classes()

    @property
    def name(self) -> str:
        """Name of the data."""
        return self.train.name

    def in_domain(self, word: str) -> Split:
        """The rows in another domain, see `Domain.of`; bounds are those of the training rows, counts stay whole."""
        train, (kind, factor) = self.train, parse_domain(word)
        if train.domain.parts and kind == "range":
            domain = train.domain.within(train.X, factor or 1.0)
        else:
            domain = Domain.of(word, train.X, self.test.X, integral=train.domain.integral)
        return Split(replace(self.train, domain=domain), replace(self.test, domain=domain))


def label_texts(n_classes: int | None) -> dict[float, str]:
    """How labels are written: "+1" and "-1", or the codes.

    Examples
    --------
    >>> label_texts(None), label_texts(3)
    ({1.0: '+1', -1.0: '-1'}, {0.0: '0', 1.0: '1', 2.0: '2'})
    """
    if n_classes is None:
        return {label: f"{label:+g}" for label in LABELS}
    return {float(code): str(code) for code in range(n_classes)}


def stack_rows(top: Matrix, bottom: Matrix) -> Matrix:
    """Rows of `top` over rows of `bottom`, in the storage of `top`."""
    if sp.issparse(top):
        return sp.csr_array(sp.vstack([top, sp.csr_array(bottom)]))
    return np.concatenate([top, dense(bottom)])


def _read_only(value: Matrix) -> Matrix:
    if sp.issparse(value):
        return value
    value = value.view()
    value.setflags(write=False)
    return value
