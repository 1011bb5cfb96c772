"""Label flips of one group: of rows of any kind against any learner, and as an attack on a scenario."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ...core import Candidate, InputError, Poison, check_integer
from ...learners import make_learner
from ...risk import LinearRisk, Sample
from ...subpopulations.matching import Subpopulation
from ...subpopulations.parts import counted
from ...subpopulations.trainers import RiskPredictor
from ..random_flips import plantable
from ..ranking import candidate
from ..run import Run, Step
from ..scenario import Scenario
from .base import GroupAttack

Rows = Literal["aim", "train"]


@dataclass(frozen=True)
class LabelFlip:
    """Auxiliary rows of the subpopulation under one wrong label, the same for all of them.

    Rows are drawn without replacement as long as they last: each is used ``floor(count / m)`` or
    ``ceil(count / m)`` times.

    Parameters
    ----------
    label : {"loss", "rarest"} or a class, default "loss"
        "loss": the label under which the surrogate's mean loss on the rows is greatest (from `predict_proba`, from
        `decision_function` of two classes, or from predictions, whichever there is first). "rarest": the class
        that the fewest rows of the subpopulation have (what the published image code does).

    References
    ----------
    Jagielski et al. (2021), section 4.2.
    """

    label: Hashable = "loss"

    def poison(self, auxiliary: Sample, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Sample:
        """See `SubpopulationAttack.poison`."""
        members = auxiliary.take(group.mask(auxiliary))
        if not members.n:
            raise InputError(f"auxiliary rows of {group.name}", "none")
        return self.flipped(members, np.unique(auxiliary.y), count, surrogate, seed)

    def flipped(self, members: Sample, classes: Any, count: int, surrogate: Any, seed: int) -> Sample:
        """So many of the rows, under one wrong label of these classes."""
        rng = np.random.default_rng(seed)
        repeats = -(-check_integer(count, "count", at_least=1) // members.n)
        drawn = np.concatenate([rng.permutation(members.n) for _ in range(repeats)])[:count]
        wrong = self.wrong_label(classes, members, surrogate)
        return Sample(members.X[drawn], np.full(count, wrong, dtype=members.y.dtype))

    def wrong_label(self, classes: Any, rows: Sample, surrogate: Any) -> Any:
        """The label that all poison rows get."""
        if self.label == "rarest":
            return classes[np.argmin([(rows.y == label).sum() for label in classes])]
        if self.label == "loss":
            return classes[np.argmin(_support(classes, rows.X, surrogate))]
        if self.label not in classes.tolist():
            raise InputError(f"'loss', 'rarest' or a label among {classes.tolist()}", repr(self.label))
        return self.label


def _support(classes: Any, X: Any, surrogate: Any) -> Any:
    """For each class a number that is less where its mean loss is greater."""
    if isinstance(surrogate, RiskPredictor):
        rows = surrogate.risk.rows(X)
        losses = [surrogate.risk.loss(surrogate.w, rows, np.full(len(rows), label)) for label in classes]
        return [-float(loss.mean()) for loss in losses]
    if hasattr(surrogate, "predict_proba"):
        return np.log(np.maximum(surrogate.predict_proba(X), 1e-12)).mean(axis=0)
    if hasattr(surrogate, "decision_function") and len(classes) == 2:
        score = float(np.mean(surrogate.decision_function(X)))
        return [-score, score]
    predicted = np.asarray(surrogate.predict(X))
    return [(predicted == label).mean() for label in classes]


@dataclass(frozen=True)
class GroupFlips(GroupAttack):
    """Label flips as an attack on a scenario: rows of the group under one wrong label, the whole budget.

    Parameters
    ----------
    flip : LabelFlip
    rows : {"aim", "train"}, default "aim"
        Target rows are flipped, or training rows that are members of the group.
    surrogate : {"aim", "train"}, default "train"
        The rows whose model tells the label of the greatest loss.
    """

    name: ClassVar[str] = "group-flips"
    flip: LabelFlip = LabelFlip()  # noqa: RUF009
    rows: Rows = "aim"
    surrogate: Rows = "train"

    def __post_init__(self) -> None:
        if not {self.rows, self.surrogate} <= {"aim", "train"}:
            raise InputError("rows and surrogate 'aim' or 'train'", f"{self.rows!r} and {self.surrogate!r}")

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        return run.steps("group flips", _candidate, [(scenario, self, run.seed)])

    def poison(self, scenario: Scenario, seed: int) -> Poison:
        """A row for each copy, in the order in which they were drawn."""
        train, aim = scenario.train, scenario.aim
        rows = aim.target if self.rows == "aim" else train.take(aim.within(train))
        if not rows.n:
            raise InputError("members of the group among the training rows", "none", "Flip the rows of the aim.")
        members = counted(Sample.of(plantable(replace(rows, domain=train.domain))))
        count = scenario.n_poison
        found = self.flip.flipped(members, np.unique(train.y), count, self._model(scenario), seed)
        return Poison(found.X, found.y, np.ones(count))

    def _model(self, scenario: Scenario) -> RiskPredictor:
        model = scenario.clean_model
        if self.surrogate == "aim":
            model = make_learner(scenario.problem).fit(scenario.aim.target.mix(scenario.aim.rest(self.name)))
        return RiskPredictor(LinearRisk.of(scenario.problem), model.vector)


def _candidate(started: float, scenario: Scenario, attack: GroupFlips, seed: int) -> Step:
    return [candidate(started, scenario, attack.poison(scenario, seed), label=f"rows of the {attack.rows}")], []
