"""What pictures are drawn from, and what a picture is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core import Array, Dataset, LinearModel, Matrix, Poison, label_texts

LABELS = tuple(label_texts(None).items())


@dataclass(frozen=True, eq=False)
class Material:
    """What the pictures of the strongest poison are drawn from.

    Parameters
    ----------
    relaxed : Poison or None
        Before rounding, if it is known.
    clean_model, poisoned_model : LinearModel
        Of the undefended learner without `poison` and with it.
    scores : mapping of str to ndarray
        Anomaly scores by defence: of the clean rows, then of the poison copies in order.
    thresholds : mapping of str to dict
        The largest kept score of each label, by defence.
    kept_fraction : mapping of str to float or None
        Share of the poison copies that pass, by defence.
    """

    train: Dataset
    poison: Poison
    relaxed: Poison | None
    clean_model: LinearModel
    poisoned_model: LinearModel
    scores: Mapping[str, Array]
    thresholds: Mapping[str, Mapping[float, float]]
    kept_fraction: Mapping[str, float | None]

    @property
    def two_classes(self) -> bool:
        """Whether there is one direction between the classes to draw."""
        return self.train.n_classes is None


@dataclass(frozen=True)
class Figure:
    """A picture: its title, what it shows in words, how to read it, and its data URI."""

    title: str
    alt: str
    caption: str
    uri: str


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
