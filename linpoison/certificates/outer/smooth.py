"""The dual of the outer set of reachable parameters, smoothed, for many rows at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import wrightomega

from ...core.validation import Array, Matrix
from ...sets import ByLabel, Oracle
from ..clean.losses import SoftHinge

TINY = 1e-150


@dataclass(frozen=True, eq=False)
class CleanSide:
    """What the clean rows contribute: those whose multiplier is open, and the sum of the others.

    Parameters
    ----------
    rows : ndarray or csr_array, shape (m, D)
        ``y_i (x_i, 1)`` of the open rows, in the basis of the solver.
    weight : ndarray, shape (m,)
        ``c_i / n``.
    ones : ndarray, shape (D,)
        ``sum c_i / n y_i (x_i, 1)`` of the rows whose multiplier is known to be 1 (hinge).
    below, above : ndarray, shape (m,)
        ``1 / (1 - l_i)`` and ``1 / (h_i - 1)`` for bounds ``l_i < 1 < h_i`` on the margins, 0 without bounds.
    """

    rows: Matrix
    weight: Array
    ones: Array
    below: Array
    above: Array

    @cached_property
    def columns(self) -> tuple[Array, Array, Array]:
        """Weights and both bounds as columns (m, 1) of the precision of the rows."""
        weight, below, above = (v[:, None].astype(self.rows.dtype) for v in (self.weight, self.below, self.above))
        return weight, below, above

    def forward(self, points: Array) -> Array:
        """Products with each row of `points` (B, D), shape (m, B)."""
        return np.asarray(self.rows @ points.T.astype(self.rows.dtype))

    def backward(self, values: Array) -> Array:
        """``sum_i values_i rows_i`` for each column of `values` (m, B), shape (B, D), float64."""
        return np.asarray(self.rows.T @ values).T.astype(np.float64)


@dataclass(frozen=True, eq=False)
class PoisonSide:
    """The support functions of both classes, extended by the entry for the intercept.

    Parameters
    ----------
    sets : ByLabel
    basis : ndarray of shape (d, d) or None
        Orthonormal columns: the solver's features are ``x @ basis``.
    ones : float
        1 with an intercept, else 0.
    reach : dict
        ``R_y``, a bound on the length of the extended rows of a class.
    """

    sets: ByLabel
    basis: Array | None
    ones: float
    reach: Mapping[int, float]

    def support(self, label: int, q: Array) -> tuple[Array, Array]:
        """``max_F (x, 1) . q`` for each row of `q` (B, D), shape (B,), and where, shape (B, D)."""
        piece = self.sets[label].piece
        if piece is not None and piece.center is not None and piece.is_ball:
            length = np.sqrt(np.einsum("ij,ij->i", q[:, :-1], q[:, :-1])) + TINY
            x = self._turned(piece.center)[None, :] + (piece.radius / length)[:, None] * q[:, :-1]
        else:
            oracle = self._oracle(label)
            x = np.array([self._turned(oracle.support(self._turned_back(row))) for row in q[:, :-1]])
        where = np.column_stack([x, np.full(len(q), self.ones)])
        return np.einsum("ij,ij->i", where, q), where

    def _oracle(self, label: int) -> Oracle:
        known = self.__dict__.setdefault("_oracles", {})
        if label not in known:
            known[label] = Oracle(self.sets[label])
        return known[label]

    def _turned(self, x: Array) -> Array:
        return x if self.basis is None else x @ self.basis

    def _turned_back(self, x: Array) -> Array:
        return x if self.basis is None else self.basis @ x


@dataclass(frozen=True, eq=False)
class Cap:
    """``|v - v0 - u / (2 lam)| <= |u| / (2 lam) + slack`` with ``|u| <= sum_y R_y w_y``."""

    center: Array
    slack: float


@dataclass(frozen=True, eq=False)
class OuterDual:
    """The dual function of one claim in the variables ``(p, e, log s)``, smoothed.

    `e` stands for the parameters themselves: it fixes the multipliers of the clean losses, and, where the
    cap is in force, those of the cap,

    ::

        beta_i = sigma_i (s + (-s - q_i)_+ / (1 - l_i)) - (1 - sigma_i) (s + q_i)_+ / (h_i - 1),
        q_i = y_i (x_i, 1) . p,       sigma_i = expit((1 - y_i (x_i, 1) . e) / width)
        r = -2 s lam e - k z - lam p + sum_i (c_i / n) beta_i y_i (x_i, 1)

    for hinge, ``beta_i = s expit(-m_i)`` for logistic. A stationary point is a minimum: there, `e` is the
    maximiser over the parameters. Without the cap ``r = 0`` and the residual is charged for by its square.
    """

    clean: CleanSide
    poison: PoisonSide
    lam: float
    epsilon: float
    mask: Array
    loss: SoftHinge
    cap: Cap | None
    width: float = 0.05
    spare: float = 0.0
    least: float = 0.0

    def value_and_gradient(self, x: Array, kz: Array, floor: Array, pivot: Array) -> tuple[Array, Array]:
        """Smoothed value (B,) and gradient (B, 2 D + 1).

        Parameters
        ----------
        x : ndarray, shape (B, 2 D + 1)
        kz : ndarray, shape (B, D)
            Rows times their label.
        floor : ndarray, shape (B,)
            The losses at `p` are smoothed over ``width (s + floor)``.
        pivot : ndarray, shape (B,)
            A guess of the intercept where it is not penalised.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self._value_and_gradient(x, kz, floor, pivot)

    def _value_and_gradient(self, x: Array, kz: Array, floor: Array, pivot: Array) -> tuple[Array, Array]:
        D = kz.shape[1]
        p, e, s = x[:, :D], x[:, D:-1], self.scale(x, floor)
        terms = _Clean(self, p, e, s, floor)
        pull = self.clean.backward(terms.weighted(terms.beta)) + s[:, None] * self.clean.ones
        value, reply, at_p, at_s = self._rest(p, e, s, kz, pull, floor, pivot)
        value = value + terms.value + p @ self.clean.ones + self.spare * s
        slope_p, slope_e, slope_s = terms.slopes(self.clean.forward(reply))
        at_p = at_p + self.clean.backward(slope_p) + self.clean.ones
        at_e = self.clean.backward(slope_e)
        if self.cap is not None:
            at_e = at_e + 2 * self.lam * s[:, None] * (e - reply)
        at_s = at_s + slope_s + reply @ self.clean.ones + self.spare
        return value, np.hstack([at_p, at_e, ((s - self.least * floor) * at_s)[:, None]])

    def _rest(
        self, p: Array, e: Array, s: Array, kz: Array, pull: Array, floor: Array, pivot: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Value, the parameters that answer (B, D), and the slopes in `p` and `s` of all but the clean terms."""
        lam, none = self.lam, np.zeros_like(p)
        if self.cap is None:
            residual = kz + lam * self.mask * p - pull
            stiff = self.mask + (1 - self.mask) / _LOOSE
            reply = -residual * stiff / (2 * lam * s[:, None])
            paid = -0.5 * np.einsum("ij,ij->i", reply, residual)
            reply[:, -1] += (1 - self.mask[-1]) * pivot
            value, at_p, _, at_s = self._poison(p, none, s, floor)
            value = value + paid - (1 - self.mask[-1]) * pivot * residual[:, -1]
            return value, reply, at_p - lam * self.mask * reply, at_s - paid / s
        r = -2 * lam * s[:, None] * e - kz - lam * p + pull
        value, at_p, at_r, at_s = self._poison(p, r, s, floor)
        length = _lengths(r)
        reply = at_r + self.cap.center + r * (self.cap.slack / length)[:, None]
        square = lam * np.einsum("ij,ij->i", e, e)
        value = value + s * square + r @ self.cap.center + self.cap.slack * length
        return value, reply, at_p - lam * reply, at_s + square - 2 * lam * np.einsum("ij,ij->i", e, reply)

    def _poison(self, p: Array, r: Array, s: Array, floor: Array) -> tuple[Array, Array, Array, Array]:
        """``eps s G(max_y H_y / s)`` and its slopes in `p`, `r` and `s`."""
        half = 1 / (2 * self.lam)
        length = _lengths(r)
        heights, points = [], []
        for y in (1, -1):
            height, where = self.poison.support(y, y * (p + half * r))
            heights.append(height + (self.poison.reach[y] * half * length if self.cap is not None else 0.0))
            points.append(y * where)
        value, shares, at_s = self._price(np.array(heights), s, floor)
        at_p = self.epsilon * (shares[0][:, None] * points[0] + shares[1][:, None] * points[1])
        reach = shares[0] * self.poison.reach[1] + shares[1] * self.poison.reach[-1]
        at_r = half * (at_p + (self.epsilon * reach / length)[:, None] * r)
        return self.epsilon * value, at_p, at_r, self.epsilon * at_s

    def _price(self, heights: Array, s: Array, floor: Array) -> tuple[Array, Array, Array]:
        """``s G(H / s)`` at the greater height (2, B), smoothed: value, slopes in the heights, slope in `s`."""
        blur = self.width * (s + floor)
        levels = heights / blur
        if self.loss.sharp:
            levels = np.vstack([levels + self.loss.kink * s / blur, np.zeros_like(s)[None, :]])
        top = levels.max(axis=0)
        powers = np.exp(levels - top)
        total = powers.sum(axis=0)
        shares, soft = powers / total, top + np.log(total)
        widen = self.width * (soft - np.einsum("ij,ij->j", shares, levels))
        if self.loss.sharp:
            return blur * soft, shares[:2], self.loss.kink * shares[:2].sum(axis=0) + widen
        height, scale = blur * soft, self.loss.width
        price: Any = wrightomega((self.loss.kink + height / s) / scale - 1)
        slope = price / (1 + price)
        return scale * s * price, slope * shares, scale * price - slope * height / s + slope * widen

    @property
    def softness(self) -> float:
        """Width of the step from one end of a multiplier's range to the other."""
        return self.width if self.loss.sharp else self.loss.width

    def scale(self, x: Array, floor: Array) -> Array:
        """``s`` of each point, at least ``least floor``."""
        return np.asarray(self.least * floor + np.exp(np.clip(x[:, -1], -40.0, 40.0)))

    def metric(self, x: Array, kz: Array, floor: Array, spectrum: Array) -> Array:
        """Rough inverse second derivatives, shape (B, 2 D + 1), for a diagonal `spectrum` (D,) of the clean rows."""
        D = kz.shape[1]
        s = self.scale(x, floor)[:, None]
        terms = _Clean(self, x[:, :D], x[:, D:-1], s[:, 0], floor)
        mean_p, mean_e = terms.curvatures()
        curve_p = mean_p[:, None] * spectrum
        curve_e = mean_e[:, None] * spectrum
        size = np.linalg.norm(kz, axis=1)[:, None] + TINY
        reach = max(self.poison.reach.values())
        if self.cap is not None:
            bend = (self.cap.slack + self.epsilon * reach / self.lam) / size
            stiff = 2 * s * self.lam + curve_e
            curve_e = stiff * (1 + bend * stiff)
            curve_p = curve_p + self.lam**2 * bend + self.epsilon * self.lam * reach / size
        else:
            curve_e = curve_e * (1 + curve_e / (2 * self.lam * s)) + 1e-4 * s * self.lam
            curve_p = curve_p + self.lam / (2 * s)
        curve_s = s * (self.epsilon + 1e-3)
        return 1 / np.hstack([curve_p + TINY, curve_e + TINY, curve_s])


_LOG2 = np.float32(np.log(2.0))
_LOOSE = 0.02
"""Share of the penalty that stands in for none while an unpenalised intercept is searched for."""


class _Clean:
    """The clean terms at some points: value, multipliers, slopes."""

    def __init__(self, outer: OuterDual, p: Array, e: Array, s: Array, floor: Array) -> None:
        clean = outer.clean
        self.outer, self.mass = outer, clean.weight
        self.weight, self.below, self.above = clean.columns
        both = clean.forward(np.vstack([p, e]))
        q, margin = both[:, : len(p)], both[:, len(p) :]
        self.s = s.astype(q.dtype)
        self.slope_scale = np.asarray(outer.softness, dtype=q.dtype)
        self.margin = margin
        level = (np.asarray(outer.loss.kink, dtype=q.dtype) - margin) / self.slope_scale
        self.sigma, soft = _step(level)
        entropy = self.sigma * level - soft
        if outer.loss.sharp:
            self._hinge(q, entropy, (outer.width * (s + floor)).astype(q.dtype))
        else:
            self._logistic(q, entropy)

    def _hinge(self, q: Array, entropy: Array, blur: Array) -> None:
        scaled = (self.s + q) / blur
        self.share, soft = _step(scaled)
        self.blur = blur
        up = blur * soft
        self.widen = self.slope_scale * (soft - scaled * self.share)
        high = self.s + self.below * (up - self.s - q)
        low = self.above * up
        self.beta = self.sigma * high - (1 - self.sigma) * low
        self.range = high + low
        self.entropy = self.slope_scale * entropy
        self.excess = self.entropy + self.slope_scale * _LOG2
        self.value = _total(self.mass, up - self.beta + self.entropy * self.s + self.excess * (self.range - self.s))

    def _logistic(self, q: Array, entropy: Array) -> None:
        scale = self.slope_scale
        ratio = (q / self.s + np.asarray(self.outer.loss.kink, dtype=q.dtype)) / scale
        self.share, soft = _step(ratio)
        self.blur = scale * self.s
        loss = scale * soft
        self.beta = self.s * self.sigma
        self.range = np.broadcast_to(self.s, q.shape)
        self.at_s = loss - self.share * q / self.s + scale * entropy
        self.value = _total(self.mass, self.s * (loss + scale * entropy - self.outer.loss.kink * self.sigma))

    def weighted(self, values: Array) -> Array:
        return self.weight * values

    def curvatures(self) -> tuple[Array, Array]:
        """Mean second derivatives in the products with `p` and with `e`, each of shape (B,)."""
        mass = self.mass.sum() + TINY
        curve_p = _total(self.mass, self.share * (1 - self.share)) / (self.blur * mass)
        bend = self.range * self.sigma * (1 - self.sigma)
        return curve_p.astype(np.float64), (_total(self.mass, bend) / (self.slope_scale * mass)).astype(np.float64)

    def slopes(self, answer: Array) -> tuple[Array, Array, Array]:
        """Slopes in the products with `p` and `e`, shapes (m, B), weighted, and in `s`, shape (B,).

        `answer` (m, B) holds the margins of the parameters that answer to the multipliers.
        """
        sigma, weight = self.sigma, self.weight
        at_e = -weight * (sigma * (1 - sigma) / self.slope_scale) * self.range * (answer - self.margin)
        if not self.outer.loss.sharp:
            at_s = _total(self.mass, self.at_s + sigma * (answer - self.outer.loss.kink))
            return weight * self.share, at_e, at_s
        gain = answer - self.outer.loss.kink
        rise, fall = self.above * self.share, self.below * (1 - self.share)
        tilt = gain * (-sigma * fall - (1 - sigma) * rise) + self.excess * (rise - fall)
        swell = 1 + gain * (sigma * self.below - (1 - sigma) * self.above) + self.excess * (self.below + self.above)
        at_s = _total(self.mass, self.share + tilt + gain * sigma + self.entropy + swell * self.widen)
        return weight * (self.share + tilt), at_e, at_s


def _step(t: Array) -> tuple[Array, Array]:
    """``expit(t)`` and ``log(1 + exp(t))`` by one exponential, which does not overflow."""
    small = np.exp(-np.abs(t))
    share = 1 / (1 + small)
    return np.where(t > 0, share, small * share), np.maximum(t, 0) + np.log1p(small)


def _total(weight: Array, values: Array) -> Array:
    return np.asarray(weight @ values.astype(np.float64))


def _lengths(r: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", r, r)) + TINY)
