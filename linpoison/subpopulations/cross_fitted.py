"""The convex attack whose decoy and program are chosen on rows that had no part in making the poison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from ..attacks import KKTProgram
from ..core.dataset import Dataset, stack_rows
from ..core.domain import Domain
from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.validation import Array, check_integer, check_number
from ..learners import make_learner
from ..losses import Problem
from ..rounding import deploy, largest_remainder, round_balanced
from ..sets import Ball, ByLabel, FeasibleSet, domain_set, intersect
from .crossfit import Builder, CrossFit, Score, most_damaging
from .decoys import Aim
from .joint_program import JointPlan, Stage, plant_jointly
from .matching import Subpopulation
from .poisoning import LabelFlip, SubpopulationAttack
from .population import Population
from .row_ascent import climb_rows
from .row_weights import at_risk, weigh_rows

Labels = Literal["opposite", "wrong"]
Program = Literal["climb", "rows", "kkt", "joint"]
PROGRAMS: tuple[Program, ...] = ("climb", "rows", "kkt")
SMOOTH: Program = "joint"
"""Needs a loss with a second derivative, and so is not among the programs of every attack."""
SCHEDULES: tuple[tuple[Stage, ...], ...] = (
    (
        *(Stage(1.0, 0.002, 4), Stage(0.5, 0.002, 5), Stage(0.25, 0.002, 6)),
        *(Stage(0.12, 0.002, 6), Stage(0.12, 0.004, 6), Stage(0.12, 0.007, 6)),
    ),
)
"""From smooth errors, to which all rows contribute, to sharp ones; then more and more of the others may err."""
POOLS = ("group", "all")
MOST = 0.95
FLIPS = ("flip", "flip training rows")
LABELLINGS: tuple[Labels, ...] = ("opposite", "wrong")


@dataclass(frozen=True)
class Recipe:
    """How a decoy is trained.

    ::

        minimise reg/2 |theta|^2 + mean of  training loss + weight sum_G loss(x, label) + shelter sum_others loss(x, y)

    where G is the part of the subpopulation that is easiest to turn: the rows of least margin under the clean model.
    The rest of it keeps its labels, as turning it too would cost errors elsewhere.

    Parameters
    ----------
    labels : {"opposite", "wrong"}
        Of the rows in G: each the opposite of its own, or all the label that the clean model's loss is greatest
        for.
    weight, shelter : float
    portion : float, default 1.0
        Share of the subpopulation's rows in G.
    """

    labels: Labels
    weight: float
    shelter: float
    portion: float = 1.0


@dataclass(frozen=True)
class CrossFittedAttack:
    """Plant a model that errs on one subpopulation, chosen by cross-fitting with a limit on the collateral.

    1. Decoys, one for each recipe. They are judged out of fold (`CrossFit`), and the Pareto front of damage and
       collateral is kept, up to `stretch` times the limit, since poison reaches a decoy in part only.
    2. Programs: "rows" weighs flipped rows of the subpopulation and rows at risk under both labels (`weigh_rows`);
       "kkt" places rows freely in the domain (`KKTProgram`), no longer than most training rows of their class or
       a multiple of that; "climb" needs no decoy: linear programs in the weights
       of the subpopulation's rows, or of all, with retraining in between (`climb_rows`); "joint" needs none either:
       convex programs in the model and the poison at once (`plant_jointly`). Label flips are candidates too.
    3. Every candidate makes its poison without the fold that judges it. Of those whose upper confidence limit of the
       collateral is within the limit, the most damaging makes the poison from all auxiliary rows (`choose`).

    Parameters
    ----------
    problem : Problem
    train : Population
        The defender's rows, or rows like them.
    domain : Domain, optional
        What a row may hold, R^d by default.
    programs : sequence of {"climb", "rows", "kkt", "joint"}
        All but "joint" by default, which is for losses with a second derivative.
    collateral : float, default 0.01
        Greatest growth of the error outside the subpopulation, kept by the upper limit.
    level : float, default 0.75
        Of that one-sided limit.
    weights, shelters, portions : sequence of float
        Of the recipes.
    costs, shares : sequence of float
        For "climb": what an error elsewhere costs, and parts of the budget that are spent.
    reaches : sequence of float
        For "kkt" and "joint": lengths of rows, in units of the length that 95 % of the training rows of the class
        keep within.
    schedules : sequence of sequences of Stage
        For "joint": each an ascent of its own; what every stage ends with is a candidate.
    tries : int, default 5
        Decoys that are planted, at most.
    stretch : float, default 1.5
    near : int, default 300
        Rows at risk among the candidates of "rows".
    folds : int, default 3
    others : mapping of str to SubpopulationAttack
        Further candidates, that like flips give way only to what is clearly stronger.
    """

    problem: Problem
    train: Population
    domain: Domain = field(default_factory=Domain.real)
    programs: Sequence[Program] = PROGRAMS
    collateral: float = 0.01
    level: float = 0.75
    weights: Sequence[float] = (1.0, 1.5, 2.0, 4.0, 8.0)
    shelters: Sequence[float] = (1.0, 4.0)
    portions: Sequence[float] = (0.7, 1.0)
    costs: Sequence[float] = (1.0, 10.0)
    shares: Sequence[float] = (0.5, 1.0)
    reaches: Sequence[float] = (1.0, 3.0)
    schedules: Sequence[Sequence[Stage]] = SCHEDULES
    tries: int = 5
    stretch: float = 1.5
    near: int = 300
    folds: int = 3
    others: Mapping[str, SubpopulationAttack] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = (*PROGRAMS, SMOOTH)
        if not set(self.programs) <= set(known):
            raise InputError(f"programs among {', '.join(known)}", repr(self.programs))
        check_number(self.collateral, "collateral", at_least=0, at_most=1, remedy="It is a share: 0.01 means 1 %.")
        check_integer(self.tries, "tries", at_least=1)
        check_number(self.stretch, "stretch", at_least=1)
        for name in ("weights", "shelters", "costs"):
            for value in getattr(self, name):
                check_number(value, name, at_least=0)
        for length in self.reaches:
            check_number(length, "reaches", above=0)
        for name in ("shares", "portions"):
            for share in getattr(self, name):
                check_number(share, name, above=0, at_most=1)

    def poison(self, auxiliary: Population, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Population:
        """See `SubpopulationAttack.poison`."""
        builders, scores = self.candidates(auxiliary, group, count, surrogate, seed)
        while True:
            name = self.choose(scores)
            try:
                return builders[name](auxiliary)
            except (SolverFailed, InfeasibleSet):  # with all rows, though not without a fold: the next best
                del scores[name]

    def choose(self, scores: Mapping[str, Score]) -> str:
        """Who is planted: the best of flips and `others`, unless another is clearly stronger."""
        return most_damaging(scores, self.collateral, plain={*FLIPS, *self.others})

    def candidates(
        self, auxiliary: Population, group: Subpopulation, count: int, surrogate: Any, seed: int
    ) -> tuple[dict[str, Builder], dict[str, Score]]:
        """All ways to make the poison that are tried, and their scores out of fold."""
        check_integer(count, "count", at_least=1)
        plan = _Plan(self, group, count, seed)
        fit = CrossFit(self.train, auxiliary, group, self.problem, self.folds, self.level, seed)
        flip = LabelFlip()
        builders: dict[str, Builder] = {
            FLIPS[0]: lambda rows: flip.poison(rows, group, count, surrogate, seed),
        }
        if plan.members.any():
            builders[FLIPS[1]] = lambda rows: flip.poison(self.train, group, count, surrogate, seed)
        for name, other in self.others.items():
            builders[name] = partial(other.poison, group=group, count=count, surrogate=surrogate, seed=seed)
        for shelter, pool, share in product(self.costs, POOLS, self.shares if "climb" in self.programs else ()):
            builders[f"climb {shelter:g} {pool} {share:g}"] = partial(plan.climbed, shelter, pool, share)
        for number, reach in product(range(len(self.schedules) if SMOOTH in self.programs else 0), self.reaches):
            for place, stage in enumerate(self.schedules[number]):
                name = f"joint {number} {stage.temperature:g} {stage.collateral:g} {reach:g}"
                if name in builders:  # stages that differ in their rounds alone
                    name += f" ({place})"
                builders[name] = partial(plan.joint, number, place, reach)
        planted = [name for name in self.programs if name not in ("climb", SMOOTH)]
        for recipe in plan.front(fit) if planted else ():
            for program in planted:
                for reach in self.reaches if program == "kkt" else (1.0,):
                    name = (
                        f"{program} {recipe.labels} {recipe.weight:g} {recipe.shelter:g} {recipe.portion:g} {reach:g}"
                    )
                    builders[name] = partial(plan.poison, recipe, program, reach)
        return builders, self._scores(builders, fit)

    @staticmethod
    def _scores(builders: Mapping[str, Builder], fit: CrossFit) -> dict[str, Score]:
        """Of those that make poison at all."""
        scores = {}
        for name, build in builders.items():
            with suppress(SolverFailed, InfeasibleSet):
                scores[name] = fit.score(build)
        return scores


class _Plan:
    """The attack on one subpopulation."""

    def __init__(self, attack: CrossFittedAttack, group: Subpopulation, count: int, seed: int) -> None:
        self.attack, self.group, self.count, self.seed = attack, group, count, seed
        self.learner = make_learner(attack.problem, method="quick")
        self.train = replace(attack.train.dataset(), domain=attack.domain)
        self.clean = self.learner.fit(self.train)
        self.members = group.mask(attack.train)
        self._decoys: dict[tuple[Recipe, int], tuple[Population, LinearModel]] = {}  # keeps the rows, so that ids last
        self._ascents: dict[tuple[int, float, int], tuple[Population, list[JointPlan]]] = {}

    def decoy(self, recipe: Recipe, rows: Population) -> LinearModel:
        """Trained from these auxiliary rows and the training rows, once for each population."""
        if (recipe, id(rows)) not in self._decoys:
            self._decoys[recipe, id(rows)] = rows, self._trained(recipe, rows)
        return self._decoys[recipe, id(rows)][1]

    def _trained(self, recipe: Recipe, rows: Population) -> LinearModel:
        data, mask = replace(rows.dataset(), domain=self.attack.domain), self.group.mask(rows)
        base, others = self.train, data.take(~mask)
        if recipe.shelter:
            base = base.mix(replace(others, weight=recipe.shelter * others.weight))
        target = self.train.take(self.members).mix(data.take(mask))
        margins = self.clean.margins(target)
        easy = margins <= np.quantile(margins, recipe.portion)
        if not easy.all():
            base = base.mix(target.take(~easy))
        target = target.take(easy)
        flipped = Dataset(target.X, self._labels(recipe.labels, target), recipe.weight * target.weight)
        return self.learner.fit(base.mix(flipped))

    def _labels(self, labels: Labels, target: Dataset) -> Array:
        if labels == "opposite":
            return -target.y
        scores, loss = self.clean.decision_function(target.X), self.attack.problem.loss
        return np.full(target.n, max((-1.0, 1.0), key=lambda label: float(loss.value(label * scores).mean())))

    def front(self, fit: CrossFit) -> list[Recipe]:
        """The recipes whose decoys no other beats in damage and collateral out of fold, evenly spread."""
        attack = self.attack
        options = product(
            LABELLINGS if self._mixed() else LABELLINGS[:1], attack.weights, attack.shelters, attack.portions
        )
        recipes = [Recipe(*option) for option in options if option[1] > 0]
        found = [(self._growth(recipe, fit), recipe) for recipe in recipes]
        within = [item for item in found if item[0][0] > 0 and item[0][1] <= attack.stretch * attack.collateral]
        kept: list[Recipe] = []
        least = np.inf
        for (_, collateral), recipe in sorted(within, key=lambda item: (-item[0][0], item[0][1])):
            if collateral < least:
                kept.append(recipe)
                least = collateral
        places = np.linspace(0, len(kept) - 1, min(len(kept), attack.tries))
        return [kept[place] for place in sorted({round(place) for place in places})]

    def _mixed(self) -> bool:
        """Whether the two labellings of the subpopulation differ in more than a row in twenty."""
        share = float((self.train.y[self.members] > 0).mean()) if self.members.any() else 0.5
        return min(share, 1 - share) > 0.05

    def _growth(self, recipe: Recipe, fit: CrossFit) -> tuple[float, float]:
        """Growth of the error on the subpopulation and elsewhere, of decoys judged out of fold."""
        damage = fit.drops(lambda known: self.decoy(recipe, known))
        return damage.target.value, damage.collateral.value

    def poison(self, recipe: Recipe, program: Program, reach: float, rows: Population) -> Population:
        """Whole rows, at most `count`."""
        decoy = self.decoy(recipe, rows)
        found = self._rows(decoy, rows) if program == "rows" else self._kkt(decoy, rows, reach)
        expanded = found.expanded()
        return Population(expanded.X, expanded.y.astype(rows.y.dtype))

    def joint(self, number: int, place: int, reach: float, rows: Population) -> Population:
        """What a stage of a schedule ends with, by `plant_jointly`; each schedule runs once for each population."""
        if (number, reach, id(rows)) not in self._ascents:
            self._ascents[number, reach, id(rows)] = rows, self._ascended(number, reach, rows)
        relaxed, domain = self._ascents[number, reach, id(rows)][1][place].poison, self.train.domain
        if not relaxed.total:
            raise SolverFailed("expected poison that does damage, got none.")
        rng, sparse = np.random.default_rng(self.seed), self.train.is_sparse
        expanded = deploy(relaxed, self.count, domain, rng, sparse=sparse).expanded()
        return Population(expanded.X, expanded.y.astype(rows.y.dtype))

    def _ascended(self, number: int, reach: float, rows: Population) -> list[JointPlan]:
        attack = self.attack
        data, mask = replace(rows.dataset(), domain=attack.domain), self.group.mask(rows)
        target, others = (self.train.take(part).mix(data.take(side)) for part, side in
                          ((self.members, mask), (~self.members, ~mask)))  # fmt: skip
        sets = ByLabel({label: self._near(label, reach) for label in (1, -1)})
        stages, problem = attack.schedules[number], attack.problem
        return plant_jointly(self.train, problem, sets, Aim(target, others), self.count, stages, learner=self.learner)

    def _rows(self, decoy: LinearModel, rows: Population) -> Poison:
        data, mask = rows.dataset(), self.group.mask(rows)
        target = self.train.take(self.members).mix(data.take(mask))
        others = at_risk(self.clean, decoy, self.train.take(~self.members).mix(data.take(~mask)), self.attack.near)
        both = target.mix(others)
        labels = np.repeat([1.0, -1.0], both.n)
        rows_of_both = Dataset(stack_rows(both.X, both.X), labels, domain=self.attack.domain)
        relaxed = weigh_rows(decoy, self.train, self.attack.problem, rows_of_both, self.count).poison
        total = min(self.count, max(round(relaxed.total), 1))
        return Poison(relaxed.X, relaxed.y, largest_remainder(relaxed.count, total)).merged()

    def climbed(self, shelter: float, reach: str, share: float, rows: Population) -> Population:
        """A share of the budget, by `climb_rows`."""
        data, mask = replace(rows.dataset(), domain=self.attack.domain), self.group.mask(rows)
        target, others = self.train.take(self.members).mix(data.take(mask)), data.take(~mask)
        both = target if reach == "group" else target.mix(others)
        candidates = Dataset(stack_rows(both.X, both.X), np.repeat([1.0, -1.0], both.n), domain=self.attack.domain)
        count = max(round(share * self.count), 1)
        problem, aim = self.attack.problem, Aim(target, others)
        found = climb_rows(self.train, problem, aim, candidates, count, shelter=shelter, learner=self.learner)
        expanded = found.expanded()
        return Population(expanded.X, expanded.y.astype(rows.y.dtype))

    def _kkt(self, decoy: LinearModel, rows: Population, reach: float) -> Poison:
        attack, train = self.attack, self.train
        sets = ByLabel({label: self._near(label, reach) for label in (1, -1)})
        relaxed = KKTProgram().solve(decoy, train, attack.problem, sets, self.count / train.total).poison
        if not train.domain.integral:
            return deploy(relaxed, self.count, train.domain, np.random.default_rng(self.seed), sparse=train.is_sparse)
        total = min(self.count, max(round(relaxed.total), 1))
        made, labels = [], []
        points = relaxed.X.toarray() if sp.issparse(relaxed.X) else np.asarray(relaxed.X)
        for point, label, copies in zip(points, relaxed.y, largest_remainder(relaxed.count, total), strict=True):
            if copies:
                made.append(sp.csr_array(round_balanced(train.domain.clip(point), int(copies), label * decoy.coef)))
                labels += [label] * int(copies)
        X = sp.csr_array(sp.vstack(made))
        return Poison(X if train.is_sparse else X.toarray(), np.array(labels), np.ones(len(labels)))

    def _near(self, label: int, reach: float) -> FeasibleSet:
        """Rows of the domain no longer than `reach` times most training rows of the class."""
        train = self.train
        mine = train.X[train.y == label]
        squares = mine.multiply(mine).sum(axis=1) if train.is_sparse else (mine**2).sum(axis=1)
        radius = reach * float(np.sqrt(np.quantile(np.asarray(squares).ravel(), MOST)))
        ball, domain = Ball(np.zeros(train.d), radius), domain_set(train.domain, train.d)
        return ball if domain is None else intersect(ball, domain)
