"""Readers of tables with one label column: .csv and .tsv, also in .gz, and .parquet."""

from __future__ import annotations

import csv
import gzip
import zlib
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ..core import Array, InputError, MissingDependency
from .layout import (
    ONE_LINE,
    Layout,
    check_header_is_no_row,
    check_names,
    index_columns,
    is_text,
    label_column,
    marked_in_column,
    trusted_column,
    weight_column,
)
from .readers import Raw


def read_table(path: Path, test: Path | None, layout: Layout, *, raw: bool = False) -> Raw:
    """A table of separated values, or of Parquet, which needs pyarrow; with `raw`, any features as a frame."""
    reader = TABLES[kind_of(path)]
    frame = reader(path, layout)
    check_header_is_no_row(frame, layout, path.name)
    label = label_column(frame, layout, path.name, raw=raw)
    weight = weight_column(frame, layout, path.name)
    marks = trusted_column(frame, layout, path.name)
    others = [label, weight, marks, *index_columns(frame, layout, path.name, label)]
    features = [name for name in frame.columns if name not in others]
    if not features:
        raise InputError(
            f"feature columns besides the label in {path.name}",
            f"only the column {label!r}",
            "Separate fields by commas, or by tabs in a .tsv file.",
        )

    def part(table: Any, file: Path) -> tuple[Any, Any]:
        X = table[features] if raw else _numbers(table, features, file)
        return X, _labels(table, label, file, layout)

    other = None
    if test is not None:
        table = reader(test, layout)
        _same_columns(frame, table, path, test, others[1:])
        other = part(table, test)
    X, y = part(frame, path)
    return Raw(
        X, y, f"column {label!r} of {path.name}", other, tuple(str(name) for name in features), label_name=str(label),
        weight=None if weight is None else _numbers(frame, [weight], path)[:, 0],
    )  # fmt: skip


def marked_in_table(path: Path, layout: Layout) -> NDArray[np.intp]:
    """Numbers of the rows of a table that its column of trusted rows marks."""
    return marked_in_column(TABLES[kind_of(path)](path, layout), layout, path.name)


def kind_of(path: Path) -> str:
    """The suffix that says how a file is read, with the one before ``.gz``; lower case.

    Examples
    --------
    >>> kind_of(Path("a.b/Reviews.tsv.gz")), kind_of(Path("rows.v2.CSV"))
    ('.tsv.gz', '.csv')
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() + suffix if suffix == ".gz" else suffix


def separated(kind: str) -> dict[str, Any]:
    """How a kind of text separates its fields, for pandas and csv: by commas, with quotes, or by tabs, without them."""
    return {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if kind.startswith(".tsv") else {"delimiter": ","}


def _text(path: Path) -> TextIO:
    how: dict[str, Any] = {"encoding": "utf-8-sig", "newline": ""}
    return gzip.open(path, "rt", **how) if kind_of(path).endswith(".gz") else open(path, **how)


def _text_frame(path: Path, layout: Layout) -> Any:
    import pandas as pd

    try:
        with _text(path) as stream:
            lines = csv.reader(stream, **separated(kind_of(path)))
            check_names(next(lines, []), next(lines, []), layout, path.name)
        frame = pd.read_csv(path, **text_words(path, layout), low_memory=False)
    except pd.errors.EmptyDataError:
        raise InputError(f"a table in {path.name}", "an empty file", ONE_LINE) from None
    except (pd.errors.ParserError, csv.Error) as error:
        raise InputError(
            f"lines of equal length in {path.name}", str(error).strip().split("C error: ")[-1], ONE_LINE
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"UTF-8 text in {path.name}", "other bytes", "Save the table as UTF-8.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"a gzip file in {path.name}", "other bytes, or a part of one", "Compress it again.") from None
    return _not_empty(frame, path)


def text_words(path: Path, layout: Layout) -> dict[str, Any]:
    """How pandas is told to read a table of this layout; columns without a header are called 0, 1, ..."""
    header, kind = None if layout.header == "none" else 0, kind_of(path)
    return {"encoding": "utf-8-sig", "header": header, **separated(kind)}


def _parquet_frame(path: Path, layout: Layout) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependency("pyarrow", "to read .parquet files", "parquet") from None
    import pandas as pd

    try:
        names = pyarrow.parquet.read_schema(path).names
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise InputError(f"different column names in {path.name}", f"{doubled!r} more than once", "Rename one.")
        frame = pd.read_parquet(path, engine="pyarrow")
    except InputError:
        raise
    except (pyarrow.ArrowException, ValueError, OSError):
        raise InputError(f"a Parquet table in {path.name}", "other bytes", "Write it again, or save .csv.") from None
    return _not_empty(frame.reset_index(drop=True), path)


def _not_empty(frame: Any, path: Path) -> Any:
    if not len(frame) or not len(frame.columns):
        raise InputError(f"at least one row in {path.name}", f"{len(frame)} rows of {len(frame.columns)} columns")
    return frame


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


def _labels(frame: Any, column: Any, path: Path, layout: Layout) -> Any:
    labels = frame[column]
    missing = labels.isna().to_numpy()
    if not missing.any():
        return labels.to_numpy()
    words = _words(path, column, layout) if kind_of(path) in TEXTS else None
    read = {} if words is None else {word: int(np.sum(words[missing] == word)) for word in set(words[missing])}
    if words is not None and set(read) == {"None"} and is_text(labels[~missing]):
        return words  # a class of its own beside other words, which pandas takes for a missing value
    empty = ", ".join(f"{count} {f'that read {word!r}' if word else 'empty'}" for word, count in sorted(read.items()))
    raise InputError(
        f"a label in every row of {path.name}",
        f"{int(missing.sum())} empty fields in the column {column!r}" + (f" ({empty})" if any(read) else ""),
        "Drop those rows, write the class in another word, or name another column as the label.",
    )


def _words(path: Path, column: Any, layout: Layout) -> Any:
    """A column of a table as it is written."""
    import pandas as pd

    return pd.read_csv(path, usecols=[column], dtype=str, keep_default_na=False, **text_words(path, layout))[
        column
    ].to_numpy()


def _same_columns(frame: Any, other: Any, path: Path, test: Path, optional: list[Any]) -> None:
    odd = sorted(map(str, (set(frame.columns) ^ set(other.columns)) - set(optional)))
    if odd:
        raise InputError(
            f"the columns of {path.name} in {test.name}", f"columns in only one of them: {', '.join(odd[:5])}"
        )


TEXTS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
"""Kinds of tables of separated values."""
TABLES = {**dict.fromkeys(TEXTS, _text_frame), ".parquet": _parquet_frame}
"""What reads a file as a data frame, by its kind."""
