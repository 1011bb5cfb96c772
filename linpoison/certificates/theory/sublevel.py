"""Scores over sublevel sets of the clean objective, which were known before the outer set: what it is compared with."""

from __future__ import annotations

import time
from math import inf
from typing import Any

import numpy as np

from ...convex import solve
from ...core.errors import InfeasibleSet, SolverFailed
from ...core.validation import Array
from ..certificate import Certificate, Witness, check, claim_words
from ..claim import Claim
from ..clean.anchor import clean_vector
from ..clean.losses import soft_hinge
from ..clean.rows import LABELS, PAD, combine, extended, not_below_zero, one, signed_scores
from ..clean.screen import intercept_reach
from ..outer.bound import Total, balanced, charged, shaped
from ..saddle.certify import certify_average_loss

NAIVE, STEINHARDT, CONVEX = "naive", "steinhardt", "steinhardt-convex"


def certify_naive(claim: Claim, *, solver: str | None = None) -> Certificate:
    """Bound scores over the models whose clean objective is not much above the least one.

    ::

        p(v) = lam/2 <v, P v> + L_c(v)  <=  p(v0) + epsilon max_{y, x in F_y} phi(y (x, 1) . v0)

    for every reachable ``v``, where ``v0`` minimises ``p`` and ``L_c`` is the mean loss of the clean rows.

    Parameters
    ----------
    claim : Claim
    solver : str, optional
        See `linpoison.convex.solve`. Where no solver answers, a closed form does.

    Returns
    -------
    Certificate
        Of the kind "score". Raises what `certify_ball` raises.
    """
    began = time.perf_counter()
    return _sublevel(NAIVE, claim, clean_vector(claim), solver, began)


def certify_steinhardt(claim: Claim, *, strong_convexity: bool = False, solver: str | None = None) -> Certificate:
    """Bound scores over the models whose clean objective is below the saddle value of Steinhardt et al.

    ::

        p(v) [+ lam/2 <v - t, P (v - t)>]  <=  U(t) = p(t) + epsilon max_{y, x in F_y} phi(y (x, 1) . t)

    for every reachable ``v`` and **every** ``t`` (or the mean loss of the clean rows in place of the maximum, see
    `Claim.filled`); `t` is where ``U`` is least. The brackets hold what strong
    convexity adds.

    Parameters
    ----------
    claim : Claim
    strong_convexity : bool, default False
        With the term in brackets.
    solver : str, optional
        See `linpoison.convex.solve`.

    Returns
    -------
    Certificate
        Of the kind "score". Raises what `certify_ball` raises.

    References
    ----------
    Steinhardt, Koh, Liang: Certified defenses for data poisoning attacks (2017), section 2, for ``p(v) <= U``.
    """
    began = time.perf_counter()
    name = CONVEX if strong_convexity else STEINHARDT
    soft_hinge(claim.problem.loss)
    return _sublevel(name, claim, best_comparator(claim), solver, began)


@check(NAIVE, scores=True, words=claim_words)
def recompute_naive(claim: Claim, witness: Witness) -> Array:
    """The bound that a comparator ``t`` (d + 1,) and multipliers ``s`` (N,), ``b`` (N, n) prove."""
    return _evaluate(claim, witness, False)


@check(STEINHARDT, scores=True, words=claim_words)
def recompute_steinhardt(claim: Claim, witness: Witness) -> Array:
    """The same as `recompute_naive`: there, ``t`` is a better comparator."""
    return _evaluate(claim, witness, False)


@check(CONVEX, scores=True, words=claim_words)
def recompute_steinhardt_convex(claim: Claim, witness: Witness) -> Array:
    """The bound of the same witness with strong convexity."""
    return _evaluate(claim, witness, True)


def comparator_bound(claim: Claim, t: Array) -> float:
    """``U(t)``, which no reachable ``p(v)`` exceeds; padded.

    Parameters
    ----------
    claim : Claim
    t : ndarray, shape (d + 1,)

    Returns
    -------
    float
    """
    penalty = 0.5 * claim.reg * float(claim.mask @ t**2)
    clean = float(claim.train.weight @ claim.problem.loss.value(signed_scores(claim, t))) / claim.mass
    worst = 0.0
    if claim.epsilon:
        heights = [claim.sets[y].support_bound(-y * t[:-1]) - y * float(t[-1]) * one(claim) for y in LABELS]
        worst = float(claim.problem.loss.value(np.array(-max(heights))))
        worst = max(worst, clean) if claim.filled else worst
    return (penalty + clean + claim.epsilon * worst) * (1 + PAD)


def best_comparator(claim: Claim) -> Array:
    """Where ``U`` is about least, shape (d + 1,); never worse than at the clean minimiser."""
    clean = clean_vector(claim)
    saddle = np.array(certify_average_loss(claim, plain=False).witness["v"], dtype=np.float64)
    saddle[-1] *= one(claim)
    return min((clean, saddle), key=lambda t: comparator_bound(claim, t))


def _evaluate(claim: Claim, witness: Witness, strong: bool) -> Array:
    """``sup -k (z, 1) . v`` over the sublevel set, by its dual, for each row.

    ::

        bound = s U(t) + (s/n) sum_i c_i phi*(-b_i) + |q|^2 / (2 s lam),     q = k z - (s/n) sum_i c_i b_i y_i x_i

    and with strong convexity ``s (U(t) - lam/2 |t|^2)`` and ``|q - s lam t|^2 / (4 s lam)`` in place of those.
    """
    rows = claim.demand_rows()
    d, n, lam, mask = claim.train.d, claim.train.n, claim.reg, claim.mask
    t = shaped("t", witness.get("t", np.nan), 1, d + 1)[0]
    s = shaped("s", witness.get("s", np.nan), 1, rows.n)[0].astype(np.float64)
    b = shaped("b", witness.get("b", np.nan), rows.n, n)
    zero = np.zeros(d + 1)  # a comparator that needs no witness
    t = t if np.isfinite(t).all() and comparator_bound(claim, t) <= comparator_bound(claim, zero) else zero
    fine = np.isfinite(s) & (s > 0) & np.isfinite(b).all(axis=1)
    if not fine.any():
        return np.full(rows.n, inf)
    goal = extended(claim, rows.X, rows.y)
    s, shares = np.where(fine, s, 1.0), np.where(fine[:, None], np.clip(b, 0, 1), 0.0)
    shares = balanced(claim, shares, goal[:, -1], s)
    weight = s[:, None] * claim.train.weight / claim.mass
    level = comparator_bound(claim, t) - (0.5 * lam * float(mask @ t**2) if strong else 0.0)
    q = goal - combine(claim, weight * shares) - (lam * s[:, None] * (mask * t) if strong else 0.0)
    square = (q**2 @ (mask if claim.problem.fit_intercept else np.ones(d + 1))) / ((4 if strong else 2) * s * lam)
    total = Total().plus(s * level).plus(weight * soft_hinge(claim.problem.loss).conjugate(shares)).plus(square)
    bound = total.value + PAD * total.size
    if not claim.strongly_convex:
        bound = bound + charged(q[:, -1], intercept_reach(claim))
    return np.where(fine & np.isfinite(bound), not_below_zero(goal, bound), inf)


def _sublevel(name: str, claim: Claim, t: Array, solver: str | None, began: float) -> Certificate:
    strong, rows = name == CONVEX, claim.demand_rows()
    goals, program = extended(claim, rows.X, rows.y), _Sublevel(claim, t, strong, solver)
    start = soft_hinge(claim.problem.loss).pull(signed_scores(claim, clean_vector(claim)))
    shares, s = np.tile(start, (rows.n, 1)), np.empty(rows.n)
    failed = 0
    for j, goal in enumerate(goals):
        found = program.multipliers(goal) if np.isfinite(program.level) else None
        failed += found is None
        s[j], shares[j] = found or (program.closed(goal, start), start)
    witness = {"t": t, "s": s, "b": shares}
    bound = _evaluate(claim, witness, strong)
    info = {"failed": failed, "level": comparator_bound(claim, t)}
    return Certificate.proved(name, claim, bound, witness, began, info=info)


class _Sublevel:
    """``max -k (z, 1) . v`` over the sublevel set, for one row after the other."""

    def __init__(self, claim: Claim, t: Array, strong: bool, solver: str | None) -> None:
        import cvxpy as cp

        self.claim, self.t, self.strong, self.solver = claim, t, strong, solver
        self.goal, self.v = cp.Parameter(claim.train.d + 1), cp.Variable(claim.train.d + 1)
        self.level = comparator_bound(claim, t)
        penalised = cp.multiply(claim.mask, self.v)
        penalty = 0.5 * claim.reg * cp.sum_squares(penalised)
        if strong:
            penalty += 0.5 * claim.reg * cp.sum_squares(penalised - claim.mask * t)
        data = claim.train
        margins = cp.multiply(data.y, data.X @ self.v[:-1] + self.v[-1])
        share = claim.share
        rules: list[Any] = [] if one(claim) else [self.v[-1] == 0]
        self.losses: Any = None
        if soft_hinge(claim.problem.loss).sharp:
            xi = cp.Variable(data.n)
            self.losses = xi >= 1 - margins
            rules += [self.losses, xi >= 0]
            clean = share @ xi
        else:
            clean = share @ claim.problem.loss.expression(margins)
        self.rule = penalty + clean <= self.level
        self.program = cp.Problem(cp.Minimize(self.goal @ self.v), [self.rule, *rules])

    def multipliers(self, goal: Array) -> tuple[float, Array] | None:
        """``s`` and ``b``, None if no solver answers."""
        self.goal.value = goal
        try:
            solve(self.program, solver=self.solver, tol=1e-3)
        except (SolverFailed, InfeasibleSet):
            return None
        s = float(np.asarray(self.rule.dual_value).item())
        if not s > 0:
            return None
        if self.losses is None:
            return s, soft_hinge(self.claim.problem.loss).pull(signed_scores(self.claim, np.asarray(self.v.value)))
        beta = np.asarray(self.losses.dual_value, dtype=np.float64)
        return s, np.clip(beta / (s * self.claim.train.weight / self.claim.mass), 0, 1)

    def closed(self, goal: Array, b: Array) -> float:
        """The best ``s`` for given shares: ``bound = s K + |q|^2 / (c s lam)`` has a closed minimum."""
        claim, factor = self.claim, 4 if self.strong else 2
        share = claim.share
        pulled = combine(claim, share * b) + (claim.reg * claim.mask * self.t if self.strong else 0.0)
        level = self.level - (0.5 * claim.reg * float(claim.mask @ self.t**2) if self.strong else 0.0)
        level += float(share @ soft_hinge(claim.problem.loss).conjugate(b))
        level += float(claim.mask @ pulled**2) / (factor * claim.reg)
        length = float(np.sqrt(goal**2 @ claim.mask)) if claim.problem.fit_intercept else float(np.linalg.norm(goal))
        return length / np.sqrt(factor * claim.reg * max(level, 1e-15))
