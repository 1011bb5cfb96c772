"""The dual function of the outer set of reachable parameters: a bound on scores from any multipliers."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from scipy.special import expit, xlogy

from ...core.errors import InputError
from ...core.validation import Array
from ..claim import Claim
from ..clean.losses import SoftHinge, soft_hinge
from ..clean.rows import LABELS, PAD, combine, extended, lengths, not_below_zero, one, signed_scores
from ..clean.screen import Screening
from .band import Band

ENTRIES = 2_000_000
"""Entries of a (rows, n) array that are handled at a time."""


def evaluate(
    claim: Claim, screening: Screening, p: Any, s: Any, b: Any, r: Any = None, gam: Any = None, dele: Any = None,
    tau: Any = None, h: Any = None, eta: Any = None,
) -> Array:  # fmt: skip
    """Bound ``max -k (z, 1) . v`` over every reachable ``v``, for each row ``(z, k)`` of the claim.

    Reachable parameters satisfy, for some ``a`` and ``(w_y, u_y)`` in the cones over the sets, with
    ``lam = claim.reg``, ``u = u_+ - u_-`` and ``h(t) = t psi^-1(t)``,

    ::

        lam P v = (1/n) sum_i c_i a_i y_i x_i + u,                                                 a_i in A_i     (p)
        lam <v, P v> + (1/n) sum_i c_i [phi(m_i) + phi*(-a_i)] <= sum_y e_y h(w_y / e_y),    sum_y e_y <= epsilon (s)
        |v - v0 - u / (2 lam)| <= sum_y R_y w_y / (2 lam) + slack,        |v - v0| <= radius                      (r)
        lam |P v - D / (2 lam)|^2 + (1/n) sum_i c_i [phi(m_i) + phi*(-a_i)]
                              <= sum_y [t_y + epsilon rho_y^2 w_y / (4 lam)],   D = sum_y y (u_y - w_y (g_y, 1))  (tau)
        t_y <= high_y w_y,      t_y <= epsilon y (g_y, 1) . v + low_y (w_y - epsilon)                              (eta)

    and what the bounds ``l_i <= m_i <= h_i`` on the margins imply (gam, del). Relaxing them gives, for **every**
    value of the multipliers (signs are repaired, ``b`` is clipped to [0, 1]),

    ::

        bound = sum_i sup_{a_i} (c_i/n) [a_i y_i x_i . p - s phi*(-a_i)] + (s/n) sum_i c_i phi*(-b_i)
                + epsilon s G(max_y H_y / s) + r . v0 + |r| slack + sup_{|v - v0| <= radius} [-q . v - s lam <v, P v>]

        H_y = max_{F_y} y (x, 1) . (p + r / (2 lam)) + |r| R_y / (2 lam)
        q   = k z + lam P p + r - (s/n) sum_i c_i b_i y_i x_i

    Where `Claim.filled` holds, the mean of ``G(H_i / s)`` over the clean rows takes the place of the maximum over the
    sets if it is greater. Rows with ``h_i < 1`` (hinge) have ``a_i = b_i = 1``, rows with ``l_i > 1`` have
    ``a_i = b_i = 0``. For the others ``xi_i = phi(m_i)`` satisfies ``xi_i <= (1 - l_i) a_i`` (gam) and
    ``xi_i <= (1 - m_i) + (h_i - 1)(1 - a_i)`` (del); there ``b_i`` is the share of ``s c_i/n + gam_i + del_i``. With a
    smooth loss ``a_i = psi(m_i)`` lies in an interval, and between two parallels ``A_i <= a_i + kappa_i m_i <= B_i``
    (del and gam) of the slope ``-kappa_i`` of the chord.

    The inequality (tau) is the product of stationarity with `v`, where (s) has complementarity of the poison: the left
    side of (s) *equals* ``u . v = sum_y w_y y (g_y, 1) . v + D . v``, with the poison of a class within ``rho_y`` of
    its hub ``(g_y, 1)`` (`clean.screen.Hub`). By Cauchy and Schwarz ``|D|^2 <= epsilon sum_y rho_y^2 w_y``, which makes
    ``D . v`` a convex square; the products ``w_y y (g_y, 1) . v`` have their envelopes over
    ``[0, epsilon] x [low_y, high_y]``. A single point at distance ``rho_y`` that pulls with the whole budget
    leaves no slack in it. Its multipliers add to the bound, with ``s + tau`` for `s` in all sums over the clean rows,

    ::

        |h|^2 / (4 tau lam) - tau epsilon sum_y eta_y low_y
        q   += h - tau epsilon sum_y eta_y y (g_y, 1)
        H_y += y (x - g_y, 0) . h / (2 lam) + tau [(1 - eta_y) high_y + eta_y low_y + epsilon rho_y^2 / (4 lam)]

    Parameters
    ----------
    claim : Claim
        With N rows.
    screening : Screening
    p : array_like, shape (N, d + 1) or (d + 1,)
    s : array_like, shape (N,) or scalar
    b : array_like, shape (N, n) or (n,)
        Multipliers of the clean losses, as shares. With a free intercept `b` is changed so that ``q`` vanishes in
        its entry, and what cannot be is charged for by the greatest intercept (`clean.screen.intercept_reach`).
    r : array_like, shape (N, d + 1), optional
        Of the cap; disregarded where it does not hold.
    gam, dele : array_like, shape (N, n), optional
        Of the bounds on the margins.
    tau : array_like, shape (N,), optional
    h : array_like, shape (N, d + 1), optional
    eta : array_like, shape (N, 2), optional
        Of the product, and the shares of the second envelopes, of the labels 1 and -1; disregarded without hubs.

    Returns
    -------
    ndarray, shape (N,)
        Infinite where the multipliers prove nothing or are not finite. Padded by `PAD`.

    Raises
    ------
    InputError
        If a shape does not fit.
    CapabilityError
        If the loss is none of hinge, smooth hinge and logistic.
    """
    rows = claim.demand_rows()
    given = _Multipliers(claim, rows.n, p, s, b, r, gam, dele, tau, h, eta)
    bound, step = np.empty(rows.n), max(1, ENTRIES // claim.train.n)
    for start in range(0, rows.n, step):
        chosen = np.arange(start, min(start + step, rows.n))
        bound[chosen] = _Batch(claim, screening, given, chosen).bound()
    return bound


class _Multipliers:
    """Multipliers of all rows, checked for their shapes."""

    def __init__(
        self, claim: Claim, rows: int, p: Any, s: Any, b: Any, r: Any, gam: Any, dele: Any, tau: Any, h: Any, eta: Any
    ) -> None:
        d, n = claim.train.d, claim.train.n
        self.p = shaped("p", p, rows, d + 1)
        self.s = shaped("s", np.asarray(s, dtype=np.float64)[..., None], rows, 1)
        self.b = shaped("b", b, rows, n)
        self.r = None if r is None else shaped("r", r, rows, d + 1)
        self.gam = None if gam is None else shaped("gam", gam, rows, n)
        self.dele = None if dele is None else shaped("dele", dele, rows, n)
        self.tau = None if tau is None else shaped("tau", np.asarray(tau, dtype=np.float64)[..., None], rows, 1)
        self.h = None if h is None else shaped("h", h, rows, d + 1)
        self.eta = None if eta is None else shaped("eta", eta, rows, 2)

    def part(self, name: str, chosen: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """The multipliers `name` of some rows, zero where not finite, and which rows those are."""
        values = getattr(self, name)
        if values is None:
            return np.zeros(shape), np.zeros(shape[0], bool)
        values = values[chosen].astype(np.float64)
        fine = np.isfinite(values)
        return np.where(fine, values, 0.0), ~fine.all(axis=1)


def shaped(name: str, values: Any, rows: int, columns: int) -> Array:
    try:
        array = np.asarray(values)
        return np.broadcast_to(array, (rows, columns))
    except ValueError:
        raise InputError(f"{name} of shape ({rows}, {columns})", f"shape {np.shape(values)}") from None


@dataclass(frozen=True)
class Total:
    """A sum that remembers the magnitudes that went into it."""

    value: Any = 0.0
    size: Any = 0.0

    def plus(self, term: Array) -> Total:
        """With one more term of shape (rows,), or several of shape (rows, n)."""
        if term.ndim == 1:
            return Total(self.value + term, self.size + np.abs(term))
        return Total(self.value + term.sum(axis=1), self.size + np.abs(term).sum(axis=1))


class _Batch:
    """The bound for some of the rows."""

    def __init__(self, claim: Claim, screening: Screening, given: _Multipliers, chosen: Any) -> None:
        self.claim, self.screening = claim, screening
        self.loss: SoftHinge = soft_hinge(claim.problem.loss)
        self.weight = claim.share
        m, n, d = chosen.size, claim.train.n, claim.train.d
        rows = claim.demand_rows().take(chosen)
        self.goal = extended(claim, rows.X, rows.y)
        shapes = {"p": (m, d + 1), "s": (m, 1), "b": (m, n), "r": (m, d + 1), "gam": (m, n), "dele": (m, n)}
        shapes |= {"tau": (m, 1), "h": (m, d + 1), "eta": (m, 2)}
        parts = {name: given.part(name, chosen, shape) for name, shape in shapes.items()}
        self.broken = np.any([bad for _, bad in parts.values()], axis=0)
        self.p, self.r, self.b = parts["p"][0], parts["r"][0] * screening.capped, np.clip(parts["b"][0], 0, 1)
        self.s = np.maximum(parts["s"][0], 0)
        known = np.isfinite(screening.lower) & np.isfinite(screening.upper)
        self.gam = np.where(known, np.maximum(parts["gam"][0], 0), 0)
        self.dele = np.where(known, np.maximum(parts["dele"][0], 0), 0)
        self.tau = np.maximum(parts["tau"][0], 0) * bool(screening.hubs and claim.epsilon)
        self.h = parts["h"][0] * claim.mask * (self.tau > 0)
        self.eta = np.clip(parts["eta"][0], 0, 1)
        self.both = self.s + self.tau
        self.drift = np.zeros((m, d + 1))
        for share, (label, hub) in zip(self.eta.T, screening.hubs.items(), strict=False):
            self.drift += claim.epsilon * label * (self.tau[:, 0] * share)[:, None] * hub.center

    def bound(self) -> Array:
        """Padded bound of each row."""
        total, vector = self._hinge() if self.loss.sharp else self._smooth()
        mean = float(self.weight @ lengths(self.claim.train.X, one(self.claim)))
        total = Total(total.value, total.size + mean * np.linalg.norm(self.p, axis=1))
        with np.errstate(invalid="ignore", over="ignore"):
            total = self._parameters(self._product(self._cap(self._poison(total))), vector)
            bound = total.value + PAD * total.size
        return np.where(self.broken | ~np.isfinite(bound), inf, not_below_zero(self.goal, bound))

    def _hinge(self) -> tuple[Total, Array]:
        """Sum over the clean rows and ``sum_i (beta_i - del_i) y_i x_i`` for the hinge."""
        # With xi_i >= 1 - m_i (beta_i), the coefficient of xi_i >= 0 is beta_i - share_i - gam_i - del_i: any beta_i up
        # to the sum of the others leaves xi_i = 0 the best. That of a_i is `level`, so that its sup over [0, 1] is the
        # positive part, or `level` itself where a_i = 1. What is left multiplies v, and 1: -beta_i + del_i h_i.
        low, high = self.screening.lower, self.screening.upper
        ones, open_ = high < 1, (high >= 1) & (low <= 1)
        share = self.both * self.weight
        gam, dele = self.gam * open_, self.dele * open_
        below, above = np.where(np.isfinite(low), 1 - low, 0), np.where(np.isfinite(high), high - 1, 0)
        level = share + self.weight * signed_scores(self.claim, self.p) + gam * below - dele * above
        b = np.where(ones, 1.0, self._repaired(ones, open_) * open_)
        beta = b * (share + gam + dele)
        gain = np.where(ones, level, np.maximum(level, 0) * open_)
        total = Total().plus(gain).plus(-beta).plus(dele * (above + 1))
        return total, combine(self.claim, beta - dele)

    def _smooth(self) -> tuple[Total, Array]:
        """The same for a smooth loss."""
        # phi* enters by itself, phi(m_i) >= -b_i m_i - phi*(-b_i) by Fenchel and Young. What is left of a_i is concave,
        # a pull - w share (a log a + (1 - a) log(1 - a)): greatest where logit a = pull / (w share), or at an end of
        # the band. It is the greatest value that counts: any other a would prove too little.
        band = Band.of(self.loss, self.screening)
        share = self.both * self.weight
        pull = self.weight * signed_scores(self.claim, self.p) - (self.gam - self.dele) + self.loss.kink * share
        unit = np.maximum(self.loss.width * share, 1e-300)
        with np.errstate(over="ignore"):
            a = np.clip(expit(pull / unit), band.least, band.most)
        gain = a * pull - self.loss.width * share * (xlogy(a, a) + xlogy(1 - a, 1 - a))
        b = self._repaired(np.zeros(a.shape[1], bool), np.ones(a.shape[1], bool))
        total = Total().plus(gain).plus(share * self.loss.conjugate(b))
        total = total.plus(self.gam * band.top - self.dele * band.bottom)
        return total, combine(self.claim, share * b - band.slope * (self.gam - self.dele))

    def _poison(self, total: Total) -> Total:
        """``+ epsilon s G(max_y H_y / s)``."""
        # Mass e_y with mean pull w_y / e_y = psi(t) adds w_y H_y + s e_y h(w_y / e_y) = e_y psi(t) (H_y + s t), at most
        # e_y s G(H_y / s). Linear in e_y, so that all of epsilon goes to the class of the greatest height.
        if not self.claim.epsilon:
            return total
        half = 0.5 / self.claim.reg
        direction = self.p + half * (self.r + self.h)
        length = half * np.linalg.norm(self.r, axis=1)
        top = np.full(self.s.shape[0], -inf)
        for label in LABELS:
            height = np.array([self._support(label, label * row) for row in direction]) + self._offset(label)
            extra = np.where(length > 0, length * self.screening.reach[label] if self.screening.capped else 0.0, 0.0)
            top = np.maximum(top, height + extra)
        size = np.linalg.norm(direction, axis=1)
        price = self.loss.price(top, self.s[:, 0])
        if self.claim.filled:
            price = np.maximum(price, self._filler(direction, length))
        price = self.claim.epsilon * price
        far = max((reach for reach in self.screening.reach.values() if np.isfinite(reach)), default=1.0)
        offset = sum((np.abs(self._offset(label)) for label in LABELS), half * np.linalg.norm(self.h, axis=1) * far)
        size = size * (1 + far) + offset
        return Total(total.value + price, total.size + np.abs(price) + self.claim.epsilon * size)

    def _offset(self, label: int) -> Array:
        """What (tau) adds to the height of a class whatever the point."""
        if not self.screening.hubs:
            return np.zeros(self.s.shape[0])
        hub, claim = self.screening.hubs[label], self.claim
        share = self.eta[:, list(self.screening.hubs).index(label)]
        level = (1 - share) * hub.high + share * hub.low + claim.epsilon * hub.radius**2 / (4 * claim.reg)
        return np.asarray(self.tau[:, 0] * level - label * (self.h @ hub.center) / (2 * claim.reg))

    def _filler(self, direction: Array, length: Array) -> Array:
        """The price of a unit of mass that is made of clean rows, see `Claim.filled`: a mean of prices."""
        size = lengths(self.claim.train.X, one(self.claim))
        height = signed_scores(self.claim, direction) + length[:, None] * size
        for label in LABELS:
            height = height + self._offset(label)[:, None] * (self.claim.train.y == label)
        return np.asarray(self.loss.price(height, self.s) @ self.weight)

    def _support(self, label: int, q: Array) -> float:
        return self.claim.sets[label].support_bound(q[:-1]) + float(q[-1]) * one(self.claim)

    def _cap(self, total: Total) -> Total:
        """``+ r . v0 + |r| slack``."""
        if not self.screening.capped:
            return total
        length = np.linalg.norm(self.r, axis=1)
        size = length * float(np.linalg.norm(self.screening.center))
        total = Total(total.value + self.r @ self.screening.center, total.size + size)
        return total.plus(length * self.screening.slack)

    def _product(self, total: Total) -> Total:
        """``+ |h|^2 / (4 tau lam) - tau epsilon sum_y eta_y low_y``."""
        if not self.screening.hubs:
            return total
        # -tau lam |P v - D / (2 lam)|^2 <= |h|^2 / (4 tau lam) - h . (P v - D / (2 lam)): h is in q, and by D in the
        # heights
        tau = self.tau[:, 0]
        square = np.einsum("ij,ij->i", self.h, self.h) / np.where(tau > 0, 4 * tau * self.claim.reg, 1.0)
        low = np.array([hub.low for hub in self.screening.hubs.values()])
        return total.plus(square).plus(-self.claim.epsilon * tau * (self.eta @ low))

    def _parameters(self, total: Total, vector: Array) -> Total:
        """``+ sup_v [-q . v - s lam <v, P v>]``, over the ball where there is one."""
        claim, mask = self.claim, self.claim.mask
        # A concave quadratic in v: the free maximiser -q / (2 s lam) or, as its level sets are balls around that, the
        # point of the ball nearest to it. Any other point would prove too little: the value is taken there, and padded.
        # An intercept that is not penalised has no square: its coefficient is charged by the greatest that is
        # reachable.
        q = self.goal + claim.reg * mask * self.p + self.r + self.h - self.drift - vector
        stiff = claim.reg * self.s
        q_penalised = q * mask if claim.problem.fit_intercept else q
        free = np.maximum(stiff, 1e-300)
        with np.errstate(over="ignore"):
            v = -q_penalised / (2 * free)
        if self.screening.capped:
            v = self._drawn_in(v, q)
        with np.errstate(over="ignore", invalid="ignore"):
            linear, square = -np.einsum("ij,ij->i", q_penalised, v), stiff[:, 0] * np.einsum("ij,ij->i", v, v)
            size = np.linalg.norm(v, axis=1) * self._magnitude()
        total = Total(total.value + linear - square, total.size + np.abs(linear) + np.abs(square) + size)
        if claim.strongly_convex:
            return total
        return total.plus(charged(q[:, -1], self.screening.intercept))

    def _magnitude(self) -> Array:
        """Sizes of what the coefficients of the parameters are made of."""
        parts = (self.p, self.r, self.goal, self.h, self.drift)
        p, r, goal, h, drift = (np.linalg.norm(part, axis=1) for part in parts)
        return np.asarray(goal + self.claim.reg * p + r + h + drift)

    def _drawn_in(self, v: Array, q: Array) -> Array:
        """The maximiser over the ball: the nearest point of it to the free one; far along ``-q`` where that is far."""
        center, radius = self.screening.center, self.screening.radius
        far = ~np.isfinite(v).all(axis=1) | (np.abs(v).max(axis=1) > 1e100)
        offset = np.where(far[:, None], -q, v - center)
        length = np.linalg.norm(offset, axis=1)
        outside = far | (length > radius)
        scale = np.where(length > 0, radius / np.where(length > 0, length, 1.0), 0.0)
        return np.where(outside[:, None], center + offset * scale[:, None], v)

    def _repaired(self, ones: Any, open_: Any) -> Array:
        """`b`, changed so that the entry of a free intercept vanishes."""
        last = (self.goal - self.drift)[:, -1]
        return balanced(self.claim, self.b * open_ + ones, last, self.both[:, 0])


def charged(excess: Array, reach: float) -> Array:
    """``|q| |b|`` for what is left of the coefficient of a free intercept; infinite where nothing bounds it."""
    left = np.abs(excess)
    return left * reach if np.isfinite(reach) else np.where(left > 1e-12, inf, 0.0)


def balanced(claim: Claim, b: Array, k: Array, s: Array) -> Array:
    """Shares with ``(s/n) sum_i c_i b_i y_i = k`` where an intercept is free, as near to `b` as two scalings come.

    Parameters
    ----------
    claim : Claim
    b : ndarray, shape (m, n)
        In [0, 1].
    k, s : ndarray, shape (m,)

    Returns
    -------
    ndarray, shape (m, n)
        In [0, 1]; `b` itself without a free intercept.
    """
    if claim.strongly_convex:
        return b
    y, weight = claim.train.y, claim.share
    wanted = np.divide(k, s, out=np.zeros_like(s), where=s > 0)
    for sign in (1.0, -1.0):
        b = _raised(b, weight, y == sign, (wanted - b @ (weight * y)) * sign)
    return b


def _raised(b: Array, weight: Array, where: Array, by: Array) -> Array:
    """`b` of one class moved up towards 1, or down towards 0, so that its mass changes by `by`, as far as it can."""
    share = weight * where
    up, down = (1 - b) @ share, b @ share
    rise = np.clip(by / np.where(up > 0, up, 1.0), 0, 1)[:, None]
    fall = np.clip(-by / np.where(down > 0, down, 1.0), 0, 1)[:, None]
    return np.where(where, b + rise * (1 - b) - fall * b, b)
