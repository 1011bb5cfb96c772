"""Algorithm 1 of Koh et al. around any attack: feasible sets refitted with the poison in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.results import AttackResult, Candidate
from ..core.validation import check_integer
from .base import Attack, Journal, Progress, Scenario
from .kkt import KKT


@dataclass(frozen=True, eq=False)
class Scoped:
    """A journal under whose keys an inner attack keeps its steps."""

    journal: Journal
    prefix: str

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays stored under a key, or None."""
        return self.journal.get(self.prefix + key)

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays under a key."""
        self.journal.put(self.prefix + key, arrays)


@dataclass(frozen=True)
class Iterative(Attack):
    """Run an attack again and again, each time under the sets that the defender will fit.

    The defences are fitted on clean rows *and* poison: class means, the direction of the slab and every
    threshold move with what is planted. Round 0 runs the inner attack under the sets of the clean
    rows; each further round runs it with ``Scenario.known`` set to the strongest poison so far, so that
    sets and thresholds are read with that poison in.

    Parameters
    ----------
    attack : Attack, optional
        Any attack whose sets come from `FeasibleRegion`; by default `KKT` with no generations of its
        own. (`IterativeKKT` refits the sets of each decoy by itself, and is stronger.)
    rounds : int, default 3
        Most repetitions; they end after one that gains nothing, or finds no poison.

    References
    ----------
    Koh, Steinhardt, Liang, section 3.2, Algorithm 1; figure 5.
    """

    name: ClassVar[str] = "iterative"
    attack: Attack = field(default_factory=lambda: KKT(generations=0))
    rounds: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.attack, Attack):
            raise InputError("an attack to repeat", repr(self.attack))
        check_integer(self.rounds, "rounds", at_least=1)

    def run(
        self,
        scenario: Scenario,
        *,
        seed: int = 0,
        n_jobs: int = 1,
        progress: Progress | None = None,
        journal: Journal | None = None,
    ) -> AttackResult:
        """See `Attack.run`. `AttackResult.info` holds the worst-case error after each round."""
        started, known = time.time(), scenario.known
        results: list[AttackResult] = []
        reached: list[float] = []
        spent = 0.0
        candidates: list[Candidate] = []
        for number in range(self.rounds + 1):
            inner = None if journal is None else Scoped(journal, f"round-{number}-")
            try:
                result = self.attack.run(
                    replace(scenario, known=known), seed=seed, n_jobs=n_jobs, progress=progress, journal=inner
                )
            except (InfeasibleSet, InputError, SolverFailed):  # InputError: a defence that would drop a whole class
                if not results:
                    raise
                break
            candidates += [
                replace(item, label=f"round {number}: {item.label}", seconds=item.seconds + spent)
                for item in result.candidates
            ]
            spent += result.seconds
            results.append(result)
            reached.append(result.best.worst)
            if reached[-1] < max(reached) or (number and reached[-1] <= max(reached[:-1])):
                break
            known = result.poison
        defended = set(scenario.defenses)
        candidates.sort(key=lambda item: (not defended <= set(item.test_error), -item.worst))
        return AttackResult(
            name=f"{self.attack.name}-iterative",
            best=candidates[0],
            candidates=tuple(candidates),
            seconds=max(time.time() - started, spent),
            seed=seed,
            solves=tuple(solve for result in results for solve in result.solves),
            info={"rounds": len(results) - 1, "worst_by_round": reached},
        )
