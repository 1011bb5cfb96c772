"""The models that far rows can plant, and those among them that err most.

Let ``L(theta, b)`` be the objective on the clean rows, ``g = grad_theta L`` and ``g_b = dL / db`` at a model to plant.
A row ``(x, y)`` with ``c`` copies against ``n`` clean rows adds ``-alpha y (x, 1)`` to the gradient, with ``alpha =
(c / n) psi(margin)`` and ``psi = -phi' >= 0``. The model is learned iff

::

    sum_i alpha_i y_i x_i = g,   sum_i alpha_i y_i = g_b.                                                (1)

Multiply the first part by theta and the second by b: ``sum_i alpha_i margin_i = theta . g + b g_b``. Since ``margin
psi(margin) <= kappa`` (`MarginLoss.reach`), the left side is at most ``kappa`` times the mass ``M = sum c_i / n``, so

::

    theta . g + b g_b <= kappa M                                                                         (2)

is necessary. Where rows may be anywhere and ``g_b`` is within the masses of the labels it is sufficient too: with one
label the row ``x = y g / alpha`` has margin ``theta . g / alpha + y b``, and a margin that (2) allows uses the mass.
So once filters are overrun their sets are gone, and (2) is all that is left of the KKT program.

Along any direction ``w`` let ``h(t) = min_b L(t w, b)``. It is convex, with ``t h'(t) = theta . g`` and ``g_b = 0`` at
the best b. If ``h'(0) < 0`` its minimum is at some ``t > 0``, where ``theta . g = 0``: plantable by any mass, in the
limit of far rows along ``u = g / |g|``. Every trial is thus a fit of TWO numbers ``(t, b)``, and the directions are a
half-space: those positively correlated with the labels. The worst direction is searched for by ascent on the smoothed
error, along its exact derivative: ``(t, b)`` solve ``w . g = 0, g_b = 0``, and their derivative in ``w`` is a system of
two equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from ...core.dataset import Dataset
from ...core.model import LinearModel
from ...core.validation import Array, Matrix
from ...losses import MarginLoss, Problem, SmoothHinge
from ..decoys import LabelFlipDecoys

WIDTH = 0.1
_LEAST = 1e-3  # scores of a model spread at least so much: nearer to zero every row has a loss of about 1
_WHITE = 500  # columns up to which half of the directions are drawn in whitened coordinates


@dataclass(frozen=True, eq=False)
class Rays:
    """Directions ``w``, each with the best ``(t, b)`` of the clean rows: models ``(t w, b)`` that far rows plant.

    Parameters
    ----------
    problem : Problem
    train : Dataset
        Clean rows.
    goal : Dataset
        Rows to be misclassified.
    poison : float
        Copies that are expected to stay: the mean runs over them too, so that the regulariser counts ``1 + poison /
        n`` times against the clean rows.
    """

    problem: Problem
    train: Dataset
    goal: Dataset
    poison: float = 0.0

    @property
    def loss(self) -> MarginLoss:
        """The loss, smoothed if it has a kink."""
        return self.problem.loss if self.problem.loss.kink is None else SmoothHinge(WIDTH)

    @property
    def reg(self) -> float:
        """Of the coefficients, against the mean loss of the clean rows."""
        total = self.train.total + self.poison
        return self.problem.reg_at(total) * total / self.train.total

    def penalty(self) -> float:
        """Of the intercept; large where there is none."""
        if not self.problem.fit_intercept:
            return 1e12
        return self.reg if self.problem.penalize_intercept else 1e-9

    def fit(self, W: Array, start: tuple[Array, Array] | None = None, steps: int = 30) -> tuple[Array, Array]:
        """The best ``t`` and ``b`` of every column of `W`, shapes (k,), by Newton's method on all at once."""
        S, square = np.asarray(self.train.X @ W), (W**2).sum(axis=0)
        t, b = start if start is not None else (np.zeros(W.shape[1]), np.zeros(W.shape[1]))
        return self._fit(S, square, t, b, steps)

    def _fit(self, S: Array, square: Array, t: Array, b: Array, steps: int) -> tuple[Array, Array]:
        y, loss = self.train.y[:, None], self.loss
        penalty = np.stack([self.reg * square, np.full(t.size, self.penalty())])
        value = self._value(y * (S * t + b), t, b, penalty)
        for _ in range(steps):
            first, second = self._derivatives(S, t, b, penalty, loss)
            step = -_solve2(second, first)
            promised = -(first * step).sum(axis=0)
            if promised.max() <= 1e-10:
                break
            length = np.ones(t.size)
            for _ in range(12):
                new = self._value(
                    y * (S * (t + length * step[0]) + b + length * step[1]), *_moved(t, b, step, length), penalty
                )
                worse = new > value - 1e-4 * length * promised + 1e-14
                if not worse.any():
                    break
                length[worse] *= 0.5
            length[worse] = 0.0
            (t, b), value = _moved(t, b, step, length), np.where(worse, value, new)
        return t, b

    def _value(self, margins: Array, t: Array, b: Array, penalty: Array) -> Array:
        share = self.train.weight / self.train.total
        return np.asarray(share @ self.loss.value(margins) + 0.5 * (penalty[0] * t**2 + penalty[1] * b**2))

    def _derivatives(self, S: Array, t: Array, b: Array, penalty: Array, loss: MarginLoss) -> tuple[Array, Array]:
        """Gradient in ``(t, b)``, shape (2, k), and the entries tt, tb, bb of the Hessian, shape (3, k)."""
        y, share = self.train.y[:, None], (self.train.weight / self.train.total)[:, None]
        margins = y * (S * t + b)
        pull, bend = share * y * loss.derivative(margins), share * loss.second_derivative(margins)
        first = np.stack([(S * pull).sum(axis=0) + penalty[0] * t, pull.sum(axis=0) + penalty[1] * b])
        bent = S * bend
        second = np.stack([(S * bent).sum(axis=0) + penalty[0], bent.sum(axis=0), bend.sum(axis=0) + penalty[1] + 1e-9])
        return first, second

    def error(self, W: Array, t: Array, b: Array) -> Array:
        """Share of the goal rows that each model misclassifies; zero for models next to the constant one."""
        spread = t * np.asarray(self.train.X @ W).std(axis=0)
        scores = np.asarray(self.goal.X @ W) * t + b
        wrong = (np.where(scores > 0, 1.0, -1.0) != self.goal.y[:, None]) * self.goal.weight[:, None]
        return np.asarray(np.where(spread > _LEAST, wrong.sum(axis=0) / self.goal.total, 0.0))

    def slope(self, W: Array, t: Array, b: Array, softness: float) -> Array:
        """Gradient in `W` of the smoothed error, shape (d, k).

        With ``e`` the derivative of the error in the scores, ``E_t = e . (X w)``, ``E_b = sum e``, and ``(p, q) =
        H^(-1) (E_t, E_b)`` for the Hessian H of the fit of two numbers,

        ::

            dE / dw = t X' e - p (g + t X' D (X w) + t reg w) - q t X' D 1

        since the two equations ``w . g = 0`` and ``g_b = 0`` move with w by these vectors.
        """
        train, goal = self.train, self.goal
        S, along = np.asarray(train.X @ W), np.asarray(goal.X @ W)
        scores = along * t + b
        width = softness * scores.std(axis=0) + 1e-12
        z = 1 / (1 + np.exp(np.clip(goal.y[:, None] * scores / width, -40, 40)))
        e = -goal.weight[:, None] * goal.y[:, None] * z * (1 - z) / width / goal.total
        penalty = np.stack([self.reg * (W**2).sum(axis=0), np.full(t.size, self.penalty())])
        loss = self.loss if self.problem.loss.kink is None else SmoothHinge(3 * WIDTH)
        _, second = self._derivatives(S, t, b, penalty, loss)
        second[2] += 1e-6
        p, q = _solve2(second, np.stack([(e * along).sum(axis=0), e.sum(axis=0)]))
        y, share = train.y[:, None], (train.weight / train.total)[:, None]
        margins = y * (S * t + b)
        pull, bend = share * y * loss.derivative(margins), share * loss.second_derivative(margins)
        # g = X'pull + reg t w, and X'D X w = X'(bend S): w has p g + p t X'D X w + q t X'D 1, the two reg t w of g and
        # of the term written out in one
        back = p * pull + t * bend * (p * S + q)
        return np.asarray(t * (goal.X.T @ e) - (train.X.T @ back + 2 * self.reg * p * t * W))

    def models(self, W: Array, t: Array, b: Array) -> list[LinearModel]:
        """The models, one for each column."""
        free = float(self.problem.fit_intercept)
        return [LinearModel(t[j] * W[:, j], free * b[j]) for j in range(t.size)]


def far_direction(rays: Rays, model: LinearModel) -> Array:
    """``u = g / |g|``: a far row of label y at ``y R u`` plants the model; zero if nothing has to be planted."""
    train, problem = rays.train, rays.problem
    smooth = Problem(SmoothHinge(0.01), 1.0) if problem.loss.kink is not None else problem
    pull = train.weight * train.y * smooth.loss.derivative(model.margins(train)) / train.total
    g = np.asarray(train.X.T @ pull).ravel() + rays.reg * model.coef
    length = float(np.linalg.norm(g))
    return g / length if length > 0 else g


def worst_rays(
    rays: Rays, rng: np.random.Generator, number: int, steps: int, begun: Sequence[Array] = ()
) -> list[tuple[float, LinearModel]]:
    """Ascent on the smoothed error from `number` directions at once: the worst models met, worst first.

    They are random but for those of `begun`, which come in the place of the last ones.
    """
    frame, lean = _frame(rays.train)
    V = rng.normal(size=(rays.train.d, number))
    V = np.hstack([frame @ V[:, : number // 2], V[:, number // 2 :]])
    if begun:
        V[:, -len(begun) :] = np.stack(begun[:number], axis=1)
    W = _normalised(V, rays.train.X)
    best, kept = np.zeros(W.shape[1]), W.copy()
    t, b = rays.fit(W)
    drift = np.zeros_like(W)
    for step in range(steps):
        left = 0.1 ** (step / steps)
        error = rays.error(W, t, b)
        better = error > best
        best[better], kept[:, better] = error[better], W[:, better]
        up = frame @ (frame.T @ rays.slope(W, t, b, 0.5 * left))
        up /= np.linalg.norm(up, axis=0) + 1e-300
        drift = 0.7 * drift + up
        W = _leaning(_normalised(W / np.linalg.norm(W, axis=0) + 0.15 * left * drift, rays.train.X), lean)
        t, b = rays.fit(W, (t, b), steps=8)
    t, b = rays.fit(kept)
    error = rays.error(kept, t, b)
    models = rays.models(kept, t, b)
    return [(float(error[j]), models[j]) for j in np.argsort(-error, kind="stable") if error[j] > 0]


@dataclass(frozen=True)
class RaySearch:
    """A search by `worst_rays`, done once: an audit asks the same for every defender that it attacks.

    Parameters
    ----------
    rays : Rays
    seed : tuple of int
    number, steps : int
    decoys : LabelFlipDecoys, optional
        Whose models some of the ascents start from.

    Attributes
    ----------
    key : tuple of str
        What the models depend on of the rays, as text.
    """

    rays: Rays = field(compare=False)
    seed: tuple[int, ...]
    number: int
    steps: int
    decoys: LabelFlipDecoys | None = None
    key: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        rays = self.rays
        words = (repr(rays.problem), f"{rays.poison!r}", rays.train.digest(), rays.goal.digest())
        object.__setattr__(self, "key", words)

    def models(self) -> Sequence[LinearModel]:
        """The worst models, worst first."""
        return _found(self)


@lru_cache(maxsize=4)
def _found(search: RaySearch) -> Sequence[LinearModel]:
    rays, rng = search.rays, np.random.default_rng(search.seed)
    flipped = [] if search.decoys is None else search.decoys.generate(rays.train, rays.problem, rays.goal)
    begun = [decoy.model.coef for decoy in flipped]
    return tuple(model for _, model in worst_rays(rays, rng, search.number, search.steps, begun))


def _frame(train: Dataset) -> tuple[Any, Array]:
    """A matrix that maps the sphere to directions in which the rows spread alike, and the difference of the means."""
    means = [np.asarray(train.X[train.y == label].mean(axis=0)).ravel() for label in (1.0, -1.0)]
    d = train.d
    plain = sp.eye_array(d, format="csr"), means[0] - means[1]
    if train.is_sparse or d > _WHITE:
        return plain
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(train.X.T)))
    if not values.mean() > 0:  # equal rows
        return plain
    return vectors / np.sqrt(values.clip(min=0) + 0.01 * values.mean() + 1e-300), means[0] - means[1]


def _leaning(W: Array, lean: Array) -> Array:
    """`W` with columns turned until they correlate a little with the labels: the others plant nothing."""
    unit = lean / (np.linalg.norm(lean) + 1e-300)
    lengths = np.linalg.norm(W, axis=0)
    return np.asarray(W + np.outer(unit, np.maximum(0.0, 0.02 * lengths - unit @ W)))


def _normalised(W: Array, X: Matrix) -> Array:
    """Columns scaled to scores of unit standard deviation, where they have one."""
    spread = np.asarray(X @ W).std(axis=0)
    return np.asarray(W / np.where(spread > 0, spread, 1.0))


def _moved(t: Array, b: Array, step: Array, length: Array) -> tuple[Array, Array]:
    return t + length * step[0], b + length * step[1]


def _solve2(second: Array, right: Array) -> Array:
    """Solutions of symmetric systems of two equations, entries (tt, tb, bb), one system a column."""
    tt, tb, bb = second
    det = tt * bb - tb**2
    return np.stack([bb * right[0] - tb * right[1], tt * right[1] - tb * right[0]]) / np.where(det > 0, det, 1e-300)
