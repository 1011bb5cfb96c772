"""Attacks on a group that are chosen on rows which had no part in making the poison."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import ClassVar, Literal

import numpy as np

from ...core import Candidate, Dataset, InputError, LinearModel, Mask, check_integer, check_number
from ...learners import make_learner
from ...subpopulations.damage import Damage, correctness, measure_damage
from ..aim import Aim
from ..base import Attack
from ..ranking import candidate
from ..run import Run, Step
from ..scenario import Scenario
from .base import ScoredOnce
from .flips import GroupFlips
from .joint import SCHEDULE, JointAttack, Stage
from .planted import LABELLINGS, PlantedDecoy, Recipe


@dataclass(frozen=True)
class Score:
    """What a way to make poison does to rows that it has not seen.

    Parameters
    ----------
    damage, collateral : float
        Drop in accuracy on the group and on all other rows.
    collateral_high : float
        Upper confidence limit of the collateral.
    correct : ndarray of bool, optional
        Which rows of the group are still right, for paired comparisons.
    """

    damage: float
    collateral: float
    collateral_high: float
    correct: Mask | None = field(default=None, compare=False, repr=False)

    def beats(self, other: Score) -> bool:
        """Whether it turns more rows than another, by more than a standard error of the difference where rows tell."""
        if self.correct is None or other.correct is None:
            return self.damage > other.damage
        more = int((other.correct & ~self.correct).sum())
        less = int((self.correct & ~other.correct).sum())
        return more - less > np.sqrt(more + less)


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Scores ways to make poison: each row of an aim judges a model that was made without it.

    The rows of the aim are dealt into folds, the group and the others apart. For each fold poison is made
    from the other folds and added to the training rows, a model is learned, and the fold's rows judge it.

    Parameters
    ----------
    aim : Aim
    clean : LinearModel
        Learned without poison.
    folds : int, default 3
    level : float, default 0.75
        Of the one-sided upper limit of the collateral.
    seed : int, default 0

    Raises
    ------
    InputError
        If a fold would lack rows of the group or other rows.
    """

    aim: Aim
    clean: LinearModel
    folds: int = 3
    level: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer(self.folds, "folds", at_least=2)
        check_number(self.level, "level", above=0.5, below=1)
        target, others = self.rows
        if min(target.n, others.n) < self.folds:
            raise InputError(f"{self.folds} rows in the subpopulation and outside", f"{target.n} and {others.n}")

    @property
    def rows(self) -> tuple[Dataset, Dataset]:
        """Those of the group, and the others."""
        return self.aim.target, self.aim.rest("cross-fitting")

    @cached_property
    def fold(self) -> tuple[np.ndarray, np.ndarray]:
        """The fold of each row of the group, and of each other row."""
        rng, dealt = np.random.default_rng(self.seed), []
        for part in self.rows:
            fold = np.empty(part.n, dtype=np.intp)
            fold[rng.permutation(part.n)] = np.arange(part.n) % self.folds
            dealt.append(fold)
        return dealt[0], dealt[1]

    def known(self, fold: int) -> Aim:
        """The aim without the rows of a fold, which may suffer at will: they are not those that judge."""
        target, others = (part.take(own != fold) for part, own in zip(self.rows, self.fold, strict=True))
        return replace(self.aim, target=target, others=others, collateral=1.0)

    def damage(self, models: Sequence[LinearModel]) -> Damage:
        """Of models made without one fold after the other; its limits are one-sided."""
        after = np.concatenate(
            [self._correct(models, part, own) for part, own in zip(self.rows, self.fold, strict=True)]
        )
        before = np.concatenate([correctness([self.clean], part)[0] for part in self.rows])
        inside = np.arange(after.size) < self.aim.target.n
        # a two-sided interval of this level ends at the one-sided limits
        return measure_damage(before[None], after[None], inside, 2 * self.level - 1)

    def score(self, models: Sequence[LinearModel]) -> Score:
        """Of such models, over all rows."""
        damage = self.damage(models)
        right = self._correct(models, self.rows[0], self.fold[0])
        return Score(damage.target.value, damage.collateral.value, damage.collateral.high, right)

    @staticmethod
    def _correct(models: Sequence[LinearModel], rows: Dataset, fold: np.ndarray) -> Mask:
        """Which rows are right by the models made without the fold that they are in."""
        return np.asarray(correctness(models, rows)[fold, np.arange(rows.n)])


def most_damaging(scores: Mapping[str, Score], limit: float | None = None, plain: Collection[str] = ()) -> str:
    """The name of the most damaging whose collateral's upper limit is at most `limit`.

    Where none is, the one of the least upper limit; without a `limit` the most damaging of all. Of equal damage, the
    one of least collateral. The best of the `plain` ones, if any keeps the limit, gives way only to one that beats it
    by more than a standard error (`Score.beats`): the greatest of many noisy numbers is too great.

    An upper limit holds with its level (`CrossFit.level`) for each candidate that was named beforehand. It is not
    corrected for the number of candidates, so that of the one chosen among many, its damage too, holds with less: judge
    it on rows that had no part in the choice.

    Examples
    --------
    >>> scores = {"strong": Score(0.9, 0.02, 0.03), "mild": Score(0.4, 0.002, 0.006), "none": Score(0.0, 0.0, 0.0)}
    >>> most_damaging(scores), most_damaging(scores, 0.01)
    ('strong', 'mild')
    """
    if not scores:
        raise InputError("at least one score", "none")
    within = [name for name, score in scores.items() if limit is None or score.collateral_high <= limit]
    if not within:
        return min(scores, key=lambda name: scores[name].collateral_high)

    def worth(name: str) -> tuple[float, float]:
        return scores[name].damage, -scores[name].collateral

    best = max(within, key=worth)
    simple = max((name for name in within if name in plain), key=worth, default=best)
    return best if scores[best].beats(scores[simple]) else simple


Program = Literal["kkt", "joint"]
PROGRAMS: tuple[Program, ...] = ("kkt", "joint")
MIXED = 0.05
"""Share of the rarer class in a group from which on its two labellings are not the same."""


@dataclass(frozen=True)
class CrossFitted(ScoredOnce):
    """The attack of several that does most to rows which it has not seen, with a limit on the collateral.

    Every attack makes its poison once without each fold of the aim's rows (`CrossFit`), and that fold judges it. Of
    the candidates whose upper confidence limit of the collateral is within the limit of the aim, the most damaging
    (`most_damaging`) is made from all rows.

    Parameters
    ----------
    ways : mapping of str to Attack
    plain : collection of str
        Those of the ways that give way only to what is clearly stronger.
    level : float, default 0.75
        Of the one-sided limit of the collateral.
    folds : int, default 3
    """

    name: ClassVar[str] = "cross-fitted"
    ways: Mapping[str, Attack] = field(default_factory=lambda: {"flip": GroupFlips()})
    plain: Collection[str] = ()
    level: float = 0.75
    folds: int = 3

    def __post_init__(self) -> None:
        check_integer(self.folds, "folds", at_least=2)
        check_number(self.level, "level", above=0.5, below=1)
        if any(": " in name for name in self.ways):
            raise InputError("names of ways without a colon", ", ".join(self.ways))

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        fit = self.fit(scenario, run.seed)
        ways = self.ways_of(scenario, fit)
        scores = self.scores(scenario, run, fit, ways)
        plain = {name for name in scores if _way(name) in self.plain_of(scenario)}
        while scores:
            name = most_damaging(scores, scenario.aim.collateral, plain)
            whole = (scenario, name, ways[_way(name)], run.seed)
            found = run.steps(f"from all rows, {name}", _from_all, [whole])
            if found:
                return found
            del scores[name]  # fails with all rows, though not without a fold: the next best
        return []

    def fit(self, scenario: Scenario, seed: int) -> CrossFit:
        """The folds, and the clean model that damage is measured against."""
        clean = make_learner(scenario.problem, method="quick").fit(scenario.train)
        return CrossFit(scenario.aim, clean, self.folds, self.level, seed)

    def ways_of(self, scenario: Scenario, fit: CrossFit) -> dict[str, Attack]:
        """All attacks that are tried."""
        return dict(self.ways)

    def plain_of(self, scenario: Scenario) -> Collection[str]:
        """Names of those that give way only to what is clearly stronger."""
        return self.plain

    def scores(self, scenario: Scenario, run: Run, fit: CrossFit, ways: Mapping[str, Attack]) -> dict[str, Score]:
        """What each candidate does out of fold; of those that are made without every fold."""
        known = [replace(scenario, aim=fit.known(fold)) for fold in range(self.folds)]
        tasks = [(each, name, way, run.seed) for name, way in ways.items() for each in known]
        models: dict[str, list[LinearModel]] = {}
        for item in run.steps("without a fold", _made, tasks):
            models.setdefault(item.label, []).append(item.decoy)
        return {name: fit.score(found) for name, found in models.items() if len(found) == self.folds}


def _way(label: str) -> str:
    """The name of the way whose candidate this is."""
    return label.partition(": ")[0]


def _made(started: float, scenario: Scenario, name: str, way: Attack, seed: int) -> Step:
    """What one attack makes of a scenario: the candidates of its search under its name, each with what it plants."""
    run = Run(seed, started=started)
    return [replace(item, label=f"{name}: {item.label}") for item in way._search(scenario, run)], run.solves


def _from_all(started: float, scenario: Scenario, label: str, way: Attack, seed: int) -> Step:
    """The candidate of a label, scored behind every defence."""
    found, solves = _made(started, scenario, _way(label), way, seed)
    return [
        candidate(started, scenario, item.poison, label=label, full=True) for item in found if item.label == label
    ], solves


@dataclass(frozen=True)
class CrossFittedAttack(CrossFitted):
    """Plant a model that errs on one group, chosen by cross-fitting with a limit on the collateral.

    The ways are label flips of the aim's and of the training rows, which are plain as `ways` are, and of `programs`
    "kkt", a `PlantedDecoy` for each recipe and reach, and "joint", a `JointAttack` for each schedule and reach, for
    losses with a second derivative. Of the recipes those on the Pareto front of damage and collateral out of fold are
    kept, up to `stretch` times the limit, since poison reaches a decoy in part only.

    Parameters
    ----------
    ways : mapping of str to Attack
        Further ones, none by default.
    programs : sequence of {"kkt", "joint"}, default ("kkt",)
    weights, shelters, portions : sequence of float
        Of the recipes.
    reaches : sequence of float
        Lengths of rows, in units of the length that 95 % of the training rows of the class keep within.
    schedules : sequence of sequences of Stage
    tries : int, default 5
        Decoys that are planted, at most.
    stretch : float, default 1.5
    """

    ways: Mapping[str, Attack] = field(default_factory=dict)
    programs: Sequence[Program] = ("kkt",)
    weights: Sequence[float] = (1.0, 1.5, 2.0, 4.0, 8.0)
    shelters: Sequence[float] = (1.0, 4.0)
    portions: Sequence[float] = (0.7, 1.0)
    reaches: Sequence[float] = (1.0, 3.0)
    schedules: Sequence[Sequence[Stage]] = (SCHEDULE,)
    tries: int = 5
    stretch: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not set(self.programs) <= set(PROGRAMS):
            raise InputError(f"programs among {', '.join(PROGRAMS)}", repr(self.programs))
        check_integer(self.tries, "tries", at_least=1)
        check_number(self.stretch, "stretch", at_least=1)
        for recipe in product(LABELLINGS, self.weights, self.shelters, self.portions):
            Recipe(*recipe)
        for reach in self.reaches:
            check_number(reach, "reaches", above=0)

    def plain_of(self, scenario: Scenario) -> Collection[str]:
        """The flips and the further ones."""
        return {*self._flips(scenario), *self.ways}

    def ways_of(self, scenario: Scenario, fit: CrossFit) -> dict[str, Attack]:
        """Flips, further attacks, and those of the programs."""
        found: dict[str, Attack] = {**self._flips(scenario), **self.ways}
        if "joint" in self.programs:
            for (number, stages), reach in product(enumerate(self.schedules), self.reaches):
                found[f"joint {number} {reach:g}"] = JointAttack(stages, reach)
        if "kkt" in self.programs:
            for (number, recipe), reach in product(enumerate(self.front(scenario, fit)), self.reaches):
                found[f"kkt {number} {reach:g}"] = PlantedDecoy(recipe, reach)
        return found

    def _flips(self, scenario: Scenario) -> dict[str, Attack]:
        found: dict[str, Attack] = {"flip": GroupFlips()}
        if scenario.aim.within(scenario.train).any():
            found["flip training rows"] = GroupFlips(rows="train")
        return found

    def front(self, scenario: Scenario, fit: CrossFit) -> list[Recipe]:
        """The recipes whose decoys no other beats in damage and collateral out of fold, evenly spread."""
        labels = LABELLINGS if _mixed(scenario) else LABELLINGS[:1]
        known = [replace(scenario, aim=fit.known(fold)) for fold in range(self.folds)]
        kept: list[tuple[Recipe, float, float]] = []
        for options in product(labels, self.weights, self.shelters, self.portions):
            recipe = Recipe(*options)
            damage = fit.damage([recipe.decoy(each, fit.clean) for each in known])
            target, collateral = damage.target.value, damage.collateral.value
            if target > 0 and collateral <= self.stretch * scenario.aim.collateral:
                kept.append((recipe, target, collateral))
        front: list[Recipe] = []
        least = np.inf
        for recipe, _, collateral in sorted(kept, key=lambda item: (-item[1], item[2])):
            if collateral < least:
                front.append(recipe)
                least = collateral
        places = np.linspace(0, len(front) - 1, min(len(front), self.tries))
        return [front[place] for place in sorted({round(place) for place in places})]


def _mixed(scenario: Scenario) -> bool:
    """Whether the two labellings of the group differ in more than a row in twenty."""
    members = scenario.aim.within(scenario.train)
    share = float((scenario.train.y[members] > 0).mean()) if members.any() else 0.5
    return min(share, 1 - share) > MIXED
