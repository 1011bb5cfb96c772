"""Where features come from: each part of a domain with the raw values that make it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import Array
from ..core.parts import Choice, Line, Part, Words
from .table import RawTable


@dataclass(frozen=True, eq=False)
class Origin(ABC):
    """A part, and the raw columns that it is made from."""

    part: Part

    @abstractmethod
    def raw(self, X: Array, table: RawTable) -> dict[str, Any]:
        """Raw values by column, of features that the part holds, shape (m, c)."""

    @property
    def sampled(self) -> tuple[str, ...]:
        """Columns of numbers of which beyond the clean ones only a few are tried."""
        return ()

    @abstractmethod
    def shown(self, table: RawTable) -> Any:
        """Values of its columns, as a frame of these."""


@dataclass(frozen=True, eq=False)
class Picked(Origin):
    """Values of one column, or combinations of several, that clean rows show.

    Parameters
    ----------
    values : pandas.DataFrame
        One row for each point of the part.
    """

    part: Choice
    values: Any

    @property
    def sampled(self) -> tuple[str, ...]:
        return tuple(map(str, self.values)) if self.part.far.any() else ()

    def shown(self, table: RawTable) -> Any:
        return self.values

    def raw(self, X: Array, table: RawTable) -> dict[str, Any]:
        rows = self.values.iloc[self.part.which(X)]
        return {name: rows[name].array for name in rows}


@dataclass(frozen=True, eq=False)
class Number(Origin):
    """A number, or a missing one."""

    part: Line
    name: str

    def shown(self, table: RawTable) -> Any:
        """Those of clean rows, and as often the least, the greatest and a missing one."""
        import pandas as pd

        column = table.frame[self.name]
        ends = [float(column.min()), float(column.max()), *([np.nan] if column.isna().any() else [])]
        return pd.concat([table.frame[[self.name]], table.typed(self.name, np.resize(ends, len(column)))])

    def raw(self, X: Array, table: RawTable) -> dict[str, Any]:
        return {self.name: table.typed(self.name, self.part.value(X))[self.name].array}


@dataclass(frozen=True, eq=False)
class Text(Origin):
    """A text, given by its words."""

    part: Words
    name: str
    words: tuple[str, ...]

    def shown(self, table: RawTable) -> Any:
        return table.frame[[self.name]]

    def raw(self, X: Array, table: RawTable) -> dict[str, Any]:
        counts = self.part.counts(X)
        texts = [
            " ".join(" ".join([self.words[word]] * int(row[word])) for word in np.argsort(-row, kind="stable")
                     if row[word] > 0)
            for row in counts
        ]  # fmt: skip
        return {self.name: texts}


def mixed_rows(table: RawTable, origins: Sequence[Origin], least: int, most: int) -> Any:
    """Rows that take the values of each origin from another row, and those of other columns from clean ones.

    There are so many that each value is in one of them, if `least` and `most` allow.
    """
    rng = np.random.default_rng(0)
    parts = [values for origin in origins if len((values := origin.shown(table)).columns)]
    held = {name for values in parts for name in values}
    parts += [table.frame[[name]] for name in table.frame if name not in held]
    m = min(most, max(least, *map(len, parts)))
    rows = table.copies(m)
    for values in parts:
        chosen = values.iloc[rng.permutation(max(m, len(values)))[:m] % len(values)]
        for name in values:
            table.put(rows, name, chosen[name].array)
    return rows
