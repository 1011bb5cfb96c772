"""Algorithm 1 of Koh et al. around any attack: feasible sets refitted with the poison in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from ..core import Candidate, InfeasibleSet, InputError, SolverFailed, check_integer
from .base import Attack
from .kkt import KKT
from .run import Run
from .scenario import Scenario


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

    @property
    def title(self) -> str:
        """See `Attack.title`."""
        return f"{self.attack.name}-iterative"

    def __post_init__(self) -> None:
        if not isinstance(self.attack, Attack):
            raise InputError("an attack to repeat", repr(self.attack))
        check_integer(self.rounds, "rounds", at_least=1)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """`AttackResult.info` holds the worst-case error after each round."""
        known, spent = scenario.known, 0.0
        reached: list[float] = []
        candidates: list[Candidate] = []
        for number in range(self.rounds + 1):
            try:
                result = self.attack.run(replace(scenario, known=known), **run.inside(f"round-{number}-"))
            except (InfeasibleSet, InputError, SolverFailed):  # InputError: a defence that would drop a whole class
                if not reached:
                    raise
                break
            candidates += [
                replace(item, label=f"round {number}: {item.label}", seconds=item.seconds + spent)
                for item in result.candidates
            ]
            spent += result.seconds
            run.solves.extend(result.solves)
            reached.append(result.best.worst)
            if reached[-1] < max(reached) or (number and reached[-1] <= max(reached[:-1])):
                break
            known = result.poison
        run.started = min(run.started, time.time() - spent)
        run.info |= {"rounds": len(reached) - 1, "worst_by_round": reached}
        return candidates

    def _check(self, scenario: Scenario) -> None:
        """What the attack refuses that is repeated."""
        self.attack._check(scenario)

    def _ranked(self, scenario: Scenario, run: Run, found: Sequence[Candidate]) -> list[Candidate]:
        """Those that a round has scored behind every defence, then the rest."""
        defended = set(scenario.defenses)
        return sorted(found, key=lambda item: (not defended <= set(item.test_error), -item.worst))
