"""A user's file as training and test rows, or as rows without labels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import Array, Dataset, InputError, Matrix, Split, as_matrix, label_array, refuse_missing
from ..core.archives import user_path
from ..core.sizes import check_scale
from .layout import Layout
from .readers import Raw, _arrays, _matrix, marked_in_npz, read_npz, read_svmlight
from .tables import TABLES, _numbers, kind_of, marked_in_table, read_table

MOST_CLASSES = 100
"""More label values than these are no classes but numbers or names of rows."""


@dataclass(frozen=True)
class LabelEncoding:
    """Which label value is read as which label.

    Of two values the earlier in sorted order is -1 and the later +1; of more each is its place, from 0.

    Parameters
    ----------
    values : tuple
        All values, in sorted order.

    Examples
    --------
    >>> encoding = LabelEncoding.of(["spam", "ham", "spam"])
    >>> encoding
    LabelEncoding(values=('ham', 'spam'))
    >>> encoding.encode(["ham", "spam"])
    array([-1.,  1.])
    >>> encoding.decode([1.0, -1.0]).tolist()
    ['spam', 'ham']
    >>> LabelEncoding.of(["x", "z", "y"]).encode(["z", "x"])
    array([2., 0.])
    """

    values: tuple[Any, ...]

    @classmethod
    def of(cls, y: Any) -> LabelEncoding:
        """The encoding of the values in `y`.

        Raises
        ------
        InputError
            Unless `y` is one-dimensional, without missing values, of types that can be sorted, and holds 2 to
            `MOST_CLASSES` values.
        """
        values = _distinct(_as_labels(y))
        if not 2 <= len(values) <= MOST_CLASSES:
            shown = ", ".join(repr(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")
            raise InputError(
                f"labels of 2 to {MOST_CLASSES} classes",
                f"{_classes(len(values))} ({shown})" if values else "no labels",
                "Name the column of the labels, or cut numbers into classes first.",
            )
        return cls(tuple(values))

    @property
    def n_classes(self) -> int | None:
        """``k`` where labels are codes, None where they are signs: see `linpoison.Dataset`."""
        return None if len(self.values) == 2 else len(self.values)

    def encode(self, y: Any) -> Array:
        """Labels in {-1, +1} or {0, ..., k - 1}, shape (n,)."""
        labels = _as_labels(y)
        places = {value: float(place) for place, value in enumerate(self.values)}
        codes = [places.get(value) for value in labels.tolist()]
        unknown = next((value for value, code in zip(labels.tolist(), codes, strict=True) if code is None), None)
        if None in codes:
            known = ", ".join(repr(value) for value in self.values[:10])
            raise InputError(f"labels among {known}", repr(unknown), "Give training rows of every class.")
        found = np.array(codes, dtype=np.float64)
        return 2 * found - 1 if self.n_classes is None else found

    def decode(self, labels: Any) -> Any:
        """The values of labels (an array of shape (n,))."""
        codes = np.asarray(labels)
        values = np.empty(len(self.values), dtype=object)
        values[:] = self.values
        return values[(codes > 0).astype(int) if self.n_classes is None else codes.astype(int)]


_SORTED = "Write all of them in one type."


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _as_labels(y: Any) -> Any:
    labels = label_array(y)
    if labels.dtype.kind in "US" and not (isinstance(y, np.ndarray) and y.dtype.kind in "US"):
        labels = np.asarray(y, dtype=object)  # numpy would turn a mix such as [1, "a"] into strings
    if labels.ndim != 1:
        remedy = "Write y.ravel()." if labels.ndim == 2 and 1 in labels.shape else ""
        raise InputError("labels of shape (n_samples,)", f"shape {labels.shape}", remedy)
    refuse_missing(labels)
    return labels


def _distinct(labels: Any) -> list[Any]:
    try:
        return sorted(set(labels.tolist()))
    except TypeError:
        kinds = sorted({type(value).__name__ for value in labels.tolist()})
        raise InputError(
            "labels of one type (text, numbers or booleans)", f"labels of the types {', '.join(kinds)}", _SORTED
        ) from None


Through = Callable[[Any, "tuple[str, ...] | None"], "tuple[Any, tuple[str, ...] | None]"]
_PICKLES = (".pkl", ".pickle", ".joblib")
SUFFIXES = (".npz", *TABLES, ".svmlight", ".svm", ".libsvm")


def load_file(
    path: Path,
    *,
    domain: str | None = None,
    layout: Layout | None = None,
    test: Path | None = None,
    test_fraction: float | None = 0.3,
    seed: int = 0,
    through: Through | None = None,
) -> Split:
    """Read, translate labels, split where no test rows came along, and check the domain.

    Parameters
    ----------
    domain, seed
        As in `load`.
    test_fraction : float or None
        None holds out nothing: the test rows are the training rows, where the file brings none.
    through : callable, optional
        Fixed preprocessing, from raw rows (a data frame for tables) and their column names to numbers and names. Then
        rows may hold text and missing values.
    """
    raw = read_raw(path, test, layout or Layout(), raw=through is not None)
    read = _reader(raw, through)
    X, columns = read(raw.X, f"X of {path.name}")
    encoding = _encoding(raw)
    y = _encoded(encoding, raw.y, X, path.name)
    names: dict[str, Any] = {
        "name": path.name[: -len(kind_of(path))], "feature_names": columns, "label_name": raw.label_name,
        "classes": encoding.values, "n_classes": encoding.n_classes,
    }  # fmt: skip
    numbers = np.arange(y.size)
    if raw.test is not None:
        X_test, _ = read(raw.test[0], "test X")
        y_test = _encoded(encoding, raw.test[1], X_test, "the test rows")
        other = Dataset(X_test, y_test, **names, row_numbers=raw.test_start + np.arange(y_test.size))
        return Split(Dataset(X, y, raw.weight, **names, row_numbers=numbers), other).in_domain(domain or "real")
    every = Dataset(X, y, raw.weight, **names, row_numbers=numbers)
    if test_fraction is None:
        return Split(every, every).in_domain(domain or "real")
    train_rows, test_rows = held_out(y, test_fraction, seed, path.name)
    return Split(every.take(train_rows), every.take(test_rows)).in_domain(domain or "real")


def _reader(raw: Raw, through: Through | None) -> Callable[[Any, str], tuple[Matrix, Any]]:
    """From raw rows, and what errors call them, to numbers and the names of their columns."""

    def read(X: Any, name: str) -> tuple[Matrix, Any]:
        rows, columns = (X, raw.feature_names) if through is None else through(X, raw.feature_names)
        return _features(rows, name), columns

    return read


def read_raw(path: Path, test: Path | None, layout: Layout, *, raw: bool = False) -> Raw:
    """The raw arrays of a file, by its suffix; with `raw`, features of a table as a data frame."""
    suffix = _suffix(path)
    if test is not None:
        _readable(test)
        if _suffix(test) != suffix:
            raise InputError(f"a test file ending in {suffix}", str(test), "Use one kind of file for both.")
    _readable(path)
    if suffix in TABLES:
        return read_table(path, test, layout, raw=raw)
    for name, value in layout.given().items():
        array = name in ("weight", "trusted")
        if not array or suffix != ".npz":
            what = f"{name} column" if name != "header" else "option header"
            kinds = ".csv, .tsv, .parquet and .npz" if array else ".csv, .tsv and .parquet"
            raise InputError(f"no {what} with a {suffix} file", repr(value), f"It is for {kinds} files.")
    return read_npz(path, test, layout.weight) if suffix == ".npz" else read_svmlight(path, test)


def marked_rows(path: Path, layout: Layout) -> NDArray[np.intp]:
    """Numbers of the rows of a file that the column (or array) of trusted rows in `layout` marks."""
    if kind_of(path) in TABLES:
        return marked_in_table(path, layout)
    return marked_in_npz(path, str(layout.trusted))


def _suffix(path: Path) -> str:
    suffix = kind_of(path)
    if suffix in _PICKLES:
        raise InputError(
            f"a data file ending in {', '.join(SUFFIXES)}",
            f"the pickle {path.name}",
            "Pickles are refused, since reading one can run any code: save plain arrays as .npz.",
        )
    if suffix not in SUFFIXES:
        raise InputError(
            f"a data file ending in {', '.join(SUFFIXES)}",
            path.name,
            "Convert it to one of these, or read it in Python and hand in a data frame.",
        )
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


def _encoded(encoding: LabelEncoding, y: Any, X: Matrix, name: str) -> Array:
    labels = encoding.encode(y)
    if labels.size != X.shape[0]:
        raise InputError(f"{X.shape[0]} labels in {name}, one for each row", f"{labels.size} labels")
    return labels


def held_out(y: Any, test_fraction: float, seed: int, name: str) -> tuple[Any, Any]:
    """Positions of the training and of the test rows: a share of each class is held out."""
    from sklearn.model_selection import train_test_split

    try:
        train, test = train_test_split(np.arange(len(y)), test_size=test_fraction, stratify=y, random_state=seed)
    except ValueError:
        raise InputError(
            f"rows enough in {name} to hold out {test_fraction:g} of each class",
            f"{int(np.unique(y, return_counts=True)[1].min())} rows of the least",
            "Give more rows, another test_fraction, or a test file.",
        ) from None
    return np.sort(train), np.sort(test)


def read_rows(path: str | os.PathLike[str], names: tuple[str, ...] | None, layout: Layout) -> Matrix:
    """The rows of a table (``.csv``, ``.tsv``, ``.parquet``) or of the array X of an ``.npz`` file, without labels.

    Parameters
    ----------
    path : str or path
    names : tuple of str, optional
        Columns that are read, in this order; all but those of the layout by default. Columns of labels, weights and
        numbers of rows that the layout names may be there, others may not.
    layout : Layout

    Raises
    ------
    InputError
        For a file of another kind, a column too few or too many, or anything but finite numbers.
    """
    file = user_path(path, "a table of rows")
    if not file.is_file():
        raise InputError("a file of rows", f"{file}, which is none")
    suffix = kind_of(file)
    if suffix == ".npz":
        return _matrix(_arrays(file), file)
    if suffix not in TABLES:
        raise InputError(f"rows in {', '.join((*TABLES, '.npz'))}", file.name)
    frame = TABLES[suffix](file, layout)
    spare = {str(name) for name in (layout.label, layout.weight, layout.index) if name is not None}
    columns = {str(name): name for name in frame.columns}
    wanted = [name for name in columns if name not in spare] if names is None else list(names)
    _check_columns(file, set(wanted) - set(columns), set(columns) - set(wanted) - spare)
    return _numbers(frame, [columns[name] for name in wanted], file)


def _check_columns(file: Path, missing: set[Any], odd: set[Any]) -> None:
    for which, what in ((missing, "the columns of the training rows"), (odd, "no other columns")):
        if which:
            got = f"{'none' if which is missing else 'some'} called {', '.join(sorted(map(str, which))[:5])}"
            raise InputError(f"{what} in {file.name}", got, "Name a column of labels with --label.")
