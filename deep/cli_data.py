"""Rows for the command line: embedded digits, MNIST, or a user's arrays."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linpoison.core import InputError

from .samples import Sample

_ARRAYS = ("X_train", "y_train", "X_test", "y_test")


@dataclass(frozen=True, eq=False)
class Task:
    """Rows to learn from and to test on.

    Parameters
    ----------
    train, test : Sample
        Labels from 0.
    classes : int
    low, high : float
        Range of the entries of the training rows: [0, 1] for images.
    """

    train: Sample
    test: Sample
    classes: int
    low: float
    high: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row."""
        return tuple(self.train.X.shape[1:])


def load_task(name: str, rows: int | None, seed: int) -> Task:
    """The task of a name or a file, with `rows` of its training rows.

    Raises
    ------
    InputError
        For another name, or a file without the four arrays or with other labels.
    """
    X, y, X_test, y_test = _arrays(name)
    labels = np.unique(np.concatenate([y, y_test]))
    classes = int(labels[-1]) + 1
    if rows is not None:
        if not 0 < rows <= len(X):
            raise InputError(f"from 1 to {len(X)} training rows", f"{rows}")
        index = np.random.default_rng(seed).permutation(len(X))[:rows]
        X, y = X[index], y[index]
    return Task(Sample(X, y), Sample(X_test, y_test), max(classes, 2), float(X.min()), float(X.max()))


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
    digits = [int(word) for word in pair if word.isascii() and word.isdigit() and int(word) < 10]
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
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise InputError("an .npz file of plain arrays", str(path)) from None
    missing = [key for key in _ARRAYS if key not in found]
    if missing:
        raise InputError(f"the arrays {', '.join(_ARRAYS)} in {path.name}", f"none called {', '.join(missing)}")
    X, y, X_test, y_test = (found[key] for key in _ARRAYS)
    for rows, labels, part in ((X, y, "train"), (X_test, y_test, "test")):
        if labels.shape != (len(rows),) or not len(rows) or not np.isfinite(rows.astype(np.float64)).all():
            raise InputError(f"finite rows and one label for each in X_{part} and y_{part}", f"{rows.shape}")
        if (labels != labels.astype(np.int64)).any() or labels.min() < 0:
            raise InputError(f"whole labels from 0 in y_{part}", f"{np.unique(labels)[:5].tolist()}")
    if X.shape[1:] != X_test.shape[1:]:
        raise InputError(f"test rows of shape {X.shape[1:]}", f"{X_test.shape[1:]}")
    as_floats = (X.astype(np.float64), X_test.astype(np.float64))
    return as_floats[0], y.astype(np.int64), as_floats[1], y_test.astype(np.int64)
