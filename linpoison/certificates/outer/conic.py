"""The outer set of reachable parameters as conic programs, solved for their multipliers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from ...convex import solve
from ...core.errors import InfeasibleSet, SolverFailed
from ...core.poison import Poison
from ...core.validation import Array
from ..claim import Claim
from ..clean.anchor import clean_vector
from ..clean.losses import soft_hinge
from ..clean.rows import LABELS, combine, one, signed_rows, signed_scores
from ..clean.screen import Screening
from ..joint import Joint
from .band import Band

Multipliers = dict[str, Any]
"""``p, s, b, r, gam, dele`` of one row, see `outer.bound.evaluate`."""

SLIGHT = 1e-6
"""Share of the budget below which a class is not poisoned."""
WHOLE = 80
"""Clean rows up to which all of them are in the program of the hinge."""
NEAR = 0.2
"""Distance from the kink within which they are in any case."""
WRONG = 1e-7
"""By how much a margin may lie on the wrong side."""
GROWTHS = 8
"""Programs in turn, each with more rows."""


def make_program(
    claim: Claim, screening: Screening, *, rounds: int = 3, solver: str | None = None
) -> HingeProgram | SmoothProgram:
    """The program of a claim: cap and bounds on the margins as far as the screening has them.

    Parameters
    ----------
    claim : Claim
    screening : Screening
    rounds : int, default 3
        Quadratic models, one after the other, of a smooth loss.
    solver : str, optional
        See `linpoison.convex.solve`.
    """
    if soft_hinge(claim.problem.loss).sharp:
        return HingeProgram(claim, screening, solver)
    return SmoothProgram(claim, screening, solver, rounds)


class _Program(ABC):
    """Variables and constraints that both kinds have: parameters, pull of the poison, stationarity and cap."""

    v: Any
    program: Any

    def __init__(self, claim: Claim, screening: Screening, solver: str | None) -> None:
        import cvxpy as cp

        self.claim, self.screening, self.solver = claim, screening, solver
        self.loss = soft_hinge(claim.problem.loss)
        self.rows = signed_rows(claim)
        self.share = claim.share
        self.goal = cp.Parameter(claim.train.d + 1)
        self.point = {label: cp.Variable(claim.train.d) for label in LABELS}
        self.pull = {label: cp.Variable(nonneg=True) for label in LABELS}
        self.rules: list[Any] = []
        for label in LABELS:
            self.rules += claim.sets[label].constraints(self.point[label], self.pull[label])
        ones = one(claim)
        self.pulled = claim.epsilon * cp.hstack([self.point[1] - self.point[-1], ones * (self.pull[1] - self.pull[-1])])

    def cap(self, v: Any) -> Any | None:
        """``|v - v0 - u / (2 lam)| <= sum_y R_y w_y / (2 lam) + slack``."""
        import cvxpy as cp

        screening, half = self.screening, 0.5 / self.claim.reg
        if not screening.capped or screening.hubs:  # (tau) says more
            return None
        reach = sum(screening.reach[label] * self.pull[label] for label in LABELS)
        length = (half * self.claim.epsilon) * reach + screening.slack
        return cp.SOC(length, v - screening.center - half * self.pulled)

    def product(self, v: Any, losses: Any) -> list[Any]:
        """(tau) and (eta) of `outer.bound.evaluate`, `losses` being the sum over the clean rows; none without hubs."""
        import cvxpy as cp

        claim, hubs = self.claim, self.screening.hubs
        if not hubs:
            return []
        eps, lam, ones = claim.epsilon, claim.reg, one(claim)
        held = self.held = {y: cp.Variable() for y in LABELS}
        away: Any = 0
        room: Any = 0
        self.envelopes = []
        for y in LABELS:
            hub, pull = hubs[y], self.pull[y]
            away = away + y * (self.point[y] - pull * hub.center[:-1])
            room = room + held[y] + eps * hub.radius**2 / (4 * lam) * pull
            self.envelopes += [held[y] <= hub.high * pull, held[y] <= y * (hub.center @ v) + hub.low * (pull - 1)]
        lead = cp.multiply(claim.mask, v)
        self.away = lead - eps / (2 * lam) * cp.hstack([away, 0.0 * ones])
        self.curved = lam * cp.sum_squares(self.away) + losses <= eps * room
        return [self.curved, *self.envelopes]

    def multipliers_of_product(self) -> Multipliers:
        """``tau, h, eta`` of the last solution."""
        if not self.screening.hubs:
            return {"tau": 0.0, "h": np.zeros(self.claim.train.d + 1), "eta": np.zeros(len(LABELS))}
        tau = _weight(self.curved)
        shares = np.array([np.maximum(_dual(rule).item(), 0.0) for rule in self.envelopes]).reshape(-1, 2)
        eta = shares[:, 1] / np.maximum(shares.sum(axis=1), 1e-300)
        return {"tau": tau, "h": 2 * self.claim.reg * tau * np.asarray(self.away.value), "eta": eta}

    def poison(self) -> Poison | None:
        """The poison that the last solution suggests, of the whole budget; None if it has none.

        One point for each class at the mean of its pull, the budget shared as the pulls are. What it does is for a
        learner to say: only if it does what the bound says is the bound attained.
        """
        pulls = {label: self.pull[label].value for label in LABELS}
        known = {label: float(pull) for label, pull in pulls.items() if pull is not None and pull > SLIGHT}
        if not known:
            return None
        X = [self.claim.sets[y].project((self.point[y].value / pull)[None, :])[0] for y, pull in known.items()]
        shares = np.array(list(known.values()))
        count = shares / shares.sum() * self.claim.epsilon * self.claim.mass
        return Poison(np.array(X), np.array(list(known), dtype=np.float64), count)

    @abstractmethod
    def multipliers(self, goal: Array) -> list[Multipliers]:
        """Multipliers for one ``k (z, 1)``; an empty list if no solver answers."""

    @abstractmethod
    def found(self) -> Multipliers:
        """Those of the last solution."""

    @abstractmethod
    def value(self, goal: Array) -> float:
        """What the bound is if the last solution is exact; ``-inf`` where the program is only a model."""

    def joint(self, goals: Array, most: Array, told: Callable[[Array], None]) -> Joint:
        """Programs with the scores ``-goal . v`` of several rows; `most` is no less than each margin."""
        self.begin()
        made: dict[str, Any] = {}

        def source() -> tuple[Any, list[Any]]:
            if made.get("of") is not self.program:
                made.update(of=self.program, scores=-(goals @ self.v), constraints=self.program.constraints)
            return made["scores"], made["constraints"]

        return Joint(source, self.settle, self.poison, told, most)

    def settle(self, program: Callable[[], Any]) -> bool:
        """Whether a solver left values of the program that is asked for anew whenever `grow` has changed it."""
        answered = self.run(program())
        growths = 0
        while answered and growths < GROWTHS and self.grow():
            answered, growths = self.run(program()), growths + 1
        return answered

    def grow(self) -> bool:
        """Whether the last solution showed that the program needs more rows, which it has then."""
        return False

    @abstractmethod
    def begin(self) -> None:
        """Set what a program of this kind needs before it is solved."""

    def run(self, program: Any) -> bool:
        """Whether a solver left values."""
        try:
            solve(program, solver=self.solver, check=lambda: 0.0)  # its multipliers are evaluated, whatever they are
        except (SolverFailed, InfeasibleSet):
            return False
        return True


class HingeProgram(_Program):
    """Hinge: a second-order cone program in ``(v, a, xi, u_y, w_y)``, with variables for rows near the kink alone.

    Far above the kink ``a_i = xi_i = 0`` at the solution, far below it ``a_i = 1``, ``xi_i = 1 - m_i``. A solution is
    that of the whole program if no row left out has its margin on the other side of the kink, nor the slope of its
    ``a_i``, ``s + tau + y_i (x_i, 1) . p``, the other sign; rows that do are let in. No bound rests on that.
    """

    def __init__(self, claim: Claim, screening: Screening, solver: str | None) -> None:
        super().__init__(claim, screening, solver)
        self.free = (screening.upper >= 1) & (screening.lower <= 1)
        margins = signed_scores(claim, screening.center if screening.capped else clean_vector(claim))
        self._let_in((np.abs(margins - 1) < NEAR) | (self.free.sum() <= WHOLE), margins)

    def _let_in(self, near: Any, margins: Array) -> None:
        """Build the program of the free rows that are `near`; `margins` say on which side the others are."""
        import cvxpy as cp

        low, high = self.screening.lower, self.screening.upper
        self.out = self.free & ~near
        self.ones = np.flatnonzero((high < 1) | (self.out & (margins < 1)))
        self.open = np.flatnonzero(self.free & near)
        self.known = self.open[np.isfinite(low[self.open]) & np.isfinite(high[self.open])]
        self._build(cp.Variable(self.claim.train.d + 1), cp.Variable(self.open.size), cp.Variable(self.open.size))

    def grow(self) -> bool:
        margins = signed_scores(self.claim, np.asarray(self.v.value))
        weight = _weight(self.level) + self.multipliers_of_product()["tau"]
        slope = 1 + signed_scores(self.claim, _dual(self.balance)) / max(weight, 1e-300)
        side = np.where(np.isin(np.arange(margins.size), self.ones), 1.0, -1.0)
        wrong = self.out & (np.minimum(side * (1 - margins), side * slope) < -WRONG)
        if wrong.any():
            self._let_in(~self.out | wrong | (np.abs(margins - 1) < NEAR), margins)
        return bool(wrong.any())

    def _build(self, v: Any, a: Any, xi: Any) -> None:
        import cvxpy as cp

        self.v, self.a, self.xi = v, a, xi
        claim, weight, rows = self.claim, self.share[self.open], self.rows[self.open]
        fixed = np.zeros(claim.train.n)
        fixed[self.ones] = self.share[self.ones]
        pull_of_ones = combine(claim, fixed)
        penalised = cp.multiply(claim.mask, v)
        self.balance = claim.reg * penalised - rows.T @ cp.multiply(weight, a) - pull_of_ones == self.pulled
        spent = self.pull[1] + self.pull[-1]
        losses = weight @ (xi - a) - pull_of_ones @ v
        self.level = claim.reg * cp.sum_squares(penalised) + losses <= claim.epsilon * spent
        product = self.product(v, losses)
        self.losses = xi >= 1 - rows @ v
        self.ceiling = self.cap(v)
        self.chords = self._chords(v, a, xi)
        rules = [self.balance, self.level, self.losses, xi >= 0, a >= 0, a <= 1, spent <= 1, *self.chords, *self.rules]
        rules += product
        rules += [] if self.ceiling is None else [self.ceiling]
        rules += [] if one(claim) else [v[-1] == 0]
        self.program = cp.Problem(cp.Minimize(self.goal @ v), rules)

    def _chords(self, v: Any, a: Any, xi: Any) -> list[Any]:
        import cvxpy as cp

        if not self.known.size:
            return []
        at = np.flatnonzero(np.isin(self.open, self.known))
        below, above = 1 - self.screening.lower[self.known], self.screening.upper[self.known] - 1
        rest = 1 - self.rows[self.known] @ v + cp.multiply(above, 1 - a[at])
        return [xi[at] <= cp.multiply(below, a[at]), xi[at] <= rest]

    def multipliers(self, goal: Array) -> list[Multipliers]:
        self.goal.value = goal
        return [self.found()] if self.settle(lambda: self.program) else []

    def found(self) -> Multipliers:
        n, s, product = self.claim.train.n, _weight(self.level), self.multipliers_of_product()
        beta, gam, dele = np.zeros(n), np.zeros(n), np.zeros(n)
        beta[self.open] = _dual(self.losses)
        for place, chord in zip((gam, dele), self.chords, strict=False):
            place[self.known] = np.maximum(_dual(chord), 0)
        room = (s + product["tau"]) * self.share + gam + dele
        b = np.divide(beta, room, out=np.zeros(n), where=room > 0)
        b[self.ones] = 1.0
        found = {"p": _dual(self.balance), "s": s, "b": np.clip(b, 0, 1), "gam": gam, "dele": dele}
        return {**found, "r": _direction(self.ceiling, n=self.claim.train.d + 1), **product}

    def begin(self) -> None:
        """Nothing: the program has no other parameter than the row."""

    def value(self, goal: Array) -> float:
        return -float(goal @ self.v.value)


class SmoothProgram(_Program):
    """Smooth loss: the losses and their conjugates by quadratic models, the poison by its exponential cones.

    An interior-point method does not get through thousands of entropies that differ by ``epsilon``. Their models
    are sums of squares. What a model misses makes its multipliers worse, never the bound wrong.
    """

    def __init__(self, claim: Claim, screening: Screening, solver: str | None, rounds: int) -> None:
        import cvxpy as cp

        super().__init__(claim, screening, solver)
        self.rounds = rounds
        self.start = screening.center if claim.strongly_convex else clean_vector(claim)
        n, d = claim.train.n, claim.train.d
        self.band = Band.of(self.loss, screening)
        self.at_v, self.slope = cp.Parameter(d + 1), cp.Parameter(d + 1)
        self.at_a, self.tilt, self.offset = cp.Parameter(n), cp.Parameter(n), cp.Parameter()
        self.ahead, self.behind = cp.Parameter(d + 1), cp.Parameter()
        self.bend_m, self.bend_a = cp.Parameter(n, nonneg=True), cp.Parameter(n, nonneg=True)
        self._build(cp.Variable(d + 1), cp.Variable(n))

    def _build(self, move: Any, change: Any) -> None:
        """With ``v = at_v + move`` and ``a = at_a + change``."""
        import cvxpy as cp

        claim = self.claim
        v, a = self.at_v + move, self.at_a + change
        self.move, self.change, self.v, self.a = move, change, v, a
        self.balance = claim.reg * cp.multiply(claim.mask, v) - self.rows.T @ cp.multiply(self.share, a) == self.pulled
        losses = cp.sum_squares(cp.multiply(self.bend_m, self.rows @ move)) + self.slope @ move
        losses += cp.sum_squares(cp.multiply(self.bend_a, change)) + self.tilt @ change + self.offset
        penalty = claim.reg * (cp.sum_squares(cp.multiply(claim.mask, move)) + self.ahead @ move) + self.behind
        mass = self.mass = {label: cp.Variable(nonneg=True) for label in LABELS}
        gain = sum(
            self.loss.kink * self.pull[label]
            - self.loss.width * cp.rel_entr(self.pull[label], mass[label] - self.pull[label])
            for label in LABELS
        )
        self.level = penalty + losses <= claim.epsilon * gain
        product = self.product(v, losses)
        self.ceiling = self.cap(v)
        rules = [self.balance, self.level, mass[1] + mass[-1] <= 1, *product, *self.rules]
        rules += [] if self.ceiling is None else [self.ceiling]
        rules += [] if one(claim) else [v[-1] == 0]
        self.strips = self._strips(v, a)
        self.program = cp.Problem(
            cp.Minimize(self.goal @ move), [*rules, *self.strips, a >= self.band.least, a <= self.band.most]
        )

    def _strips(self, v: Any, a: Any) -> list[Any]:
        import cvxpy as cp

        self.known = np.flatnonzero(np.isfinite(self.screening.lower) & np.isfinite(self.screening.upper))
        if not self.known.size:
            return []
        line = a[self.known] + cp.multiply(self.band.slope[self.known], self.rows[self.known] @ v)
        return [line <= self.band.top[self.known], line >= self.band.bottom[self.known]]

    def multipliers(self, goal: Array) -> list[Multipliers]:
        self.goal.value = goal
        v = self.start
        a = self.loss.pull(signed_scores(self.claim, v))
        found: list[Multipliers] = []
        for _ in range(self.rounds):
            self._model(v, a)
            if not self.run(self.program):
                break
            v, a = np.asarray(self.v.value), np.asarray(self.a.value)
            found.append(self.found())
        return found

    def begin(self) -> None:
        self._model(self.start, self.loss.pull(signed_scores(self.claim, self.start)))

    def value(self, goal: Array) -> float:
        return -inf

    def _model(self, v: Array, a: Array) -> None:
        """Second-order models of ``phi`` at the margins of `v` and of ``phi*`` at `a`."""
        claim, loss = self.claim, self.loss
        m = signed_scores(claim, v)
        pull, a = loss.pull(m), np.clip(a, 1e-6, 1 - 1e-6)
        losses = loss.width * np.logaddexp(0, (loss.kink - m) / loss.width) + loss.conjugate(a)
        penalised = claim.mask * v
        self.at_v.value, self.at_a.value = v, a
        self.ahead.value, self.behind.value = 2 * penalised, claim.reg * float(penalised @ v)
        self.offset.value = float(self.share @ losses)
        self.slope.value = -combine(claim, self.share * pull)
        self.tilt.value = self.share * (loss.width * np.log(a / (1 - a)) - loss.kink)
        self.bend_m.value = np.sqrt(0.5 * self.share * np.maximum(pull * (1 - pull), 1e-6) / loss.width)
        self.bend_a.value = np.sqrt(0.5 * self.share * loss.width / (a * (1 - a)))

    def found(self) -> Multipliers:
        n, v = self.claim.train.n, np.asarray(self.v.value)
        gam, dele = np.zeros(n), np.zeros(n)
        for place, strip in zip((gam, dele), self.strips, strict=False):
            place[self.known] = np.maximum(_dual(strip), 0)
        b = self.loss.pull(signed_scores(self.claim, v))
        found = {"p": _dual(self.balance), "s": _weight(self.level), "b": b, "gam": gam, "dele": dele}
        return {**found, "r": _direction(self.ceiling, n=v.size), **self.multipliers_of_product()}


def _dual(constraint: Any) -> Array:
    return np.asarray(constraint.dual_value, dtype=np.float64)


def _weight(constraint: Any) -> float:
    return max(float(_dual(constraint).item()), 0.0)


def _direction(ceiling: Any, n: int) -> Array:
    return np.zeros(n) if ceiling is None else -np.asarray(ceiling.dual_value[1], dtype=np.float64).ravel()
