"""What a defender has computed once, and its defences need not compute again for every poison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core.dataset import Dataset
from ..core.model import LinearModel
from ..core.validation import Matrix
from ..losses import Problem
from .neighbors import Neighbors


@dataclass(eq=False)
class Memory:
    """What follows from some clean rows: computed when it is first asked for, by whoever shares this.

    It goes to worker processes with what it knows by then, but for `detectors`, which may hold more than the rows do,
    and `fits`, which a worker does not meet again.

    Attributes
    ----------
    neighbors : Neighbors, optional
    guesses : dict
        From what identifies a defence to what its fit of the clean rows has found; good for speed only.
    models : dict of LinearModel
        Of the clean rows, by labels, weights and learner.
    detectors : dict
        Defences fitted on the clean rows, by themselves and what tells models apart.
    latest : tuple
        The question that was last asked of rows with a poison, and the defences fitted on them.
    fits : dict of dict of LinearModel
        By learner, then by rows with a poison, those of them that are kept, and start.
    """

    neighbors: Neighbors | None = None
    guesses: dict[str, Any] = field(default_factory=dict)
    models: dict[str, LinearModel] = field(default_factory=dict)
    detectors: dict[tuple[int, str], tuple[Any, Any]] = field(default_factory=dict)
    latest: tuple[str, dict[tuple[int, str], tuple[Any, Any]]] = field(default_factory=lambda: ("", {}))
    fits: dict[str, dict[bytes, LinearModel]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "detectors": {}, "latest": ("", {}), "fits": {}}


class Known:
    """What a defence may ask of its defender: the clean rows, what has been computed of them, the learner's problem.

    Parameters
    ----------
    train : Dataset
        Clean rows, which come first among the rows that a defence is fitted on.
    problem : Problem
        What the defender minimises.
    like : Known, optional
        Whose `memory` is shared, if its clean rows are the same.
    """

    def __init__(self, train: Dataset, problem: Problem, like: Known | None = None) -> None:
        self.train, self.problem = train, problem
        same = like is not None and _equal(like.train.X, train.X)
        self.memory: Memory = like.memory if like is not None and same else Memory()

    @property
    def guesses(self) -> dict[str, Any]:
        """See `Memory`."""
        return self.memory.guesses

    def neighbors(self, k: int) -> Neighbors:
        """The clean rows with at least k neighbours each."""
        found = self.memory.neighbors
        if found is None or found.k < k:
            found = self.memory.neighbors = Neighbors(self.train.X, k)
        return found


def _equal(one: Matrix, other: Matrix) -> bool:
    if one is other:
        return True
    if one.shape != other.shape or sp.issparse(one) != sp.issparse(other):
        return False
    if not sp.issparse(one):
        return np.array_equal(one, other)
    parts = ("indptr", "indices", "data")
    return one.nnz == other.nnz and all(np.array_equal(getattr(one, part), getattr(other, part)) for part in parts)
