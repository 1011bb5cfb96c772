"""Scores of SVM and logistic regression by how far the parameters can move: the cheapest bound, without a solver."""

from __future__ import annotations

import time

import numpy as np

from ...core.validation import Array
from ..certificate import Certificate, Witness, check, claim_words
from ..claim import Claim
from ..clean.anchor import anchor
from ..clean.screen import screen
from .bound import evaluate

BALL = "ball"


def certify_ball(claim: Claim) -> Certificate:
    """Bound scores by how far the parameters can move.

    With ``v0`` the minimiser on the clean rows with the regulariser ``lam = claim.reg``, every reachable ``v`` has

    ::

        |v - v0|       <=  epsilon max_{y, x in F_y} |(x, 1)| / lam
        -k (z, 1) . v  <=  -k (z, 1) . v0 + |(z, 1)| |v - v0|

    for a loss of slope at most 1, if every parameter is penalised. The witness is a dual point of the clean rows, whose
    gap is added to the radius.

    Parameters
    ----------
    claim : Claim

    Returns
    -------
    Certificate
        Of the kind "score", infinite with a free intercept or unbounded sets.

    Raises
    ------
    InputError
        If the claim has no rows.
    CapabilityError
        If the loss is none of hinge, smooth hinge and logistic.

    References
    ----------
    Bousquet, Elisseeff: Stability and generalization (2002), theorem 22, has the argument.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Hinge, Problem
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[-1.0], [1.0]], [-1, 1])
    >>> sets = ByLabel({+1: Ball([1.0], 0.5), -1: Ball([-1.0], 0.5)})
    >>> claim = Claim(train, Problem(Hinge(), 0.5, fit_intercept=False), sets, 0.1, Dataset([[1.0]], [1]))
    >>> certify_ball(claim).bound.round(4)
    array([-0.7273])
    """
    began = time.perf_counter()
    claim.demand_rows()
    witness = {"a0": anchor(claim)}
    bound = recompute_ball(claim, witness)
    return Certificate.proved(BALL, claim, bound, witness, began)


@check(BALL, scores=True, words=claim_words)
def recompute_ball(claim: Claim, witness: Witness) -> Array:
    """The bound that multipliers ``a0`` (n,) of the clean rows prove."""
    zero = np.zeros(claim.train.d + 1)
    screening = screen(claim, witness.get("a0", ()))
    return evaluate(claim, screening.without_margins(), zero, 0.0, np.zeros(claim.train.n))
