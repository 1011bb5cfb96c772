"""The report as one HTML page that needs no network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Dataset
from ..core.parts import dense
from .advice import advice, remedies_table
from .cells import domain_words, points
from .curve import bracket_words
from .findings import ALL, AttackEntry, AuditFindings
from .gates import failed
from .glossary import terms_in
from .group_tables import group_by_defense, heading, worst_groups
from .lessons import lessons
from .material import LABELS, Figure, Material, class_mean, mean_rows
from .page import rendered
from .table import MEASURES, by_defense, comparison, damage_tables, damage_words, error_rows, facts, headline, shown
from .words import cautions

TEMPLATE = "report.html.j2"


def report_html(report: AuditFindings, verdict: str) -> str:
    """The page."""
    return rendered(TEMPLATE, **_context(report, verdict))


def _context(report: AuditFindings, verdict: str) -> dict[str, Any]:
    material = report.material
    figures, first = figures_of(report), bool(report.curve) + bool(report.rungs)
    return {
        "report": report,
        "verdict": verdict,
        "clean_error": report.damage().clean_error if report.domains else report.clean["test_error"],
        "entries": [_entry(report, entry) for entry in shown(report)],
        "headline": report.damage() if report.domains else None,
        "broken": failed(report.gate),
        "bracket": (bracket := bracket_words(report)),
        "advice": (measures := advice(report)),
        "answers": [
            {"words": domain_words(item.domain), "all": item, "adds": points(item.low, item.high)}
            for item in (report.damage(ALL, domain) for domain in report.domains)
        ],
        "damages": damage_tables(report),
        "columns": damage_words(report) if report.domains else "",
        "remedies": [(MEASURES, remedies_table(report, words=True))] if report.remedies else [],
        "comparisons": [
            (
                "The strongest first; seconds are wall time, 'seconds to' those until it first reached that error",
                comparison(report),
            ),
            ("Error on the scored rows behind each defence alone", by_defense(report)),
        ]
        if len(report.attacks) > 1 or report.failures
        else [],
        "lessons": (said := lessons(report)),
        "terms": terms_in([verdict, *bracket, *measures, *said, *report.reading]),
        "groups": _groups(report.subpopulations),
        "curves": figures[:first],
        "figures": figures[first:],
        "features": [] if material is None or material.train.image_shape else feature_table(material),
        "rows": [] if material is None else poison_rows(material),
    }


def _entry(report: AuditFindings, entry: AttackEntry) -> dict[str, Any]:
    """What is told of one poison."""
    return {
        "title": entry.name if len(report.domains) < 2 else f"{entry.name}, {domain_words(entry.domain)}",
        "finding": headline(report, entry),
        "rows": error_rows(report, entry),
        "facts": facts(entry),
        "cautions": cautions(entry),
        "seconds_to": entry.seconds_to,
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
N_ROWS, N_COLUMNS = 10, 8
"""Of the table of poison rows."""


def figures_of(report: AuditFindings) -> list[Figure]:
    """Every picture that the report has the material for."""
    from . import plots, portraits

    found: list[Figure | None] = [plots.curve(report), plots.bracket(report.rungs) if report.rungs else None]
    if report.attacks:
        found += [plots.race(report), plots.errors(report, report.strongest), plots.timeline(report)]
    found += [plots.groups(report.subpopulations)] if report.subpopulations else []
    if report.material is not None and report.material.two_classes:
        found += [draw(report.material) for draw in (portraits.score_histograms, portraits.plane, portraits.images)]
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


def poison_rows(material: Material) -> list[tuple[str, ...]]:
    """Header and the rows of most copies, in the columns in which they differ most from the clean rows' means."""
    poison, train = material.poison, material.train
    chosen = np.argsort(-poison.count, kind="stable")[:N_ROWS]
    X = dense(poison.X[chosen])
    mean = np.asarray(train.X.mean(axis=0)).ravel()
    columns = np.argsort(-abs(X - mean).max(axis=0), kind="stable")[:N_COLUMNS]
    header = ("label", "copies", *(feature_name(train, int(column)) for column in columns))
    labels = train.label_values(poison.y[chosen])
    return [header] + [
        (str(label), f"{poison.count[i]:.0f}", *(f"{row[column]:.4g}" for column in columns))
        for i, label, row in zip(chosen, labels, X, strict=True)
    ]


def feature_name(train: Dataset, column: int) -> str:
    """The name of a column, or its number."""
    return f"column {column}" if train.feature_names is None else train.feature_names[column]
