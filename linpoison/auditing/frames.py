"""A data frame as data: which column is the label, which rows are held out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import InputError, check_once
from ..datasets.files import LabelEncoding, held_out
from ..datasets.layout import Layout, index_columns, label_column, marked_in_column, trusted_column, weight_column
from .options import LearnerOptions

_HELD_OUT = 0.3  # as of a file


def is_frame(data: Any) -> bool:
    """Whether data is a frame of pandas or polars."""
    return hasattr(data, "columns") and (hasattr(data, "iloc") or hasattr(data, "get_columns"))


def parts_of_frame(data: Any, options: LearnerOptions, whole: bool) -> tuple[tuple[Any, ...], Any, Any]:
    """``(X_train, y_train, X_test, y_test)`` of a frame with a label column, its sample weights if it has any, and the
    places of training and test rows in it if some were held out.

    The test rows are a frame given as ``test``, or held out as those of a file are; all rows if `whole`, unless a share
    is named.
    """
    train, layout = _pandas(data), options.layout()
    check_once([*map(str, train.columns)], "columns of the frame")
    label = label_column(train, layout, "the frame", raw=options.estimator is not None)
    weights = weight_column(train, layout, "the frame")
    others = [
        label,
        weights,
        trusted_column(train, layout, "the frame"),
        *index_columns(train, layout, "the frame", label),
    ]
    features = [name for name in train.columns if name not in others]
    places = None
    if options.test is None:
        share = options.test_fraction if options.test_fraction is not None else None if whole else _HELD_OUT
        index = np.arange(len(train))
        codes = LabelEncoding.of(train[label]).encode(train[label])
        kept, out = (index, index) if share is None else held_out(codes, share, options.seed, "the frame")
        train, test = train.iloc[kept], train.iloc[out]
        parts, places = [_rows(data, kept), _rows(data, out)], (kept, out)
    elif is_frame(options.test):
        test, parts = _pandas(options.test), [data, options.test]
    else:
        raise InputError("test rows as a frame, beside a frame", repr(options.test))
    lost = [str(name) for name in (*features, label) if name not in test.columns]
    if lost:
        raise InputError("the columns of the frame in the test rows", f"none called {lost[0]}")
    weight = None if weights is None else train[weights].to_numpy(dtype=np.float64)
    X, X_test = (part[features] for part in (parts if options.estimator is not None else (train, test)))
    return (X, train[label], X_test, test[label]), weight, places


def marked_in_frame(data: Any, column: str) -> Any:
    """Places of the rows that a column marks as trusted."""
    return marked_in_column(_pandas(data), Layout(trusted=column), "the frame")


def _rows(data: Any, rows: Any) -> Any:
    """Rows by position, of a frame as it came: an estimator of polars takes no other."""
    return data.iloc[rows] if hasattr(data, "iloc") else data[rows]


def _pandas(data: Any) -> Any:
    import pandas as pd

    if hasattr(data, "iloc"):
        return data
    return pd.DataFrame({column.name: column.to_list() for column in data.get_columns()})
