"""Rows for the command line: embedded digits, MNIST, or a user's arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from linpoison.core import Dataset, Domain, InputError
from linpoison.core.archives import read_arrays
from linpoison.core.validation import as_whole

MOST_CLASSES = 100_000
"""A network has an output for each class up to the largest label."""
_ARRAYS = ("X_train", "y_train", "X_test", "y_test")


@dataclass(frozen=True, eq=False)
class Task:
    """Rows to learn from and to test on.

    Parameters
    ----------
    train, test : Dataset
        Flat rows, in the range of the entries of the training rows: [0, 1] for images. Labels from 0.
    shape : tuple of int
        Of a row.
    """

    train: Dataset
    test: Dataset
    shape: tuple[int, ...]

    @property
    def low(self) -> float:
        """The least entry of the training rows."""
        return float(self.train.X.min())

    @property
    def high(self) -> float:
        """The greatest."""
        return float(self.train.X.max())

    def aimed(self, numbers: str) -> Task:
        """The same with some of the test rows alone, by a comma list of numbers from 0."""
        words = numbers.split(",")
        if not all(word.isascii() and word.isdigit() for word in words):
            raise InputError("numbers of test rows with commas between them", repr(numbers))
        index = [as_whole(word) for word in words]
        if len(set(index)) < len(index):
            raise InputError("different test rows", repr(numbers))
        if max(index) >= self.test.n:
            raise InputError(f"test rows from 0 to {self.test.n - 1}", f"{max(index)}")
        return replace(self, test=self.test.take(np.array(index)))

    def free(self) -> Task:
        """The same with rows that may lie anywhere."""
        return replace(self, train=replace(self.train, domain=Domain.real()))


def load_task(name: str, rows: int | None, seed: int) -> Task:
    """The task of a name or a file, with `rows` of its training rows.

    Raises
    ------
    InputError
        For another name, or a file without the four arrays or with other labels.
    """
    X, y, X_test, y_test = _arrays(name)
    shape, classes = X.shape[1:], max(int(max(y.max(), y_test.max())) + 1, 2)
    if rows is not None:
        if not 0 < rows <= len(X):
            raise InputError(f"from 1 to {len(X)} training rows", f"{rows}")
        index = np.random.default_rng(seed).permutation(len(X))[:rows]
        X, y = X[index], y[index]
    box = Domain.box(float(X.min()), float(X.max()), prod(shape))
    train = Dataset.coded(X.reshape(len(X), -1), y, n_classes=classes, domain=box)
    return Task(train, Dataset.coded(X_test.reshape(len(X_test), -1), y_test, n_classes=classes), shape)


def _arrays(name: str) -> Any:
    kind, *pair = name.split(":")
    if kind in ("digits", "mnist") and pair:
        return _pair(name, _arrays(kind), pair)
    if name == "digits":
        return _digits()
    if name == "mnist":
        from linpoison.datasets import load_mnist

        X, y, X_test, y_test = load_mnist()
        return X.reshape(-1, 1, 28, 28), y, X_test.reshape(-1, 1, 28, 28), y_test
    if not name.endswith(".npz"):
        raise InputError("the data 'digits', 'mnist' or an .npz file", repr(name), "Or two digits: digits:3:8.")
    return _file(Path(name))


def _pair(name: str, arrays: Any, pair: list[str]) -> Any:
    """The rows of two digits; the first one named has the label 1, the other 0."""
    digits = [int(word) for word in pair if word in tuple("0123456789")]
    if len(pair) != 2 or len(set(digits)) != 2:
        raise InputError(f"two different digits as in {name.partition(':')[0]}:3:8", repr(name))
    X, y, X_test, y_test = arrays
    mine, also = np.isin(y, digits), np.isin(y_test, digits)
    return X[mine], (y[mine] == digits[0]).astype(int), X_test[also], (y_test[also] == digits[0]).astype(int)


def _digits() -> Any:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = (X[order] / 16.0).reshape(-1, 1, 8, 8), y[order].astype(np.int64)
    return X[:1200], y[:1200], X[1200:], y[1200:]


def _file(path: Path) -> Any:
    found = read_arrays(path, "an .npz file of plain arrays", names=_ARRAYS)
    missing = [key for key in _ARRAYS if key not in found]
    if missing:
        raise InputError(f"the arrays {', '.join(_ARRAYS)} in {path.name}", f"none called {', '.join(missing)}")
    X, y, X_test, y_test = (found[key] for key in _ARRAYS)
    for rows, labels, part in ((X, y, "train"), (X_test, y_test, "test")):
        _check_rows(rows, part)
        _check_classes(labels, len(rows), part)
    if X.shape[1:] != X_test.shape[1:]:
        raise InputError(f"test rows of shape {X.shape[1:]}", f"{X_test.shape[1:]}")
    as_floats = (X.astype(np.float64), X_test.astype(np.float64))
    return as_floats[0], y.astype(np.int64), as_floats[1], y_test.astype(np.int64)


def _check_rows(rows: Any, part: str) -> None:
    if rows.ndim < 2 or 0 in rows.shape:
        raise InputError(f"rows of features in X_{part}, shape (n, d) or (n, channels, height, width)", f"{rows.shape}")
    if rows.dtype.kind not in "biuf" or not np.isfinite(rows.astype(np.float64)).all():
        raise InputError(f"finite numbers in X_{part}", f"others, of type {rows.dtype}")


def _check_classes(labels: Any, n: int, part: str) -> None:
    """Whole numbers from 0, few enough that a network can have an output for each up to the largest."""
    if labels.shape != (n,) or labels.dtype.kind not in "biuf":
        raise InputError(f"one label for each row in y_{part}", f"shape {labels.shape} of type {labels.dtype}")
    if not ((labels >= 0) & (labels < MOST_CLASSES)).all() or (labels != labels.astype(np.int64)).any():
        got = f"{np.unique(labels)[:5].tolist()}"
        raise InputError(f"labels that are whole numbers from 0, below {MOST_CLASSES}, in y_{part}", got,
                         "Number the classes from 0.")  # fmt: skip
