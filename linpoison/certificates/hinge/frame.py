"""What the relaxations of the hinge loss share: the data of a claim, and what follows from them alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from ...core.errors import CapabilityError
from ...core.validation import Array
from ..claim import Claim
from ..clean.rows import LABELS, PAD, extended, extent
from ..clean.screen import dual_point
from ..rounding import UNIT

FREE, ZERO, ONE, KINK = -1, 0, 1, 2
"""States of a clean row: undecided; ``a = 0, m >= 1``; ``a = 1, m <= 1``; ``m = 1``."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Bounds on the multiplier ``a`` of a row per unit of its weight, and on its margin ``m``.

    All of shape (copies, n); the second copy, where there is one, carries the flipped label.
    """

    least: Array
    most: Array
    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False)
class Frame:
    """A claim in the form that the relaxations use.

    Parameters
    ----------
    claim : Claim
    reg : float
        Weight of the regulariser per clean row.
    rows : ndarray, shape (copies, n, d + 1)
        ``y_i (x_i, 1)``; the second copy with the other label.
    share : ndarray, shape (n,)
        ``c_i / n``.
    changed : float
        Greatest share of the clean rows that loses its weight.
    center : ndarray, shape (d + 1,)
    slack, radius : float
        Of the cap; infinite where there is none.
    strain : ndarray, shape (n,)
        By how much ``|reg (v - center) - u|`` grows with the share of a row that is changed.
    reach : dict
        ``{y: R_y}``, ``|(x, 1)| <= R_y`` over the set of a class.
    lower, upper : ndarray, shape (n,)
        Bounds on the margins.
    filler : ndarray, shape (rows, d + 1)
        Rows ``y (x, 1)`` that mass may consist of besides those of the sets, see `Claim.filled`: those of the clean
        rows, and with the other label where labels are flipped. Mostly none.
    """

    claim: Claim
    reg: float
    rows: Array
    share: Array
    changed: float
    center: Array
    slack: float
    radius: float
    strain: Array
    reach: dict[int, float]
    lower: Array
    upper: Array
    filler: Array

    @property
    def copies(self) -> int:
        """1, or 2 where labels are flipped."""
        return int(self.rows.shape[0])

    @property
    def one(self) -> float:
        """The last entry of an extended row: 1 where an intercept is fitted, else 0."""
        return float(self.claim.problem.fit_intercept)

    @property
    def capped(self) -> bool:
        """Whether the cap holds."""
        return bool(np.isfinite(self.radius) and np.isfinite(self.slack))

    def margins_within(self, lower: Array, upper: Array) -> Frame:
        """The same with further bounds on the margins."""
        return replace(self, lower=np.maximum(self.lower, lower), upper=np.minimum(self.upper, upper))

    def aims(self) -> Array:
        """``k (z, 1)`` of the rows that the claim speaks of, shape (rows, d + 1)."""
        data = self.claim.demand_rows()
        return extended(self.claim, data.X, data.y)

    def direct(self, aim: Array) -> float:
        """The greatest ``-aim . v`` by the ball around the clean parameters and by their norm alone."""
        length = float(np.linalg.norm(aim))
        bound = inf
        if np.isfinite(self.radius):
            bound = -float(aim @ self.center) + length * self.radius
        theta, intercept = lengths(self)
        norm = float(np.linalg.norm(aim[:-1])) * theta + abs(float(aim[-1])) * intercept
        if self.claim.strongly_convex:
            norm = length * theta
        bound = min(bound, norm) if np.isfinite(norm) else bound
        return bound + PAD * (1 + abs(bound)) if np.isfinite(bound) else inf

    def states(self, state: Any = None) -> Rows:
        """Bounds on multipliers and margins with rows in given states, shape (n,), all undecided by default."""
        lower, upper = np.stack([self.lower, -self.upper]), np.stack([self.upper, -self.lower])
        lower, upper = lower[: self.copies].copy(), upper[: self.copies].copy()
        least, most = (upper < 1).astype(np.float64), (lower <= 1).astype(np.float64)  # at the kink, any multiplier
        loose = least > most  # the bounds exclude each other: whatever follows holds of nothing
        least[loose], most[loose] = 0.0, 1.0
        if state is not None:
            zero, one, kink = (np.asarray(state) == value for value in (ZERO, ONE, KINK))
            least[0, one], most[0, one] = 1.0, 1.0
            least[0, zero], most[0, zero] = 0.0, 0.0
            least[0, kink], most[0, kink] = 0.0, 1.0
            lower[0, zero | kink] = np.maximum(lower[0, zero | kink], 1.0)
            upper[0, one | kink] = np.minimum(upper[0, one | kink], 1.0)
        return Rows(least, most, lower, upper)


def frame(claim: Claim, a0: Any, *, reg: float | None = None, changed: float = 0.0, flips: bool = False) -> Frame:
    """The frame that multipliers `a0` of the clean rows prove, whatever they are.

    With ``u = u_+ - u_-`` the pull of the poison, ``s_i`` the weight that a row keeps and
    ``D = (1/n) sum_i c_i (1 - s_i) |(x_i, 1)|``, twice that where labels are flipped, every reachable
    ``v`` satisfies, if all its entries are penalised,

    ::

        |v - v0 - u / (2 reg)|  <=  |u| / (2 reg) + D / reg + sqrt(gap / reg)

    with ``v0 = (1/(reg n)) sum_i c_i a0_i y_i (x_i, 1)`` and the Fenchel-Young gap
    ``gap = (1/n) sum_i c_i (phi(m0_i) - a0_i (1 - m0_i))``: for each row
    ``(a_i - a0_i)(m_i - m0_i) <= (1 - s_i)(phi(m_i) - phi(m0_i)) + phi(m0_i) - a0_i (1 - m0_i)``.
    Besides, ``reg <v, P v> <= 1 + epsilon``, since no row pulls at a margin above 1; and an intercept lies
    between the least and the greatest ``y - x . theta`` of the rows.

    Raises
    ------
    CapabilityError
        If the loss is not the hinge.
    """
    if claim.problem.loss.kink is None:
        raise CapabilityError(
            "the hinge loss", claim.problem.loss.name, "Use the outer set or, for the squared loss, the ridge bounds."
        )
    data, reg = claim.train, claim.reg if reg is None else reg
    one = float(claim.problem.fit_intercept)
    rows = extended(claim, data.X, data.y)
    share, length = claim.share, np.linalg.norm(rows, axis=1)
    a = np.asarray(a0, dtype=np.float64)
    a = np.clip(np.nan_to_num(a), 0.0, 1.0) if a.shape == (data.n,) else np.zeros(data.n)
    center, slack, radius = np.zeros(data.d + 1), inf, inf
    reach = {label: extent(claim.sets[label], one) if claim.epsilon else 0.0 for label in LABELS}
    strain = (2.0 if flips else 1.0) * length
    whole = rows[None] if not flips else np.stack([rows, -rows])
    filler = whole.reshape(-1, data.d + 1) if claim.filled_by(flips and changed > 0) else np.zeros((0, data.d + 1))
    if claim.strongly_convex:
        point = dual_point(claim, a, reg)
        center, slack, gap = point.center, point.slack, point.gap
        farthest = max(*reach.values(), float(np.linalg.norm(filler, axis=1).max(initial=0.0)))
        pull = (claim.epsilon * farthest if claim.epsilon else 0.0) + _most(share, strain, changed)
        radius = float((pull + np.sqrt(pull**2 + 4 * reg * gap)) / (2 * reg)) * (1 + PAD) + point.moved
    bare = Frame(claim, reg, whole, share, changed, center, slack, radius, strain, reach, *_anywhere(data.n), filler)
    return bare.margins_within(*_margins(bare, length))


def _anywhere(n: int) -> tuple[Array, Array]:
    return np.full(n, -inf), np.full(n, inf)


def _margins(bare: Frame, length: Array) -> tuple[Array, Array]:
    """Bounds on the margins by the ball, the cap in the direction of a row, and the norm."""
    rows = bare.rows[0]
    theta, intercept = lengths(bare)
    size = np.linalg.norm(rows[:, :-1], axis=1) * theta + np.abs(rows[:, -1]) * intercept
    if bare.claim.strongly_convex:
        size = length * theta
    lower, upper = -size, size
    if not bare.capped:
        return lower, upper
    margins = rows @ bare.center
    moves = [np.minimum(length * bare.radius, _moved(bare, side * rows, length)) * (1 + PAD) for side in LABELS]
    pad = PAD * (1 + np.abs(margins)) + (rows.shape[1] + 3) * UNIT * float(np.linalg.norm(bare.center)) * length
    return np.maximum(lower, margins - moves[1] - pad), np.minimum(upper, margins + moves[0] + pad)


def _moved(bare: Frame, directions: Array, length: Array) -> Array:
    """At most how far ``v`` moves in each direction, by the cap."""
    fixed = bare.slack + _most(bare.share, bare.strain, bare.changed) / bare.reg
    pushed = np.zeros(length.size)
    if bare.claim.epsilon:
        half = bare.claim.epsilon / (2 * bare.reg)
        for i, direction in enumerate(directions):
            heights = [height(bare, label, direction) + length[i] * bare.reach[label] for label in LABELS]
            heights += [_filled(bare, direction, length[i])]
            pushed[i] = half * np.max([0.0, *heights])
    return length * fixed + pushed


def _filled(bare: Frame, direction: Array, length: float) -> float:
    """``max direction . x + length |x|`` over the filler rows."""
    x = bare.filler
    return float((x @ direction + length * np.linalg.norm(x, axis=1)).max(initial=-inf))


def height(bare: Frame, label: int, direction: Array) -> float:
    """At least ``max_F y direction . (x, 1)`` over the set of a class."""
    return bare.claim.sets[label].support_bound(label * direction[:-1]) + label * float(direction[-1]) * bare.one


def lengths(bare: Frame) -> tuple[float, float]:
    """Bounds on ``|theta|``, or on ``|v|`` where the intercept is penalised, and on ``|b|``."""
    # Stationarity times v: reg <v, P v> is the sum of a_i m_i over the mass, and a m <= 1, as a = 0 above a margin of
    # 1. In b the pulls of both labels balance. They are not all 0, or theta is, and no b has margins of 1 of both
    # labels: so a row of label 1 has b <= 1 - x . theta, one of label -1 has b >= -1 - x . theta, if rows of both stay.
    claim = bare.claim
    theta = float(np.sqrt((1 + claim.epsilon) / bare.reg)) * (1 + PAD)
    if claim.strongly_convex:
        return theta, theta * bare.one
    kept = min(float(bare.share[claim.train.y == label].sum()) for label in LABELS) - bare.changed
    widest = max(float(np.linalg.norm(bare.rows[0][:, :-1], axis=1).max()), *bare.reach.values())
    return theta, (1 + theta * widest) * (1 + PAD) if kept > PAD else inf


def _most(share: Array, strain: Array, changed: float) -> float:
    """The greatest ``sum_i share_i r_i strain_i`` with ``sum_i share_i r_i <= changed``, ``0 <= r <= 1``."""
    order = np.argsort(-strain)
    taken = np.minimum(np.cumsum(share[order]), changed)
    return float(np.diff(taken, prepend=0.0) @ strain[order])
