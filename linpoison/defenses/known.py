"""What a defender has computed once, and its defences need not compute again for every poison."""

from __future__ import annotations

from typing import Any

from ..core.dataset import Dataset
from ..losses import Problem
from .neighbors import Neighbors


class Known:
    """Clean rows with their neighbours, the learner's problem, and what fits of similar rows have found.

    Parameters
    ----------
    train : Dataset
        Clean rows, which come first among the rows that a defence is fitted on.
    problem : Problem
        What the defender minimises.

    Attributes
    ----------
    guesses : dict
        From what identifies a defence to what its last fit has found; good for speed only.
    """

    def __init__(self, train: Dataset, problem: Problem) -> None:
        self.train, self.problem = train, problem
        self.guesses: dict[str, Any] = {}
        self._neighbors: Neighbors | None = None

    def neighbors(self, k: int) -> Neighbors:
        """The clean rows with at least k neighbours each."""
        if self._neighbors is None or self._neighbors.k < k:
            self._neighbors = Neighbors(self.train.X, k)
        return self._neighbors
