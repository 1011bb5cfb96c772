"""What the HTML page shows beside the numbers: pictures, and the features that the poison uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import Dataset, LinearModel, Poison
from ..core.validation import Array, Matrix

if TYPE_CHECKING:
    from ..evaluation import Evaluation
    from .report import AuditReport

N_FEATURES = 12
LABELS = ((1.0, "+1"), (-1.0, "-1"))


@dataclass(frozen=True, eq=False)
class Material:
    """What the pictures of the strongest poison are drawn from.

    Parameters
    ----------
    train : Dataset
    poison : Poison
    relaxed : Poison or None
        Before rounding, if it is known.
    clean_model : LinearModel
    scores : Evaluation
        Of `poison`.
    """

    train: Dataset
    poison: Poison
    relaxed: Poison | None
    clean_model: LinearModel
    scores: Evaluation


@dataclass(frozen=True)
class Figure:
    """A picture: its title, what it shows in words, how to read it, and its data URI."""

    title: str
    alt: str
    caption: str
    uri: str


def figures_of(report: AuditReport) -> list[Figure]:
    """Every picture that the report has the material for."""
    from . import plots

    found: list[Figure | None] = [plots.errors(report, entry) for entry in report.attacks]
    found.append(plots.timeline(report))
    if report.material is not None:
        found += [draw(report.material) for draw in (plots.score_histograms, plots.plane, plots.images)]
    return [figure for figure in found if figure is not None]


def mean_rows(poison: Poison) -> dict[float, Array]:
    """The mean poison row of each label that the poison has, copies counted."""
    means = {}
    for label, _ in LABELS:
        mine = (poison.y == label) & (poison.count > 0)
        if mine.any():
            means[label] = weighted_mean(poison.X[np.flatnonzero(mine)], poison.count[mine])
    return means


def weighted_mean(X: Matrix, weight: Array) -> Array:
    """Mean of rows, shape (d,)."""
    return np.asarray(X.T @ (weight / weight.sum())).ravel()


def class_mean(train: Dataset, label: float) -> Array:
    """Mean of the clean rows of a label, shape (d,)."""
    rows = train.of_class(label)
    return weighted_mean(rows.X, rows.weight)


def feature_table(material: Material, n: int = N_FEATURES) -> list[dict[str, Any]]:
    """For each poison class, the features in which it differs most from its clean class.

    Returns
    -------
    list of dict
        ``label`` and ``rows``: name, mean in the poison, mean of the clean class, coefficients of the
        clean and of the poisoned undefended model.
    """
    train, models = material.train, (material.clean_model, material.scores.models["none"])
    tables = []
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
