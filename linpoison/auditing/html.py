"""The report as one HTML page that needs no network."""

from __future__ import annotations

from typing import Any

from .exhibits import feature_table, figures_of
from .group_tables import group_by_defense, heading, worst_groups
from .lessons import lessons
from .report import AuditReport
from .table import by_defense, comparison, error_rows, facts, headline, percent
from .words import cautions

TEMPLATE = "report.html.j2"


def report_html(report: AuditReport) -> str:
    """Render the page; every value from data is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("linpoison.auditing", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["percent"] = percent
    return environment.get_template(TEMPLATE).render(**_context(report))


def _context(report: AuditReport) -> dict[str, Any]:
    material = report.material
    return {
        "report": report,
        "clean_error": report.clean["test_error"],
        "entries": [
            {
                "entry": entry,
                "finding": headline(report, entry),
                "rows": error_rows(report, entry),
                "facts": facts(entry),
                "cautions": cautions(entry),
                "seconds_to": entry.seconds_to,
            }
            for entry in report.ranked
        ],
        "comparisons": [
            (
                "The strongest first; seconds are wall time, 's to' those until its first poison of that worst case",
                comparison(report),
            ),
            ("Error on the scored rows behind each defence alone", by_defense(report)),
        ]
        if len(report.attacks) > 1 or report.failures
        else [],
        "lessons": lessons(report),
        "groups": _groups(report.subpopulations),
        "figures": figures_of(report),
        "features": [] if material is None or material.train.image_shape else feature_table(material),
    }


def _groups(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """Heading and tables of the subpopulations."""
    if found is None:
        return None
    behind = "without any defence" if found["defense"] == "none" else f"behind {found['defense']}, the best defence"
    tables = [
        (f"Error {behind}, the most damaged first; intervals for all together", worst_groups(found)),
        ("Points of error that the poison adds, behind each defence", group_by_defense(found)),
    ]
    return {"heading": heading(found), "tables": tables}
