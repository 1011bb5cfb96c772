"""The detectors that tell suspicious rows: the sanitisers of this room and what needs no share to remove.

All look at distinct rows, near-copies of a class together: a row counts once in what a detector is fitted on, however
often it stands in the data, so that copies are no company to each other. How often that is is a detector of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.special import expit
from sklearn.base import clone

from ..core import LABELS, Array, Dataset
from ..core.parts import dense
from ..learners import Learner
from ..losses import Problem, SmoothHinge
from .base import Codes, Defense
from .duplicates import base_of, close_pairs
from .knn import KNNDefense
from .l2 import L2Defense
from .neighbors import Neighbors, row_keys
from .refitting import SEVER, TRIM, InfluenceDefense
from .rows import class_centers
from .slab import SlabDefense
from .spectral import ActivationClustering, SpectralSignatures
from .suspicion import Mask
from .svd import SVDDefense

FOLDS = 5
NEAR, VOTERS = 5, 10
"""Neighbours of each class; and of both."""
USUAL = 8
"""Groups of copies beside one's own from which on copies are usual in a table."""
DOUBLINGS = 100.0
"""Trials that the first doubling of copies counts as for the later ones."""
MANY_ENTRIES, MANY_FEATURES = 3_000_000, 1500
"""Beyond so many, detectors that make all rows dense, or a Hessian, are left out."""


def copy_groups(rows: Dataset) -> Codes:
    """For each row the number of its group of near-copies of one class, in the order of their first rows.

    Copies are rows within a radius of each other, and rows that a chain of such ones links: a tenth of `base_of`, and
    a quarter of the median distance of the distinct rows to the nearest other one at most.
    """
    first, of = np.unique(row_keys(rows.X), return_index=True, return_inverse=True)[1:]
    distinct, base = rows.X[np.sort(first)], base_of(rows.X)
    radius = min(0.1 * base, 0.25 * float(np.median(Neighbors(distinct, 1).distances))) if first.size > 2 else 0.0
    later, earlier = close_pairs(rows.X, np.sort(first), radius, base)
    n = rows.n
    links = sp.coo_array(
        (np.ones(n + later.size), (np.append(np.arange(n), later), np.append(first[of.ravel()], earlier))), shape=(n, n)
    )
    of_all = connected_components(links, directed=False)[1]
    _, start, group = np.unique(of_all * 2 + (rows.y > 0), return_index=True, return_inverse=True)
    order = np.empty(start.size, dtype=np.intp)
    order[np.argsort(start)] = np.arange(start.size)
    return order[group.ravel()]


def copies_are_usual(sizes: Array) -> bool:
    """Whether a table has more than `USUAL` groups of more copies than the median, by the size of each group."""
    return int((sizes > np.median(sizes)).sum()) > USUAL


def copies_surprise(sizes: Array) -> Array:
    """``-log P(C >= c)`` for c rows that are copies, as the other groups of the table tell it.

    Where fewer than `USUAL` other groups have copies, each further copy has the probability ``(k + 1) / (n + 1)``, with
    the k further copies of the others, of n rows in all: copies are not usual there, and few are enough.

    Where more have, as equal people in tables of categories, their numbers fall off as a power, ``P(C >= c) = c^(-a)``:
    each doubling of c is as likely as the last. The first has the probability ``(g + 1) / n``, where g of the other
    groups have copies, and n is the number of all groups. The later doublings of those g tell theirs; what the first
    says counts as `DOUBLINGS` trials of it.

    Where most rows stand there more than once, as in a file that was appended to itself, the median number of copies
    counts as one.

    Examples
    --------
    >>> copies_surprise(np.array([1.0, 1.0, 1.0, 3.0])).round(2)
    array([0.  , 0.  , 0.  , 3.89])
    """
    usual, sizes = copies_are_usual(sizes), sizes / np.median(sizes)
    if not usual:
        further = np.maximum(sizes - 1, 0.0)
        each = np.minimum((further.sum() - further + 1) / (sizes.sum() + 1), 1.0)
        return np.asarray(-further * np.log(each)) + 0.0
    doublings = np.log2(np.maximum(sizes, 1.0))
    first, later = np.minimum(doublings, 1.0), np.maximum(doublings - 1, 0.0)
    others, more = (first > 0).sum() - (first > 0), later.sum() - later
    share = (others + 1) / sizes.size
    again = (more + DOUBLINGS * share) / (others + more + DOUBLINGS)
    return np.asarray(-first * np.log(share) - later * np.log(again)) + 0.0


@dataclass(frozen=True, eq=False)
class View:
    """Distinct rows before the detectors of one round.

    Parameters
    ----------
    rows : Dataset
        One row of each group of near-copies, each of weight 1.
    sizes : ndarray of shape (n,)
        How often each row stands in the data.
    core : ndarray of bool, shape (n,)
        Rows that detectors are fitted on.
    folds : ndarray of int, shape (n,)
    problem : Problem
    learner : Learner
        Of the problem.
    """

    rows: Dataset
    sizes: Array
    core: Mask
    folds: Codes
    problem: Problem
    learner: Learner

    @property
    def smooth(self) -> Problem:
        """The problem, the hinge smoothed."""
        kink = self.problem.loss.kink is not None
        return replace(self.problem, loss=SmoothHinge(1.0)) if kink else self.problem

    def parts(self) -> Iterator[tuple[Codes, Codes]]:
        """Core rows of all folds but one, and the rows of that one, fold by fold."""
        for fold in range(FOLDS):
            yield np.flatnonzero(self.core & (self.folds != fold)), np.flatnonzero(self.folds == fold)

    def by(self, defense: Defense) -> Array:
        """Scores of a defence on rows that it was not fitted on: of each fold, fitted on the core of the others."""
        X, y, scores = self.rows.X, self.rows.y, np.empty(self.rows.n)
        for inner, held in self.parts():
            scores[held] = clone(defense).fit(X[inner], y[inner]).decision_function(X[held], y[held])
        return scores

    @cached_property
    def held_out_margins(self) -> Array:
        """Margins of each row under a model of core rows of other folds."""
        margins = np.empty(self.rows.n)
        for inner, held in self.parts():
            margins[held] = self.learner.fit(self.rows.take(inner)).margins(self.rows.take(held))
        return margins

    def nearest(self, same: bool) -> Array:
        """Mean distance of each row to the nearest rows of the core of its own class, or of the other."""
        y, found = self.rows.y, np.empty(self.rows.n)
        for label in LABELS:
            mine, pool = np.flatnonzero(y == label), np.flatnonzero(self.core & ((y == label) == same))
            near = Neighbors(self.rows.X[pool], min(NEAR + 1, pool.size - 1)).of(self.rows.X[mine])
            itself = (same & self.core[mine])[:, None]
            found[mine] = np.where(itself, near[:, 1:], near[:, :-1]).mean(axis=1)
        return found


def _neighbours(view: View) -> Array:
    """How much farther the rows of its own class are than those of the other."""
    tiny = 1e-6 * base_of(view.rows.X)
    return np.asarray(np.log(np.maximum(view.nearest(True), tiny)) - np.log(np.maximum(view.nearest(False), tiny)))


def _crowd(view: View) -> Array:
    """How much farther the middle of its class is than the nearest row of its class, of the core or not."""
    return _closeness(view, same=True)


def _twins(view: View) -> Array:
    """The same of the nearest row of the other class: of two twins, equal but for their label, both are strange.

    Which of them has the wrong label their place does not tell, nor does a model where classes overlap: a flipped copy
    of a row that lies on the other side agrees with it, and the clean row does not.
    """
    return _closeness(view, same=False)


def _closeness(view: View, *, same: bool) -> Array:
    X, y, scores = view.rows.X, view.rows.y, np.zeros(view.rows.n)
    out, tiny = view.by(L2Defense(0.0, center="median")), 1e-6 * base_of(X)
    for label in LABELS:
        mine, pool = np.flatnonzero(y == label), np.flatnonzero((y == label) == same)
        near = Neighbors(X[pool], 1)
        nearest = (near.distances if same else near.of(X[mine]))[:, 0]
        scores[mine] = np.log(np.maximum(out[mine], tiny)) - np.log(np.maximum(nearest, tiny))
    return scores


def _clusters(view: View) -> Array:
    """Whether it is in the smaller of two clusters of its class, where there are two: of all rows."""
    return np.asarray(ActivationClustering().fit(view.rows.X, view.rows.y).decision_scores_)


def _confident(view: View) -> Array:
    """``1 - `` the label quality of confident learning."""
    from cleanlab.rank import get_label_quality_scores

    positive = expit(view.rows.y * view.held_out_margins)
    shares = np.column_stack([1 - positive, positive])
    return 1 - np.asarray(get_label_quality_scores(view.rows.codes, shares, adjust_pred_probs=False))


def _pull(view: View) -> Array:
    """Self-influence of all copies of a row together, ``c sqrt(g' H^(-1) g)``."""
    return view.sizes * np.sqrt(np.maximum(view.by(InfluenceDefense(0.0, view.smooth)), 0.0))


def _sever(view: View) -> Array:
    """Squares along the top direction, of all copies together; of one, times their number, where copies are usual."""
    power = 1 if copies_are_usual(view.sizes) else 2
    return np.asarray(view.sizes**power * view.by(SEVER(0.0, view.smooth, rounds=1)))


Detector = Callable[[View], Array]
TABLE: dict[str, Detector] = {
    "l2": lambda view: view.by(L2Defense(0.0, center="median")),
    "slab": lambda view: view.by(SlabDefense(0.0, center="median")),
    "svd": lambda view: view.by(SVDDefense(0.0)),
    "knn": lambda view: view.by(KNNDefense(0.0)),
    "loss": lambda view: -view.held_out_margins,
    "trim": lambda view: view.by(TRIM(learner=view.smooth)),
    "neighbours": _neighbours,
    "confident": _confident,
    "pull": _pull,
    "sever": _sever,
    "copies": lambda view: view.sizes,
    "crowd": _crowd,
    "twins": _twins,
    "spectral": lambda view: np.sqrt(view.by(SpectralSignatures(0.0))),
    "clusters": _clusters,
}
"""Each detector by name."""
REASONS = {
    "l2": "{ratio:.1f} times as far from the middle of its class as the median row",
    "slab": "{ratio:.1f} times as far along the line between the classes as the median row",
    "svd": "{ratio:.1f} times as far from the principal directions of its class as the median row",
    "knn": "{ratio:.1f} times as far from its neighbours as the median row",
    "loss": "on the wrong side of models learned without it (margin {margin:.2f})",
    "trim": "fitted worse than its class by a model of the rows that fit best",
    "neighbours": "its label differs from {votes} of its 10 nearest neighbours",
    "confident": "its label is unlikely by confident learning",
    "pull": "pulls the model {ratio:.0f} times as much as the median row of its class",
    "sever": "its gradient stands out along the top direction of its class",
    "copies": "{copies} of one row",
    "crowd": "far from its class, yet close to another row of it",
    "twins": "next to a row of the other class, as its own twin with another label",
    "spectral": "far out along the top direction of its class",
    "clusters": "in a cluster of its own beside its class",
    "influence": "raises the error on held-out rows",
}
"""What a detector says of a row, in words."""
MILDER = {
    "loss": (0.0, "nearer to the border of models learned without it than its class (margin {margin:.2f})"),
    "confident": (0.5, "its label is less likely by confident learning than those of its class"),
    "neighbours": (0.0, "nearer to the other class than rows of its class are, though not as near as to its own"),
    "influence": (0.0, "lowers the error on held-out rows less than rows of its class do"),
}
"""Up to which score a detector says no more of a row than this: that it is strange in its class."""
DENSE, HESSIAN = ("spectral", "clusters"), ("pull",)


def usable(rows: Dataset, table: Mapping[str, Detector]) -> tuple[dict[str, Detector], dict[str, str]]:
    """The detectors of a table that these rows have room for, and why each other is left out."""
    left: dict[str, str] = {}
    if "confident" in table and (why := _without_cleanlab()):
        left["confident"] = why
    if rows.n * rows.d > MANY_ENTRIES:
        left |= dict.fromkeys(DENSE, f"the rows have more than {MANY_ENTRIES:,} entries")
    if rows.d > MANY_FEATURES:
        left |= dict.fromkeys(HESSIAN, f"the rows have more than {MANY_FEATURES:,} features")
    return {name: entry for name, entry in table.items() if name not in left}, left


def _without_cleanlab() -> str:
    """Why there is no confident learning, if there is none: a package that is found may lack what it imports."""
    if find_spec("cleanlab") is None:
        return "the package cleanlab is not installed"
    try:
        import_module("cleanlab.rank")
    except ImportError as error:
        return f"the package cleanlab cannot be imported ({error})"
    return ""


def folds_of(rows: Dataset, seed: int) -> Codes:
    """A fold for each row, drawn within the classes."""
    rng, folds = np.random.default_rng(seed), np.zeros(rows.n, dtype=np.intp)
    for label in LABELS:
        mine = rng.permutation(np.flatnonzero(rows.y == label))
        folds[mine] = np.arange(mine.size) % FOLDS
    return folds


def directions(rows: Dataset, some: Codes) -> Array:
    """Some rows as directions of length 1 from the middle of their class."""
    away = dense(rows.X[some]) - class_centers(rows.X, rows.codes, 2, "median")[rows.codes[some]]
    return np.asarray(away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), np.finfo(float).tiny))


def votes(rows: Dataset) -> Codes:
    """How many of the `VOTERS` nearest rows have another label, shape (n,)."""
    found = np.zeros(rows.n, dtype=np.intp)
    for label in LABELS:
        mine, others = np.flatnonzero(rows.y == label), np.flatnonzero(rows.y != label)
        own = Neighbors(rows.X[mine], min(VOTERS, mine.size - 1)).distances
        away = Neighbors(rows.X[others], min(VOTERS, others.size - 1)).of(rows.X[mine])
        limit = np.sort(np.hstack([own, away]), axis=1)[:, VOTERS - 1 : VOTERS]
        found[mine] = (away <= limit).sum(axis=1)
    return found
