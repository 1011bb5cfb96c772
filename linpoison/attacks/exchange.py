"""The exchange attack: rows that a domain really holds, and the copies of each, chosen by the measured error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from ..core.model import LinearModel
from ..core.parts import dense
from ..core.poison import Poison
from ..core.results import Candidate
from ..core.validation import LABELS, Array, check_integers
from ..rounding import largest_remainder
from .base import Attack
from .breakdown.plans import Ground
from .deadline import time_is_up
from .random_flips import plantable
from .ranking import candidate
from .refined import slope_of
from .run import Run, Step
from .scenario import DOMAIN_TOL, Scenario
from .soft_worst import Measured, SoftWorst

LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0, 32.0)
"""Steps from where rows begin, in units of the median distance of a clean row to the mean."""
SHARES = (0.5, 0.2, 0.05)
"""Of the budget that a new row takes over."""
_PATIENCE = 2  # rounds without a gain
_FROM = 6  # clean rows that steps begin at, beside the means of the classes
_CLEAN = 200  # clean rows that are looked at as they are


@dataclass(frozen=True)
class Exchange(Attack):
    """A few rows of the domain, found along the slope of the error, and exchanged against others while that helps.

    Relaxed points that are rounded into a domain of one-hot groups, lattices and texts lose much of what they did. Here
    every row that is looked at is one that the domain holds: ``clip(x + t y s)`` from the means and some rows of the
    clean classes, for lengths t from next to them to the corners of the domain, with ``s = H^(-1) grad T`` the slope of
    the smoothed error in what is added (see `Refined`); and clean rows with either label.

    1. Whole budgets on single rows, those of the greatest first-order gain ``-phi'(y f(x)) y s . (x, 1)`` for each
       length and label: the error behind every defence is measured.
    2. From the best, with the slope taken anew: one of its rows is moved, or another one of great gain takes over a
       share of the copies, if the measured damage grows.

    Parameters
    ----------
    singles : int, default 2
        Rows of each length and label that are measured alone.
    ratings : int, default 120
        Poisons that are measured, about.
    tries : int, default 6
        Rows that are tried in a round.
    """

    name: ClassVar[str] = "exchange"
    takes_class_weights: ClassVar[bool] = True
    singles: int = 2
    ratings: int = 120
    tries: int = 6

    def __post_init__(self) -> None:
        check_integers(self, "singles", "ratings", "tries", at_least=1)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        return run.steps("exchange", exchanged, [(self, scenario, [run.seed, 7])])


def exchanged(started: float, attack: Exchange, scenario: Scenario, seed: Sequence[int]) -> Step:
    """The best state, and the best single row."""
    search = _Search(scenario, np.random.default_rng(seed))
    states = [search.alone(attack.singles)]
    stale = 0
    while stale <= _PATIENCE and search.rated < attack.ratings and not time_is_up():
        found = search.better(states[-1], attack.tries)
        stale = stale + 1 if found is None else 0
        states += [] if found is None else [found]
    last = {len(states) - 1: f"exchange, {len(states) - 1} exchanges", 0: "single row"}
    return [candidate(started, scenario, states[k].poison, label=label) for k, label in last.items()], []


@dataclass(frozen=True, eq=False)
class _State:
    poison: Poison
    does: Measured


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows that may be planted, with the length of their step (-1: clean ones)."""

    X: Array
    y: Array
    length: Array

    def best(self, gain: Array, most: int) -> np.ndarray:
        """Rows of the greatest gain for each length and label, the greatest of all first."""
        kinds = self.length * 10 + self.y
        parts = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
        chosen = np.concatenate([part[np.argsort(-gain[part], kind="stable")[:most]] for part in parts])
        return chosen[np.argsort(-gain[chosen], kind="stable")]


class _Search:
    """Rows, and what they do, of one scenario."""

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        self.scenario, self.rng, self.domain = scenario, rng, scenario.train.domain
        self.value = SoftWorst(scenario, seed=int(rng.integers(1 << 30)))
        self.ground = Ground(scenario.train, scenario.n_poison)
        self.rated = 0

    def alone(self, most: int) -> _State:
        """The single row that does most with the whole budget."""
        flipped = self._flipped()
        self.value.refresh(flipped)
        begun = self._state(flipped)
        rows = self._rows(begun.does)
        chosen = rows.best(self._gain(rows, begun), most)
        single = (self._poison(rows.X[[k]], rows.y[[k]], np.ones(1)) for k in chosen)
        return max([begun, *self._states(single)], key=lambda state: state.does.value)

    def better(self, state: _State, tries: int) -> _State | None:
        """A state that does more, with another row in it or one of its own moved; None where none was found."""
        rows = self._rows(state.does)
        chosen = rows.best(self._gain(rows, state), 1)[:tries]
        fresh = (self._with(state.poison, rows.X[k], rows.y[k], share) for share in SHARES for k in chosen)
        tried = (*(self._moved(state.poison) for _ in range(tries)), *fresh)
        return next((found for found in self._states(tried) if found.does.value > state.does.value), None)

    def _with(self, old: Poison, row: Array, label: float, share: float) -> Poison:
        """A row that takes over a share of the copies."""
        weights = np.append(old.count * (1 - share) / old.total, share)
        return self._poison(np.vstack([dense(old.X), row]), np.append(old.y, label), weights)

    def _moved(self, old: Poison) -> Poison:
        """One row moved along the slope, in some of its features."""
        X, k = dense(old.X).copy(), int(self.rng.integers(old.y.size))
        step = self.slope[:-1] * (self.rng.random(X.shape[1]) < self.rng.choice([0.1, 0.5, 1.0]))
        length = self.ground.base * 10 ** self.rng.uniform(-1.0, 1.5)
        X[k] = self.ground.fitted(X[k] + old.y[k] * length * step / max(float(np.linalg.norm(step)), 1e-300))
        return self._poison(X, old.y, old.count)

    def _states(self, poisons: Iterable[Poison]) -> Iterator[_State]:
        """Of one poison after another, as long as there is time."""
        return map(self._state, takewhile(lambda _: not time_is_up(), poisons))

    def _state(self, poison: Poison) -> _State:
        self.rated += 1
        return _State(poison, self.value.at(poison))

    def _poison(self, X: Array, y: Array, weights: Array) -> Poison:
        count = largest_remainder(weights * self.scenario.n_poison / weights.sum(), self.scenario.n_poison)
        used = count > 0
        poison = Poison(X[used], y[used], count[used].astype(np.float64))
        return (replace(poison, X=sp.csr_array(poison.X)) if self.scenario.train.is_sparse else poison).merged()

    def _flipped(self) -> Poison:
        """Random clean rows with the other label."""
        train, total = self.scenario.train, self.scenario.n_poison
        rows = plantable(replace(train, y=-train.y))
        rows = rows.take(self.rng.choice(rows.n, size=total, replace=total > rows.n))
        return Poison(rows.X, rows.y, np.ones(total)).merged()

    def _rows(self, does: Measured) -> _Rows:
        """Rows along the slope, and clean ones, with either label."""
        self.slope = slope_of(does, self.value.goal, self.scenario, self.rng)
        train = self.scenario.train
        some = self.rng.choice(train.n, size=min(train.n, _CLEAN), replace=False)
        clean = dense(train.X[some])
        means = [np.asarray(train.of_class(label).X.mean(axis=0)).reshape(1, -1) for label in LABELS]
        begin = np.vstack([clean[:_FROM], *means])
        steps = [(d, t, y) for d in self._directions(does.models["none"]) for t in LENGTHS for y in LABELS]
        rows = [self.ground.fitted(begin + t * self.ground.base * y * direction) for direction, t, y in steps]
        inside = clean[self.domain.violation(clean) <= DOMAIN_TOL]
        kinds = [(t, y, len(begin)) for _, t, y in steps] + [(-1.0, y, len(inside)) for y in LABELS]
        lengths, labels, sizes = (np.array(column) for column in zip(*kinds, strict=True))
        return _Rows(np.vstack([*rows, inside, inside]), np.repeat(labels, sizes), np.repeat(lengths, sizes))

    def _directions(self, model: LinearModel) -> list[Array]:
        """Of length 1: the slope, and against the model."""
        found = [self.slope[:-1], -model.coef]
        return [vector / np.linalg.norm(vector) for vector in found if vector.any()]

    def _gain(self, rows: _Rows, state: _State) -> Array:
        """First-order gain of a copy of each row."""
        model, loss = state.does.models["none"], self.scenario.problem.loss
        pull = -loss.derivative(rows.y * (rows.X @ model.coef + model.intercept))
        return np.asarray(pull * rows.y * (rows.X @ self.slope[:-1] + self.slope[-1]))
