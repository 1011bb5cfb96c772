"""The report of `certify` as text and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .table import aligned, own_words, percent, wrapped

if TYPE_CHECKING:
    from .certifying import CertifyReport

TEMPLATE = "certify.html.j2"
READING = (
    "The bound holds for every poison of the budget that the fixed filters let through, on exactly these test rows; no "
    "sampling enters. The attack's error is what one poison did to the same defender.",
    "A row is certified if no such poison changes that it is classified rightly.",
    "The filters are fitted on the clean rows and stay fixed. Against filters that are fitted again with the poison in "
    "(as in an audit) these bounds say nothing.",
    "The loss bound is on the mean loss of the clean training rows that the filters keep.",
)


def rungs_table(rungs: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Header and one row for each budget."""
    header = ("epsilon", "clean", "attack (at least)", "certified (at most)", "rows certified", "strongest attack")
    body = [
        (
            f"{rung['epsilon']:g}",
            percent(rung["clean_error"]),
            percent(rung["attack_error"]),
            percent(rung["bound"]),
            percent(rung["certified_fraction"]),
            rung["attack"] or "-",
        )
        for rung in rungs
    ]
    return [header, *body]


def loss_table(rungs: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The same for the mean loss of the clean rows."""
    known = [rung for rung in rungs if rung["loss_bound"] is not None]
    if not known:
        return []
    header = ("epsilon", "clean loss", "attack (at least)", "certified (at most)")
    cells = ("clean_loss", "attack_loss", "loss_bound")
    return [header, *((f"{rung['epsilon']:g}", *(_number(rung[name]) for name in cells)) for rung in known)]


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
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from .html import harmless
    from .plots import bracket

    environment = Environment(
        loader=PackageLoader("linpoison.auditing", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=harmless,
    )  # fmt: skip
    return environment.get_template(TEMPLATE).render(
        report=report,
        tables=[table for table in (rungs_table(report.rungs), loss_table(report.rungs)) if table],
        figure=bracket(report.rungs),
        reading=READING,
        failures=failure_lines(report),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
