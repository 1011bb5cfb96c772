"""What a defender has computed once, and its defences need not compute again for every poison."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp

from ..core.dataset import Dataset
from ..core.model import LinearModel
from ..core.validation import Matrix
from ..learners import Learner
from ..losses import Problem
from .neighbors import Neighbors

Detector = TypeVar("Detector")


class CleanFacts:
    """What follows from the clean rows alone: computed when it is first asked for, and by whoever shares this once.

    It goes to worker processes with what it knows by then.

    Parameters
    ----------
    X : ndarray or csr_array, shape (n, d)
        The clean rows.

    Attributes
    ----------
    guesses : dict
        From what identifies a defence to what its fit of the clean rows has found; good for speed only.
    fits : dict of bytes to LinearModel
        What defenders with the exact learner have learned, see `Evaluator`.
    """

    def __init__(self, X: Matrix) -> None:
        self.X = X
        self.guesses: dict[str, Any] = {}
        self.fits: dict[bytes, LinearModel] = {}
        self._neighbors: Neighbors | None = None
        self._models: dict[str, LinearModel] = {}
        self._detectors: dict[tuple[int, str], tuple[Any, Any]] = {}
        self._latest: tuple[str, dict[int, tuple[Any, Any]]] = "", {}

    def __getstate__(self) -> dict[str, Any]:
        """Without detectors, which may hold more than the rows do, and fits, which a worker does not meet again."""
        return {**vars(self), "_detectors": {}, "_latest": ("", {}), "fits": {}}

    def of(self, X: Matrix) -> CleanFacts:
        """These facts if they are about the rows of `X`, and none yet otherwise."""
        return self if _equal(self.X, X) else CleanFacts(X)

    def neighbors(self, k: int) -> Neighbors:
        """The clean rows with at least k neighbours each."""
        if self._neighbors is None or self._neighbors.k < k:
            self._neighbors = Neighbors(self.X, k)
        return self._neighbors

    def model(self, train: Dataset, learner: Learner) -> LinearModel:
        """What a learner makes of these rows, with the labels and weights of `train`."""
        key = _question(train, learner)
        if key not in self._models:
            self._models[key] = learner.fit(train)
        return self._models[key]

    def detector(self, defense: Any, train: Dataset, learner: Learner, fit: Callable[[], Detector]) -> Detector:
        """A defence as `fit` fits it on these rows beside a learner."""
        key = id(defense), _question(train, learner)
        if key not in self._detectors:
            self._detectors[key] = defense, fit()  # the former so that its id stays taken
        found: Detector = self._detectors[key][1]
        return found

    def latest(self, defense: Any, mixed: Dataset, learner: Learner, fit: Callable[[], Detector]) -> Detector:
        """A defence as `fit` fits it on these rows with a poison, kept until it is asked of another poison.

        An attack scores what it hands over, and whoever gets it scores it again.
        """
        question = mixed.digest() + _question(mixed, learner)
        if self._latest[0] != question:
            self._latest = question, {}
        fits = self._latest[1]
        if id(defense) not in fits:
            fits[id(defense)] = defense, fit()
        found: Detector = fits[id(defense)][1]
        return found


class Known:
    """What a defence may ask of its defender: the clean rows, facts about them, and the learner's problem.

    Parameters
    ----------
    train : Dataset
        Clean rows, which come first among the rows that a defence is fitted on.
    problem : Problem
        What the defender minimises.
    facts : CleanFacts, optional
        Shared with other defenders of the same rows.
    """

    def __init__(self, train: Dataset, problem: Problem, facts: CleanFacts | None = None) -> None:
        self.train, self.problem = train, problem
        self.facts = CleanFacts(train.X) if facts is None else facts.of(train.X)

    @property
    def guesses(self) -> dict[str, Any]:
        """See `CleanFacts`."""
        return self.facts.guesses

    def neighbors(self, k: int) -> Neighbors:
        """The clean rows with at least k neighbours each."""
        return self.facts.neighbors(k)


def _question(train: Dataset, learner: Learner) -> str:
    """What tells labels, weights and learners apart."""
    state = sorted((name, repr(value)) for name, value in vars(learner).items())
    rows = hashlib.sha256(train.y.tobytes() + train.weight.tobytes()).hexdigest()
    return f"{type(learner).__name__} {state} {rows}"


def _equal(one: Matrix, other: Matrix) -> bool:
    if one is other:
        return True
    if one.shape != other.shape or sp.issparse(one) != sp.issparse(other):
        return False
    if not sp.issparse(one):
        return np.array_equal(one, other)
    parts = ("indptr", "indices", "data")
    return one.nnz == other.nnz and all(np.array_equal(getattr(one, part), getattr(other, part)) for part in parts)
