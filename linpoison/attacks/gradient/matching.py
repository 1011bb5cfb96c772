"""Poison made at fixed parameters: gradient optimisation, influence, gradient matching."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ...core import check_among, check_integer
from ...core.results import Candidate
from ...core.validation import Array
from ...risk.arrays import movable, to_numpy
from ...risk.descent import Optimiser, Progress, ProjectedGradient, silent
from ...risk.fields import Align, Match, PoisonObjective
from ...risk.implicit import hessian
from ...risk.projections import Everywhere
from ...risk.protocols import InverseHVP, Projection, Risk, Solution, Vector
from ...risk.ranks import Alone
from ...risk.samples import Sample
from ...risk.solvers import Identity
from ..base import Attack
from ..run import Middle, Run, Step
from ..scenario import Scenario
from .stage import Stage, steps_of_draws


@dataclass(frozen=True, eq=False)
class Crafted:
    """Poison made at fixed parameters.

    Parameters
    ----------
    poison : Sample
    history : ndarray
        Values of the objective at the start and after each step.
    solution : Solution or None
        Of the linear system, if there was one.
    """

    poison: Sample
    history: Array
    solution: Solution | None


class Crafting(Attack):
    """Rows are moved while the model that the defender learns from clean rows is held fixed."""

    many_classes: ClassVar[bool] = True
    optimiser: Optimiser
    projection: Projection
    labels: Literal["true", "adversary"]
    draws: int

    def __post_init__(self) -> None:
        sign_of(self.labels)
        check_integer(self.draws, "draws", at_least=1)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """One descent for each draw of clean rows to begin with; the attacker wants the next best label."""
        return steps_of_draws(self, crafted, scenario, run)

    def first_rows(self, stage: Stage, seed: int) -> Sample:
        return stage.drawn(seed)

    @abstractmethod
    def wanted(self, risk: Risk, w: Vector, train: Sample, target: Sample) -> tuple[Any, Solution | None]:
        """What is wanted of the poison's gradient, and the linear system behind it, if there is one."""

    def craft(
        self, risk: Risk, w: Vector, train: Sample, seeds: Sample, target: Sample, *, progress: Progress = silent
    ) -> Crafted:
        """Move `seeds`, which keep their labels, against the loss of `target`.

        Parameters
        ----------
        risk : Risk
        w : Vector
            The model, learned on `train`.
        train : Sample
            Rows of the Hessian, if there is one.
        seeds : Sample
            Poison rows to begin with.
        target : Sample
            Rows whose loss is to grow (labels "true") or to fall ("adversary").
        """
        field_, solution = self.wanted(risk, w, train, target)
        rows = seeds.take(range(seeds.n))
        held = risk.held(rows)
        objective = PoisonObjective(risk, w, field_, held.y, held.mass / held.total)
        start = self.projection.project(movable(held.X))
        found = self.optimiser.minimise(
            objective, start, self.projection, tol=-np.inf, ranks=Alone(), progress=progress
        )
        return Crafted(Sample(found.X, rows.y, rows.mass), found.history, solution)


@dataclass(frozen=True)
class FixedModelAttack(Crafting):
    """Move poison rows, the model held fixed, so that a step of training on them raises the loss of other rows.

    ::

        minimise_(Z)  s sum_j a_j <u, d/dw l(z_j, y_j; w)>,     H u = grad L_t(w),     a_j = c_j / sum c

    with ``s = 1`` where the target rows carry their true labels, and ``s = -1`` where they carry labels that the
    attacker wants. `solver` Identity is gradient optimisation, any other an influence attack.

    The published objective of gradient optimisation maximises the inner product, which is right for the
    attacker's labels only; published code minimises, with true labels.

    Parameters
    ----------
    solver : InverseHVP, default Identity()
    optimiser : Optimiser, default ProjectedGradient(steps=50)
    projection : Projection, default Everywhere()
        The objective has no lower bound on rows that may lie anywhere.
    labels : {"true", "adversary"}, default "true"
    draws : int, default 1
        Of a scenario: sets of clean rows to begin with; the best poison is kept.

    References
    ----------
    Jagielski et al., "Subpopulation data poisoning attacks", 2021, section 4.3; Koh, Liang (2017), section 5.2.
    """

    name: ClassVar[str] = "fixed-model"
    solver: InverseHVP = field(default_factory=Identity)
    optimiser: Optimiser = field(default_factory=lambda: ProjectedGradient(steps=50))
    projection: Projection = field(default_factory=Everywhere)
    labels: Literal["true", "adversary"] = "true"
    draws: int = 1

    def wanted(self, risk: Risk, w: Vector, train: Sample, target: Sample) -> tuple[Any, Solution | None]:
        """``s u``."""
        slope = risk.data_grad(w, target.X, target.y, target.weights)
        products = hessian(risk, w, train, gauss_newton=self.solver.gauss_newton)
        solution = self.solver.solve(products, slope)
        return Align(sign_of(self.labels) * solution.x), solution


@dataclass(frozen=True)
class GradientMatching(Crafting):
    """Move poison rows, the model held fixed, until their gradient points the way of the attacker's.

    ::

        minimise_(Z)  1 - cos( sum_j a_j d/dw l(z_j, y_j; w),  s grad L_t(w) )

    with ``s = 1`` where the target rows carry labels that the attacker wants, and ``s = -1`` for true labels.

    Parameters
    ----------
    optimiser, projection, labels, draws
        As for `FixedModelAttack`; labels are "adversary" by default.

    References
    ----------
    Geiping et al., "Witches' Brew", 2021, equation (3).
    """

    name: ClassVar[str] = "gradient-matching"
    optimiser: Optimiser = field(default_factory=lambda: ProjectedGradient(steps=250))
    projection: Projection = field(default_factory=Everywhere)
    labels: Literal["true", "adversary"] = "adversary"
    draws: int = 1

    def wanted(self, risk: Risk, w: Vector, train: Sample, target: Sample) -> tuple[Any, Solution | None]:
        """``s grad L_t(w)``."""
        return Match(-sign_of(self.labels) * risk.data_grad(w, target.X, target.y, target.weights)), None


def crafted(started: float, attack: Crafting, stage: Stage, middle: Middle, seed: int) -> Step:
    """One descent from clean rows."""
    target = stage.target if attack.labels == "true" else wanted_rows(stage)
    found = replace(attack, projection=stage.within(attack.projection)).craft(  # type: ignore[type-var]
        stage.risk, stage.w, stage.train, attack.first_rows(stage, seed), target,
        progress=lambda step, value: middle.say(step, attack.optimiser.steps, attack.name),
    )  # fmt: skip
    return stage.step(started, found.poison, seed, f"{len(found.history) - 1} steps from clean rows")


def wanted_rows(stage: Stage) -> Sample:
    """The rows to be misclassified with the labels that the attacker wants: of the others the most likely."""
    rows = stage.target
    if stage.risk.margin_loss is not None:
        return Sample(rows.X, -rows.y, rows.weights)
    scores = to_numpy(stage.risk.scores(stage.w, rows.X))
    scores[np.arange(rows.n), rows.y] = -np.inf
    return Sample(rows.X, scores.argmax(axis=1), rows.weights)


def sign_of(labels: str) -> float:
    """1 for the true labels of rows whose loss is to grow, -1 for labels that the attacker wants of them."""
    check_among(labels, "labels", "true", "adversary")
    return 1.0 if labels == "true" else -1.0
