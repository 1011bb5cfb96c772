"""The report of `certify`: what is proved, as JSON, text and page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ..core import InputError
from .cells import aligned, loss_table, own_words, rungs_table, wrapped
from .json_values import plain
from .page import rendered

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
    heading = (
        f"{data['name']} ({report.n_trusted} of {data['n_train']} training rows inside the fixed filters, "
        f"{data['n_test']} test rows, {data['n_features']} features)\n"
        f"learner: {model['loss']} loss, reg {model['reg']:g}; "
        f"filters: {', '.join(report.defenses) or 'the domain alone'}" + own_words(data)
    )
    blocks = [heading, "Test error\n" + aligned(rungs_table(report.rungs))]
    losses = loss_table(report.rungs)
    blocks += ["Mean loss of the clean training rows\n" + aligned(losses)] if losses else []
    notes = [*(f"{name} was left out: {why}." for name, why in report.left_out.items())]
    notes += failure_lines(report)
    blocks += ["\n".join(wrapped(line, "- ") for line in notes)] if notes else []
    blocks.append("What the bounds rest on\n" + "\n".join(wrapped(line, "- ") for line in report.assumptions))
    blocks.append("How to read this\n" + "\n".join(wrapped(line, "- ") for line in READING))
    return "\n\n".join(blocks) + "\n"


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
        tables=[table for table in (rungs_table(report.rungs), loss_table(report.rungs)) if table],
        figure=bracket(report.rungs),
        reading=READING,
        failures=failure_lines(report),
    )
