"""One decoy against a group, trained from all rows that the attacker knows, and the KKT program's poison for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import scipy.sparse as sp

from ...core import (
    Array,
    Candidate,
    Dataset,
    InfeasibleSet,
    InputError,
    LinearModel,
    Poison,
    SolverFailed,
    check_number,
)
from ...core.parts import dense
from ...learners import make_learner
from ...rounding import deploy, largest_remainder, round_balanced
from ..kkt_program import KKTProgram
from ..ranking import candidate
from ..run import Run, Step, skipped
from ..scenario import Scenario
from .base import GroupAttack, known_rows, near_rows

Labels = Literal["opposite", "wrong"]
LABELLINGS: tuple[Labels, ...] = ("opposite", "wrong")


@dataclass(frozen=True)
class Recipe:
    """How a decoy is trained.

    ::

        minimise reg/2 |theta|^2 + mean of  training loss + weight sum_G loss(x, label) + shelter sum_others loss(x, y)

    where G is the part of the group that is easiest to turn: the rows of least margin under the clean model.
    The rest of it keeps its labels, as turning it too would cost errors elsewhere.

    Parameters
    ----------
    labels : {"opposite", "wrong"}
        Of the rows in G: each the opposite of its own, or all the label that the clean model's loss is greatest
        for.
    weight, shelter : float
    portion : float, default 1.0
        Share of the group's rows in G.
    """

    labels: Labels
    weight: float
    shelter: float
    portion: float = 1.0

    def __post_init__(self) -> None:
        if self.labels not in LABELLINGS:
            raise InputError(f"labels {' or '.join(LABELLINGS)}", repr(self.labels))
        check_number(self.weight, "weight", above=0)
        check_number(self.shelter, "shelter", at_least=0)
        check_number(self.portion, "portion", above=0, at_most=1)

    @property
    def words(self) -> str:
        """How reports call it."""
        return f"{self.labels} {self.weight:g} {self.shelter:g} {self.portion:g}"

    def decoy(self, scenario: Scenario, clean: LinearModel) -> LinearModel:
        """Trained from the training rows and those of the aim."""
        base, others, target = scenario.train, scenario.aim.rest("a recipe"), known_rows(scenario)[0]
        if self.shelter:
            base = base.mix(replace(others, weight=self.shelter * others.weight))
        margins = clean.margins(target)
        easy = margins <= np.quantile(margins, self.portion)
        if not easy.all():
            base = base.mix(target.take(~easy))
        target = target.take(easy)
        flipped = Dataset(target.X, self._labels(scenario, clean, target), self.weight * target.weight)
        return make_learner(scenario.problem, method="quick").fit(base.mix(flipped))

    def _labels(self, scenario: Scenario, clean: LinearModel, target: Dataset) -> Array:
        if self.labels == "opposite":
            return -target.y
        scores, loss = clean.decision_function(target.X), scenario.problem.loss
        return np.full(target.n, max((-1.0, 1.0), key=lambda label: float(loss.value(label * scores).mean())))


@dataclass(frozen=True)
class PlantedDecoy(GroupAttack):
    """Rows that make the decoy of one recipe as nearly optimal as they can, by the KKT program.

    Parameters
    ----------
    recipe : Recipe
    reach : float, default 1.0
        Length of rows, in units of the length that 95 % of the training rows of the class keep within.

    References
    ----------
    The KKT attack of Koh, Steinhardt and Liang (2022), section 4.2; whole rows are rounded together (`round_balanced`).
    """

    name: ClassVar[str] = "group-kkt"
    recipe: Recipe = Recipe("opposite", 1.0, 1.0)  # noqa: RUF009
    reach: float = 1.0

    def __post_init__(self) -> None:
        check_number(self.reach, "reach", above=0)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        return run.steps("planted decoy", _planted, [(scenario, self, run.seed)])

    def poison(self, scenario: Scenario, decoy: LinearModel, seed: int) -> Poison:
        """Whole rows, of which those of counts are rounded together."""
        train, count = scenario.train, scenario.n_poison
        sets = near_rows(train, self.reach)
        relaxed = KKTProgram().solve(decoy, train, scenario.problem, sets, count / train.total).poison
        if not train.domain.integral:
            return deploy(relaxed, count, train.domain, np.random.default_rng(seed), sparse=train.is_sparse)
        total = min(count, max(round(relaxed.total), 1))
        made, labels = [], []
        points = dense(relaxed.X)
        for point, label, copies in zip(points, relaxed.y, largest_remainder(relaxed.count, total), strict=True):
            if copies:
                made.append(sp.csr_array(round_balanced(train.domain.clip(point), int(copies), label * decoy.coef)))
                labels += [label] * int(copies)
        X = sp.csr_array(sp.vstack(made))
        return Poison(X if train.is_sparse else X.toarray(), np.array(labels), np.ones(len(labels)))


def _planted(started: float, scenario: Scenario, attack: PlantedDecoy, seed: int) -> Step:
    clean = make_learner(scenario.problem, method="quick").fit(scenario.train)
    try:
        poison = attack.poison(scenario, attack.recipe.decoy(scenario, clean), seed)
    except (SolverFailed, InfeasibleSet) as error:
        return skipped(error)
    label = attack.recipe.words
    return ([candidate(started, scenario, poison, label=label)] if poison.n_distinct else []), []
