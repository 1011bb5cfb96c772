"""The KKT attack: decoys, one joint program each or a grid of them, under sets that are refitted with the poison in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, cast

import numpy as np

from ..convex import chosen_solver
from ..core.dataset import Dataset
from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.poison import Poison
from ..core.results import Candidate
from ..core.validation import check_integer
from ..optimality.stationarity import KKTSolution
from ..rounding import largest_remainder
from ..sets import ByLabel
from .base import whole_numbers
from .decoys import REGROWN, Decoy, LabelFlipDecoys, by_promise, factors, swept
from .feasible import SetPolicy
from .kkt_program import KKTProgram
from .planting import Growing, Relaxed, Subproblem, chain, plant
from .random_flips import plantable
from .ranking import candidate, quick_defenses, quick_worst
from .run import Run, Step, skipped
from .scenario import Scenario

BATCH = 8
"""Decoys of the sweep that are tried before the hopeless ones among the rest are passed over."""


@dataclass(frozen=True)
class KKT(Growing):
    """The KKT attack of Koh et al. as one convex program for each decoy.

    1. Decoys by label flips, pruned to the Pareto front.
    2. For each decoy the joint program (`KKTProgram`) under the sets of all chosen defences as
       fitted on the clean rows (and on `Scenario.known`, where rows are given there). At most two
       distinct points, one for each class. Decoys whose own error is no more than what has been
       reached are passed over.
    3. Rounding to whole copies (and whole counts), several draws, each scored by retraining
       behind the quick defences.
    4. New generations of decoys, flipped by the margins of the model that the best poison so far
       has planted: for about the same clean loss they err far more than those of the clean model.
       Each is solved with the sets as the defender will fit them on clean rows and poison
       (Algorithm 1), `refits` times.
    5. The best candidates are scored under every defence; the least error over the defences
       ranks them.

    Parameters
    ----------
    decoys : LabelFlipDecoys
        Grid of step 1.
    program : KKTProgram
    policy : SetPolicy
    chains : int, default 0
        After step 3 the decoys of this many of the best candidates are solved again, `refits` times,
        each with the sets as fitted on the clean rows and its own last poison (Algorithm 1).
    generations : int, default 4
        Rounds of step 4; 0 leaves it out.
    regrown : LabelFlipDecoys
        Grid of step 4.
    reach : sequence of float
        In each generation and for each factor, the decoy of greatest error is taken up whose
        clean loss is at most factor times that of the planted model.
    refits : int, default 2
        Refits of the sets for each decoy of step 4.
    finalists : int, default 6
        How many candidates step 5 scores.
    repeats : sequence of int, default (2, 3)
        Copies of each rounded row that are tried, where features are counts.
    draws : int, default 2
        Roundings for each number of repeats in step 4 (step 3 makes one).
    solver : str, optional
        A conic solver for the programs of steps 2 and 4, as in `KKTProgram`; by default (None or "structured") that of
        `program`.

    References
    ----------
    Koh, Steinhardt, Liang, section 4.2, Algorithms 1, 3 and 4, appendix B.2. Generations follow
    Suya, Mahloujifar, Suri, Evans, Tian (2021), whose decoys flip by the last trained target.
    """

    name = "kkt"
    takes_class_weights: ClassVar[bool] = True
    needs_of_loss: ClassVar[tuple[str, ...]] = ("pull_constraints",)
    decoys: LabelFlipDecoys = field(default_factory=LabelFlipDecoys)
    program: KKTProgram = field(default_factory=KKTProgram)
    policy: SetPolicy = field(default_factory=SetPolicy)
    chains: int = 0
    generations: int = 4
    regrown: LabelFlipDecoys = REGROWN
    reach: Sequence[float] = (1.05, 1.1, 1.15, 1.2)
    refits: int = 2
    finalists: int = 6
    repeats: Sequence[int] = (2, 3)
    draws: int = 2
    solver: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "solver", chosen_solver(self.solver))
        if self.solver is not None:
            object.__setattr__(self, "program", replace(self.program, solver=self.solver))
        for name, least in (("chains", 0), ("generations", 0), ("refits", 1), ("finalists", 1), ("draws", 1)):
            check_integer(getattr(self, name), name, at_least=least)
        object.__setattr__(self, "repeats", whole_numbers(self.repeats, "repeats"))
        object.__setattr__(self, "reach", factors(self.reach))

    def solve(self, scenario: Scenario, decoy: Decoy, sets: ByLabel) -> list[KKTSolution]:
        """The relaxed poisons of one decoy: one, by the joint program."""
        return [self.program.solve(decoy.model, scenario.train, scenario.problem, sets, scenario.budget.epsilon)]

    def relaxed(self, asked: Subproblem) -> list[Relaxed]:
        """What `solve` finds, each with draws of its own."""
        return [
            Relaxed(
                found.poison,
                np.random.default_rng([*asked.seed, number]),
                found.info,
                {"residual": found.residual_norm, "violation": found.violation, "gap": found.gap},
            )
            for number, found in enumerate(self.solve(asked.scenario, cast(Decoy, asked.decoy), asked.sets))
        ]

    def _sweep(self, scenario: Scenario, decoys: list[Decoy], run: Run) -> list[Candidate]:
        """Steps 2 and 3: the decoys, under the sets of the clean rows, and the best of them under refitted ones.

        Where not one decoy gives a poison (nothing to plant, or no solve that passes the checks)
        plain label flips take the place of step 3.
        """
        region = self.region(scenario)
        known = 0.0 if scenario.known is None else quick_worst(scenario, scenario.known, quick_defenses(scenario))
        promising = [decoy for decoy in decoys if decoy.target_error > known] or decoys
        waiting = by_promise(promising, scenario.problem, scenario.train, scenario.budget.epsilon)
        draws = 1 if scenario.known is None else self.draws
        found = swept(
            run, waiting, BATCH, plant, lambda decoy, seed: (self, scenario, region, decoy, [run.seed, *seed], draws)
        )
        found = found or run.steps("label flips", flips, [(scenario,)])
        return found + self._refit(scenario, decoys, found, run)

    def _refit(self, scenario: Scenario, decoys: list[Decoy], found: list[Candidate], run: Run) -> list[Candidate]:
        """The best decoys again, each under the sets that its own poison leads to."""
        grown = {decoy.model.vector.tobytes(): decoy for decoy in decoys}
        pairs = [(item, grown.get(item.decoy.vector.tobytes())) for item in sorted(found, key=lambda item: -item.worst)]
        best = [(item, decoy) for item, decoy in pairs if decoy is not None][: self.chains]
        arguments = [
            (self, scenario, decoy, item.poison, [run.seed, 2, 0, index]) for index, (item, decoy) in enumerate(best)
        ]
        return run.steps("refits", chain, arguments) if best else []


@dataclass(frozen=True)
class IterativeKKT(KKT):
    """The iterative KKT attack of Koh et al.: Algorithm 1 around each of the best decoys, and no others.

    References
    ----------
    Koh, Steinhardt, Liang, Algorithm 1, sections 3.2 and 5.4.
    """

    name = "kkt-iterative"
    chains: int = 6
    generations: int = 0
    refits: int = 6
    draws: int = 4


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
    clean = scenario.clean_model
    order = np.argsort(-clean.margins(pool), kind="stable")
    candidates = []
    for distinct in {min(scenario.n_poison, pool.n), 1}:
        rows = pool.take(order[:distinct])
        poison = Poison(rows.X, rows.y, largest_remainder(np.ones(distinct), scenario.n_poison)).merged()
        candidates.append(candidate(started, scenario, poison, label="label flips", decoy=clean))
    return candidates, []


@dataclass(frozen=True)
class KKTGrid(KKT):
    """Algorithm 4 of Koh et al.: solve once for each ``eps_+`` of an even grid from 0 to epsilon.

    The baseline to compare the joint program with: each of its solves is the joint program with
    the split of the budget held fixed. By default sets are fitted on the clean rows only.

    Parameters
    ----------
    splits : int, default 7
        Points of the grid (the paper: 7).
    generations : int, default 0
    """

    name = "kkt-grid"
    splits: int = 7
    generations: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self.splits, "splits", at_least=2)

    def solve(self, scenario: Scenario, decoy: Decoy, sets: ByLabel) -> list[KKTSolution]:
        """One relaxed poison for each split that can be solved."""
        epsilon = scenario.budget.epsilon
        solutions = []
        for positive in np.linspace(0.0, epsilon, self.splits):
            try:
                solutions.append(
                    self.program.solve(
                        decoy.model, scenario.train, scenario.problem, sets, epsilon, split=float(positive)
                    )
                )
            except (InfeasibleSet, SolverFailed):
                continue
        if not solutions:
            raise SolverFailed("expected a solution for one split of the budget, got none.")
        return solutions
