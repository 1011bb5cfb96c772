"""What an attack by derivatives is given of a scenario: the learner's risk, and what it learns from clean rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...core.poison import Poison
from ...core.results import Candidate, SolveInfo
from ...risk.arrays import norm
from ...risk.protocols import Projection, Risk, Vector
from ...risk.samples import Sample
from ...risk.views import View
from ..ranking import roundings, strongest
from ..run import Run, Step
from ..scenario import Scenario


@dataclass(frozen=True, eq=False)
class Stage:
    """A scenario as attacks by derivatives see it, whatever its learner learns.

    Parameters
    ----------
    scenario : Scenario
    """

    scenario: Scenario

    @cached_property
    def view(self) -> View:
        """Of the defender's learner."""
        return self.scenario.defender.learner.view(self.scenario.train)

    @property
    def risk(self) -> Risk:
        """What the learner minimises."""
        return self.view.risk

    @cached_property
    def train(self) -> Sample:
        """The clean rows, of the kind of the risk."""
        found = self.view.sample(self.scenario.train)
        return Sample(self.risk.rows(found.X), found.y, found.weights)

    @cached_property
    def target(self) -> Sample:
        """The rows to be misclassified."""
        return self.view.sample(self.scenario.target)

    @cached_property
    def w(self) -> Vector:
        """What the defender learns from the clean rows."""
        return self.view.vector(self.scenario.defender.learner.fit(self.scenario.train))

    def drawn(self, seed: int, rows: int | None = None) -> Sample:
        """Clean rows to begin with, as many as the budget buys unless told, of one copy each."""
        return self.train.drawn(self.scenario.n_poison if rows is None else rows, seed)

    def within(self, projection: Projection) -> Projection:
        """The rows of a projection that the domain holds."""
        return self.view.within(self.scenario.train.domain, projection)

    def step(
        self, started: float, found: Sample, seed: int, label: str, *, target: Vector | None = None, **facts: Any
    ) -> Step:
        """The best deployable version of rows that an attack found, and how far from a target it ends."""
        domain = self.scenario.train.domain
        relaxed = self.view.poison(found, domain)
        rounded = roundings(self.scenario, relaxed, None, np.random.default_rng(seed))
        best = strongest(started, self.scenario, rounded, label=label, relaxed=relaxed, violation=0.0, **facts)
        info = SolveInfo("descent", "optimal_inaccurate", facts.get("residual", float("nan")), _seconds(best))
        if best is not None and target is not None:
            best = replace(best, distance=norm(self.learned(best.poison) - target))
        return ([] if best is None else [best]), [info]

    def learned(self, poison: Poison) -> Vector:
        """What the defender learns with a poison, undefended."""
        mixed = self.scenario.train.mix(poison.expanded())
        return self.view.vector(self.scenario.defender.learner.fit(mixed))

    def moved(self, w: Vector) -> float:
        """How far parameters are from the clean ones."""
        return norm(w - self.w)


def seeds_of(seed: int, draws: int) -> Iterator[int]:
    """The seeds of several draws: of the first the seed itself."""
    yield seed
    yield from (int(np.random.SeedSequence([seed, draw]).generate_state(1)[0]) for draw in range(1, draws))


def steps_of_draws(attack: Any, step: Callable[..., Step], scenario: Scenario, run: Run) -> list[Candidate]:
    """A step for each of the ``attack.draws``, given the attack, the stage, the middle of the run and a seed."""
    stage, middle = Stage(scenario), run.middle(attack.name, attack.draws)
    return run.steps(attack.name, step, [(attack, stage, middle, seed) for seed in seeds_of(run.seed, attack.draws)])


def _seconds(found: Candidate | None) -> float:
    return 0.0 if found is None else found.seconds
