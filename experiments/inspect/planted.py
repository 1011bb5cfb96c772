"""Poison planted in clean training rows, made once by the attacks of the library and kept in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

import linpoison
from linpoison.attacks import Scenario, make_attack
from linpoison.auditing import LearnerOptions
from linpoison.auditing.inputs import build_defenses
from linpoison.core import Budget, Dataset, Poison, Split

DATA = ("breast_cancer", "digits17", "gaussians", "counts")
"""Sets that forms of detectors were looked at on."""
APART = ("adult:800", "mnist17:600", "reviews:600")
"""Sets, so many training and test rows of each, that nothing was changed for."""
ATTACKS = ("kkt", "min-max", "influence", "refined", "breakdown", "random-flips")
SHARES = (0.03, 0.01, 0.003)
OPTIONS = LearnerOptions(model="svm")


@dataclass(frozen=True, eq=False)
class Planted:
    """Rows in a random order, which of them are poison, and clean rows to test on."""

    data: str
    attack: str
    share: float
    rows: Dataset
    poison: np.ndarray
    test: Dataset

    @property
    def clean(self) -> Dataset:
        """Without the poison."""
        return self.rows.take(~self.poison)


def planted(
    names: tuple[str, ...], attacks: tuple[str, ...], shares: tuple[float, ...], folder: Path, seed: int = 0
) -> Iterator[Planted]:
    """Every data set with every poison of every share; clean once for each data set, as the attack "none"."""
    for name in names:
        split = loaded(name, seed)
        yield _mixed(name, "none", 0.0, split, None, seed)
        for share in shares:
            for attack in attacks:
                path = folder / f"{name}-{attack}-{share:g}-{seed}.npz"
                if not path.exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    made(split, attack, share, seed).save(path)
                yield _mixed(name, attack, share, split, Poison.load(path), seed)


def loaded(name: str, seed: int = 0) -> Split:
    """A data set by its name, or so many rows of either part as stand behind a colon, the classes in proportion.

    ``reviews`` are the features of film reviews, `LINPOISON_DATA` naming the folder that holds them.
    """
    name, _, most = name.partition(":")
    split = reviews() if name == "reviews" else linpoison.load(name)
    return Split(*(thinned(part, int(most), seed) for part in (split.train, split.test))) if most else split


def thinned(rows: Dataset, most: int, seed: int) -> Dataset:
    """At most so many rows, in their order."""
    if rows.n <= most:
        return rows
    chosen = train_test_split(np.arange(rows.n), train_size=most, random_state=seed, stratify=rows.y)[0]
    return rows.take(np.sort(chosen))


def reviews() -> Split:
    """Sentences of film reviews as 384 features of a network."""
    with np.load(Path(os.environ["LINPOISON_DATA"]) / "reviews_minilm.npz") as held:
        parts = [(held[f"X_{part}"].astype(float), held[f"y_{part}"]) for part in ("train", "test")]
    return Split(*(Dataset(X, y, name="reviews") for X, y in parts))


def made(split: Split, attack: str, share: float, seed: int) -> Poison:
    """The poison of an attack that looks at the test rows, behind the five defences."""
    problem = OPTIONS.problem(split.train)
    scenario = Scenario(split.train, problem, Budget(share), build_defenses(OPTIONS, problem), split.test)
    return make_attack(attack).run(scenario, seed=seed).poison


def _mixed(name: str, attack: str, share: float, split: Split, poison: Poison | None, seed: int) -> Planted:
    rows = split.train if poison is None else split.train.mix(poison.expanded())
    order = np.random.default_rng(seed).permutation(rows.n)
    return Planted(name, attack, share, replace(rows.take(order)), order >= split.train.n, split.test)
