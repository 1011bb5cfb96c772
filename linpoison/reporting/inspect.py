"""The report of `inspect`: which rows look planted, why, and what the model is without them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..core.writing import Writer, table_writer
from .base import Report, Table
from .cells import aligned, listed, own_words, percent, points
from .json_values import serial
from .page import plain_page
from .words import ROWS_ARE_NUMBERED

SCHEMA = 1
SHOWN = 20
READING = (
    "The score of a row is the sum, over five detectors, of -log of how seldom a clean row looks so strange: two of "
    "its label beside the nearest rows, one of its label beside models, one of its pull on the model, one of its "
    "copies. Rows stand out by this sum or by what one of all detectors says, and those are ranked first. Detectors "
    "are fitted on rows that do not stand out, and judge rows that they have not seen.",
    "Of the rows that stand out about a twentieth may be false alarms: rare or mislabelled rows that nobody planted. "
    "Of two rows that are equal but for their label both stand out where such pairs are rare: which label is wrong "
    "they do not tell. "
    "Poison that looks like clean rows to every detector is not found; no finding is no proof.",
    "Errors are cross-validated on the rows that are not named, with copies kept together.",
)


@dataclass(frozen=True, kw_only=True)
class InspectReport(Report, stem="inspect"):
    """What `inspect` found. The fields are documented in docs/files.md."""

    dataset: dict[str, Any]
    model: dict[str, Any]
    ranking: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    effect: dict[str, Any]
    detectors: list[str]
    left_out: dict[str, str]
    versions: dict[str, str]
    seed: int
    seconds: float = 0.0
    command: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def suspects(self) -> list[dict[str, Any]]:
        """The named rows, the most suspicious first."""
        return [entry for entry in self.ranking if entry["named"]]

    @property
    def verdict(self) -> str:
        """What is found, in a sentence or two."""
        effect, n = self.effect, len(self.ranking)
        if not effect["n_named"]:
            return f"No row of {n} stands out."
        acting = sum(len(group["rows"]) for group in self.groups)
        count = f"{len(self.groups)} groups" if len(self.groups) > 1 else "one group"
        together = f", {acting} of them in {count} of rows that act together" if acting else ""
        if effect["high"] < 0:
            what = "they do harm: without them the model errs less"
        elif effect["low"] > 0:
            what = "without them the model errs more: they are rather rare rows than poison"
        else:
            what = "whether they do harm cannot be told from chance"
        return f"{effect['n_named']} of {n} rows stand out{together}; {what} ({self.change})."

    @property
    def change(self) -> str:
        """Errors with and without the named rows, in words."""
        effect = self.effect
        return (
            f"held-out error {percent(effect['error_with'])} with them, {percent(effect['error_without'])} without, "
            f"95 % interval of the change {points(effect['low'], effect['high'])} points"
        )

    def records(self) -> list[dict[str, Any]]:
        """All rows by rank, with the surprise of each detector."""
        return [self._line(entry) for entry in self.ranking]

    def summary(self) -> list[Table]:
        """The first of the rows that stand out."""
        return [("Rows that stand out", self.table())] if self.suspects else []

    def _line(self, entry: dict[str, Any]) -> dict[str, Any]:
        own = {name: entry[name] for name in ("rank", "row", "label", "named", "score", "group", "copies")}
        return {**own, "reasons": "; ".join(entry["reasons"]), **{n: entry["surprises"][n] for n in self.detectors}}

    def table(self) -> list[tuple[str, ...]]:
        """Header and the first of the named rows."""
        lines = [(str(e["row"]), str(e["label"]), f"{e['score']:.1f}", "; ".join(e["reasons"])) for e in self.suspects]
        return [("row", "label", "score", "why"), *lines[:SHOWN]]

    def group_lines(self) -> list[str]:
        """A line for each group of rows that act together."""
        return [
            f"{len(group['rows'])} rows of label {group['label']} ({group['distinct']} distinct) lie in one direction "
            f"from their class: {', '.join(map(str, group['rows'][:SHOWN]))}{', ...' * (len(group['rows']) > SHOWN)}"
            for group in self.groups
        ]

    def notes(self) -> list[str]:
        """How to read it, and what did not run."""
        return [*READING, *(f"{name} was left out: {why}." for name, why in self.left_out.items())]

    def to_text(self) -> str:
        """Verdict, table and groups, for people."""
        named = len(self.suspects)
        blocks = [self.verdict + own_words(self.dataset)]
        if named:
            more = f"\n... and {named - SHOWN} more, in suspects.csv" if named > SHOWN else ""
            blocks.append(f"Rows{ROWS_ARE_NUMBERED[1:].replace('rows are', '')}\n{aligned(self.table())}{more}")
        blocks += [listed(self.group_lines())] if self.groups else []
        blocks.append(listed(self.notes(), "How to read this"))
        return "\n\n".join(blocks) + "\n"

    def values(self) -> dict[str, Any]:
        """All fields, as in ``inspect.json``: of the rows only those that are named."""
        return {**serial(self, leave=("ranking",)), "suspects": self.suspects}

    def to_html(self) -> str:
        """The report as one self-contained page."""
        from .plots import suspicious

        figure = suspicious([entry["score"] for entry in self.ranking], [entry["named"] for entry in self.ranking])
        subtitle = (
            f"{self.model['loss']} loss, reg {self.model['reg']:g}; {len(self.ranking)} rows, "
            f"{self.dataset['n_features']} features; detectors {', '.join(self.detectors)}",
            self.dataset.get("labels", ""),
        )
        sections = [("Rows that act together", self.group_lines()), ("How to read this", self.notes())]
        return plain_page(
            self, f"Suspicious rows of {self.dataset['name']}", subtitle, sections, figures=[figure],
        )  # fmt: skip

    def writers(self) -> dict[str, Writer]:
        """``suspects.csv`` besides."""
        return {"suspects.csv": table_writer(self.records), **super().writers()}
