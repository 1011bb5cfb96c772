"""The question that an attack is given: data, learner, defences, budget and the rows to harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..core import Budget, CapabilityError, Dataset, InputError, LinearModel, Measure, Poison, most_over_defenses
from ..defender import Defender
from ..defenses import Defense, least_gap
from ..learners import Learner, make_learner
from ..losses import Problem
from .aim import Aim, Goal

DOMAIN_TOL = 1e-9
"""How far outside of the domain a row that is planted may lie."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """One audit question: this data, this learner, these defences, this budget, this aim.

    Parameters
    ----------
    train : Dataset
        Clean training rows. Sample weights have a mean of 1: a poison row weighs as much as the average row.
    problem : Problem
        What the defender minimises after sanitisation.
    budget : Budget
    defenses : mapping of str to Defense
        Unfitted sanitisers by name; empty means an undefended learner.
    aim : Aim or Dataset
        Whom the attacker wants to hurt; rows alone stand for the aim of hurting these.
    known : Poison, optional
        Rows that the defender will have among its data when it fits its defences: feasible sets are
        then those of clean rows and these (Algorithm 1 of Koh et al.). They spend no budget.
    distinct : bool, default False
        Whether no two poison rows of one class may be near-copies of each other, or of clean rows. It goes without
        saying behind a defence that drops copies.
    learner : Learner, optional
        How the defender minimises the problem; `make_learner` of it by default.
    of_sample : bool, default False
        Whether the training rows are a sample of those that are asked about: then a search need not be exact.
    defender : Defender, optional
        Made of these; one that is given shares its memory, as that of a scenario does with all that `replace` makes of
        it.
    """

    train: Dataset
    problem: Problem
    budget: Budget
    defenses: Mapping[str, Defense]
    aim: Aim
    known: Poison | None = None
    distinct: bool = False
    learner: Learner | None = None
    of_sample: bool = False
    defender: Defender = field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "aim", Aim.of(self.aim))
        made = Defender(self.train, self.problem, self.defenses, self.learner, self.measure, like=self.defender)
        object.__setattr__(self, "defender", made)

    @property
    def measure(self) -> Measure:
        """What damage is measured by."""
        return self.aim.measure

    @cached_property
    def target(self) -> Dataset:
        """Rows that the attacker may look at and wants misclassified, weighted so that their error is its measure."""
        return self.measure.searched(self.aim.target)

    @property
    def goal(self) -> Goal:
        """Whether damage is meant for the target rows themselves, or for unseen rows like them."""
        return self.aim.goal

    @property
    def judged(self) -> dict[str, Dataset]:
        """The rows that a poison is judged by: the target and, where they may not suffer at will, the others."""
        others = self.aim.others
        return {"target": self.aim.target, **({"others": others} if others is not None and self.aim.limited else {})}

    def excess(self, error: Mapping[str, Mapping[str, float]]) -> float:
        """By how much the error on the others grows beyond the limit of the aim; of errors by rows and defence."""
        if "others" not in error:
            return 0.0
        growth = {name: value - self._clean_error[name] for name, value in error["others"].items()}
        return max(most_over_defenses(growth) - self.aim.collateral, 0.0)

    @cached_property
    def _clean_error(self) -> dict[str, float]:
        """On the others, behind each defence, without poison."""
        return self.defender.score(None, self.judged).error["others"]

    @property
    def n_poison(self) -> int:
        """Whole poison rows that the budget buys."""
        return self.budget.count(self.train.n)

    @cached_property
    def quick(self) -> Defender:
        """The defender with a quick learner, unless it brings its own: what searches rank poisons by."""
        return self.defender.by(self.learner or make_learner(self.problem, method="quick"))

    @property
    def clean_model(self) -> LinearModel:
        """What is learned without poison and without defences."""
        return self.defender.by(make_learner(self.problem)).clean_model()

    @cached_property
    def gap(self) -> float:
        """Distance beyond which rows of one class are no copies of each other; 0 where copies are allowed."""
        asked = least_gap(self.train.X) if self.distinct else 0.0
        return max([asked, *(guard.least_gap(self.train.X) for guard in self.defenses.values())])

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

    @cached_property
    def sees_only_training_rows(self) -> bool:
        """Whether the target rows are the training rows."""
        return self.aim.target is self.train or self.aim.target.digest() == self.train.digest()


def check_deployable(poison: Poison, scenario: Scenario, use: str) -> None:
    """Raise unless a poison can be planted as it is: whole copies within the budget, rows in the domain.

    Parameters
    ----------
    poison : Poison
    scenario : Scenario
    use : str
        What it is for or where it comes from, such as "to start from".

    Raises
    ------
    InputError
        Otherwise.
    """
    limit, domain = scenario.n_poison, scenario.train.domain
    if poison.relaxed or not 1 <= poison.total <= limit:
        raise InputError(
            f"a poison of 1 to {limit} whole copies {use}",
            f"{poison.total:g} copies" + (", not all whole" if poison.relaxed else ""),
            "Round it, or drop copies.",
        )
    if poison.X.shape[1] != scenario.train.d:
        raise InputError(f"a poison of {scenario.train.d} features {use}", f"{poison.X.shape[1]} features")
    worst = float(domain.violation(poison.X).max())
    if worst > DOMAIN_TOL:
        raise InputError(
            f"a poison in the domain {domain.kind!r} {use}", f"rows outside by up to {worst:g}",
            "Clip and round its rows, or widen the domain.",
        )  # fmt: skip
