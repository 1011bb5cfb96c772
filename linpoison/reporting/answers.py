"""The report of `certify_rows`: an answer for each row, and how many changed training rows it withstands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.writing import Writer, table_writer
from .base import Report, Table
from .cells import aligned, listed, own_words
from .json_values import serial
from .page import plain_page

SCHEMA = 1
SHOWN = 20
READING = {
    "deletions": "If at most so many of the training rows were planted, whoever planted them and wherever they lie, "
    "training without them gives the same answer.",
    "flips": "If at most so many of the training rows carry a wrong label, training on the right ones gives the same "
    "answer.",
}
UNKNOWN = "-1 where not even the answer itself is proved, next to a score of zero."


@dataclass(frozen=True, kw_only=True)
class AnswersReport(Report, stem="answers"):
    """What `certify_rows` found; `to_frame` holds the `answers`. The fields are documented in docs/files.md."""

    dataset: dict[str, Any]
    model: dict[str, Any]
    kind: str
    most: int
    answers: list[dict[str, Any]]
    assumptions: list[str]
    versions: dict[str, str]
    seed: int
    seconds: float = 0.0
    command: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def verdict(self) -> str:
        """What half of the answers withstand."""
        held = np.array([entry["withstands"] for entry in self.answers])
        unit = "planted rows" if self.kind == "deletions" else "flipped labels"
        more = " (no more were looked at)" if np.median(held) >= self.most else ""
        half, none = int(np.median(held)), int((held < 1).sum())
        if half < 1:
            return f"{none} of {held.size} answers withstand not one of the {unit}."
        return (
            f"Of {held.size} answers half withstand {half} {unit} or more{more}; "
            f"{none or 'none'} may not withstand one."
        )

    def records(self) -> list[dict[str, Any]]:
        """Row number, answer, score and what it withstands."""
        return self.answers

    def table(self) -> list[tuple[str, ...]]:
        """Header and the first of the rows."""
        body = [(str(e["row"]), str(e["answer"]), f"{e['score']:.4g}", str(e["withstands"])) for e in self.answers]
        return [("row", "answer", "score", "withstands"), *body[:SHOWN]]

    def summary(self) -> list[Table]:
        """The first of the answers."""
        return [("Answers", self.table())]

    def notes(self) -> list[str]:
        """How to read it."""
        return [READING[self.kind], UNKNOWN, *self.assumptions]

    def to_text(self) -> str:
        """Verdict, answers and what they rest on."""
        left = len(self.answers) - SHOWN
        more = f"\n... and {left} more, in answers.csv" if left > 0 else ""
        notes = listed(self.notes(), "How to read this")
        return f"{self.verdict}{own_words(self.dataset)}\n\n{aligned(self.table())}{more}\n\n{notes}\n"

    def values(self) -> dict[str, Any]:
        """All fields, as in ``answers.json``."""
        return serial(self)

    def to_html(self) -> str:
        """The report as one self-contained page."""
        return plain_page(
            self, "Certified answers", (self.dataset.get("labels", ""),), [("How to read this", self.notes())],
        )  # fmt: skip

    def writers(self) -> dict[str, Writer]:
        """``answers.csv`` besides."""
        return {"answers.csv": table_writer(self.records, end="\n"), **super().writers()}
