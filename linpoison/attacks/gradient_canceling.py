"""Gradient canceling: projected gradient descent on the optimality condition of a decoy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from scipy.optimize import Bounds, minimize

from ..core.dataset import Dataset
from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import Candidate, SolveInfo
from ..core.validation import LABELS, Array, check_integer, check_number
from ..losses import Problem
from ..optimality.stationarity import Stationarity
from ..sets import ByLabel, Oracle
from .base import Attack, whole_numbers
from .decoys import Decoy, LabelFlipDecoys, by_promise
from .feasible import FeasibleRegion, SetPolicy, active
from .ranking import Ranker, distance_from, roundings
from .run import Run, Step, skipped
from .scenario import Scenario


@dataclass(frozen=True, eq=False)
class Cancelation:
    """What descent on the residual ends in.

    Parameters
    ----------
    poison : Poison
        Relaxed rows, `count` in rows.
    residual : float
        ``|r|`` per clean row.
    history : ndarray
        Residuals on the way.
    """

    poison: Poison
    residual: float
    history: Array


@dataclass(frozen=True)
class DecoyCanceler:
    """Minimise the norm of a decoy's gradient over poison rows and their weights.

    ::

        minimise  | r |^2 / 2,   r = g + A a + c(e) * (theta, b) - sum_j (c_j / n) psi(m_j) y_j (x_j, 1)
        over      x_j in F_(y_j),   c >= 0,  sum c <= epsilon n,   0 <= a <= 1

    for fixed labels: by L-BFGS-B at equal weights where rows are free or bounded coordinate by coordinate, by
    projected gradient descent with momentum otherwise (a step that raises the residual is taken back,
    the next one is halved). The gradient in a row is

        - (c_j / n) (psi(m_j) y_j r_x + psi'(m_j) (r . (x_j, 1)) theta).

    For a hinge the rows are held where the loss is active (``m_j <= 1``), and the problem is convex in
    ``(c_j x_j, c_j)``; otherwise it is not, and `KKTProgram`, which is, gives the global minimum
    that this can be compared with.

    Parameters
    ----------
    steps : int, default 400
    rows : int, default 2
        Rows in all, half of them with each label.
    free_weights : bool, default True
        Move copies between the rows in projected descent; otherwise each has the same share.
    method : {"auto", "projected", "lbfgs"}, default "auto"
    tol : float, default 1e-10
        Residual, relative to that without poison, at which projected descent ends.

    References
    ----------
    Lu, Kamath, Yu: Exploring the limits of model-targeted indiscriminate data poisoning attacks (2023),
    section 4, Algorithm 1.
    """

    steps: int = 400
    rows: int = 2
    free_weights: bool = True
    method: Literal["auto", "projected", "lbfgs"] = "auto"
    tol: float = 1e-10

    def __post_init__(self) -> None:
        check_integer(self.steps, "steps", at_least=1)
        check_integer(self.rows, "rows", at_least=2)
        check_number(self.tol, "tol", at_least=0)
        if self.method not in ("auto", "projected", "lbfgs"):
            raise InputError("the method 'auto', 'projected' or 'lbfgs'", repr(self.method))

    def solve(
        self,
        decoy: LinearModel,
        train: Dataset,
        problem: Problem,
        sets: ByLabel,
        epsilon: float,
        rng: np.random.Generator,
    ) -> Cancelation:
        """Descend from random training rows, made feasible.

        Raises
        ------
        InfeasibleSet
            If a class has no feasible row.
        """
        check_number(epsilon, "epsilon", above=0)
        within = active(sets, decoy, problem.loss)
        pieces = [within[label].piece for label in LABELS]
        boxes = all(piece is not None and piece.is_box for piece in pieces)
        if self.method == "lbfgs" and not boxes:
            raise InputError("rows that are bounded coordinate by coordinate for L-BFGS", "other sets", "Use 'auto'.")
        descent = _Descent(self, Stationarity(train, problem, decoy), within, epsilon)
        return descent.run(rng, self.method == "lbfgs" or (self.method == "auto" and boxes))


State = tuple[Array, Array, Array]
"""Rows X (k, d), shares of the budget (k,) and multipliers of the rows on the kink."""


class _Descent:
    """Value, gradient and steps of one cancelation."""

    def __init__(self, rule: DecoyCanceler, condition: Stationarity, sets: ByLabel, epsilon: float) -> None:
        self.rule, self.condition, self.epsilon = rule, condition, epsilon
        self.y = np.repeat(LABELS, [rule.rows - rule.rows // 2, rule.rows // 2])
        self.sets = sets
        self.oracles = [Oracle(sets[label]) for label in self.y]
        self.loss = condition.problem.loss
        self.decoy = condition.decoy

    @cached_property
    def fitted(self) -> Array:
        """1 for the entries of the residual that count; an intercept that is not fitted does not."""
        mask = np.ones(self.decoy.d + 1)
        mask[-1] = float(self.condition.problem.fit_intercept)
        return mask

    def pulls(self, X: Array) -> tuple[Array, Array]:
        """``psi(m)``, below zero where the squared loss grows, and ``psi'(m)``; a hinge pulls with 1."""
        margins = self.y * (X @ self.decoy.coef + self.decoy.intercept)
        if self.loss.kink is not None:
            return np.ones(self.y.size), np.zeros(self.y.size)
        return -self.loss.derivative(margins), -self.loss.second_derivative(margins)

    def residual(self, X: Array, share: Array, a: Array) -> Array:
        psi, _ = self.pulls(X)
        weight = self.epsilon * share * psi * self.y
        c0, c1 = self.condition.penalty
        pulled = np.append(weight @ X, weight.sum())
        value = self.condition.constant + self.condition.kink_matrix @ a + c0 + self.epsilon * share.sum() * c1
        return np.asarray((value - pulled) * self.fitted)

    def gradient(self, X: Array, share: Array, r: Array) -> tuple[Array, Array, Array]:
        psi, bend = self.pulls(X)
        along = X @ r[:-1] + r[-1]
        rows = (
            -self.epsilon
            * share[:, None]
            * ((psi * self.y)[:, None] * r[:-1] + (bend * along)[:, None] * self.decoy.coef)
        )
        shares = self.epsilon * (float(self.condition.penalty[1] @ r) - psi * self.y * along)
        return rows, shares, np.asarray(self.condition.kink_matrix.T @ r)

    def run(self, rng: np.random.Generator, smooth: bool) -> Cancelation:
        state = self._begin(rng)
        end, history = self._lbfgs(state) if smooth else self._descend(state)
        X, share, _ = end
        count = np.maximum(share, 0.0) * self.epsilon * self.condition.train.total
        return Cancelation(Poison(X, self.y, count), float(history[-1]), np.array(history))

    def _begin(self, rng: np.random.Generator) -> State:
        train, k = self.condition.train, self.y.size
        dense = train.take(rng.choice(train.n, size=k)).X
        X = self.project(dense.toarray() if train.is_sparse else np.array(dense))
        return X, np.full(k, 1.0 / k), np.full(self.condition.kink_matrix.shape[1], 0.5)

    def _lbfgs(self, state: State) -> tuple[State, list[float]]:
        """L-BFGS-B over rows and multipliers at equal weights."""
        start, share, a = state
        shape, size = start.shape, start.size
        history: list[float] = [float(np.sqrt(2 * self._value(*state)))]
        scale = max(history[0], 1e-300)

        def objective(z: Array) -> tuple[float, Array]:
            X, part = z[:size].reshape(shape), z[size:]
            r = self.residual(X, share, part)
            rows, _, multipliers = self.gradient(X, share, r)
            return 0.5 * float(r @ r) / scale**2, np.concatenate([rows.ravel(), multipliers]) / scale**2

        def note(z: Array) -> None:
            history.append(float(np.sqrt(2 * self._value(z[:size].reshape(shape), share, z[size:]))))

        pieces = {y: self.sets[y].piece for y in LABELS}
        low = np.concatenate([*(pieces[y].lower for y in self.y), np.zeros(a.size)])  # type: ignore[union-attr]
        high = np.concatenate([*(pieces[y].upper for y in self.y), np.ones(a.size)])  # type: ignore[union-attr]
        outcome = minimize(
            objective, np.concatenate([start.ravel(), a]), jac=True, method="L-BFGS-B", callback=note,
            bounds=Bounds(low, high),
            options={"maxiter": 50 * self.rule.steps, "maxfun": 100 * self.rule.steps, "ftol": 0.0, "gtol": 1e-16,
                     "maxcor": 30},
        )  # fmt: skip
        note(outcome.x)
        return (outcome.x[:size].reshape(shape), share, outcome.x[size:]), history

    def _descend(self, state: State) -> tuple[State, list[float]]:
        """Projected gradient descent with momentum."""
        scale = float(np.linalg.norm(self.condition.constant + self.condition.penalty[0]))
        before, value, momentum, length = state, self._value(*state), 1.0, 1.0
        history = [float(np.sqrt(2 * value))]
        for _ in range(self.rule.steps):
            if history[-1] <= self.rule.tol * scale or length < 1e-14:
                break
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead = (momentum - 1) / following
            X, share, a = (now + ahead * (now - then) for now, then in zip(state, before, strict=True))
            moved = self._step((X, np.maximum(share, 0.0), a), length)
            fresh = self._value(*moved)
            if fresh >= value:  # taken back: without momentum first, then shorter
                length *= 0.5 if momentum == 1.0 else 1.0
                momentum, before = 1.0, state
                continue
            before, state, value, momentum, length = state, moved, fresh, following, length * 1.1
            history.append(float(np.sqrt(2 * value)))
        return state, history

    def _step(self, state: State, length: float) -> State:
        """A projected gradient step, scaled in each block by a bound on its curvature."""
        X, share, a = state
        rows, shares, multipliers = self.gradient(X, share, self.residual(X, share, a))
        weight = np.maximum(self.epsilon * np.maximum(share, 0.0), 1e-3 * self.epsilon / share.size)
        moved = self.project(X - length * rows / (3 * share.size * weight**2)[:, None])
        if self.rule.free_weights:
            size = (self.epsilon**2) * max(float(np.max(np.einsum("ij,ij->i", X, X))) + 1.0, 1e-12)
            share = simplex(share - length * shares / (3 * share.size * size))
        norm = max(self._kink_norm, 1e-300)
        return moved, share, np.clip(a - length * multipliers / (3 * norm), 0.0, 1.0)

    @cached_property
    def _kink_norm(self) -> float:
        A = self.condition.kink_matrix
        return float((A.multiply(A)).sum()) if A.shape[1] else 1.0

    def _value(self, X: Array, share: Array, a: Array) -> float:
        r = self.residual(X, share, a)
        return 0.5 * float(r @ r)

    def project(self, X: Array) -> Array:
        return np.array([oracle.project(row) for oracle, row in zip(self.oracles, X, strict=True)])


def simplex(share: Array) -> Array:
    """The nearest point with non-negative entries that add up to at most 1.

    Examples
    --------
    >>> simplex(np.array([0.9, 0.5, -0.3])).tolist()
    [0.7, 0.3, 0.0]
    """
    clipped = np.maximum(share, 0.0)
    if clipped.sum() <= 1:
        return clipped
    order = np.sort(share)[::-1]
    level = (np.cumsum(order) - 1) / np.arange(1, share.size + 1)
    count = int(np.flatnonzero(order > level)[-1])
    return np.round(np.maximum(share - level[count], 0.0), 15)


@dataclass(frozen=True)
class GradientCanceling(Attack):
    """Gradient canceling (Lu et al.) on linear models, decoy by decoy, ranked by retraining.

    Parameters
    ----------
    canceler : DecoyCanceler
    decoys : LabelFlipDecoys
    most_decoys : int, default 8
        The most promising decoys are tried.
    finalists : int, default 4
    repeats : sequence of int, default (2, 3)
    draws : int, default 2
    policy : SetPolicy

    References
    ----------
    Lu, Kamath, Yu (2023), section 4; decoys by Koh et al., Algorithm 3.
    """

    name: ClassVar[str] = "gradient-canceling"
    canceler: DecoyCanceler = field(default_factory=DecoyCanceler)
    decoys: LabelFlipDecoys = field(default_factory=LabelFlipDecoys)
    most_decoys: int = 8
    finalists: int = 4
    repeats: Sequence[int] = (2, 3)
    draws: int = 2
    policy: SetPolicy = field(default_factory=SetPolicy)

    def __post_init__(self) -> None:
        for name in ("most_decoys", "finalists", "draws"):
            check_integer(getattr(self, name), name, at_least=1)
        object.__setattr__(self, "repeats", whole_numbers(self.repeats, "repeats"))

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """One descent for each of the most promising decoys."""
        train, problem = scenario.train, scenario.problem
        run.say(0, 1, "training decoys")
        decoys = self.decoys.generate(train, problem, scenario.target, n_jobs=run.n_jobs)
        chosen = by_promise(decoys, problem, train, scenario.budget.epsilon)[: self.most_decoys]
        region = FeasibleRegion.fit(scenario, self.policy)
        arguments = [(self, scenario, region, decoy, [run.seed, index]) for index, decoy in enumerate(chosen)]
        run.info["decoys"] = len(decoys)
        return run.steps("canceling", cancel, arguments)


def cancel(
    started: float, attack: GradientCanceling, scenario: Scenario, region: FeasibleRegion, decoy: Decoy, seed: list[int]
) -> Step:
    """One decoy: descend, round, score; the best rounding is kept."""
    begun, rng = time.time(), np.random.default_rng(seed)
    try:
        sets = region.sets(decoy.model)
    except InputError as error:  # such as a decoy of zero coefficients, whose loss no row changes
        return skipped(error)
    try:
        outcome = attack.canceler.solve(
            decoy.model, scenario.train, scenario.problem, sets, scenario.budget.epsilon, rng
        )
    except (InfeasibleSet, SolverFailed) as error:
        return skipped(error)
    violation = float(sets.violation(outcome.poison).max())
    info = SolveInfo("descent", "optimal_inaccurate", outcome.residual, time.time() - begun, violation)
    best: Candidate | None = Ranker(scenario, started).best(
        roundings(scenario, outcome.poison, sets, rng, repeats=attack.repeats, draws=attack.draws),
        label=decoy.label,
        decoy=decoy.model,
        relaxed=outcome.poison,
        residual=outcome.residual,
        violation=violation,
    )
    if best is None:
        return [], [info]
    return [replace(best, distance=distance_from(scenario, best))], [info]
