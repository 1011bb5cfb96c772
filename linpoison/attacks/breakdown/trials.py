"""What a poison really does: retrained behind every filter as fitted with the poison in, quota included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

from ...core.dataset import Dataset
from ...core.errors import InputError, SolverFailed
from ...core.model import LinearModel
from ...core.poison import Poison
from ...core.results import UNDEFENDED
from ...core.validation import Array
from ...evaluation import Evaluator
from ...influence import ImplicitGradient, SoftError
from ...losses import Problem
from ..base import Scenario
from .newton import NewtonLearner

SOFTNESS = 0.004  # of the least over the defences, in units of error
SMOOTH = 0.15  # weight of the smoothed error beside the share of misclassified rows
WIDTH = 0.3  # of the smoothed error, in standard deviations of the margins
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
        Soft least, over the defences that count, of the error with a small part of the smoothed error: what a search
        raises.
    press : dict of float
        How much each defence matters for the least, adding up to 1.
    models : dict of LinearModel
    removed : dict of ndarray of int
        Rows that each defence drops.
    """

    poison: Poison
    error: dict[str, float]
    value: float
    press: dict[str, float]
    models: dict[str, LinearModel]
    removed: dict[str, np.ndarray]


class Trials:
    """Measures poisons of one scenario; the last model learned without a defence is where the next fit starts.

    Parameters
    ----------
    scenario : Scenario
    goal : Dataset
        Rows whose error counts.
    """

    def __init__(self, scenario: Scenario, goal: Dataset) -> None:
        self.scenario, self.goal = scenario, goal
        self.names = list(scenario.defenses) or [UNDEFENDED]
        self.evaluator = Evaluator(scenario.train, scenario.problem, scenario.defenses)
        self.learner = NewtonLearner(scenario.problem)
        self.evaluator.learner = self.learner

    def measure(self, poison: Poison, near: Trial | None = None) -> Trial:
        """The outcome of a poison; `near` is that of a similar one, and saves time."""
        self.learner.guess = None if near is None else near.models[UNDEFENDED]
        scores = self.evaluator.score(poison, {"goal": self.goal})
        error = scores.error["goal"]
        values = np.array([error[name] + SMOOTH * self._smoothed(scores.models[name]) for name in self.names])
        share = softmax(-values / SOFTNESS)
        return Trial(
            poison,
            error,
            float(share @ values),
            {name: float(part) for name, part in zip(self.names, share, strict=True) if part > 0.05},
            scores.models,
            scores.removed,
        )

    def _smoothed(self, model: LinearModel) -> float:
        margins = model.margins(self.goal)
        return float(np.average(expit(-margins / _width(margins)), weights=self.goal.weight))

    def slopes(self, trial: Trial) -> Array:
        """Gradient of the smoothed least error in the poison rows, the rows that each defence keeps held fixed."""
        train = self.evaluator.train
        mixed, rows = train.mix(trial.poison.expanded()), trial.poison
        owner = np.repeat(np.arange(rows.y.size), rows.count.astype(int))
        total = np.zeros(rows.X.shape)
        for name, share in trial.press.items():
            kept = np.delete(np.arange(mixed.n), trial.removed[name])
            count = np.bincount(owner[kept[kept >= train.n] - train.n], minlength=rows.y.size).astype(float)
            model = trial.models[name]
            target = SoftError(self.goal, _width(model.margins(self.goal)))
            problem = self.scenario.problem
            band = None if problem.loss.kink is None else BAND
            try:
                implicit = ImplicitGradient(problem, mixed.take(kept), model, band, tol=1e-6)
                total += share * implicit.of_rows(target.gradient(model), Poison(rows.X, rows.y, count))
            except (InputError, SolverFailed):
                continue
        return total


def _width(margins: Array) -> float:
    return WIDTH * float(margins.std()) + 1e-9


def excess(problem: Problem, data: Dataset, model: LinearModel) -> float:
    """By how much a model misses the least objective that Newton's method finds on the same rows, relative to it."""
    best = problem.value(NewtonLearner(problem).fit(data, start=model), data)
    return (problem.value(model, data) - best) / max(best, 1e-12)
