"""The influence attack on k classes, on the poison as a measure: which rows, of which labels, with which weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import CapabilityError, InfeasibleSet
from ...core.model import MultiModel
from ...core.validation import Array, Codes, check_integers, check_number
from ...losses import CrammerSinger, MultiProblem, Softmax
from ...losses.multi import margins, rivals
from ...losses.multi_problem import curvature, moments
from ...risk import CG
from ...sets import FeasibleSet, Halfspace, intersect, rival_caps
from ..deadline import time_is_up
from .minmax_program import Progress
from .regions import Regions, ball_regions, loss_caps, pulled_in, refitted_regions
from .supports import SupportBatch

_HALVINGS = 8
_FLAT = 1e-3
_TRAINING_STEPS, _INFLUENCE_STEPS = 12, 25


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A problem with a smooth loss on weighted rows.

    Parameters
    ----------
    problem : MultiProblem
        With a loss of a temperature above 0, such as `Softmax`.
    single : bool, default False
        Multiply by the Hessian in single precision: half the time, and enough for directions that
        are computed to one per cent. Objective and gradient stay in double precision.
    """

    problem: MultiProblem
    single: bool = False

    def __post_init__(self) -> None:
        if not self.problem.loss.temperature:
            raise CapabilityError("a smooth loss for the surrogate", self.problem.loss.name, "Use Softmax.")

    def train(self, data: Dataset, start: MultiModel, steps: int) -> MultiModel:
        """At most so many truncated Newton steps from `start`; the objective never rises."""
        model, value = start, self.problem.value(start, data)
        for _ in range(steps):
            gradient = self.problem.gradient(model, data)
            if np.linalg.norm(gradient) < _FLAT:
                break
            direction = _inverse(self.hessian(model, data), -gradient, _TRAINING_STEPS)
            length, moved = 1.0, model
            for _ in range(_HALVINGS):
                moved = MultiModel.from_matrix(model.matrix + length * direction)
                reached = self.problem.value(moved, data)
                if reached < value:
                    break
                length /= 2
            else:
                break
            model, value = moved, reached
        return model

    def hessian(self, model: MultiModel, data: Dataset) -> Callable[[Array], Array]:
        """``V -> Hessian of the objective times V``, both of shape (k, d + 1)."""
        loss = self.problem.loss
        kind = np.float32 if self.single else np.float64
        shares = loss.shares(model.scores(data.X), data.codes).astype(kind)
        X = data.X.astype(kind)
        weight = (data.weight / data.total / (loss.temperature or 1.0)).astype(kind)[:, None]
        return curvature(X, shares, weight, self.problem.reg * self.problem.penalty_mask(data.d))

    def influence(self, model: MultiModel, data: Dataset, ascent: Array) -> Array:
        """``Hessian^-1 ascent``: a row with gradient g and weight e moves the target by ``-e <g, influence>``."""
        return _inverse(self.hessian(model, data), ascent, _INFLUENCE_STEPS)


def soft_error(model: MultiModel, data: Dataset, width: float) -> tuple[float, Array]:
    """The mean of ``1 / (1 + exp(margin / width))`` and its gradient in ``(W, b)``, shape (k, d + 1)."""
    scores = model.scores(data.X)
    rows, rival = np.arange(data.n), rivals(scores, data.codes)
    wrong = 1.0 / (1.0 + np.exp(np.clip(margins(scores, data.codes) / width, -50, 50)))
    share = data.weight / data.total
    slope = share * wrong * (1 - wrong) / width
    pull = np.zeros(scores.shape)
    pull[rows, rival], pull[rows, data.codes] = slope, -slope
    return float(share @ wrong), moments(pull, data.X)


def _inverse(product: Callable[[Array], Array], right: Array, steps: int) -> Array:
    """An approximate solution of ``product(x) = right`` for a positive definite map of matrices."""
    solver = CG(relative_damping=0.0, maxiter=steps, tol=1e-2)
    found, *_ = solver.iterate(lambda v: product(v.reshape(right.shape)).ravel(), right.ravel())
    return np.asarray(found).reshape(right.shape)


Refit = Callable[[Dataset], tuple[Dataset, Regions]]
"""From poison, counted in clean rows, to its rows pulled into the regions that they leave, and these regions."""

_FORGOTTEN = 1e-3  # share of the budget below which a row is dropped
_ACTIVE = 0.2  # least hinge that a planted row has towards its rival


@dataclass(frozen=True)
class MeasureInfluence:
    """Frank and Wolfe's method on the test error as a function of the poison measure.

    The defender is replaced by a smooth `surrogate`. Moving weight e of the poison to a row x of
    label y that is pulled towards class j changes the (soft) error on the target rows, to first order, by

    ::

        -e <H^-1 grad error, (x, 1) (e_j - e_y)'>  =  e ((s_y - s_j) . x + const),    s = H^-1 grad error

    which is linear in x: the best row for each of the k (k - 1) pairs is a support. In each step a
    share of the measure moves to the best pairs, and the surrogate is trained on from where it was.
    Rows may have no more than a cap of loss under the model that the poison has planted so far, so
    that the decoy of the min-max attack follows the attack.

    Parameters
    ----------
    surrogate : MultiProblem
        A `Softmax`; wide (margin 1, temperature 3) by default, as a defender who stops early is.
    width : float, default 3
        Of the sigmoid that replaces the 0-1 error; in units of the margin.
    steps : int, default 60
    share : float, default 0.08
        Of the budget that moves in each step.
    rows : int, default 30000
        Clean rows that the surrogate sees, drawn at random.
    fresh : int, default 5
        Pairs that get weight in each step.
    loss_quantile : float or None, default 0.93
        The cap on the hinge is this quantile of the class under the planted model; None sets none.

    Notes
    -----
    The method has no paper; Koh, Steinhardt and Liang (2022), section 4.1, move the rows themselves by
    the same gradient. It gives no bound.
    """

    surrogate: MultiProblem = MultiProblem(Softmax(1.0, 3.0), reg=3e-3)
    width: float = 3.0
    steps: int = 60
    share: float = 0.08
    rows: int = 30_000
    fresh: int = 5
    loss_quantile: float | None = 0.93

    def __post_init__(self) -> None:
        Surrogate(self.surrogate)
        check_number(self.width, "width", above=0)
        check_number(self.share, "share", above=0, at_most=1)
        if self.loss_quantile is not None:
            check_number(self.loss_quantile, "loss_quantile", above=0, at_most=1)
        check_integers(self, "steps", "rows", "fresh", at_least=1)

    def run(
        self,
        clean: Dataset,
        target: Dataset,
        epsilon: float,
        *,
        quantile: float = 0.94,
        remove: float | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[Dataset]:
        """Relaxed poisons, one for each fifth step and the last; weights are shares that add up to `epsilon`.

        Parameters
        ----------
        clean, target : Dataset
            Clean rows, and the rows to be misclassified.
        epsilon : float
        quantile : float
            Of the ball around each class mean, see `ball_regions`.
        remove : float, optional
            Share of each class that the defender drops. With it the balls are those of `refitted_regions` after
            the first step, as the poison so far has moved them, and rows planted before are pulled in, see
            `pulled_in`, so that each state lies in the balls that it leaves; without it they stay those of the
            clean rows.
        seed : int
            Of the rows that are drawn.
        progress : callable, optional
        """
        check_number(epsilon, "epsilon", above=0, at_most=1)
        rng = np.random.default_rng(seed)
        sample = clean.take(np.sort(rng.permutation(clean.n)[: self.rows]))
        walk = _Walk(self, sample, target, epsilon, ball_regions(clean, quantile), clean.total)
        return walk.run(progress, None if remove is None else partial(_refitted, clean, remove=remove))


def _refitted(clean: Dataset, poison: Dataset, remove: float) -> tuple[Dataset, Regions]:
    """The balls as the poison in them moves them."""
    inside = pulled_in(clean, poison, remove)
    return inside, refitted_regions(clean, inside, remove)


class _Walk:
    """The state of one run: the measure, and the surrogate trained on it."""

    def __init__(
        self,
        attack: MeasureInfluence,
        sample: Dataset,
        target: Dataset,
        epsilon: float,
        regions: Regions,
        total: float,
    ) -> None:
        self.total = total
        self.attack, self.sample, self.target, self.epsilon, self.regions = attack, sample, target, epsilon, regions
        self.surrogate = Surrogate(attack.surrogate, single=True)
        empty = np.zeros((0, sample.d))
        self.poison = Dataset.coded(empty, np.zeros(0, np.intp), np.zeros(0), sample.k, domain=sample.domain)
        self.model = self.surrogate.train(sample, MultiModel.zeros(sample.k, sample.d), 20)

    def run(self, progress: Progress | None, refit: Refit | None) -> list[Dataset]:
        found = []
        for step in range(self.attack.steps):
            try:
                error = self._move()
                if refit is not None:
                    self._refit(refit)
            except InfeasibleSet:
                if not self.poison.n:
                    raise
                break  # the balls have moved so far that no row is left: what was found stays
            if step % 5 == 4 or step + 1 == self.attack.steps:
                found.append(self.poison)
            if time_is_up():
                break
            if progress is not None:
                progress(step + 1, self.attack.steps, f"influence, soft error {error:.4f}")
        return found if found and found[-1] is self.poison else [*found, self.poison]

    def _move(self) -> float:
        """One step of the measure; the soft error before it."""
        planted = replace(self.poison, weight=self.poison.weight * self.sample.total)
        data = self.sample.mix(planted)
        self.model = self.surrogate.train(data, self.model, 3)
        error, ascent = soft_error(self.model, self.target, self.attack.width)
        gains, labels, points = self._candidates(self.surrogate.influence(self.model, data, ascent))
        best = np.argsort(-gains, kind="stable")[: self.attack.fresh]
        weight = np.maximum(gains[best], 0.0) + 1e-12
        share = self.attack.share if self.poison.n else 1.0
        self.poison = self._mixed(points[best], labels[best], share * self.epsilon * weight / weight.sum(), 1 - share)
        return error

    def _refit(self, refit: Refit) -> None:
        """Read the balls again with the poison in, and pull planted rows into them."""
        inside, self.regions = refit(replace(self.poison, weight=self.poison.weight * self.total))
        self.poison = replace(self.poison, X=inside.X)

    def _mixed(self, X: Array, y: Codes, weight: Array, rest: float) -> Dataset:
        old = replace(self.poison, weight=self.poison.weight * rest)
        both = old.mix(Dataset.coded(X, y, weight, self.sample.k))
        kept = both.take(both.weight > _FORGOTTEN * self.epsilon)
        return replace(kept, weight=kept.weight * (self.epsilon / kept.total))

    def _candidates(self, s: Array) -> tuple[Array, Codes, Array]:
        """Gain, label and row of the best row of each pair whose set is not empty."""
        gains, labels, points = [], [], []
        caps = self._caps()
        for label, region in self.regions.items():
            halves = rival_caps(self.model, label, float(caps[label])) if caps is not None else []
            capped = intersect(region, *halves)
            for rival in range(self.sample.k):
                if rival == label:
                    continue
                step = s[label] - s[rival]
                found = SupportBatch.of(intersect(capped, self._active(label, rival)))(step[None, :-1])
                if found.inside[0]:
                    gains.append(float(step[:-1] @ found.points[0] + step[-1]))
                    labels.append(label)
                    points.append(found.points[0])
        if not gains:
            raise InfeasibleSet("no class has a row that meets its constraints. Raise the quantiles.")
        return np.array(gains), np.array(labels, dtype=np.intp), np.array(points)

    def _caps(self) -> Array | None:
        if self.attack.loss_quantile is None:
            return None
        return loss_caps(self.model, self.sample, self.attack.loss_quantile, 0.5, CrammerSinger())

    def _active(self, label: int, rival: int) -> FeasibleSet:
        """Rows with a hinge of at least 0.2 towards the rival: others would not pull."""
        step = self.model.coef[rival] - self.model.coef[label]
        shift = float(self.model.intercept[rival] - self.model.intercept[label])
        return Halfspace(-step, 1.0 + shift - _ACTIVE)
