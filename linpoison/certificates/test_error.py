"""How many given rows can be misclassified at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..core.dataset import Dataset
from ..core.journal import Journal
from ..core.validation import Array, check_integer
from ..losses import MarginLoss
from .certificate import Certificate, Witness, check, insertion_scores, recompute, words_of
from .claim import Claim
from .clean.losses import soft_hinge
from .collective import SAVE, Certify, CutSearch, Share, allowed, nested, proved_cuts, scores_of
from .joint import Joint
from .outer.known import OuterSets
from .outer.margin import certify_margin, joint_of_margin
from .ridge.certify import certify_ridge
from .ridge.conic import joint_of_ridge
from .saddle.certify import AVERAGE, certify_average_loss

NAME = "test-error"
NODES, FEWER = 300, 80
"""Most nodes of a tree for ridge, and for the losses whose programs grow with the clean rows."""
ZERO_COUNTS = "a score of zero counts as an error"


Programs = Mapping[str, Callable[[Claim, Witness], Callable[[Dataset, Array], Joint] | None]]
"""By the name of a score certificate: from a claim and its witness the program that finds cuts, if there is one."""
PROGRAMS: Programs = {"ridge": joint_of_ridge, "outer-set": joint_of_margin}


@dataclass(frozen=True)
class Scores:
    """How rows are bounded: well enough to decide which are certified, or as `tight` as can be; and what finds cuts.

    A `journal`, of one claim, keeps what was found."""

    decide: Certify
    tight: Certify
    programs: Programs
    journal: Journal | None = None

    @classmethod
    def of(cls, certify: Certify) -> Scores:
        """Those of one certifier for both."""
        return cls(certify, certify, PROGRAMS)

    def __call__(self, claim: Claim) -> Certificate:
        """Bounds that are negative wherever the certifier can show it."""
        return self.decide(claim)


def certify_test_error(
    claim: Claim, certify: Certify | Scores | None = None, *, rounds: int = 4, nodes: int | None = None
) -> Certificate:
    """Bound the share of ``claim.rows`` that one poison can make the learner misclassify.

    No sampling enters: the bound speaks of these very rows, with their weights ``q_j`` (of sum 1). With
    ``m_j = k_j (theta . z_j + b)``, it is the least of

    (a) *pointwise*, the weight of the rows whose score certificate does not exclude ``m_j <= 0``;
    (b) *collective*: one model must do all the damage. With ``b_j = [m_j <= 0]``, ``h_j`` at least 0 and no less than
        any ``m_j``, and ``B(mu)`` a bound on ``-sum_j mu_j m_j``, which is the score of one combined row, so that any
        score certificate serves, every ``mu >= 0`` gives a *knapsack cut*

        ::

            sum_j mu_j h_j b_j  <=  sum_j mu_j h_j + B(mu)            from  -m_j >= -h_j (1 - b_j).

        The bound is the most that any marks `b` in {0, 1} weigh that respect the cuts, by a tree of cases with
        multipliers (`knapsack.Cuts.bound`); rows that (a) excludes are left out. Where the certificate of the rows has
        a program, a node of the tree is one program with all rows, marks between 0 and 1, and the cut of a leaf is its
        multipliers (`marks.Search`). The poison that is retrained on, the attack, is that of models that are as bad as
        can be for the least damaged of more and more rows: ``info["attack"]``;
    (c) *average*, only if `rows` are the clean training rows themselves, and if `certify` speaks of insertions alone:
        the average-loss bound over ``phi(0)``.
        It says nothing on other rows.

    Where all rows weigh the same the bound is rounded down to a whole number of rows.

    Parameters
    ----------
    claim : Claim
        With the rows in question.
    certify : Scores or callable, optional
        ``certify(claim)`` is a certificate of the kind "score". By default `score_certifier` of the loss:
        `certify_ridge` for the squared loss and `certify_margin` for the others, none for the squared hinge.
    rounds : int, default 4
        Cuts of (b) that are guessed where there is no program, each at the price of certifying one row.
    nodes : int, optional
        Most nodes of the tree otherwise: 80, or 300 for the squared loss, whose programs do not grow with the rows.

    Returns
    -------
    Certificate
        Of the kind "error". Its `info` holds ``pointwise``, ``collective`` and ``average`` (None where not computed),
        shares before rounding, ``cuts``, and, where a program found cuts, ``attack``, the share that errs after
        retraining on the best of its poisons, and ``poison``, that one (rows, labels and fractional copies).

    Raises
    ------
    InputError
        If the claim has no rows, or if `certify` returns another kind of certificate.

    Notes
    -----
    Guessed cuts are those of a ball of models around ``v0``: with ``mu_j = q_j s_j`` and one cut alone, the best
    ``0 <= s_j <= 1 / h_j`` minimise ``-sum_j mu_j m_j(v0) + rho |c|``, ``c = sum_j mu_j k_j (z_j, 1)``. This is solved
    with the clean model in the place of ``v0``; ``rho`` is then fitted to the bound found for the combined
    row, and so on. Only the quality of the bound rests on that.
    """
    check_integer(rounds, "rounds", at_least=1)
    nodes = (NODES if claim.problem.loss.quadratic else FEWER) if nodes is None else nodes
    check_integer(nodes, "nodes", at_least=1)
    began = time.perf_counter()
    scores = certify if isinstance(certify, Scores) else Scores.of(certify or score_certifier(claim.problem.loss))
    rows = claim.demand_rows()
    low, least = scores_of(scores, claim)
    chosen = ~(least < 0)
    witness: dict[str, Any] = {"open": chosen, **nested("low", low)}
    info: dict[str, Any] = {}
    if chosen.any():
        share = Share.of(rows, chosen)
        high, most = scores_of(scores.tight, claim.about(_flipped(share.rows)))
        witness |= nested("high", high)
        search = CutSearch(scores.tight, claim, share, most)
        program = scores.programs[low.name](claim, low.witness) if low.name in scores.programs else None
        if program is not None:
            search.branch(lambda: program(share.rows, most), nodes, scores.journal)
        else:
            search.guess(rounds)
        witness |= search.witness()
        info = search.info()
    if _about_training(claim):
        witness["average.v"] = certify_average_loss(claim).witness["v"]
    found = _recompute(claim, witness)
    info |= {"pointwise": found.pointwise, "collective": found.collective, "average": found.average}
    words = low.assumptions
    return Certificate.proved(NAME, claim, found.bound, witness, began, exact=False, words=words, info=info)


def _words(claim: Claim, witness: Witness) -> tuple[str, ...]:
    return (*_said("low", claim, witness), ZERO_COUNTS)


@check(NAME, kind="error", words=_words)
def recompute_test_error(claim: Claim, witness: Witness) -> float:
    """The share that the witnesses of score certificates and the slopes prove; at most 1 whatever they are."""
    return _recompute(claim, witness).bound


@dataclass(frozen=True)
class _Found:
    bound: float
    pointwise: float
    collective: float | None
    average: float | None


def _recompute(claim: Claim, witness: Witness) -> _Found:
    rows = claim.demand_rows()
    share = rows.weight / rows.total
    failed = ~(_recomputed("low", claim, witness, rows.n) < 0)
    pointwise = float(share[failed].sum())
    collective = _collective(claim, witness, failed)
    average = None
    if "average.v" in witness and _about_training(claim) and _only_inserts(claim, witness):
        found = recompute(AVERAGE, claim, {"v": witness["average.v"]})
        average = float(found) / float(claim.problem.loss.value(np.zeros(1))[0])
    bound = min(1.0, *(value for value in (pointwise, collective, average) if value is not None))
    if np.ptp(rows.weight) == 0:
        bound = math.floor(bound * rows.n * (1 + SAVE / rows.n) + SAVE) / rows.n
    return _Found(bound, pointwise, collective, average)


def _collective(claim: Claim, witness: Witness, failed: Any) -> float | None:
    """(b) for the cuts of the witness; rows that are not ``open`` count in full unless excluded."""
    rows = claim.demand_rows()
    chosen = np.asarray(witness.get("open", np.zeros(0)), dtype=bool)
    given = _given(witness, rows.weight[chosen] / rows.total) if chosen.shape == (rows.n,) and chosen.any() else None
    if given is None:
        return None
    share, (mu, branch, dual) = Share.of(rows, chosen), given
    high = _recomputed("high", claim.about(_flipped(share.rows)), witness, share.rows.n)
    mu = allowed(mu, high)
    combined = share.combined(mu, claim.problem.fit_intercept)
    if combined is None:
        return None
    score = _recomputed("sum", claim.about(combined.rows), witness, len(mu))
    low = _recomputed("low", claim, witness, rows.n)[chosen]
    cuts = proved_cuts(claim, share, combined, score, high, np.maximum(np.abs(low), np.abs(high)))
    missed = float((rows.weight / rows.total)[failed & ~chosen].sum())
    return max(0.0, missed + cuts.bound(branch, np.where(np.isfinite(cuts.rhs), dual, 0.0)))


def _given(witness: Witness, share: Array) -> tuple[Array, Array, Array] | None:
    """Multipliers of the cuts (K, m), and the tree; slopes, as files held them before, are one cut."""
    if "slopes" in witness:
        return share * np.asarray(witness["slopes"], dtype=np.float64)[None], np.array([-1]), np.ones((1, 1))
    if not {"cuts", "branch", "dual"} <= set(witness):
        return None
    mu, dual = (np.asarray(witness[name], dtype=np.float64) for name in ("cuts", "dual"))
    if mu.ndim != 2 or mu.shape[1] != share.size or not len(mu) or dual.ndim != 2 or dual.shape[1] != len(mu):
        return None
    return mu, np.asarray(witness["branch"]), dual


def _recomputed(prefix: str, claim: Claim, witness: Mapping[str, Array], n: int) -> Array:
    """The score bounds that a nested witness proves; infinite where there is none, or none of scores."""
    if str(witness.get(f"{prefix}:name", "")) not in insertion_scores() or not _same_attacker(prefix, claim, witness):
        return np.full(n, np.inf)
    found = recompute(str(witness[f"{prefix}:name"]), claim, _inner(prefix, witness))
    return np.asarray(found, dtype=np.float64)


def _same_attacker(prefix: str, claim: Claim, witness: Witness) -> bool:
    """Whether a nested certificate speaks of all that the one of the rows does, such as deleted rows."""
    if prefix == "low" or _only_inserts(claim, witness):
        return True
    return set(_said(prefix, claim, witness)) == set(_said("low", claim, witness))


def _only_inserts(claim: Claim, witness: Witness) -> bool:
    """Whether the certificate of the rows says no more of the attacker than the claim."""
    said = _said("low", claim, witness)
    return not said or set(claim.assumptions()) <= set(said)


def _said(prefix: str, claim: Claim, witness: Witness) -> tuple[str, ...]:
    name = str(witness.get(f"{prefix}:name", ""))
    return words_of(name, claim, _inner(prefix, witness)) if name in insertion_scores() else claim.assumptions()


def _inner(prefix: str, witness: Witness) -> dict[str, Array]:
    """The witness inside the witness."""
    start = len(prefix) + 1
    return {name[start:]: value for name, value in witness.items() if name.startswith(f"{prefix}.")}


def _flipped(rows: Dataset) -> Dataset:
    return replace(rows, y=-rows.y)


def _about_training(claim: Claim) -> bool:
    return claim.rows is claim.train or claim.demand_rows().digest() == claim.train.digest()


def score_certifier(
    loss: MarginLoss, journal: Journal | None = None, progress: Callable[[int, int, str], None] | None = None
) -> Scores:
    """The sharpest certificates of single rows that there are for a loss; of several claims they share what they can.

    Parameters
    ----------
    loss : MarginLoss
    journal : Journal, optional
        Of one claim, whatever its rows: keeps what was found for each row, so that an interrupted search goes on there.
    progress : callable, optional
        Called with the number of rows done, of all rows, and with words, where they are bounded one by one.

    Raises
    ------
    CapabilityError
        If there is none.
    """
    if loss.quadratic:
        return replace(Scores.of(certify_ridge), journal=journal)
    soft_hinge(loss)
    known = OuterSets(journal, progress)
    programs: Programs = {**PROGRAMS, "outer-set": partial(joint_of_margin, known=known)}
    decide, tight = partial(certify_margin, decide=True, known=known), partial(certify_margin, known=known)
    return Scores(decide, tight, programs, journal)
