"""Linear models that err on one subpopulation and hardly elsewhere: what the convex attacks plant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ...core import Dataset, LinearModel, check_number
from ...learners import make_learner
from ...losses import Problem
from ..aim import Aim

QUANTILES = (0.5, 1.0)
SHELTERS = (0.0, 1.0)
WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, eq=False)
class GroupDecoy:
    """A model to be planted.

    Parameters
    ----------
    model : LinearModel
    target_damage : float
        Growth of its error on the subpopulation, against the clean model.
    collateral : float
        Growth of its error on all other rows.
    clean_loss : float
        Its mean loss on all rows, which says how dear it is to plant.
    quantile, weight : float
    """

    model: LinearModel
    target_damage: float
    collateral: float
    clean_loss: float
    quantile: float
    weight: float


def group_decoys(
    train: Dataset,
    problem: Problem,
    aim: Aim,
    *,
    quantiles: Sequence[float] = QUANTILES,
    weights: Sequence[float] = WEIGHTS,
    shelters: Sequence[float] = SHELTERS,
) -> list[GroupDecoy]:
    """Models trained with flipped rows of the subpopulation, one for each share of those rows and each weight.

    ::

        minimise    reg/2 |theta|^2 + mean training loss  +  weight / n  sum_(F) loss(theta; x, -y)
                                                      +  shelter / n  sum_(others) loss(theta; x, y)

    over the share of the rows of F of least margin. For each share the weights trace the Lagrangian of the
    convex program that minimises the flipped loss on F subject to a bound on the mean training loss; the greatest
    weight whose error outside F has grown by no more than the limit answers the collateral constraint.

    Parameters
    ----------
    train : Dataset
    problem : Problem
    aim : Aim
    quantiles : sequence of float in (0, 1]
    weights : sequence of float
        Copies of each flipped row.
    shelters : sequence of float
        Copies of each row outside F, which hold the collateral damage down and make a decoy dearer.

    Returns
    -------
    list of GroupDecoy
        The most damaging first.
    """
    learner, others = make_learner(problem), aim.rest("group decoys")
    clean = learner.fit(train)
    order = np.argsort(clean.margins(aim.target), kind="stable")
    decoys = []
    for shelter, quantile in product(shelters, quantiles):
        share = check_number(quantile, "a decoy quantile", above=0, at_most=1)
        guard = replace(others, weight=check_number(shelter, "a decoy shelter", at_least=0) * others.weight)
        base = train.mix(guard) if shelter else train
        chosen = aim.target.take(order[: max(round(share * order.size), 1)])
        model = clean
        for weight in weights:
            check_number(weight, "a decoy weight", above=0)
            flipped = Dataset(chosen.X, -chosen.y, weight * chosen.weight, train.domain)
            model = learner.fit(base.mix(flipped), start=model)
            damage, collateral = growth(aim, model, clean)
            decoys.append(GroupDecoy(model, damage, collateral, problem.mean_loss(model, train), share, weight))
    return sorted(decoys, key=lambda decoy: (-decoy.target_damage, decoy.clean_loss))


def growth(aim: Aim, model: LinearModel, clean: LinearModel) -> tuple[float, float]:
    """How much more `model` errs than `clean`, on the target and on the other rows."""
    target, others = (model.error(part) - clean.error(part) for part in (aim.target, aim.rest("group decoys")))
    return target, others


def undominated(decoys: Sequence[GroupDecoy], collateral: float) -> list[GroupDecoy]:
    """Those within the collateral that no other beats in damage and clean loss, the most damaging first."""
    kept: list[GroupDecoy] = []
    for decoy in sorted(decoys, key=lambda item: (-item.target_damage, item.clean_loss)):
        within = decoy.collateral <= collateral and decoy.target_damage > 0
        if within and (not kept or decoy.clean_loss < kept[-1].clean_loss):
            kept.append(decoy)
    return kept
