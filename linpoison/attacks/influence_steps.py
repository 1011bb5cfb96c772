"""One start of the influence attack: projected ascent between measured checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from ..core.dataset import Dataset
from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import Candidate, SolveInfo
from ..core.validation import LABELS, Array, Matrix
from ..evaluation import Evaluation
from ..learners import make_learner
from ..sets import ByLabel
from .ascent import Ascent, Objective, Place, View, poison_of, views_of
from .feasible import FeasibleRegion, SetPolicy
from .ranking import Ranker, roundings
from .run import Step, skipped
from .scenario import Scenario

_SHIFT = 0.015
_AGAIN = 0.15
_NEIGHBOURS = 10_000
_KEPT = 3


class Climber(Protocol):
    """What a start needs to know of its attack."""

    @property
    def policy(self) -> SetPolicy:
        """How thresholds are predicted."""

    @property
    def ascent(self) -> Ascent:
        """What rises, and how the steps are taken."""

    @property
    def steps(self) -> int:
        """Gradient steps at most."""

    @property
    def check(self) -> int:
        """Steps between two checks."""

    @property
    def patience(self) -> int:
        """Checks without a gain that end a start."""

    @property
    def behind(self) -> bool:
        """Whether the objective is the least over the defences."""

    @property
    def refit(self) -> bool:
        """Whether the sets are read again at each check."""

    @property
    def loss_cap(self) -> bool:
        """Whether the sets cap the loss."""

    @property
    def adapt_split(self) -> bool:
        """Whether copies move between the points."""

    @property
    def repeats(self) -> Sequence[int]:
        """Copies of each rounded row that are tried."""

    @property
    def draws(self) -> int:
        """Roundings for each number of repeats."""

    @property
    def solver(self) -> str | None:
        """The conic solver of choice for projections."""

    def assumed(self, scenario: Scenario) -> Scenario:
        """The scenario that the sets are read from."""

    def points(self, scenario: Scenario, sets: ByLabel, rng: np.random.Generator) -> Poison:
        """Where a start begins."""


@dataclass(frozen=True, eq=False)
class Find:
    """A rounded poison as it was measured at a check."""

    poison: Poison
    relaxed: Poison
    copies: int
    step: int
    violation: float
    measured: Evaluation

    @property
    def worst(self) -> float:
        """The least error over the defences that were measured."""
        return self.measured.worst("target")


def climb(started: float, attack: Climber, scenario: Scenario, seed: Sequence[int]) -> Step:
    """One start: climb, and keep the best roundings that were met."""
    start = _Start(started, attack, scenario, seed)
    infos: list[SolveInfo] = []
    try:
        start.climb()
    except (SolverFailed, InfeasibleSet, InputError) as error:  # such as a set that has become empty
        infos = skipped(error)[1]
    return list(start.candidates()), infos


class _Start:
    """The state of one start."""

    sets: ByLabel
    place: Place
    views: list[View]
    length: float

    def __init__(self, started: float, attack: Climber, scenario: Scenario, seed: Sequence[int]) -> None:
        self.attack, self.scenario, self.number = attack, scenario, seed[-1]
        self.rng = np.random.default_rng([*seed])
        self.ranker = Ranker(scenario, started)
        self.evaluator, self.usual = self.ranker.evaluator, self.ranker.evaluator.learner
        self.evaluator.learner = make_learner(scenario.problem, method="rough")
        self.train = self.evaluator.train
        self.found: list[Find] = []
        few = self.train.n <= _NEIGHBOURS
        near = [name for name, defense in scenario.defenses.items() if few and defense.copies_to_pass > 1]
        self.ranker.quick = [name for name in scenario.defenses if name in {*self.ranker.quick, *near}]

    def climb(self) -> None:
        """Turns of steps, each smoother than the next and with a check at its end."""
        attack = self.attack
        self._begin()
        turns, stale = -(-attack.steps // attack.check), 0
        for turn in range(turns):
            self._aim(turn / max(turns - 1, 1))
            for _ in range(min(attack.check, attack.steps - turn * attack.check)):
                if not self._step():
                    break
            best, reached = self._measure((turn + 1) * attack.check), self._reached()
            stale = 0 if best.worst >= reached else stale + 1
            if stale >= attack.patience:
                return
            self._read(best)

    def candidates(self) -> Iterator[Candidate]:
        """The best finds, as every attack's ranker scores them."""
        self.evaluator.learner = self.usual
        for find in sorted(self.found, key=lambda find: -find.worst)[:_KEPT]:
            yield self.ranker.candidate(
                find.poison,
                label=f"start {self.number + 1}, step {find.step}, {find.copies} copies",
                relaxed=find.relaxed,
                violation=find.violation,
            )

    def _begin(self) -> None:
        """Points, sets and views of a poison that nobody has seen yet."""
        clean = make_learner(self.scenario.problem).fit(self.train)
        self.sets = self._sets(None, clean, capped=False)
        points = self.attack.points(self.scenario, self.sets, self.rng)
        self.unit = float(np.linalg.norm(_mean(self.train, 1.0) - _mean(self.train, -1.0))) or 1.0
        self.length = self.attack.ascent.length * self.unit
        self.place = Place(self._projected(points, _dense(points.X)), (clean,), np.zeros(1), 0.0)
        self.views = [View(self.train, dict.fromkeys(LABELS, 1.0))]
        if self.attack.behind:
            self._see(self._measure(0))

    def _sets(self, poison: Poison | None, model: LinearModel, *, capped: bool) -> ByLabel:
        return self._region(poison, capped=capped).sets(model).solved_by(self.attack.solver)

    def _region(self, poison: Poison | None, *, capped: bool) -> FeasibleRegion:
        region = FeasibleRegion.fit(self.attack.assumed(self.scenario), self.attack.policy, poison)
        if capped:
            return region
        defenses = region.scenario.defenses
        rest = {name: defense for name, defense in defenses.items() if not defense.caps_loss}
        return replace(region, scenario=replace(region.scenario, defenses=rest))

    def _aim(self, progress: float) -> None:
        """The objective of this turn, at the current points."""
        ascent = self.attack.ascent
        problem = ascent.smoothed(self.scenario.problem, progress)
        target = ascent.target(self.scenario.target, problem)
        self.objective = Objective(problem, target, self.views, ascent.softness)
        self.place = self.objective.at(self.place.poison, self.place.models)
        self.length = max(self.length, _AGAIN * ascent.length * self.unit)

    def _step(self) -> bool:
        """One ascent step, halved until the objective rises; False if it does not."""
        poison, ascent = self.place.poison, self.attack.ascent
        gradient = self.objective.gradient(self.place)
        ascending = gradient.rows / np.maximum(poison.count, 1.0)[:, None]
        steepest = float(np.linalg.norm(ascending, axis=1).max())
        if steepest == 0 or not np.isfinite(steepest):
            return False
        count = self._shifted(poison, gradient.counts)
        X = _dense(poison.X)
        while self.length >= ascent.least * self.unit:
            moved = self._projected(replace(poison, count=count), X + ascending * (self.length / steepest))
            there = self.objective.at(moved, self.place.models)
            if there.value > self.place.value:
                self.place, self.length = there, self.length * ascent.growth
                return True
            self.length /= 2
        return False

    def _shifted(self, poison: Poison, gain: Array) -> Array:
        """Copies a little further towards the point where one more is worth more."""
        if not self.attack.adapt_split or poison.y.size != 2:
            return poison.count
        shift = np.sign(gain[0] - gain[1]) * min(_SHIFT * poison.total, poison.count[int(gain[0] > gain[1])])
        return poison.count + np.array([shift, -shift])

    def _projected(self, poison: Poison, X: Array) -> Poison:
        """The nearest points in the sets."""
        inside = np.array(X)
        for label in LABELS:
            rows = np.flatnonzero(poison.y == label)
            if rows.size:
                inside[rows] = self.sets[label].project(inside[rows])
        return poison_of(inside, poison.y, poison.count, self.train.is_sparse)

    def _measure(self, step: int) -> Find:
        """Round, retrain behind the cheap defences, and remember; the best of this check."""
        relaxed, finds = self.place.poison, []
        violation = float(self.sets.violation(relaxed).max())
        for copies in self.attack.repeats if self.train.domain.integral else (1,):
            drawn = roundings(self.scenario, relaxed, self.sets, self.rng, repeats=(copies,), draws=self.attack.draws)
            for poison in drawn:
                measured = self.evaluator.score(poison, {"target": self.scenario.target}, self.ranker.quick)
                finds.append(Find(poison, relaxed, copies, step, violation, measured))
        self.found += finds
        return max(finds, key=lambda find: find.worst)

    def _reached(self) -> float:
        return max(find.worst for find in self.found)

    def _read(self, find: Find) -> None:
        """Sets and views as the defender has them with this poison in."""
        if self.attack.refit:
            self.sets = self._sets(find.poison, self.place.models[0], capped=self.attack.loss_cap)
            moved = self._projected(self.place.poison, _dense(self.place.poison.X))
            self.place = replace(self.place, poison=moved)
        if self.attack.behind:
            self._see(find)

    def _see(self, find: Find) -> None:
        self.views = views_of(self.train, find.poison, find.measured)
        self.place = replace(self.place, models=self.place.models[:1] * len(self.views))


def _mean(train: Dataset, label: float) -> Array:
    rows = train.of_class(label)
    return np.asarray(rows.X.mean(axis=0), dtype=np.float64).ravel()


def _dense(X: Matrix) -> Array:
    return np.asarray(X.toarray() if sp.issparse(X) else X)
