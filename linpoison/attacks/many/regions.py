"""Where a row of each class may be planted, and rows inside the balls that they move themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from ...core.dataset import Dataset
from ...core.errors import InputError
from ...core.model import MultiModel
from ...core.parts import dense
from ...core.validation import Array, Matrix, check_number
from ...defenses import make_defense
from ...losses import MultiLoss
from ...sets import Ball, FeasibleSet, domain_set, intersect, rival_caps

_SLACK = 1e-3
"""Share of a class by which a ball stays inside what the defender keeps: rounded masses differ a little."""

Regions = Mapping[int, FeasibleSet]
"""Label -> the set of its rows."""


def ball_regions(data: Dataset, quantile: float) -> dict[int, FeasibleSet]:
    """For each class the ball around its mean that holds a share of its rows, inside the domain.

    Parameters
    ----------
    data : Dataset
        Clean rows, or clean rows and the poison that they will be mixed with.
    quantile : float
        Share of the class inside the ball, in (0, 1]; the paper takes 0.9 against a defender who
        keeps 0.95, because the poison pushes clean rows out.

    References
    ----------
    Koh, Steinhardt, Liang (2022), section 2.2 and appendix B.
    """
    share = check_number(quantile, "quantile", above=0, at_most=1)
    detector = make_defense("l2").fit(data.X, data.codes)
    regions = {}
    for label in range(data.k):
        scores = detector.decision_scores_[data.codes == label]
        ball = detector.feasible_set(label, float(np.quantile(scores, share)))
        regions[label] = intersect(ball, domain_set(data.domain, data.d))
    return regions


def refitted_regions(data: Dataset, poison: Dataset, remove: float) -> dict[int, FeasibleSet]:
    """The balls that a defender fits to clean rows and poison, if the poison stays and clean rows alone are dropped.

    With n rows of a class and poison of mass m the defender drops ``remove (n + m)`` of them. The poison
    moves the mean, and so the ball, towards itself.

    Parameters
    ----------
    data : Dataset
        Clean rows.
    poison : Dataset
        Its weights are counted in clean rows.
    remove : float
        Share of each class that is dropped, in [0, 1).

    Raises
    ------
    InputError
        If the poison of a class is so much that no clean row would be left.

    References
    ----------
    Koh, Steinhardt, Liang (2022), section 4.2.3: the iterative attack, there on whole poisons.
    """
    check_number(remove, "remove", at_least=0, below=1)
    regions = {}
    for label in range(data.k):
        own = poison.codes == label
        ball = refitted_ball(data.X[data.codes == label], poison.X[own], poison.weight[own], remove)
        regions[label] = intersect(ball, domain_set(data.domain, data.d))
    return regions


def refitted_ball(rows: Matrix, X: Matrix, weight: Array, remove: float) -> Ball:
    """The ball of one class in `refitted_regions`, from its clean rows, its poison and the weights of that."""
    mass = float(weight.sum())
    kept = 1.0 - remove * (1.0 + mass / rows.shape[0]) - _SLACK
    if kept <= 0:
        raise InputError("less poison than leaves clean rows in each class", f"a mass of {mass:g} on {rows.shape[0]}")
    centre = (rows.sum(axis=0) + weight @ X) / (rows.shape[0] + mass)
    return Ball(centre, float(np.quantile(euclidean_distances(rows, centre[None]), kept)))


def capped_regions(regions: Regions, decoy: MultiModel, caps: Array) -> dict[int, FeasibleSet]:
    """Regions cut down to rows whose hinge under a decoy is at most the cap of their class."""
    return {
        label: intersect(region, *rival_caps(decoy, label, float(caps[label]))) for label, region in regions.items()
    }


def loss_caps(decoy: MultiModel, data: Dataset, quantile: float, least: float, loss: MultiLoss) -> Array:
    """For each class a quantile of the unclipped losses of its rows under a model, at least `least`, shape (k,)."""
    ranks = loss.rank(decoy.scores(data.X), data.codes)
    return np.array([max(least, float(np.quantile(ranks[data.codes == label], quantile))) for label in range(data.k)])


@dataclass(frozen=True)
class Pair:
    """Poison of label `label` that is pulled towards `rival`."""

    label: int
    rival: int


def pairs(k: int) -> list[Pair]:
    """All ``k (k - 1)`` ordered pairs of classes, by label."""
    return [Pair(label, rival) for label in range(k) for rival in range(k) if rival != label]


MOST = 50
"""Readings of a ball before its rows are contracted instead."""
_NEAR = 1e-7  # of the radius: rows this far outside are inside
_HALVINGS = 40


def pulled_in(data: Dataset, poison: Dataset, remove: float) -> Dataset:
    """The poison with each row in the ball of `refitted_regions` that the poison as it is then moves.

    The ball of a class is read, rows outside go to its nearest point, which moves the ball, and so on until
    no row is more than 1e-7 of the radius outside. After `MOST` readings the rows of the class are
    contracted towards the mean of its clean rows, as little as halving a share finds.

    Parameters
    ----------
    data : Dataset
        Clean rows.
    poison : Dataset
        Its weights are counted in clean rows; rows of the domain, where they stay. (Of a domain of counts they stay in
        the box: they are pulled to fractions, as the balls know nothing of counts.)
    remove : float
        Share of each class that is dropped, in [0, 1).

    Notes
    -----
    Let q be the share of the poison in its class and v how far its worst row is outside. Pulling rows in moves
    them by v at most, the centre by q v, and so the radius, a quantile of distances to it, by q v: after the
    next reading no row is more than 2 q v outside. Below q = 1/2, less poison than clean rows, readings
    converge. The contraction always ends, at the clean mean if the clean rows are all the same: shrunk to a share t,
    the rows are t times as far from the centre, and the centre is t times as far from the clean mean, where the ball
    has a radius of its own. Nearest points and contracted rows lie between a row and a mean of rows, so a convex
    domain that holds the rows holds them.
    """
    check_number(remove, "remove", at_least=0, below=1)
    X = np.array(dense(poison.X))
    for label in np.unique(poison.codes):
        own = poison.codes == label
        X[own] = _Class(data.X[data.codes == label], poison.weight[own], remove).pulled_in(X[own])
    return replace(poison, X=X)


@dataclass(frozen=True, eq=False)
class _Class:
    """The clean rows of one class, and the weights of its poison."""

    rows: Matrix
    weight: Array
    remove: float

    def pulled_in(self, X: Array) -> Array:
        for _ in range(MOST):
            ball = self._ball(X)
            if _holds(ball, X):
                return X
            X = ball.project(X)
        return self._contracted(X)

    def _contracted(self, X: Array) -> Array:
        """The rows at the greatest share found of their way from the clean mean that is inside."""
        mean = np.asarray(self.rows.mean(axis=0)).ravel()
        inside, outside = 0.0, 1.0
        for _ in range(_HALVINGS):
            share = (inside + outside) / 2
            tried = mean + share * (X - mean)
            inside, outside = (share, outside) if _holds(self._ball(tried), tried) else (inside, share)
        return np.asarray(mean + inside * (X - mean))

    def _ball(self, X: Array) -> Ball:
        return refitted_ball(self.rows, X, self.weight, self.remove)


def _holds(ball: Ball, X: Array) -> bool:
    return bool(ball.contains(X, _NEAR * ball.radius).all())
