"""The report of `budget`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .cells import aligned, own_words, percent, wrapped
from .json_values import plain

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
class BudgetReport:
    """What `budget` found. The fields are documented in docs/files.md."""

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

    def to_json(self) -> str:
        """The report as JSON text, as in ``budget.json``."""
        return json.dumps(plain(asdict(self)), indent=2, allow_nan=False) + "\n"

    def to_text(self) -> str:
        """The report as a table for people."""
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
        heading = (
            f"{self.dataset['name']}: {self.n_trusted} training rows inside the fixed filters; "
            f"{self.model['loss']} loss, reg {self.model['reg']:g}" + own_words(self.dataset)
        )
        lines = [wrapped(f"{name} was left out: {why}.", "- ") for name, why in self.left_out.items()]
        reading = (*READING, FLIPPED) if self.target.startswith("flip:") else READING
        lines += [wrapped(line, "- ") for line in (*reading, *self.assumptions)]
        return f"{heading}\n\n{aligned([header, *body])}\n\nHow to read this\n" + "\n".join(lines) + "\n"


def _share(value: float) -> str:
    return percent(value) if np.isfinite(value) else "none will do"


def _rows(value: float, n: float) -> str:
    return str(int(np.ceil(value * n - 1e-9))) if np.isfinite(value) else "-"
