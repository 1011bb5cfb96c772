"""Running the attacks of one audit, one after another: journals, failures, and where the refinement starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from ..attacks.base import Attack
from ..attacks.deadline import CUT, Deadline, Interrupted
from ..attacks.run import Progress, pack, unpack
from ..attacks.scenario import DOMAIN_TOL, Scenario
from ..core import UNDEFENDED, AttackResult, Candidate, Domain, LinpoisonError, Poison, SolverFailed
from ..core.journal import FolderJournal
from ..reporting.findings import ALL
from ..reporting.json_values import plain
from .overall import Overall

_FINISHED = "finished"


@dataclass(frozen=True, eq=False)
class Task:
    """One attack on one scenario.

    Parameters
    ----------
    name : str
        Of the attack.
    domain : str
        What a poison row may hold, as the user would say it.
    where : str
        The domain in words, where there are several.
    against : str
        ``"all"`` filters at once, or the one defender that the attack is made for: a filter, or ``"none"``.
    onward : bool
        Whether the attack goes on from the strongest poison of those before it.
    rows : int, optional
        Of a sample that the attack searches on; all by default.
    work : float
        About what it takes, in the unit of the other tasks.
    always : bool
        Whether it begins however late it is, if nothing has been found yet.
    """

    name: str
    attack: Attack
    scenario: Scenario
    domain: str = ""
    where: str = ""
    against: str = ALL
    onward: bool = False
    rows: int | None = None
    work: float = 1.0
    always: bool = False

    @property
    def key(self) -> str:
        """What tells tasks of one run apart."""
        return "/".join([self.name, *([self.domain] if self.domain else []), *([self.against] if self.alone else [])])

    @property
    def alone(self) -> bool:
        """Whether the attack is made for one defender."""
        return self.against != ALL

    @property
    def title(self) -> str:
        """The task in words."""
        where = f", {self.where}" if self.where else ""
        behind = "" if not self.alone else " without a filter" if self.against == UNDEFENDED else f" on {self.against}"
        return f"{self.name}{behind}{where}"


@dataclass(frozen=True, eq=False)
class Campaign:
    """Attacks, one after another.

    Parameters
    ----------
    tolerant : bool
        Whether an attack that fails is told and passed over, as long as another one has a result.
    journal : FolderJournal, optional
        Has the steps of each attack, and its result once it is finished.
    found : callable, optional
        Called with each task that has ended and its result.
    deadline : Deadline, optional
        Attacks that have begun end soon after it with what they have, and no other begins.

    Attributes
    ----------
    results : dict of AttackResult
        By the key of the task, those of an interrupted run included.
    failures : dict of str
        One line on each that failed.
    late : list of str
        Keys of those that have found nothing by the deadline.
    """

    seed: int
    jobs: int
    tolerant: bool
    progress: Progress | None = None
    journal: FolderJournal | None = None
    found: Callable[[Task, AttackResult], None] | None = None
    deadline: Deadline | None = None
    results: dict[str, AttackResult] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    _shared: dict[str, AttackResult] = field(default_factory=dict)

    def run(self, tasks: Sequence[Task]) -> None:
        """Run every task, in order.

        Raises
        ------
        LinpoisonError
            If an attack fails and that is not tolerated.
        SolverFailed
            If every attack fails.
        """
        overall = Overall(self.progress, [task.work for task in tasks], self.deadline)
        for number, task in enumerate(tasks):
            if self._is_late(task):
                self.late.append(task.key)
                continue
            try:
                result = self._one(task, overall.inside(number, task.title))
            except LinpoisonError as error:
                if not self.tolerant:
                    raise
                if self.deadline is not None and self.deadline.over:
                    self.late.append(task.key)
                    continue
                self.failures[task.key] = " ".join(str(error).split())
                continue
            except Interrupted as stop:
                self._has(task, stop.result)
                raise
            self._has(task, result)
            overall.ended(self.results)
            if self.found is not None:
                self.found(task, result)
        if not self.results:
            reasons = "; ".join(f"{task.title}: {self.failures.get(task.key, 'time limit')}" for task in tasks)
            raise SolverFailed(f"expected a poison of at least one attack, got none ({reasons})")

    def _is_late(self, task: Task) -> bool:
        if self.deadline is None or not self.deadline.over or (task.always and not self.results):
            return False
        return self.journal is None or self.journal.scoped(task.key).get(_FINISHED) is None

    def _has(self, task: Task, result: AttackResult) -> None:
        self.results[task.key] = result
        if not task.alone:
            self._shared[task.key] = result

    def _alone_in(self, domain: Domain) -> list[Poison]:
        """The best poisons of attacks that were made for one defender, as far as they lie in a domain."""
        best = [result.best.poison for key, result in self.results.items() if key not in self._shared]
        return [poison for poison in best if float(domain.violation(poison.X).max()) <= DOMAIN_TOL]

    def _one(self, task: Task, told: Progress | None) -> AttackResult:
        """The result of one attack, from the journal if it is there."""
        journal = None if self.journal is None else self.journal.scoped(task.key)
        stored = None if journal is None else journal.get(_FINISHED)
        if stored is not None:
            return unpacked(stored)
        begun, start = begun_from(task, self._shared)
        if task.rows is not None and begun.only_goes_on:
            begun = replace(cast(Any, begun), others=self._alone_in(task.scenario.train.domain))
        scenario = task.scenario if begun.takes_class_weights else task.scenario.without_class_weights()
        try:
            result = begun.run(
                scenario,
                seed=self.seed,
                n_jobs=self.jobs,
                progress=told,
                journal=journal,
                rows=task.rows,
                deadline=self.deadline,
            )
        except np.linalg.LinAlgError as error:
            raise SolverFailed(f"expected a linear system that numbers of 64 bits solve, got: {error}.") from error
        if start is not None:
            result = credited(result, start.partition("/")[0], self.results[start].seconds)
        if journal is not None and CUT not in result.info:
            journal.put(_FINISHED, packed(result))
        return result


def begun_from(task: Task, results: Mapping[str, AttackResult]) -> tuple[Attack, str | None]:
    """An attack that was not told where to start, from the strongest poison on the rows that the attacker sees.

    Strongest behind the defender that it is made for. Poisons outside of its domain are passed over.

    Returns
    -------
    attack : Attack
    start : str or None
        Key of the task that it starts from.
    """
    attack, domain = cast(Any, task.attack), task.scenario.train.domain
    if not (task.onward or attack.needs_start):
        return attack, None
    inside = {
        key: best
        for key, result in results.items()
        for best in [max((result.best, *result.candidates), key=lambda item: _strength(item, task.against))]
        if float(domain.violation(best.poison.X).max()) <= DOMAIN_TOL
    }
    if not inside:
        return attack, None
    start = max(inside, key=lambda key: _strength(inside[key], task.against))
    return replace(attack, start=inside[start].poison), start


def _strength(candidate: Candidate, against: str) -> tuple[bool, float]:
    """The error behind the defender that is asked about; candidates that were not scored there are the least."""
    if against == ALL:
        return True, candidate.worst
    return against in candidate.test_error, candidate.test_error.get(against, candidate.worst)


def credited(result: AttackResult, start: str, seconds: float) -> AttackResult:
    """The result of an attack that began where another one ended: its clock counts the other's seconds too."""
    later = {id(item): replace(item, seconds=item.seconds + seconds) for item in (result.best, *result.candidates)}
    return replace(
        result,
        best=later[id(result.best)],
        candidates=tuple(later[id(item)] for item in result.candidates),
        seconds=result.seconds + seconds,
        info={**result.info, "start": start, "start_seconds": round(seconds, 3)},
    )


def packed(result: AttackResult) -> dict[str, np.ndarray]:
    """A result as plain arrays."""
    facts = {"name": result.name, "seconds": result.seconds, "seed": result.seed, "info": plain(result.info)}
    return {**pack(([result.best, *result.candidates], list(result.solves))), "facts": np.array(json.dumps(facts))}


def unpacked(arrays: Mapping[str, np.ndarray]) -> AttackResult:
    """The inverse of `packed`."""
    facts: dict[str, Any] = json.loads(str(arrays["facts"]))
    (best, *candidates), solves = unpack(arrays)
    return AttackResult(best=best, candidates=tuple(candidates), solves=tuple(solves), **facts)
