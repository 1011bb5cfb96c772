"""Where a row of each class may be planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from ...core.dataset import Dataset
from ...core.errors import InputError
from ...core.model import MultiModel
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
