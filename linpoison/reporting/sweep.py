"""The table of many audits."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..core.writing import as_text, write_file
from .findings import AttackEntry
from .report import AuditReport

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
class Sweep:
    """The outcome of `sweep`, in the order of its axes: the last of them (attacks) changes fastest."""

    cells: tuple[SweepCell, ...]

    @property
    def reports(self) -> list[AuditReport]:
        """The reports of the audits that did not fail."""
        return [cell.report for cell in self.cells if cell.report is not None]

    @property
    def failures(self) -> list[SweepCell]:
        """The audits that failed."""
        return [cell for cell in self.cells if cell.report is None]

    def rows(self) -> list[dict[str, Any]]:
        """The table: one row for each poison of each audit, and for each failure."""
        return [row for cell in self.cells for row in cell.rows()]

    def columns(self) -> list[str]:
        """Names of the columns: those that are always there, and the error behind each defence that was run."""
        names = dict.fromkeys(
            name for row in self.rows() for name in row if name.startswith("test_error_") and name not in _FIXED
        )
        place = _FIXED.index("n_poison")
        return [*_FIXED[:place], *names, *_FIXED[place:]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as a ``.csv`` file; cells are empty where there is no value."""
        write_file(path, self._write)

    def _write(self, stream: BinaryIO) -> None:
        with as_text(stream) as text:
            writer = csv.DictWriter(text, self.columns(), restval="")
            writer.writeheader()
            writer.writerows(self.rows())


def _listed(names: Sequence[str]) -> str:
    return ",".join(names) or "none"
