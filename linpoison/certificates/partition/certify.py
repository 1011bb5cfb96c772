"""How many inserted rows a majority over parts of the data withstands."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from ...core.errors import CapabilityError, InputError
from ...core.validation import Array, check_number
from ...losses import Problem
from ..certificate import Certificate, Witness, check
from ..claim import Claim
from ..outer.ball import certify_ball
from ..outer.margin import certify_margin
from ..ridge.certify import certify_ridge
from .bases import BaseCertifier, BaseProofs, fit_base, proven_levels
from .hashing import split_rows, whole
from .votes import certified_insertions, search_levels

_MANY = 1000
"""Parts that a witness may speak of, or as many as there are rows."""


def certify_partition(
    claim: Claim,
    *,
    n_parts: int,
    seed: int = 0,
    base: BaseCertifier | str = "auto",
    most: int | None = None,
    deletions: int = 0,
    precision: float = 0.0,
) -> Certificate:
    """Rows that anyone may insert without changing what the majority over `n_parts` parts says.

    The learner of a partition (Levine and Feizi, 2021) drops the rows outside the set of their label,
    divides the others by `parts_of`, trains one model on each part and predicts the majority, a tie being -1. An
    inserted row lands in one part. Base j, of ``n_j`` clean rows, keeps its vote for a row up to
    ``m = tau_j - 1`` insertions if a score certificate proves so at the budget ``m / n_j``; then

    ::

        certified = (sum of the f least tau_j among the bases on the side of the label) - 1,
        f = the bases that must change sides.

    Every tau_j is 1 with ``most=0``: that is their bound. A base whose clean vote is not proven counts as one
    that votes against the label.

    Parameters
    ----------
    claim : Claim
        Its problem is the one of each base, its rows carry the labels to certify. Its `epsilon` is not used.
    n_parts : int
    seed : int
        Key of the hash.
    base : callable or "auto"
        ``base(claim) -> Certificate`` of kind "score". "auto" takes `certify_ridge` for the squared loss,
        and `certify_ball`, then `certify_margin`, for hinge, smooth hinge and logistic.
    most : int, optional
        Insertions into one part beyond which nothing is tried; as many as it has rows by default.
    deletions : int
        Clean rows that the attacker may delete or relabel besides. Changing the features of a row is one
        deletion and one insertion.
    precision : float
        Share of what a base withstands that may be left unexplored above it; 0.1 spares most of the work on
        large data.

    Returns
    -------
    Certificate
        Of kind "insertions", -1 for rows that the majority does not provably give their label to.

    References
    ----------
    Levine, Feizi, "Deep partition aggregation", ICLR 2021, equation 3.
    """
    began = time.perf_counter()
    n_parts, deletions = whole(n_parts, "n_parts", 1), whole(deletions, "deletions", 0)
    rows, seed = claim.demand_rows(), whole(seed, "seed", 0)
    precision = check_number(precision, "precision", at_least=0)
    parts = split_rows(claim.train, claim.sets, n_parts, seed)[1]
    certifiers = _certifiers(base, claim.problem)
    ceiling = max(int(part.total) for part in parts) if most is None else whole(most, "most", 0)
    tops = np.array([min(ceiling, int(part.total)) for part in parts])
    models = [fit_base(claim.problem, part) for part in parts]
    votes = np.column_stack([model.predict(rows.X) == rows.y for model in models])
    proofs = BaseProofs(claim, parts, certifiers)
    search_levels(proofs.attempt, votes, tops, rows.y, deletions, precision=precision)
    learner = {"n_parts": np.array(n_parts), "seed": np.array(seed), "deletions": np.array(deletions)}
    witness = {**proofs.witness(), **learner}
    bound = recompute_partition(claim, witness)
    info = {"n_parts": n_parts, "seed": seed, "deletions": deletions, "base_calls": proofs.calls}
    return Certificate.proved("partition", claim, bound, witness, began, exact=False, info=info)


def _words(claim: Claim, witness: Witness) -> tuple[str, ...]:
    n_parts, seed, deletions = (int(witness[name]) for name in ("n_parts", "seed", "deletions"))
    spared = f", and deletes or relabels at most {deletions} clean rows" if deletions else ""
    problem: Any = claim.assumptions()[3:]
    return (
        "the feasible sets and all preprocessing are fixed beforehand, from data that the attacker does not touch",
        "rows outside the set of their label, clean or inserted, are dropped before training",
        f"the other rows are divided into {n_parts} parts by a hash of their features with the key {seed}, one model "
        "is trained on each, and the majority decides, a tie for the first class",
        f"the attacker inserts any rows{spared}",
        *problem,
    )


@check("partition", kind="insertions", words=_words)
def recompute_partition(claim: Claim, witness: Witness) -> Array:
    """The insertions that a witness proves for each row, without a solver, shape (rows,).

    Raises
    ------
    InputError
        If the witness does not say how the data are divided.
    """
    values = [witness.get(name, "nothing") for name in ("n_parts", "seed", "deletions")]
    n_parts, seed = whole(values[0], "n_parts", 1), whole(values[1], "seed", 0)
    if n_parts > max(_MANY, claim.train.n):  # before a dataset is made for each
        raise InputError(f"at most {max(_MANY, claim.train.n)} parts of {claim.train.n} rows", f"{n_parts}")
    parts = split_rows(claim.train, claim.sets, n_parts, seed)[1]
    levels = proven_levels(claim, parts, witness)
    return certified_insertions(levels, claim.demand_rows().y, whole(values[2], "deletions", 0))


def _certifiers(base: BaseCertifier | str, problem: Problem) -> tuple[BaseCertifier, ...]:
    if not isinstance(base, str):
        return (base,)
    if base != "auto":
        raise InputError("a base certifier or 'auto'", repr(base))
    return base_certifiers(problem)


def base_certifiers(problem: Problem) -> tuple[BaseCertifier, ...]:
    """The score certificates for a loss, the cheapest first.

    Raises
    ------
    CapabilityError
        If there is none.
    """
    if problem.loss.quadratic:
        return (partial(certify_ridge, method="structured"),)
    if problem.loss.soft_hinge is not None:
        return (certify_ball, certify_margin)
    known = "the squared, hinge, smooth hinge or logistic loss"
    raise CapabilityError(known, f"the {problem.loss.name} loss", "Give a base certifier.")
