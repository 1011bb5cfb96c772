"""Rows that agree in columns of numbers: as users name them on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..core import Array, InputError
from ..core.parts import dense
from ..risk import Sample
from .matching import FeatureMatch, Matcher, known_column
from .parts import Index

DISTINCT = 6
"""A column of more values is cut at its quartiles."""
_OTHER = "other"


class ColumnMatch(Matcher):
    """All rows that agree in some columns of X; of a column of many values, in its quarter.

    A column of more than `DISTINCT` values among the auxiliary rows is cut at its quartiles there. If all of these are
    its least value, as of word counts, most of them zero, that value is one range and the rest is cut at its median. A
    value that no auxiliary row has, in a column of few, is in no subpopulation.

    Parameters
    ----------
    columns : sequence of int or str
        Numbers of columns of X from 0, or names, see `column_numbers`.
    names : sequence of str, optional
        Of all columns; the `feature_names` of the auxiliary rows by default. Without any, and of columns that share
        a name, subpopulations are named by "x0", "x1" and so on.

    Attributes
    ----------
    places_ : list of int
        Numbers of the columns.
    feature_names_ : list of str or None
        Names of all columns.

    Raises
    ------
    InputError
        When rows are fitted or assigned: for a column that there is not, that is named twice, or that is not of
        numbers; for NaN, for names of some columns only, or rows whose columns have other names than those fitted.

    Examples
    --------
    >>> X = np.array([[0.0, 20], [0, 31], [0, 42], [1, 53], [1, 64], [1, 75], [1, 86]])
    >>> match = ColumnMatch([0, 1], ["sex", "age"]).fit(Sample(X, np.ones(7)))
    >>> match.names_
    ['sex=0, age=36.5 to 53', 'sex=0, age=below 36.5', 'sex=1, age=53 to 69.5', 'sex=1, age=from 69.5']
    >>> match.assign(Sample(np.array([[1.0, 200], [2, 20]]), np.ones(2)))
    array([ 3, -1])
    """

    def __init__(self, columns: Sequence[int | str], names: Sequence[str] | None = None) -> None:
        self.columns = columns
        self.names = names

    def fit(self, auxiliary: Sample) -> Self:
        """Find the values and quartiles of the columns, and their combinations, among the auxiliary rows."""
        d, names = auxiliary.X.shape[1], auxiliary.feature_names if self.names is None else self.names
        if names is not None and len(names) != d:
            raise InputError(f"{d} names, one for each column", f"{len(names)}")
        if isinstance(self.columns, str):
            raise InputError("a list of columns", repr(self.columns), f"Say [{self.columns!r}].")
        self.feature_names_ = None if names is None else list(names)
        self.places_ = [_place(column, names, d) for column in self.columns]
        values = [_values(auxiliary, place) for place in self.places_]
        self.cuts_ = {self._name(place): _Cut.of(v) for place, v in zip(self.places_, values, strict=True)}
        if len(self.cuts_) < len(values):
            raise InputError("columns that are named once", f"{list(self.columns)}, with one name for two of them")
        self.match_ = FeatureMatch(list(self.cuts_)).fit(self._annotated(auxiliary))
        self.names_, self.sizes_ = self.match_.names_, self.match_.sizes_
        return self

    def _assign(self, rows: Sample) -> Index:
        known, given = self.feature_names_, rows.feature_names
        if self.names is None and None not in (known, given) and list(given or ()) != known:
            raise InputError(f"rows of the columns {known}", f"the columns {list(given or ())}", "Order them alike.")
        return self.match_.assign(self._annotated(rows))

    def _name(self, place: int) -> str:
        names = self.feature_names_ or []
        return f"x{place}" if not names or names.count(names[place]) > 1 else names[place]

    def _annotated(self, rows: Sample) -> Sample:
        pairs = zip(self.places_, self.cuts_.items(), strict=True)
        return Sample(
            rows.X, rows.y, annotations={name: cut.words(_values(rows, place)) for place, (name, cut) in pairs}
        )


@dataclass(frozen=True, eq=False)
class _Cut:
    """The values of a column, or the borders of its ranges, ascending."""

    points: Array
    ranges: bool

    @classmethod
    def of(cls, values: Array) -> _Cut:
        distinct = np.unique(values)
        if distinct.size <= DISTINCT:
            return cls(distinct, False)
        borders = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
        borders = borders[borders > distinct[0]]
        return cls(borders if borders.size else np.unique(np.quantile(values[values > distinct[0]], [0, 0.5])), True)

    def words(self, values: Array) -> Any:
        """Each value as a word."""
        ends = told_apart(self.points)
        if not self.ranges:
            place = np.searchsorted(self.points, values).clip(max=len(ends) - 1)
            return np.where(self.points[place] == values, np.array(ends)[place], _OTHER)
        words = [f"below {ends[0]}", *(f"{low} to {high}" for low, high in zip(ends[:-1], ends[1:], strict=True))]
        return np.array([*words, f"from {ends[-1]}"])[np.digitize(values, self.points)]


def column_numbers(words: Sequence[str], names: Sequence[str] | None, d: int, remedy: str = "") -> list[int]:
    """The columns of names, or else of numbers from 0.

    Parameters
    ----------
    words : sequence of str
    names : sequence of str or None
        Of all columns.
    d : int
        How many there are.
    remedy : str
        Added to the message of an error.

    Raises
    ------
    InputError
        For a column that there is not, one that is named twice, or a name that several columns share.

    Examples
    --------
    >>> column_numbers(["age", "0"], ("sex", "age"), 2)
    [1, 0]
    """
    places = [_number(word, names, d, remedy) for word in words]
    if len(set(places)) < len(places):
        raise InputError("columns that are named once", repr(",".join(words)))
    return places


def _place(column: int | str, names: Sequence[str] | None, d: int) -> int:
    return _number(column, names, d, "") if isinstance(column, str) else known_column(column, d)


def _number(word: str, names: Sequence[str] | None, d: int, remedy: str) -> int:
    found = [] if names is None else [place for place, name in enumerate(names) if name == word]
    if len(found) > 1:
        raise InputError("a column by a name that no other has", repr(word), f"Say {found[0]} or {found[1]}.")
    if found:
        return found[0]
    if word.isascii() and word.isdigit() and len(word) <= 18 and int(word) < d:
        return int(word)
    known = "" if names is None else f" (such as {', '.join(names[:5])})"
    raise InputError(f"columns by name{known} or by number below {d}", repr(word), remedy)


def told_apart(values: Array) -> list[str]:
    """Different numbers as different words, as short as that allows.

    Examples
    --------
    >>> told_apart(np.array([2001.5, 2003.0])), told_apart(np.array([0.1, 2.0]))
    (['2002', '2003'], ['0.1', '2'])
    """
    for digits in range(3, 18):
        words = [f"{value:.{digits}g}" for value in values]
        if len(set(words)) == len(words):
            break
    return words


def _values(rows: Sample, place: int) -> Array:
    column = rows.X[:, [known_column(place, rows.X.shape[1])]]
    try:
        values = dense(column).ravel()
    except (TypeError, ValueError):
        remedy = f"Encode it, or take FeatureMatch([{place}])."
        raise InputError(f"numbers in column {place}", "something else", remedy) from None
    if np.isnan(values).any():
        raise InputError(f"numbers in column {place}", "NaN")
    return values
