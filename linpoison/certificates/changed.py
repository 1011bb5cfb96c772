"""Which certificate speaks of changed training rows, by loss: deletions, and flipped labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..core.errors import CapabilityError
from ..losses import MarginLoss
from .certificate import Certificate
from .claim import Claim
from .hinge import certify_deletions, certify_flips
from .ridge import deletions_ridge, label_flips_ridge
from .ridge.deletions import deletions_withstood
from .ridge.flips import flips_withstood
from .smooth import deletions_smooth, flips_smooth
from .smooth.changes import withstood

Change = Literal["deletions", "flips"]
Proof = Callable[[Claim, int], Certificate]

_KNOWN: dict[str, tuple[Proof, Proof, Proof]] = {
    "deletions": (deletions_ridge, deletions_smooth, certify_deletions),
    "flips": (label_flips_ridge, flips_smooth, certify_flips),
}
"""For the squared loss, for a soft hinge, and for the hinge."""


def change_certifier(loss: MarginLoss, change: Change) -> Proof:
    """``certify(claim, count)``, of the kind "score".

    Raises
    ------
    CapabilityError
        If there is none.
    """
    squared, soft, sharp = _KNOWN[change]
    if loss.quadratic:
        return squared
    if loss.soft_hinge is None:
        known = "the squared, hinge, smooth hinge or logistic loss"
        raise CapabilityError(f"{known} for {change}", f"the {loss.name} loss")
    return soft if loss.kink is None else sharp


def changes_withstood(claim: Claim, most: int, change: Change) -> NDArray[np.intp]:
    """For each row of the claim the greatest number of changes, up to `most`, that provably leave its label.

    -1 where not even the model of all rows is proved to predict it.
    """
    loss = claim.problem.loss
    prove = change_certifier(loss, change)
    if loss.soft_hinge is not None and loss.kink is None:
        return withstood(claim, most, flips=change == "flips")
    if loss.quadratic:
        return deletions_withstood(claim, most) if change == "deletions" else flips_withstood(claim, most)
    return by_bisection(claim, prove, min(most, claim.train.n - 1))


def by_bisection(claim: Claim, prove: Proof, most: int) -> NDArray[np.intp]:
    """For each row the greatest count whose certificate holds: each holds for all smaller counts."""
    rows = claim.demand_rows()
    low, high = np.full(rows.n, -1), np.full(rows.n, most + 1)
    while (high - low > 1).any():
        middle = np.where(low < 0, 0, (low + high + 1) // 2)
        for count in np.unique(middle[high - low > 1]):
            chosen = np.flatnonzero((high - low > 1) & (middle == count))
            held = np.asarray(prove(claim.about(rows.take(chosen)), int(count)).bound) < 0
            low[chosen[held]], high[chosen[~held]] = count, count
    return low


def inserting(prove: Proof) -> Proof:
    """Rows that are replaced by rows of the sets: `prove` with as many inserted."""
    return partial(_replaced, prove)


def _replaced(prove: Proof, claim: Claim, count: int) -> Certificate:
    return prove(claim.at(count / claim.train.n), count)
