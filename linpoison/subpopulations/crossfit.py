"""Choosing among ways to make poison by rows that had no part in making it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..core.errors import InputError
from ..core.model import LinearModel
from ..core.validation import Mask, check_integer, check_number
from ..learners import make_learner
from ..losses import Problem
from .damage import Damage, correctness, measure_damage
from .matching import Subpopulation
from .population import Population

Builder = Callable[[Population], Population]
"""Poison rows from those auxiliary rows that may be used to make them."""


@dataclass(frozen=True)
class Score:
    """What a way to make poison does to rows that it has not seen.

    Parameters
    ----------
    damage, collateral : float
        Drop in accuracy on the subpopulation and on all other rows.
    collateral_high : float
        Upper confidence limit of the collateral.
    correct : ndarray of bool, optional
        Which rows of the subpopulation are still right, for paired comparisons.
    """

    damage: float
    collateral: float
    collateral_high: float
    correct: Mask | None = field(default=None, compare=False, repr=False)

    def beats(self, other: Score) -> bool:
        """Whether it turns more rows than another, by more than a standard error of the difference where rows tell."""
        if self.correct is None or other.correct is None:
            return self.damage > other.damage
        more = int((other.correct & ~self.correct).sum())
        less = int((self.correct & ~other.correct).sum())
        return more - less > np.sqrt(more + less)


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Scores ways to make poison: each auxiliary row judges poison that was made without it.

    The auxiliary rows are dealt into folds, the subpopulation and the others apart. For each fold poison is made
    from the other folds and added to the training rows, a model is learned, and the fold's rows judge it.

    Parameters
    ----------
    train : Population
        Rows that the attacker takes for the defender's.
    auxiliary : Population
    group : Subpopulation
    problem : Problem
    folds : int, default 2
    level : float, default 0.95
        Of the one-sided upper limit of the collateral.
    seed : int, default 0

    Raises
    ------
    InputError
        If a fold would lack rows of the subpopulation or other rows.
    """

    train: Population
    auxiliary: Population
    group: Subpopulation
    problem: Problem
    folds: int = 2
    level: float = 0.95
    seed: int = 0
    mask: Mask = field(init=False)

    def __post_init__(self) -> None:
        check_integer(self.folds, "folds", at_least=2)
        check_number(self.level, "level", above=0.5, below=1)
        mask = self.group.mask(self.auxiliary)
        if min(int(mask.sum()), int((~mask).sum())) < self.folds:
            raise InputError(
                f"{self.folds} auxiliary rows in the subpopulation and outside", f"{mask.sum()} of {mask.size} in it"
            )
        object.__setattr__(self, "mask", mask)

    def parts(self) -> Mask:
        """Which rows each fold holds, shape (folds, n)."""
        rng = np.random.default_rng(self.seed)
        fold = np.empty(self.mask.size, dtype=int)
        for side in (self.mask, ~self.mask):
            rows = rng.permutation(np.flatnonzero(side))
            fold[rows] = np.arange(rows.size) % self.folds
        return np.asarray(fold == np.arange(self.folds)[:, None])

    @cached_property
    def splits(self) -> tuple[tuple[Population, Mask], ...]:
        """For each fold the rows of the others, and which rows it holds."""
        return tuple((self.auxiliary.take(~held), held) for held in self.parts())

    @cached_property
    def _clean(self) -> LinearModel:
        return self.learn(self.train)

    def learn(self, rows: Population) -> LinearModel:
        """The model of these rows."""
        return make_learner(self.problem, method="quick").fit(rows.dataset())

    def correct(self, model_of: Callable[[Population], LinearModel]) -> Mask:
        """Which auxiliary rows are right by models made without the fold that they are in, shape (1, n)."""
        after = np.empty((1, self.mask.size), dtype=bool)
        for known, held in self.splits:
            after[:, held] = correctness([model_of(known)], self.auxiliary.take(held))
        return after

    def damage(self, after: Mask) -> Damage:
        """Of such models; its limits are one-sided."""
        before = correctness([self._clean], self.auxiliary)
        # a two-sided interval of this level ends at the one-sided limits
        return measure_damage(before, after, self.mask, 2 * self.level - 1)

    def drops(self, model_of: Callable[[Population], LinearModel]) -> Damage:
        """Damage of models made without the fold that judges them; its limits are one-sided."""
        return self.damage(self.correct(model_of))

    def score(self, build: Builder) -> Score:
        """What `build` does, over all auxiliary rows."""
        after = self.correct(lambda known: self.learn(self.train.mix(build(known))))
        damage = self.damage(after)
        return Score(damage.target.value, damage.collateral.value, damage.collateral.high, after[0, self.mask])

    def scores(self, builders: Mapping[str, Builder]) -> dict[str, Score]:
        """Of several, by name."""
        return {name: self.score(build) for name, build in builders.items()}


def most_damaging(scores: Mapping[str, Score], limit: float | None = None, plain: Collection[str] = ()) -> str:
    """The name of the most damaging whose collateral's upper limit is at most `limit`.

    Where none is, the one of the least upper limit; without a `limit` the most damaging of all. Of equal damage, the
    one of least collateral. The best of the `plain` ones, if any keeps the limit, gives way only to one that beats it
    by more than a standard error (`Score.beats`): the greatest of many noisy numbers is too great.

    An upper limit holds with its level (`CrossFit.level`) for each candidate that was named beforehand. It is not
    corrected for the number of candidates, so that of the one chosen among many, its damage too, holds with less: judge
    it on rows that had no part in the choice.

    Examples
    --------
    >>> scores = {"strong": Score(0.9, 0.02, 0.03), "mild": Score(0.4, 0.002, 0.006), "none": Score(0.0, 0.0, 0.0)}
    >>> most_damaging(scores), most_damaging(scores, 0.01)
    ('strong', 'mild')
    """
    if not scores:
        raise InputError("at least one score", "none")
    within = [name for name, score in scores.items() if limit is None or score.collateral_high <= limit]
    if not within:
        return min(scores, key=lambda name: scores[name].collateral_high)

    def worth(name: str) -> tuple[float, float]:
        return scores[name].damage, -scores[name].collateral

    best = max(within, key=worth)
    simple = max((name for name in within if name in plain), key=worth, default=best)
    return best if scores[best].beats(scores[simple]) else simple
