"""One setting of a defender against attacks from cheap to dear, and the strongest poison so far."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..attacks.deadline import CUT, Deadline
from ..attacks.scenario import Scenario
from ..core import Budget, Poison, worst_case
from ..core.journal import FolderJournal
from ..learners.base import LearnerWarning
from ..reporting.findings import ALL
from .bracket import build_bracket
from .campaign import Campaign, Task
from .damage import filter_of
from .domains import settings_of
from .inputs import Setting
from .options import AuditOptions
from .plan import make_plan
from .pool import TRIES, Pool
from .target import Target
from .trusted import trusted

FEW = ("random-flips", "alfa", "breakdown")
"""Attacks of the portfolio that come first: flips, and far rows."""


@dataclass(frozen=True, eq=False)
class Strongest:
    """A poison and what it does behind the filter that holds best against it."""

    poison: Poison
    attack: str
    filter: str
    seen: float
    unseen: float

    @property
    def error(self) -> float:
        """The greater of both."""
        return max(self.seen, self.unseen)


@dataclass(eq=False)
class Contest:
    """The attacks on one setting.

    Parameters
    ----------
    setting : Setting
        With the training rows, problem and defences of one candidate.
    scenarios : mapping of str to Scenario
        By domain, the widest first.
    pool : Pool
        Scores what is found on the rows seen and unseen.
    campaign : Campaign
    first, rest : sequence of Task
        Attacks by cost. Those that are made for one of several filters are left out: a setting is judged by the filter
        that holds best.
    best : Strongest or None
        The most that was done so far; of equals the first.
    cut : bool
        Whether some attack was ended by the time limit.
    """

    setting: Setting
    scenarios: Mapping[str, Scenario]
    pool: Pool
    campaign: Campaign
    first: Sequence[Task]
    rest: Sequence[Task]
    best: Strongest | None = None
    cut: bool = False
    _judged: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, setting: Setting, options: AuditOptions, n_poison: int, journal: FolderJournal | None) -> Contest:
        """The contest of a setting; its attacks look at the rows of the target of `options`."""
        target, budget, scenarios = Target.parse(options.target), Budget(n_poison / setting.split.train.n), {}
        for domain, one in settings_of(setting, options.domain).items():
            aim = target.rows(one.split, options.seed, one.measure).aim
            scenarios[domain] = Scenario(
                one.split.train, one.problem, budget, one.defenses, aim, learner=one.own, defender=one.defender
            )
        tasks = [task for task in make_plan(options, scenarios).tasks if not task.alone]
        first = [task for task in tasks if task.name in FEW and not task.onward]
        rows = target.rows(setting.split, options.seed, setting.measure)
        campaign = Campaign(options.seed, int(options.jobs or 1), tolerant=True, journal=journal)
        rest = [task for task in tasks if task not in first]
        return cls(setting, scenarios, Pool(setting.defender, rows), campaign, first, rest)

    def meets(self, poisons: Iterable[tuple[str, Poison]], until: Deadline | None = None) -> bool:
        """Score poisons that are there already, one at least; returns whether there was time for all of them."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", LearnerWarning)
            for name, poison in poisons:
                if until is not None and until.over and self.best is not None:
                    return False
                try:
                    self._count(name, poison)
                except LearnerWarning:  # a fit that misses its optimum says nothing
                    continue
        return True

    def attacked(self, tasks: Sequence[Task], campaign: Campaign) -> None:
        """Run attacks, and score what they find.

        Raises
        ------
        SolverFailed
            If none has found anything, nor had any before.
        """
        if tasks:
            campaign.run(tasks)
        for task in tasks:
            result = campaign.results.get(task.key)
            if result is None or task.key in self._judged:
                continue
            self._judged.add(task.key)
            self.cut = self.cut or CUT in result.info
            ranked = sorted((result.best, *result.candidates), key=lambda item: -item.worst)
            for item in ranked[:TRIES]:
                self._count(task.name, item.poison)
        self.cut = self.cut or bool(campaign.late)

    def _count(self, attack: str, poison: Poison) -> None:
        if (scores := self.pool.score(poison)) is None:
            return
        errors = scores.error["seen"], scores.error.get("unseen", scores.error["seen"])
        both = {name: max(part[name] for part in errors) for name in errors[0]}
        if self.best is None or worst_case(both) > self.best.error:
            name = filter_of(both, ALL)
            self.best = Strongest(poison, attack, name, *(part[name] for part in errors))

    def bound(self, epsilon: float) -> float:
        """What no poison of a budget exceeds on all test rows behind filters that no poison moves."""
        poisons = {} if self.best is None else {self.best.attack: self.best.poison}
        bracket = build_bracket(trusted(self.setting), self.setting.split.test, [epsilon], {epsilon: poisons})
        return max(float(rung.bound) for rung in bracket.rungs)
