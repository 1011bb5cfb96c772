"""Readers of tables with one label column: .csv and .parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError, MissingDependency
from ..core.validation import Array
from .readers import Raw

_LABEL_NAMES = ("label", "y", "target", "class")
_CSV = "Write one header line, then one line for each row, with the same number of fields in each."


def read_csv(path: Path, test: Path | None, label: str | None) -> Raw:
    """A comma-separated table with a header line."""
    return _read(path, test, label, _csv_frame)


def read_parquet(path: Path, test: Path | None, label: str | None) -> Raw:
    """A Parquet table; needs pyarrow."""
    return _read(path, test, label, _parquet_frame)


def _read(path: Path, test: Path | None, label: str | None, reader: Callable[[Path], Any]) -> Raw:
    frame = reader(path)
    column = _label_column(frame, label, path)
    features = [name for name in frame.columns if name != column]
    if not features:
        raise InputError(
            f"feature columns besides the label in {path.name}",
            f"only the column {column!r}",
            "Separate fields by commas.",
        )
    X, y = _numbers(frame, features, path), _labels(frame, column, path)
    other = None
    if test is not None:
        table = reader(test)
        _same_columns(frame, table, path, test)
        other = (_numbers(table, features, test), _labels(table, column, test))
    names = tuple(str(name) for name in features)
    return Raw(X, y, f"column {column!r} of {path.name}", other, names)


def _csv_frame(path: Path) -> Any:
    import pandas as pd

    try:
        _check_header(path)
        frame = pd.read_csv(path, encoding="utf-8-sig", low_memory=False)
    except pd.errors.EmptyDataError:
        raise InputError(f"a table in {path.name}", "an empty file", _CSV) from None
    except (pd.errors.ParserError, csv.Error) as error:
        raise InputError(
            f"lines of equal length in {path.name}", str(error).strip().split("C error: ")[-1], _CSV
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"UTF-8 text in {path.name}", "other bytes", "Save the table as UTF-8.") from None
    return _not_empty(frame, path)


def _check_header(path: Path) -> None:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream)
        header, first = next(lines, []), next(lines, [])
    if header and len(first) > len(header):
        raise InputError(f"lines of equal length in {path.name}", "a row longer than the header", _CSV)
    if any(not name.strip() for name in header):
        raise InputError(
            f"a name for every column of {path.name}",
            f"no name for column {[bool(name.strip()) for name in header].index(False) + 1}",
            "If it is a row number, write the table without it (pandas: index=False).",
        )
    doubled = sorted({name for name in header if header.count(name) > 1})
    if header and all(_is_number(name) for name in header) and (doubled or not _is_count_up(header)):
        raise InputError(f"a header line in {path.name}", "a first line of numbers", _CSV)
    if doubled:
        raise InputError(f"different column names in {path.name}", f"{doubled[0]!r} more than once")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_count_up(header: list[str]) -> bool:
    return header in ([str(i) for i in range(len(header))], [str(i + 1) for i in range(len(header))])


def _parquet_frame(path: Path) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingDependency("pyarrow", "to read .parquet files", "parquet") from None
    import pandas as pd

    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (pyarrow.ArrowException, ValueError, OSError):
        raise InputError(f"a Parquet table in {path.name}", "other bytes", "Write it again, or save .csv.") from None
    return _not_empty(frame.reset_index(drop=True), path)


def _not_empty(frame: Any, path: Path) -> Any:
    if not len(frame) or not len(frame.columns):
        raise InputError(f"at least one row in {path.name}", f"{len(frame)} rows of {len(frame.columns)} columns")
    return frame


def _label_column(frame: Any, label: str | None, path: Path) -> Any:
    if label is None:
        return next((name for name in frame.columns if str(name).lower() in _LABEL_NAMES), frame.columns[-1])
    if label not in frame.columns:
        shown = ", ".join(map(str, frame.columns[:10])) + (", ..." if len(frame.columns) > 10 else "")
        raise InputError(f"a label column {label!r} in {path.name}", f"the columns {shown}")
    return label


def _numbers(frame: Any, features: list[Any], path: Path) -> Array:
    from pandas.api.types import is_any_real_numeric_dtype, is_bool_dtype

    for name in features:
        column = frame[name]
        if not (is_any_real_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype)):
            text = column.dropna()
            example = f"such as {text.iloc[0]!r}" if len(text) else "and no values"
            raise InputError(
                f"numbers in the feature column {name!r} of {path.name}",
                f"values of type {column.dtype} {example}",
                "Encode it as numbers (one-hot), drop it, or name it as the label column.",
            )
    X: Array = frame[features].to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.argwhere(~np.isfinite(X))
    if bad.size:
        row, col = bad[0]
        raise InputError(
            f"a finite number in every field of {path.name}",
            f"{'NaN or an empty field' if np.isnan(X[row, col]) else 'infinity'} "
            f"in column {features[col]!r}, data row {row + 1}",
            "Complete or drop such rows.",
        )
    return X


def _labels(frame: Any, column: Any, path: Path) -> Any:
    labels = frame[column]
    if labels.isna().any():
        raise InputError(
            f"a label in every row of {path.name}",
            f"{int(labels.isna().sum())} empty fields in the column {column!r}",
            "Drop those rows, or name another column as the label.",
        )
    return labels.to_numpy()


def _same_columns(frame: Any, other: Any, path: Path, test: Path) -> None:
    if set(frame.columns) != set(other.columns):
        odd = sorted(map(str, set(frame.columns) ^ set(other.columns)))
        raise InputError(
            f"the columns of {path.name} in {test.name}", f"columns in only one of them: {', '.join(odd[:5])}"
        )
