"""The report of `certify`: what is proved, as JSON, text and page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ..core import InputError
from .cells import aligned, loss_table, own_words, rows_table, rungs_table, wrapped
from .json_values import plain
from .page import rendered
from .words import measured

SCHEMA = 1
TEMPLATE = "certify.html.j2"
READING = (
    "The bound holds for every poison of the budget that the fixed filters let through, on exactly these test rows; no "
    "sampling enters. The attack's error is what one poison did to the same defender.",
    "A row is certified if no such poison changes that it is classified rightly.",
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
class CertifyReport:
    """What `certify` found. The fields are documented in docs/files.md."""

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

    def to_json(self) -> str:
        """The report as JSON text, as in ``certify.json``."""
        return json.dumps(plain(asdict(self)), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> CertifyReport:
        """Read what `to_json` wrote."""
        try:
            values = json.loads(text)
            if values["schema"] != SCHEMA:
                raise InputError(f"a report of schema {SCHEMA}", f"schema {values['schema']!r}")
            return cls(**values)
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("a report of certify in JSON", f"text that is none ({error})") from None

    def to_text(self) -> str:
        """The report as a table for people."""
        return certify_text(self)

    def to_html(self) -> str:
        """The report as one self-contained page."""
        return certify_html(self)


def certify_text(report: CertifyReport) -> str:
    """Heading, table of the budgets, assumptions."""
    data, model = report.dataset, report.model
    filters = ", ".join(report.defenses) or ("none" if report.kind == "flips" else "the domain alone")
    heading = (
        f"{data['name']} ({report.n_trusted} of {data['n_train']} training rows inside the fixed filters, "
        f"{data['n_test']} test rows, {data['n_features']} features)\n"
        f"learner: {model['loss']} loss, reg {model['reg']:g}; filters: {filters}" + own_words(data)
    )
    names = (
        measured(report.metric, "Test error") if report.kind == "error" else "Rows",
        "Mean loss of the clean training rows",
    )
    blocks = [heading, *(f"{name}\n{aligned(table)}" for name, table in zip(names, tables(report), strict=False))]
    notes = [*(f"{name} was left out: {why}." for name, why in report.left_out.items())]
    notes += failure_lines(report)
    blocks += ["\n".join(wrapped(line, "- ") for line in notes)] if notes else []
    blocks.append("What the bounds rest on\n" + "\n".join(wrapped(line, "- ") for line in report.assumptions))
    blocks.append("How to read this\n" + "\n".join(wrapped(line, "- ") for line in reading(report)))
    return "\n\n".join(blocks) + "\n"


def tables(report: CertifyReport) -> list[list[tuple[str, ...]]]:
    """That of the rungs, and that of losses where there is one."""
    if report.kind != "error":
        return [rows_table(report.rungs, ROWS[report.kind][0])]
    return [table for table in (rungs_table(report.rungs), loss_table(report.rungs)) if table]


def reading(report: CertifyReport) -> tuple[str, ...]:
    """How to read it."""
    return READING if report.kind == "error" else (ROWS[report.kind][1], ROW_BY_ROW)


def failure_lines(report: CertifyReport) -> list[str]:
    """One line for each attack that is not held against the bounds."""
    return [
        f"{item['name']} at epsilon {item['epsilon']} was left out: {item['reason'].rstrip('.')}."
        for item in report.failures
    ]


def certify_html(report: CertifyReport) -> str:
    """The page."""
    from .plots import bracket

    return rendered(
        TEMPLATE,
        report=report,
        tables=tables(report),
        figure=bracket(report.rungs, report.kind),
        reading=reading(report),
        failures=failure_lines(report),
    )
