"""What follows from the clean rows alone: where the parameters can be, and between what bounds the margins lie."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np

from ...core.validation import Array, Matrix
from ...sets import FeasibleSet
from ...sets.base import squared_distances
from ..claim import Claim
from ..rounding import UNIT
from .losses import soft_hinge
from .rows import LABELS, PAD, combine, extent, lengths, one, signed_scores


@dataclass(frozen=True)
class Hub:
    """Rows ``(x, 1)`` of one class of poison lie within `radius` of `center`, and ``low <= y center . v <= high``."""

    center: Array
    radius: float
    low: float
    high: float

    def between(self, low: float, high: float) -> Hub:
        """The same with further bounds."""
        return replace(self, low=max(self.low, low), high=min(self.high, high))


@dataclass(frozen=True, eq=False)
class Screening:
    """A dual point of the clean rows and what it implies of every reachable ``v = (theta, b)``.

    ::

        |v - center - u / (2 reg)|  <=  |u| / (2 reg) + slack,      |v - center| <= radius
        lower_i  <=  y_i (x_i, 1) . v  <=  upper_i

    Parameters
    ----------
    center : ndarray, shape (d + 1,)
        ``(1 / (reg n)) sum_i c_i a0_i y_i (x_i, 1)``.
    slack : float
        ``sqrt(gap / reg)`` for the Fenchel-Young gap of `a0`, and the rounding of `center`; infinite if an entry of v
        is not penalised.
    reach : dict
        ``{y: R_y}``, ``|(x, 1)| <= R_y`` over the set of a class.
    radius : float
    lower, upper : ndarray, shape (n,)
    filler : float
        Mean of ``|(x_i, 1)|`` over the clean rows if `Claim.filled`, else 0.
    intercept : float
        What no intercept exceeds that is fitted and not penalised, see `intercept_reach`.
    hubs : dict
        ``{y: Hub}``, or empty where nothing bounds the sets, or the parameters.
    """

    center: Array
    slack: float
    reach: dict[int, float]
    radius: float
    lower: Array
    upper: Array
    filler: float = 0.0
    intercept: float = inf
    hubs: dict[int, Hub] = field(default_factory=dict)

    @property
    def capped(self) -> bool:
        """Whether the cap and the ball hold."""
        return bool(np.isfinite(self.slack) and np.isfinite(self.radius))

    def bare(self) -> Screening:
        """The same without any bound: what is left is the outer set alone."""
        return replace(self.without_margins(), slack=inf, radius=inf, hubs={})

    def without_margins(self) -> Screening:
        """The same without bounds on the margins."""
        n = self.lower.size
        return replace(self, lower=np.full(n, -inf), upper=np.full(n, inf))


def screen(claim: Claim, a0: Any) -> Screening:
    """The screening that multipliers of the clean rows prove, whatever they are.

    Parameters
    ----------
    claim : Claim
    a0 : array_like, shape (n,)
        Clipped to [0, 1].

    Returns
    -------
    Screening
    """
    data, reg = claim.train, claim.reg
    a = np.clip(np.nan_to_num(np.asarray(a0, dtype=np.float64)), 0.0, 1.0)
    reach = {label: extent(claim.sets[label], one(claim)) for label in LABELS}
    if not claim.strongly_convex or a.shape != (data.n,):
        open_ended = np.full(data.n, inf)
        free = intercept_reach(claim)
        return Screening(np.zeros(data.d + 1), inf, reach, inf, -open_ended, open_ended, _filler(claim), free)
    # With a_i = psi(m_i): (a_i - a0_i)(m_i - m0_i) <= phi(m0_i) + phi*(-a0_i) + a0_i m0_i, since phi(m_i) + phi*(-a_i)
    # = -a_i m_i and each is bounded by the other point (Fenchel and Young). In the mean the left side is <reg (v - v0)
    # - u, v - v0> by stationarity, hence |v - v0 - u / (2 reg)|^2 <= |u|^2 / (4 reg^2) + gap / reg: the cap, and the
    # ball.
    point = dual_point(claim, a, reg)
    lower, upper = _margins(claim, point, reach)
    radius = _radius(claim, point.gap, max(*reach.values(), _filler(claim))) + point.moved
    hubs = _hubs(claim, point.center, radius, reach)
    return Screening(point.center, point.slack, reach, radius, lower, upper, _filler(claim), hubs=hubs)


def _hubs(claim: Claim, center: Array, radius: float, reach: dict[int, float]) -> dict[int, Hub]:
    """The ball of each class, with bounds on the score of its center by the ball of the parameters."""
    found, data = {}, claim.train
    for label in LABELS:
        at: Array = np.zeros(data.d)
        far = reach[label]
        for piece in (member.piece for member in claim.sets[label].parts):
            if piece is not None and piece.center is not None and piece.is_ball and float(piece.radius) < far:
                at, far = np.asarray(piece.center), float(piece.radius)
        if claim.filled:  # mass may consist of clean rows that lie outside
            away = squared_distances(data.X[data.y == label], at)
            far = max(far, float(np.sqrt(away.max(initial=0.0))))
        hub = np.append(at, one(claim))
        size, middle = float(np.linalg.norm(hub)), label * float(hub @ center)
        pad = PAD * (1 + abs(middle) + size * radius)
        found[label] = Hub(hub, far * (1 + PAD), middle - size * radius - pad, middle + size * radius + pad)
    return found if all(np.isfinite([hub.radius, hub.low, hub.high]).all() for hub in found.values()) else {}


@dataclass(frozen=True, eq=False)
class DualPoint:
    """``v0 = (1 / (reg n)) sum_i c_i a_i y_i (x_i, 1)`` in floating point, and what rounding may have done.

    Parameters
    ----------
    reg : float
    center : ndarray, shape (d + 1,)
    moved : float
        No less than ``|center - v0|``.
    margins : ndarray, shape (n,)
        Of the clean rows at `center`.
    blur : ndarray, shape (n,)
        No less than their own rounding, at `center`.
    gap : float
        No less than the Fenchel-Young gap at ``v0`` itself.
    """

    reg: float
    center: Array
    moved: float
    margins: Array
    blur: Array
    gap: float

    @property
    def slack(self) -> float:
        """``sqrt(gap / reg)``, and `moved`, so that balls and caps may lie around `center`."""
        return float(np.sqrt(self.gap / self.reg)) * (1 + PAD) + self.moved


def dual_point(claim: Claim, a: Array, reg: float) -> DualPoint:
    """The dual point of multipliers `a` (n,) in [0, 1].

    Rows are summed in blocks of ``sqrt(n)``, so that an entry errs by ``2 sqrt(n) UNIT`` of its magnitudes and a few
    more for the weights, a product with a row by ``(d + 2) UNIT |x| |v|``. The gap of each row has slope at most 1 in
    its margin, so that the gap errs by the mean of what the margins err by, and for a smooth loss by its own sums.
    """
    data, length, loss = claim.train, lengths(claim.train.X, one(claim)), soft_hinge(claim.problem.loss)
    share = claim.share
    center = _in_blocks(claim, share * a) / reg
    moved = (2 * np.sqrt(data.n) + np.log2(data.n) + 32) * UNIT * float((share * a) @ length) / reg
    margins = signed_scores(claim, center)
    blur = (data.d + 4) * UNIT * float(np.linalg.norm(center)) * length
    own = 0.0 if loss.sharp else 16 * UNIT * (loss.width + loss.kink + np.abs(margins))
    gap = float(share @ (loss.gaps(margins, a) + blur + own + length * moved)) * (1 + PAD)
    return DualPoint(reg, center, moved, margins, blur, gap)


def _in_blocks(claim: Claim, values: Array) -> Array:
    """`combine`, by partial sums over about ``sqrt(n)`` rows each."""
    data, step = claim.train, max(1, int(np.sqrt(claim.train.n)))
    signed = values * data.y
    starts = range(0, data.n, step)
    theta = sum(np.asarray(data.X[i : i + step].T @ signed[i : i + step]) for i in starts)
    return np.append(theta, sum(float(signed[i : i + step].sum()) for i in starts) * one(claim))


def _filler(claim: Claim) -> float:
    """The greatest pull of a unit of mass that is made of clean rows."""
    if not claim.filled:
        return 0.0
    return float(claim.train.weight @ lengths(claim.train.X, one(claim))) / claim.mass * (1 + PAD)


def _radius(claim: Claim, gap: float, reach: float) -> float:
    """The greatest ``|v - center|``: ``reg t^2 <= gap + epsilon R t``."""
    pull = claim.epsilon * reach if claim.epsilon else 0.0
    return float((pull + np.sqrt(pull**2 + 4 * claim.reg * gap)) / (2 * claim.reg)) * (1 + PAD)


def _margins(claim: Claim, point: DualPoint, reach: dict[int, float]) -> tuple[Array, Array]:
    """Bounds on the margins of the clean rows by the cap, in the direction of each row and against it."""
    # z . (v - v0) <= (z . u + |z| |u|) / (2 reg) + |z| slack by the cap; a unit of mass at y x adds at most
    # y z . x + |z| |x| to the bracket, whatever it pulls: the greatest over the sets, or zero, times epsilon
    data, half = claim.train, 0.5 * claim.epsilon / claim.reg
    length = lengths(data.X, one(claim))
    moves = []
    for side in (1, -1):
        pull = np.zeros(data.n)
        if half > 0:
            for label in LABELS:
                sign = label * side * data.y
                height = _heights(claim.sets[label], data.X, sign, reach[label], one(claim))
                pull = np.maximum(pull, half * (height + length * reach[label]))
            if claim.filled:
                turned = side * signed_scores(claim, combine(claim, data.weight) / claim.mass)
                pull = np.maximum(pull, half * (turned + length * _filler(claim)))
        moves.append((length * point.slack + pull) * (1 + PAD))
    pad = PAD * (1 + np.abs(point.margins)) + point.blur
    return point.margins - moves[1] - pad, point.margins + moves[0] + pad


def _heights(part: FeasibleSet, X: Matrix, sign: Array, reach: float, ones: float) -> Array:
    """At least ``max_F sign_i (x_i, 1) . (x, 1)``, by the balls among the parts."""
    best = lengths(X, ones) * reach
    for piece in (member.piece for member in part.parts):
        if piece is not None and piece.is_ball:
            height = sign * (np.asarray(X @ piece.center) + ones) + lengths(X, 0.0) * piece.radius
            best = np.minimum(best, height)
    return best


def intercept_reach(claim: Claim) -> float:
    """A number that ``|b|`` of no reachable model exceeds, infinite for unbounded sets.

    With ``|x| <= R`` for all rows and ``|theta| <= T``, rows of one class have margins above ``kink + t`` where
    ``b > kink + T R + t``, so that they pull by less than ``exp(-t / width)``, and those of the other class by 1/2 at
    least: not in balance if ``t > width log(2 (1 + epsilon) / p)``, ``p`` the lesser class's share of the clean rows.
    And ``reg T^2 <= (1 + epsilon) sup_m psi(m) m``, which is at most ``kink + width``.
    """
    data, loss = claim.train, soft_hinge(claim.problem.loss)
    far = max(float(lengths(data.X, 0.0).max()), *(extent(part, 0.0) for part in claim.sets.values()))
    theta = float(np.sqrt((1 + claim.epsilon) * (loss.kink + loss.width) / claim.reg))
    lesser = min(float(data.weight[data.y == label].sum()) for label in LABELS) / claim.mass
    return (loss.kink + theta * far + loss.width * float(np.log(2 * (1 + claim.epsilon) / lesser))) * (1 + PAD)
