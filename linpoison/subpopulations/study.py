"""One attack against many subpopulations: damage of each, beside what retraining alone would show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..core import InputError, Mask, check_integer, check_number
from ..core.journal import Journal
from ..risk import Sample
from .damage import Damage, measure_damage
from .matching import Matcher, Subpopulation
from .parts import Index, Parts
from .trainers import Predictor, SubpopulationTrainer

Progress = Callable[[int, int, str], None]


class SubpopulationAttack(Protocol):
    """Makes poison from what the attacker sees."""

    def poison(self, auxiliary: Sample, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Sample:
        """`count` poison rows against `group`; `surrogate` was trained on the auxiliary rows."""


def poison_count(alpha: float, group: Subpopulation, auxiliary: Sample) -> int:
    """``alpha m``, rounded, but at least 1: the poison for m auxiliary rows of the group.

    Parameters
    ----------
    alpha : float
        Poison rows for each auxiliary row of the group.
    group : Subpopulation
    auxiliary : Sample

    Raises
    ------
    InputError
        If no auxiliary row is in the group.
    """
    check_number(alpha, "alpha", above=0, remedy="It is the poison as a multiple of the group's auxiliary rows.")
    members = int(group.mask(auxiliary).sum())
    if not members:
        raise InputError(f"auxiliary rows of {group.name}", "none")
    return max(round(alpha * members), 1)


@dataclass(frozen=True)
class GroupDamage:
    """One subpopulation at one strength.

    Parameters
    ----------
    name : str
    alpha : float
        Poison rows for each auxiliary row of the subpopulation.
    n_auxiliary, n_poison : int
    clean_accuracy : float
        On its test rows, without poison.
    damage : Damage
    null : Damage
        The same measure between two sets of models trained without poison: what seeds alone do.
    halves : tuple of (float, float)
        Target damage on either half of its test rows; NaN for a half without rows.
    null_halves : tuple of (float, float)
    poison_class : object
        The class that most of the poison rows have.
    rates : tuple of (float, float)
        Share of the subpopulation's test rows that get this class, without poison and with it: what a class-targeted
        attack is after.
    """

    name: str
    alpha: float
    n_auxiliary: int
    n_poison: int
    clean_accuracy: float
    damage: Damage
    null: Damage
    halves: tuple[float, float]
    null_halves: tuple[float, float]
    poison_class: Any
    rates: tuple[float, float]


@dataclass(frozen=True)
class Worst:
    """Mean target damage of the most damaged subpopulations.

    Parameters
    ----------
    damage : float
        Chosen and measured on the same test rows, as in the papers.
    null : float
        The same without poison: how far choosing the greatest of noisy numbers alone gets.
    unseen : float
        Chosen on one half of each subpopulation's test rows, measured on the other, averaged over both ways.
    null_unseen : float
    size : float
        Mean number of poison rows of those chosen.
    """

    damage: float
    null: float
    unseen: float
    null_unseen: float
    size: float


@dataclass(frozen=True)
class Study:
    """Damage of one attack over many subpopulations and strengths.

    Parameters
    ----------
    groups : tuple of GroupDamage
        In the order of `alphas`, and in each of the subpopulations.
    clean_accuracy : float
        On all test rows.
    seeds : int
        Trainings with and without poison behind each number.
    """

    groups: tuple[GroupDamage, ...]
    clean_accuracy: float
    seeds: int

    @property
    def alphas(self) -> list[float]:
        """Strengths, ascending."""
        return sorted({group.alpha for group in self.groups})

    def at(self, alpha: float) -> list[GroupDamage]:
        """The subpopulations at one strength, the most damaged first."""
        chosen = [group for group in self.groups if group.alpha == alpha]
        if not chosen:
            raise InputError(f"alpha among {self.alphas}", f"{alpha:g}")
        return sorted(chosen, key=lambda group: -group.damage.target.value)

    def worst(self, k: int, alpha: float) -> Worst:
        """Mean target damage of the `k` most damaged (of all, if there are fewer)."""
        check_integer(k, "k", at_least=1)
        groups = self.at(alpha)
        nulls = sorted((group.null.target.value for group in groups), reverse=True)
        return Worst(
            float(np.mean([group.damage.target.value for group in groups[:k]])),
            float(np.mean(nulls[:k])),
            _unseen([group.halves for group in groups], k),
            _unseen([group.null_halves for group in groups], k),
            float(np.mean([group.n_poison for group in groups[:k]])),
        )


def _unseen(halves: Sequence[tuple[float, float]], k: int) -> float:
    both = np.array([pair for pair in halves if not np.isnan(pair).any()])
    if not both.size:
        return float("nan")
    return float(np.mean([both[np.argsort(-both[:, half], kind="stable")[:k], 1 - half].mean() for half in (0, 1)]))


def study(
    parts: Parts,
    matcher: Matcher,
    attack: SubpopulationAttack,
    trainer: SubpopulationTrainer,
    *,
    alphas: Sequence[float] = (0.5, 1.0, 2.0),
    seeds: int = 3,
    groups: Iterable[Subpopulation] | None = None,
    least_test: int = 2,
    progress: Progress | None = None,
    store: Journal | None = None,
) -> Study:
    """Attack one subpopulation after another, retrain, and measure the damage on the test rows.

    Parameters
    ----------
    parts : Parts
        The attacker sees `auxiliary`; learners are trained on `train`, with and without poison.
    matcher : Matcher
        Fitted here, on the auxiliary rows.
    attack : SubpopulationAttack
    trainer : SubpopulationTrainer
        Of the defender, and of the surrogate that is trained on the auxiliary rows.
    alphas : sequence of float
        Strengths: poison rows for each auxiliary row of the subpopulation.
    seeds : int, default 3
        Trainings with poison for each subpopulation and strength; twice as many without, half of them for the
        null damage.
    groups : iterable of Subpopulation, optional
        All that `matcher` finds by default; pass those of a matcher that has been fitted already.
    least_test : int, default 2
        Subpopulations with fewer test rows are left out.
    progress : callable, optional
        Called with (steps done, steps in all, what is done).
    store : Journal, optional
        Finished trainings are read from it and written to it, so that an interrupted study resumes.

    Raises
    ------
    InputError
        If no subpopulation has `least_test` test rows, and others outside it.
    """
    check_integer(seeds, "seeds", at_least=1)
    if groups is None:
        groups = matcher.fit(parts.auxiliary).subpopulations()
    chosen = [(group, group.mask(parts.test)) for group in groups]
    chosen = [(group, mask) for group, mask in chosen if least_test <= mask.sum() < mask.size]
    if not chosen:
        raise InputError(f"a subpopulation of at least {least_test} test rows, and test rows outside it", "none")
    run = _Run(parts, attack, trainer, seeds, store, progress, len(alphas) * len(chosen) * seeds + 2 * seeds)
    before = np.concatenate([run.clean(seed) for seed in range(2 * seeds)])
    found = [run.measure(group, mask, alpha, before) for alpha in alphas for group, mask in chosen]
    return Study(tuple(found), float((before[:seeds] == run.truth).mean()), seeds)


@dataclass(eq=False)
class _Run:
    """The trainings of one study; predictions are the places of labels in `classes`."""

    parts: Parts
    attack: SubpopulationAttack
    trainer: SubpopulationTrainer
    seeds: int
    store: Journal | None
    progress: Progress | None
    steps: int
    done: int = 0
    surrogate: Any = None

    def __post_init__(self) -> None:
        known = (self.parts.train.y, self.parts.auxiliary.y, self.parts.test.y)
        self.classes = np.unique(np.concatenate(known))
        self.truth = self._codes(self.parts.test.y)

    def clean(self, seed: int) -> Index:
        """What a model trained without poison says of the test rows, shape (1, n)."""
        return self._step(f"clean/{seed}", lambda: (self.trainer.fit(self.parts.train, seed), None))[0]

    def measure(self, group: Subpopulation, mask: Mask, alpha: float, before: Index) -> GroupDamage:
        """Poison with one seed after another."""
        count = poison_count(alpha, group, self.parts.auxiliary)
        steps = [self._poisoned(group, alpha, count, seed) for seed in range(self.seeds)]
        said, code = np.concatenate([step[0] for step in steps]), int(np.bincount([step[1] for step in steps]).argmax())
        after, first, second = (codes == self.truth for codes in (said, before[: self.seeds], before[self.seeds :]))
        damage, null = measure_damage(first, after, mask), measure_damage(first, second, mask)
        members = int(group.mask(self.parts.auxiliary).sum())
        accuracy = float(first[:, mask].mean())
        halves, null_halves = _halves(first, after, mask), _halves(first, second, mask)
        rates = tuple(float((codes[:, mask] == code).mean()) for codes in (before[: self.seeds], said))
        return GroupDamage(
            group.name, float(alpha), members, count, accuracy, damage, null, halves, null_halves, self.classes[code],
            (rates[0], rates[1]),
        )  # fmt: skip

    def _poisoned(self, group: Subpopulation, alpha: float, count: int, seed: int) -> tuple[Index, int]:
        def fit() -> Any:
            if self.surrogate is None:
                self.surrogate = self.trainer.fit(self.parts.auxiliary, 0)
            poison = self.attack.poison(self.parts.auxiliary, group, count, self.surrogate, seed)
            return self.trainer.fit(self.parts.train.mix(poison), seed), poison.y

        return self._step(f"{group.name}/{group.code}/{alpha:g}/{seed}", fit)

    def _step(self, key: str, fit: Callable[[], tuple[Predictor, Any]]) -> tuple[Index, int]:
        """What a model says of the test rows, and which class most of its poison has."""
        stored = None if self.store is None else self.store.get(key)
        if stored is None or "said" not in stored:
            model, labels = fit()
            code = 0 if labels is None else int(np.bincount(self._codes(labels)).argmax())
            stored = {"said": self._codes(model.predict(self.parts.test.X)), "code": np.array(code)}
            if self.store is not None:
                self.store.put(key, stored)
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.steps, key)
        return stored["said"][None], int(stored["code"])

    def _codes(self, labels: Any) -> Index:
        places = np.searchsorted(self.classes, labels).clip(max=self.classes.size - 1)
        return np.where(self.classes[places] == labels, places, -1)


def _halves(before: Mask, after: Mask, mask: Mask) -> tuple[float, float]:
    drops = before[:, mask].mean(axis=0) - after[:, mask].mean(axis=0)
    return (float(drops[::2].mean()), float(drops[1::2].mean()) if drops.size > 1 else float("nan"))
