"""What the steps make of each raw column, found by changing one value of a row at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

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
_DECADES = 12  # far values that are tried, each ten times as far beyond the clean ones, where steps scale no line
_FEATURE = 1e6  # the greatest feature of such a value, in units of the greatest of a clean row


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
    return _all_features(found, table, base)


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


def _all_features(found: list[Origin], table: RawTable, base: Array) -> list[Origin]:
    """With the features that nothing moves, each of which must otherwise be moved by one origin."""
    import pandas as pd

    moved = np.zeros(base.size, dtype=int)
    for origin in found:
        moved[origin.part.columns] += 1
    if (moved > 1).any():
        both = [str(list(origin.raw(base[None, origin.part.columns], table))) for origin in found
                if (moved[origin.part.columns] > 1).any()]  # fmt: skip
        raise NotRaw(f"features mix the columns {', '.join(both[:4])}")
    fixed = np.flatnonzero(moved == 0)
    if not fixed.size:
        return found
    return [*found, Picked(Choice(fixed, base[None, fixed]), pd.DataFrame(index=[0]))]


def _tried(table: RawTable, values: Any, base: Array) -> tuple[np.ndarray, Array]:
    """The features that change when columns of the first row take other values, and what they are then."""
    if len(values) * base.size > _ENTRIES:
        raise NotRaw(f"{', '.join(map(str, values))} has too many values")
    rows = table.copies(len(values))
    for name in values:
        table.put(rows, name, values[name].array)
    X = dense(table.features(rows))
    columns = np.flatnonzero((np.abs(X - base) > 0).any(axis=0))
    return columns, X[:, columns]


def _chosen(table: RawTable, names: list[str], base: Array, beyond: Sequence[Any] = ()) -> Iterator[Origin]:
    """The values that clean rows show, or their combinations in several columns; and numbers `beyond` these."""
    import pandas as pd

    try:
        values = table.frame[names].drop_duplicates(ignore_index=True)
    except TypeError:
        raise NotRaw(f"{', '.join(map(repr, names))} holds values that cannot be compared") from None
    if len(values) > MANY_VALUES:
        raise NotRaw(f"{', '.join(map(repr, names))} has more than {MANY_VALUES} different values")
    n, more = len(values), [table.typed(names[0], _accepted(table, names[0], base, side)) for side in beyond]
    values = pd.concat([values, *more], ignore_index=True).astype(values.dtypes.to_dict())
    columns, points = _tried(table, values, base)
    if columns.size:
        far = np.arange(len(points)) >= n
        kept = _new(points, far)
        yield Picked(Choice(columns, points[kept], far[kept]), values.loc[kept].reset_index(drop=True))


def _accepted(table: RawTable, name: str, base: Array, beyond: Any) -> list[float]:
    """As many of some numbers of a column, from the first on, as the steps take; half of them if not all, and so on."""
    values = list(beyond)
    while values:
        try:
            _tried(table, table.typed(name, values), base)
            break
        except ValueError:
            values = values[: len(values) // 2]
    return values


def _new(points: Array, far: np.ndarray) -> np.ndarray:
    """All points but far ones that are others again, or whose size means nothing to a learner."""
    most = _FEATURE * max(1.0, float(np.abs(points[~far]).max(initial=0.0)))
    first = np.zeros(len(points), dtype=bool)
    first[np.unique(points, axis=0, return_index=True)[1]] = True
    return ~far | (first & (np.abs(points).max(axis=1) <= most))


@dataclass(frozen=True)
class _Numbers:
    """What a column of numbers shows, `low` to `high`, and what it can hold, `least` to `most`.

    Whole numbers of which none is negative are counts. Floats are whole where all are that stand beside missing values:
    pandas knows no others.
    """

    whole: bool
    low: float
    high: float
    least: float
    most: float

    @classmethod
    def of(cls, column: Any) -> Self:
        """Of a column with at least one number."""
        from pandas.api.types import is_integer_dtype

        shown = column.dropna()
        typed = is_integer_dtype(column.dtype)
        whole = typed or (len(shown) < len(column) and bool((shown % 1 == 0).all()))
        low, high = float(shown.min()), float(shown.max())
        least, most = (-_WHOLE, _WHOLE) if whole else (-np.inf, np.inf)
        if typed:
            held = np.iinfo(getattr(column.dtype, "numpy_dtype", column.dtype))
            least, most = max(least, float(held.min)), min(most, float(held.max))
        return cls(whole, low, high, max(least, 0.0) if whole and low >= 0 else least, most)

    def inner(self) -> list[float]:
        """Three values between the ends, of which the first two differ."""
        if self.high == self.low:
            other = self.low + 1.0 if self.low + 1.0 <= self.most else self.low - 1.0
            return [self.low, other, self.low]
        middle = np.floor((self.low + self.high) / 2) if self.whole else 0.3 * self.low + 0.7 * self.high
        return [self.low, self.high, float(middle)]

    def ends(self) -> list[float]:
        """Far below and far above the clean values."""
        far = 10.0 * ((self.high - self.low) or 1.0)
        return [max(self.least, self.low - far), min(self.most, self.high + far)]

    def beyond(self) -> tuple[Any, Any]:
        """Values of all sizes below the clean ones, next to zero where these are positive, and above, nearest first."""
        decades = 10.0 ** np.arange(1, _DECADES + 1)
        far = decades * ((self.high - self.low) or 1.0)
        below, above = np.concatenate([self.low / decades, [0.0], self.low - far]), self.high + far
        below, above = (np.unique(np.clip(side, self.least, self.most)) for side in (below, above))
        if self.whole:
            below, above = np.ceil(below), np.floor(above)
        return below[below < self.low][::-1], above[above > self.high]


def _number(table: RawTable, name: str, base: Array) -> Iterator[Origin]:
    """A column of numbers: a line if the steps scale and shift it, or else single values."""
    column = table.frame[name]
    if not column.notna().any():
        yield from _chosen(table, [name], base)
        return
    kind = _Numbers.of(column)
    inner, extra = kind.inner(), [np.nan] if column.isna().any() else []
    try:
        columns, X = _tried(table, table.typed(name, [*inner, *extra]), base)
    except ValueError:  # such as categories that stand as numbers
        yield from _chosen(table, [name], base, kind.beyond())
        return
    if not columns.size:
        return
    step = (X[1] - X[0]) / (inner[1] - inner[0])
    start = X[0] - kind.low * step
    off = np.abs(X[2] - (start + inner[2] * step)).max()
    if not off <= _AFFINE * max(1.0, float(np.abs(X[:2]).max())) or not step.any():
        yield from _chosen(table, [name], base, kind.beyond())
        return
    line = Line(columns, start, step, kind.whole, kind.least, kind.most, X[3:])
    low, high = (_goes_on(table, name, line, end, base) for end in kind.ends())
    yield Number(replace(line, low=kind.least if low else kind.low, high=kind.most if high else kind.high), name)


def _goes_on(table: RawTable, name: str, line: Line, value: float, base: Array) -> bool:
    """Whether the steps take a far value, and make of it what a line goes on to."""
    expected = base.copy()
    expected[line.columns] = line.start + value * line.step
    rows = table.copies(1)
    table.put(rows, name, table.typed(name, [value])[name].array)
    try:
        found = dense(table.features(rows))[0]
    except ValueError:
        return False
    return bool(np.abs(found - expected).max() <= _AFFINE * max(1.0, float(np.abs(expected).max())))
