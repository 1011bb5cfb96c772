"""The steps of the KKT attack, as functions that a worker process can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..core.dataset import Dataset
from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.poison import Poison
from ..core.results import Candidate, SolveInfo
from ..learners import make_learner
from ..optimality.stationarity import KKTSolution
from ..rounding import largest_remainder
from ..sets import ByLabel
from .decoys import Decoy
from .feasible import FeasibleRegion, SetPolicy
from .random_flips import plantable
from .ranking import Ranker, distance_from, roundings
from .run import Step, skipped
from .scenario import Scenario

NO_SETS = (InputError, InfeasibleSet, SolverFailed)
"""Why there may be no sets for one decoy: it has no direction, class means are equal, a defence keeps nothing."""


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
    except NO_SETS as error:
        return skipped(error)
    try:
        solutions = attack.solve(scenario, decoy, sets)
    except (SolverFailed, InfeasibleSet) as error:
        return skipped(error)
    ranker, kept = Ranker(scenario, started), []
    for number, solution in enumerate(solutions):
        rng = np.random.default_rng([*seed, number])
        best = ranker.best(
            roundings(scenario, solution.poison, sets, rng, repeats=attack.repeats, draws=draws),
            label=decoy.label,
            decoy=decoy.model,
            relaxed=solution.poison,
            residual=solution.residual_norm,
            violation=solution.violation,
            gap=solution.gap,
        )
        kept += [] if best is None else [replace(best, distance=distance_from(scenario, best))]
    return kept, [solution.info for solution in solutions]


def chain(
    started: float, attack: Planter, scenario: Scenario, decoy: Decoy, poison: Poison, seed: Sequence[int]
) -> Step:
    """Refit the sets with the poison in, solve again, and so on (Algorithm 1 of Koh et al.)."""
    found: list[Candidate] = []
    solves: list[SolveInfo] = []
    for turn in range(attack.refits):
        try:
            region = FeasibleRegion.fit(scenario, attack.policy, poison)
        except NO_SETS as error:
            return found, solves + skipped(error)[1]
        candidates, infos = attempt(started, attack, scenario, region, decoy, [*seed, turn], attack.draws)
        solves += infos
        if not candidates:
            break
        best = max(candidates, key=lambda item: item.worst)
        found.append(replace(best, label=f"{decoy.label}, refit {turn + 1}"))
        poison = best.poison
    return found, solves


def flips(started: float, scenario: Scenario) -> Step:
    """Label flips of the target rows that the clean model fits worst: what is left where no decoy can be planted.

    Two candidates: the budget spread over as many rows as it buys, and all of it on one row. Target rows outside the
    domain of the training rows cannot be planted and are passed over.
    """
    train, target = scenario.train, scenario.target
    try:
        pool = plantable(Dataset(target.X, -target.y, target.weight, domain=train.domain))
    except InputError as error:  # no row of the target can be a training row
        return skipped(error)
    clean = make_learner(scenario.problem).fit(train)
    order = np.argsort(-clean.margins(pool), kind="stable")
    ranker = Ranker(scenario, started)
    candidates = []
    for distinct in {min(scenario.n_poison, pool.n), 1}:
        rows = pool.take(order[:distinct])
        poison = Poison(rows.X, rows.y, largest_remainder(np.ones(distinct), scenario.n_poison)).merged()
        candidates.append(ranker.candidate(poison, label="label flips", decoy=clean))
    return candidates, []
