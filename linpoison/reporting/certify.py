"""The report of `certify`: what is proved, as JSON, text and page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..core import InputError
from .base import Report, Table
from .cells import aimed_table, aligned, listed, loss_table, own_words, percent, rows_table, rungs_table, wrapped
from .json_values import known
from .page import plain_page
from .words import measured

SCHEMA = 1
READING = (
    "The bound holds for every poison of the budget that the fixed filters let through, on exactly these test rows; no "
    "sampling enters. The attack's error is what one poison did to the same defender.",
    "Row by row, each row has an attacker of its own: a row is aimed at successfully if a model that was trained with "
    "poison of the budget errs on it (fractional copies are allowed, as in the bound), certified if no such poison "
    "changes that it is classified rightly, and else open.",
    "The filters are fitted on the clean rows and stay fixed. Against filters that are fitted again with the poison in "
    "(as in an audit) these bounds say nothing.",
    "The loss bound is on the mean loss of the clean training rows that the filters keep.",
)

ROW_BY_ROW = (
    "Each row has an attacker of its own: every row that is turned is misclassified by a model that was trained again "
    "on what was changed for it, and no row that is certified is by any such change. No sampling enters."
)
ROWS = {
    "deletions": (
        "rows deleted",
        "A row is certified if it is classified rightly whichever so many training rows, of those that the fixed "
        "filters keep, are deleted.",
    ),
    "flips": (
        "labels flipped",
        "A row is certified if it is classified rightly whichever so many training rows carry the other label. No "
        "filter looks at the changed rows.",
    ),
    "radius": (
        "epsilon",
        "A row is certified at a budget if no poison of it that the fixed filters let through changes that it is "
        "classified rightly. The budget up to which each row is certified is in certify.json, as a fraction of the "
        "rows that the filters keep.",
    ),
    "partition": (
        "rows inserted",
        "The classifier divides the rows that the fixed filters keep by a hash of their features, trains a model on "
        "each part and lets them vote. A row is certified if no so many inserted rows that the filters let through "
        "change a right vote. No attack is tried.",
    ),
}
"""Of each kind of certificate of single rows: its unit, and how to read it."""


@dataclass(frozen=True, kw_only=True)
class CertifyReport(Report, stem="certify"):
    """What `certify` found; a row of `to_frame` is one of `rungs`. The fields are documented in docs/files.md."""

    dataset: dict[str, Any]
    model: dict[str, Any]
    rungs: list[dict[str, Any]]
    certificates: list[dict[str, Any]]
    assumptions: list[str]
    n_trusted: int
    defenses: list[str]
    left_out: dict[str, str]
    versions: dict[str, str]
    seed: int
    seconds: float
    command: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    kind: str = "error"
    metric: str = "error"
    schema: int = SCHEMA

    def values(self) -> dict[str, Any]:
        """All fields, as in ``certify.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, text: str) -> CertifyReport:
        """Read what `to_json` wrote, of earlier versions with the same schema, too."""
        try:
            values = json.loads(text)
            if values["schema"] != SCHEMA:
                raise InputError(f"a report of schema {SCHEMA}", f"schema {values['schema']!r}")
            report = cls(**known(cls, values))
            report.to_text()  # a rung that lacks what is told of it is no rung
            return report
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("a report of certify in JSON", f"text that is none ({error})") from None

    @property
    def verdict(self) -> str:
        """What no poison of the greatest budget of which something is proved can do."""
        rungs = self.rungs
        proved = [rung for rung in rungs if rung["bound"] < 1]
        if not proved:
            return f"Nothing is proved of {_change(self, rungs[0])}: the bound is 100 %."
        rung, attacked = proved[-1], proved[-1]["attack_error"]
        beyond = "" if rung is rungs[-1] else f" Of {_change(self, rungs[-1])} nothing is proved."
        if self.kind != "error":
            turned = "" if attacked is None else f"; {percent(attacked)} can be turned, or err anyway"
            return (
                f"Against {_change(self, rung)}, {percent(rung['certified_fraction'])} of the "
                f"{self.dataset['n_test']} test rows keep their right label, proved row by row{turned}.{beyond}"
            )
        reached = "" if attacked is None else f"; attacks reach {percent(attacked)}"
        return (
            f"No {_change(self, rung)} brings the {measured(self.metric, 'test error')} above "
            f"{percent(rung['bound'])}, from {percent(rung['clean_error'])} without it{reached}.{beyond} "
            "The filters are held fixed."
        )

    def summary(self) -> list[Table]:
        """Those of the rungs, and that of losses where there is one."""
        if self.kind != "error":
            return [("Rows", rows_table(self.rungs, ROWS[self.kind][0]))]
        tables = (
            (measured(self.metric, "Test error"), rungs_table(self.rungs)),
            ("Row by row", aimed_table(self.rungs)),
            ("Mean loss of the clean training rows", loss_table(self.rungs)),
        )
        return [table for table in tables if table[1]]

    def records(self) -> list[dict[str, Any]]:
        """The rungs."""
        return [dict(rung) for rung in self.rungs]

    def to_text(self) -> str:
        """The report as a table for people."""
        data, model = self.dataset, self.model
        filters = ", ".join(self.defenses) or ("none" if self.kind == "flips" else "the domain alone")
        heading = (
            f"{data['name']} ({self.n_trusted} of {data['n_train']} training rows inside the fixed filters, "
            f"{data['n_test']} test rows, {data['n_features']} features)\n"
            f"learner: {model['loss']} loss, reg {model['reg']:g}; filters: {filters}" + own_words(data)
        )
        blocks = [wrapped(self.verdict, ""), heading]
        blocks += [f"{name}\n{aligned(table)}" for name, table in self.summary()]
        notes = [*(f"{name} was left out: {why}." for name, why in self.left_out.items()), *failure_lines(self)]
        blocks += [listed(notes)] if notes else []
        blocks.append(listed(self.assumptions, "What the bounds rest on"))
        blocks.append(listed(reading(self), "How to read this"))
        return "\n\n".join(blocks) + "\n"

    def to_html(self) -> str:
        """The report as one self-contained page."""
        from .plots import bracket

        model, data = self.model, self.dataset
        filters = ", ".join(self.defenses) or "none but the domain"
        subtitle = (
            f"{model['loss']} loss, reg {model['reg']:g}; filters {filters}; {self.n_trusted} of {data['n_train']} "
            "training rows inside them",
            data.get("labels", ""),
        )
        rest = [*(f"{name} was left out: {why}" for name, why in self.left_out.items()), *failure_lines(self)]
        sections = [("What the bounds rest on", [*self.assumptions, *rest]), ("How to read this", reading(self))]
        return plain_page(
            self, f"Poisoning certificates of {data['name']}", subtitle, sections,
            figures=[bracket(self.rungs, self.kind)],
        )  # fmt: skip


def _change(report: CertifyReport, rung: Mapping[str, Any]) -> str:
    """What is changed in the training rows at one level."""
    if rung.get("count") is not None:
        return f"any {rung['count']} {ROWS[report.kind][0]}"
    return f"poison of {100 * rung['epsilon']:.3g} % of the training rows"


def reading(report: CertifyReport) -> tuple[str, ...]:
    """How to read it."""
    return READING if report.kind == "error" else (ROWS[report.kind][1], ROW_BY_ROW)


def failure_lines(report: CertifyReport) -> list[str]:
    """One line for each attack that is not held against the bounds."""
    return [
        f"{item['name']} at epsilon {item['epsilon']} was left out: {item['reason'].rstrip('.')}."
        for item in report.failures
    ]
