"""What attacks that plant a decoy share: sets for it, a program inside them, whole copies, sets refitted with these."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..core import Candidate, InfeasibleSet, InputError, Poison, SolveInfo, SolverFailed
from ..sets import ByLabel
from .base import Attack
from .deadline import time_is_up
from .decoys import Decoy, LabelFlipDecoys, by_promise
from .feasible import FeasibleRegion, SetPolicy
from .ranking import distance_from, roundings, strongest
from .run import Run, Step, skipped
from .scenario import Scenario

NO_SETS = (InputError, InfeasibleSet, SolverFailed)
"""Why there may be no sets for one decoy: it has no direction, class means are equal, a defence keeps nothing."""
AT_NONE = "worst rows"
"""The label of a poison that aims at no decoy."""


@dataclass(frozen=True, eq=False)
class Subproblem:
    """What a program is asked to plant: one decoy or none, and the sets that the defences leave for it.

    Parameters
    ----------
    scenario : Scenario
    region : FeasibleRegion
        Whose training rows are those that its sets are fitted on.
    decoy : Decoy, optional
    sets : ByLabel
        Of `region`, for the decoy.
    seed : sequence of int
    """

    scenario: Scenario
    region: FeasibleRegion
    decoy: Decoy | None
    sets: ByLabel
    seed: Sequence[int]

    @property
    def model(self) -> Any:
        """The parameters to plant; None without a decoy."""
        return None if self.decoy is None else self.decoy.model


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A poison that a program has found.

    Parameters
    ----------
    poison : Poison
        Of any weights.
    rng : numpy.random.Generator
        What its roundings are drawn with.
    info : SolveInfo, optional
        What `AttackResult.solves` tells of the program.
    facts : dict
        Further keywords of `candidate`.
    """

    poison: Poison
    rng: np.random.Generator
    info: SolveInfo | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Planting(Attack):
    """An attack that plants decoys: each has a program of its own, under the sets that the defences leave for it."""

    policy: SetPolicy
    repeats: Sequence[int] = ()
    draws: int = 1
    refused: ClassVar[tuple[type[Exception], ...]] = (InfeasibleSet, SolverFailed)
    """What a program raises that finds no poison for a decoy."""
    tells_distance: ClassVar[bool] = True
    """Whether candidates say how far from the decoy their relaxed poison ends, which takes a training each."""

    @abstractmethod
    def relaxed(self, asked: Subproblem) -> list[Relaxed]:
        """What the program of one decoy finds."""

    def region(self, scenario: Scenario, poison: Poison | None = None) -> FeasibleRegion:
        """What has the sets of a decoy, fitted on the clean rows, or with a poison in (Algorithm 1 of Koh et al.)."""
        return FeasibleRegion.fit(scenario, self.policy, poison)

    def whole(self, asked: Subproblem, found: Relaxed, draws: int) -> Iterator[Poison]:
        """Deployable versions of a relaxed poison, of which the strongest is kept."""
        return roundings(asked.scenario, found.poison, asked.sets, found.rng, repeats=self.repeats, draws=draws)


def plant(
    started: float,
    attack: Planting,
    scenario: Scenario,
    region: FeasibleRegion,
    decoy: Decoy | None,
    seed: Sequence[int],
    draws: int | None = None,
) -> Step:
    """Solve one decoy under given sets, round, score; keep the best rounding of each solution.

    Parameters
    ----------
    started : float
        ``time.time()`` at which the attack began.
    attack : Planting
    scenario : Scenario
    region : FeasibleRegion
        What has the sets of the decoy.
    decoy : Decoy, optional
    seed : sequence of int
    draws : int, optional
        Roundings of each solution, by default those of the attack.
    """
    try:
        sets = region.sets(None if decoy is None else decoy.model)
    except NO_SETS as error:
        return skipped(error)
    asked = Subproblem(scenario, region, decoy, sets, seed)
    try:
        solutions = attack.relaxed(asked)
    except attack.refused as error:
        return skipped(error)
    kept: list[Candidate] = []
    label, draws = AT_NONE if decoy is None else decoy.label, attack.draws if draws is None else draws
    for found in solutions:
        facts = {"label": label, "decoy": asked.model, "relaxed": found.poison, **found.facts}
        best = strongest(started, scenario, attack.whole(asked, found, draws), **facts)
        if best is not None and attack.tells_distance:
            best = replace(best, distance=distance_from(scenario, best))
        kept += [] if best is None else [best]
    return kept, [found.info for found in solutions if found.info is not None]


def chain(
    started: float, attack: Growing, scenario: Scenario, decoy: Decoy | None, poison: Poison, seed: Sequence[int]
) -> Step:
    """Refit the sets with the poison in, solve again, and so on (Algorithm 1 of Koh et al.).

    Parameters
    ----------
    started : float
        ``time.time()`` at which the attack began.
    attack : Growing
        Its `refits` is how often.
    scenario : Scenario
    decoy : Decoy, optional
    poison : Poison
        The first that is in.
    seed : sequence of int
    """
    found: list[Candidate] = []
    solves: list[SolveInfo] = []
    for turn in range(attack.refits):
        if time_is_up():
            break
        try:
            region = attack.region(scenario, poison)
        except NO_SETS as error:
            return found, solves + skipped(error)[1]
        candidates, infos = plant(started, attack, scenario, region, decoy, [*seed, turn])
        solves += infos
        if not candidates:
            break
        best = max(candidates, key=lambda item: item.worst)
        found.append(replace(best, label=f"{best.label}, refit {turn + 1}"))
        poison = best.poison
    return found, solves


def grown(
    started: float,
    attack: Growing,
    scenario: Scenario,
    region: FeasibleRegion | None,
    decoy: Decoy,
    poison: Poison,
    seed: Sequence[int],
) -> Step:
    """One decoy of a generation.

    Parameters
    ----------
    started : float
        ``time.time()`` at which the attack began.
    attack : Growing
    scenario : Scenario
    region : FeasibleRegion, optional
        The decoy is planted in its sets first, and then in sets refitted with what came of that. Without it sets are
        refitted with `poison` from the start.
    decoy : Decoy
    poison : Poison
        The best one so far.
    seed : sequence of int
    """
    if region is None:
        return chain(started, attack, scenario, decoy, poison, seed)
    found, solves = plant(started, attack, scenario, region, decoy, [*seed, 0])
    if found:
        more, infos = chain(started, attack, scenario, decoy, found[0].poison, [*seed, 1])
        found, solves = found + more, solves + infos
    return found, solves


class Growing(Planting):
    """One whose sets are refitted, and whose decoys come in generations: later ones start from what was planted."""

    decoys: LabelFlipDecoys
    generations: int
    regrown: LabelFlipDecoys
    reach: Sequence[float]
    refits: int
    afresh: ClassVar[bool] = False
    """Whether decoys of a generation are first planted in the sets of the clean rows."""

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """The first decoys, under the sets of the clean rows, then the generations."""
        found = self._sweep(scenario, trained(self, scenario, run), run)
        for generation in range(self.generations if found else 0):
            poison = max(found, key=lambda item: item.worst).poison
            decoys = self.regrown.regrow(
                scenario.train, scenario.problem, scenario.target, poison, self.reach,
                clean=scenario.clean_model, n_jobs=run.n_jobs,
            )  # fmt: skip
            region, seed = self.region(scenario) if self.afresh else None, [run.seed, 1, generation]
            arguments = [(self, scenario, region, decoy, poison, [*seed, index]) for index, decoy in enumerate(decoys)]
            found += run.steps(f"generation {generation + 1}", grown, arguments)
        return found

    @abstractmethod
    def _sweep(self, scenario: Scenario, decoys: list[Decoy], run: Run) -> list[Candidate]:
        """What the first decoys give."""


class MostPromising(Planting):
    """One that plants the most promising decoys and no others, under the sets of the clean rows."""

    decoys: LabelFlipDecoys
    most_decoys: int

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        decoys = trained(self, scenario, run)
        chosen = by_promise(decoys, scenario.problem, scenario.train, scenario.budget.epsilon)[: self.most_decoys]
        region = self.region(scenario)
        arguments = [(self, scenario, region, decoy, [run.seed, index]) for index, decoy in enumerate(chosen)]
        return run.steps(self.name, plant, arguments)


def trained(attack: Growing | MostPromising, scenario: Scenario, run: Run) -> list[Decoy]:
    """The decoys of the clean model; `AttackResult.info` counts them."""
    run.say(0, 1, "training decoys")
    decoys = attack.decoys.generate(
        scenario.train, scenario.problem, scenario.target, clean=scenario.clean_model, n_jobs=run.n_jobs
    )
    run.info["decoys"] = len(decoys)
    return decoys
