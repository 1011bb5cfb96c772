"""Damage against the number of poison rows: what was found for the budget cut down, and a short search for fewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..attacks import Breakdown
from ..attacks.sampling import sample_size
from ..attacks.scenario import Scenario
from ..core import Budget, LinpoisonError, Poison, worst_case
from ..reporting.findings import ALL, Damage
from .bracket import Rung
from .damage import Scored, added, filter_of
from .pool import Pool
from .target import TargetRows

LEVELS = 6
"""Numbers of rows below the budget."""
SHORT = Breakdown(directions=12, ascents=40, remade=0, steps=0, inside=False)
"""The search for fewer rows; its directions ascend, and nothing is polished."""


def levels(n_poison: int) -> list[int]:
    """Numbers of rows below a budget, in about equal ratios.

    Examples
    --------
    >>> levels(12), levels(1)
    ([1, 2, 3, 5, 8], [])
    """
    steps = np.round(np.geomspace(1, n_poison, LEVELS + 1)).astype(int).tolist()
    return [m for m in dict.fromkeys(steps) if m < n_poison]


def find_curve(
    pool: Pool,
    found: Sequence[tuple[Damage, Scored]],
    scenarios: Mapping[str, Scenario],
    n_poison: int,
    seed: int = 0,
) -> dict[str, dict[int, Scored]]:
    """For each domain and number of rows the best of some smaller poisons, each scored by the defender itself.

    As everywhere, the rows that the attacker sees choose.

    Parameters
    ----------
    found : sequence of (Damage, Scored)
        The domains in their order, each of which holds all those after it.
    scenarios : mapping of str to Scenario
        By domain, behind every filter; fewer rows are searched for where there is one, as long as there is time.
    n_poison : int
        Rows that the budget buys.
    seed : int
        Of the searches.
    """
    whole = {damage.domain: item for damage, item in found if damage.behind == ALL}
    numbers = levels(n_poison)
    best: dict[int, Scored] = {}
    curve = {}
    for domain, item in reversed(whole.items()):
        for m in numbers:
            tried = [cut(item.poison, m), *_searched(None if pool.hurried() else scenarios.get(domain), m, seed)]
            scored = [(poison, scores) for poison in tried if (scores := pool.score(poison)) is not None]
            known = [best[m]] if m in best else []
            for poison, scores in scored:
                short = poison is not tried[0]
                attack, how = (SHORT.name, "a short search") if short else (item.attack, f"{item.how}, {m} rows of it")
                known.append(Scored(poison, scores, domain, attack, how))
            if known:
                best[m] = max(known, key=lambda one: one.scores.worst("seen"))
        curve[domain] = dict(best)
    return {domain: curve[domain] for domain in whole}


def surprises(
    curve: Mapping[str, Mapping[int, Scored]], found: Sequence[tuple[Damage, Scored]], rows: TargetRows
) -> list[Scored]:
    """Poisons of fewer rows that do more beyond chance than the one that was found for the budget."""
    whole = {damage.domain: item for damage, item in found if damage.behind == ALL}
    return [
        item
        for domain, best in curve.items()
        for item in best.values()
        if added(whole[domain].scores, item.scores, filter_of(item.scores.error["scored"], ALL), rows)[0] > 0
    ]


def curve_rows(
    curve: Mapping[str, Mapping[int, Scored]],
    found: Sequence[tuple[Damage, Scored]],
    clean_error: Mapping[str, float],
    rungs: Sequence[Rung],
    n: int,
) -> list[dict[str, Any]]:
    """The field `curve` of the report: of each number of rows the best with at most so many, and what is proved.

    Parameters
    ----------
    clean_error : mapping of str to float
        By defence, on the scored rows.
    n : int
        Clean training rows.
    """
    whole = {damage.domain: damage for damage, _ in found if damage.behind == ALL}
    rows = []
    for domain, best in curve.items():
        reached = {0: worst_case(clean_error)} | {m: item.scores.worst("scored") for m, item in best.items()}
        budget = max(whole[domain].n_poison, *reached)
        reached[budget] = whole[domain].test_error
        most = min(reached[0], whole[domain].test_error)
        for m, error in reached.items():
            most = max(most, min(error, whole[domain].test_error))
            bound = min((rung.bound for rung in rungs if rung.epsilon * n >= m - 1e-6), default=None)
            rows.append({"domain": domain, "rows": m, "test_error": most, "bound": bound if m else None})
    return rows


def _searched(scenario: Scenario | None, m: int, seed: int) -> list[Poison]:
    """What a short search for so many rows finds; far rows may do with one or two what others do with dozens."""
    if scenario is None or scenario.train.n_classes is not None:
        return []
    fewer = replace(scenario, budget=Budget(m / scenario.train.n))
    try:
        result = SHORT.run(fewer, seed=seed, rows=sample_size(fewer))
    except LinpoisonError:
        return []
    return [result.best.poison]


def cut(poison: Poison, m: int) -> Poison:
    """The poison with m copies, in proportion; of equal remainders the places of fewer copies go first.

    Examples
    --------
    >>> cut(Poison(np.eye(3), [1, 1, -1], [11, 1, 4]), 8).count.tolist()
    [5.0, 1.0, 2.0]
    """
    share = poison.count * m / poison.total
    count = np.floor(share)
    order = np.lexsort((poison.count, count - share))
    count[order[: int(m - count.sum())]] += 1
    kept = np.flatnonzero(count)
    return replace(poison, X=poison.X[kept], y=poison.y[kept], count=count[kept])
