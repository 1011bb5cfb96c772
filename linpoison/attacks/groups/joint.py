"""The model to be planted and the poison that plants it, found by one convex program after the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...core import (
    Candidate,
    CapabilityError,
    Dataset,
    InfeasibleSet,
    InputError,
    LinearModel,
    Poison,
    SolverFailed,
    check_integer,
    check_number,
)
from ...influence import SoftError
from ...learners import Learner, make_learner
from ...losses import Problem
from ...rounding import deploy
from ...sets import ByLabel
from ..aim import Aim
from ..joint_step import Goal, JointStep, Planted
from ..ranking import candidate
from ..run import Run, Step, skipped
from ..scenario import Scenario
from .base import GroupAttack, known_rows, near_rows

PENALTY = 30.0
"""What an error elsewhere costs beyond the limit, in errors on the target (both as shares)."""
FIRST, LEAST = 0.05, 2e-3
"""Radius of the trust region at the start of a stage, and below which the stage ends."""
GROW, SHRINK = 1.5, 0.35
"""What the radius is multiplied with after a step that was taken, and after one that was not."""


@dataclass(frozen=True)
class Stage:
    """Part of the ascent.

    Parameters
    ----------
    temperature : float
        T in ``sigma(-margin / T)``, which stands for an error. The smaller, the nearer to the true errors, and the
        fewer rows still pull.
    collateral : float
        Limit of the growth of the smoothed error elsewhere.
    rounds : int, default 8
        Convex programs.
    """

    temperature: float
    collateral: float
    rounds: int = 8

    def __post_init__(self) -> None:
        check_number(self.temperature, "temperature", above=0)
        check_number(self.collateral, "collateral", at_least=0, at_most=1, remedy="It is a share: 0.01 means 1 %.")
        check_integer(self.rounds, "rounds", at_least=1)


@dataclass(frozen=True, eq=False)
class JointPlan:
    """What a stage ended with.

    Parameters
    ----------
    poison : Poison
        At most one row of each class; `count` in rows, not yet whole.
    model : LinearModel
        Learned from the training rows and the poison.
    target_damage, collateral : float
        Growth of the smoothed errors, at the temperature of the stage.
    """

    poison: Poison
    model: LinearModel
    target_damage: float
    collateral: float


def plant_jointly(
    train: Dataset,
    problem: Problem,
    sets: ByLabel,
    aim: Aim,
    count: int,
    stages: Sequence[Stage],
    *,
    learner: Learner | None = None,
) -> list[JointPlan]:
    """Poison that raises the error on a target, by convex programs in the model *and* the poison.

    At the model theta that the last poison has planted, with g the gradient of the clean losses,
    ``c(e) = (1 + e) reg`` (`reg` under sum scaling) and ``H = g' + c(e0)`` for a last poison of mass ``e0`` per clean
    row, each program is

    ::

        maximise    < grad E_target, D >  -  penalty max(0, E_others - clean E_others + < grad E_others, D > - limit)
        subject to  g + c(e) theta + H D = sum_y y (u_y, w_y),        |D|_H <= radius
                    (u_y, w_y) in cone(F_y),  w_y / psi(m_y) <= e_y,  e_+ + e_- <= count / n

    over the step D, the points ``x_y = u_y / w_y`` and their weights, where E is the mean of ``sigma(-margin / T)``,
    and ``m_y`` the margin of ``x_y`` at the model after the step, to first order. A decoy that is trained first and
    planted afterwards (`KKTProgram`) is out of reach where the budget binds, as it does for the logistic loss; here
    every model that is considered can be planted. The model that is learned with the poison of the solution is taken
    if it is better in the smoothed errors themselves; if it is not, the radius shrinks. Under mean scaling the term
    ``(e - e0) reg D`` is left out, which the radius makes small with D, but not beside D: a new poison of another mass
    ends a little off its model where `reg` is large.

    Parameters
    ----------
    train : Dataset
        Clean rows of few enough columns for a dense matrix of that size.
    problem : Problem
        With a loss that has a second derivative.
    sets : ByLabel
        Where the rows of each class may lie.
    aim : Aim
        The rows that damage and collateral are measured on.
    count : int
        Rows at most.
    stages : sequence of Stage
        One after the other, each from where the last one ended.
    learner : Learner, optional
        Of `problem`; the library's own by default.

    Returns
    -------
    list of JointPlan
        One for each stage.

    Raises
    ------
    CapabilityError
        If the loss has a kink.
    SolverFailed
        If the columns are too far from each other in scale, for so little `reg`, to factorise the Hessian.

    References
    ----------
    No paper states this attack. The optimality condition is that of Koh, Steinhardt, Liang, section 4.2, equation (16);
    sequences of programs with a trust region: Nocedal, Wright, Numerical optimization (2006), chapter 18.

    Examples
    --------
    >>> from linpoison.losses import Logistic
    >>> from linpoison.sets import Ball
    >>> train = Dataset([[2.0], [1.0], [-1.0], [-2.0]], [1, 1, -1, -1])
    >>> sets = ByLabel({label: Ball(np.zeros(1), 2.0) for label in (1, -1)})
    >>> aim = Aim(train.take([1]), others=train.take([0, 2, 3]))
    >>> plan = plant_jointly(train, Problem(Logistic(), 0.1), sets, aim, 1, [Stage(0.5, 0.2)])[0]
    >>> bool(plan.target_damage > 0.1), bool(plan.collateral < 0.21), bool(plan.poison.total <= 1)
    (True, True, True)
    """
    _check_curved(problem)
    _check_stages(stages)
    check_integer(count, "count", at_least=1)
    search = _Ascent(train, problem, sets, aim, count, learner or make_learner(problem))
    return [search.run(stage) for stage in stages]


def _check_curved(problem: Problem) -> None:
    if problem.loss.kink is not None:
        raise CapabilityError("a loss with a second derivative", problem.loss.name, "Plant decoys: PlantedDecoy.")


def _check_stages(stages: Sequence[Stage]) -> None:
    if not stages:
        raise InputError("at least one stage", "none")


class _Ascent:
    """The models and their poisons, one after the other."""

    def __init__(self, train: Dataset, problem: Problem, sets: ByLabel, aim: Aim, count: int, learner: Learner) -> None:
        self.sets, self.aim, self.count, self.learner = sets, aim, count, learner
        self.others = aim.rest("plant_jointly")
        self.clean = learner.fit(train)
        self.planted = Planted(train, problem, self.clean, Poison(np.zeros((0, train.d)), np.zeros(0), np.zeros(0)))

    def run(self, stage: Stage) -> JointPlan:
        """The best poison after some rounds."""
        radius, merit = FIRST, self._merit(self.planted.model, stage)
        for _ in range(stage.rounds):
            planted = self._proposed(stage, radius)
            if planted is not None:
                reached = self._merit(planted.model, stage)
                if reached > merit:
                    self.planted, merit = planted, reached
                    radius *= GROW
                    continue
            radius *= SHRINK
            if radius < LEAST:
                break
        return JointPlan(self.planted.poison, self.planted.model, *self.growth(self.planted.model, stage))

    def growth(self, model: LinearModel, stage: Stage) -> tuple[float, float]:
        """Of the smoothed errors on the target and elsewhere, against the clean model."""
        target, others = (
            SoftError(rows, stage.temperature).value(model) - SoftError(rows, stage.temperature).value(self.clean)
            for rows in (self.aim.target, self.others)
        )
        return target, others

    def _merit(self, model: LinearModel, stage: Stage) -> float:
        damage, collateral = self.growth(model, stage)
        return damage - PENALTY * max(0.0, collateral - stage.collateral)

    def _proposed(self, stage: Stage, radius: float) -> Planted | None:
        """What the poison of one program plants; None where the solver fails or nothing pulls."""
        step, poison = self.step(stage, radius), None
        with suppress(SolverFailed, InfeasibleSet):
            poison = step.solve()
        if poison is None:
            return None
        train = self.planted.train
        model = self.learner.fit(train.mix(poison.as_dataset(train.domain)), start=self.planted.model)
        return replace(self.planted, model=model, poison=poison)

    def step(self, stage: Stage, radius: float) -> JointStep:
        """The program at the model of now."""
        model = self.planted.model
        gains = SoftError(self.aim.target, stage.temperature).gradient(model)
        costs = SoftError(self.others, stage.temperature).gradient(model)
        room = stage.collateral - self.growth(model, stage)[1]
        return JointStep(self.planted, self.sets, self.count, Goal(gains, costs, room, PENALTY), radius)


SCHEDULE = (
    *(Stage(1.0, 0.002, 4), Stage(0.5, 0.002, 5), Stage(0.25, 0.002, 6)),
    *(Stage(0.12, 0.002, 6), Stage(0.12, 0.004, 6), Stage(0.12, 0.007, 6)),
)
"""From smooth errors, to which all rows contribute, to sharp ones; then more and more of the others may err."""


@dataclass(frozen=True)
class JointAttack(GroupAttack):
    """`plant_jointly` on a scenario: what every stage ends with is a candidate.

    The damage is that to the rows of the aim and to those training rows that are in the group.

    Parameters
    ----------
    stages : sequence of Stage
    reach : float, default 3.0
        Length of rows, in units of the length that 95 % of the training rows of the class keep within.
    """

    name: ClassVar[str] = "group-joint"
    stages: Sequence[Stage] = SCHEDULE
    reach: float = 3.0

    def __post_init__(self) -> None:
        check_number(self.reach, "reach", above=0)
        _check_stages(self.stages)

    def _check(self, scenario: Scenario) -> None:
        super()._check(scenario)
        _check_curved(scenario.problem)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        return run.steps("joint programs", _candidates, [(scenario, self, run.seed)])


def _candidates(started: float, scenario: Scenario, attack: JointAttack, seed: int) -> Step:
    """One for each stage that found a poison, under the numbers of the stage."""
    train, problem = scenario.train, scenario.problem
    target, others = known_rows(scenario)
    sets, aim = near_rows(train, attack.reach), Aim(target, others=others)
    try:
        plans = plant_jointly(
            train, problem, sets, aim, scenario.n_poison, attack.stages, learner=make_learner(problem, method="quick")
        )
    except (SolverFailed, InfeasibleSet) as error:
        return skipped(error)
    found, names = [], set[str]()
    for place, (stage, plan) in enumerate(zip(attack.stages, plans, strict=True)):
        name = f"{stage.temperature:g} {stage.collateral:g}"
        name += f" ({place})" if name in names else ""  # stages that differ in their rounds alone
        names.add(name)
        if plan.poison.total:
            rng = np.random.default_rng(seed)
            poison = deploy(plan.poison, scenario.n_poison, train.domain, rng, sparse=train.is_sparse)
            found.append(candidate(started, scenario, poison, label=name))
    return found, []
