"""The steps of the KKT attack, as functions that a worker process can run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.poison import Poison
from ..core.results import Candidate, SolveInfo
from ..defenses import L2Defense, LossDefense, SlabDefense
from ..evaluation import Evaluator
from ..learners import make_learner
from ..rounding import deploy, largest_remainder
from ..sets import ByLabel
from .base import Scenario
from .decoys import Decoy
from .feasible import FeasibleRegion, SetPolicy
from .kkt_program import KKTSolution
from .trail import Step

QUICK = (L2Defense, SlabDefense, LossDefense)
"""Defences that cost next to nothing to score: every step scores them, the last step scores all."""
SMALL = 200_000
"""Entries of the training rows up to which every defence is quick."""


class Planter(Protocol):
    """What the steps need to know of an attack."""

    @property
    def policy(self) -> SetPolicy:
        """How thresholds are predicted."""

    @property
    def refits(self) -> int:
        """Refits of the sets in a chain."""

    @property
    def repeats(self) -> Sequence[int]:
        """Copies of each rounded row that are tried."""

    @property
    def draws(self) -> int:
        """Roundings for each number of repeats in a chain."""

    def solve(self, scenario: Scenario, decoy: Decoy, sets: ByLabel) -> list[KKTSolution]:
        """The relaxed poisons of one decoy."""


def attempt(
    started: float,
    attack: Planter,
    scenario: Scenario,
    region: FeasibleRegion,
    decoy: Decoy,
    seed: Sequence[int],
    draws: int = 1,
) -> Step:
    """Solve one decoy under given sets, round, score; keep the best rounding of each solution."""
    try:
        sets = region.sets(decoy.model)
    except InputError as error:  # such as a decoy without a direction, or equal class means
        return _skipped(error)
    try:
        solutions = attack.solve(scenario, decoy, sets)
    except (SolverFailed, InfeasibleSet) as error:
        return _skipped(error)
    kept = []
    for number, solution in enumerate(solutions):
        poisons = roundings(attack, scenario, solution.poison, sets, draws, np.random.default_rng([*seed, number]))
        best = _best(started, scenario, solution, decoy, poisons)
        kept += [] if best is None else [best]
    return kept, [solution.info for solution in solutions]


def chain(
    started: float, attack: Planter, scenario: Scenario, decoy: Decoy, poison: Poison, seed: Sequence[int]
) -> Step:
    """Refit the sets with the poison in, solve again, and so on (Algorithm 1 of Koh et al.)."""
    found: list[Candidate] = []
    solves: list[SolveInfo] = []
    for turn in range(attack.refits):
        region = FeasibleRegion.fit(scenario, attack.policy, poison)
        candidates, infos = attempt(started, attack, scenario, region, decoy, [*seed, turn], attack.draws)
        solves += infos
        if not candidates:
            break
        best = max(candidates, key=lambda item: item.worst)
        found.append(replace(best, label=f"{decoy.label}, refit {turn + 1}"))
        poison = best.poison
    return found, solves


def score_fully(started: float, scenario: Scenario, item: Candidate) -> Step:
    """The candidate with its error behind every defence."""
    evaluator = Evaluator(scenario.train, scenario.problem, scenario.defenses)
    error = evaluator.score(item.poison, {"target": scenario.target}).error["target"]
    return [replace(item, test_error=error, seconds=time.time() - started)], []


def _skipped(reason: Exception) -> Step:
    return [], [SolveInfo("", f"skipped: {type(reason).__name__}", float("nan"), 0.0)]


def flips(started: float, scenario: Scenario) -> Step:
    """Label flips of the target rows that the clean model fits worst: what is left where no decoy can be planted.

    Two candidates: the budget spread over as many rows as it buys, and all of it on one row.
    """
    train, target = scenario.train, scenario.target
    clean = make_learner(scenario.problem).fit(train)
    order = np.argsort(clean.margins(target), kind="stable")
    evaluator = Evaluator(train, scenario.problem, scenario.defenses)
    candidates = []
    for distinct in {min(scenario.n_poison, target.n), 1}:
        rows = target.take(order[:distinct])
        poison = Poison(rows.X, -rows.y, largest_remainder(np.ones(distinct), scenario.n_poison)).merged()
        error = evaluator.score(poison, {"target": target}, quick_defenses(scenario)).error["target"]
        nothing = float("nan")
        item = Candidate(poison, poison, clean, nothing, nothing, nothing, error, "label flips", time.time() - started)
        candidates.append(item)
    return candidates, []


def quick_defenses(scenario: Scenario) -> list[str]:
    """Names of the defences that every step scores."""
    small = scenario.train.n * scenario.train.d <= SMALL
    return [name for name, defense in scenario.defenses.items() if small or isinstance(defense, QUICK)]


def roundings(
    attack: Planter, scenario: Scenario, relaxed: Poison, sets: ByLabel, draws: int, rng: np.random.Generator
) -> Iterator[Poison]:
    """Deployable versions of a relaxed poison, several draws where rows must be whole.

    Where the relaxed poison leaves some of the budget, a version that spends it all is among them:
    more copies weigh against what the defences remove, and let points pass a k-NN defence.
    """
    train, limit = scenario.train, scenario.n_poison
    if not train.domain.integral:
        yield deploy(relaxed, limit, train.domain, rng, sparse=train.is_sparse)
        if relaxed.total > 0 and round(relaxed.total) < limit:
            whole = replace(relaxed, count=relaxed.count * (limit / relaxed.total))
            yield deploy(whole, limit, train.domain, rng, sparse=train.is_sparse)
        return
    for repeats in attack.repeats:
        for _ in range(draws):
            yield deploy(relaxed, limit, train.domain, rng, repeats=repeats, sets=sets, sparse=train.is_sparse)


def _best(
    started: float, scenario: Scenario, solution: KKTSolution, decoy: Decoy, poisons: Iterator[Poison]
) -> Candidate | None:
    """The rounding that does best behind the quick defences, with all that is known of it."""
    evaluator = Evaluator(scenario.train, scenario.problem, scenario.defenses)
    quick = quick_defenses(scenario)
    best: Candidate | None = None
    for poison in poisons:
        if not poison.n_distinct:
            continue
        candidate = Candidate(
            poison=poison,
            relaxed=solution.poison,
            decoy=decoy.model,
            residual=solution.residual_norm,
            violation=solution.violation,
            distance=float("nan"),
            test_error=evaluator.score(poison, {"target": scenario.target}, quick).error["target"],
            label=decoy.label,
            seconds=time.time() - started,
        )
        if best is None or candidate.worst > best.worst:
            best = candidate
    return None if best is None else replace(best, distance=_distance(scenario, best))


def _distance(scenario: Scenario, item: Candidate) -> float:
    """How far the model retrained on clean rows and relaxed poison ends from the decoy."""
    mixed = scenario.train.mix(item.relaxed.as_dataset())
    return make_learner(scenario.problem).fit(mixed, start=item.decoy).distance(item.decoy)
