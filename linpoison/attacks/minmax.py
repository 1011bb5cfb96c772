"""The min-max attacks: basic, and with decoys that keep the poison past the loss defence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import scipy.sparse as sp

from ..convex import chosen_solver
from ..core.errors import SolverFailed
from ..core.poison import Poison
from ..core.results import Candidate
from ..core.validation import check_among, check_integer, check_number
from ..rounding import deploy, largest_remainder
from ..sets import ByLabel
from .base import whole_numbers
from .decoys import REGROWN, Decoy, LabelFlipDecoys, by_promise, factors, swept
from .feasible import FeasibleRegion, SetPolicy
from .minmax_paper import PaperLoop
from .planting import AT_NONE, NO_SETS, Growing, Planting, Relaxed, Subproblem, chain, plant
from .ranking import quick_defenses
from .run import Run
from .saddle import SaddleProgram
from .scenario import Scenario

BATCH = 4
"""Decoys of the sweep that are tried before the hopeless ones among the rest are passed over."""


@dataclass(frozen=True)
class MinMaxBasic(Planting):
    """Steinhardt et al.'s attack: the poison that raises the learner's training objective the most.

    Rows stay in the sets of the chosen defences, but nothing caps their loss: the loss defence
    catches many of them.

    Parameters
    ----------
    method : {"corrective", "paper"}
        The convex program to a duality gap (`SaddleProgram`), its poison in whole copies, or the
        loop of Koh et al. (`PaperLoop`).
    program : SaddleProgram
    paper : PaperLoop
    policy : SetPolicy
    refits : int, default 1
        Refits of the sets with the poison in (Algorithm 1 of Koh et al.).
    repeats : sequence of int, default (2, 3)
        Copies of each row that are tried.
    draws : int, default 2
        Roundings for each number of repeats, where features are counts.
    finalists : int, default 6
        How many candidates are scored under every defence.
    solver : str, optional
        A conic solver for the program, as in `SaddleProgram`, and for every support and projection; by default (None
        or "structured") that of `program`.

    References
    ----------
    Steinhardt, Koh, Liang (2017), Algorithm 1; Koh, Steinhardt, Liang, sections 4.4 and 5.
    """

    name = "min-max-basic"
    takes_class_weights: ClassVar[bool] = True
    refused = NO_SETS
    tells_distance = False
    method: Literal["corrective", "paper"] = "corrective"
    program: SaddleProgram = field(default_factory=SaddleProgram)
    paper: PaperLoop = field(default_factory=PaperLoop)
    policy: SetPolicy = field(default_factory=SetPolicy)
    refits: int = 1
    repeats: Sequence[int] = (2, 3)
    draws: int = 2
    finalists: int = 6
    solver: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "solver", chosen_solver(self.solver))
        if self.solver is not None:
            object.__setattr__(self, "program", replace(self.program, solver=self.solver))
        check_among(self.method, "the method", "corrective", "paper")
        for name, least in (("refits", 0), ("draws", 1), ("finalists", 1)):
            check_integer(getattr(self, name), name, at_least=least)
        object.__setattr__(self, "repeats", whole_numbers(self.repeats, "repeats"))

    @property
    def cap(self) -> float | None:
        """No cap on a decoy's loss."""
        return None

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """`AttackResult.info` holds the upper bound and gap of the program under the sets of the clean rows.

        ``info["upper"]`` bounds the defender's training objective, without a defence, on clean rows and
        any poison whose rows lie in those sets.
        """
        found = run.steps(AT_NONE, plant, [(self, scenario, self.region(scenario), None, [run.seed, 0])])
        if self.method == "corrective":
            run.info |= bounds(run, found)
        if found and self.refits:
            found = found + run.steps("refits", chain, [(self, scenario, None, found[0].poison, [run.seed, 1])])
        return found

    def region(self, scenario: Scenario, poison: Poison | None = None) -> FeasibleRegion:
        """See `Planting.region`."""
        return replace(super().region(scenario, poison), cap=self.cap, solver=self.solver)

    def relaxed(self, asked: Subproblem) -> list[Relaxed]:
        """The weighted rows of the program, or the rows of the paper's loop."""
        scenario, sets, rng = asked.scenario, asked.sets, np.random.default_rng(asked.seed)
        facts: dict[str, Any] = {"behind": quick_defenses(scenario, NEAR)}
        train, problem, total = scenario.train, scenario.problem, scenario.n_poison
        if self.method == "paper":
            poison = self.paper.rows(train, problem, sets, scenario.budget.epsilon, total, rng)
            if train.is_sparse:
                poison = replace(poison, X=sp.csr_array(poison.X))
            facts["violation"] = float(sets.violation(poison.X, poison.y).max(initial=0.0))
            return [Relaxed(poison, rng, None, facts)]
        saddle = self.program.solve(asked.region.scenario.train, problem, sets, total / train.total)
        if not saddle.poison.n_distinct:
            raise SolverFailed("expected rows that cost the learner something, got sets without any.")
        facts |= {"violation": saddle.info.max_violation, "gap": saddle.gap}
        facts |= {} if asked.decoy else {"decoy": saddle.model}
        return [Relaxed(saddle.poison, rng, replace(saddle.info, value=saddle.upper), facts)]

    def whole(self, asked: Subproblem, found: Relaxed, draws: int) -> Iterator[Poison]:
        """The rows of the solution, each in whole groups of copies; those of the paper's loop are whole."""
        if self.method == "paper":
            return iter([found.poison])
        return readings(asked.scenario, found.poison, asked.sets, self, found.rng)


def bounds(run: Run, found: Sequence[Candidate]) -> dict[str, float]:
    """Upper bound and relative gap of the first program that was solved."""
    solved = [solve for solve in run.solves if not solve.status.startswith("skipped")]
    return {"upper": solved[0].value, "gap": found[0].gap} if found and solved else {}


@dataclass(frozen=True)
class MinMax(Growing, MinMaxBasic):
    """The min-max attack of Koh et al.: rows whose loss under a decoy is small.

    For each decoy the min-max program over rows that the chosen defences keep, the loss defence as it
    would be at the decoy. Decoys, generations of them and refits of the sets are those of `KKT`.

    Parameters
    ----------
    method, program, paper, policy, repeats, draws, finalists, solver
        See `MinMaxBasic`; `program` stops at a gap of 1e-2 here: on Enron a smaller one changes the
        error by less than rounding does. The sets leave out a fifth more than the defences remove: rows lie on the rim
        here, and on Enron sets by 1.1 or 1.2 times the quota with the budget in end two points lower.
    cap : float, optional
        A fixed cap on a row's loss under the decoy (0.25 in the paper). By default the threshold of
        the loss defence is predicted as those of the others are, if that defence is chosen.
    decoys : LabelFlipDecoys
    generations : int, default 3
        Rounds of decoys that start from the model which the best poison so far has planted.
    regrown : LabelFlipDecoys
    reach : sequence of float
        In each generation and for each factor, the decoy of greatest error is taken up whose
        clean loss is at most factor times that of the planted model.
    refits : int, default 0
        Refits of the sets for each decoy of a generation. On Enron they lose: worst rows fill the
        larger sets to the rim, and k-NN finds them there.
    tries : int, default 8
        Decoys of the first sweep at most, the most promising first.

    References
    ----------
    Koh, Steinhardt, Liang, section 4.4, Algorithms 1, 3 and 5. Suya et al. (2021) for generations.
    """

    name = "min-max"
    afresh = True
    program: SaddleProgram = field(default_factory=lambda: SaddleProgram(tol=1e-2, max_rounds=60))
    policy: SetPolicy = field(default_factory=lambda: SetPolicy(beyond=1.2))
    cap: float | None = None  # type: ignore[misc]
    decoys: LabelFlipDecoys = field(default_factory=LabelFlipDecoys)
    generations: int = 3
    regrown: LabelFlipDecoys = REGROWN
    reach: Sequence[float] = (1.05, 1.1, 1.15, 1.2)
    refits: int = 0
    tries: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self.generations, "generations", at_least=0)
        check_integer(self.tries, "tries", at_least=1)
        if self.cap is not None:
            check_number(self.cap, "cap", above=0)
        object.__setattr__(self, "reach", factors(self.reach))

    def _sweep(self, scenario: Scenario, decoys: list[Decoy], run: Run) -> list[Candidate]:
        """The decoys under the sets of the clean rows, without those that err no more than what is reached.

        `AttackResult.info` holds the upper bound and gap of the first decoy's program.
        """
        sets = self.region(scenario)
        waiting = by_promise(decoys, scenario.problem, scenario.train, scenario.budget.epsilon)[: self.tries]
        found = swept(run, waiting, BATCH, plant, lambda decoy, seed: (self, scenario, sets, decoy, [run.seed, *seed]))
        run.info |= bounds(run, found) if self.method == "corrective" else {}
        return found


NEAR = 6_324
"""Training rows up to which every step asks the k-NN defence too: worst rows lie far out, copies or not."""


def readings(
    scenario: Scenario, relaxed: Poison, sets: ByLabel, attack: MinMaxBasic, rng: np.random.Generator
) -> Iterator[Poison]:
    """Deployable poisons read off a solution: its rows, each in whole groups of copies."""
    train, limit = scenario.train, scenario.n_poison
    for copies in attack.repeats if train.domain.integral else (1, *attack.repeats):
        grouped = allot(relaxed, limit, copies)
        for _ in range(attack.draws if train.domain.integral else 1):
            yield deploy(grouped, limit, train.domain, rng, repeats=copies, sets=sets, sparse=train.is_sparse)


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
