"""What a poison really does: retrained behind every filter as fitted with the poison in, quota included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, lambertw, softmax

from ...core.dataset import Dataset
from ...core.errors import InputError, SolverFailed
from ...core.model import LinearModel
from ...core.poison import Poison
from ...core.results import UNDEFENDED, worst_case
from ...core.validation import Array
from ...defender.defender import Retraining
from ...influence import ImplicitGradient, SoftError
from ...losses import Problem
from ..newton import NewtonLearner
from ..sampling import NOISE
from ..scenario import Scenario

SOFTNESS = 0.004  # of the least over the defences, in units of error
SMOOTH = 0.15  # weight of the smoothed error beside the share of misclassified rows
WIDTH = 0.3  # of the smoothed error, in standard deviations of the margins
_LIGHT = 0.05  # share in the soft least from which a defence counts
BAND = 0.15  # over which a kink is read in derivatives


@dataclass(frozen=True, eq=False)
class Trial:
    """The outcome of one poison.

    Parameters
    ----------
    poison : Poison
    error : dict of float
        Share of misclassified rows of the goal by defence, "none" included.
    value : float
        Soft least of `values`: what a search raises.
    values : dict of float
        By defence that counts, the error with a small part of the smoothed error.
    models : dict of LinearModel
    removed : dict of ndarray of int
        Rows that each defence drops.
    """

    poison: Poison
    error: dict[str, float]
    value: float
    values: dict[str, float]
    models: dict[str, LinearModel]
    removed: dict[str, np.ndarray]

    @property
    def worst(self) -> float:
        """The least error over the defences that count."""
        return worst_case(self.error)


class Trials:
    """Measures poisons of one scenario.

    Parameters
    ----------
    scenario : Scenario
    goal : Dataset
        Rows that count, as they are.
    """

    def __init__(self, scenario: Scenario, goal: Dataset) -> None:
        self.scenario, self.goal = scenario, scenario.measure.searched(goal)
        self.names = list(scenario.defenses) or [UNDEFENDED]
        self.defender = scenario.defender.by(NewtonLearner(scenario.problem, coarse=scenario.of_sample))
        self._slack = SOFTNESS * float(lambertw((len(self.names) - 1) / np.e).real)

    def measure(
        self,
        poison: Poison,
        near: Trial | None = None,
        least: float = -np.inf,
        most: Mapping[str, float] | None = None,
    ) -> Trial | None:
        """The outcome of a poison, or None as soon as one defence shows that its value is no greater than `least`.

        The soft least of k numbers exceeds the least by at most ``SOFTNESS W((k - 1) / e)``, W the Lambert function.

        Parameters
        ----------
        poison : Poison
        near : Trial, optional
            The outcome of a similar one: fits start from its models, and the defences that held it best are asked
            first, so that a move that fails mostly costs one fit and not one for each defence.
        least : float
        most : mapping of str to float, optional
            The greatest error behind each defence so far. A poison that without a defence errs more than one of
            them, by more than `NOISE`, is measured whatever its value: defences mostly take from the error.
        """
        outcome = self.defender.open(poison, None if near is None else near.models)
        values: dict[str, float] = {}
        for name in self.names if near is None else sorted(self.names, key=near.values.__getitem__):
            model = outcome.model(name)
            values[name] = model.error(self.goal) + SMOOTH * self._smoothed(model)
            if values[name] + self._slack <= least and not self._leads(outcome, most):
                if near is None:  # plans of all kinds: what has refused one is asked first of the next
                    self.names.remove(name)
                    self.names.insert(0, name)
                return None
        share = softmax(-np.array([values[name] for name in self.names]) / SOFTNESS)
        names = list(dict.fromkeys((UNDEFENDED, *self.names)))
        models = {name: outcome.model(name) for name in names}
        return Trial(
            poison,
            {name: model.error(self.goal) for name, model in models.items()},
            float(share @ [values[name] for name in self.names]),
            values,
            models,
            {name: outcome.removed(name) for name in names},
        )

    def _leads(self, outcome: Retraining, most: Mapping[str, float] | None) -> bool:
        """Whether a poison may do more than any before behind one defence."""
        return most is not None and outcome.model(UNDEFENDED).error(self.goal) > min(most.values()) + NOISE

    def _smoothed(self, model: LinearModel) -> float:
        margins = model.margins(self.goal)
        return float(np.average(expit(-margins / _width(margins)), weights=self.goal.weight))

    def slopes(self, trial: Trial, spread: float = 1.0) -> Array:
        """Gradient of the smoothed least error in the poison rows, the rows that each defence keeps held fixed.

        Parameters
        ----------
        trial : Trial
        spread : float, default 1.0
            How many times as wide the error, a kink and the least over the defences are smoothed.
        """
        train, rows = self.defender.train, trial.poison
        owner = np.repeat(np.arange(rows.y.size), rows.count.astype(int))
        total = np.zeros(rows.X.shape)
        values = np.array([trial.values[name] for name in self.names])
        for name, share in zip(self.names, softmax(-values / (spread * SOFTNESS)), strict=True):
            if share <= _LIGHT:
                continue
            gone = trial.removed[name]
            lost = np.bincount(owner[gone[gone >= train.n] - train.n], minlength=rows.y.size)
            left = Poison(rows.X, rows.y, rows.count - lost)
            data = train.take(np.delete(np.arange(train.n), gone[gone < train.n])).mix(left.as_dataset())
            model = trial.models[name]
            target = SoftError(self.goal, spread * _width(model.margins(self.goal)))
            problem = self.scenario.problem
            band = None if problem.loss.kink is None else spread * BAND
            try:
                implicit = ImplicitGradient(problem, data, model, band, tol=1e-6)
                total += share * implicit.of_rows(target.gradient(model), left)
            except (InputError, SolverFailed):
                continue
        return total


def _width(margins: Array) -> float:
    return WIDTH * float(margins.std()) + 1e-9


def excess(problem: Problem, data: Dataset, model: LinearModel) -> float:
    """By how much a model misses the least objective that Newton's method finds on the same rows, relative to it."""
    best = problem.value(NewtonLearner(problem).fit(data, start=model), data)
    return (problem.value(model, data) - best) / max(best, 1e-12)
