"""What the influence attack climbs: the target at retrained models, behind several defences at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy.sparse as sp
from scipy.special import softmax

from ..core import LABELS, UNDEFENDED, Array, Dataset, LinearModel, Poison, check_among, check_number
from ..defender import Evaluation
from ..influence import ImplicitGradient, MeanLoss, PoisonGradient, SoftError, Target
from ..learners import make_learner
from ..losses import Problem, SmoothHinge

_TOL = 1e-5
_LIGHT = 0.02


@dataclass(frozen=True)
class Ascent:
    """What rises, and how the steps are taken.

    Parameters
    ----------
    objective : {"error", "loss"}
        On the target rows: a sigmoid in place of the error, or the mean (smoothed) loss as in the paper.
    temperature : float
        Of the sigmoid, in units of the margin.
    softness : float
        Of the soft minimum over the defences, in units of the objective.
    width, last_width : float
        Smoothing of the hinge (`SmoothHinge`) at the start and at the end of the ascent, geometric in
        between. A loss that is smooth already is taken as it is.
    length : float
        Of the first step, as a share of the distance between the class means.
    growth : float
        Factor on the length after a step that raised the objective; one that did not is halved.
    least : float
        Length, in the same unit, below which no further step is tried until the next check.
    """

    objective: Literal["error", "loss"] = "error"
    temperature: float = 0.3
    softness: float = 0.02
    width: float = 0.3
    last_width: float = 0.03
    length: float = 0.35
    growth: float = 1.4
    least: float = 0.005

    def __post_init__(self) -> None:
        for name in ("temperature", "softness", "width", "last_width", "length", "least"):
            check_number(getattr(self, name), name, above=0)
        check_number(self.growth, "growth", at_least=1)
        check_among(self.objective, "an objective", "error", "loss")

    def smoothed(self, problem: Problem, progress: float) -> Problem:
        """The problem with the smoothing that a share `progress` of the ascent asks for."""
        if problem.loss.kink is None:
            return problem
        return replace(problem, loss=SmoothHinge(self.width * (self.last_width / self.width) ** progress))

    def target(self, rows: Dataset, problem: Problem) -> Target:
        """The objective on `rows`, for models of a smooth problem."""
        return SoftError(rows, self.temperature) if self.objective == "error" else MeanLoss(rows, problem.loss)


@dataclass(frozen=True, eq=False)
class View:
    """What one defence leaves of the data, held fixed between two checks.

    Parameters
    ----------
    train : Dataset
        The clean rows that it keeps.
    share : dict of float to float
        The share of the poison copies that it keeps, by label.
    """

    train: Dataset
    share: dict[float, float]

    def mixed(self, poison: Poison) -> tuple[Dataset, Poison]:
        """Clean rows and poison as this defence lets them through, and that poison alone."""
        passed = replace(poison, count=poison.count * self.shares(poison))
        return self.train.mix(passed.as_dataset()), passed

    def shares(self, poison: Poison) -> Array:
        """The share of each distinct row, shape (k,)."""
        return np.where(poison.y > 0, self.share[1.0], self.share[-1.0])


def views_of(train: Dataset, poison: Poison, measured: Evaluation) -> list[View]:
    """The views of no defence and of each that was measured, which saw the copies of `poison`.

    A defence that drops more than half of the copies of a class is taken to keep half: its view
    would otherwise lose sight of the points, and no step could bring them back.
    """
    labels, views = poison.expanded().y, []
    for name in measured.models:
        gone = measured.removed.get(name, np.array([], dtype=np.intp))
        kept = np.setdiff1d(np.arange(train.n), gone)
        dropped = labels[gone[gone >= train.n] - train.n]
        share = {label: 1 - _ratio((dropped == label).sum(), (labels == label).sum()) for label in LABELS}
        rows = train if name == UNDEFENDED else train.take(kept)
        views.append(View(rows, {label: max(value, 0.5) for label, value in share.items()}))
    return views


def _ratio(part: int, whole: int) -> float:
    return float(part) / float(whole) if whole else 0.0


@dataclass(frozen=True, eq=False)
class Place:
    """A relaxed poison, the model that it plants in each view, and the objective there.

    Parameters
    ----------
    poison : Poison
    models : tuple of LinearModel
    values : ndarray of shape (number of views,)
    value : float
        Their soft minimum.
    """

    poison: Poison
    models: tuple[LinearModel, ...]
    values: Array
    value: float


class Objective:
    """The soft minimum over views of a target at the models retrained in them.

    ``-tau log mean_k exp(-T_k / tau)`` with the softness tau: each ``T_k`` is the target at the
    minimiser on what view k leaves of clean rows and poison.

    Parameters
    ----------
    problem : Problem
        With a smooth loss.
    target : Target
    views : sequence of View
    softness : float
    """

    def __init__(self, problem: Problem, target: Target, views: Sequence[View], softness: float) -> None:
        self.problem, self.target, self.views, self.softness = problem, target, list(views), softness
        self._learner = make_learner(problem, method="follow")

    def at(self, poison: Poison, near: Sequence[LinearModel]) -> Place:
        """Retrain in every view, starting from the models `near`."""
        models = [
            self._learner.fit(view.mixed(poison)[0], start=start) for view, start in zip(self.views, near, strict=True)
        ]
        values = np.array([self.target.value(model) for model in models])
        low = float(values.min())
        value = low - self.softness * float(np.log(np.mean(np.exp((low - values) / self.softness))))
        return Place(poison, tuple(models), values, value)

    def gradient(self, place: Place) -> PoisonGradient:
        """The derivative of the value in the rows and counts of the poison; views of next to no weight left out."""
        weights = softmax(-place.values / self.softness)
        X, y = place.poison.X, place.poison.y
        rows, counts = np.zeros(X.shape), np.zeros(y.size)
        for view, model, weight in zip(self.views, place.models, weights, strict=True):
            if weight < _LIGHT:
                continue
            data, passed = view.mixed(place.poison)
            part = PoisonGradient.at(ImplicitGradient(self.problem, data, model, tol=_TOL), passed, self.target)
            rows += weight * part.rows
            counts += weight * part.counts * view.shares(place.poison)
        return PoisonGradient(place.value, rows, counts)


def poison_of(X: Array, y: Array, count: Array, sparse: bool) -> Poison:
    """A relaxed poison of dense rows, in the storage of the training rows."""
    return Poison(sp.csr_array(X) if sparse else X, y, count)
