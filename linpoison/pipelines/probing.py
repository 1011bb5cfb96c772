"""What the steps make of each raw column, found by changing one value of a row at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core import Array
from ..core.parts import Choice, Line, dense
from .origins import Number, Origin, Picked
from .table import RawTable
from .text import NotRaw, read_text, vectorizers

MANY_VALUES = 5000
"""Different values of a column, or combinations of frozen ones, that are tried one by one."""
_AFFINE = 1e-9
_WHOLE = 2.0**53  # whole numbers up to which are exact
_ENTRIES = 50_000_000  # of the points of one part


def origins_of(table: RawTable, estimator: Any, frozen: list[str]) -> list[Origin]:
    """Each raw column, or the frozen ones together, with the features that they make.

    Raises
    ------
    NotRaw
        If features cannot be told apart by the columns that they come from.
    """
    names = list(table.frame.columns)
    if len(set(names)) < len(names):
        raise NotRaw("columns have one name")
    texts = _texts(table, estimator)
    base = dense(table.features(table.copies(1)))[0]
    found: list[Origin] = []
    if frozen:
        found += _chosen(table, frozen, base)
    for name in names:
        if name in frozen:
            continue
        if name in texts:
            found.append(read_text(table, name, texts[name]))
        elif _is_number(table.frame[name]):
            found += _number(table, name, base)
        else:
            found += _chosen(table, [name], base)
    return _all_features(found, base)


def _texts(table: RawTable, estimator: Any) -> dict[str, Any]:
    names = list(table.frame.columns)
    texts: dict[str, Any] = {}
    for name, vectorizer in vectorizers(estimator, names[0] if len(names) == 1 else None):
        if name in texts:
            raise NotRaw(f"{name!r} is counted in more than one way")
        texts[name] = vectorizer
    return texts


def _is_number(column: Any) -> bool:
    from pandas.api.types import is_any_real_numeric_dtype, is_bool_dtype

    return bool(is_any_real_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype))


def _all_features(found: list[Origin], base: Array) -> list[Origin]:
    """With the features that nothing moves, each of which must otherwise be moved by one origin."""
    import pandas as pd

    moved = np.zeros(base.size, dtype=int)
    for origin in found:
        moved[origin.part.columns] += 1
    if (moved > 1).any():
        both = [str(list(origin.raw(base[None, origin.part.columns]))) for origin in found
                if (moved[origin.part.columns] > 1).any()]  # fmt: skip
        raise NotRaw(f"features mix the columns {', '.join(both[:4])}")
    fixed = np.flatnonzero(moved == 0)
    if not fixed.size:
        return found
    return [*found, Picked(Choice(fixed, base[None, fixed]), pd.DataFrame(index=[0]))]


def _tried(table: RawTable, values: Any, base: Array) -> tuple[np.ndarray, Array]:
    """The features that change when columns of the first row take other values, and what they are then."""
    rows = table.copies(len(values))
    for name in values:
        rows[name] = values[name].array
    X = table.features(rows)
    if len(values) * base.size > _ENTRIES:
        raise NotRaw(f"{', '.join(map(str, values))} has too many values")
    X = dense(X)
    columns = np.flatnonzero((np.abs(X - base) > 0).any(axis=0))
    return columns, X[:, columns]


def _chosen(table: RawTable, names: list[str], base: Array) -> Iterator[Origin]:
    """The values that clean rows show, or their combinations in several columns."""
    values = table.frame[names].drop_duplicates(ignore_index=True)
    if len(values) > MANY_VALUES:
        raise NotRaw(f"{', '.join(map(repr, names))} has more than {MANY_VALUES} different values")
    columns, points = _tried(table, values, base)
    if columns.size:
        yield Picked(Choice(columns, points), values)


def _number(table: RawTable, name: str, base: Array) -> Iterator[Origin]:
    """A column of numbers: a line if the steps scale and shift it, or else the values that clean rows show.

    Whole numbers of which none is negative are counts.
    """
    import pandas as pd
    from pandas.api.types import is_integer_dtype

    column = table.frame[name]
    shown = column.dropna()
    whole = is_integer_dtype(column.dtype)
    low, high = float(shown.min()), float(shown.max())
    counts = whole and low >= 0
    high = high if high > low else low + 1.0
    far = 10.0 * (high - low)
    middle = np.floor((low + high) / 2) if whole else 0.3 * low + 0.7 * high
    least = 0.0 if counts else low - far
    tried = np.array([low, high, middle, least, high + far])
    extra = [np.nan] if len(shown) < len(column) else []
    values = pd.DataFrame({name: pd.Series([*tried, *extra]).astype(column.dtype)})
    columns, X = _tried(table, values, base)
    if not columns.size:
        return
    step = (X[1] - X[0]) / (high - low)
    start = X[0] - low * step
    off = np.abs(X[:5] - (start + tried[:, None] * step)).max(axis=1)
    straight = off <= _AFFINE * max(1.0, float(np.abs(X[:2]).max()))
    if not straight[:3].all() or not step.any():
        yield from _chosen(table, [name], base)
        return
    ends = [0.0 if counts else -np.inf, np.inf]
    bound = np.where(straight[3:], ends, [low, high])
    if whole:
        bound = np.clip(bound, -_WHOLE, _WHOLE)
    yield Number(Line(columns, start, step, whole, float(bound[0]), float(bound[1]), X[5:]), name)
