"""Local search on the measured least error: moves of places, radii, copies and layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import nlargest

import numpy as np

from ...core.errors import InputError, SolverFailed
from ...core.parts import dense
from ...core.validation import Array
from ..deadline import time_is_up
from .plans import Ground, Plan, clipped
from .trials import Trial, Trials

POOL = 5
LENGTHS = (2e-3, 0.2)
"""The shortest step of an ascent and the first one, relative to the distance of a place from the centre."""
SPREADS = (2.0, 1.0, 0.4)
"""How widely the gradient of an ascent is smoothed, in turn."""
FLIPPED = 8
"""Coordinates that go to a bound together, at most."""
RESOLVED = 1e-4
"""What a move has to add: less is not told from the tolerance of a fit."""
PATIENCE = 12
"""Moves in a row that add less after which a search on all rows ends."""
CAP = 150.0  # units that a place lies out at most: farther, the learners of libraries part


@dataclass(frozen=True, eq=False)
class State:
    """A plan with its outcome and, once asked for, the gradient in its places."""

    plan: Plan
    trial: Trial
    label: str


@dataclass
class Climb:
    """A pool of states, moved one at a time; moves that succeed are drawn more often.

    Parameters
    ----------
    trials : Trials
    ground : Ground
    rng : numpy.random.Generator
    """

    trials: Trials
    ground: Ground
    rng: np.random.Generator
    credit: dict[str, float] = field(
        default_factory=lambda: {
            "ascent": 0.5,
            "radius": 0.2,
            "noise": 0.2,
            "copies": 0.1,
            "layout": 0.1,
            "mirror": 0.1,
        }
    )
    _slopes: dict[State, Array] = field(default_factory=dict)

    def state(self, plan: Plan, label: str, above: Trial | None = None) -> State | None:
        """A plan with its outcome; None where a defence or a learner refuses it, or it does no more than `above`."""
        return self._measured(plan, label, above, -np.inf if above is None else above.value)

    def states(self, named: Iterable[tuple[str, Plan]], among: Sequence[State] | None = None) -> list[State]:
        """Those plans that no defence or learner refuses, with their outcomes.

        Where there are others `among` which they are to be chosen, those are left out, as soon as it shows, that are
        not among the best `POOL` and cannot do the most behind one defence either.
        """
        found: list[State] = []
        for label, plan in named:
            if time_is_up():
                break
            others = [] if among is None else [state.trial for state in (*among, *found)]
            least, most = -np.inf, None
            if len(others) >= POOL:
                least = nlargest(POOL, (trial.value for trial in others))[-1]
                most = {name: max(trial.error[name] for trial in others) for name in others[0].error}
            state = self._measured(plan, label, None, least, most)
            found += [] if state is None else [state]
        return found

    def _measured(
        self,
        plan: Plan,
        label: str,
        near: Trial | None,
        least: float,
        most: Mapping[str, float] | None = None,
    ) -> State | None:
        try:
            trial = self.trials.measure(plan.poison(self.ground), near, least, most)
        except (InputError, SolverFailed):
            return None
        return None if trial is None else State(plan, trial, label)

    def run(self, pool: Sequence[State], steps: int, patience: int | None = None) -> list[State]:
        """The pool after so many moves, best first; fewer where as many as `patience` in a row add next to nothing."""
        states = sorted(pool, key=lambda state: -state.trial.value)[:POOL]
        idle = 0
        for step in range(steps):
            if time_is_up() or (patience is not None and idle >= patience):
                break
            open_to = 1 + int(len(states) * (1 - step / steps))
            place = int(self.rng.integers(min(len(states), open_to)))
            current = states[place]
            kind = self._kind()
            plan = clipped(getattr(self, f"_{kind}")(current).used(), self.ground, CAP)
            same = plan.same(current.plan)
            idle += not same
            moved = None if same else self.state(plan, current.label, current.trial)
            success = moved is not None and moved.trial.value > current.trial.value
            self.credit[kind] = 0.95 * self.credit[kind] + 0.05 * float(success)
            if moved is not None and success:
                idle = 0 if moved.trial.value > current.trial.value + RESOLVED else idle
                states[place] = moved
                states.sort(key=lambda state: -state.trial.value)
        return states

    def ascend(self, state: State, steps: int, length: float = LENGTHS[1]) -> State:
        """The state after so many steps along its gradient, longer after one that did more and shorter after others.

        Where no step does more the gradient is smoothed otherwise: the least over the defences has kinks.
        """
        turn = 0
        slopes: Array | None = None
        for _ in range(steps):
            if length < LENGTHS[0]:
                turn, length, slopes = turn + 1, LENGTHS[1] / 4, None
            if turn >= 2 * len(SPREADS) or time_is_up():
                break
            slopes = self._in_places(state, SPREADS[turn % len(SPREADS)]) if slopes is None else slopes
            plan = clipped(self._along(state.plan, slopes, length), self.ground, CAP)
            moved = self.state(plan, state.label, state.trial)
            if moved is not None and moved.trial.value > state.trial.value:
                state, length, slopes = moved, 1.2 * length, None
            else:
                length *= 0.5
        return state

    def corners(self, state: State, steps: int) -> State:
        """The state after coordinates of its places have gone to the bound that the gradient points to.

        In a box damage is often greatest in a corner, and a short step out of one is undone where it is cut to the box.
        Those coordinates go together whose way to the bound promises the most, half as many after a move that did no
        more, down to one.
        """
        low, high, number = self.ground.domain.lower, self.ground.domain.upper, FLIPPED
        slopes: Array | None = None
        for _ in range(steps):
            if not number or low is None or high is None or time_is_up():
                break
            slopes = self._in_places(state) if slopes is None else slopes
            points = state.plan.points.copy()
            goal = np.where(slopes > 0, high, low)
            promised = np.nan_to_num(slopes * (goal - points), nan=0.0, posinf=0.0).ravel()
            chosen = np.argsort(-promised, kind="stable")[:number]
            chosen = chosen[promised[chosen] > 0]
            points.flat[chosen] = goal.flat[chosen]
            moved = self.state(replace(state.plan, points=points), state.label, state.trial) if chosen.size else None
            if moved is not None and moved.trial.value > state.trial.value:
                state, slopes = moved, None
            else:
                number //= 2
        return state

    def _kind(self) -> str:
        odds = np.array([0.05 + part for part in self.credit.values()])
        return str(self.rng.choice(list(self.credit), p=odds / odds.sum()))

    def _ascent(self, state: State) -> Plan:
        return self._along(state.plan, self._gradient(state), 10 ** self.rng.uniform(-2.3, 0.0))

    def _along(self, plan: Plan, slopes: Array, step: float) -> Plan:
        """A step of every place along the gradient, relative to its distance from the centre.

        In a box a coordinate at a bound whose slope points beyond it stays, and takes no part in the length of the
        step: near a corner nearly all would.
        """
        low, high = self.ground.domain.lower, self.ground.domain.upper
        if self.ground.bounded and low is not None and high is not None:
            stays = ((plan.points <= low) & (slopes < 0)) | ((plan.points >= high) & (slopes > 0))
            slopes = np.where(stays, 0.0, slopes)
        lengths = np.linalg.norm(slopes, axis=1, keepdims=True)
        out = np.linalg.norm(plan.points - self.ground.center, axis=1, keepdims=True) + 0.1 * self.ground.base
        return replace(plan, points=plan.points + step * out * slopes / np.maximum(lengths, 1e-300))

    def _gradient(self, state: State) -> Array:
        if state not in self._slopes:
            if len(self._slopes) > 4 * POOL:
                self._slopes.clear()
            self._slopes[state] = self._in_places(state)
        return self._slopes[state]

    def _in_places(self, state: State, spread: float = 1.0) -> Array:
        """The gradient in the rows, added up over the rows of each place."""
        slopes, plan = self.trials.slopes(state.trial, spread), state.plan
        sources = plan.sources
        if self.ground.spread > 0:
            alone = plan.copies - (plan.drags & (plan.copies > 1))
            sources = np.repeat(sources, np.concatenate([alone, np.ones(sources.size - alone.size, dtype=int)]))
        total = np.zeros(plan.points.shape)
        np.add.at(total, sources, dense(slopes))
        return total

    def _radius(self, state: State) -> Plan:
        plan, size = state.plan, state.plan.y.size
        factor = np.ones(size)
        rows = slice(None) if self.rng.random() < 0.4 else int(self.rng.integers(size))
        factor[rows] = np.exp(0.6 * self.rng.normal())
        off = plan.points - self.ground.center
        return replace(plan, points=self.ground.center + factor[:, None] * off)

    def _noise(self, state: State) -> Plan:
        plan = state.plan
        row, points = int(self.rng.integers(plan.y.size)), plan.points.copy()
        length = np.linalg.norm(points[row] - self.ground.center) * 10 ** self.rng.uniform(-2, -0.3)
        points[row] += length * self.rng.normal(size=points.shape[1]) / np.sqrt(points.shape[1])
        return replace(plan, points=points)

    def _copies(self, state: State) -> Plan:
        """Copies from one place to another, or to a new one."""
        plan = state.plan
        size = plan.y.size
        one = int(self.rng.integers(size))
        if size < 5 and self.rng.random() < 0.5:
            return self._split(plan, one)
        other = int(self.rng.integers(size))
        moved, copies = int(self.rng.integers(1, plan.copies[one] + 1)), plan.copies.copy()
        copies[one] -= moved
        copies[other] += moved
        return replace(plan, copies=copies)

    def _split(self, plan: Plan, one: int) -> Plan:
        moved = int(self.rng.integers(1, plan.copies[one] + 1))
        copies = plan.copies.copy()
        copies[one] -= moved
        off = plan.points[one] - self.ground.center
        sign = -1.0 if self.rng.random() < 0.3 else 1.0
        noise = self.rng.normal(size=off.size) * np.linalg.norm(off) * 0.1 / np.sqrt(off.size)
        point = self.ground.center + sign * off * np.exp(self.rng.normal()) + noise
        return Plan(
            np.vstack([plan.points, point]),
            np.append(plan.y, sign * plan.y[one]),
            np.append(copies, moved),
            np.append(plan.drags, plan.drags[one]),
        )

    def _layout(self, state: State) -> Plan:
        plan = state.plan
        drags = plan.drags.copy()
        row = int(self.rng.integers(plan.y.size))
        drags[row] = not drags[row] and not self.ground.bounded
        return replace(plan, drags=drags)

    def _mirror(self, state: State) -> Plan:
        """A place on the other side of the centre, with the other label: the same pull."""
        plan = state.plan
        row, points, y = int(self.rng.integers(plan.y.size)), plan.points.copy(), plan.y.copy()
        points[row], y[row] = 2 * self.ground.center - points[row], -y[row]
        return replace(plan, points=points, y=y)
