"""The report as one HTML page that needs no network."""

from __future__ import annotations

from typing import Any

from .cells import points
from .domain_words import domain_words
from .exhibits import feature_table, figures_of
from .findings import ALL, AuditFindings
from .group_tables import group_by_defense, heading, worst_groups
from .lessons import lessons
from .page import rendered
from .table import by_defense, comparison, damage_rows, error_rows, facts, headline, shown
from .words import cautions

TEMPLATE = "report.html.j2"


def report_html(report: AuditFindings) -> str:
    """The page."""
    return rendered(TEMPLATE, **_context(report))


def _context(report: AuditFindings) -> dict[str, Any]:
    material = report.material
    return {
        "report": report,
        "clean_error": report.clean["test_error"],
        "entries": [
            {
                "entry": entry,
                "title": entry.name if len(report.domains) < 2 else f"{entry.name}, {domain_words(entry.domain)}",
                "finding": headline(report, entry),
                "rows": error_rows(report, entry),
                "facts": facts(entry),
                "cautions": cautions(entry),
                "seconds_to": entry.seconds_to,
            }
            for entry in shown(report)
        ],
        "headline": report.damage(),
        "answers": [
            {
                "words": domain_words(domain),
                "all": report.damage(ALL, domain),
                "adds": points(report.damage(ALL, domain).low, report.damage(ALL, domain).high),
                "rows": damage_rows(report, domain),
            }
            for domain in report.domains
        ],
        "comparisons": [
            (
                "The strongest first; seconds are wall time, 's to' those until it first reached that error",
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
