"""The steps of the min-max attacks, as functions that a worker process can run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import Candidate, SolveInfo
from ..core.validation import LABELS
from ..rounding import deploy, largest_remainder
from ..sets import ByLabel, loss_cap
from .feasible import FeasibleRegion, SetPolicy
from .minmax_paper import PaperLoop
from .ranking import Ranker
from .run import Step, skipped
from .saddle import SaddleProgram
from .scenario import Scenario

NEAR = 40_000_000
"""Pairs of training rows up to which every step asks the k-NN defence."""


class MinMaxPlan(Protocol):
    """What the steps need to know of an attack."""

    @property
    def method(self) -> str:
        """How the program is solved."""

    @property
    def program(self) -> SaddleProgram:
        """The convex program."""

    @property
    def paper(self) -> PaperLoop:
        """The paper's loop."""

    @property
    def policy(self) -> SetPolicy:
        """How thresholds are predicted."""

    @property
    def repeats(self) -> Sequence[int]:
        """Copies of each row that are tried."""

    @property
    def draws(self) -> int:
        """Roundings for each number of repeats."""

    @property
    def refits(self) -> int:
        """Refits of the sets in a chain."""

    @property
    def cap(self) -> float | None:
        """Fixed cap on the decoy's loss."""

    @property
    def solver(self) -> str | None:
        """The conic solver of choice."""


class Sets:
    """The attacker's sets for one state of the training data, with a decoy or without."""

    def __init__(
        self,
        scenario: Scenario,
        policy: SetPolicy,
        cap: float | None,
        poison: Poison | None = None,
        solver: str | None = None,
    ) -> None:
        defenses = {name: each for name, each in scenario.defenses.items() if not each.caps_loss}
        self.cap, self.loss, self.solver = cap, scenario.problem.loss, solver
        self.plain = FeasibleRegion.fit(replace(scenario, defenses=defenses), policy, poison)
        self.full = self.plain if cap is not None else FeasibleRegion.fit(scenario, policy, poison)

    def of(self, decoy: LinearModel | None) -> ByLabel:
        """Both classes' sets; without a decoy no loss is capped."""
        return self._of(decoy).solved_by(self.solver)

    def _of(self, decoy: LinearModel | None) -> ByLabel:
        if decoy is None:
            return self.plain.sets(LinearModel(np.zeros(self.plain.scenario.train.d)))
        sets = self.full.sets(decoy)
        if self.cap is None:
            return sets
        caps = {label: loss_cap(decoy, label, self.loss, self.cap) for label in LABELS}
        return sets.intersect(caps)


def plant(
    started: float,
    attack: MinMaxPlan,
    scenario: Scenario,
    sets: Sets,
    decoy: LinearModel | None,
    label: str,
    seed: Sequence[int],
) -> Step:
    """Solve under given sets, read poisons off, score; keep the best."""
    rng = np.random.default_rng(seed)
    try:
        inside = sets.of(decoy)
        if attack.method == "paper":
            found = _paper(started, attack, scenario, inside, decoy, label, rng)
            return found, []
        saddle = attack.program.solve(
            sets.plain.scenario.train, scenario.problem, inside, scenario.n_poison / scenario.train.total
        )
    except (InputError, InfeasibleSet, SolverFailed) as error:
        return skipped(error)
    if not saddle.poison.n_distinct:
        return skipped(SolverFailed("expected rows that cost the learner something, got sets without any."))
    best = ranker(scenario, started).best(
        readings(scenario, saddle.poison, inside, attack, rng),
        label=label,
        decoy=decoy if decoy is not None else saddle.model,
        relaxed=saddle.poison,
        violation=saddle.info.max_violation,
        gap=saddle.gap,
    )
    return ([] if best is None else [best]), [replace(saddle.info, value=saddle.upper)]


def chain(
    started: float,
    attack: MinMaxPlan,
    scenario: Scenario,
    poison: Poison,
    decoy: LinearModel | None,
    label: str,
    seed: Sequence[int],
) -> Step:
    """Refit the sets with the poison in, solve again, and so on (Algorithm 1 of Koh et al.)."""
    found: list[Candidate] = []
    solves: list[SolveInfo] = []
    for turn in range(attack.refits):
        try:
            sets = Sets(scenario, attack.policy, attack.cap, poison, attack.solver)
        except (InputError, InfeasibleSet, SolverFailed) as error:
            return found, solves + skipped(error)[1]
        candidates, infos = plant(started, attack, scenario, sets, decoy, f"{label}, refit {turn + 1}", [*seed, turn])
        solves += infos
        if not candidates:
            break
        found += candidates
        poison = candidates[0].poison
    return found, solves


def regrown(
    started: float,
    attack: MinMaxPlan,
    scenario: Scenario,
    sets: Sets,
    decoy: LinearModel,
    label: str,
    seed: Sequence[int],
) -> Step:
    """One decoy of a generation: under given sets, then under refitted ones."""
    found, solves = plant(started, attack, scenario, sets, decoy, label, [*seed, 0])
    if found and attack.refits:
        more, infos = chain(started, attack, scenario, found[0].poison, decoy, label, [*seed, 1])
        found, solves = found + more, solves + infos
    return found, solves


def _paper(
    started: float,
    attack: MinMaxPlan,
    scenario: Scenario,
    sets: ByLabel,
    decoy: LinearModel | None,
    label: str,
    rng: np.random.Generator,
) -> list[Candidate]:
    poison = attack.paper.rows(scenario.train, scenario.problem, sets, scenario.budget.epsilon, scenario.n_poison, rng)
    if scenario.train.is_sparse:
        poison = replace(poison, X=sp.csr_array(poison.X))
    violation = float(sets.violation(poison.X, poison.y).max(initial=0.0))
    return [ranker(scenario, started).candidate(poison, label=label, decoy=decoy, violation=violation)]


def readings(
    scenario: Scenario, relaxed: Poison, sets: ByLabel, attack: MinMaxPlan, rng: np.random.Generator
) -> Iterator[Poison]:
    """Deployable poisons read off a solution: its rows, each in whole groups of copies."""
    train, limit = scenario.train, scenario.n_poison
    for copies in attack.repeats if train.domain.integral else (1, *attack.repeats):
        grouped = allot(relaxed, limit, copies)
        for _ in range(attack.draws if train.domain.integral else 1):
            yield deploy(grouped, limit, train.domain, rng, repeats=copies, sets=sets, sparse=train.is_sparse)


def ranker(scenario: Scenario, started: float) -> Ranker:
    """A ranker that also asks k-NN at every step where that is cheap: worst rows lie far out, copies or not."""
    made = Ranker(scenario, started)
    near = [name for name, defense in scenario.defenses.items() if defense.copies_to_pass > 1]
    if scenario.train.n**2 <= NEAR:
        made.quick = [*made.quick, *(name for name in near if name not in made.quick)]
    return made


def allot(relaxed: Poison, total: int, repeats: int) -> Poison:
    """Whole copies for the rows of a relaxed poison, `total` in all, in groups of `repeats` where it goes in.

    Rows whose weight does not earn a group are left out; what does not go in groups goes to the heaviest.

    Examples
    --------
    >>> allot(Poison([[0.0], [1.0], [2.0]], [1, 1, -1], [3.0, 2.2, 0.8]), 6, 2).count
    array([4., 2.])
    """
    groups = largest_remainder(relaxed.count, total // repeats)
    counts = groups * repeats
    counts[int(np.argmax(relaxed.count))] += total - counts.sum()
    kept = counts > 0
    return Poison(relaxed.X[kept], relaxed.y[kept], counts[kept].astype(np.float64))
