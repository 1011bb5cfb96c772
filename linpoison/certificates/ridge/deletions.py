"""Ridge classification when any few training rows are deleted, with or without inserted poison: a closed form.

What is proved, in real numbers
-------------------------------
``A = n H = sum_i x_i x_i' + n reg P``, ``v = A^-1 sum_i y_i x_i``, ``r_i = y_i - x_i'v``, ``G_ij = x_i'A^-1 x_j``,
``h_i = G_ii``. Without the rows of S, with the same ``n reg``, the learner finds ``v_S``. Let ``p_i = y_i - x_i'v_S``
for i in S. Then, as ``A v_S - sum_i y_i x_i = -sum_S p_i x_i``,

    c'v_S = c'v - sum_S c'A^-1 x_i p_i                                                                              (1)
    (1 - h_i) p_i = r_i + sum_{j in S, j != i} G_ij p_j                                                             (2)
    |p_S| <= |r_S| / (1 - mu)                                                                                       (3)

for any mu at least the greatest eigenvalue of ``G_SS``: by Gershgorin's circles, its trace, or that of all of G.

(3) bounds every p_i, and (2) makes intervals of it: a sum over at most k - 1 unknown rows is at most the k - 1
greatest. Put into (1), the k greatest terms bound ``c'v_S`` for every S of at most k rows. For k = 1 this is the exact
formula of leaving one out. Where there are so many rows that their pairs cannot be gone through,
``|sum_j G_ij p_j| <= sqrt(h_i) |sum_j p_j x_j|_{A^-1}`` stands in for the sum.

Poison of mass eps besides: (1) of `ridge.model` for the rows without S. With ``A_S >= (1 - mu) A`` and
``|v_S - v|_{A_S} <= m = |sum_S r_i x_i|_{A^-1} / sqrt(1 - mu)``

    c'v^ <= ( c'v_S + c'w + |c|_{H^-1} / sqrt(1 - mu) sqrt( (|w - v|_H + m / sqrt(n))^2 + eps M(w)^2 ) ) / 2.       (4)

Under mean scaling ``n reg`` follows the rows that are left, and the bound is the greatest over how many those are; less
poison than eps is the whole of it with the rows that are left in proportion (`Claim.filled`), whose mean square
residual is at most ``n / (n - k)`` times that of all.

In floating point
-----------------
``c'v``, ``H^-1 c`` and ``v`` are those of `RidgeSystem`, with their errors. For ``q_j`` near ``H^-1 x_j`` and
``s_j = x_j - H q_j``, ``|n G_ij - x_i'q_j| <= |x_i|_{H^-1} |s_j|_{H^-1} <= sqrt(n) |s_j|_{H^-1}``, since
``x_i x_i' <= n H``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...core.errors import CapabilityError, InputError
from ...core.validation import Array, check_integer
from ..certificate import Certificate, Witness, check
from ..claim import ROW_BY_ROW, Claim
from ..rounding import UNIT, gamma
from .model import RidgeSystem, _distance, worst_residuals

PAIRS = 3000
"""Rows up to which every pair is gone through."""
_ROUNDS = 6
_SETTLED = 1e-6
"""Share of the first interval below which a round is the last."""


def deletions_ridge(claim: Claim, removed: int) -> Certificate:
    """The greatest negative margin of each row after any `removed` clean rows are deleted and poison is inserted.

    ::

        max { -k (z, 1) . v :  v minimises  reg/2 <v, P v> + (1/n) sum_{i not in S} (y_i - (x_i, 1) . v)^2 / 2
                                            + integral (k - (x, 1) . v)^2 / 2 d nu,
              |S| <= removed,  mass of nu <= epsilon }

    in closed form (the module has the proof). Read backwards it is about data in hand: if at most `removed` of these
    rows were planted, whoever planted them and wherever, training without them gives the same answer.

    Parameters
    ----------
    claim : Claim
        With the squared loss, rows without weights, and bounded sets if epsilon is positive. A budget of 0 allows
        deletions alone; ``removed / n`` covers rows that are replaced by rows of the sets.
    removed : int
        Clean rows that are lost at most.

    Returns
    -------
    Certificate
        Of kind "score". Its witness holds `removed`, which is part of the statement, and ``deleted``, the rows that
        count the most for each row of the claim, shape (rows, removed), -1 where fewer do.

    Raises
    ------
    CapabilityError
        If the loss is not the squared one, or rows have weights.

    References
    ----------
    Rubinstein, Hopkins. Robustness auditing for linear regression: to singularity and beyond, ICLR 2025, for one
    coefficient of least squares.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Problem, Squared
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[1.0], [-1.0], [0.8], [-0.8]], [1, -1, 1, -1])
    >>> sets = ByLabel({1: Ball([1.0], 0.5), -1: Ball([-1.0], 0.5)})
    >>> claim = Claim(train, Problem(Squared(), 0.1, fit_intercept=False), sets, 0.0, Dataset([[1.0]], [1]))
    >>> deletions_ridge(claim, 1).bound.round(4)  # without a row at 0.8: (1 + 1 + 0.8) / (1 + 1 + 0.64 + 0.3)
    array([-0.9524])
    """
    began = time.perf_counter()
    if not claim.problem.loss.quadratic:
        raise CapabilityError("the squared loss", f"the {claim.problem.loss.name} loss", "Use certify_deletions.")
    if (claim.train.weight != 1).any():
        raise CapabilityError("rows without weights where rows are deleted", "weights", "Leave them out.")
    if check_integer(removed, "removed", at_least=0) >= claim.train.n:
        raise InputError("fewer rows to change than there are", removed)
    witness = {"removed": np.array(removed), "deleted": Deleted.of(claim, removed).worst}
    return Certificate.proved("ridge-deletions", claim, recompute_deletions(claim, witness), witness, began)


def deletions_withstood(claim: Claim, most: int) -> NDArray[np.intp]:
    """For each row of the claim the greatest number of lost rows, up to `most`, that provably leave its label.

    Parameters
    ----------
    claim : Claim
        Under mean scaling one regulariser after another is gone through, each once.
    most : int

    Returns
    -------
    ndarray of int, shape (rows,)
        -1 where not even the model of all rows is proved to predict it.
    """
    found = np.full(claim.demand_rows().n, -1)
    open_ = np.arange(len(found))
    for count in range(min(most, claim.train.n - 1) + 1):
        open_ = open_[_one(claim.about(claim.demand_rows().take(open_)), count) < 0]
        if not open_.size:
            break
        found[open_] = count
    return found


def _words(claim: Claim, witness: Witness) -> tuple[str, ...]:
    removed = int(np.ceil(np.ravel(witness["removed"])[0]))
    return (*claim.changed_assumptions(removed, flips=False), ROW_BY_ROW)


@check("ridge-deletions", scores=True, words=_words)
def recompute_deletions(claim: Claim, witness: Witness) -> Array:
    """The bound itself, in closed form: of the witness only ``removed`` counts."""
    removed = np.ravel(witness.get("removed", np.inf))
    plain = bool((claim.train.weight == 1).all())
    if removed.size != 1 or not plain or not 0 <= removed[0] < claim.train.n:
        return np.full(claim.demand_rows().n, np.inf)
    count = int(np.ceil(removed[0]))
    counts = range(count + 1) if claim.problem.scaling == "mean" else (count,)
    return np.asarray(np.max([_one(claim, j) for j in counts], axis=0))


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what is not finite proves nothing
def _one(claim: Claim, count: int) -> Array:
    """The bound at one regulariser: under mean scaling that of exactly `count` lost rows."""
    bound = Deleted.of(claim, count).bound()
    return np.where(np.isfinite(bound), bound, np.inf)


def top(values: Array, count: int) -> Array:
    """No less than the sum of the `count` greatest positive entries of the last axis."""
    values, count = np.maximum(values, 0.0), min(count, values.shape[-1])
    if count <= 0:
        return np.zeros(values.shape[:-1])
    return np.asarray(np.partition(values, -count, axis=-1)[..., -count:].sum(axis=-1)) * (1 + gamma(count + 8))


@dataclass(frozen=True, eq=False)
class Deleted:
    """All rows, at the regulariser of the rows that are left.

    Parameters
    ----------
    claim : Claim
    count : int
        Rows lost at most.
    system : RidgeSystem
        Of a claim without poison, with the regulariser ``reg`` of the module's proof.
    """

    claim: Claim
    count: int
    system: RidgeSystem

    @classmethod
    def of(cls, claim: Claim, count: int) -> Deleted:
        """With `count` rows lost, or under sum scaling up to so many."""
        problem, reg = claim.problem, claim.reg
        if problem.scaling == "mean":
            reg = problem.reg * (1 + claim.epsilon - count / claim.train.n)
        pinned = replace(problem, reg=reg, scaling="mean", n_reference=None)
        return cls(claim, count, RidgeSystem.of(replace(claim, problem=pinned, epsilon=0.0)))

    @cached_property
    def E(self) -> Array:
        """The rows, dense."""
        return self.system.rows.dense

    @cached_property
    def _near(self) -> tuple[Array, float]:
        """``q_i`` of each row, shape (n, D), and no less than the error of ``G_ij`` as ``x_i'q_j / n``."""
        system, n = self.system, len(self.E)
        Q, left = system.row_responses()
        rounded = gamma(self.E.shape[1] + 8) * self._lengths.max() * np.linalg.norm(Q * system.scale, axis=1)
        return Q, float(np.max(np.sqrt(n) * left + rounded)) / n * (1 + gamma(64))

    @cached_property
    def _lengths(self) -> Array:
        return self.system.rows.lengths(self.system.scale)

    @cached_property
    def pairs(self) -> Array | None:
        """``G_ij`` off the diagonal, shape (n, n); None for more rows than `PAIRS`."""
        if len(self.E) > PAIRS or self.count < 2:
            return None
        G = self.E @ self._near[0].T / len(self.E)
        np.fill_diagonal(G, 0.0)
        return np.asarray(G)

    @cached_property
    def leverage(self) -> Array:
        """``h_i``, shape (n,), with the error of `_near`."""
        return np.asarray(np.maximum(np.einsum("ij,ij->i", self.E, self._near[0]) / len(self.E), 0.0))

    @cached_property
    def mu(self) -> float:
        """No less than the greatest eigenvalue of ``G_SS`` for any S."""
        # G_SS is a Gram matrix: its trace, and by interlacing the greatest eigenvalue of G, bound its own. By
        # Gershgorin so does the greatest row sum, of h_i and at most count - 1 entries beside it.
        error = self._near[1]
        least = min(float(top(self.leverage + error, self.count)), self._largest)
        if self.pairs is not None:
            circles = self.leverage + top(np.abs(self.pairs), self.count - 1) + self.count * error
            least = min(least, float(circles.max()) * (1 + gamma(8)))
        return least

    @property
    def _largest(self) -> float:
        """No less than the greatest eigenvalue of all of G: ``1 - reg / |H|``, where all is penalised."""
        # G has the eigenvalues of A^-1/2 X'X A^-1/2, and X'X / n = H - reg P: they are 1 - x'(reg P)x / x'Hx. A factor
        # of t I - H that runs through proves |H| <= t up to the rounding of H and of the factorisation.
        system, n = self.system, len(self.E)
        D, t = len(system.H), float(np.linalg.norm(system.H, 2)) * (1 + 1e-9)
        try:
            np.linalg.cholesky(t * np.eye(D) - system.H)
        except np.linalg.LinAlgError:
            return np.inf
        size = t + (gamma(2 * n + 32) + gamma(2 * D + 8)) * (float(np.trace(system.H)) + D * t)
        return 1 - float(system.penalty.min()) / size * (1 - gamma(64)) + gamma(8)

    @cached_property
    def residuals(self) -> tuple[Array, float]:
        """``r_i``, shape (n,), and no less than the error of any."""
        system, (p, delta) = self.system, self.system._anchor
        r = system.rows.y - system.rows.scores(p[:, None])[:, 0]
        rounded = gamma(len(p) + 8) * self._lengths.max() * float(np.linalg.norm(p * system.scale))
        away = float(system.dual_norm(delta.most)[0])
        return r, (np.sqrt(len(r)) * away + rounded + 4 * UNIT * (1 + float(np.abs(r).max()))) * (1 + gamma(64))

    @cached_property
    def intervals(self) -> tuple[Array, Array]:
        """No more and no less than ``p_i`` for any S with row i in it, by (3) and rounds of (2)."""
        r, error = self.residuals
        if not self.mu < 1:
            return np.full(len(r), -np.inf), np.full(len(r), np.inf)
        # (3) holds for each p_i of any S. From then on: whichever intervals hold of all p_j, (2) makes others of them,
        # which hold too, and so do the intersections. Where to stop is free.
        start = np.sqrt(top((np.abs(r) + error) ** 2, self.count)) / (1 - self.mu) * (1 + gamma(64))
        low, high = np.full(len(r), -start), np.full(len(r), start)
        off = self._near[1]
        for _ in range(_ROUNDS if self.count > 1 else 1):
            most = np.maximum(np.abs(low), np.abs(high)).max()
            slack = error + (self.count - 1) * off * most * (1 + gamma(8)) if self.count > 1 else error
            up, down = self._pulls(low, high)
            above = np.minimum(high, self._undone(r + up + slack))
            below = np.maximum(low, -self._undone(down + slack - r))
            moved = max(float((high - above).max()), float((below - low).max()))
            low, high = below, above
            if not moved > _SETTLED * start:
                break
        return low, high

    def _undone(self, total: Array) -> Array:
        """No less than ``total / (1 - h_i)``."""
        # 1 - h_i lies between `least` and `most`, and is positive for (2) to say anything: the quotient of a positive
        # total is greatest at the former, that of a negative one at the latter
        rounded, error = gamma(64) * (1 + np.abs(total)), self._near[1] + gamma(8)
        least, most = 1 - self.leverage - error, 1 - self.leverage + error
        found = np.where(total >= 0, total / least, total / most) + rounded / least
        return np.where(least > 0, found, np.inf)

    def _pulls(self, low: Array, high: Array) -> tuple[Array, Array]:
        """No less than ``sum_j G_ij p_j`` over the others of any S, and than the negative of it, shapes (n,)."""
        if self.count < 2:
            return np.zeros(len(low)), np.zeros(len(low))
        if self.pairs is not None:
            a, b = self.pairs * low, self.pairs * high
            return top(np.maximum(a, b), self.count - 1), top(-np.minimum(a, b), self.count - 1)
        reach = np.sqrt(self.leverage + self._near[1])
        pull = reach * top(np.maximum(np.abs(low), np.abs(high)) * reach, self.count - 1) * (1 + gamma(8))
        return pull, pull

    @cached_property
    def terms(self) -> Array:
        """No less than ``-c'A^-1 x_i p_i`` for each row of the claim and each i, shape (rows, n)."""
        about, n, (low, high) = self.system.about, len(self.E), self.intervals
        kappa = about.responses @ self.E.T / n
        long = np.linalg.norm(about.responses * self.system.scale, axis=1)
        error = (np.sqrt(n) * about.left + gamma(self.E.shape[1] + 8) * long * self._lengths.max()) / n * (1 + gamma(8))
        most = np.maximum(np.abs(low), np.abs(high))
        return np.asarray(np.maximum(-kappa * low, -kappa * high) + (error[:, None] + gamma(4) * np.abs(kappa)) * most)

    @property
    def worst(self) -> NDArray[np.intp]:
        """The rows that count the most, -1 for those that do not."""
        with np.errstate(all="ignore"):
            terms = np.nan_to_num(self.terms)
        order = np.argsort(-terms, axis=1, kind="stable")[:, : self.count]
        return np.where(np.take_along_axis(terms, order, axis=1) > 0, order, -1)

    def bound(self) -> Array:
        """No less than ``c'v^`` for each row of the claim."""
        high = self.system.about.high
        gained = top(self.terms, self.count)
        lost = high + gained + 8 * UNIT * (np.abs(high) + gained)
        return self._poisoned(lost) if self.claim.epsilon else lost

    def _poisoned(self, lost: Array) -> Array:
        """(4) with the model of all rows as the comparator."""
        # A_S = A - X_S'X_S >= (1 - mu) A, as A^-1/2 X_S'X_S A^-1/2 has the eigenvalues of G_SS: |c| in A_S^-1 is at
        # most |c| / sqrt(1 - mu), and so is |v - v_S| in A_S, since A_S (v - v_S) = sum_S r_i x_i. |w - v| only shrinks
        # in A_S.
        system, epsilon, n = self.system, self.claim.epsilon * (1 + 8 * UNIT), len(self.E)
        w, left = system.clean[None], 1 - self.mu - gamma(8)
        if not left > 0:
            return np.full(len(lost), np.inf)
        away, clean = (float(part[0]) for part in _distance(system, w))
        worst = float(worst_residuals(system, w)[0])
        if self.claim.problem.scaling == "mean":
            worst = max(worst, clean * np.sqrt(n / (n - self.count)) * (1 + gamma(8)))
        moved = away + self._moved / np.sqrt(n * left)
        spread = system.about.size / np.sqrt(left) * np.sqrt(moved**2 + epsilon * worst**2) * (1 + gamma(64))
        after, size = system.directions @ w[0], np.abs(system.directions) @ np.abs(w[0])
        return (lost + after + spread) / 2 + gamma(w.size + 8) * (np.abs(lost) + size + spread)

    @cached_property
    def _moved(self) -> float:
        """No less than ``|sum_S r_i x_i|_{A^-1}``."""
        # its square is r_S'G_SS r_S <= mu |r_S|^2; and a sum of vectors is no longer than their lengths |r_i| sqrt(h_i)
        r, error = self.residuals
        r = np.abs(r) + error
        by_row = top(r * np.sqrt(self.leverage + self._near[1]), self.count)
        return float(min(by_row, np.sqrt(self.mu * top(r**2, self.count)))) * (1 + gamma(8))
