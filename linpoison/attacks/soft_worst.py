"""A quick measure of what a poison does behind every defence, for searches that ask thousands of times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit, logsumexp

from ..core import UNDEFENDED, Array, Dataset, LinearModel, Poison, worst_case
from ..learners import Learner, make_learner
from .scenario import Scenario

TEMPERATURE = 0.2
"""Of the sigmoid, in units of the margin."""
SOFTNESS = 0.004
"""Of the soft minimum, in units of error."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What one poison does.

    Parameters
    ----------
    value : float
        Soft minimum over the defences, "none" included, of the damage: the mean of the 0-1 error
        and of its sigmoid surrogate. The search raises it.
    error : dict of float
        0-1 error by defence on the rows of the goal.
    kept : dict of Dataset
        Rows that each defence leaves, clean rows first.
    """

    value: float
    error: dict[str, float]
    models: dict[str, LinearModel]
    kept: dict[str, Dataset]

    @property
    def worst(self) -> float:
        """The least error over the defences."""
        return worst_case(self.error)


class SoftWorst:
    """The soft minimum over the defences of the damage that a poison of one scenario does: what searches raise.

    The rows of the goal are those of the aim, or, where damage is meant for rows that
    the attacker has not seen (``scenario.goal == "population"``), the training rows under models that
    were trained without them (`folds` parts, all copies of a row in one of them, each defence's
    decisions held fixed), and the target, unless it is the training rows. The regulariser of a model that was
    trained on a part is the one that holds for all rows: with fewer rows under ``sum`` scaling it would be stronger.

    Parameters
    ----------
    folds : int
        Parts of the training rows in cross-fitting.
    seed : int
        Of the division into parts.
    """

    def __init__(self, scenario: Scenario, *, folds: int = 2, seed: int = 0) -> None:
        self.scenario = scenario
        self.learner = make_learner(scenario.problem, method="quick")
        self.defender, self.train = scenario.defender.by(self.learner), scenario.train
        self.cross = scenario.goal == "population"
        self._parts = self._divide(folds, seed) if self.cross else []
        self._last: LinearModel | None = None
        self.extra = scenario.aim.target if not self.cross or not scenario.sees_only_training_rows else None

    @cached_property
    def goal(self) -> Dataset:
        """The rows whose error counts, weighted for the measure of the aim."""
        rows = self.scenario.aim.target
        if self.cross:
            rows = self.train if self.extra is None else self.train.mix(self.extra)
        return self.scenario.measure.weighted(rows)

    def refresh(self, poison: Poison) -> None:
        """From here on the defences that are costly to fit decide as they do with this poison in."""
        self.defender = self.defender.holding(poison)

    def at(self, poison: Poison) -> Measured:
        """What a poison with whole copies does."""
        outcome = self.defender.open(poison, {} if self._last is None else {UNDEFENDED: self._last})
        names, mixed = (UNDEFENDED, *self.scenario.defenses), outcome.mixed
        models, kept = {name: outcome.model(name) for name in names}, {name: outcome.kept(name) for name in names}
        self._last = models[UNDEFENDED]
        margins = {name: self._margins(model, mixed, kept[name]) for name, model in models.items()}
        weight = self.goal.weight
        error = {name: float(np.average(self._wrong(values), weights=weight)) for name, values in margins.items()}
        smooth = [float(np.average(expit(-values / TEMPERATURE), weights=weight)) for values in margins.values()]
        damage = 0.5 * (np.array(list(error.values())) + np.array(smooth))
        value = -SOFTNESS * (logsumexp(-damage / SOFTNESS) - np.log(damage.size))
        return Measured(float(value), error, models, {name: mixed.take(rows) for name, rows in kept.items()})

    def _margins(self, model: LinearModel, mixed: Dataset, kept: np.ndarray) -> Array:
        if not self.cross:
            return model.margins(self.goal)
        n = self.train.n
        margins = np.empty(n)
        learner = self._learner_of_parts(kept.size)
        for part in self._parts:
            rest = kept[~np.isin(kept, part)]
            data = mixed.take(rest)
            weight = np.where(rest < n, 1.0, 1.0 - part.size / n)
            fitted = learner.fit(Dataset(data.X, data.y, weight * data.weight), start=model)
            margins[part] = fitted.margins(self.train.take(part))
        return margins if self.extra is None else np.concatenate([margins, model.margins(self.extra)])

    def _learner_of_parts(self, rows: int) -> Learner:
        """The learner of parts of so many rows, with the regulariser of all of them."""
        problem = self.scenario.problem
        return self.learner if problem.scaling == "mean" else make_learner(problem.pinned(rows), method="quick")

    def _wrong(self, margins: Array) -> np.ndarray:
        """Which rows of the goal are misclassified; a score of zero is read as -1."""
        return np.asarray((margins < 0) | ((margins == 0) & (self.goal.y > 0)))

    def _divide(self, folds: int, seed: int) -> list[np.ndarray]:
        stored = self.scenario.train
        order = np.random.default_rng(seed).permutation(stored.n)
        order = order[np.argsort(stored.y[order], kind="stable")]
        return [np.sort(order[first::folds]) for first in range(folds)]


def pressing(error: Mapping[str, float], softness: float = 0.01) -> dict[str, float]:
    """How much each defence matters for the least error, as weights that add up to 1.

    Examples
    --------
    >>> pressing({"none": 0.5, "l2": 0.1})
    {'l2': 1.0}
    """
    values = np.array(list(error.values()))
    share = np.exp(-(values - values.min()) / softness)
    share /= share.sum()
    large = {name: float(part) for name, part in zip(error, share, strict=True) if part > 0.05}
    total = sum(large.values())
    return {name: part / total for name, part in large.items()}
