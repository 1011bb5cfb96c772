"""Where features come from: each part of a domain with the raw values that make it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core import Array
from ..core.parts import Choice, Line, Part, Words


@dataclass(frozen=True, eq=False)
class Origin(ABC):
    """A part, and the raw columns that it is made from."""

    part: Part

    @abstractmethod
    def raw(self, X: Array) -> dict[str, Any]:
        """Raw values by column, of features that the part holds, shape (m, c)."""


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

    def raw(self, X: Array) -> dict[str, Any]:
        rows = self.values.iloc[self.part.which(X)]
        return {name: rows[name].array for name in rows}


@dataclass(frozen=True, eq=False)
class Number(Origin):
    """A number, or a missing one."""

    part: Line
    name: str

    def raw(self, X: Array) -> dict[str, Any]:
        return {self.name: self.part.value(X)}


@dataclass(frozen=True, eq=False)
class Text(Origin):
    """A text, given by its words."""

    part: Words
    name: str
    words: tuple[str, ...]

    def raw(self, X: Array) -> dict[str, Any]:
        counts = self.part.counts(X)
        texts = [
            " ".join(" ".join([self.words[word]] * int(row[word])) for word in np.argsort(-row, kind="stable")
                     if row[word] > 0)
            for row in counts
        ]  # fmt: skip
        return {self.name: texts}


def moved(origin: Origin, part: Part) -> Origin:
    """The origin of a part with other bounds."""
    return replace(origin, part=part)
