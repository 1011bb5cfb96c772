"""All detectors of the library on the rows of one question: those of the defences, and influence on held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import Array, Dataset, Domain, InputError
from ..datasets.scaling import scale_caution
from ..defenses.detectors import (
    FOLDS,
    MILDER,
    REASONS,
    TABLE,
    Detector,
    View,
    copies_surprise,
    copy_groups,
    folds_of,
    usable,
    votes,
)
from ..defenses.neighbors import row_keys
from ..defenses.suspicion import Mask, Suspicion, suspicion
from ..influence import ImplicitGradient, PoisonGradient, SoftError
from ..learners import Learner, make_learner
from ..losses import Problem

COPIES = "copies"
LEAST_ROWS = 20
"""Of each class: with fewer, folds and tails say nothing."""


def held_out_influence(view: View) -> Array:
    """How much the copies of each row would raise the error on held-out rows: ``c dT / dc``, exact.

    T is the smoothed error on the core rows of one fold, of what is learned from those of three others; the rows that
    are weighed are those of the last fold, newcomers to both.
    """
    scores, learner = np.zeros(view.rows.n), make_learner(view.smooth)
    for fold in range(FOLDS):
        mine, judge = view.folds == fold, view.folds == (fold + 1) % FOLDS
        train = view.rows.take(view.core & ~mine & ~judge)
        implicit = ImplicitGradient(view.smooth, train, learner.fit(train))
        aim = SoftError(view.rows.take(view.core & judge))
        scores[mine] = PoisonGradient.at(implicit, view.rows.take(mine), aim).counts
    return view.sizes * scores


DETECTORS: dict[str, Detector] = {**TABLE, "influence": held_out_influence}
"""Every detector by name, influence among them."""


@dataclass(frozen=True, eq=False)
class Suspected:
    """What is found on rows.

    Parameters
    ----------
    groups : ndarray of int, shape (n,)
        Of near-copies of one class.
    unequal : ndarray of bool
        Of the groups: whether some of its rows are close to each other, but not equal.
    found : Suspicion
        Of the groups.
    left_out : dict of str to str
        Detectors that did not run, and why.
    labels, votes : ndarray
        Of the groups; and how many of its ten nearest distinct rows have another label.
    """

    groups: NDArray[np.intp]
    unequal: Mask
    found: Suspicion
    left_out: Mapping[str, str]
    labels: Array
    votes: NDArray[np.intp]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Rows of each group."""
        return np.bincount(self.groups)

    @property
    def order(self) -> NDArray[np.intp]:
        """Rows from the most suspicious on, copies beside each other."""
        return np.lexsort((self.groups, -self.by_row(self.found.ranking)))

    def by_row(self, values: Any) -> Any:
        """Values of groups for each row."""
        return values[self.groups]


def suspect(rows: Dataset, problem: Problem, learner: Learner | None = None, seed: int = 0) -> Suspected:
    """Run every detector on training rows of two classes, and combine them.

    Raises
    ------
    InputError
        If a class has fewer than `LEAST_ROWS` distinct rows.
    """
    rows = in_even_units(rows)
    groups = copy_groups(rows)
    first, row = np.unique(groups, return_index=True)[1], np.unique(row_keys(rows.X), return_inverse=True)[1].ravel()
    distinct = rows.take(first)
    few = min(int((distinct.y == label).sum()) for label in distinct.labels)
    if few < LEAST_ROWS:
        remedy = "With fewer nothing stands out."
        raise InputError(f"{LEAST_ROWS} rows of each class at least, near-copies counted once", str(few), remedy)
    distinct = replace(distinct, weight=np.ones(distinct.n))
    table, left = usable(distinct, DETECTORS)
    own = make_learner(problem) if learner is None else learner
    sizes, folds = np.bincount(groups).astype(float), folds_of(distinct, seed)

    def detect(core: Mask) -> dict[str, Array]:
        view = View(distinct, sizes, core, folds, problem, own)
        return {name: function(view) for name, function in table.items()}

    known = {COPIES: copies_surprise(sizes)}
    found = suspicion(detect, distinct.codes, known=known)
    unequal = np.bincount(groups, weights=row != row[first[groups]]) > 0
    return Suspected(groups, unequal, found, left, distinct.y, votes(distinct))


def in_even_units(rows: Dataset) -> Dataset:
    """Columns less their median, in units of their spread, where some are so much wider that distances see no other.

    The spread is the median distance to the median, which few rows do not move, or else the standard deviation.
    """
    if not scale_caution(rows.X):
        return rows
    away = rows.X - np.median(rows.X, axis=0)
    spread = np.median(np.abs(away), axis=0)
    spread = np.where(spread > 0, spread, away.std(axis=0))
    return replace(rows, X=away / np.where(spread > 0, spread, 1.0), domain=Domain.real())


ALL_OTHERS = "pulls the model more than all others of its class together"
FEW = "pulls the model, as most rows of its class do not"
MOST_REASONS = 3


def reasons_of(found: Suspected, group: int) -> list[str]:
    """The strongest reasons against a row in words: those of a chance below one in all rows, one at least."""
    surprises = {name: float(one[group]) for name, one in found.found.surprises.items()}
    strong = sorted(surprises, key=lambda name: -surprises[name])[:MOST_REASONS]
    enough = [name for name in strong if surprises[name] >= np.log(found.labels.size)] or strong[:1]
    if found.sizes[group] > 1 and COPIES not in enough:
        enough.append(COPIES)
    return [_worded(found, group, name) for name in sorted(enough, key=lambda name: name != COPIES)]


def _worded(found: Suspected, group: int, name: str) -> str:
    scores = found.found.scores[name]
    mine = scores[found.labels == found.labels[group]]
    if name == "pull" and scores[group] > mine.sum() - scores[group]:
        return ALL_OTHERS
    median = float(np.median(mine))
    if name == "pull" and median <= scores[group] * np.finfo(float).eps:
        return FEW
    ratio = float(scores[group] / median) if median > 0 else np.inf
    limit, milder = MILDER.get(name, (-np.inf, ""))
    words = REASONS[name] if scores[group] > limit else milder
    kind = "near-copies" if found.unequal[group] else "copies"
    return words.format(ratio=ratio, margin=-scores[group], copies=f"{found.sizes[group]} {kind}",
                        votes=int(found.votes[group]))  # fmt: skip
