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
from ..defenses.base import keep_least
from ..defenses.known import Known
from ..learners import Learner, make_learner
from ..losses import Problem


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Outcome of one poison. Every mapping has a key for each defence, and "none" where it applies.

    Parameters
    ----------
    error : dict of dict of float
        ``error[rows][defense]``: share of misclassified rows, or another measure of the defender.
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


class Defender(Known):
    """Learner and defences, with what they have computed once; a poison is scored by it alone.

    Each defence stands by itself: it is fitted on the clean rows followed by the poison copies, as the paper does, and
    nobody tells it which are which; what it keeps is learned anew.

    Parameters
    ----------
    train : Dataset
        Clean rows. Weights are those of the learner; to a defence, each row is one row.
    problem : Problem
        What the defender minimises, before and after sanitisation.
    defenses : mapping of str to Defense
        Never fitted themselves: clones are.
    learner : Learner, optional
        How the problem is minimised, or where that stops; `make_learner` of it by default.
    measure : Measure
        Of the damage: the error by default.
    like : Known, optional
        A defender whose memory is shared if its clean rows are the same.
    keep : bool, default True
        Whether what is learned and fitted with a poison in is kept, for whoever asks again.

    References
    ----------
    Koh, Steinhardt and Liang (2022), sections 2.2 and 5.

    Examples
    --------
    >>> from linpoison.defenses import make_defense
    >>> from linpoison.losses import Hinge
    >>> train = Dataset([[-1.0], [-1.2], [1.0], [1.2]], [-1, -1, 1, 1])
    >>> defender = Defender(train, Problem(Hinge(), reg=0.1), {"l2": make_defense("l2", remove=0.3)})
    >>> outcome = defender.score(Poison([[9.0]], [-1], [1]), {"test": train})
    >>> outcome.error["test"], outcome.kept_fraction
    ({'none': 0.5, 'l2': 0.0}, {'none': 1.0, 'l2': 0.0})
    """

    def __init__(
        self,
        train: Dataset,
        problem: Problem,
        defenses: Mapping[str, Defense],
        learner: Learner | None = None,
        measure: Measure = ERROR,
        *,
        like: Known | None = None,
        keep: bool = True,
    ) -> None:
        super().__init__(train, problem, like)
        if UNDEFENDED in defenses:
            raise InputError(f"names of defences other than {UNDEFENDED!r}", repr(UNDEFENDED))
        self.defenses = dict(defenses)
        self.learner: Learner = make_learner(problem) if learner is None else learner
        self.measure, self.keep = measure, keep
        self.held: dict[str, _Held] = {}
        self._clones: dict[str, Defense] = {}

    def by(self, learner: Learner) -> Defender:
        """The same with another learner, such as a quicker one for a search, which keeps nothing."""
        return Defender(self.train, self.problem, self.defenses, learner, self.measure, like=self, keep=False)

    def holding(self, poison: Poison) -> Defender:
        """The same, but for defences that are costly to fit: they decide by scores of their fit with this poison in.

        For searches that score thousands of poisons like it.
        """
        held = self.by(self.learner)
        for name, defense in self.defenses.items():
            if defense.follows_poison and defense.costly_fit and defense.drops_share:
                detector = held.fit_detector(name, poison)
                held.held[name] = _Held(detector, detector.decision_function(self.train.X, self.train.y))
        return held

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
            Some of their names; all by default.

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
        mixed = self.train if poison is None else self.train.mix(poison.expanded())
        return Retraining(self, poison, mixed, dict(starts or {}))

    @property
    def first_guess(self) -> LinearModel | None:
        """The model of the clean rows, for learners that such a start helps."""
        return self.clean_model() if self.learner.warm else None

    def learn(self, outcome: Retraining, kept: NDArray[np.intp] | None, start: LinearModel | None) -> LinearModel:
        """The model of some rows of an outcome, or of all, as the learner finds it from a start or has found it."""
        if not self.keep:
            return self.learner.fit(outcome.rows(kept), start=start)
        fits = self.memory.fits.setdefault(self._learner_in_words, {})
        parts = (outcome.digest.encode(), b"" if kept is None else kept, b"" if start is None else start.parameters)
        code = hashlib.sha256(b" ".join(map(bytes, parts))).digest()
        if code not in fits:
            fits[code] = self.learner.fit(outcome.rows(kept), start=start)
        return fits[code]

    def clean_model(self) -> LinearModel:
        """What is learned without poison and without defences."""
        models, key = self.memory.models, self._question(self.train)
        if key not in models:
            models[key] = self.learner.fit(self.train)
        return models[key]

    def fit_detector(self, name: str, poison: Poison | None = None) -> Defense:
        """One defence, fitted on the clean rows and the copies of `poison`."""
        return self.open(poison).detector(name)

    def fit(self, name: str, outcome: Retraining) -> Defense:
        """One defence, fitted on the rows of an opened outcome; those on clean rows and those just fitted are kept."""
        defense, mixed = self.defenses[self._checked(name)], outcome.mixed
        if mixed is self.train:
            known, key = self.memory.detectors, (id(defense), self._question(mixed))
        elif self.keep:
            question = outcome.digest + self._learner_in_words
            if self.memory.latest[0] != question:
                self.memory.latest = question, {}
            known, key = self.memory.latest[1], (id(defense), "")
        else:
            known, key = {}, (id(defense), "")
        if key not in known:
            fitted = copy(self._fresh(name)).fit_beside(mixed.X, mixed.y, self, lambda: outcome.model(UNDEFENDED))
            known[key] = defense, fitted  # the former so that its id stays taken
        found: Defense = known[key][1]
        return found

    def _fresh(self, name: str) -> Defense:
        """A clone to copy: of parameters of its own, which a fit leaves alone, and made once."""
        if name not in self._clones:
            self._clones[name] = clone(self.defenses[name]).ready()
        return self._clones[name]

    @property
    def _learner_in_words(self) -> str:
        state = sorted((name, repr(value)) for name, value in vars(self.learner).items())
        return f"{type(self.learner).__name__} {state}"

    def _question(self, data: Dataset) -> str:
        """What tells labels, weights and learners apart."""
        rows = hashlib.sha256(data.y.tobytes() + data.weight.tobytes()).hexdigest()
        return f"{self._learner_in_words} {rows}"

    def _checked(self, name: str) -> str:
        if name not in self.defenses:
            raise InputError(f"a defence among {', '.join(self.defenses) or 'none'}", repr(name))
        return name


class Retraining:
    """One poison before every defence of a `Defender`: each fit is made when it is first asked for.

    Parameters
    ----------
    poison : Poison or None
    mixed : Dataset
        Clean rows, then the copies.
    starts : dict of LinearModel
        Guesses at the retrained models by defence.
    """

    def __init__(
        self, defender: Defender, poison: Poison | None, mixed: Dataset, starts: dict[str, LinearModel]
    ) -> None:
        self.defender, self.poison, self.mixed, self.starts = defender, poison, mixed, starts
        self._detectors: dict[str, Defense] = {}
        self._kept: dict[str, NDArray[np.intp]] = {UNDEFENDED: np.arange(mixed.n)}
        self._models: dict[str, LinearModel] = {}

    @cached_property
    def digest(self) -> str:
        """What tells clean rows and copies apart from others, weights included."""
        return self.mixed.digest()

    def rows(self, kept: NDArray[np.intp] | None) -> Dataset:
        """Some of the rows, or all."""
        return self.mixed if kept is None else self.mixed.take(kept)

    def detector(self, name: str) -> Defense:
        """A defence, fitted on all rows."""
        if name not in self._detectors:
            self._detectors[name] = self.defender.fit(name, self)
        return self._detectors[name]

    def kept(self, name: str) -> NDArray[np.intp]:
        """Rows that a defence keeps; all without one."""
        if name not in self._kept:
            held = self.defender.held.get(name)
            if held is None or self.poison is None:
                self._kept[name] = self.detector(name).sample_indices_
            else:
                self._kept[name] = held.kept(self.mixed, self.poison)
        return self._kept[name]

    def removed(self, name: str) -> NDArray[np.intp]:
        """Rows that a defence drops."""
        return np.delete(np.arange(self.mixed.n), self.kept(name))

    def model(self, name: str) -> LinearModel:
        """What is learned from the rows that a defence keeps."""
        if name not in self._models:
            self._models[name] = self._learned(name)
        return self._models[name]

    def _learned(self, name: str) -> LinearModel:
        learn, start = self.defender.learn, self.starts.get(name)
        if name == UNDEFENDED and start is None and self.mixed is self.defender.train:
            return self.defender.clean_model()
        if name == UNDEFENDED:
            return learn(self, None, self.defender.first_guess if start is None else start)
        kept = self.kept(name)
        if kept.size == self.mixed.n:
            return self.model(UNDEFENDED)
        return learn(self, kept, self.model(UNDEFENDED) if start is None else start)


@dataclass(frozen=True, eq=False)
class _Held:
    """A fitted defence, and its scores of the clean rows."""

    detector: Defense
    clean: Array

    def kept(self, mixed: Dataset, poison: Poison) -> NDArray[np.intp]:
        """The clean rows and copies with the least scores of each class."""
        fresh = self.detector.decision_function(poison.X, poison.y)
        scores = np.concatenate([self.clean, np.repeat(fresh, poison.count.astype(int))])
        remove, parts = self.detector.remove, [(label, np.flatnonzero(mixed.y == label)) for label in mixed.labels]
        return np.sort(np.concatenate([keep_least(scores, rows, remove, label) for label, rows in parts]))


def _share(mask: NDArray[np.bool_], total: int) -> float | None:
    return float(mask.sum()) / total if total else None
