"""Attacks on k classes: the min-max attack of the paper, and the influence attack on the poison measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from ..core.dataset import Dataset
from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.validation import check_integer, check_number
from .decoys import MultiLabelFlips
from .influence import MeasureInfluence
from .losses import CrammerSinger
from .minmax_program import MinMaxProgram, Progress
from .paper_loop import MultiPaperLoop
from .problem import MultiProblem
from .pulling import pulled_in
from .regions import Regions, ball_regions, capped_regions
from .results import MultiResult, MultiScenario, Ranking, Relaxed


@dataclass(frozen=True)
class MultiMinMax:
    """The min-max attack on k classes, with its split between classes found by the program itself.

    First the basic attack (balls and domain alone), then for each decoy the same program under the
    constraint that planted rows have little loss under the decoy. Each relaxed poison is rounded and
    scored by retraining; the best worst case over the defences wins.

    Parameters
    ----------
    problem : MultiProblem
        What the program takes the defender for; its ``reg`` must be above 0, also where the defender
        stops early instead.
    program : MinMaxProgram
    decoys : MultiLabelFlips or None
        None leaves the basic attack alone.
    quantile : float, default 0.9
        Of the ball around each class mean, see `ball_regions`.
    cap : float, default 0.25
        Largest hinge of a planted row under the decoy, ``tau`` in the paper.
    most : int, default 6
        How many decoys are tried, evenly spread over the front.
    rows : int, default 20000
        Clean rows that the program sees, drawn at random; all if there are no more. Its bounds hold for these rows.
    method : {"corrective", "paper"}, default "corrective"
        The program, or the loop of Koh et al. with the defender's own problem, from the defender's own clean model.
    paper : MultiPaperLoop

    References
    ----------
    Koh, Steinhardt, Liang (2022), sections 4.3 and 5.7, appendix B.3. Their program draws one rival at
    random for each label; here all pairs compete.
    """

    name: ClassVar[str] = "min-max"
    problem: MultiProblem = MultiProblem(CrammerSinger(), reg=3e-3)
    program: MinMaxProgram = MinMaxProgram()
    decoys: MultiLabelFlips | None = field(default_factory=MultiLabelFlips)
    quantile: float = 0.9
    cap: float = 0.25
    most: int = 6
    rows: int = 20_000
    method: Literal["corrective", "paper"] = "corrective"
    paper: MultiPaperLoop = MultiPaperLoop()

    def __post_init__(self) -> None:
        if self.method not in ("corrective", "paper"):
            raise InputError("the method 'corrective' or 'paper'", repr(self.method))
        check_number(self.cap, "cap", at_least=0)
        check_number(self.quantile, "quantile", above=0, at_most=1)
        for name in ("most", "rows"):
            check_integer(getattr(self, name), name, at_least=1)

    def run(self, scenario: MultiScenario, *, seed: int = 0, progress: Progress | None = None) -> MultiResult:
        """Build the strongest poison found.

        Parameters
        ----------
        scenario : MultiScenario
        seed : int
            Of the rows that the program sees.
        progress : callable, optional
            Called with (steps done, steps in all, description).

        Raises
        ------
        SolverFailed
            If not one program gives a poison. One that has no feasible row, or is not solved, is passed over and
            named in `MultiResult.skipped`.
        """
        ranking = Ranking(self.name, scenario, seed, progress)
        sample = _sample(scenario.train, self.rows, seed)
        regions = ball_regions(scenario.train, self.quantile)
        stages: list[tuple[str, Regions]] = [("basic", regions)]
        if self.decoys is not None:
            front = self.decoys.generate(scenario.train, scenario.target, scenario.learner)
            chosen = np.unique(np.linspace(0, len(front) - 1, min(self.most, len(front))).round().astype(int))
            caps = np.full(sample.k, self.cap)
            stages += [(front[i].label, capped_regions(regions, front[i].model, caps)) for i in chosen]
        for done, (label, sets) in enumerate(stages):
            ranking.say(done, len(stages))
            try:
                relaxed = self._relaxed(scenario, sample, sets, label)
            except (InfeasibleSet, SolverFailed) as error:
                ranking.skip(label, error)
                continue
            if relaxed.poison.total > 0:
                ranking.add(relaxed)
        ranking.say(len(stages), len(stages))
        return ranking.result()

    def _relaxed(self, scenario: MultiScenario, sample: Dataset, sets: Regions, label: str) -> Relaxed:
        """The poison under one choice of regions, before rounding."""
        epsilon, learner = scenario.budget.epsilon, scenario.learner
        if self.method == "corrective":
            solution = self.program.solve(sample, self.problem, sets, epsilon)
            return Relaxed(solution.poison, label, solution)
        start = learner.fit(scenario.train)
        return Relaxed(self.paper.rows(sample, learner.problem, sets, epsilon, start, scenario.n_poison), label)


@dataclass(frozen=True)
class MultiInfluence:
    """The influence attack on the poison measure, ranked by retraining.

    Parameters
    ----------
    walk : MeasureInfluence
    quantile : float, default 0.943
        Of the ball around each class mean, see `ball_regions`. A defender who drops 5 % of clean rows
        and poison keeps rows up to about there.
    refit : bool, default True
        Read the balls again in each step with the poison in, as the defender of the scenario will, and again with
        whole copies, and pull rows into them until they hold still; then `quantile` is that of the first step alone.
    """

    name: ClassVar[str] = "influence"
    walk: MeasureInfluence = field(default_factory=MeasureInfluence)
    quantile: float = 0.943
    refit: bool = True

    def __post_init__(self) -> None:
        check_number(self.quantile, "quantile", above=0, at_most=1)

    def run(self, scenario: MultiScenario, *, seed: int = 0, progress: Progress | None = None) -> MultiResult:
        """Build the strongest poison found; see `MultiMinMax.run`."""
        ranking = Ranking(self.name, scenario, seed, progress, self._settled(scenario))
        found = self.walk.run(
            scenario.train,
            scenario.target,
            scenario.budget.epsilon,
            quantile=self.quantile,
            remove=scenario.remove if self.refit else None,
            seed=seed,
            progress=progress,
        )
        for step, poison in enumerate(found):
            try:
                ranking.add(Relaxed(poison, f"state {step + 1}"))
            except InputError as error:  # whole copies may be more than their class has clean rows for
                ranking.skip(f"state {step + 1}", error)
            ranking.say(step + 1, len(found))
        return ranking.result()

    def _settled(self, scenario: MultiScenario) -> Callable[[Dataset], Dataset] | None:
        """What pulls whole copies into the balls that they move: rounding has changed the masses."""
        return (lambda poison: pulled_in(scenario.train, poison, scenario.remove)) if self.refit else None


def _sample(data: Dataset, rows: int, seed: int) -> Dataset:
    if data.n <= rows:
        return data
    chosen = np.random.default_rng(seed).permutation(data.n)[:rows]
    return data.take(np.sort(chosen))
