"""Attacks on k classes: decoys, the min-max attack of the paper, and the influence attack on the poison measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, cast

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import CapabilityError, InfeasibleSet, InputError, SolverFailed
from ...core.poison import Poison
from ...core.results import Candidate
from ...core.validation import check_among, check_integer, check_integers, check_number
from ...learners import MultiLearner
from ...losses import CrammerSinger, MultiProblem
from ...losses.multi import margins, rivals
from ...rounding import largest_remainder
from ..base import Attack
from ..decoys import Decoy, pareto_front
from ..ranking import candidate
from ..run import Run, Step, skipped
from ..scenario import Scenario
from .influence import MeasureInfluence
from .minmax_program import MinMaxProgram
from .paper_loop import MultiPaperLoop
from .regions import Regions, ball_regions, capped_regions, pulled_in


@dataclass(frozen=True)
class MultiLabelFlips:
    """Train on clean rows and copies of the target rows of least margin, relabelled with the runner-up class.

    Parameters
    ----------
    quantiles : sequence of float
        Shares of the target rows that are flipped.
    repeats : sequence of int
        Copies of each flipped row.

    References
    ----------
    Koh, Steinhardt, Liang (2022), Algorithm 3 and appendix B.2, for two classes. How decoys were
    made for ten the paper does not say; the runner-up is the class that costs least.
    """

    quantiles: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5)
    repeats: Sequence[int] = (2, 5, 8)

    def __post_init__(self) -> None:
        if not self.quantiles or not self.repeats:
            raise InputError("at least one quantile and one number of repeats", "none")
        for share in self.quantiles:
            check_number(share, "quantile", above=0, at_most=1)
        for copies in self.repeats:
            check_integer(copies, "repeats", at_least=1)

    def generate(self, train: Dataset, target: Dataset, learner: MultiLearner) -> list[Decoy]:
        """The decoys that no other beats in both error and clean loss, greatest error first."""
        scores = learner.fit(train).decision_function(target.X)
        gaps, runner_up = margins(scores, target.codes), rivals(scores, target.codes)
        decoys = []
        for share in self.quantiles:
            rows = np.flatnonzero(gaps <= np.quantile(gaps, share))
            for copies in self.repeats:
                flipped = replace(
                    target.take(rows), y=runner_up[rows].astype(np.float64), weight=np.full(rows.size, float(copies))
                )
                model = learner.fit(train.mix(flipped))
                loss = learner.problem.mean_loss(model, train)
                decoys.append(Decoy(model, share, copies, model.error(target), loss))
        return pareto_front(decoys)


@dataclass(frozen=True)
class MultiMinMax(Attack):
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
    many_classes: ClassVar[bool] = True
    problem: MultiProblem = MultiProblem(CrammerSinger(), reg=3e-3)
    program: MinMaxProgram = MinMaxProgram()
    decoys: MultiLabelFlips | None = field(default_factory=MultiLabelFlips)
    quantile: float = 0.9
    cap: float = 0.25
    most: int = 6
    rows: int = 20_000
    method: Literal["corrective", "paper"] = "corrective"
    paper: MultiPaperLoop = MultiPaperLoop()
    finalists: int = 6

    def __post_init__(self) -> None:
        check_among(self.method, "the method", "corrective", "paper")
        check_number(self.cap, "cap", at_least=0)
        check_number(self.quantile, "quantile", above=0, at_most=1)
        check_integers(self, "most", "rows", at_least=1)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """A program or loop that has no feasible row, or is not solved, is passed over."""
        sample = _sample(scenario.train, self.rows, run.seed)
        stages = self._stages(scenario, run)
        arguments = [(self, scenario, sample, sets, label) for label, sets in stages]
        return run.steps("programs", planted, arguments)

    def _stages(self, scenario: Scenario, run: Run) -> list[tuple[str, Regions]]:
        """The balls alone, then cut down by the decoys of the front."""
        regions = ball_regions(scenario.train, self.quantile)
        stages: list[tuple[str, Regions]] = [("basic", regions)]
        if self.decoys is None:
            return stages
        run.say(0, 1, "training decoys")
        front = self.decoys.generate(scenario.train, scenario.target, learner_of(scenario))
        chosen = np.unique(np.linspace(0, len(front) - 1, min(self.most, len(front))).round().astype(int))
        caps = np.full(scenario.train.k, self.cap)
        return stages + [(front[i].label, capped_regions(regions, front[i].model, caps)) for i in chosen]

    def _relaxed(self, scenario: Scenario, sample: Dataset, sets: Regions) -> tuple[Dataset, float]:
        """The poison under one choice of regions, before rounding, and the gap of its program."""
        epsilon, learner = scenario.budget.epsilon, learner_of(scenario)
        if self.method == "corrective":
            solution = self.program.solve(sample, self.problem, sets, epsilon)
            return solution.poison, solution.gap
        start = learner.fit(scenario.train)
        return self.paper.rows(sample, learner.problem, sets, epsilon, start, scenario.n_poison), float("nan")


def planted(
    started: float, attack: MultiMinMax, scenario: Scenario, sample: Dataset, sets: Regions, label: str
) -> Step:
    """The whole copies of one program."""
    try:
        relaxed, gap = attack._relaxed(scenario, sample, sets)
    except (InfeasibleSet, SolverFailed) as error:
        return skipped(error)
    if relaxed.total <= 0:
        return [], []
    poison, weights = rounded(relaxed, scenario.n_poison), weighed(relaxed, scenario.train)
    return [candidate(started, scenario, poison, label=label, relaxed=weights, gap=gap)], []


@dataclass(frozen=True)
class MultiInfluence(Attack):
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
    many_classes: ClassVar[bool] = True
    walk: MeasureInfluence = field(default_factory=MeasureInfluence)
    quantile: float = 0.943
    refit: bool = True
    finalists: int = 6

    def __post_init__(self) -> None:
        check_number(self.quantile, "quantile", above=0, at_most=1)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """States of the walk; one whose whole copies are more than their class has clean rows for is passed over."""
        remove = removed(scenario) if self.refit else None
        found = self.walk.run(
            scenario.train, scenario.target, scenario.budget.epsilon,
            quantile=self.quantile, remove=remove, seed=run.seed, progress=run.progress,
        )  # fmt: skip
        arguments = [(scenario, poison, remove, f"state {number + 1}") for number, poison in enumerate(found)]
        return run.steps("states", settled, arguments)


def settled(started: float, scenario: Scenario, relaxed: Dataset, remove: float | None, label: str) -> Step:
    """The whole copies of one state, pulled into the balls that they move: rounding has changed the masses."""
    train = scenario.train
    poison = rounded(relaxed, scenario.n_poison)
    try:
        if remove is not None:
            poison = replace(poison, X=pulled_in(train, poison.as_dataset(train.domain), remove).X)
    except InputError as error:
        return skipped(error)
    return [candidate(started, scenario, poison, label=label, relaxed=weighed(relaxed, train))], []


def removed(scenario: Scenario) -> float | None:
    """The greatest share of a class that a defence drops."""
    return max((guard.remove for guard in scenario.defenses.values() if guard.drops_share), default=None)


def learner_of(scenario: Scenario) -> MultiLearner:
    """What the defender trains."""
    learner = scenario.defender.learner
    if not learner.problem.many_classes:
        raise CapabilityError("a learner of k classes", repr(learner), "State the problem as a MultiProblem.")
    return cast(MultiLearner, learner)


def weighed(relaxed: Dataset, train: Dataset) -> Poison:
    """Shares of the clean rows as weights in rows."""
    return Poison(relaxed.X, relaxed.y, relaxed.weight * train.total, relaxed.n_classes)


def rounded(relaxed: Dataset, total: int) -> Poison:
    """Whole copies that add up to `total`, by largest remainders; rows without a copy are left out."""
    counts = largest_remainder(relaxed.weight, total)
    used = counts > 0
    return Poison(relaxed.X[used], relaxed.y[used], counts[used], relaxed.n_classes)


def _sample(data: Dataset, rows: int, seed: int) -> Dataset:
    if data.n <= rows:
        return data
    chosen = np.random.default_rng(seed).permutation(data.n)[:rows]
    return data.take(np.sort(chosen))
