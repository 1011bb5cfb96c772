"""What every attack is given and what it promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, Protocol

import numpy as np

from ..core.dataset import Dataset
from ..core.errors import CapabilityError, InputError
from ..core.poison import Poison
from ..core.results import AttackResult
from ..core.threat import Budget
from ..core.validation import check_integer
from ..defenses import Defense, DuplicatesDefense
from ..losses import Problem

Goal = Literal["target", "population"]

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what is being done)."""


DOMAIN_TOL = 1e-9
"""How far outside of the domain a row that is planted may lie."""


class Journal(Protocol):
    """A store of finished steps, so that an interrupted attack resumes."""

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays stored under a key, or None."""

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays under a key."""


def whole_numbers(values: Sequence[int], name: str) -> tuple[int, ...]:
    """At least one whole number, all of at least 1.

    Examples
    --------
    >>> whole_numbers([2, 3], "repeats")
    (2, 3)
    """
    numbers = tuple(check_integer(value, name, at_least=1) for value in values)
    if not numbers:
        raise InputError(f"at least one number of {name}", "none")
    return numbers


@dataclass(frozen=True, eq=False)
class Scenario:
    """One audit question: this data, this learner, these defences, this budget, these target rows.

    Parameters
    ----------
    train : Dataset
        Clean training rows. Sample weights have a mean of 1: a poison row weighs as much as the average row.
    problem : Problem
        What the defender minimises after sanitisation.
    budget : Budget
    defenses : mapping of str to Defense
        Unfitted sanitisers by name; empty means an undefended learner.
    target : Dataset
        Rows that the attacker may look at and wants misclassified: the test rows in the papers, the
        training rows of an attacker who has seen no others, or a few rows of one's choice in a
        targeted attack.
    known : Poison, optional
        Rows that the defender will have among its data when it fits its defences: feasible sets are
        then those of clean rows and these (Algorithm 1 of Koh et al.). They spend no budget.
    goal : {"target", "population"}, default "target"
        Whether damage is meant for the target rows themselves, or for unseen rows like them. Attacks
        that tune on measured errors (`Refined`) then guard against what would not carry over.
    distinct : bool, default False
        Whether no two poison rows of one class may be near-copies of each other, or of clean rows. It goes without
        saying behind a defence that drops copies.
    """

    train: Dataset
    problem: Problem
    budget: Budget
    defenses: Mapping[str, Defense]
    target: Dataset
    known: Poison | None = None
    goal: Goal = "target"
    distinct: bool = False

    def __post_init__(self) -> None:
        if self.goal not in ("target", "population"):
            raise InputError("a goal 'target' or 'population'", repr(self.goal))

    @property
    def n_poison(self) -> int:
        """Whole poison rows that the budget buys."""
        return self.budget.count(self.train.n)

    @cached_property
    def gap(self) -> float:
        """Distance beyond which rows of one class are no copies of each other; 0 where copies are allowed."""
        asked = [DuplicatesDefense()] if self.distinct else []
        return max((guard.least_gap(self.train.X) for guard in (*self.defenses.values(), *asked)), default=0.0)

    def without_class_weights(self) -> Scenario:
        """The same question with the class weights of the clean rows written out as weights of mean 1.

        Its poison weighs 1 in both classes: a surrogate, whose results are to be scored in this scenario.
        """
        if self.problem.class_weight is None:
            return self
        problem, train = self.problem.at(self.train)
        mean = train.total / train.n
        if problem.scaling == "sum":  # reg n_reference beside sum_i (w_i / mean) phi_i
            problem = replace(problem, reg=problem.reg / mean)
        return replace(self, problem=problem, train=replace(train, weight=train.weight / mean))

    def refuse_class_weights(self, attack: str) -> None:
        """For attacks that work on the terms of the sum and know no class weights.

        Raises
        ------
        CapabilityError
            If the problem has them.
        """
        if self.problem.class_weight is not None:
            raise CapabilityError(
                f"a problem without class weights for {attack}", f"class_weight={self.problem.class_weight!r}",
                "Write them out as sample weights of the rows, as Scenario.without_class_weights() does.",
            )  # fmt: skip

    @property
    def sees_only_training_rows(self) -> bool:
        """Whether the target rows are the training rows."""
        return self.target is self.train or self.target.digest() == self.train.digest()


class Attack(ABC):
    """Hyperparameters in the constructor, the scenario at call time."""

    name: ClassVar[str]
    takes_class_weights: ClassVar[bool] = False
    """Whether the attack only trains and measures, so that class weights need no mathematics of their own."""

    @property
    def needs_start(self) -> bool:
        """Whether the attack only improves on a poison and has not been told which."""
        return False

    @abstractmethod
    def run(
        self,
        scenario: Scenario,
        *,
        seed: int = 0,
        n_jobs: int = 1,
        progress: Progress | None = None,
        journal: Journal | None = None,
    ) -> AttackResult:
        """Build the strongest poison found for a scenario.

        Parameters
        ----------
        scenario : Scenario
        seed : int
            Seeds every random draw; the same seed gives the same poison for any `n_jobs`.
        n_jobs : int
            Worker processes.
        progress : callable, optional
            Called with (steps done, steps in all, description).
        journal : Journal, optional
            Finished steps are read from it and written to it.
        """


def check_start(start: Poison, scenario: Scenario) -> None:
    """Raise unless a given poison can be planted as it is."""
    limit, domain = scenario.n_poison, scenario.train.domain
    if start.relaxed or not 1 <= start.total <= limit:
        raise InputError(
            f"a poison of 1 to {limit} whole copies to start from",
            f"{start.total:g} copies" + (", not all whole" if start.relaxed else ""),
            "Round it, or drop copies.",
        )
    if start.X.shape[1] != scenario.train.d:
        raise InputError(f"a poison of {scenario.train.d} features to start from", f"{start.X.shape[1]} features")
    worst = float(domain.violation(start.X).max())
    if worst > DOMAIN_TOL:
        raise InputError(
            f"a poison in the domain {domain.kind!r} to start from", f"rows outside by up to {worst:g}",
            "Clip and round its rows, or widen the domain.",
        )  # fmt: skip
