"""Sanitise, retrain, test: the defender's side of one poison, for every defence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ..core import ERROR, UNDEFENDED, Array, Dataset, InputError, LinearModel, Measure, Poison, worst_case
from ..defenses import Defense
from ..defenses.known import CleanFacts, Known
from ..learners import Learner, make_learner
from ..losses import Problem


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Outcome of one poison. Every mapping has a key for each defence, and "none" where it applies.

    Parameters
    ----------
    error : dict of dict of float
        ``error[rows][defense]``: share of misclassified rows, or another measure of the evaluator.
    kept_fraction : dict of float or None
        Share of the poison copies that pass; None without poison.
    kept_clean_fraction : dict of float
        Share of the clean rows that pass.
    removed : dict of ndarray of int
        Rows dropped: clean rows come first, then the copies in order.
    models : dict of LinearModel
        Retrained on the kept rows.
    scores : dict of ndarray
        Anomaly score of each row; no key "none".
    thresholds : dict of dict of float
        Largest kept score of each label; no key "none".
    n_poison : int
        Number of poison copies.
    """

    error: dict[str, dict[str, float]]
    kept_fraction: dict[str, float | None]
    kept_clean_fraction: dict[str, float]
    removed: dict[str, NDArray[np.intp]]
    models: dict[str, LinearModel]
    scores: dict[str, Array]
    thresholds: dict[str, dict[float, float]]
    n_poison: int

    def worst(self, rows: str = "test") -> float:
        """The least error over the defences: what an attacker is sure of who must pass them all.

        Without any defence it is the undefended error.
        """
        if rows not in self.error:
            raise InputError(f"rows among {', '.join(self.error) or 'none scored'}", repr(rows))
        return worst_case(self.error[rows])


class Evaluator:
    """Run a poison through defences, each by itself, and retrain on what each keeps.

    A defence is fitted on the clean rows followed by the poison copies, as the paper does; nobody
    tells it which are which.

    Parameters
    ----------
    train : Dataset
        Clean rows. Weights are those of the learner; to a defence, each row is one row.
    problem : Problem
        What the defender minimises, before and after sanitisation.
    defenses : mapping of str to Defense
        Never fitted themselves: clones are, beside what this defender has computed already (`Known`).
    learner : Learner, optional
        How the problem is minimised, or where that stops; `make_learner` of it by default.
    fits : dict of bytes to LinearModel, optional
        What was learned before, under all that it depends on but the learner: the evaluators that share it learn
        nothing twice. Nothing is kept by default.
    facts : CleanFacts, optional
        What defenders of the same clean rows share.
    measure : Measure
        Of the damage: the error by default.

    References
    ----------
    Koh, Steinhardt and Liang (2022), sections 2.2 and 5.

    Examples
    --------
    >>> from linpoison.defenses import make_defense
    >>> from linpoison.losses import Hinge
    >>> train = Dataset([[-1.0], [-1.2], [1.0], [1.2]], [-1, -1, 1, 1])
    >>> evaluator = Evaluator(train, Problem(Hinge(), reg=0.1), {"l2": make_defense("l2", remove=0.3)})
    >>> outcome = evaluator.score(Poison([[9.0]], [-1], [1]), {"test": train})
    >>> outcome.error["test"], outcome.kept_fraction
    ({'none': 0.5, 'l2': 0.0}, {'none': 1.0, 'l2': 0.0})
    """

    def __init__(
        self,
        train: Dataset,
        problem: Problem,
        defenses: Mapping[str, Defense],
        learner: Learner | None = None,
        fits: dict[bytes, LinearModel] | None = None,
        facts: CleanFacts | None = None,
        measure: Measure = ERROR,
    ) -> None:
        if UNDEFENDED in defenses:
            raise InputError(f"names of defences other than {UNDEFENDED!r}", repr(UNDEFENDED))
        self.train = train
        self.problem = problem
        self.defenses = dict(defenses)
        self.learner: Learner = make_learner(problem) if learner is None else learner
        self.fits = fits
        self.measure = measure
        self.known = Known(train, problem, facts)
        self._clones: dict[str, Defense] = {}

    def score(
        self,
        poison: Poison | None,
        rows: Mapping[str, Dataset],
        defenses: Sequence[str] | None = None,
    ) -> Evaluation:
        """Errors after each defence.

        Parameters
        ----------
        poison : Poison or None
            With whole copies; None for clean training data.
        rows : mapping of str to Dataset
            What to measure errors on, such as ``{"test": test}``.
        defenses : sequence of str, optional
            Names among those of the evaluator; all by default.

        Raises
        ------
        InputError
            For an unknown name, fractional copies, or a defence that would drop a whole class.
        """
        names = [self._checked(name) for name in (self.defenses if defenses is None else defenses)]
        outcome = self.open(poison)
        models = {name: outcome.model(name) for name in (UNDEFENDED, *names)}
        kept = {name: outcome.kept(name) for name in models}
        mixed, n_clean, measured = outcome.mixed, self.train.n, self.measure.of
        return Evaluation(
            error={key: {name: measured(model, part) for name, model in models.items()} for key, part in rows.items()},
            kept_fraction={name: _share(index >= n_clean, mixed.n - n_clean) for name, index in kept.items()},
            kept_clean_fraction={name: float((index < n_clean).sum()) / n_clean for name, index in kept.items()},
            removed={name: outcome.removed(name) for name in models},
            models=models,
            scores={name: outcome.detector(name).decision_scores_ for name in names},
            thresholds={name: dict(outcome.detector(name).thresholds_) for name in names},
            n_poison=mixed.n - n_clean,
        )

    def open(self, poison: Poison | None, starts: Mapping[str, LinearModel] | None = None) -> Retraining:
        """The outcome of one poison, defence by defence as each is asked for.

        Parameters
        ----------
        poison : Poison or None
        starts : mapping of str to LinearModel, optional
            Guesses at the retrained models by defence; by default the undefended model of the same rows.
        """
        return Retraining(self, self._mixed(poison), dict(starts or {}))

    @cached_property
    def first_guess(self) -> LinearModel | None:
        """The model of the clean rows, for learners that such a start helps."""
        return self.learn(self.train, None) if self.learner.warm else None

    def learn(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        """The model of some rows, as the learner finds it from a start or has found it before."""
        if self.fits is None:
            return self.learner.fit(data, start=start)
        code = hashlib.sha256(f"{data.digest()} {self.problem!r}".encode())
        code.update(b"" if start is None else start.vector.tobytes())
        if code.digest() not in self.fits:
            self.fits[code.digest()] = self.learner.fit(data, start=start)
        return self.fits[code.digest()]

    def fit_detector(self, name: str, poison: Poison | None = None) -> Defense:
        """One defence, fitted on the clean rows and the copies of `poison`."""
        return self.open(poison).detector(name)

    def fit(self, name: str, outcome: Retraining) -> Defense:
        """One defence, fitted on the rows of an opened outcome."""
        defense, mixed = self.defenses[self._checked(name)], outcome.mixed

        def fitted() -> Defense:
            detector = copy(self._fresh(name))
            return detector.fit_beside(mixed.X, mixed.y, self.known, lambda: outcome.model(UNDEFENDED))

        if mixed is not self.train:
            return fitted() if self.fits is None else self.known.facts.latest(defense, mixed, self.learner, fitted)
        return self.known.facts.detector(defense, mixed, self.learner, fitted)

    def _fresh(self, name: str) -> Defense:
        """A clone to copy: of parameters of its own, which a fit leaves alone, and made once."""
        if name not in self._clones:
            self._clones[name] = clone(self.defenses[name])
        return self._clones[name]

    def _mixed(self, poison: Poison | None) -> Dataset:
        return self.train if poison is None else self.train.mix(poison.expanded())

    def _checked(self, name: str) -> str:
        if name not in self.defenses:
            raise InputError(f"a defence among {', '.join(self.defenses) or 'none'}", repr(name))
        return name


class Retraining:
    """One poison before every defence of an `Evaluator`: each fit is made when it is first asked for.

    Parameters
    ----------
    mixed : Dataset
        Clean rows, then the copies.
    starts : dict of LinearModel
        Guesses at the retrained models by defence.
    """

    def __init__(self, evaluator: Evaluator, mixed: Dataset, starts: dict[str, LinearModel]) -> None:
        self.evaluator, self.mixed, self.starts = evaluator, mixed, starts
        self._detectors: dict[str, Defense] = {}
        self._models: dict[str, LinearModel] = {}

    def detector(self, name: str) -> Defense:
        """A defence, fitted on all rows."""
        if name not in self._detectors:
            self._detectors[name] = self.evaluator.fit(name, self)
        return self._detectors[name]

    def kept(self, name: str) -> NDArray[np.intp]:
        """Rows that a defence keeps; all without one."""
        return np.arange(self.mixed.n) if name == UNDEFENDED else self.detector(name).sample_indices_

    def removed(self, name: str) -> NDArray[np.intp]:
        """Rows that a defence drops."""
        return np.delete(np.arange(self.mixed.n), self.kept(name))

    def model(self, name: str) -> LinearModel:
        """What is learned from the rows that a defence keeps."""
        if name not in self._models:
            self._models[name] = self._learned(name)
        return self._models[name]

    def _learned(self, name: str) -> LinearModel:
        learn, start = self.evaluator.learn, self.starts.get(name)
        if name == UNDEFENDED and start is None and self.mixed is self.evaluator.train:
            return self.evaluator.known.facts.model(self.mixed, self.evaluator.learner)
        if name == UNDEFENDED:
            return learn(self.mixed, self.evaluator.first_guess if start is None else start)
        kept = self.kept(name)
        if kept.size == self.mixed.n:
            return self.model(UNDEFENDED)
        return learn(self.mixed.take(kept), self.model(UNDEFENDED) if start is None else start)


def _share(mask: NDArray[np.bool_], total: int) -> float | None:
    return float(mask.sum()) / total if total else None
