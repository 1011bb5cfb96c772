"""How far a few changed rows move the minimiser of a smooth loss: an expansion with intervals that map into themselves.

What is proved, in real numbers
-------------------------------
``phi(m) = w log(1 + exp((k - m) / w))``, ``a(m) = -phi'(m)``. Take any ``v``, any ``c_i >= 0`` and any ``a_i``, and
let ``m_i = y_i x_i'v``, ``H = (1/n) sum_i c_i x_i x_i' + reg P``, ``g = reg P v - (1/n) sum_i a_i y_i x_i``. The rows
of S are deleted, or carry the other label, and poison ``nu`` is inserted. For the new minimiser ``v + D`` and
``u_i = y_i x_i'D`` the condition of stationarity reads

    H D = -g + (1/n) sum_i y_i x_i t_i + integral a y x d nu,      0 <= a <= 1,                                      (1)
    t_i = c_i u_i + a(m_i + u_i) - a_i                             for rows that stay,
    t_i = c_i u_i - a_i  [ - a(-m_i - u_i), flipped ]              for rows of S.

With intervals for all ``u_i`` each ``t_i`` lies between its extremes, at the ends or where ``phi''(m_i + u_i) = c_i``
(``phi''(-m_i - u_i) = c_i``), and for every ``q`` and ``s = x - H q``

    x'D = q'H D + s'D,        |s'D| <= |s|_{H^-1} |D|_H,                                                             (2)

where the sum over the rows that stay, and the `count` greatest of what the others add to it, bound ``q'H D``. Finally
``|D|_H^2 = D'H D``, so that (1) bounds ``|D|_H`` by the intervals, too.

**The intervals.** If those that (2) makes of some intervals around 0 lie in the interior of these, the new minimiser
is in them. Proof: let sigma go from 0 to 1, give the rows of S the weight ``1 - sigma`` and their changed copies
sigma, the poison sigma, and add ``(sigma - 1) G'v`` to the objective, G its gradient at ``v``. At sigma = 0 the
minimiser is ``v``, whose ``u_i = 0``. It moves continuously, as the objective is strictly convex. With a free
intercept it exists for sigma < 1 because ``|G_b|`` is less than the share of either class, which keeps ``1 - sigma``
of its weight; the limit is finite, as it does not leave the intervals. On the way (1) has ``sigma g`` for ``g`` (and,
in floating point, ``a(m_i)`` for ``a_i`` with weight ``1 - sigma``) and convex combinations of both forms of ``t_i``.
The bounds of (2) cover these: where all ``u_i`` are in the intervals they are in the interior, and there is no way
out. So the intervals need no ball to start from, and are the least that reproduce themselves.

Under mean scaling reg follows the rows, and less poison is the whole of it with the rows that are left in proportion
(`Claim.filled_by`), which are poison of ``a <= 1``.

In floating point
-----------------
``H`` is a `RidgeSystem` of rows with the weights ``c_i``, divided by their mean; it bounds ``|s|_{H^-1}`` and never
believes an inverse. ``|g_j|``, margins, ``a(m)``, the extremes of ``t_i`` and all sums are charged with what rounding
can do. The learner need not have converged: its ``g`` widens every interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from ...core.validation import LABELS, Array
from ..claim import Claim
from ..clean.losses import SoftHinge, soft_hinge
from ..ridge.deletions import top
from ..ridge.model import RidgeSystem
from ..ridge.rows import CleanRows
from ..rounding import UNIT, gamma

PAIRS = 3000
"""Rows up to which every pair is gone through for the intervals."""
BLOCK = 1 << 24
"""Pairs of rows that are held at a time."""


class Terms(NamedTuple):
    """Between what bounds ``t_i`` lies for rows that stay and for rows of S, shapes (n,)."""

    low: Array
    high: Array
    changed_low: Array
    changed_high: Array

    @property
    def most(self) -> tuple[Array, Array]:
        """The greatest magnitudes."""
        return np.maximum(-self.low, self.high), np.maximum(np.abs(self.changed_low), np.abs(self.changed_high))


@dataclass(frozen=True, eq=False)
class Expansion:
    """(1) around a vector, with at most `count` rows changed.

    Parameters
    ----------
    claim : Claim
    reg : float
        Of the changed problem, per clean row.
    v : ndarray, shape (D,)
        Any vector; near the minimiser of all rows at `reg` for good bounds.
    count : int
    flips : bool
    """

    claim: Claim
    reg: float
    v: Array
    count: int
    flips: bool

    @cached_property
    def loss(self) -> SoftHinge:
        """Kink and width."""
        return soft_hinge(self.claim.problem.loss)

    @cached_property
    def rows(self) -> CleanRows:
        """The clean rows."""
        return CleanRows.of(self.claim)

    @cached_property
    def signed(self) -> Array:
        """``y_i x_i``, dense."""
        return self.rows.y[:, None] * self.rows.dense

    @cached_property
    def margins(self) -> tuple[Array, Array]:
        """``m_i`` and no less than their errors, shapes (n,)."""
        return self.signed @ self.v, gamma(len(self.v) + 8) * self._lengths * float(
            np.linalg.norm(self.v * self._scale)
        )

    @cached_property
    def pulls(self) -> Array:
        """``a_i``, shape (n,)."""
        return self.loss.pull(self.margins[0])

    @cached_property
    def curvature(self) -> Array:
        """``c_i``, shape (n,): `phi''` at the margin, up to an error of ``2 u / w``, which `terms` pays for.

        Never 0, which (1) allows: `system` divides by their sum, and rows far from the kink may be all there are.
        """
        return np.asarray(np.maximum(self.pulls * (1 - self.pulls), UNIT) / self.loss.width)

    @cached_property
    def total(self) -> float:
        """``sum_i c_i``."""
        return float(self.curvature.sum())

    @cached_property
    def system(self) -> RidgeSystem:
        """``n H / sum_i c_i``."""
        rows, mask = self.rows, self.claim.mask
        weighted = CleanRows(rows.E, rows.y, self.curvature / self.total, rows.origin)
        return RidgeSystem(self.claim, weighted, self.reg * len(rows.y) / self.total * mask[: rows.E.shape[1]])

    @cached_property
    def _scale(self) -> Array:
        """Powers of two near the sizes of the columns."""
        return np.asarray(2.0 ** np.round(np.log2(np.where(self.rows.sizes > 0, self.rows.sizes, 1.0))))

    @cached_property
    def _lengths(self) -> Array:
        return self.rows.lengths(self._scale)

    @cached_property
    def slope(self) -> tuple[Array, Array]:
        """``n g / sum_i c_i``, and no less than the error of each entry, shapes (D,)."""
        unit, kept = len(self.pulls) / self.total, self.system.penalty * self.v
        pulled = self.rows.pulled((self.pulls * self.rows.y)[:, None])[:, 0] * unit
        size = gamma(self.rows.depth) * self.rows.sizes * float(self.rows.rms(self.pulls[:, None])[0]) * unit
        return kept - pulled, size + gamma(24) * (np.abs(kept) + np.abs(pulled))

    @cached_property
    def inserted(self) -> float:
        """Mass of inserted poison in units of ``sum_i c_i``."""
        return self.claim.epsilon * len(self.pulls) / self.total * (1 + gamma(8))

    def terms(self, low: Array, high: Array) -> Terms:
        """The extremes of ``t_i`` for ``low_i <= u_i <= high_i``."""
        # t' = c - phi''(m + u) for a row that stays. phi'' is even about the kink and falls away from it, so that t' =
        # 0 at u = 0, as c = phi''(m), and at the mirror image of m. With the label turned t' = c - phi''(-m - u), which
        # is 0 where -m - u is m or its mirror image. A deleted row has a line.
        c, a, (m, off), loss = self.curvature, self.pulls, self.margins, self.loss
        ends = np.stack([low, high])
        inner = np.stack([np.zeros_like(m), 2 * (loss.kink - m)])
        u = np.concatenate([ends, np.clip(inner, low, high)])
        stay = c * u + expit((loss.kink - m - u) / loss.width) - a
        if self.flips:
            u = np.concatenate([ends, np.clip(np.stack([-2 * m, np.full_like(m, -2 * loss.kink)]), low, high)])
            changed = c * u - a - expit((loss.kink + m + u) / loss.width)
        else:
            changed = c * ends - a
        # The error `off` of m moves a(m + u), and the a(m) of the proof, by off / (4 w) each, since |a'| <= 1 / (4 w).
        # It moves the extremes too: from the place taken to the true one, at most 2 far away, |t'| is at most what it
        # is at the former, off / (10 w^2) by |a''| <= 1 / (10 w^2), and the error of c.
        far = np.maximum(np.abs(low), np.abs(high))
        off = off + 16 * UNIT * (abs(loss.kink) + np.abs(m) + far)
        pad = off / (2 * loss.width) + far * (off / (5 * loss.width**2) + 64 * UNIT / loss.width) + 64 * UNIT
        return Terms(stay.min(0) - pad, stay.max(0) + pad, changed.min(0) - pad, changed.max(0) + pad)

    def length(self, terms: Terms, low: Array, high: Array) -> float:
        """No less than ``|D|_H`` in the norm of the system: ``r^2 <= (|g| + mass R) r + sum_i u_i t_i``."""
        # r^2 = D'H D by (1); r^2 <= linear r + square gives r <= linear + sqrt(square). A row of S is charged for
        # staying besides: which rows these are is not known, and both terms are small of second order in u or of S
        # alone.
        value, error = self.slope
        far, (stay, changed) = np.maximum(np.abs(low), np.abs(high)), terms.most
        linear = float(self.system.dual_norm((np.abs(value) + error)[:, None])[0])
        linear += self.inserted * self._reach if self.inserted else 0.0
        square = (float(far @ stay) + float(top(far * changed, self.count))) / self.total
        return (linear + np.sqrt(square)) * (1 + gamma(2 * len(far) + 64))

    @cached_property
    def _reach(self) -> float:
        """No less than ``|x|_{H^-1}`` over the sets and, where they are poison, over the clean rows."""
        far = max(part.extent for part in self.claim.sets.values()) + float(np.linalg.norm(self.rows.origin))
        most = np.full(len(self.v), far)
        if self.system.intercept:
            most[-1] = 1.0
        if self.claim.filled_by(self.flips):
            most = np.maximum(most, np.abs(self.rows.dense).max(axis=0))
        return float(self.system.dual_norm(most[:, None] * (1 + gamma(8)))[0])

    def moves(self, seen: Seen, terms: Terms, length: float) -> tuple[Array, Array]:
        """No less than ``x'D``, and than ``-x'D``, of the rows that are seen, shapes (rows,)."""
        # q'H D = -g'q + (1/n) sum_i z_i t_i + mass push with z_i = y_i x_i'q: a row that stays adds z_i times the high
        # end of t_i where z_i > 0, the low one where z_i < 0. A row of S has its own ends: what it adds beyond staying
        # is counted for the `count` greatest of all rows, whichever S is.
        n, (stay, changed) = len(self.pulls), terms.most
        gain, loss = terms.changed_high - terms.high, terms.low - terms.changed_low
        up, down = np.empty(len(seen.q)), np.empty(len(seen.q))
        most = float(self._lengths @ stay + top(self._lengths * (stay + changed), self.count))
        for block, ahead, behind in seen.blocks(self):
            lifted, dropped = ahead @ terms.high - behind @ terms.low, behind @ terms.high - ahead @ terms.low
            size = gamma(n + 16) * (ahead + behind) @ (stay + changed)
            up[block] = lifted + size + top(_most(ahead, gain, behind, loss), self.count)
            down[block] = dropped + size + top(_most(behind, gain, ahead, loss), self.count)
        value, error = self.slope
        still = np.abs(seen.q) @ (np.abs(value) + error) * (1 + gamma(len(value) + 8)) + seen.left * length
        still = still + gamma(len(value) + 16) * np.linalg.norm(seen.q * self._scale, axis=1) * most / self.total
        pushed = self.inserted * seen.push if self.inserted else np.zeros((2, len(seen.q)))
        rounded = 1 + gamma(32)
        return (up / self.total + still + pushed[0]) * rounded, (down / self.total + still + pushed[1]) * rounded

    def maps(self, seen: Seen, low: Array, high: Array) -> tuple[Array, Array]:
        """What (2) makes of intervals of all ``u_i``; `seen` are the signed rows.

        Of more rows than `PAIRS`, what ``|u_i| <= |x_i|_{H^-1} |D|_H`` makes of them.
        """
        terms = self.terms(low, high)
        length = self.length(terms, low, high)
        if len(low) > PAIRS:
            far = seen.sizes(self) * length
            return -far, far
        up, down = self.moves(seen, terms, length)
        return -down, up

    def see_rows(self) -> Seen:
        """The clean rows, signed."""
        q, left = self.system.row_responses()
        return self._seen(self.rows.y[:, None] * q, left, len(left) <= PAIRS)

    def see(self, directions: Array) -> Seen:
        """Any directions, shape (rows, D)."""
        q, s = self.system._refined(directions.T, False)
        return self._seen(q.T, self.system.dual_norm(s.most))

    def _seen(self, q: Array, left: Array, pushed: bool = True) -> Seen:
        left = left * (1 + gamma(2 * len(self.pulls)))  # the weights sum to 1 up to rounding
        return Seen(q, left, self._push(q) if self.inserted and pushed else np.zeros((2, len(q))))

    def _push(self, q: Array) -> Array:
        """No less than ``max y x'q``, and than ``max -y x'q``, over the sets, and at least 0, shape (2, rows)."""
        found = np.zeros((2, len(q)))
        d, last = self.claim.train.d, q[:, -1] if self.system.intercept else np.zeros(len(q))
        for i, side in enumerate((1.0, -1.0)):
            for label in LABELS:
                support = self.system.support_bounds(label, side * label * q[:, :d]) + side * label * last
                found[i] = np.maximum(found[i], support + 4 * UNIT * (np.abs(support) + 2 * np.abs(last)))
        if not self.claim.filled_by(self.flips):
            return found
        # Less mass e is the whole of eps: (1 + eps) / (1 + e) as much poison, and of each row that is trained on
        # (eps - e) / (1 + e) / n <= eps / n. Those with their own label pull like poison; besides, the flipped ones, at
        # most `count`, pull by -y_i x_i'q. A unit of eps is so many n-th of these, and at most as much of the others.
        for block, ahead, behind in Seen(q, q[:, 0], found).blocks(self):
            rounded = gamma(len(self.v) + 16) * np.linalg.norm(q[block] * self._scale, axis=1) * self._lengths.max()
            if self.claim.filled:
                kept = [part.max(axis=1) + rounded for part in (ahead, behind)]
                found[:, block] = np.maximum(found[:, block], kept)
            if self.flips:
                turned = [top(part, self.count) / len(self.pulls) + rounded for part in (behind, ahead)]
                found[:, block] += np.array(turned) * (1 + gamma(8))
        return found


class Seen(NamedTuple):
    """Directions ``x`` whose ``x'D`` is bounded.

    Parameters
    ----------
    q : ndarray, shape (rows, D)
        Near ``H^-1 x``.
    left : ndarray, shape (rows,)
        No less than ``|x - H q|_{H^-1}``.
    push : ndarray, shape (2, rows)
        What a unit of inserted mass adds to ``x'D`` at most, and to ``-x'D``.
    """

    q: Array
    left: Array
    push: Array

    def sizes(self, at: Expansion) -> Array:
        """No less than ``|x_i|_{H^-1}`` of the signed rows: ``|q|_H^2 = q'x - q's``, and ``x = H q + s``."""
        long = np.linalg.norm(self.q * at._scale, axis=1) * at._lengths
        square = np.einsum("ij,ij->i", self.q, at.signed) + gamma(len(at.v) + 8) * long
        return np.asarray((np.sqrt(np.maximum(square, 0.0)) + 2 * self.left) * (1 + gamma(32)))

    def blocks(self, at: Expansion) -> Iterator[tuple[slice, Array, Array]]:
        """``y_i x_i'q`` over the clean rows, its positive and its negative part, for some directions at a time."""
        step = max(1, BLOCK // len(at.pulls))
        for start in range(0, len(self.q), step):
            block = slice(start, min(start + step, len(self.q)))
            pairs = self.q[block] @ at.signed.T
            ahead = np.maximum(pairs, 0.0)
            yield block, ahead, ahead - pairs


def _most(ahead: Array, gain: Array, behind: Array, loss: Array) -> Array:
    """What a changed row adds where its product is positive, and where it is negative."""
    if gain.max() <= 0:
        return np.asarray(behind * loss)
    return np.asarray(ahead * gain + behind * loss)
