"""How many given rows can be misclassified at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from ..core.dataset import Dataset
from ..core.errors import InputError
from ..core.validation import Array, check_integer, squared_norms
from ..losses import MarginLoss
from .certificate import Certificate, Witness, check, insertion_scores, recompute, words_of
from .claim import Claim
from .clean.losses import soft_hinge
from .outer.margin import certify_margin
from .ridge.certify import certify_ridge
from .rounding import gamma
from .saddle.certify import AVERAGE, certify_average_loss

NAME = "test-error"
Certify = Callable[[Claim], Certificate]
"""Bounds the negative margin of each row of a claim: a certificate of the kind "score"."""
ZERO_COUNTS = "a score of zero counts as an error"
_SLIVER = 1e-3
"""Least share of the slopes that must be left when those of one label are taken from those of the other."""
_SAVE = 1e-6
"""A bound on a count is rounded down to a whole number unless it is this close below the next."""


def certify_test_error(claim: Claim, certify: Certify | None = None, *, rounds: int = 4) -> Certificate:
    """Bound the share of ``claim.rows`` that one poison can make the learner misclassify.

    No sampling enters: the bound speaks of these very rows, with their weights ``q_j`` (of sum 1). With
    ``m_j = k_j (theta . z_j + b)``, it is the least of

    (a) *pointwise*, the weight of the rows whose score certificate does not exclude ``m_j <= 0``;
    (b) *collective*: as one model must do all the damage, and no reachable model has ``m_j > h_j``,

        ::

            sum_j q_j [m_j <= 0]  <=  max_v sum_j q_j min(1, 1 - m_j(v) / h_j)
                                  <=  sum_j q_j + max_v -(sum_j q_j s_j k_j (z_j, 1)) . v    for 0 <= s_j <= 1 / h_j

        (weak duality; rows that (a) excludes are left out). The last maximum is a score bound for one combined row,
        so that any score certificate serves;
    (c) *average*, only if `rows` are the clean training rows themselves, and if `certify` speaks of insertions alone:
        the average-loss bound over ``phi(0)``.
        It says nothing on other rows.

    Where all rows weigh the same the bound is rounded down to a whole number of rows.

    Parameters
    ----------
    claim : Claim
        With the rows in question.
    certify : callable, optional
        ``certify(claim)`` is a certificate of the kind "score". By default `certify_ridge` for the squared loss and
        `certify_margin` for the others, which has no bound for the squared hinge.
    rounds : int, default 4
        Slopes ``s`` tried for (b), each at the price of certifying one row.

    Returns
    -------
    Certificate
        Of the kind "error". Its `info` holds ``pointwise``, ``collective`` and ``average`` (None where not computed),
        shares before rounding.

    Raises
    ------
    InputError
        If the claim has no rows, or if `certify` returns another kind of certificate.

    Notes
    -----
    Where the reachable set is a ball around ``v0`` the slopes minimise ``-sum_j q_j s_j m_j(v0) + rho |c|`` with
    ``c = sum_j q_j s_j k_j (z_j, 1)``. This is solved with ``m_j(v0)`` from the middle of the score bounds; ``rho`` is
    then fitted to the bound found for the combined row, and so on. Only the quality of the bound rests on that.
    """
    check_integer(rounds, "rounds", at_least=1)
    began = time.perf_counter()
    score = certify or score_certifier(claim.problem.loss)
    rows = claim.demand_rows()
    low, least = _scores(score, claim)
    chosen = ~(least < 0)
    witness: dict[str, Any] = {"open": chosen, **_nested("low", low)}
    if chosen.any():
        share = _Share.of(rows, chosen)
        high, most = _scores(score, claim.about(_flipped(share.rows)))
        witness |= _nested("high", high)
        witness |= _search(score, claim, share, least[chosen], most, rounds)
    if _about_training(claim):
        witness["average.v"] = certify_average_loss(claim).witness["v"]
    found = _recompute(claim, witness)
    info = {"pointwise": found.pointwise, "collective": found.collective, "average": found.average}
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
        bound = math.floor(bound * rows.n * (1 + _SAVE / rows.n) + _SAVE) / rows.n
    return _Found(bound, pointwise, collective, average)


def _collective(claim: Claim, witness: Witness, failed: Any) -> float | None:
    """(b) for the slopes of the witness; rows that are not ``open`` count in full unless excluded."""
    rows = claim.demand_rows()
    chosen = np.asarray(witness.get("open", np.zeros(0)), dtype=bool)
    if chosen.shape != (rows.n,) or not chosen.any() or "slopes" not in witness:
        return None
    share = _Share.of(rows, chosen)
    high = _recomputed("high", claim.about(_flipped(share.rows)), witness, share.rows.n)
    combined = share.combined(_allowed(witness["slopes"], high), claim.problem.fit_intercept)
    if combined is None:
        return None
    score = float(_recomputed("sum", claim.about(combined.row), witness, 1)[0])
    if not score < np.inf:  # nor is NaN a proof of anything
        return None
    missed = float((rows.weight / rows.total)[failed & ~chosen].sum())
    low = _recomputed("low", claim, witness, rows.n)[chosen]
    lost = _rounding(claim, share, _allowed(witness["slopes"], high), np.maximum(np.abs(low), np.abs(high)))
    total = missed + float(share.share.sum()) + combined.scale * score
    return max(0.0, total + lost + gamma(rows.n + 8) * (1 + abs(combined.scale * score)))


def _rounding(claim: Claim, share: _Share, slopes: Array, margins: Array) -> float:
    """What rounding of the combined row may be worth under any reachable model, of which `margins` are bounds.

    Its entries err by ``gamma_n`` of their magnitudes. With mass ``e`` the objective of the minimiser is at most that
    of zero, so that ``|theta|^2 <= 2 (1 + e) phi(0) / reg_e``; and ``|b| <= |m_j| + |theta| |z_j|`` for each row.
    """
    at_zero = float(claim.problem.loss.value(np.zeros(1))[0])
    theta = math.sqrt(2 * (1 + claim.epsilon) * at_zero / claim.at(0.0).reg)
    lengths, pulls = np.sqrt(squared_norms(share.rows.X)), share.share * slopes
    offset = 0.0
    if claim.problem.fit_intercept:
        offset = theta if claim.strongly_convex else float(np.min(margins + theta * lengths, initial=math.inf))
    return gamma(share.rows.n + 16) * float(theta * (pulls @ lengths) + (offset * pulls.sum() if pulls.any() else 0.0))


@dataclass(frozen=True, eq=False)
class _Combined:
    """``c = sum_j q_j s_j k_j (z_j, 1)`` as `scale` times a row with its label."""

    row: Dataset
    scale: float
    vector: Array


@dataclass(frozen=True, eq=False)
class _Share:
    """The rows that can fail, and the weight of each among all."""

    rows: Dataset
    share: Array

    @classmethod
    def of(cls, rows: Dataset, chosen: Any) -> _Share:
        part = rows.take(np.asarray(chosen, dtype=bool))
        return cls(part, part.weight / rows.total)

    def vector(self, slopes: Array) -> Array:
        pull = self.share * slopes * self.rows.y
        return np.append(np.asarray(self.rows.X.T @ pull), pull.sum())

    def combined(self, slopes: Array, fit_intercept: bool) -> _Combined | None:
        """The combined row; None where no row has this direction, or all slopes are zero."""
        vector, total = self.vector(slopes), float(self.share @ slopes)
        last = float(vector[-1]) if fit_intercept else total
        if total == 0 or abs(last) < _SLIVER / 10 * total:
            return None
        row = Dataset((vector[:-1] / last)[None, :], np.sign([last]))
        return _Combined(row, abs(last), vector)


def _allowed(slopes: Any, high: Array) -> Array:
    """Slopes put between 0 and ``1 / h``; zero where nothing bounds the margin, or where the row fails anyway."""
    given = np.nan_to_num(np.asarray(slopes, dtype=np.float64), nan=0.0)
    if given.shape != high.shape:
        return np.zeros(high.shape)
    most = np.where((high > 0) & np.isfinite(high), 1 / np.where(high > 0, high, 1.0), 0.0)
    return np.asarray(np.clip(given, 0.0, most))


def _search(score: Certify, claim: Claim, share: _Share, low: Array, high: Array, rounds: int) -> dict[str, Any]:
    """The best slopes found, with the witness of their combined row."""
    bounded = np.isfinite(low) & np.isfinite(high) & (high > 0)
    if not bounded.any():
        return {}
    middle = np.where(bounded, (high - low) / 2, 0.0)
    lengths = np.sqrt(squared_norms(share.rows.X) + claim.problem.fit_intercept)
    radius = float(np.median(((high + low) / 2 / lengths.clip(min=1e-12))[bounded]))
    best = np.inf
    kept: dict[str, Any] = {}
    for _ in range(rounds):
        slopes = _slopes(share, middle, _allowed(np.where(bounded, np.inf, 0.0), high), max(radius, 0.0), claim)
        combined = share.combined(slopes, claim.problem.fit_intercept)
        if combined is None:
            break
        found, bound = _scores(score, claim.about(combined.row))
        value = combined.scale * float(bound[0])
        if not value < best:
            break
        best, kept = value, {"slopes": slopes, **_nested("sum", found)}
        norm = _length(combined.vector, claim)
        radius = (value + float((share.share * slopes) @ middle)) / norm if norm else 0.0
    return kept


def _slopes(share: _Share, middle: Array, most: Array, radius: float, claim: Claim) -> Array:
    """Slopes that would be best if the reachable models filled a ball of this radius."""
    rows, weight = share.rows, share.share

    def value(scaled: Array) -> tuple[float, Array]:
        slopes = scaled * most
        vector = share.vector(slopes)
        if not claim.problem.fit_intercept:
            vector[-1] = 0.0
        norm = math.sqrt(float(vector @ vector) + 1e-16)
        turn = rows.y * (rows.X @ vector[:-1] + vector[-1]) / norm
        return radius * norm - float((weight * slopes) @ middle), weight * (radius * turn - middle) * most

    start = np.ones(most.size)
    found = minimize(value, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * most.size)
    slopes = np.asarray(found.x * most)
    return _tilted(slopes, rows.y * weight) if claim.problem.fit_intercept else slopes


def _tilted(slopes: Array, signs: Array) -> Array:
    """Slopes of which enough is left when one label's are taken from the other's."""
    total, left = float(slopes @ np.abs(signs)), float(slopes @ signs)
    if abs(left) >= _SLIVER * total:
        return slopes
    minor = signs < 0 if left >= 0 else signs > 0
    return np.asarray(np.where(minor, slopes * (1 - 4 * _SLIVER), slopes))


def _length(vector: Array, claim: Claim) -> float:
    return float(np.linalg.norm(vector if claim.problem.fit_intercept else vector[:-1]))


def _scores(score: Certify, claim: Claim) -> tuple[Certificate, Array]:
    """A score certificate and its bounds."""
    found = score(claim)
    if found.kind != "score" or np.shape(found.bound) != (claim.demand_rows().n,):
        raise InputError("a certificate of the kind 'score', a bound for each row", f"one of the kind {found.kind!r}")
    return found, np.asarray(found.bound)


def _nested(prefix: str, certificate: Certificate) -> dict[str, Any]:
    """Name and witness of a certificate inside the witness of another."""
    inner = {f"{prefix}.{name}": value for name, value in certificate.witness.items()}
    return {f"{prefix}:name": np.array(certificate.name), **inner}


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


def score_certifier(loss: MarginLoss) -> Certify:
    """The sharpest certificate of single rows that there is for a loss.

    Raises
    ------
    CapabilityError
        If there is none.
    """
    if loss.quadratic:
        return certify_ridge
    soft_hinge(loss)
    return certify_margin
