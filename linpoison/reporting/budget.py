"""The report of `budget`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .base import Report, Table
from .cells import aligned, listed, own_words, percent, wrapped
from .page import plain_page

SCHEMA = 1
READING = (
    "No poison inside the fixed filters that weighs less than 'at least' makes the model optimal; 'enough' is what the "
    "poison found weighs. Both are fractions of the clean training rows that the filters keep.",
    "A model within a hair of the target may cost less: the bound is on learning exactly this one.",
)
FLIPPED = (
    "The target is the cheapest model found that turns the row. What is proved is of this model: another that "
    "turns the row may cost less. 'linpoison certify' proves what no poison of a budget turns."
)


@dataclass(frozen=True, kw_only=True)
class BudgetReport(Report, stem="budget"):
    """What `budget` found; a row of `to_frame` is one of `entries`. The fields are documented in docs/files.md."""

    dataset: dict[str, Any]
    model: dict[str, Any]
    target: str
    entries: list[dict[str, Any]]
    certificates: list[dict[str, Any]]
    assumptions: list[str]
    n_trusted: int
    versions: dict[str, str]
    seed: int
    command: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def verdict(self) -> str:
        """The least mass of poison that makes the cheapest of the targets the learned model."""
        cheapest = min(self.entries, key=lambda item: float(item["bound"]))
        what = "the given model" if cheapest["name"] == "model" else f"the model {cheapest['name']}"
        if self.target.startswith("flip:"):
            what = f"the cheapest model found that turns test row {self.target[5:]}"
        elif len(self.entries) > 1:
            what = f"the cheapest of {len(self.entries)} targets ({cheapest['name']})"
        if not np.isfinite(cheapest["bound"]):
            return f"No poison inside the fixed filters makes {what} the learned one."
        rows = _rows(cheapest["bound"], cheapest.get("total", self.n_trusted))
        enough = f", and {percent(cheapest['primal'])} is enough" if np.isfinite(cheapest["primal"]) else ""
        return (
            f"To plant {what}, which errs on {percent(cheapest['test_error'])} of the test rows, takes poison of at "
            f"least {percent(cheapest['bound'])} of the {self.n_trusted} rows that the fixed filters keep ({rows} rows)"
            f"{enough}."
        )

    def summary(self) -> list[Table]:
        """One row for each target."""
        header = ("target", "test error", "at least", "enough", "rows, at least", "exact (not verified)", "seconds")
        body = [
            (
                item["name"],
                percent(item["test_error"]),
                _share(item["bound"]),
                _share(item["primal"]),
                _rows(item["bound"], item.get("total", self.n_trusted)),
                "yes" if item["exact"] else "no",
                f"{item['seconds']:.2f}",
            )
            for item in self.entries
        ]
        return [("Least poison for each target, as a share of the rows that the filters keep", [header, *body])]

    def records(self) -> list[dict[str, Any]]:
        """The entries."""
        return [{name: value for name, value in item.items() if name != "info"} for item in self.entries]

    def values(self) -> dict[str, Any]:
        """All fields, as in ``budget.json``."""
        return asdict(self)

    def to_text(self) -> str:
        """The report as a table for people."""
        blocks = [wrapped(self.verdict, ""), self._heading() + own_words(self.dataset), aligned(self.summary()[0][1])]
        return "\n\n".join([*blocks, listed(self._notes(), "How to read this")]) + "\n"

    def to_html(self) -> str:
        """The report as one self-contained page."""
        return plain_page(
            self, f"Poisoning budgets of {self.dataset['name']}", (self._heading(), self.dataset.get("labels", "")),
            [("How to read this", self._notes())],
        )  # fmt: skip

    def _heading(self) -> str:
        return (
            f"{self.dataset['name']}: {self.n_trusted} training rows inside the fixed filters; "
            f"{self.model['loss']} loss, reg {self.model['reg']:g}"
        )

    def _notes(self) -> list[str]:
        left_out = [f"{name} was left out: {why}." for name, why in self.left_out.items()]
        return [*left_out, *READING, *((FLIPPED,) if self.target.startswith("flip:") else ()), *self.assumptions]


def _share(value: float) -> str:
    return percent(value) if np.isfinite(value) else "none will do"


def _rows(value: float, n: float) -> str:
    return str(int(np.ceil(value * n - 1e-9))) if np.isfinite(value) else "-"
