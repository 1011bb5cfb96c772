"""Decoy parameters: models that err on the target rows and cost little on the clean rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import Array, Candidate, Dataset, InputError, LinearModel, Poison, check_integer, check_number
from ..learners import make_learner
from ..losses import Problem
from .parallel import in_parallel
from .run import Run, Step


@dataclass(frozen=True, eq=False)
class Decoy:
    """One candidate for the parameters the defender should learn.

    Parameters
    ----------
    model : LinearModel
    quantile, repeats : float, int
        The share of the target rows that were flipped, and the copies of each.
    target_error : float
        Its error on the target rows: what the attacker gains if it is learned.
    clean_loss : float
        Its mean loss on the clean training rows: what it costs to make it optimal.
    """

    model: LinearModel
    quantile: float
    repeats: int
    target_error: float
    clean_loss: float

    @property
    def label(self) -> str:
        """How it was made, in words."""
        return f"decoy q={self.quantile:.2f} r={self.repeats}"


@dataclass(frozen=True)
class LabelFlipDecoys:
    """The label-flip heuristic of Koh et al., Algorithm 3.

    For each quantile `q` and number of repeats `r`: take the target rows whose margin under the
    clean model lies strictly below the q-quantile of all margins, copies counted (flipped, they are the rows that
    the clean model fits best), add `r` copies of each with its label flipped, and train on clean
    and flipped rows together. Where no quantile has a row strictly below it (a single target row, or
    rows of one margin) all of them are flipped.

    Parameters
    ----------
    quantiles : sequence of float in (0, 1)
    repeats : sequence of int
        The defaults are the grid of Koh et al. for Enron (11 x 9, appendix B.2).
    prune : bool, default True
        Keep the Pareto front only: drop a decoy if another errs at least as much on the target
        rows at no greater clean loss.
    many_entries : int, default 3_000_000
        Stored entries of the training rows above which a third of the quantiles and of the repeats
        are tried, since each decoy takes a fit.

    References
    ----------
    Koh, Steinhardt, Liang. Stronger data poisoning attacks break data sanitization defenses.
    Section 4.2.1, Algorithm 3, appendix B.2.
    """

    quantiles: Sequence[float] = tuple(np.round(np.arange(0.05, 0.56, 0.05), 2).tolist())
    repeats: Sequence[int] = (1, 2, 3, 5, 8, 12, 18, 25, 33)
    prune: bool = True
    many_entries: int = 3_000_000

    def __post_init__(self) -> None:
        quantiles = tuple(check_number(q, "a decoy quantile", above=0, below=1) for q in self.quantiles)
        repeats = tuple(check_integer(r, "decoy repeats", at_least=1) for r in self.repeats)
        if not quantiles or not repeats:
            raise InputError("at least one quantile and one number of repeats", "none")
        check_integer(self.many_entries, "many_entries", at_least=0)
        object.__setattr__(self, "quantiles", quantiles)
        object.__setattr__(self, "repeats", repeats)

    def many(self, train: Dataset) -> bool:
        """Whether a fit on these rows is long."""
        return int(train.X.nnz if train.is_sparse else train.X.size) > self.many_entries

    def grid(self, train: Dataset) -> tuple[Sequence[float], Sequence[int]]:
        """Quantiles and repeats for some training rows: all, or a part of them where a fit is long."""
        if not self.many(train):
            return self.quantiles, self.repeats
        return self.quantiles[1::3] or self.quantiles, self.repeats[1::3] or self.repeats

    def generate(
        self,
        train: Dataset,
        problem: Problem,
        target: Dataset,
        *,
        base: LinearModel | None = None,
        clean: LinearModel | None = None,
        n_jobs: int = 1,
    ) -> list[Decoy]:
        """Decoys for a learning problem, the greatest target error first.

        Parameters
        ----------
        train, problem, target : Dataset, Problem, Dataset
        base : LinearModel, optional
            The model whose margins choose the rows to flip; the clean model by default. With a
            model that was already poisoned, decoys follow the errors it has made (the improved
            targets of Suya et al. 2021).
        clean : LinearModel, optional
            What is learned without poison, where that is known.
        n_jobs : int, default 1
            Worker processes, one quantile a task.
        """
        clean = make_learner(problem).fit(train) if clean is None else clean
        margins = (base or clean).margins(target)
        quantiles, repeats = self.grid(train)
        there = target.weight > 0
        flipped = {
            quantile: there & (margins < weighted_quantile(margins, target.weight, quantile)) for quantile in quantiles
        }
        if not any(chosen.any() for chosen in flipped.values()):
            flipped = {1.0: there}
        tasks = [
            (quantile, repeats, target.take(chosen), train, problem, target, clean, self.many(train))
            for quantile, chosen in flipped.items()
            if chosen.any()
        ]
        decoys = [decoy for group in in_parallel(_trained, tasks, n_jobs) for decoy in group]
        return pareto_front(decoys) if self.prune else sorted(decoys, key=lambda decoy: -decoy.target_error)

    def regrow(
        self,
        train: Dataset,
        problem: Problem,
        target: Dataset,
        poison: Poison,
        reach: Sequence[float],
        *,
        clean: LinearModel | None = None,
        n_jobs: int = 1,
    ) -> list[Decoy]:
        """Decoys that start from the model which a poison plants and cost little more than it (see `in_reach`)."""
        planted = make_learner(problem).fit(train.mix(poison.expanded()))
        grown = self.generate(train, problem, target, base=planted, clean=clean, n_jobs=n_jobs)
        return in_reach(grown, problem.mean_loss(planted, train), reach)


REGROWN = LabelFlipDecoys(
    quantiles=(0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6), repeats=(1, 2, 3, 4, 5, 6, 8, 12)
)
"""The grid of later generations."""


def factors(reach: Sequence[float]) -> tuple[float, ...]:
    """At least one factor of reach, all above zero."""
    checked = tuple(check_number(factor, "reach", above=0) for factor in reach)
    if not checked:
        raise InputError("at least one factor of reach", "none")
    return checked


def _trained(
    quantile: float,
    repeats: Sequence[int],
    chosen: Dataset,
    train: Dataset,
    problem: Problem,
    target: Dataset,
    clean: LinearModel,
    quick: bool,
) -> list[Decoy]:
    """The decoys of one quantile. A decoy need not be trained tightly: any model will do for one."""
    learner = make_learner(problem, method="quick" if quick else "auto")
    decoys = []
    for copies in repeats:
        model = learner.fit(train.mix(_flipped(chosen, copies)), start=clean)
        decoys.append(Decoy(model, quantile, copies, model.error(target), problem.mean_loss(model, train)))
    return decoys


def weighted_quantile(values: Array, weight: Array, q: float) -> float:
    """The q-quantile of `values` repeated `weight` times, as `numpy.quantile` has it.

    Examples
    --------
    >>> weighted_quantile(np.array([3.0, 1.0]), np.array([1.0, 3.0]), 0.75)
    1.5
    """
    if (weight == 1).all():
        return float(np.quantile(values, q))
    order = np.argsort(values, kind="stable")
    order = order[weight[order] > 0]
    upto = np.cumsum(weight[order])
    place = q * max(float(upto[-1]) - 1.0, 0.0)
    low, high = (
        values[order[min(int(np.searchsorted(upto, rank, side="right")), order.size - 1)]]
        for rank in (np.floor(place), np.floor(place) + 1)
    )
    return float(low + (place - np.floor(place)) * (high - low))


def pareto_front(decoys: Sequence[Decoy]) -> list[Decoy]:
    """Decoys that no other beats in target error and clean loss, the greatest target error first."""
    kept: list[Decoy] = []
    for decoy in sorted(decoys, key=lambda item: (-item.target_error, item.clean_loss)):
        if not kept or decoy.clean_loss < kept[-1].clean_loss:
            kept.append(decoy)
    return kept


def by_promise(decoys: Sequence[Decoy], problem: Problem, train: Dataset, epsilon: float) -> list[Decoy]:
    """Decoys with the most promising first, so that a good poison is found early.

    A decoy is promising if it errs much and the mass that it needs without any defence (the
    closed-form threshold of Lu et al., Theorem 2, with the regulariser) is small against the
    budget.
    """
    heaviest = max(problem.class_weights(train))

    def promise(decoy: Decoy) -> float:
        vector = decoy.model.vector
        pull = float(problem.data_gradient(decoy.model, train) @ vector)
        penalty = problem.pinned(train.total).reg * float(problem.penalty_mask(train.d) @ vector**2)
        growth = penalty if problem.scaling == "mean" else 0.0
        needed = (pull + penalty) / max(heaviest * float(problem.loss.reach) - growth, 1e-12)
        return decoy.target_error - float(max(needed / epsilon, -1.0))

    return sorted(decoys, key=promise, reverse=True)


def swept(
    run: Run,
    waiting: Sequence[Decoy],
    size: int,
    step: Callable[..., Step],
    arguments: Callable[[Decoy, list[int]], tuple[Any, ...]],
) -> list[Candidate]:
    """What a step finds with decoys, so many at a time; then those that err no more than what is reached are left out.

    `arguments` are those of the step, from a decoy and what tells its random draws from those of others.
    """
    found: list[Candidate] = []
    batch = 0
    while waiting:
        tried = [arguments(decoy, [0, batch, index]) for index, decoy in enumerate(waiting[:size])]
        found += run.steps(f"decoys, batch {batch + 1}", step, tried)
        reached = max((item.worst for item in found), default=0.0)
        waiting = [decoy for decoy in waiting[size:] if decoy.target_error > reached]
        batch += 1
    return found


def in_reach(decoys: Sequence[Decoy], clean_loss: float, factors: Sequence[float]) -> list[Decoy]:
    """For each factor the decoy of greatest target error whose clean loss is at most factor times `clean_loss`."""
    chosen: dict[int, Decoy] = {}
    for factor in factors:
        affordable = [decoy for decoy in decoys if decoy.clean_loss <= factor * clean_loss]
        if affordable:
            best = max(affordable, key=lambda decoy: decoy.target_error)
            chosen.setdefault(id(best), best)
    return list(chosen.values())


def _flipped(rows: Dataset, copies: int) -> Dataset:
    return Dataset(rows.X, -rows.y, rows.weight * copies, rows.domain, name="flipped")
