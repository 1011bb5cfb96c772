"""The min-max program: the poison of a budget that makes the least training objective greatest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import InfeasibleSet, InputError
from ...core.model import MultiModel
from ...core.validation import Array, Codes, check_integers, check_number
from ...losses import MultiLoss, MultiProblem
from ...losses.multi_problem import moments
from ...losses.problem import LEAST_REG
from .master import Master, MasterSolution
from .regions import Pair, Regions, pairs
from .supports import SupportBatch

Progress = Callable[[int, int, str], None]

_ASCENTS = 5  # linearisations of the worst point of cross-entropy


class MinMaxStep(NamedTuple):
    """One line of the timeline: seconds since the start, and the bounds so far."""

    seconds: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class MinMaxSolution:
    """What the program gave.

    Parameters
    ----------
    poison : Dataset
        For Crammer and Singer's loss at most k (k - 1) rows, one for each ordered pair of classes.
        Weights are shares that add up to at most epsilon.
    model : MultiModel
        The model of the least upper bound: what training on clean rows and poison tends to.
    lower : float
        No more than the least objective of training on clean rows and this poison.
    upper : float
        No less than the least objective under any poison of this mass in the regions.
    timeline : tuple of MinMaxStep
    """

    poison: Dataset
    model: MultiModel
    lower: float
    upper: float
    timeline: tuple[MinMaxStep, ...]

    @property
    def gap(self) -> float:
        """``(upper - lower) / upper``."""
        return (self.upper - self.lower) / self.upper


class _Worst(NamedTuple):
    """The worst poison of each pair at one model."""

    points: Array
    labels: Codes
    losses: Array
    pulls: Array
    bound: float


@dataclass(frozen=True)
class MinMaxProgram:
    """Cutting planes for the program that min-max attacks approximate.

    ::

        max_{mu on F, mass eps}  min_theta  (1 + eps) R(theta) + L(theta) + E_mu phi(theta)
            =  min_theta  (1 + eps) R(theta) + L(theta) + eps max_{(x, y) in F} phi(theta; x, y)

    with R the regulariser and L the mean loss of the clean rows (sums over ``(1 + eps) n`` rows,
    divided by n). For Crammer and Singer's loss the inner maximum is exact: one support call for
    each ordered pair of classes. The master program over cuts is dual to a measure on the worst
    points found; points of one pair merge to their mean without changing its cuts, which leaves
    k (k - 1) of them. Every step gives bounds on both sides.

    For cross-entropy the worst point maximises a convex function; it is linearised from each of the
    k (k - 1) pairs. The poison and `lower` are as valid as before, and so is `upper`, for which each
    of the k terms takes its own support; but the gap need not close.

    Parameters
    ----------
    tol : float, default 1e-3
        Relative gap to stop at. With another loss than Crammer and Singer's: of the gap to the best
        point found.
    max_iter : int, default 200
    cuts : int, default 20
        How many of the worst pairs become cuts in one step.
    mix : float, default 0.5
        Where the next model lies between the best so far (0) and the minimiser of the cuts (1).

    References
    ----------
    Steinhardt, Koh, Liang (2017), section 3; Koh, Steinhardt, Liang (2022), section 4.3 and
    Proposition 10; Teo, Vishwanathan, Smola, Le (2010) for the bundle method.

    Examples
    --------
    >>> from linpoison.sets import Ball
    >>> clean = Dataset.coded([[2.0, 0.0], [-1.0, 2.0], [-1.0, -2.0]], [0, 1, 2])
    >>> regions = {label: Ball(row, 2.0) for label, row in enumerate(clean.X)}
    >>> found = MinMaxProgram().solve(clean, MultiProblem("crammer_singer", reg=0.1), regions, 0.3)
    >>> found.gap <= 1e-3, found.poison.n <= 6
    (True, True)
    """

    tol: float = 1e-3
    max_iter: int = 200
    cuts: int = 20
    mix: float = 0.5

    def __post_init__(self) -> None:
        check_number(self.tol, "tol", above=0)
        check_number(self.mix, "mix", above=0, at_most=1)
        check_integers(self, "max_iter", "cuts", at_least=1)

    def solve(
        self,
        clean: Dataset,
        problem: MultiProblem,
        regions: Regions,
        epsilon: float,
        *,
        progress: Progress | None = None,
    ) -> MinMaxSolution:
        """Solve the program to `tol`, or as far as `max_iter` steps go.

        Parameters
        ----------
        clean : Dataset
        problem : MultiProblem
            With ``reg > 0``.
        regions : mapping of label to FeasibleSet
            Each a ball, with a box and half-spaces if there are any. Codes without a region, or with
            one that is empty, are not planted.
        epsilon : float
        progress : callable, optional

        Raises
        ------
        InputError
        InfeasibleSet
            If no region holds a point.
        """
        if problem.reg <= LEAST_REG:
            raise InputError("reg above 0 in the min-max program", "0", "Give the reg that early stopping amounts to.")
        clean.require_all_classes()
        return _Run(self, clean, problem, regions, epsilon).solve(progress)


class _Run:
    """One solve: the master, the best model and the bounds."""

    def __init__(
        self, program: MinMaxProgram, clean: Dataset, problem: MultiProblem, regions: Regions, epsilon: float
    ) -> None:
        self.program, self.problem = program, problem
        self.epsilon = check_number(epsilon, "epsilon", above=0, at_most=1)
        self.clean, self.k = clean, clean.k
        self.by_class = [clean.take(clean.codes == label) for label in range(clean.k)]
        self.batches = {label: SupportBatch.of(region) for label, region in regions.items()}
        self.reg = problem.reg * (1.0 + self.epsilon)
        masses = np.append(np.ones(self.k), self.epsilon)
        self.master = Master((self.k, clean.d + 1), self.reg, problem.penalize_intercept, masses)
        self.best, self.upper, self.found, self.lower = MultiModel.zeros(self.k, clean.d), np.inf, np.inf, -np.inf

    def solve(self, progress: Progress | None) -> MinMaxSolution:
        start, timeline, theta = time.perf_counter(), [], self.best.matrix
        for step in range(self.program.max_iter):
            self._cut(MultiModel.from_matrix(theta))
            answer = self.master.solve()
            if answer.lower > self.lower:
                self.lower, poison = answer.lower, self._poison(answer)
            timeline.append(MinMaxStep(time.perf_counter() - start, self.lower, self.upper))
            if progress is not None:
                progress(step + 1, self.program.max_iter, f"min-max gap {1 - self.lower / self.upper:.1e}")
            if self.found - self.lower <= self.program.tol * self.found:
                break
            self.master.prune(answer.weights)
            theta = (1 - self.program.mix) * self.best.matrix + self.program.mix * answer.theta
        return MinMaxSolution(poison, self.best, self.lower, self.upper, tuple(timeline))

    def _cut(self, model: MultiModel) -> None:
        """Evaluate the objective at a model and cut there: once for each class, once for each of the worst pairs."""
        base = self._clean_cuts(model)
        worst = self._worst(model)
        base += (1 + self.epsilon) * self.problem.penalty(model)
        reached = base + self.epsilon * float(worst.losses.max(initial=0.0))
        self.upper = min(self.upper, base + self.epsilon * max(worst.bound, 0.0))
        if reached < self.found:
            self.found, self.best = reached, model
        order = np.argsort(-worst.losses, kind="stable")[: self.program.cuts]
        flat, ones = worst.points[order], np.ones((order.size, 1))
        cuts = worst.pulls[order][:, :, None] * np.hstack([flat, ones])[:, None, :]
        constants = worst.losses[order] - np.einsum("ijk,jk->i", cuts, model.matrix)
        tags = [(int(worst.labels[i]), worst.pulls[i], worst.points[i]) for i in order]
        self.master.add(cuts, constants, np.full(order.size, self.k), tags)

    def _clean_cuts(self, model: MultiModel) -> float:
        """Cut the risk of each class; the mean loss of the clean rows."""
        loss, total = self.problem.loss, self.clean.total
        cuts, constants, mean = [], [], 0.0
        for rows in self.by_class:
            scores, share = model.scores(rows.X), rows.weight / total
            risk = float(share @ loss.value(scores, rows.codes))
            gradient = moments(loss.pulls(scores, rows.codes) * share[:, None], rows.X)
            cuts.append(gradient)
            constants.append(risk - float((gradient * model.matrix).sum()))
            mean += risk
        self.master.add(np.array(cuts), np.array(constants), np.arange(self.k), [None] * self.k)
        return mean

    def _worst(self, model: MultiModel) -> _Worst:
        parts = []
        for label, batch in list(self.batches.items()):
            part = worst_of_class(self.problem.loss, model, batch, label)
            if part is None:
                del self.batches[label]
            else:
                parts.append(part)
        if not sum(part.labels.size for part in parts):
            raise InfeasibleSet("no class has a row that meets its constraints. Loosen the caps or the balls.")
        return _Worst(
            np.vstack([part.points for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.losses for part in parts]),
            np.vstack([part.pulls for part in parts]),
            max(part.bound for part in parts),
        )

    def _poison(self, answer: MasterSolution) -> Dataset:
        """The dual weights of the poison cuts as one row for each pair of classes."""
        chosen = np.flatnonzero((self.master.groups == self.k) & (answer.weights > 1e-9 * self.epsilon))
        tags, weights = [self.master.tags[index] for index in chosen], answer.weights[chosen]
        if self.problem.loss.temperature != 0:
            return _planted([(label, point) for label, _, point in tags], weights, self.clean)
        merged: dict[Pair, list[tuple[float, Array]]] = {}
        for (label, pull, point), weight in zip(tags, weights, strict=True):
            merged.setdefault(Pair(label, int(np.argmax(pull))), []).append((float(weight), point))
        return _merge(merged, self.clean)


def worst_of_class(loss: MultiLoss, model: MultiModel, batch: SupportBatch, label: int) -> _Worst | None:
    """The worst rows of one label, one towards each other class; None if its region is empty.

    `bound` is at least the loss of any row of the region.
    """
    rivals = np.array([pair.rival for pair in pairs(model.k) if pair.label == label])
    steps = model.coef[rivals] - model.coef[label]
    shifts = model.intercept[rivals] - model.intercept[label]
    found = batch(steps)
    if found.empty:
        return None
    usable = np.flatnonzero(found.inside)
    labels, points = np.full(usable.size, label), found.points[usable]
    reach = found.bounds + shifts
    if loss.temperature == 0:
        pulls = np.eye(model.k)[rivals[usable]] - np.eye(model.k)[label]
        losses = 1.0 + np.einsum("ij,ij->i", steps[usable], points) + shifts[usable]
        return _Worst(points, labels, losses, pulls, float(1.0 + reach.max()))
    top = np.zeros((1, model.k))
    top[0, rivals] = reach
    bound = float(loss.value(top, np.array([label]))[0])
    points = _ascend(loss, model, batch, points, labels)
    scores = model.scores(points)
    return _Worst(points, labels, loss.value(scores, labels), loss.pulls(scores, labels), bound)


def _ascend(loss: MultiLoss, model: MultiModel, batch: SupportBatch, points: Array, labels: Codes) -> Array:
    """Raise a convex loss by supports of its linearisation; it never falls."""
    for _ in range(_ASCENTS):
        before = loss.value(model.scores(points), labels)
        found = batch(loss.pulls(model.scores(points), labels) @ model.coef)
        fresh = found.points
        better = found.inside & (loss.value(model.scores(fresh), labels) > before + 1e-9)
        if not better.any():
            break
        points = np.where(better[:, None], fresh, points)
    return points


def _merge(groups: Mapping[Pair, list[tuple[float, Array]]], clean: Dataset) -> Dataset:
    """One row for each pair: the weighted mean of its points, with their whole weight."""
    rows, weights = [], []
    for pair in sorted(groups, key=lambda item: (item.label, item.rival)):
        shares = np.array([weight for weight, _ in groups[pair]])
        rows.append((pair.label, shares @ np.array([point for _, point in groups[pair]]) / shares.sum()))
        weights.append(shares.sum())
    return _planted(rows, np.array(weights), clean)


def _planted(rows: list[tuple[int, Array]], weights: Array, clean: Dataset) -> Dataset:
    X = np.array([point for _, point in rows]).reshape(-1, clean.d)
    y = np.array([label for label, _ in rows], dtype=np.intp)
    return Dataset.coded(X, y, weights, clean.k, domain=clean.domain)
