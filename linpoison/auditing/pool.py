"""The poisons of a run that are worth a report: the best candidates for each defender, scored by the exact learner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..core import UNDEFENDED, AttackResult, Candidate, LinpoisonError, Poison
from ..defender import Defender, Evaluation
from ..reporting.findings import ALL
from .campaign import Task
from .damage import Scored, error_behind, fingerprint
from .target import TargetRows

TRIES = 12
"""Candidates of one attack that are scored exactly for one defender, at most."""
COSTLY = 500_000_000
"""Entries of the training rows, zeros counted, from which one candidate is: it takes minutes and gigabytes."""


@dataclass(eq=False)
class Pool:
    """Exact scores, each poison's computed once.

    An attack ranks its candidates by a quick learner, many of them behind one filter only. What a report says is of
    the exact learner: for each defender candidates are scored exactly in the order of their rank, until one has more
    than the next one's rank promises.

    Parameters
    ----------
    defender : Defender
    rows : TargetRows
        What poisons are scored on.
    hurried : callable
        Whether there is no time left: then only what has been scored already counts, or one poison if none has been.
    """

    defender: Defender
    rows: TargetRows
    hurried: Callable[[], bool] = lambda: False
    _known: dict[bytes, Evaluation | None] = field(default_factory=dict)

    def score(self, poison: Poison) -> Evaluation | None:
        """The errors of a poison; None where a filter or a learner gives none."""
        key = fingerprint(poison)
        if key not in self._known and self._known and self.hurried():
            return None
        if key not in self._known:
            try:
                self._known[key] = self.defender.score(poison, self.rows.parts)
            except LinpoisonError:
                self._known[key] = None
        return self._known[key]

    def best(self, candidates: Sequence[Candidate], behind: str) -> Candidate | None:
        """The candidate with the greatest exact error on the rows that the attacker sees, behind one defender."""
        ranked = sorted(
            ((promise, item) for item in candidates if (promise := _promise(item, behind)) is not None),
            key=lambda pair: -pair[0],
        )
        train = self.defender.train
        tries = 1 if train.n * train.d >= COSTLY else TRIES
        best, reached = None, -1.0
        for promise, item in ranked[:tries]:
            if promise <= reached:
                break
            scores = self.score(item.poison)
            error = -1.0 if scores is None else error_behind(scores.error["seen"], behind)
            if error > reached:
                best, reached = item, error
        return best

    def ended(self, task: Task, result: AttackResult) -> None:
        """Score the best poison of a task at once, so that an interruption finds a score."""
        best = self.best((result.best, *result.candidates), task.against)
        if best is not None:
            self.score(best.poison)

    def finalists(self, task: Task, result: AttackResult) -> list[Scored]:
        """For each defender the best candidate of an attack; one that is best for several is there once."""
        names = [ALL, UNDEFENDED, *self.defender.defenses]
        chosen: dict[bytes, Scored] = {}
        for name in names:
            item = self.best((result.best, *result.candidates), name)
            if item is not None and (scores := self.score(item.poison)) is not None:
                chosen.setdefault(fingerprint(item.poison), Scored.of(item, scores, task.domain, task.name))
        return list(chosen.values())


def _promise(item: Candidate, behind: str) -> float | None:
    """What an attack's own scores say of a candidate; None where they say nothing of this defender."""
    if behind == ALL:
        return item.worst
    return item.test_error.get(behind)
