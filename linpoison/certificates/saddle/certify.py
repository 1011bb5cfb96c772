"""How great the average loss of the clean rows can become, whatever is inserted."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ...core.validation import Array, check_integer, check_number
from ...losses import MarginLoss
from ..certificate import Certificate, Witness, check
from ..claim import Claim
from ..clean.anchor import anchor
from ..clean.rows import PAD, lengths, signed_scores
from ..clean.screen import screen
from ..rounding import gamma
from .solver import Curve, Piece, SaddleTask, find_comparator, nearest

AVERAGE = "average-loss"
OBJECTIVE = "average-objective"


def certify_average_loss(claim: Claim, *, plain: bool = True, tol: float = 1e-3, rounds: int = 100) -> Certificate:
    """Bound the mean loss of the clean training rows under every model that the poison can bring about.

    With ``L(v) = (1/n) sum_i c_i phi(m_i(v))``, ``v = (theta, b)`` and ``lam = claim.reg``, every minimiser ``v*``
    of the learner's objective with poison of mass at most ``epsilon`` in the sets satisfies, for **every** ``v``,

    ::

        L(v*)                      <=  L(v) + lam/4 <v, P v> + epsilon max_{y, x in F_y} G(-m)        (plain)
        L(v*) + lam0/2 <v*, P v*>  <=  L(v) + lam/2 <v, P v> + epsilon max_{y, x in F_y} phi(m)       (objective)

    where ``m = y (theta . x + b)``, ``lam0`` is the regulariser per clean row without poison, and
    ``G(r) = sup_t psi(t) (t + r) <= phi(-r)``: ``(1 + r)_+`` for the hinge, ``(1 + r)_+^2 / 4`` for its square,
    ``W(exp(r - 1))`` for the logistic loss, ``(1 + r)^2 / 4`` for the squared loss. The witness is ``v``.

    Proof of the first line. Convexity and stationarity give
    ``L(v*) - L(v) <= <grad L(v*), v* - v> = -lam <P v*, v* - v> + int psi(m*) (m* - m) d nu``. The first term is at
    most ``lam/4 <v, P v>`` (its maximum over ``v*``, at ``v / 2``), the integrand at most ``G(-m)``. Where all that is
    learned is penalised and the loss has slopes of at most 1, ``v*`` is known to lie in a ball around the clean model,
    and the maximum over that ball takes the place of ``lam/4 <v, v>``: without poison the bound is then the clean loss
    itself. The ball follows from multipliers ``a`` of the clean rows, whatever they are (`clean.screen.screen`), which
    then are part of the witness. The second line
    is optimality with ``phi >= 0``: the bound of Steinhardt et al. with the regulariser in place of a ball. Both right
    sides grow with the mass, under either scaling, so that less poison than the budget allows does no more.

    The bound speaks of the *training* rows that are given. That it also holds for the mean loss of test rows is a
    statistical statement which is not proved here.

    Parameters
    ----------
    claim : Claim
        Its `rows` are not used.
    plain : bool, default True
        Bound the loss alone, by the sharper first line; else loss and regulariser together, by the second.
    tol : float, default 1e-3
        Relative gap between the bound and the least that any ``v`` proves, at which to stop.
    rounds : int, default 100
        Rounds of the solver at most.

    Returns
    -------
    Certificate
        Of the kind "loss". Its `info` holds ``program``, the bound by the formulas above alone, without the ball;
        ``lower``, a number that no ``v`` can prove less than by them; the relative ``gap`` of the two, and the
        ``rounds`` taken. If the sets are unbounded, ``v = 0`` is what remains.

    Raises
    ------
    InfeasibleSet
        If a set is empty.

    References
    ----------
    Steinhardt, Koh, Liang: Certified defenses for data poisoning attacks (2017), sections 2 and 3.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Hinge, Problem
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[-1.0], [1.0]], [-1, 1])
    >>> sets = ByLabel({+1: Ball([1.0], 1.5), -1: Ball([-1.0], 1.5)})
    >>> certificate = certify_average_loss(Claim(train, Problem(Hinge(), 0.1), sets, 0.1))
    >>> round(certificate.bound, 5), round(certificate.verify(), 5)
    (0.1775, 0.1775)
    """
    check_number(tol, "tol", above=0)
    check_integer(rounds, "rounds", at_least=1)
    began = time.perf_counter()
    found = find_comparator(_task(claim, plain), partial(_value, claim, plain, None), tol=tol, rounds=rounds)
    witness = {"v": found.v}
    if plain and _has_ball(claim):
        witness = _within(claim, found.v, tol, rounds)
    name = AVERAGE if plain else OBJECTIVE
    bound = (recompute_average_loss if plain else recompute_average_objective)(claim, witness)
    gap = max(found.value - found.lower, 0.0) / abs(found.value) if np.isfinite(found.value) and found.value else 0.0
    info = {"gap": float(gap), "lower": float(found.lower), "program": float(found.value), "rounds": found.rounds}
    return Certificate.proved(name, claim, bound, witness, began, exact=False, info=info)


@check(AVERAGE, kind="loss", words=lambda claim, _: _words(claim, True))
def recompute_average_loss(claim: Claim, witness: Witness) -> float:
    """The bound on the mean clean loss that a comparator ``witness["v"]`` proves, or zero if that proves more.

    With multipliers ``witness["a"]`` of the clean rows the ball that they prove is used.
    """
    return _of_witness(claim, witness, True)


@check(OBJECTIVE, kind="loss", words=lambda claim, _: _words(claim, False))
def recompute_average_objective(claim: Claim, witness: Witness) -> float:
    """The bound on the mean clean loss plus regulariser that a comparator ``witness["v"]`` proves."""
    return _of_witness(claim, witness, False)


def _words(claim: Claim, plain: bool) -> tuple[str, ...]:
    what = "the loss alone" if plain else "the loss and the regulariser of a clean learner, added up"
    return (*claim.assumptions(), f"it bounds the mean over the clean training rows of {what}, not that of test rows")


def average_value(claim: Claim, v: Any, *, plain: bool = True) -> float:
    """What the certificate bounds, at the model ``v = (theta, b)`` itself."""
    vector = np.asarray(v, dtype=np.float64)
    value = float(claim.share @ claim.problem.loss.value(signed_scores(claim, vector)))
    return value if plain else value + 0.5 * claim.at(0.0).reg * float(claim.mask @ vector**2)


def _of_witness(claim: Claim, witness: Witness, plain: bool) -> float:
    zero = np.zeros(claim.train.d + 1)
    v = np.asarray(witness.get("v", np.empty(0)), dtype=np.float64)
    least = _value(claim, plain, None, zero)
    if v.shape != zero.shape or not np.isfinite(v).all():
        return least
    a = witness.get("a") if plain and _has_ball(claim) else None
    return min(least, _value(claim, plain, a, v))


def _value(claim: Claim, plain: bool, a: Any, v: Array) -> float:
    """The right side at v, rounded up."""
    if not claim.problem.fit_intercept:
        v = np.append(v[:-1], 0.0)
    clean = _clean(claim, v)
    ball = None if a is None else _ball(claim, a)
    whole = 0.5 * _strength(claim, plain) * float(claim.mask @ v**2)
    penalty = whole if ball is None else min(whole, _inside(claim, v, *ball))
    worst = _worst(claim, plain, v) if claim.epsilon > 0 else 0.0
    total = clean + penalty + claim.epsilon * worst
    return total + PAD * abs(total) if np.isfinite(total) else float("inf")


def _clean(claim: Claim, v: Array) -> float:
    """No less than the mean clean loss at v: a convex loss is greatest at an end of where rounding leaves a margin."""
    loss, margins = claim.problem.loss, signed_scores(claim, v)
    blur = gamma(claim.train.d + 4) * float(np.linalg.norm(v)) * lengths(claim.train.X, 1.0)
    values = np.maximum(loss.value(margins - blur), loss.value(margins + blur))
    return float(claim.share @ values) * (1 + gamma(claim.train.n + 64))


def _within(claim: Claim, v: Array, tol: float, rounds: int) -> dict[str, Array]:
    """Multipliers of the clean rows, and a comparator that makes the best of the ball that they prove."""
    a = anchor(claim)
    ball = _ball(claim, a)
    if ball is None:
        return {"v": v}
    value = partial(_value, claim, True, a)
    start = min((v, ball[0]), key=value)
    task = replace(_task(claim, True), ball=ball)
    return {"v": find_comparator(task, value, tol=tol, rounds=rounds, start=start).v, "a": a}


def _has_ball(claim: Claim) -> bool:
    return claim.strongly_convex and claim.problem.loss.soft_hinge is not None


def _ball(claim: Claim, a: Any) -> tuple[Array, float] | None:
    """Center and radius of a ball that holds every reachable model, also with less poison than the budget allows.

    With mass ``e`` and its regulariser ``lam_e``, ``lam_e t^2 <= gap + t (e R + (lam - lam_e) |center|)`` for the
    distance ``t``; the greatest ratio of pull to ``lam_e`` is at one of the ends.
    """
    # The center is (1 / (lam n)) sum c_i a_i y_i x_i: with lam_e in its place it is an optimum but for (lam - lam_e)
    # center, which pulls besides the poison. The cap of `screen` with both pulls, in the direction of v - center: lam_e
    # t^2 <= gap + t pull gives t <= pull / lam_e + sqrt(gap / lam_e). (e R + (lam - lam_e) |center|) / lam_e is
    # monotone in e, as lam_e is linear in it.
    found, least = screen(claim, a), claim.at(0.0).reg
    far = claim.epsilon * max(found.reach.values()) / claim.reg if claim.epsilon else 0.0
    still = (claim.reg / least - 1) * float(np.linalg.norm(found.center))
    radius = (max(far, still) + found.slack * math.sqrt(claim.reg / least)) * (1 + PAD)
    return (found.center, radius) if math.isfinite(radius) else None


def _inside(claim: Claim, v: Array, center: Array, radius: float) -> float:
    """``max lam <u, v - u>`` over the ball, for whichever ``lam`` a smaller mass goes with."""
    # <u, v - u> = |v|^2 / 4 - |u - v / 2|^2: greatest at the point of the ball nearest to v / 2. A smaller mass goes
    # with a smaller lam, which helps the learner where the maximum is negative
    u = nearest(v / 2, center, radius)
    value = float(u @ (v - u)) + PAD * float(u @ u + abs(u @ v))
    return value * (claim.reg if value > 0 else claim.at(0.0).reg)


def _worst(claim: Claim, plain: bool, v: Array) -> float:
    """``max_{y, x in F_y}`` of the loss of a row, or of the ``G`` in its place."""
    worst = 0.0
    for piece in _pieces(claim.problem.loss, plain):
        w = -piece.side * piece.label * v
        reach = claim.sets[int(piece.label)].support_bound(w[:-1]) + w[-1]
        if not np.isfinite(reach):
            return float("inf")
        worst = max(worst, float(piece.curve(np.array(reach + PAD * (abs(reach) + 2 * abs(w[-1]))))[0]))
    return worst


def _task(claim: Claim, plain: bool) -> SaddleTask:
    return SaddleTask(
        claim.train,
        claim.problem.loss,
        claim.sets,
        claim.epsilon,
        _strength(claim, plain) * claim.mask,
        claim.problem.fit_intercept,
        _pieces(claim.problem.loss, plain),
    )


def _strength(claim: Claim, plain: bool) -> float:
    return claim.reg / 2 if plain else claim.reg


def _pieces(loss: MarginLoss, plain: bool) -> tuple[Piece, ...]:
    """Rows of either class with the least margin and, for a loss that grows again, with the greatest."""
    curve = loss.worst_pull if plain else loss.worst_loss
    return tuple(Piece(label, side, partial(_bend, curve, loss, side)) for label in (1.0, -1.0) for side in loss.sides)


def _bend(curve: Curve, loss: MarginLoss, side: float, t: Array) -> tuple[Array, Array]:
    """A curve of the decreasing branch at the row of a piece, whose margin is ``-side t``."""
    return curve(-loss.on_branch(side, -side * t))
