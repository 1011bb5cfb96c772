"""Poison that is aimed at one row: the row that a model trained with it is to misclassify."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..core import LABELS, Array, Dataset, LinearModel, LinpoisonError, Poison
from ..core.parts import dense
from ..learners import Learner, make_learner
from ..learners.newton import NEAR_KINK, newton_near
from ..losses import Problem
from ..sets import ByLabel, Oracle

TILTS = (0.0, 0.5, 1.0, 2.0)
"""How much of the model, turned against the label of a point, is mixed into the direction that the point lies in."""
ROUNDS = 4
TRIED = 6
"""Candidates of a round that are trained with."""
_BUMP = 0.3
"""Distance from the kink of a hinge within which a row counts as one that holds the model back."""
_WIDEST = 1500
"""Most features for which the second derivative is factorised."""
_NARROW = 200
"""Most dense features for which candidates are compared by nearly exact models."""
_DOUBT = 2 * NEAR_KINK, 1e-6
"""What these may say wrongly of a score, per length of the row: with a kink, and without."""


class Found(NamedTuple):
    """A poison against one row, and the score ``-k (z, 1) . v`` that training with it gives: the row errs from 0 on."""

    score: float
    poison: Poison | None


@dataclass(frozen=True, eq=False)
class Aimed:
    """Poison of a given mass in fixed sets that moves the score of one row, by retraining.

    ::

        maximise  c . v(nu),    v(nu) = argmin reg/2 <v, P v> + sum_i c_i phi(y_i (x_i, 1) . v) / n + integral phi d nu

    over poison `nu` of at most two points, one of each class, where ``c = -k (z, 1)``. A point ``(x, y)`` pulls the
    model by ``psi y (x, 1)`` with ``psi = -phi'`` at its margin, and its pull moves the score by
    ``psi y (x, 1) . Q^-1 c`` to first order, with the second derivative `Q` of what is minimised (rows near the kink
    stand for that of the hinge). Candidates are the support points of the sets along ``y (g - t theta)``, with `c` and
    ``Q^-1 c`` for `g`: the tilt `t` gives up some length in the direction that counts for the sake of `psi`, and is the
    multiplier of a bound on the margin. Those that promise most, of each tilt and each class and of both classes in
    halves, are trained with, as exactly as it takes to tell which is best, and that one by the learner; the next round
    looks from half way between the model before and the best one.

    For the squared loss in balls this attains the bound of `certify_ridge` wherever a single group of
    poison does. For the others nothing is promised: what is found is what retraining says.

    Parameters
    ----------
    train : Dataset
        Clean rows.
    problem : Problem
    sets : ByLabel
        That poison lies in.
    mass : float
        Of the poison, in units of a clean row of weight 1; copies are fractional.
    """

    train: Dataset
    problem: Problem
    sets: ByLabel
    mass: float

    def at(self, z: Any, k: float) -> Found:
        """The strongest poison found against the row `z` (d,) of label `k`; a search that turns it ends at once."""
        goal = -k * np.append(np.asarray(z, dtype=np.float64), float(self.problem.fit_intercept))
        best, v = Found(float(goal @ self._clean), None), self._clean
        for _ in range(ROUNDS):
            answers = [self._trained(poison, goal) for poison in self._best(self._candidates(v, goal), goal)]
            tried = [item for item in answers if item is not None]
            if not tried:
                break
            score, poison, model = max(tried, key=lambda item: item[0])
            if score > best.score:
                best = Found(score, poison)
            if best.score >= 0:
                break
            v = 0.5 * (v + model)
        return best

    @cached_property
    def _learner(self) -> Learner:
        return make_learner(self.problem)

    @cached_property
    def _clean(self) -> Array:
        return self._learner.fit(self.train).vector

    @cached_property
    def _oracles(self) -> dict[float, Oracle]:
        return {label: Oracle(self.sets[label]) for label in LABELS}

    def _trained(self, poison: Poison, goal: Array) -> tuple[float, Poison, Array] | None:
        try:
            model = self._learner.fit(self.train.mix(poison.as_dataset())).vector
        except LinpoisonError:
            return None
        return float(goal @ model), poison, model

    def _best(self, candidates: Iterator[Poison], goal: Array) -> list[Poison]:
        """Those that may be the best, by nearly exact models; all of them where there are none."""
        poisons, loss = list(candidates), self.problem.loss
        smooth = np.isfinite(loss.smoothness)
        if self.train.is_sparse or self.train.d > _NARROW or not (smooth or loss.kink is not None):
            return poisons
        guesses = np.array([self._nearly(poison, goal) for poison in poisons])
        if not np.isfinite(guesses).all():
            return poisons
        doubt = _DOUBT[bool(smooth)] * float(np.linalg.norm(goal))
        return [poison for poison, guess in zip(poisons, guesses, strict=True) if guess >= guesses.max() - doubt]

    def _nearly(self, poison: Poison, goal: Array) -> float:
        """About the score after training with a poison; not finite where Newton's method does not say."""
        start = LinearModel.from_vector(self._clean)
        try:
            return float(goal @ newton_near(self.problem, self.train.mix(poison.as_dataset()), start))
        except np.linalg.LinAlgError:
            return np.nan

    def _candidates(self, v: Array, goal: Array) -> Iterator[Poison]:
        """Of each tilt and each class, and of both classes, the poison that promises most; of these the first few."""
        response = self._response(v, goal)
        found: dict[tuple[float, ...], tuple[float, Poison]] = {}
        for tilt, x, y, promise in self._layouts(v, goal, response):
            kind = (tilt, *y)
            if kind not in found or promise > found[kind][0]:
                found[kind] = promise, Poison(x, y, np.full(len(y), self.mass / len(y)))
        best = sorted(found.values(), key=lambda item: -item[0])[:TRIED]
        return (poison for promise, poison in best if promise > 0)

    def _layouts(self, v: Array, goal: Array, response: Array) -> Iterator[tuple[float, Array, Array, float]]:
        """Tilt, rows, labels, and what they do to the score to first order."""
        loss, ones = self.problem.loss, float(self.problem.fit_intercept)
        for g in (goal, response):
            for tilt in TILTS:
                for side in loss.sides:
                    direction = side * (_unit(g[:-1]) - tilt * _unit(v[:-1]))
                    try:
                        X = np.array([self._oracles[y].support(y * direction) for y in LABELS])
                    except LinpoisonError:  # no farthest point, or none found
                        continue
                    y = np.array(LABELS, dtype=np.float64)
                    pull = -loss.derivative(y * (X @ v[:-1] + ones * v[-1]))
                    worth = pull * y * (X @ response[:-1] + ones * response[-1])
                    yield from ((tilt, X[i : i + 1], y[i : i + 1], float(worth[i])) for i in range(2))
                    yield tilt, X, y, float(worth.mean())

    def _response(self, v: Array, goal: Array) -> Array:
        """``Q^-1 c``, nearly; `c` over the regulariser where `Q` is too large to factorise."""
        train, problem = self.train, self.problem
        weight = train.weight / train.total
        reg = problem.reg_at(train.total)
        stiff = reg * np.maximum(problem.penalty_mask(train.d), 1e-3)
        if train.d > _WIDEST:
            return np.asarray(goal / stiff)
        E = np.column_stack([dense(train.X), np.full(train.n, float(problem.fit_intercept))])
        m = train.y * (E @ v)
        kink = problem.loss.kink
        bend = problem.loss.second_derivative(m) if kink is None else (np.abs(m - kink) < _BUMP) / (2 * _BUMP)
        return np.asarray(np.linalg.solve(np.diag(stiff) + E.T @ ((weight * bend)[:, None] * E), goal))


def _unit(vector: Array) -> Array:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
