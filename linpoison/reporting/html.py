"""The report as one HTML page that needs no network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Dataset
from .cells import domain_words, points
from .findings import ALL, AuditFindings
from .glossary import terms_in
from .group_tables import group_by_defense, heading, worst_groups
from .lessons import lessons
from .material import LABELS, Figure, Material, class_mean, mean_rows
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
        "headline": report.damage() if report.domains else None,
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
        "lessons": (said := lessons(report)),
        "terms": terms_in([*said, *report.reading]),
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


N_FEATURES = 12


def figures_of(report: AuditFindings) -> list[Figure]:
    """Every picture that the report has the material for."""
    from . import plots

    found: list[Figure | None] = []
    if report.attacks:
        found += [plots.race(report), plots.errors(report, report.strongest), plots.timeline(report)]
    found += [plots.bracket(report.rungs)] if report.rungs else []
    found += [plots.groups(report.subpopulations)] if report.subpopulations else []
    if report.material is not None and report.material.two_classes:
        found += [draw(report.material) for draw in (plots.score_histograms, plots.plane, plots.images)]
    return [figure for figure in found if figure is not None]


def feature_table(material: Material, n: int = N_FEATURES) -> list[dict[str, Any]]:
    """For each poison class, the features in which it differs most from its clean class; nothing of more than two.

    Returns
    -------
    list of dict
        ``label`` and ``rows``: name, mean in the poison, mean of the clean class, coefficients of the
        clean and of the poisoned undefended model.
    """
    train, models = material.train, (material.clean_model, material.poisoned_model)
    tables: list[dict[str, Any]] = []
    if not material.two_classes:
        return tables
    for label, text in LABELS:
        mean = mean_rows(material.poison).get(label)
        if mean is None:
            continue
        clean = class_mean(train, label)
        columns = np.argsort(-np.abs(mean - clean), kind="stable")[:n]
        rows = [
            {
                "name": feature_name(train, int(column)),
                "poison": float(mean[column]),
                "clean": float(clean[column]),
                "coefs": [float(model.coef[column]) for model in models],
            }
            for column in columns
        ]
        tables.append({"label": text, "rows": rows})
    return tables


def feature_name(train: Dataset, column: int) -> str:
    """The name of a column, or its number."""
    return f"column {column}" if train.feature_names is None else train.feature_names[column]
