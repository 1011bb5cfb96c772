"""The min-max attack as Koh et al. run it: AdaGrad on the learner's side, one worst row a step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core import LABELS, Array, Dataset, InputError, Poison, check_integer, check_number
from ..learners import make_learner
from ..losses import Problem
from ..rounding import copies_of, round_point
from ..sets import ByLabel, Oracle
from .saddle_parts import CleanPart


@dataclass(frozen=True)
class AdaGradLoop:
    """What Algorithm 5 of Koh et al. is told, for any number of classes.

    Parameters
    ----------
    rate : float, default 0.03
        AdaGrad's step; its accumulators start at 1.
    repeats : int, default 2
        Copies of each row.
    burn_in : float, default 0.1
        Steps on at least so many rows, as a share of the clean rows, the poison included.
    """

    rate: float = 0.03
    repeats: int = 2
    burn_in: float = 0.1

    def __post_init__(self) -> None:
        check_number(self.rate, "rate", above=0)
        check_number(self.burn_in, "burn_in", at_least=0)
        check_integer(self.repeats, "repeats", at_least=1)

    def burned(self, epsilon: float, total: int) -> int:
        """Steps whose rows are thrown away, before `total` rows are planted."""
        if total < 1:
            raise InputError("at least one poison row", str(total))
        return -(-round(max(1.0, self.burn_in / epsilon - 1.0) * total) // self.repeats)


@dataclass(frozen=True)
class PaperLoop(AdaGradLoop):
    """Algorithm 5 of Koh et al.

    From the clean model, repeat: take the row of greatest loss over both classes' sets, plant
    `repeats` copies of it (each rounded by itself in a domain of counts), and take one AdaGrad step on

        clean loss + epsilon loss(row) + reg/2 |theta|^2,

    each loss times its class weight (balanced ones are those of the clean rows).

    The rows of the first steps are thrown away, the next ``epsilon N`` are the poison. See `AdaGradLoop` for the
    parameters.

    References
    ----------
    Koh, Steinhardt, Liang, Algorithm 5; step, burn-in and repeats are those of their code, which
    starts from an intercept of zero.
    """

    def rows(
        self, train: Dataset, problem: Problem, sets: ByLabel, epsilon: float, total: int, rng: np.random.Generator
    ) -> Poison:
        """The poison of `total` rows.

        Raises
        ------
        InputError
            If a set is unbounded in a direction that matters.
        InfeasibleSet
            If a set is empty.
        """
        burned = self.burned(epsilon, total)
        walk = _Walk(self, train, problem, sets, epsilon, rng)
        for _ in range(burned):
            walk.step()
        planted = [walk.step() for _ in copies_of(total, self.repeats)]
        X = np.vstack([rows for rows, _ in planted])[:total]
        y = np.repeat([label for _, label in planted], self.repeats)[:total]
        return Poison(X, y, np.ones(total)).merged()


class _Walk:
    """AdaGrad's iterate."""

    def __init__(
        self,
        loop: PaperLoop,
        train: Dataset,
        problem: Problem,
        sets: ByLabel,
        epsilon: float,
        rng: np.random.Generator,
    ) -> None:
        self.loop, self.problem, self.sets, self.epsilon, self.rng = loop, problem, sets, epsilon, rng
        fixed = replace(problem, class_weight=problem.class_weights(train))
        self.heavy = {label: float(fixed.weights_of(label)) for label in LABELS}
        self.clean = CleanPart(train, fixed)
        self.penalty = problem.pinned((1 + epsilon) * train.total).reg * problem.penalty_mask(train.d)
        self.penalty[-1] = 0.0
        self.integral = train.domain.integral
        self.oracles = {label: Oracle(sets[label]) for label in LABELS}
        self.v = np.append(make_learner(problem).fit(train).coef, 0.0)
        self.squares = np.ones(train.d + 1)

    def step(self) -> tuple[Array, float]:
        """Plant copies of one row and move; the copies and their label."""
        row, label = self._worst()
        copies = np.tile(row, (self.loop.repeats, 1))
        if self.integral:
            copies = round_point(row, self.loop.repeats, self.rng, law="independent", inside=self.sets[label])
        loss = self.problem.loss
        slope = self.clean.share * loss.derivative(self.clean.margins(self.v))
        last = np.append(copies[-1], 1.0)
        pull = self.heavy[label] * float(loss.derivative(np.array([label * float(last @ self.v)]))[0])
        gradient = self.clean.pull(slope) + self.epsilon * pull * label * last + self.penalty * self.v
        if not self.problem.fit_intercept:
            gradient[-1] = 0.0
        self.squares += gradient**2
        self.v = self.v - self.loop.rate * gradient / np.sqrt(self.squares)
        return copies, label

    def _worst(self) -> tuple[Array, float]:
        rows = {label: self.oracles[label].support(-label * self.v[:-1]) for label in LABELS}
        margins = {label: label * float(rows[label] @ self.v[:-1] + self.v[-1]) for label in LABELS}
        values = self.problem.loss.value(np.array([margins[label] for label in LABELS]))
        costs = {label: self.heavy[label] * float(value) for label, value in zip(LABELS, values, strict=True)}
        label = max(LABELS, key=lambda each: (costs[each], -margins[each]))
        return rows[label], label
