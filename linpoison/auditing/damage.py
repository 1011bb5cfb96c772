"""The most that was done to each defender: behind every filter at once, behind each alone, and without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from ..core import UNDEFENDED, Array, Candidate, Poison, worst_case
from ..defender import Evaluation
from ..reporting.findings import ALL, Damage
from ..subpopulations import paired_interval
from .target import TargetRows

LEVEL = 0.95
"""Of the intervals, each on its own."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A poison with the errors of the exact learner behind every filter.

    Parameters
    ----------
    relaxed : Poison or None
        Before rounding, if it is known.
    """

    poison: Poison
    scores: Evaluation
    domain: str
    attack: str
    how: str = ""
    relaxed: Poison | None = None

    @classmethod
    def of(cls, candidate: Candidate, scores: Evaluation, domain: str, attack: str) -> Scored:
        """A candidate of an attack."""
        return cls(candidate.poison, scores, domain, attack, candidate.label, candidate.relaxed)


def error_behind(error: Mapping[str, float], behind: str) -> float:
    """Of errors by defence the one behind a filter, or the least over all of them."""
    return worst_case(error) if behind == ALL else float(error[behind])


def filter_of(error: Mapping[str, float], behind: str) -> str:
    """The filter whose error `error_behind` is."""
    if behind != ALL:
        return behind
    filters = [name for name in error if name != UNDEFENDED] or [UNDEFENDED]
    return min(filters, key=lambda name: error[name])


def find_damages(
    pool: Sequence[Scored], clean: Evaluation, domains: Sequence[str], rows: TargetRows
) -> list[tuple[Damage, Scored]]:
    """For each domain and each defender the poison of the pool that does most to the scored rows.

    Parameters
    ----------
    clean : Evaluation
        Without poison.
    domains : sequence of str
        Each holds all those after it: a poison of a later one counts for the earlier ones too.
    """
    names = [ALL, *clean.models]
    found = []
    for place, domain in enumerate(domains):
        inside = [item for item in pool if item.domain in domains[place:]]
        best = {name: _most(inside, name) for name in names} if inside else {}
        holding = _hold_best({name: item for name, item in best.items() if name != ALL}, rows)
        found += [(_damage(item, name, domain, clean, rows, name in holding), item) for name, item in best.items()]
    return found


def _most(pool: Sequence[Scored], behind: str) -> Scored:
    """The poison of the greatest error behind a filter; of equals one that passes the others best."""
    return max(pool, key=lambda item: (error_behind(error := item.scores.error["scored"], behind), worst_case(error)))


def _damage(item: Scored, behind: str, domain: str, clean: Evaluation, rows: TargetRows, holds_best: bool) -> Damage:
    error = item.scores.error
    name = filter_of(error["scored"], behind)
    low, high = added(clean, item.scores, name, rows)
    return Damage(
        domain=domain,
        behind=behind,
        filter=name,
        attack=item.attack,
        how=item.how,
        clean_error=clean.error["scored"][name],
        test_error=error["scored"][name],
        low=low,
        high=high,
        seen_error=error_behind(error["seen"], behind) if "seen" in error else None,
        unseen_test_error=error_behind(error["unseen"], behind) if "unseen" in error else None,
        holds_best=holds_best,
        n_poison=int(item.poison.total),
        test_errors=dict(error["scored"]),
        kept=dict(item.scores.kept_fraction),
    )


def added(clean: Evaluation, poisoned: Evaluation, name: str, rows: TargetRows) -> tuple[float, float]:
    """Interval of the error that a poison adds behind one filter."""
    return compared(_losses(clean, name, rows), _losses(poisoned, name, rows), rows)


def compared(first: Array, second: Array, rows: TargetRows) -> tuple[float, float]:
    """Interval of by how much more the measure of the scored rows is in the second place.

    That of matched pairs on each part of the rows that the measure averages over, put together by the distances of
    their ends from their means (Zou and Donner, "Construction of confidence limits about effect measures", Statistics
    in Medicine 27, 2008): the error has one part, and its interval is that. A mean over pairs, one of each of two
    parts, is the mean of either part, and has the variance of both.
    """
    middle, below, above = 0.0, 0.0, 0.0
    for share, part in rows.measure.parts(rows.scored):
        more = second[part] - first[part]
        low, high = _of_shares(more) if rows.measure.of_pairs else interval(more)
        mean = float(more.mean())
        middle += share * mean
        below, above = np.hypot(below, share * (mean - low)), np.hypot(above, share * (high - mean))
    spread = 2.0 if rows.measure.of_pairs else 1.0
    return max(middle - spread * float(below), -1.0), min(middle + spread * float(above), 1.0)


def interval(more: Array, among: int = 1) -> tuple[float, float]:
    """Interval of the mean of paired differences in [-1, 1], at `LEVEL` for so many intervals together (Bonferroni)."""
    return paired_interval(more, quantile(among))


def quantile(among: int = 1) -> float:
    """How many standard deviations to either side intervals at `LEVEL` reach, so many of them together."""
    return NormalDist().inv_cdf(1 - (1 - LEVEL) / (2 * among))


def _of_shares(more: Array) -> tuple[float, float]:
    """Normal interval of the mean of differences of shares; of a single one nothing is known."""
    mean = float(more.mean())
    half = quantile() * float(more.std(ddof=1)) / np.sqrt(more.size) if more.size > 1 else 2.0
    return mean - half, mean + half


def _losses(scores: Evaluation, name: str, rows: TargetRows) -> Array:
    return rows.measure.losses(scores.models[name], rows.scored)


def _hold_best(best: Mapping[str, Scored], rows: TargetRows) -> set[str]:
    """The defenders whose own poison does no more beyond chance than that of the one that holds best."""
    if not best:
        return set()
    losses = {name: _losses(item.scores, name, rows) for name, item in best.items()}
    least = min(best, key=lambda name: best[name].scores.error["scored"][name])
    return {name for name, own in losses.items() if compared(losses[least], own, rows)[0] <= 0}


def with_files(found: Sequence[tuple[Damage, Scored]]) -> tuple[list[Damage], dict[str, Poison]]:
    """The damages with names of poison files, and the poisons by file: equal poisons share one.

    The first damage's is ``poison.npz``; the others are named after the domain, unless it is the first one, and after
    the filter that stands alone.
    """
    first = found[0][0].domain if found else None
    names: dict[bytes, str] = {}
    poisons: dict[str, Poison] = {}
    damages = []
    for damage, item in found:
        words = [
            *([] if damage.domain == first else [damage.domain.partition(":")[0]]),
            *([] if damage.behind == ALL else [damage.behind]),
        ]
        file = names.setdefault(fingerprint(item.poison), "-".join(["poison", *words]) + ".npz")
        poisons[file] = item.poison
        damages.append(replace(damage, file=file))
    return damages, poisons


def fingerprint(poison: Poison) -> bytes:
    """What tells poisons apart: rows, labels and copies."""
    return poison.as_dataset().digest().encode()
