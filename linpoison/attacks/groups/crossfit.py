"""Choosing among ways to make poison by rows that had no part in making it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ...core import Dataset, InputError, LinearModel, Mask, check_integer, check_number
from ...subpopulations.damage import Damage, correctness, measure_damage
from ..aim import Aim


@dataclass(frozen=True)
class Score:
    """What a way to make poison does to rows that it has not seen.

    Parameters
    ----------
    damage, collateral : float
        Drop in accuracy on the group and on all other rows.
    collateral_high : float
        Upper confidence limit of the collateral.
    correct : ndarray of bool, optional
        Which rows of the group are still right, for paired comparisons.
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
    """Scores ways to make poison: each row of an aim judges a model that was made without it.

    The rows of the aim are dealt into folds, the group and the others apart. For each fold poison is made
    from the other folds and added to the training rows, a model is learned, and the fold's rows judge it.

    Parameters
    ----------
    aim : Aim
    clean : LinearModel
        Learned without poison.
    folds : int, default 3
    level : float, default 0.75
        Of the one-sided upper limit of the collateral.
    seed : int, default 0

    Raises
    ------
    InputError
        If a fold would lack rows of the group or other rows.
    """

    aim: Aim
    clean: LinearModel
    folds: int = 3
    level: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer(self.folds, "folds", at_least=2)
        check_number(self.level, "level", above=0.5, below=1)
        target, others = self.rows
        if min(target.n, others.n) < self.folds:
            raise InputError(f"{self.folds} rows in the subpopulation and outside", f"{target.n} and {others.n}")

    @property
    def rows(self) -> tuple[Dataset, Dataset]:
        """Those of the group, and the others."""
        return self.aim.target, self.aim.rest("cross-fitting")

    @cached_property
    def fold(self) -> tuple[np.ndarray, np.ndarray]:
        """The fold of each row of the group, and of each other row."""
        rng, dealt = np.random.default_rng(self.seed), []
        for part in self.rows:
            fold = np.empty(part.n, dtype=np.intp)
            fold[rng.permutation(part.n)] = np.arange(part.n) % self.folds
            dealt.append(fold)
        return dealt[0], dealt[1]

    def known(self, fold: int) -> Aim:
        """The aim without the rows of a fold, which may suffer at will: they are not those that judge."""
        target, others = (part.take(own != fold) for part, own in zip(self.rows, self.fold, strict=True))
        return replace(self.aim, target=target, others=others, collateral=1.0)

    def damage(self, models: Sequence[LinearModel]) -> Damage:
        """Of models made without one fold after the other; its limits are one-sided."""
        after = np.concatenate(
            [self._correct(models, part, own) for part, own in zip(self.rows, self.fold, strict=True)]
        )
        before = np.concatenate([correctness([self.clean], part)[0] for part in self.rows])
        inside = np.arange(after.size) < self.aim.target.n
        # a two-sided interval of this level ends at the one-sided limits
        return measure_damage(before[None], after[None], inside, 2 * self.level - 1)

    def score(self, models: Sequence[LinearModel]) -> Score:
        """Of such models, over all rows."""
        damage = self.damage(models)
        right = self._correct(models, self.rows[0], self.fold[0])
        return Score(damage.target.value, damage.collateral.value, damage.collateral.high, right)

    @staticmethod
    def _correct(models: Sequence[LinearModel], rows: Dataset, fold: np.ndarray) -> Mask:
        """Which rows are right by the models made without the fold that they are in."""
        return np.asarray(correctness(models, rows)[fold, np.arange(rows.n)])


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
