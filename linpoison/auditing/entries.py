"""From a poison and its scores to an entry of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core import UNDEFENDED, AttackResult, Candidate, Domain, Poison, label_texts
from ..defender import Evaluation
from ..reporting.findings import ALL, AttackEntry
from ..reporting.json_values import plain
from .campaign import Task

LEVELS = (0.05, 0.1, 0.15, 0.17, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Errors whose first time is recorded; 0.17 is the one at which Koh et al. time attacks on Enron."""


def entry(
    name: str, poison: Poison, scores: Evaluation, seconds: float, *, space: Domain, n_allowed: int, **more: Any
) -> AttackEntry:
    """The entry of one poison and its scores, held against the rows that the budget buys and against a domain."""
    unseen = scores.error.get("unseen")
    return AttackEntry(
        name=name,
        seconds=round(seconds, 3),
        n_poison=int(poison.total),
        n_distinct=poison.merged().n_distinct,
        poison_by_class=plain({key: int(value) for key, value in by_class(poison).items()}),
        test_error=dict(plain(scores.error["scored"])),
        test_error_behind_all=scores.worst("scored"),
        unseen_test_error=plain(unseen),
        unseen_test_error_behind_all=None if unseen is None else scores.worst("unseen"),
        seen_error=plain(scores.error["seen"]),
        kept_fraction=plain(scores.kept_fraction),
        kept_clean_fraction=plain(scores.kept_clean_fraction),
        n_allowed=n_allowed,
        within_budget=bool(poison.total <= n_allowed),
        domain_violation=violation(space, poison),
        **more,
    )


def attack_entry(task: Task, result: AttackResult, best: Candidate, scores: Evaluation) -> AttackEntry:
    """The entry of an attack and of its best candidate."""
    defenses = tuple(scores.scores) if not task.alone else tuple({task.against} - {UNDEFENDED})
    return entry(
        task.name,
        best.poison,
        scores,
        result.seconds,
        space=task.scenario.train.domain,
        n_allowed=task.scenario.n_poison,
        domain=task.domain,
        against=task.against,
        residual=plain(float(best.residual)),
        violation=plain(float(best.violation)),
        gap=plain(float(best.gap)),
        distance_to_decoy=plain(float(best.distance)),
        decoy=best.label,
        relaxed_by_class=plain(by_class(best.relaxed)),
        relaxed_distinct=best.relaxed.n_distinct,
        timeline=(line := _timeline(result.candidates, defenses)),
        timeline_by_defense=(lines := _lines(result.candidates, defenses)),
        seconds_to=_seconds_to({ALL: line, **lines}),
        n_candidates=len(result.candidates),
        n_solves=len(result.solves),
        n_failed_solves=sum(not solve.status.startswith("optimal") for solve in result.solves),
        info=plain(result.info),
    )


def clean_entry(scores: Evaluation) -> dict[str, Any]:
    """The report's word on clean training data, from its scores."""
    unseen = scores.error.get("unseen")
    return {
        "test_error": plain(scores.error["scored"]["none"]),
        "by_defense": plain(scores.error["scored"]),
        "unseen_test_error": None if unseen is None else plain(unseen["none"]),
        "unseen_by_defense": plain(unseen),
        "kept_clean_fraction": plain(scores.kept_clean_fraction),
    }


def violation(domain: Domain, poison: Poison) -> float:
    """How far the worst poison row is outside."""
    return float(domain.violation(poison.X).max(initial=0.0))


def by_class(poison: Poison) -> dict[str, float]:
    """Copies with each label."""
    return {text: float(poison.count[poison.y == y].sum()) for y, text in label_texts(poison.n_classes).items()}


def _timeline(candidates: Sequence[Candidate], defenses: Sequence[str]) -> list[list[float]]:
    """Pairs (seconds, best error behind every filter so far) on the attacker's rows, at each improvement."""
    needed = set(defenses) or {UNDEFENDED}
    steps = [(candidate.seconds, candidate.worst) for candidate in candidates if needed <= set(candidate.test_error)]
    return _improvements(steps)


def _improvements(steps: Sequence[tuple[float, float]]) -> list[list[float]]:
    line: list[list[float]] = []
    for seconds, error in sorted(steps):
        if not line or error > line[-1][1]:
            line.append([round(seconds, 3), float(error)])
    return line


def _lines(candidates: Sequence[Candidate], defenses: Sequence[str]) -> dict[str, list[list[float]]]:
    """The same against each defence alone, of every candidate that was scored behind it."""
    lines = {
        name: _improvements([(one.seconds, one.test_error[name]) for one in candidates if name in one.test_error])
        for name in (UNDEFENDED, *defenses)
    }
    return {name: line for name, line in lines.items() if line}


def _seconds_to(lines: Mapping[str, list[list[float]]]) -> dict[str, dict[str, float]]:
    """Seconds until each of `LEVELS` that was reached."""
    reached = {
        name: {
            f"{level:g}": next(s for s, e in line if e >= level) for level in LEVELS if line and line[-1][1] >= level
        }
        for name, line in lines.items()
    }
    return {name: times for name, times in reached.items() if times}
