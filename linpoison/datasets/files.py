"""A user's file as training and test rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.dataset import Dataset, Split
from ..core.domain import Domain
from ..core.errors import InputError
from ..core.validation import Array, Matrix, as_matrix
from .labels import LabelEncoding
from .readers import Raw, read_npz, read_svmlight
from .scaling import check_scale
from .tables import read_csv, read_parquet

_TABLES = {".csv": read_csv, ".parquet": read_parquet}
_ARRAYS = {".npz": read_npz, ".svmlight": read_svmlight, ".svm": read_svmlight, ".libsvm": read_svmlight}
_PICKLES = (".pkl", ".pickle", ".joblib")
SUFFIXES = (".npz", ".csv", ".parquet", ".svmlight", ".svm", ".libsvm")


def load_file(
    path: Path, *, domain: str | None, label: str | None, test: Path | None, test_fraction: float, seed: int
) -> Split:
    """Read, translate labels, split where no test rows came along, and check the domain."""
    raw = read_raw(path, test, label)
    X, encoding = _features(raw.X, f"X of {path.name}"), _encoding(raw)
    y = _signed(encoding, raw.y, X, path.name)
    if raw.test is None:
        train_rows, test_rows = _split(y, test_fraction, seed, path.name)
        X, X_test, y, y_test = X[train_rows], X[test_rows], y[train_rows], y[test_rows]
    else:
        X_test = _features(raw.test[0], "test X")
        y_test = _signed(encoding, raw.test[1], X_test, "the test rows")
    space = Domain.of(domain or "real", X)
    if space.integral:
        space.check(X_test, "test X")
    names = raw.feature_names
    return Split(
        Dataset(X, y, domain=space, name=path.stem, feature_names=names),
        Dataset(X_test, y_test, domain=space, name=path.stem, feature_names=names),
    )


def read_raw(path: Path, test: Path | None, label: str | None) -> Raw:
    """The raw arrays of a file, by its suffix."""
    suffix = _suffix(path)
    if test is not None:
        _readable(test)
        if _suffix(test) != suffix:
            raise InputError(f"a test file ending in {suffix}", str(test), "Use one kind of file for both.")
    _readable(path)
    if suffix in _TABLES:
        return _TABLES[suffix](path, test, label)
    if label is not None:
        raise InputError(f"no label column with a {suffix} file", repr(label), "It is for .csv and .parquet files.")
    return _ARRAYS[suffix](path, test)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise InputError(
            f"a data file ending in {', '.join(SUFFIXES)}",
            f"the pickle {path.name}",
            "Pickles are refused, since reading one can run any code: save plain arrays as .npz.",
        )
    if suffix not in SUFFIXES:
        raise InputError(f"a data file ending in {', '.join(SUFFIXES)}", path.name, "Convert it to one of these.")
    return suffix


def _readable(path: Path) -> None:
    if not path.is_file():
        raise InputError("an existing data file", f"{path}, which is not a file")
    try:
        with open(path, "rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise InputError("a data file that can be read", f"{path} ({error.strerror})") from None
    if empty:
        raise InputError(f"rows in {path.name}", "an empty file")


def _features(X: Any, name: str) -> Matrix:
    matrix = as_matrix(X, name)
    check_scale(matrix, name)
    return matrix


def _encoding(raw: Raw) -> LabelEncoding:
    labels = np.asarray(raw.y)
    if raw.test is not None:
        parts = [np.asarray(part).ravel().tolist() for part in (labels, raw.test[1])]
        labels = np.array([*parts[0], *parts[1]], dtype=object) if labels.ndim == 1 else labels
    try:
        return LabelEncoding.of(labels)
    except InputError as error:
        other = " Or name another column as the label." if raw.feature_names else ""
        raise InputError(f"{error.expected} in the {raw.where}", error.got, error.remedy + other) from None


def _signed(encoding: LabelEncoding, y: Any, X: Matrix, name: str) -> Array:
    signed = encoding.encode(y)
    if signed.size != X.shape[0]:
        raise InputError(f"{X.shape[0]} labels in {name}, one for each row", f"{signed.size} labels")
    return signed


def _split(y: Array, test_fraction: float, seed: int, name: str) -> tuple[Any, Any]:
    from sklearn.model_selection import train_test_split

    try:
        train, test = train_test_split(np.arange(y.size), test_size=test_fraction, stratify=y, random_state=seed)
    except ValueError:
        raise InputError(
            f"rows enough in {name} to hold out {test_fraction:g} of each class",
            f"{int((y < 0).sum())} and {int((y > 0).sum())} rows of the two classes",
            "Give more rows, another test_fraction, or a test file.",
        ) from None
    return np.sort(train), np.sort(test)
