"""Algorithm 5 of Koh et al. on k classes: AdaGrad on the learner's side, one worst row a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import InfeasibleSet
from ...core.model import MultiModel
from ...core.validation import Array
from ...losses import MultiProblem
from ...losses.multi_problem import moments
from ..minmax_paper import AdaGradLoop
from .minmax_program import worst_of_class
from .regions import Regions
from .supports import SupportBatch

_ASKED = 3
"""Codes of greatest loss at their last answers, for which each step looks for a worst row."""


@dataclass(frozen=True)
class MultiPaperLoop(AdaGradLoop):
    """The min-max attack as the paper runs it, for k classes.

    From the model of the clean rows, repeat: take the row of greatest loss over all regions, plant `repeats`
    copies of it, and take one AdaGrad step on

        clean loss + epsilon loss(row) + regulariser.

    The rows of the first steps are thrown away, the next ``epsilon N`` are the poison. See `AdaGradLoop` for the
    parameters.

    References
    ----------
    Koh, Steinhardt, Liang (2022), Algorithm 5 and section 5.7. Their program draws one rival for each label at
    random; here the worst of all is taken.
    """

    def rows(
        self,
        clean: Dataset,
        problem: MultiProblem,
        regions: Regions,
        epsilon: float,
        start: MultiModel,
        total: int,
    ) -> Dataset:
        """The poison, its weights as shares of the clean rows.

        Parameters
        ----------
        clean : Dataset
            Rows, or a sample of them, that the steps see.
        problem : MultiProblem
        regions : mapping of label to FeasibleSet
        epsilon : float
        start : MultiModel
            Of the clean rows.
        total : int
            Number of rows, with copies, that the budget buys.

        Raises
        ------
        InfeasibleSet
            If no region holds a point.
        """
        burned = self.burned(epsilon, total)
        walk = _Walk(self, clean, problem, regions, epsilon, start)
        for _ in range(burned):
            walk.step()
        planted = [walk.step() for _ in range(-(-total // self.repeats))]
        counts = np.full(len(planted), float(self.repeats))
        counts[-1] -= counts.sum() - total
        X, y = np.array([row for row, _ in planted]), np.array([label for _, label in planted], dtype=np.intp)
        return Dataset.coded(X, y, counts * (epsilon / total), clean.k, domain=clean.domain)


class _Walk:
    """AdaGrad's iterate."""

    def __init__(
        self,
        loop: MultiPaperLoop,
        clean: Dataset,
        problem: MultiProblem,
        regions: Regions,
        epsilon: float,
        start: MultiModel,
    ) -> None:
        self.loop, self.clean, self.problem, self.epsilon = loop, clean, problem, epsilon
        self.batches = {label: SupportBatch.of(region) for label, region in regions.items()}
        self.share = clean.weight / clean.total
        self.theta = np.array(start.matrix)
        self.squares = np.ones_like(self.theta)
        self.levels: dict[int, float] = {}
        self.turn = 0

    def step(self) -> tuple[Array, int]:
        """Plant one row and move; the row and its label."""
        model, loss = MultiModel.from_matrix(self.theta), self.problem.loss
        row, label, pull = self._worst(model)
        clean = loss.pulls(model.scores(self.clean.X), self.clean.codes) * self.share[:, None]
        gradient = moments(clean, self.clean.X) + self.epsilon * np.outer(pull, np.append(row, 1.0))
        gradient += self.problem.reg * self.problem.penalty_mask(self.clean.d) * self.theta
        self.squares += gradient**2
        self.theta = self.theta - self.loop.rate * gradient / np.sqrt(self.squares)
        return row, label

    def _worst(self, model: MultiModel) -> tuple[Array, int, Array]:
        """The worst row of the labels that are asked in this step, towards its worst rival."""
        best: tuple[float, Array, int, Array] | None = None
        for label in self._asked():
            found = worst_of_class(self.problem.loss, model, self.batches[label], label)
            if found is None or not found.losses.size:
                self.levels[label] = -np.inf
                continue
            at = int(np.argmax(found.losses))
            self.levels[label] = float(found.losses[at])
            if best is None or found.losses[at] > best[0]:
                best = float(found.losses[at]), found.points[at], label, found.pulls[at]
        if best is None:
            raise InfeasibleSet("no class has a row that meets its constraints. Loosen the caps or the balls.")
        return best[1:]

    def _asked(self) -> list[int]:
        """All labels first; then those whose last answers were greatest, and one more in turn.

        A step moves the model by little, so that the worst label is among the last worst ones.
        """
        if not self.levels:
            return list(self.batches)
        usable = [label for label in self.batches if np.isfinite(self.levels[label])] or list(self.batches)
        chosen = sorted(usable, key=lambda label: -self.levels[label])[:_ASKED]
        self.turn += 1
        return list(dict.fromkeys([*chosen, usable[self.turn % len(usable)]]))
