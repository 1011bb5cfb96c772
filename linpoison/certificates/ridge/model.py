"""The ridge learner as a quadratic form, and the bound that any comparator proves on its scores.

What is proved, in real numbers
-------------------------------
With ``H = sum_i q_i e_i e_i' + reg P`` and ``m = sum_i q_i y_i e_i`` the clean minimiser is ``v0 = H^-1 m``. Poison
``nu`` of mass at most eps moves it to ``H v^ = m + integral (k - x'v^) x d nu``. For every vector `w`, with ``r = k -
x'v^`` and ``M(w) >= |k - x'w|`` over all poison,

    <v^ - v0, H (v^ - w)> = integral r (k - x'w - r) d nu <= eps M(w)^2 / 4,

so that ``v^`` lies in an ellipsoid around ``(v0 + w) / 2`` and

    c'v^ <= ( c'v0 + c'w + |c|_{H^-1} sqrt(|w - v0|_H^2 + eps M(w)^2) ) / 2.                                        (1)

By Cauchy and Schwarz the right side is at least ``c'v0``, whatever `w` is.

What is proved, in floating point
---------------------------------
No ``H^-1`` is ever believed. Take any ``p`` (near ``v0``) and ``q`` (near ``H^-1 c``), and let ``delta = m - H p``,
``s = c - H q`` exactly. Then

    c'v0 = c'p + q'delta + s'H^-1 delta,        |s'H^-1 delta| <= |s|_{H^-1} |delta|_{H^-1}                          (2)
    c'H^-1 c = c'q + s'q + |s|_{H^-1}^2                                                                             (3)
    |w - v0|_H <= |w - p|_H + |delta|_{H^-1}                                                                        (4)

as ``c'H^-1 m = c'p + (q + H^-1 s)'delta`` and ``c'H^-1 c = (q + H^-1 s)'(H q + s)``. Each term is bounded upwards:

* ``delta`` and ``s`` are computed **from the rows** (`CleanRows`), never from a rounded Gram matrix. With ``f_i = e_i .
  p``, ``t_i = y_i - f_i``, ``delta_j = sum_i q_i t_i e_ij - reg P_j p_j``, rounding costs at most

      |f_i err| <= gamma_{D+4} |e_i / z| |z p|                        (any positive scale z: Cauchy and Schwarz)
      |delta_j err| <= sqrt(sum_i q_i e_ij^2) ( gamma_depth rms(t) + rms(f err) + u (1 + rms(f)) ) + gamma_16 (...)

  with ``rms(t)^2 = sum_i q_i t_i^2``, again by Cauchy and Schwarz, now over the rows.
* ``|s|_{H^-1}`` for a vector that is known entry by entry, ``|s_j| <= r_j``, is at most the lesser of

      (i)  sqrt(sum_j r_j^2 / (reg P_j))               where all is penalised, as ``H >= reg P``; with a free intercept
           sqrt(r_b^2 + sum_j (r_j + r_b a_j)^2 / (reg P_j)),  ``a_j >= |sum_i q_i e_ij|``, as by Jensen
           ``v'H v >= (b + theta'a)^2 + theta'(reg P) theta``;
      (ii) |s / z| / sqrt(L), ``L <= lambda_min(Z^-1 H Z^-1)`` by a Cholesky factorisation that runs through: that of
           ``fl(Z^-1 H Z^-1) - t I`` proves ``L = t - (gamma_{2n+32} + gamma_{2D+8}) trace`` (Higham 2002, th. 10.3).
* With a free intercept the rows are moved by any vector ``mu``: ``b`` becomes ``b + theta'mu``, an exact symmetry of
  the learner, and offsets of the columns cost nothing. A penalised intercept has no such symmetry and gets no shift.
* The result is not allowed below the lower bound of ``c'v0`` from (2). In exact numbers (1) never is, so that this
  loses nothing, and **no comparator, forged or not, proves less than the clean score**.
* Anything that is not finite proves nothing: the bound is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import cho_solve

from ...core.errors import CapabilityError
from ...core.parts import dense
from ...core.validation import LABELS, Array
from ..claim import Claim
from ..rounding import UNIT, gamma
from .rows import FLOOR, CleanRows, shifted

GROUPS = tuple((label, sign) for label in LABELS for sign in (1.0, -1.0))
"""The four kinds of poison: rows of the set of a label whose residual ``k - x'v`` has a sign."""

_BATCH = 256
_REFINEMENTS = 4
_TINY = 1e-250
"""Added to every bound, for sums that underflow."""
_EASY = 1e8
"""Up to this ratio of the diagonal of `H` to its penalty, (i) of the module's proof is sharp enough."""


class Residual(NamedTuple):
    """``target - H v`` for columns `v`: computed, and no less than the error of each entry, shapes (D, columns)."""

    value: Array
    error: Array

    @property
    def most(self) -> Array:
        """No less than each entry in magnitude."""
        return np.asarray(np.abs(self.value) + self.error)


class Clean(NamedTuple):
    """What is known of ``c'v0`` and ``c'H^-1 c`` for each row of the claim, shapes (rows,)."""

    responses: Array
    """``q``, near ``H^-1 c``, shape (rows, D)."""
    low: Array
    high: Array
    size: Array
    """No less than ``|c|_{H^-1}``."""
    left: Array
    """No less than ``|c - H q|_{H^-1}``."""


@dataclass(frozen=True, eq=False)
class RidgeSystem:
    """``H v = (1/n) sum_i c_i y_i x_i + integral (k - x'v) x d nu``: what poison does to the ridge learner.

    Rows carry a 1 behind them if an intercept is fitted, so that ``D`` is ``d + 1``, otherwise ``d``. Parameter vectors
    ``(theta, b)`` are those of rows moved by ``rows.origin``.

    Parameters
    ----------
    claim : Claim
    rows : CleanRows
    penalty : ndarray, shape (D,)
        ``reg P``, up to a relative error of ``8 u``.
    """

    claim: Claim
    rows: CleanRows
    penalty: Array

    @classmethod
    def of(cls, claim: Claim, *, origin: Any = None) -> RidgeSystem:
        """The system of a claim, in coordinates that begin at `origin` (by default the mean, if the intercept is free).

        Raises
        ------
        CapabilityError
            If the loss is not the squared one.
        """
        if not claim.problem.loss.quadratic:
            raise CapabilityError("the squared loss", f"the {claim.problem.loss.name} loss", "Use certify_margin.")
        rows = CleanRows.of(claim, origin)
        return cls(claim, rows, claim.reg * claim.mask[: rows.E.shape[1]])

    @property
    def intercept(self) -> bool:
        """Whether the last entry of a parameter vector is an intercept."""
        return self.claim.problem.fit_intercept

    @cached_property
    def H(self) -> Array:
        """The quadratic form in floating point. Nothing is proved with it but (ii) of the module's proof."""
        return np.asarray(self.rows.gram + np.diag(self.penalty))

    @cached_property
    def scale(self) -> Array:
        """``Z``: powers of two near the square roots of the diagonal of `H`, so that scaling is exact."""
        size = np.hypot(self.rows.sizes, np.sqrt(self.penalty))
        return np.asarray(2.0 ** np.round(np.log2(np.where((size > 0) & np.isfinite(size), size, 1.0))))

    @cached_property
    def _scaled(self) -> Array:
        return np.asarray(self.H / self.scale / self.scale[:, None])

    @cached_property
    def _factor(self) -> Array:
        """Lower Cholesky factor of ``Z^-1 H Z^-1``, with as much added to the diagonal as that takes."""
        eye = np.eye(len(self.scale))
        usable = np.isfinite(self._scaled).all()
        for jitter in (0.0, *10.0 ** np.arange(-15, 1, 2)) if usable else ():
            try:
                return np.asarray(np.linalg.cholesky(self._scaled + jitter * eye))
            except np.linalg.LinAlgError:
                continue
        return eye

    @cached_property
    def lower(self) -> Array:
        """A lower triangle whose product with its transpose is nearly `H`."""
        return np.asarray(self.scale[:, None] * self._factor)

    def solve(self, rows: Array) -> Array:
        """``H^-1`` applied to each row, nearly."""
        scaled = np.atleast_2d(rows) / self.scale
        return np.asarray(cho_solve((self._factor, True), scaled.T, check_finite=False)).T / self.scale

    def residual(self, V: Array, targets: Array | None = None, labels: bool = False) -> Residual:
        """``targets - H v``, or ``m - H v``, of columns `v`, from the rows (the module's proof, first point)."""
        rows, D = self.rows, len(V)
        f = rows.scores(V)
        noise = gamma(D + 4) * self._length * np.linalg.norm(V * self.scale[:, None], axis=0)
        t = rows.y[:, None] - f if labels else -f
        noise = noise + 1.1 * UNIT * (float(labels) + rows.rms(f))
        pulled, kept = rows.pulled(t), self.penalty[:, None] * V
        aim = np.zeros((D, 1)) if targets is None else targets
        spread = rows.sizes[:, None] * (gamma(rows.depth) * rows.rms(t) + 1.1 * noise)
        ends = gamma(8) * (np.abs(pulled) + np.abs(aim)) + gamma(16) * np.abs(kept)
        return Residual(pulled - kept + aim, spread + ends + _TINY)

    @cached_property
    def _length(self) -> float:
        """No less than ``sqrt(sum_i q_i |e_i / z|^2)``."""
        return float(self.rows.rms(self.rows.lengths(self.scale)[:, None])[0])

    def _refined(self, targets: Array | None, labels: bool) -> tuple[Array, Residual]:
        """``H^-1`` of columns by iterative refinement with residuals from the rows, and what is left."""
        first = self.rows.moment[:, None] if targets is None else targets
        V = self.solve(first.T).T
        left = self.residual(V, targets, labels)
        for _ in range(_REFINEMENTS):
            wrong = np.linalg.norm(left.value / self.scale[:, None], axis=0)
            floor = np.linalg.norm(left.error / self.scale[:, None], axis=0)
            if not np.any(wrong > 0.1 * floor):
                break
            again = V + self.solve(left.value.T).T
            rest = self.residual(again, targets, labels)
            better = np.linalg.norm(rest.value / self.scale[:, None], axis=0) < wrong
            if not better.any():
                break
            V = np.where(better, again, V)
            left = Residual(np.where(better, rest.value, left.value), np.where(better, rest.error, left.error))
        return V, left

    def row_responses(self) -> tuple[Array, Array]:
        """``q_i`` near ``H^-1 e_i`` of each row, shape (n, D), and no less than ``|e_i - H q_i|_{H^-1}``, shape (n,).

        By ``|H_jk| <= size_j size_k`` and the rounding of sums over the rows.
        """
        E, n = self.rows.dense, len(self.rows.y)
        Q, size = self.solve(E), np.hypot(self.rows.sizes, np.sqrt(self.penalty))
        spread = np.abs(E) + (np.abs(Q) @ size)[:, None] * size
        return Q, self.dual_norm((np.abs(E - Q @ self.H) + gamma(2 * n + 2 * E.shape[1] + 64) * spread).T)

    @cached_property
    def _anchor(self) -> tuple[Array, Residual]:
        V, left = self._refined(None, True)
        return V[:, 0], left

    @cached_property
    def clean(self) -> Array:
        """``p``, near ``v0 = H^-1 moment``: the minimiser without poison, but with the regulariser of the budget."""
        return self._anchor[0]

    def dual_norm(self, most: Array) -> Array:
        """No less than ``|s|_{H^-1}`` of columns `s` with ``|s_j| <= most_j`` (the module's proof, second point)."""
        penalty = np.where(self.penalty > 0, self.penalty * (1 - gamma(16)), np.inf)[:, None]
        r = most
        square = np.zeros(most.shape[1])
        if self.intercept and self.penalty[-1] == 0:
            square = most[-1] ** 2
            r = most[:-1] + self.rows.middle[:-1, None] * most[-1]
            penalty = penalty[:-1]
        by_penalty = np.sqrt(square + (r**2 / penalty).sum(axis=0))
        if np.isinf(penalty).any():
            by_penalty = np.full(most.shape[1], np.inf)
        by_factor = np.linalg.norm(most / self.scale[:, None], axis=0) / np.sqrt(self._least) if self._least else np.inf
        return np.asarray(np.minimum(by_penalty, by_factor) * (1 + gamma(2 * len(most) + 16))) + FLOOR

    @cached_property
    def _least(self) -> float:
        """``L`` of (ii): no more than the least eigenvalue of ``Z^-1 H Z^-1``; 0 where none is proved or needed."""
        free = len(self.penalty) - int(self.intercept and self.penalty[-1] == 0)
        if np.all(self.penalty[:free] * _EASY >= self.scale[:free] ** 2) or not np.isfinite(self._scaled).all():
            return 0.0
        D, guess = len(self.scale), self._least_guess()
        lost = (gamma(2 * len(self.rows.y) + 32) + gamma(2 * D + 8)) * float(np.trace(self._scaled))
        for share in (0.9, 0.5, 0.125):
            try:
                np.linalg.cholesky(self._scaled - share * guess * np.eye(D))
            except np.linalg.LinAlgError:
                continue
            return max(share * guess * (1 - 4 * UNIT) - lost, 0.0)
        return 0.0

    def _least_guess(self, steps: int = 30) -> float:
        """About the least eigenvalue, by inverse iteration."""
        x, found = np.random.default_rng(0).normal(size=len(self.scale)), 1.0
        for _ in range(steps):
            x = x / np.linalg.norm(x)
            x = cho_solve((self._factor, True), x, check_finite=False)
            found = float(1 / np.linalg.norm(x))
        return found if np.isfinite(found) else 0.0

    @cached_property
    def directions(self) -> Array:
        """``c = -k (z, 1)`` of each row of the claim, shape (rows, D), up to a relative error of ``2 u``."""
        rows = self.claim.demand_rows()
        return -rows.y[:, None] * self.extend(dense(rows.X))

    @cached_property
    def about(self) -> Clean:
        """(2) and (3) for each row of the claim, by batches."""
        parts = [self._about(self.directions[i : i + _BATCH].T) for i in range(0, max(len(self.directions), 1), _BATCH)]
        return Clean(*(np.concatenate(pieces) for pieces in zip(*parts, strict=True)))

    def _about(self, C: Array) -> Clean:
        D, (p, delta) = len(C), self._anchor
        q, s = self._refined(C, False)
        away, left = self.dual_norm(delta.most)[0], self.dual_norm(s.most)
        d = delta.value[:, 0]
        middle = p @ C + d @ q
        sums = gamma(D + 8) * (np.abs(p) @ np.abs(C) + np.abs(d) @ np.abs(q))
        error = (sums + delta.error[:, 0] @ np.abs(q) + left * away) * (1 + gamma(D + 8)) + _TINY
        square = np.einsum("ij,ij->j", C, q) + np.einsum("ij,ij->j", s.value, q)
        rounded = np.einsum("ij,ij->j", np.abs(C) + np.abs(s.value), np.abs(q))
        slack = gamma(D + 8) * rounded + np.einsum("ij,ij->j", s.error, np.abs(q)) + left**2
        size = np.sqrt(np.maximum(square + slack * (1 + gamma(D + 8)), 0.0) * (1 + 8 * UNIT)) + FLOOR
        return Clean(q.T, middle - error, middle + error, size, left)

    @property
    def responses(self) -> Array:
        """Nearly ``H^-1 c``, shape (rows, D)."""
        return self.about.responses

    @property
    def sizes(self) -> Array:
        """No less than ``|c|_{H^-1}``, shape (rows,)."""
        return self.about.size

    def extend(self, X: Array) -> Array:
        """Rows moved to the origin with the 1 of the intercept behind them, if there is one."""
        X = shifted(X, self.rows.origin)
        return np.concatenate([X, np.ones((*X.shape[:-1], 1))], axis=-1) if self.intercept else X

    def support_bounds(self, label: float, W: Array) -> Array:
        """Upper bounds on ``max w . (x - origin)`` over the set of a label, for each row `w` of `W`."""
        part, origin = self.claim.sets[label], self.rows.origin
        cost = gamma(W.shape[1] + 8)
        piece = part.piece
        if piece is not None and piece.center is not None and piece.is_ball:
            center, length = shifted(piece.center[None], origin)[0], np.linalg.norm(W, axis=1)
            reach = piece.radius * length * (1 + cost)
            return np.asarray(W @ center + reach + cost * (np.abs(W) @ np.abs(center) + reach))
        top, back = np.array([part.support_bound(w) for w in W]), W @ origin
        return np.asarray(top - back + cost * (np.abs(top) + np.abs(W) @ np.abs(origin)))


def worst_residuals(system: RidgeSystem, V: Array) -> Array:
    """No less than ``M(v) = max |k - x'v|`` over all poison, for each row `v` of `V`, shape (rows,)."""
    theta = V[:, : system.claim.train.d]
    offset = V[:, -1] if system.intercept else np.zeros(len(V))
    worst = np.zeros(len(V))
    for label, sign in GROUPS:
        reach = system.support_bounds(label, -sign * theta)
        worst = np.maximum(worst, sign * label - sign * offset + reach)
        worst = worst + 4 * UNIT * (1 + np.abs(offset) + np.abs(reach))
    return worst


def _distance(system: RidgeSystem, V: Array) -> tuple[Array, Array]:
    """No less than ``|v - v0|_H`` and than ``sqrt(sum_i q_i (y_i - e_i . v)^2)``, for each row `v` of `V`."""
    rows, (p, delta) = system.rows, system._anchor
    off = (V - p).T
    f, before = rows.scores(off), rows.y[:, None] - rows.scores(p[:, None])
    cost, length = gamma(len(off) + 6), np.linalg.norm(off * system.scale[:, None], axis=0)
    data = rows.rms(f) + cost * system._length * length
    square = data**2 + (system.penalty[:, None] * off**2).sum(axis=0) * (1 + gamma(len(off) + 24))
    noise = cost * system._length * (length + np.linalg.norm(p * system.scale)) + 2 * UNIT * (1 + rows.rms(before))
    clean = rows.rms(before - f) + noise + 2 * UNIT * data
    return np.sqrt(square) * (1 + 8 * UNIT) + system.dual_norm(delta.most)[0], clean


def comparator_bounds(system: RidgeSystem, V: Array, rows: Any = slice(None)) -> Array:
    """What comparators prove about the scores of rows: (1) of the module's proof, rounded up.

    ::

        c'v^ <= ( c'(v0 + v) + |c|_{H^-1} sqrt(|v - v0|_H^2 + eps M(v)^2) ) / 2     for every v.

    Under mean scaling the mean square of the clean residuals takes the place of ``M(v)^2`` if it is greater, see
    `Claim.filled`; where the clean rows lie in their sets it never is, and no test of that is believed.

    Parameters
    ----------
    system : RidgeSystem
    V : ndarray, shape (rows, D)
        One comparator for each row, in the coordinates of the system.
    rows : index
        Which rows of the claim.

    Returns
    -------
    ndarray, shape (rows,)
        At least the clean scores; infinite where a comparator proves nothing.
    """
    parts = [
        _bounds(system, V[i : i + _BATCH], np.arange(len(system.directions))[rows][i : i + _BATCH])
        for i in range(0, len(V), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _bounds(system: RidgeSystem, V: Array, rows: Any) -> Array:
    c, about, epsilon = system.directions[rows], system.about, system.claim.epsilon * (1 + 8 * UNIT)
    usable = np.asarray(np.isfinite(V).all(axis=1))
    V = np.where(usable[:, None], V, system.clean)
    with np.errstate(over="ignore", invalid="ignore"):
        away, clean = _distance(system, V)
        worst = worst_residuals(system, V) if epsilon > 0 else np.zeros(len(V))
        worst = np.maximum(worst, clean) if system.claim.problem.scaling == "mean" else worst
        spread = about.size[rows] * np.sqrt(away**2 + epsilon * worst**2)
        after = np.einsum("ij,ij->i", c, V)
        after = after + gamma(c.shape[1] + 8) * np.einsum("ij,ij->i", np.abs(c), np.abs(V))
        high = about.high[rows]
        bound = (high + after + spread) / 2 + 8 * UNIT * (np.abs(high) + np.abs(after) + spread) + _TINY
        bound = np.maximum(bound, about.low[rows])
    return np.asarray(np.where(usable & np.isfinite(bound), bound, np.inf))
