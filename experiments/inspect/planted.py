"""Poison planted in clean training rows, and what `inspect` says of the rows: made once, and kept in a folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

import linpoison
from linpoison.attacks import Scenario, make_attack
from linpoison.attacks.deadline import Deadline
from linpoison.auditing import LearnerOptions
from linpoison.auditing.inputs import build_defenses
from linpoison.auditing.suspecting import suspect
from linpoison.core import Array, Budget, Dataset, Poison, SolverFailed, Split, stack_rows
from linpoison.defenses.ranking import ranked
from linpoison.learners import make_learner

DATA = ("breast_cancer", "digits17", "gaussians", "counts")
"""Sets that forms of detectors were looked at on."""
APART = ("adult:800", "mnist17:600", "reviews:600")
"""Sets, so many training and test rows of each, that nothing was changed for."""
CANCELLING = "cancelling"
"""Rows that cancel the gradient of least squares, as the authors of SEVER describe their attack on regression."""
ATTACKS = ("kkt", "min-max", "influence", "refined", "breakdown", "random-flips", CANCELLING)
SHARES = (0.03, 0.01, 0.003)
OPTIONS = LearnerOptions(model="svm")


@dataclass(frozen=True, eq=False)
class Planted:
    """Rows in a random order, which of them are poison, and clean rows to test on."""

    data: str
    attack: str
    share: float
    seed: int
    rows: Dataset
    poison: np.ndarray
    test: Dataset
    path: Path

    @property
    def clean(self) -> Dataset:
        """Without the poison."""
        return self.rows.take(~self.poison)


@dataclass(frozen=True, eq=False)
class Found:
    """What `inspect` says of the rows of a case, as arrays for each row.

    Parameters
    ----------
    data, attack : str
    share : float
    seed : int
    poison, alarms : ndarray of bool, shape (n,)
        Which rows are poison, and which are named.
    groups, labels : ndarray of shape (n,)
        Number of the group of near-copies, and class.
    surprises : dict of ndarray of shape (n,)
        By detector.
    errors : tuple of float
        On test rows, of what is learned from the clean rows, with the poison, and without the named rows.
    seconds : float
        Processor time of the search.
    """

    data: str
    attack: str
    share: float
    seed: int
    poison: np.ndarray
    alarms: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    surprises: dict[str, Array]
    errors: tuple[float, ...]
    seconds: float

    @property
    def ranking(self) -> Array:
        """As `inspect` ranks the rows."""
        return ranked(self.surprises, self.alarms)

    @classmethod
    def of(cls, case: Planted, again: bool = False) -> Found:
        """From the file beside the poison; or of detectors that are asked now, and again if they were changed since."""
        path = case.path.with_suffix(".found.npz")
        if again or not path.exists():
            cls._made(case)._save(path)
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> Found:
        """From a file."""
        with np.load(path) as held:
            words = json.loads(str(held["words"]))
            rows = {name: held[name] for name in ("poison", "alarms", "groups", "labels")}
            surprises = dict(zip(words.pop("detectors"), held["surprises"].astype(float), strict=True))
        words["errors"] = tuple(words["errors"])
        return cls(**words, **rows, surprises=surprises)

    @classmethod
    def _made(cls, case: Planted) -> Found:
        problem, started = OPTIONS.problem(case.rows), time.process_time()
        said = suspect(case.rows, problem, seed=case.seed)
        seconds, named = time.process_time() - started, said.by_row(said.found.alarms)
        learner = make_learner(problem)
        learned = case.clean, case.rows, case.rows.take(~named)
        return cls(
            case.data, case.attack, case.share, case.seed, case.poison, named, said.groups, case.rows.y,
            {name: said.by_row(one) for name, one in said.found.surprises.items()},
            tuple(learner.fit(rows).error(case.test) for rows in learned), seconds,
        )  # fmt: skip

    def _save(self, path: Path) -> None:
        words = {name: getattr(self, name) for name in ("data", "attack", "share", "seed", "errors", "seconds")}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path, words=json.dumps({**words, "detectors": list(self.surprises)}),
            poison=self.poison, alarms=self.alarms, groups=self.groups, labels=self.labels,
            surprises=np.array(list(self.surprises.values()), dtype=np.float32),
        )  # fmt: skip


def planted(
    names: Sequence[str], attacks: Sequence[str], shares: Sequence[float], folder: Path,
    seeds: Sequence[int] = (0,), seconds: float = float("inf"),
) -> Iterator[Planted]:  # fmt: skip
    """Every data set with every poison of every share; clean once for each data set, as the attack "none".

    Parameters
    ----------
    names, attacks, shares
        Of data sets, of attacks, and of poison in the clean rows.
    folder : path
        Where the poison is kept.
    seeds
        Each draws its own training and test rows, see `loaded`, and seeds the attack and the order of the rows.
    seconds : float
        Processor time after which an attack ends with what it has; one that has nothing by then is passed over.
    """
    for name, seed in ((name, seed) for name in names for seed in seeds):
        split = loaded(name, seed)
        for attack, share in (("none", 0.0), *((attack, share) for share in shares for attack in attacks)):
            limit = "" if np.isinf(seconds) or attack == "none" else f"-{seconds:g}s"
            path = folder / f"{name}-{attack}-{share:g}-{seed}{limit}.npz".replace(":", "_")
            if attack != "none" and not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    made(split, attack, share, seed, seconds).save(path)
                except SolverFailed:
                    continue
            yield _mixed(name, attack, share, seed, split, path)


def loaded(name: str, seed: int = 0) -> Split:
    """A data set by its name, or so many rows of either part as stand behind a colon, the classes in proportion.

    Seeds but 0 draw which rows are for training and which for testing anew. ``reviews`` are the features of film
    reviews, `LINPOISON_DATA` naming the folder that holds them.
    """
    name, _, most = name.partition(":")
    split = reviews() if name == "reviews" else linpoison.load(name)
    split = drawn_anew(split, seed) if seed else split
    return Split(*(thinned(part, int(most), seed) for part in (split.train, split.test))) if most else split


def drawn_anew(split: Split, seed: int) -> Split:
    """Training and test rows together, and as many of each drawn again, the classes in proportion."""
    train, test = split.train, split.test
    rows = replace(train, X=stack_rows(train.X, test.X), y=np.append(train.y, test.y), weight=None, row_numbers=None)
    parts = train_test_split(np.arange(rows.n), train_size=train.n, random_state=seed, stratify=rows.y)
    return Split(*(rows.take(part) for part in parts))


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


def made(split: Split, attack: str, share: float, seed: int, seconds: float) -> Poison:
    """The poison of an attack that looks at the test rows, behind the five defences."""
    budget = Budget(share)
    if attack == CANCELLING:
        return cancelling(split.train, budget, seed)
    problem = OPTIONS.problem(split.train)
    scenario = Scenario(split.train, problem, budget, build_defenses(OPTIONS, problem), split.test)
    deadline = None if np.isinf(seconds) else Deadline(time.process_time() + seconds, time.process_time)
    return make_attack(attack).run(scenario, seed=seed, deadline=deadline).poison


def cancelling(train: Dataset, budget: Budget, seed: int) -> Poison:
    """Rows x of label -1 beside which the least-squares gradient at no model vanishes: ``m x = sum_i y_i x_i``.

    With noise of a tenth of their length. They keep no domain and pass no filter.

    References
    ----------
    Diakonikolas, Kamath, Kane, Li, Steinhardt, Stewart, "Sever: a robust meta-algorithm for stochastic optimization",
    2019: by their description, not their published files.
    """
    m = budget.count(train.n)
    middle = np.asarray(train.X.T @ train.y).ravel() / m
    noise = np.random.default_rng(seed).normal(size=(m, train.d)) / (10 * np.sqrt(train.d))
    return Poison(middle + np.linalg.norm(middle) * noise, -np.ones(m), np.ones(m))


def _mixed(name: str, attack: str, share: float, seed: int, split: Split, path: Path) -> Planted:
    rows = split.train if attack == "none" else split.train.mix(Poison.load(path).expanded())
    order = np.random.default_rng(seed).permutation(rows.n)
    return Planted(name, attack, share, seed, replace(rows.take(order)), order >= split.train.n, split.test, path)
