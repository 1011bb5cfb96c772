"""Running the attacks of one audit, one after another: journals, failures, and where the refinement starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import AttackResult, LinpoisonError, SolverFailed
from .journal import FolderJournal
from .report import plain

if TYPE_CHECKING:
    from ..attacks.base import Attack, Progress, Scenario

_FINISHED = "finished"


@dataclass(frozen=True, eq=False)
class Campaign:
    """Attacks on one scenario.

    Parameters
    ----------
    scenario : Scenario
    seed, jobs : int
    tolerant : bool
        Whether an attack that fails is told and passed over, as long as another one has a result.
    progress : callable, optional
    journal : FolderJournal, optional
        Has the steps of each attack, and its result once it is finished.
    """

    scenario: Scenario
    seed: int
    jobs: int
    tolerant: bool
    progress: Progress | None = None
    journal: FolderJournal | None = None

    def run(self, attacks: Mapping[str, Attack]) -> tuple[dict[str, AttackResult], dict[str, str]]:
        """Run every attack, in order.

        Returns
        -------
        results, failures : dict
            By name: what was found, and one line on each that failed.

        Raises
        ------
        LinpoisonError
            If an attack fails and that is not tolerated.
        SolverFailed
            If every attack fails.
        """
        results: dict[str, AttackResult] = {}
        failures: dict[str, str] = {}
        for name, attack in attacks.items():
            try:
                results[name] = self._one(name, attack, results, len(attacks))
            except LinpoisonError as error:
                if not self.tolerant:
                    raise
                failures[name] = " ".join(str(error).split())
        if not results:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
            raise SolverFailed(f"expected a poison of at least one attack, got none ({reasons})")
        return results, failures

    def _one(self, name: str, attack: Attack, results: Mapping[str, AttackResult], number: int) -> AttackResult:
        """The result of one attack, from the journal if it is there."""
        journal = None if self.journal is None else self.journal.scoped(name)
        stored = None if journal is None else journal.get(_FINISHED)
        if stored is not None:
            return unpacked(stored)
        begun, start = begun_from(attack, results)
        result = begun.run(
            self.scenario, seed=self.seed, n_jobs=self.jobs, progress=self._named(name, number), journal=journal
        )
        if start is not None:
            result = credited(result, start, results[start].seconds)
        if journal is not None:
            journal.put(_FINISHED, packed(result))
        return result

    def _named(self, name: str, number: int) -> Progress | None:
        """Progress with the attack's name in front, where there are several."""
        tell = self.progress
        if tell is None or number == 1:
            return tell
        return lambda done, total, what: tell(done, total, f"{name}: {what}")


def begun_from(attack: Attack, results: Mapping[str, AttackResult]) -> tuple[Attack, str | None]:
    """A refinement that was not told where to start, from the strongest poison on the rows that the attacker sees.

    Returns
    -------
    attack : Attack
    start : str or None
        Name of the attack that it starts from.
    """
    from ..attacks import Refined

    if not isinstance(attack, Refined) or attack.start is not None or not results:
        return attack, None
    start = max(results, key=lambda name: results[name].best.worst)
    return replace(attack, start=results[start].poison), start


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
    from ..attacks.trail import pack

    facts = {"name": result.name, "seconds": result.seconds, "seed": result.seed, "info": plain(result.info)}
    return {**pack(([result.best, *result.candidates], list(result.solves))), "facts": np.array(json.dumps(facts))}


def unpacked(arrays: Mapping[str, np.ndarray]) -> AttackResult:
    """The inverse of `packed`."""
    from ..attacks.trail import unpack

    facts: dict[str, Any] = json.loads(str(arrays["facts"]))
    (best, *candidates), solves = unpack(arrays)
    return AttackResult(best=best, candidates=tuple(candidates), solves=tuple(solves), **facts)
