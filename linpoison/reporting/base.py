"""What the report of every command offers: the answer first, then the evidence."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.writing import Writer, text_writer, write_all
from .cells import aligned, wrapped
from .json_values import plain
from .page import rendered

if TYPE_CHECKING:
    import pandas as pd

Table = tuple[str, Sequence[Sequence[str]]]
"""A caption, and rows of cells of which the first are the header."""


class Report(ABC):
    """The outcome of a command. ``print`` shows the verdict and the tables, `to_text` everything."""

    stem: ClassVar[str]
    """Name of the page and of the JSON file, which a class gives behind its bases."""

    def __init_subclass__(cls, *, stem: str = "report") -> None:
        cls.stem = stem

    @property
    @abstractmethod
    def verdict(self) -> str:
        """The answer in a sentence or two, as a manager would want it."""

    @abstractmethod
    def summary(self) -> list[Table]:
        """The tables that carry the answer."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """The rows of `to_frame`."""

    @abstractmethod
    def to_text(self) -> str:
        """All that is known, for a terminal."""

    @abstractmethod
    def to_html(self) -> str:
        """The same as one page that needs no network."""

    @abstractmethod
    def values(self) -> dict[str, Any]:
        """The fields of the JSON file, behind the verdict."""

    def writers(self) -> dict[str, Writer]:
        """What writes each file, by its name: the page, the JSON file, and before them what a report has besides.

        Nothing is drawn before it is called.
        """
        return {f"{self.stem}.html": text_writer(self.to_html), f"{self.stem}.json": text_writer(self.to_json)}

    def to_json(self) -> str:
        """The report as JSON; its first field is the verdict."""
        return json.dumps(plain({"verdict": self.verdict, **self.values()}), indent=2, allow_nan=False) + "\n"

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the files of the report, all or none."""
        write_all(Path(folder), self.writers())

    def to_frame(self) -> pd.DataFrame:
        """The figures as a table of pandas; docs/files.md says what a row is."""
        import pandas as pd

        rows = self.records()
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=self.columns())

    def columns(self) -> list[str]:
        """Names of the columns of `to_frame`, those of its first row if nothing else is said."""
        return [name for row in self.records()[:1] for name in row]

    def __str__(self) -> str:
        blocks = [wrapped(self.verdict, ""), *(f"{caption}\n{aligned(rows)}" for caption, rows in self.summary())]
        return "\n\n".join(blocks)

    def _repr_html_(self) -> str:
        """Verdict and tables for a notebook."""
        return rendered("cell.html.j2", verdict=self.verdict, tables=self.summary())
