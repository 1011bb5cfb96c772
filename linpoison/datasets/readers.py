"""Readers of users' files: each returns raw arrays, or says in one sentence what is wrong with the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core import InputError, Matrix, check_integer
from ..core.archives import CSR_PARTS, csr_of, read_arrays
from .layout import marked


@dataclass(frozen=True, eq=False)
class Raw:
    """What a file holds before labels are translated.

    Parameters
    ----------
    X : ndarray or csr_array, shape (n, d)
    y : array_like, shape (n,)
        Labels of any type.
    where : str
        What errors call the labels.
    test : tuple of (X, y), optional
        Test rows that came along.
    label_name : str, optional
        The label column of a table.
    weight : array_like of shape (n,), optional
        Sample weights.
    test_start : int, default 0
        Row number of the first test row, which may stand behind the training rows.
    """

    X: Matrix
    y: Any
    where: str
    test: tuple[Matrix, Any] | None = None
    feature_names: tuple[str, ...] | None = None
    label_name: str | None = None
    weight: Any = None
    test_start: int = 0


_NPZ = "Save plain arrays X and y (and X_test, y_test) with numpy.savez."
_SVMLIGHT = "Write one row a line, such as: 1 3:0.5 7:2."


def read_npz(path: Path, test: Path | None, weight: str | None = None) -> Raw:
    """Arrays X and y (or X_train and y_train), or the parts of a CSR matrix and y; test rows as X_test and y_test or
    after n_train rows.

    `weight` names an array of sample weights.
    """
    arrays = _arrays(path)
    X, y = _matrix(arrays, path), _array(arrays, "y", path)
    inner = _inner_test(arrays, X, y, path)
    if weight is not None:
        inner = replace(inner, weight=_array(arrays, weight, path)[: inner.X.shape[0]])
    if test is None:
        return inner
    if inner.test is not None:
        raise InputError(
            "test rows from one place", f"test rows in {path.name} and the file {test.name}", "Leave out one of them."
        )
    other = _arrays(test)
    return replace(inner, test=(_matrix(other, test), _array(other, "y", test)))


def marked_in_npz(path: Path, key: str) -> NDArray[np.intp]:
    """Places that are not 0 in an array of an archive."""
    return marked(np.asarray(_array(_arrays(path), key, path)), f"the array {key!r} of {path.name}")


def _inner_test(arrays: dict[str, Any], X: Matrix, y: Any, path: Path) -> Raw:
    where = f"array y of {path.name}"
    if "X_test" in arrays or "y_test" in arrays:
        return Raw(X, y, where, (_array(arrays, "X_test", path), _array(arrays, "y_test", path)))
    if "n_train" not in arrays:
        return Raw(X, y, where)
    n = check_integer(arrays["n_train"].item() if arrays["n_train"].size == 1 else None, "n_train", at_least=1)
    if n >= X.shape[0]:
        raise InputError(f"n_train below the {X.shape[0]} rows of {path.name}", n)
    return Raw(X[:n], y[:n], where, (X[n:], y[n:]), test_start=n)


_TRAIN = {"X_train": "X", "y_train": "y"}
"""Other names of the training rows."""


def _arrays(path: Path) -> dict[str, Any]:
    arrays = read_arrays(path, f"an .npz archive without pickles in {path.name}", remedy=_NPZ)
    return {_TRAIN.get(name, name) if _TRAIN.get(name) not in arrays else name: one for name, one in arrays.items()}


def _array(arrays: dict[str, Any], key: str, path: Path) -> Any:
    if key not in arrays:
        raise InputError(f"an array {key!r} in {path.name}", f"the arrays {sorted(arrays)}", _NPZ)
    array = arrays[key]
    if key[0] == "X" and array.dtype.kind not in "biuf":
        raise InputError(f"numbers in the array {key!r} of {path.name}", f"the type {array.dtype}", _NPZ)
    axes = {"X": "(n, d)", "y": "(n,)"}.get(key[0])
    if axes and array.ndim != {"X": 2, "y": 1}[key[0]]:
        raise InputError(f"an array {key!r} of shape {axes} in {path.name}", f"shape {array.shape}", _NPZ)
    return array


def _matrix(arrays: dict[str, Any], path: Path) -> Matrix:
    if "X" in arrays or not any(part in arrays for part in CSR_PARTS):
        return _array(arrays, "X", path)
    for part in CSR_PARTS:
        _array(arrays, part, path)
    return csr_of(arrays, path.name, _NPZ)


def read_svmlight(path: Path, test: Path | None) -> Raw:
    """Rows ``label index:value ...`` as CSR; indices from 0 or 1, found from both files together."""
    from sklearn.datasets import load_svmlight_files

    files = [path] if test is None else [path, test]
    try:
        parts = load_svmlight_files([str(file) for file in files], dtype=np.float64)
    except (ValueError, IndexError, OverflowError) as error:
        names = " or ".join(file.name for file in files)
        raise InputError(
            f"svmlight lines 'label index:value ...' in {names}", f"lines that cannot be read ({error})", _SVMLIGHT
        ) from None
    matrices = [sp.csr_array(matrix) for matrix in parts[::2]]
    if matrices[0].shape[0] == 0 or matrices[0].shape[1] == 0:
        raise InputError(f"svmlight lines 'label index:value ...' in {path.name}", "no rows or no features", _SVMLIGHT)
    where = f"labels of {path.name}"
    return Raw(matrices[0], parts[1], where, (matrices[1], parts[3]) if test is not None else None)
