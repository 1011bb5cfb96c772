"""What the HTML page shows beside the numbers: pictures, and the features that the poison uses."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Dataset
from .findings import AuditFindings
from .material import LABELS, Figure, Material, class_mean, mean_rows

N_FEATURES = 12


def figures_of(report: AuditFindings) -> list[Figure]:
    """Every picture that the report has the material for."""
    from . import plots

    found: list[Figure | None] = [plots.race(report), plots.errors(report, report.strongest), plots.timeline(report)]
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
