"""What cone programs over the outer set of reachable parameters have in common, whatever the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ...convex.cones import Cones, Solution, Term
from ...core.poison import Poison
from ...core.validation import Array
from ..claim import Claim
from ..clean.anchor import clean_vector
from ..clean.losses import soft_hinge
from ..clean.rows import LABELS, one, signed_rows
from ..clean.screen import Screening
from ..joint import Extend, Joint

Multipliers = dict[str, Any]
"""``p, s, b, r, gam, dele, tau, h, eta`` of one row, see `outer.bound.evaluate`."""

SLIGHT = 1e-6
"""Share of the budget below which a class is not poisoned."""


def picked(index: Any, values: Any, n: int) -> Any:
    """`values` times some of n variables, one in each row; sparse, as there may be as many as clean rows."""
    return sp.coo_array((np.broadcast_to(values, index.shape), (np.arange(index.size), index)), (index.size, n))


class Blocks(NamedTuple):
    """Where the variables are that all programs have: parameters, pulls of the poison, and its products."""

    v: slice
    point: dict[int, slice]
    pull: dict[int, slice]
    held: dict[int, slice]


class Program(ABC):
    """What programs of the hinge and of smooth losses have: parameters, pull of the poison, stationarity, cap, product.

    The rules are those of `outer.bound.evaluate`. In a program ``M x + offset in K`` the multipliers of an inequality
    are its `z`; ``p``, whose sign is that of ``lam P v - ...``, is ``-z`` of stationarity; and ``|X|^2 <= R``, which is
    the cone of `Cones.square`, has the multiplier ``z_first - z_last`` of `R`.
    """

    at: Array
    blocks: Blocks
    answer: Solution
    asked: Array
    """The direction that a solution is sought for; zero where none is known."""

    def __init__(self, claim: Claim, screening: Screening, solver: str | None) -> None:
        self.claim, self.screening, self.solver = claim, screening, solver
        self.loss = soft_hinge(claim.problem.loss)
        self.rows = signed_rows(claim)
        self.share = claim.share
        d = claim.train.d
        self.lift = np.eye(d + 1, d)
        self.last = one(claim) * np.eye(d + 1)[:, -1:]
        center = screening.center if screening.capped else clean_vector(claim)
        self.size = claim.reg * float(center @ center) + claim.epsilon
        self.common = self.begun()

    def begun(self) -> tuple[Cones, Blocks]:
        """The program without the clean rows, to be copied."""
        claim, cones, D = self.claim, Cones(), self.claim.train.d + 1
        v = cones.variable(D)
        point = {label: cones.variable(D - 1) for label in LABELS}
        pull = {label: cones.variable(1) for label in LABELS}
        held = {label: cones.variable(1) for label in LABELS} if self.screening.hubs else {}
        for label in LABELS:
            cones.cone(claim.sets[label], point[label], pull[label])
        if not one(claim):
            cones.zero([(slice(D - 1, D), 1.0)], self.at[-1])
        return cones, Blocks(v, point, pull, held)

    def pulled(self, factor: float) -> list[Term]:
        """``factor`` times the pull of the poison, ``epsilon (u_+ - u_-, w_+ - w_-)``."""
        factor, blocks = factor * self.claim.epsilon, self.blocks
        points = [(blocks.point[y], y * factor * self.lift) for y in LABELS]
        return [*points, *((blocks.pull[y], y * factor * self.last) for y in LABELS)]

    def cap(self, cones: Cones) -> slice | None:
        """``|v - v0 - u / (2 lam)| <= sum_y R_y w_y / (2 lam) + slack``; None where (tau) says more."""
        screening, half, blocks = self.screening, 0.5 / self.claim.reg, self.blocks
        if not screening.capped or screening.hubs:
            return None
        D = self.at.size
        terms: list[Term] = [(blocks.v, np.eye(D)), *self.pulled(-half)]
        framed = [(where, np.vstack([np.zeros((1, matrix.shape[1])), matrix])) for where, matrix in terms]
        for label in LABELS:
            reach = np.zeros((D + 1, 1))
            reach[0] = half * self.claim.epsilon * screening.reach[label]
            framed.append((blocks.pull[label], reach))
        return cones.soc(framed, np.append(screening.slack, self.at - screening.center))

    def product(self, cones: Cones, losses: list[Term], base: float) -> tuple[slice, list[slice]] | None:
        """(tau) and (eta); ``losses + base`` is minus the sum over the clean rows. None without hubs."""
        claim, hubs, blocks = self.claim, self.screening.hubs, self.blocks
        if not hubs:
            return None
        eps, lam = claim.epsilon, claim.reg
        envelopes = []
        away: list[Term] = [(blocks.v, np.sqrt(lam) * claim.mask)]
        room = list(losses)
        for y in LABELS:
            hub, half = hubs[y], y * eps / (2 * np.sqrt(lam))
            away.append((blocks.point[y], -half * self.lift))
            away.append((blocks.pull[y], half * (self.lift @ hub.center[:-1])[:, None]))
            room += [(blocks.held[y], eps), (blocks.pull[y], eps**2 * hub.radius**2 / (4 * lam))]
            below: Term = (blocks.held[y], -1.0)
            high = cones.nonneg([below, (blocks.pull[y], hub.high)], 0.0)
            score = (blocks.v, y * hub.center)
            low = cones.nonneg([below, score, (blocks.pull[y], hub.low)], y * float(hub.center @ self.at) - hub.low)
            envelopes.append([high, low])
        curved = cones.square(away, np.sqrt(lam) * claim.mask * self.at, room, base, self.size)
        return curved, [part for pair in envelopes for part in pair]

    def multipliers_of_product(self, product: tuple[slice, list[slice]] | None) -> Multipliers:
        """``tau, h, eta`` of the last solution."""
        if product is None:
            return {"tau": 0.0, "h": np.zeros(self.at.size), "eta": np.zeros(len(LABELS))}
        claim, x, blocks = self.claim, self.answer.x, self.blocks
        tau, away = self.weight_of(product[0]), claim.mask * self.v
        for y in LABELS:
            apart = x[blocks.point[y]] - x[blocks.pull[y]] * self.screening.hubs[y].center[:-1]
            away[:-1] -= y * claim.epsilon / (2 * claim.reg) * apart
        shares = np.array([max(self.answer.z[rule].item(), 0.0) for rule in product[1]]).reshape(-1, 2)
        eta = shares[:, 1] / np.maximum(shares.sum(axis=1), 1e-300)
        return {"tau": tau, "h": 2 * claim.reg * tau * away, "eta": eta}

    @property
    def v(self) -> Array:
        """The parameters of the last solution."""
        return np.asarray(self.at + self.answer.x[self.blocks.v])

    def weight_of(self, square: slice) -> float:
        """The multiplier of ``|X|^2 <= R``."""
        return max(float(self.answer.z[square.start] - self.answer.z[square.stop - 1]), 0.0)

    def direction_of(self, ceiling: slice | None) -> Array:
        return np.zeros(self.at.size) if ceiling is None else -self.answer.z[ceiling][1:]

    def poison(self) -> Poison | None:
        """The poison that the last solution suggests, of the whole budget; None if it has none.

        One point for each class at the mean of its pull, the budget shared as the pulls are. What it does is for a
        learner to say: only if it does what the bound says is the bound attained.
        """
        x, blocks = self.answer.x, self.blocks
        pulls = {label: float(x[blocks.pull[label]].item()) for label in LABELS}
        known = {label: pull for label, pull in pulls.items() if pull > SLIGHT}
        if not known:
            return None
        X = [self.claim.sets[y].project((x[blocks.point[y]] / pull)[None, :])[0] for y, pull in known.items()]
        shares = np.array(list(known.values()))
        count = shares / shares.sum() * self.claim.epsilon * self.claim.mass
        return Poison(np.array(X), np.array(list(known), dtype=np.float64), count)

    @abstractmethod
    def multipliers(self, goal: Array, brisk: bool = False) -> list[Multipliers]:
        """Multipliers for one ``k (z, 1)``; an empty list if no solver answers. See `Cones.solve`."""

    @abstractmethod
    def found(self) -> Multipliers:
        """Those of the last solution."""

    @abstractmethod
    def value(self, goal: Array) -> float:
        """What the bound is if the last solution is exact; ``-inf`` where the program is only a model."""

    @abstractmethod
    def settle(self, extend: Extend, brisk: bool = True) -> Solution | None:
        """The solution of the program with what `extend` adds to it; None if no solver answers."""

    def joint(self, goals: Array, most: Array, told: Callable[[Array], None]) -> Joint:
        """Programs with the scores ``-goal . v`` of several rows; `most` is no less than each margin."""
        self.begin()

        def answered(mu: Array) -> None:
            self.solved(mu @ goals)
            told(mu)

        def like(mu: Array) -> None:
            self.asked = mu @ goals

        return Joint(self.settle, -goals, np.zeros(len(goals)), lambda: self.v, self.poison, answered, most, like)

    @abstractmethod
    def begin(self) -> None:
        """Set what a program of this kind needs before it is solved."""

    @abstractmethod
    def solved(self, goal: Array) -> None:
        """Told the direction that the last solution turned out to be the worst one for."""

    @property
    @abstractmethod
    def member(self) -> Array:
        """A model of the set, as far as the last solution has one."""
