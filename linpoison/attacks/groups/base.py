"""What attacks on one group share, and how a study of many groups uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core import ERROR, Budget, Candidate, CapabilityError, Dataset, Domain
from ...losses import Problem
from ...risk import Sample
from ...sets import Ball, ByLabel, FeasibleSet, domain_set, intersect
from ...subpopulations.matching import Subpopulation
from ..aim import Aim
from ..base import Attack
from ..run import Run
from ..scenario import Scenario

MOST = 0.95
"""Share of the rows of a class whose length is the unit of the length of poison rows."""


class GroupAttack(Attack):
    """An attack whose scenario has a group for its aim: rows to hurt, and others to spare."""

    def _check(self, scenario: Scenario) -> None:
        super()._check(scenario)
        if scenario.measure != ERROR:
            raise CapabilityError(f"the error as the measure of {self.name}", scenario.measure.name)
        scenario.aim.rest(self.name)
        scenario.aim.within(scenario.train)


class ScoredOnce(GroupAttack):
    """One whose candidates have been scored behind every defence when they were made."""

    def _ranked(self, scenario: Scenario, run: Run, found: Sequence[Candidate]) -> list[Candidate]:
        return sorted(found, key=lambda item: item.rank)


@dataclass(frozen=True, eq=False)
class Directed:
    """An attack on scenarios as `study` takes it: against one subpopulation after another, whose rows are the aim.

    Parameters
    ----------
    attack : Attack
    problem : Problem
    train : Sample
        The defender's rows, which the attacker knows.
    domain : Domain
        What a row may hold.
    collateral : float, default 0.01
        Of the aim.
    """

    attack: Attack
    problem: Problem
    train: Sample
    domain: Domain = field(default_factory=Domain.real)
    collateral: float = 0.01

    def scenario(self, auxiliary: Sample, group: Subpopulation, count: int) -> Scenario:
        """So many rows against the group, judged by the auxiliary rows."""
        train, rows = self.train.dataset(self.domain), auxiliary.dataset(self.domain)
        aim = Aim.of_group(rows, group.mask(auxiliary), self.collateral, group.mask(self.train))
        return Scenario(train, self.problem, Budget(count / train.n), {}, aim)

    def poison(self, auxiliary: Sample, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Sample:
        """See `SubpopulationAttack.poison`; the surrogate is not used."""
        rows = self.attack.run(self.scenario(auxiliary, group, count), seed=seed).poison.expanded()
        return Sample(rows.X, rows.y.astype(auxiliary.y.dtype))


def known_rows(scenario: Scenario) -> tuple[Dataset, Dataset]:
    """All rows of the group that the attacker knows, and all others of the aim: training rows first."""
    inside, aim = scenario.aim.within(scenario.train), scenario.aim
    return scenario.train.take(inside).mix(aim.target), scenario.train.take(~inside).mix(aim.rest("a group"))


def near_rows(train: Dataset, reach: float) -> ByLabel:
    """Rows of the domain no longer than `reach` times most training rows of the class."""
    return ByLabel({label: _near(train, label, reach) for label in (1, -1)})


def _near(train: Dataset, label: int, reach: float) -> FeasibleSet:
    mine = train.X[train.y == label]
    squares = mine.multiply(mine).sum(axis=1) if train.is_sparse else (mine**2).sum(axis=1)
    radius = reach * float(np.sqrt(np.quantile(np.asarray(squares).ravel(), MOST)))
    ball, domain = Ball(np.zeros(train.d), radius), domain_set(train.domain, train.d)
    return ball if domain is None else intersect(ball, domain)
