"""The table of many audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.writing import Writer, table_writer
from .base import Report, Table
from .cells import counted, domain_words, percent
from .findings import AttackEntry
from .page import plain_page
from .report import AuditReport
from .words import measured

SCHEMA = 1
"""Of ``sweep.json``."""
_FIXED = (
    "epsilon", "seed", "target", "metric", "defenses", "attack", "domain", "against", "clean_test_error",
    "test_error_behind_all", "unseen_test_error_behind_all", "n_poison", "n_distinct", "seconds", "residual", "gap",
    "peak_memory_mb", "folder", "failure",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SweepCell:
    """One audit of a sweep.

    Parameters
    ----------
    options : AuditOptions
        With the axes `epsilon`, `seed`, `target`, `defenses` and `attacks`.
    report : AuditReport or None
        None if the audit failed. Without what pictures are drawn from; with the poison rows only if the
        audit ran just now, not if its report was read back.
    failure : str
        The reason in one line; empty if there is a report.
    folder : str
        Name of the cell's folder below that of the sweep; empty if there is none.
    """

    options: Any
    report: AuditReport | None
    failure: str = ""
    folder: str = ""

    def rows(self) -> list[dict[str, Any]]:
        """One row of the table for each poison and for each failure."""
        if self.report is None:
            return [{**self._axes(), "attack": _listed(self.options.attacks), "failure": self.failure}]
        done = [self._row(self.report, entry) for entry in self.report.attacks]
        failed = [{**self._axes(), "attack": item["name"], "failure": item["reason"]} for item in self.report.failures]
        return done + failed

    def _axes(self) -> dict[str, Any]:
        options = self.options
        return {
            "epsilon": options.epsilon, "seed": options.seed, "target": options.target,
            "metric": options.metric, "defenses": _listed(options.defenses), "folder": self.folder, "failure": "",
        }  # fmt: skip

    def _row(self, report: AuditReport, entry: AttackEntry) -> dict[str, Any]:
        own = {name: getattr(entry, name) for name in _FIXED if name in AttackEntry.__dataclass_fields__}
        return {
            **self._axes(), **own, "attack": entry.name, "clean_test_error": report.clean["test_error"],
            "peak_memory_mb": report.peak_memory_mb,
            **{f"test_error_{name}": value for name, value in entry.test_error.items()},
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class SweepReport(Report, stem="sweep"):
    """The outcome of `sweep`, in the order of its axes: the last of them (attacks) changes fastest.

    A row of `to_frame` is a poison of an audit, or a failure.
    """

    cells: tuple[SweepCell, ...]

    @property
    def reports(self) -> list[AuditReport]:
        """The reports of the audits that did not fail."""
        return [cell.report for cell in self.cells if cell.report is not None]

    @property
    def failures(self) -> list[SweepCell]:
        """The audits that failed."""
        return [cell for cell in self.cells if cell.report is None]

    @property
    def verdict(self) -> str:
        """The most that any of the poisons does behind every filter at once."""
        done = [row for row in self.records() if not row["failure"]]
        ended = f"{len(self.reports)} of {counted(len(self.cells), 'audit')} ended"
        if not done:
            return f"{ended}, none of them with a poison."
        most = max(done, key=lambda row: float(row["test_error_behind_all"]))
        clean, behind = (percent(most[name]) for name in ("clean_test_error", "test_error_behind_all"))
        what = measured(most["metric"], "test error")
        if clean == behind:
            return f"{ended}. Behind every filter at once no poison moves the {what}: it stays at {clean}."
        return (
            f"{ended}. Behind every filter at once {most['attack']} does most (epsilon {most['epsilon']:g}, seed "
            f"{most['seed']}, target {most['target']}, filters {most['defenses']}, {domain_words(most['domain'])}): it "
            f"takes the {what} from {clean} to {behind}."
        )

    def summary(self) -> list[Table]:
        """One row for each poison."""
        head = ("attack", "epsilon", "seed", "target", "defences", "domain", "clean", "behind all", "unseen", "seconds")
        errors = ("clean_test_error", "test_error_behind_all", "unseen_test_error_behind_all")
        body = [
            (*_axes(row), row["domain"], *(percent(row[name]) for name in errors), f"{row['seconds']:.1f}")
            for row in self.records()
            if not row["failure"]
        ]
        return [("Poisons", [head, *body])]

    def records(self) -> list[dict[str, Any]]:
        """One for each poison of each audit, and for each failure."""
        return [row for cell in self.cells for row in cell.rows()]

    def to_text(self) -> str:
        """Verdict, table and failures, for people."""
        return "\n".join([str(self), "", *self._failures()])

    def to_html(self) -> str:
        """The same as one page."""
        return plain_page(self, "Sweep", (), [("What failed", self._failures())])

    def values(self) -> dict[str, Any]:
        """The rows, as in ``sweep.json``."""
        return {"schema": SCHEMA, "rows": self.records()}

    def writers(self) -> dict[str, Writer]:
        """``sweep.csv`` besides."""
        return {"sweep.csv": table_writer(self.records, self.columns), **super().writers()}

    def _failures(self) -> list[str]:
        return [f"failed: {', '.join(_axes(row))}: {row['failure']}" for row in self.records() if row["failure"]]

    def columns(self) -> list[str]:
        """Names of the columns: those that are always there, and the error behind each defence that was run."""
        names = dict.fromkeys(
            name for row in self.records() for name in row if name.startswith("test_error_") and name not in _FIXED
        )
        place = _FIXED.index("n_poison")
        return [*_FIXED[:place], *names, *_FIXED[place:]]


def _axes(row: dict[str, Any]) -> tuple[str, ...]:
    return str(row["attack"]), f"{row['epsilon']:g}", str(row["seed"]), row["target"], row["defenses"]


def _listed(names: Sequence[str]) -> str:
    return ",".join(names) or "none"
