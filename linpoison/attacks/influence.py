"""The influence attack: gradient ascent on the poison through the retrained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..convex import chosen_solver
from ..core.dataset import Dataset
from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.model import LinearModel
from ..core.parts import dense
from ..core.poison import Poison
from ..core.results import Candidate, SolveInfo
from ..core.validation import LABELS, Array, check_integers, check_number
from ..defender import Evaluation
from ..learners import make_learner
from ..sets import ByLabel
from .ascent import Ascent, Objective, Place, View, poison_of, views_of
from .base import Attack, whole_numbers
from .deadline import time_is_up
from .feasible import FeasibleRegion, SetPolicy
from .ranking import candidate, quick_defenses, roundings
from .run import Run, Step, skipped
from .scenario import Scenario


@dataclass(frozen=True)
class Influence(Attack):
    """The influence attack of Koh et al.: two weighted points, moved along exact implicit gradients.

    ::

        maximise  T(theta(x_+, x_-, c))   over x_y in F_y,   c_+ + c_- = epsilon n

    with T a smooth stand-in for the error on the target rows and theta the model learned from clean rows and
    poison (bilevel; `linpoison.influence` has the derivative of theta).

    1. Each start takes a random training row of each class, flipped, among those that lie in the set
       of their new class.
    2. Projected gradient ascent, with normalised steps whose length grows while the objective rises
       and is halved where it does not. The hinge is smoothed, the less the further the ascent has
       come. Points stay in the sets of the defences, for counts in the envelope of the ball, so that
       rounding keeps them there on average.
    3. Every `check` steps the points are rounded and *measured*: retrained behind the quick
       defences (and k-NN up to 10,000 rows). After `patience` checks without a gain a start ends.
    4. After each check the sets are read again as the defender will fit them on clean rows and
       poison (Algorithm 1), and so are the rows that each defence drops: the objective is the soft
       least of the models that are learned from what each defence keeps.
    5. The best roundings of all starts are scored under every defence.

    With ``behind=False, refit=False, adapt_split=False, ascent=Ascent(objective="loss")`` it is the attack of
    the paper but for the control of the step.

    Parameters
    ----------
    policy : SetPolicy
    ascent : Ascent
        Objective, smoothing and length of the steps.
    starts : int, default 2
    steps : int, default 60
        Gradient steps of each start.
    check : int, default 10
    patience : int, default 4
    behind : bool, default True
        Climb the soft least over the defences; otherwise the undefended objective.
    refit : bool, default True
        Read the sets again at each check; otherwise they stay those of the clean rows.
    loss_cap : bool, default False
        Where the loss defence is chosen and `refit` is set, keep the points where the loss of the
        current model is no more than that defence lets through. The paper relies on concentration
        instead, which on Enron also does better here.
    split : float, optional
        Share of the copies that the class +1 gets at first; by default that of the class -1 among the
        training rows (inverse class balance, appendix B.1).
    adapt_split : bool, default True
        Move copies between the points along the gradient in their weights.
    finalists : int, default 6
    repeats : sequence of int, default (2, 3)
        Copies of each rounded row that are tried, where features are counts.
    draws : int, default 2
        Roundings for each number of repeats at each check.
    solver : str, optional
        A conic solver for every projection; by default (None or "structured") the structured one.

    References
    ----------
    Koh, Steinhardt, Liang, section 4.1, Algorithms 1 and 2, appendix B.1.
    """

    name: ClassVar[str] = "influence"
    takes_class_weights: ClassVar[bool] = True
    policy: SetPolicy = field(default_factory=SetPolicy)
    ascent: Ascent = field(default_factory=Ascent)
    starts: int = 2
    steps: int = 60
    check: int = 10
    patience: int = 4
    behind: bool = True
    refit: bool = True
    loss_cap: bool = False
    split: float | None = None
    adapt_split: bool = True
    finalists: int = 6
    repeats: Sequence[int] = (2, 3)
    draws: int = 2
    solver: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "solver", chosen_solver(self.solver))
        check_integers(self, "starts", "steps", "check", "patience", "finalists", "draws", at_least=1)
        if self.split is not None:
            check_number(self.split, "split", at_least=0, at_most=1)
        object.__setattr__(self, "repeats", whole_numbers(self.repeats, "repeats"))

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        run.info["starts"] = self.starts
        return run.steps("starts", climb, [(self, scenario, [run.seed, start]) for start in range(self.starts)])

    def assumed(self, scenario: Scenario) -> Scenario:
        """The scenario that the sets are read from."""
        return scenario

    def points(self, scenario: Scenario, sets: ByLabel, rng: np.random.Generator) -> Poison:
        """A random flipped row of each class, with the copies of the budget between them."""
        train, total = scenario.train, scenario.n_poison
        share = float(train.weight[train.y < 0].sum()) / train.total if self.split is None else self.split
        rows = [_flippable(scenario, sets, label, rng, 1)[0] for label in LABELS]
        first = float(round(share * total))
        return poison_of(np.array(rows), np.array(LABELS), np.array([first, total - first]), train.is_sparse)


@dataclass(frozen=True)
class InfluenceBasic(Influence):
    """The influence attack without the three steps of Koh et al.: as it was known before.

    ``epsilon n`` separate points, each a random training row with its label flipped, move along
    implicit gradients of the mean loss on the target rows. Counts may be any real number on the way
    (no envelope of the ball), no copies are concentrated, the sets stay those of the clean rows, and
    nothing is known of the other defences.

    By default thresholds are the 80th percentile of the clean scores, as in the reference
    implementation, since rounding adds to the distances.

    References
    ----------
    Koh, Steinhardt, Liang, section 4.1 and figure 3 ("influence-basic"), appendix B.1.
    """

    name: ClassVar[str] = "influence-basic"
    policy: SetPolicy = field(default_factory=lambda: SetPolicy(assumed_removal=0.2))
    ascent: Ascent = field(default_factory=lambda: Ascent(objective="loss"))
    starts: int = 1
    steps: int = 40
    behind: bool = False
    refit: bool = False
    adapt_split: bool = False
    finalists: int = 2
    repeats: Sequence[int] = (1,)
    draws: int = 1

    def assumed(self, scenario: Scenario) -> Scenario:
        """The scenario with counts taken for real numbers."""
        domain = scenario.train.domain
        if not domain.integral:
            return scenario
        return replace(scenario, train=replace(scenario.train, domain=replace(domain, kind="box", integral=False)))

    def points(self, scenario: Scenario, sets: ByLabel, rng: np.random.Generator) -> Poison:
        """Random flipped rows, one copy each, of each class as many as the other has among the training rows."""
        train, total = scenario.train, scenario.n_poison
        positive = int(rng.binomial(total, float(train.weight[train.y < 0].sum()) / train.total))
        shares = {1.0: positive, -1.0: total - positive}
        rows = [_flippable(scenario, sets, label, rng, shares[label]) for label in LABELS]
        y = np.repeat(LABELS, [shares[label] for label in LABELS])
        return poison_of(np.vstack(rows), y, np.ones(total), train.is_sparse)


def _flippable(scenario: Scenario, sets: ByLabel, label: float, rng: np.random.Generator, size: int) -> Array:
    """Random rows of the other class, among those in the set of `label` or else among the nearest to it."""
    rows = scenario.train.of_class(-label)
    violation = sets[label].violation(rows.X)
    inside = np.flatnonzero(violation <= 1e-9)
    if not inside.size:
        inside = np.argsort(violation, kind="stable")[:10]
    return dense(rows.X[rng.choice(inside, size=size)])


_SHIFT = 0.015
_AGAIN = 0.15
_NEIGHBOURS = 10_000
_KEPT = 3


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


def climb(started: float, attack: Influence, scenario: Scenario, seed: Sequence[int]) -> Step:
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

    def __init__(self, started: float, attack: Influence, scenario: Scenario, seed: Sequence[int]) -> None:
        self.attack, self.scenario, self.number = attack, scenario, seed[-1]
        self.rng = np.random.default_rng([*seed])
        self.started, self.train = started, scenario.train
        self.defender = scenario.defender.by(make_learner(scenario.problem, method="rough"))
        self.behind = quick_defenses(scenario, _NEIGHBOURS)
        self.found: list[Find] = []

    def climb(self) -> None:
        """Turns of steps, each smoother than the next and with a check at its end."""
        attack = self.attack
        self._begin()
        turns, stale = -(-attack.steps // attack.check), 0
        for turn in range(turns):
            self._aim(turn / max(turns - 1, 1))
            for _ in range(min(attack.check, attack.steps - turn * attack.check)):
                if time_is_up() or not self._step():
                    break
            best, reached = self._measure((turn + 1) * attack.check), self._reached()
            stale = 0 if best.worst >= reached else stale + 1
            if stale >= attack.patience or time_is_up():
                return
            self._read(best)

    def candidates(self) -> Iterator[Candidate]:
        """The best finds, as every attack scores them."""
        for find in sorted(self.found, key=lambda find: -find.worst)[:_KEPT]:
            yield candidate(
                self.started,
                self.scenario,
                find.poison,
                label=f"start {self.number + 1}, step {find.step}, {find.copies} copies",
                relaxed=find.relaxed,
                violation=find.violation,
                behind=self.behind,
            )

    def _begin(self) -> None:
        """Points, sets and views of a poison that nobody has seen yet."""
        clean = self.scenario.clean_model
        self.sets = self._sets(None)
        points = self.attack.points(self.scenario, self.sets, self.rng)
        self.unit = float(np.linalg.norm(_mean(self.train, 1.0) - _mean(self.train, -1.0))) or 1.0
        self.length = self.attack.ascent.length * self.unit
        self.place = Place(self._projected(points, dense(points.X)), (clean,), np.zeros(1), 0.0)
        self.views = [View(self.train, dict.fromkeys(LABELS, 1.0))]
        if self.attack.behind:
            self._see(self._measure(0))

    def _sets(self, poison: Poison | None, model: LinearModel | None = None) -> ByLabel:
        region = FeasibleRegion.fit(self.attack.assumed(self.scenario), self.attack.policy, poison)
        return region.sets(model).solved_by(self.attack.solver)

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
        X = dense(poison.X)
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
                measured = self.defender.score(poison, {"target": self.scenario.aim.target}, self.behind)
                finds.append(Find(poison, relaxed, copies, step, violation, measured))
        self.found += finds
        return max(finds, key=lambda find: find.worst)

    def _reached(self) -> float:
        return max(find.worst for find in self.found)

    def _read(self, find: Find) -> None:
        """Sets and views as the defender has them with this poison in."""
        if self.attack.refit:
            self.sets = self._sets(find.poison, self.place.models[0] if self.attack.loss_cap else None)
            moved = self._projected(self.place.poison, dense(self.place.poison.X))
            self.place = replace(self.place, poison=moved)
        if self.attack.behind:
            self._see(find)

    def _see(self, find: Find) -> None:
        self.views = views_of(self.train, find.poison, find.measured)
        self.place = replace(self.place, models=self.place.models[:1] * len(self.views))


def _mean(train: Dataset, label: float) -> Array:
    rows = train.of_class(label)
    return np.asarray(rows.X.mean(axis=0), dtype=np.float64).ravel()
