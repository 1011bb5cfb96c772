"""The greatest budget at which each row is still certified, by bisection over any score certifier."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.validation import Array, check_number
from .certificate import Certificate, Witness, check, claim_words, insertion_scores, recompute
from .claim import Claim

Index = NDArray[np.intp]

ScoreCertifier = Callable[[Claim], Certificate]

_SCORE = "score."


def radius(certify: ScoreCertifier, claim: Claim, *, tol: float = 1 / 64) -> Certificate:
    """For each row the greatest mass of poison found that provably leaves it on its side of zero.

    ::

        radius_j = max { eps <= claim.epsilon : certify(eps) bounds -k_j (z_j'theta + b) below zero }

    up to `tol`, by bisection that shares the calls of `certify` among rows with the same next budget. A row
    certified at a mass is certified at all smaller ones, as every score certificate speaks of any mass up to its
    budget (`Claim.filled`).

    Parameters
    ----------
    certify : callable
        ``certify(claim)`` returns a certificate of kind "score", such as `certify_ridge`.
    claim : Claim
        With rows; its budget is the greatest that is looked at.
    tol : float, default 1/64
        Resolution, as a share of the budget of the claim.

    Returns
    -------
    Certificate
        Of kind "radius": one mass for each row, as a fraction of the clean rows; 0 where nothing is
        certified. It is never `exact`: the least mass of a successful attack lies above it. The witness
        holds those of the score certificates.

    Raises
    ------
    InputError
        If the certifier returns anything but scores under insertions.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Problem, Squared
    >>> from linpoison.sets import Ball, ByLabel
    >>> from linpoison.certificates.ridge.certify import certify_ridge
    >>> train = Dataset([[1.0], [-1.0], [0.8], [-0.8]], [1, -1, 1, -1])
    >>> sets = ByLabel({1: Ball([1.0], 3.0), -1: Ball([-1.0], 3.0)})
    >>> claim = Claim(train, Problem(Squared(), reg=0.1), sets, 0.64, Dataset([[1.0], [0.1]], [1, 1]))
    >>> radius(certify_ridge, claim).bound
    array([0.24, 0.03])
    """
    start = time.perf_counter()
    tol = check_number(tol, "tol", above=0, at_most=1)
    rows = claim.demand_rows()
    low, high = np.full(rows.n, -np.inf), np.full(rows.n, np.inf)
    used: dict[float, tuple[Index, Certificate]] = {}
    for _ in range(2 + int(np.ceil(np.log2(1 / tol)))):
        at = _next(low, high, claim.epsilon)
        open_ = (low < claim.epsilon) & (high > 0)
        for epsilon in np.unique(at[open_]):
            chosen = np.flatnonzero(open_ & (at == epsilon))
            found = certify(claim.at(float(epsilon)).about(rows.take(chosen)))
            if found.name not in insertion_scores():
                raise InputError(f"a certifier among {', '.join(sorted(insertion_scores()))}", repr(found.name))
            safe = np.asarray(found.bound) < 0
            low[chosen[safe]], high[chosen[~safe]] = epsilon, epsilon
            if safe.any():
                used[float(epsilon)] = (chosen, found)
    witness = _pack({epsilon: part for epsilon, part in used.items() if epsilon > 0 and (low == epsilon).any()})
    bound, info = recompute_radius(claim, witness), {"resolution": tol * claim.epsilon, "calls": len(used)}
    return Certificate.proved("radius", claim, bound, witness, start, words=_further(claim, used), info=info)


def _next(low: Array, high: Array, most: float) -> Array:
    """First the greatest budget, then none, then halves."""
    middle = (np.maximum(low, 0.0) + np.minimum(high, most)) / 2
    return np.where(np.isinf(high), most, np.where(np.isinf(low), 0.0, middle))


def _pack(used: dict[float, tuple[Index, Certificate]]) -> dict[str, Array]:
    witness: dict[str, Any] = {"epsilon": np.array(sorted(used))}
    for i, epsilon in enumerate(sorted(used)):
        chosen, found = used[epsilon]
        witness[f"{i}.rows"] = chosen
        witness[f"{i}.name"] = np.array(found.name)
        proof = {name: value for name, value in found.witness.items() if not name.startswith("attack_")}
        witness.update({f"{i}.{_SCORE}{name}": value for name, value in proof.items()})
    return witness


@check("radius", kind="radius", words=claim_words)
def recompute_radius(claim: Claim, witness: Witness) -> Array:
    """For each row the greatest budget of the witness at which its score certificate holds."""
    rows = claim.demand_rows()
    best = np.zeros(rows.n)
    for i, epsilon in enumerate(np.ravel(witness.get("epsilon", np.empty(0)))):
        if not 0 <= epsilon <= claim.epsilon:
            continue
        chosen = np.asarray(witness.get(f"{i}.rows", []), dtype=np.intp)
        name = str(witness.get(f"{i}.name", ""))
        if name not in insertion_scores() or not chosen.size or chosen.min() < 0 or chosen.max() >= rows.n:
            continue
        prefix = f"{i}.{_SCORE}"
        part = {key.removeprefix(prefix): value for key, value in witness.items() if key.startswith(prefix)}
        bound = recompute(name, claim.at(float(epsilon)).about(rows.take(chosen)), part)
        safe = chosen[np.asarray(bound) < 0]
        best[safe] = np.maximum(best[safe], epsilon)
    return best


def _further(claim: Claim, used: dict[float, tuple[Index, Certificate]]) -> tuple[str, ...]:
    """What the certificates of scores rest on besides their claims."""
    at_each = {words for epsilon in used for words in claim.at(epsilon).assumptions()}
    return tuple(words for _, found in used.values() for words in found.assumptions if words not in at_each)
