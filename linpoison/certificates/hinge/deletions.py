"""Certificates of the SVM against deleted rows and flipped labels, with or without inserted rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from ...core.errors import InputError, LinpoisonError
from ...core.validation import Array, check_integer
from ...learners import make_learner
from ..certificate import Certificate, Words, check
from ..claim import Claim
from .dual import Multipliers, dual_bound, stack, unstack
from .frame import Frame, frame
from .margins import point_of, replay, tighten
from .program import CaseProgram, Relaxed, reference_multipliers

ATTAINED = 1e-5
"""Gap below which an attack counts as attaining a bound."""


def certify_deletions(claim: Claim, removed: int, *, rounds: int = 3) -> Certificate:
    """The greatest negative margin after any `removed` clean rows are deleted and poison is inserted.

    ::

        max { -k (z, 1) . v :  v minimises  reg/2 <v, P v> + (1/n) sum_i c_i s_i phi(y_i (x_i, 1) . v)
                                            + integral phi(y (x, 1) . v) d nu(x, y),
              mass of nu <= epsilon,  0 <= s <= 1,  sum_i c_i (1 - s_i) <= removed }

    for the hinge loss, bounded by the outer set with weights: multipliers ``a_i <= s_i``, and ``s_i phi(m_i)`` by
    its envelope over ``0 <= s_i <= 1`` and the bounds on the margin ``m_i``. With ``epsilon`` of the claim
    positive this covers a filter that is fitted again on clean rows and poison: it removes up to
    `removed` clean rows, and of the poison it keeps what lies in the sets.

    Under mean scaling the learner averages over the rows that are left, so that ``reg`` stands for
    ``(1 + epsilon - j/n) reg`` with ``j`` rows removed; the bound is the greatest over ``j = 0 .. removed``.

    Parameters
    ----------
    claim : Claim
        With the hinge loss, few rows, and bounded sets if epsilon is positive. A budget of 0 allows
        deletions alone.
    removed : int
        Clean rows, counted with their copies, that lose their weight at most.
    rounds : int, default 3
        How often all margins are bounded by the relaxation itself before the rows of the claim are; each round
        costs two programs for each clean row, and tightens the envelope.

    Returns
    -------
    Certificate
        Of kind "score". Its witness holds `removed`, which is part of the statement. In ``info``: ``attack``, the
        value of retrained deletions and poison that the relaxation suggests.

    Raises
    ------
    CapabilityError
        If the loss is not the hinge.
    InputError
        If `removed` is not a whole number, or copies are not whole under mean scaling.

    References
    ----------
    McCormick, "Computability of global solutions to factorable nonconvex programs", Mathematical Programming 10
    (1976): the envelope of a product.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Hinge, Problem
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[1.0], [1.2], [0.9], [-1.0], [-1.1], [-0.8]], [1, 1, 1, -1, -1, -1])
    >>> sets = ByLabel({1: Ball([1.0], 0.3), -1: Ball([-1.0], 0.3)})
    >>> claim = Claim(train, Problem(Hinge(), 0.1), sets, 0.0, Dataset([[0.7]], [1]))
    >>> bool(certify_deletions(claim, 1).bound[0] < 0)
    True
    """
    return _certify(claim, removed, rounds, flips=False)


def certify_flips(claim: Claim, flipped: int, *, rounds: int = 3) -> Certificate:
    """The greatest negative margin after any `flipped` labels of clean rows are changed and poison is inserted.

    As `certify_deletions`, where the weight ``1 - s_i`` that a row loses goes to the same row with the
    other label, with a multiplier of its own, at most ``1 - s_i``.

    Parameters
    ----------
    claim : Claim
    flipped : int
        Labels, counted with the copies of their rows, that change at most.
    rounds : int, default 3

    Returns
    -------
    Certificate
        Of kind "score"; its witness holds `flipped` as ``removed``.

    Raises
    ------
    CapabilityError
        If the loss is not the hinge.
    InputError
        If `flipped` is not a whole number.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Hinge, Problem
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[1.0], [1.2], [0.9]] * 3 + [[-1.0], [-1.1], [-0.8]] * 3, [1] * 9 + [-1] * 9)
    >>> sets = ByLabel({1: Ball([1.0], 0.3), -1: Ball([-1.0], 0.3)})
    >>> claim = Claim(train, Problem(Hinge(), 0.1), sets, 0.0, Dataset([[0.7]], [1]))
    >>> bool(certify_flips(claim, 1).bound[0] < 0)
    True
    """
    return _certify(claim, flipped, rounds, flips=True)


def _assumptions(claim: Claim, removed: int, flips: bool) -> tuple[str, ...]:
    spend = (
        ()
        if flips or not claim.epsilon
        else ("if a filter is fitted again, the poison that it keeps lies in the sets",)
    )
    return (*claim.changed_assumptions(removed, flips), *spend)


def _words(flips: bool) -> Words:
    """What a witness means by ``removed``, in words."""
    return lambda claim, witness: _assumptions(claim, int(np.ceil(np.ravel(witness["removed"])[0])), flips)


@check("deletions", scores=True, words=_words(flips=False))
def recompute_deletions(claim: Claim, witness: Mapping[str, Array]) -> Array:
    """The bound that multipliers prove for deletions: the greatest over the numbers of removed rows.

    Parameters
    ----------
    claim : Claim
    witness : mapping
        ``removed``; for each number of removed rows ``a0`` (n,); and the multipliers of `dual_bound`: for each number,
        for each round two for each clean row, then one for each row of the claim.
    """
    return _recompute(claim, witness, flips=False)


@check("flips", scores=True, words=_words(flips=True))
def recompute_flips(claim: Claim, witness: Mapping[str, Array]) -> Array:
    """The bound that multipliers prove for flipped labels; arguments as `recompute_deletions`."""
    return _recompute(claim, witness, flips=True)


def _certify(claim: Claim, removed: int, rounds: int, *, flips: bool) -> Certificate:
    start = time.perf_counter()
    check_integer(removed, "flipped" if flips else "removed", at_least=0)
    check_integer(rounds, "rounds", at_least=0)
    if removed >= claim.mass:
        raise InputError("fewer rows to change than there are", removed)
    variants = _variants(claim, removed, flips)
    a0, points, attacks = [], [], []
    for reg, changed in variants:
        a0.append(reference_multipliers(frame(claim, None, reg=reg)))
        bare = frame(claim, a0[-1], reg=reg, changed=changed, flips=flips)
        found, value = _solve(bare, rounds, flips)
        points += found
        attacks.append(value)
    witness = {"removed": np.array(removed), "a0": np.array(a0), **stack(points)}
    bound = _recompute(claim, witness, flips=flips)
    attack = np.max(attacks, axis=0)
    name, info = "flips" if flips else "deletions", {"attack": attack, "removed": removed, "rounds": rounds}
    return Certificate.proved(name, claim, bound, witness, start, exact=bound - attack <= ATTAINED, info=info)


def _variants(claim: Claim, removed: int, flips: bool) -> list[tuple[float, float]]:
    """Regulariser and share of changed rows of each case."""
    n = claim.mass
    if flips or claim.problem.scaling == "sum":
        return [(claim.reg, min(removed / n, 1.0))]
    _whole(claim)
    return [(claim.problem.reg * (1 + claim.epsilon - j / n), j / n) for j in range(removed + 1)]


def _whole(claim: Claim) -> None:
    if (claim.train.weight != np.round(claim.train.weight)).any():
        raise InputError(
            "whole copies of the clean rows", "fractional weights", "Use the scaling 'sum', or whole ones."
        )


def _solve(bare: Frame, rounds: int, flips: bool) -> tuple[list[Multipliers], Array]:
    """Multipliers of the rounds and of the rows of the claim, and the values of attacks."""
    program = CaseProgram(bare, floored=False)
    bare, points = tighten(bare, program, rounds)
    values = []
    for aim in bare.aims():
        relaxed = program.solve(aim, bare.states())
        points.append(point_of(bare, relaxed))
        values.append(-inf if relaxed is None else _attack(bare, aim, relaxed, flips))
    return points, np.array(values)


def _recompute(claim: Claim, witness: Mapping[str, Array], *, flips: bool) -> Array:
    n, width, m = claim.train.n, claim.train.d + 1, claim.demand_rows().n
    removed = np.ravel(witness.get("removed", inf))
    if removed.size != 1 or not 0 <= removed[0] < claim.mass:
        return np.full(m, inf)
    variants = _variants(claim, int(np.ceil(removed[0])), flips)
    points = unstack(witness, (4, 2 if flips else 1, n, width)) or []
    a0 = np.asarray(witness.get("a0", ()), dtype=np.float64)
    each = len(points) // len(variants)
    usable = a0.shape == (len(variants), n) and len(points) == each * len(variants) and each % (2 * n) == m % (2 * n)
    bounds = np.full(m, -inf)
    for j, (reg, changed) in enumerate(variants):
        bare = frame(claim, a0[j] if usable else None, reg=reg, changed=changed, flips=flips)
        bounds = np.maximum(bounds, _bounds(bare, points[j * each : (j + 1) * each] if usable else []))
    return bounds


def _bounds(bare: Frame, points: list[Multipliers]) -> Array:
    """Bounds of one case: by its multipliers, if they are enough, or by the ball."""
    aims = bare.aims()
    bounds = np.array([bare.direct(aim) for aim in aims])
    m = len(aims)
    if len(points) < m:
        return bounds
    bare = replay(bare, points[:-m])
    rows = bare.states()
    return np.minimum(
        bounds, [dual_bound(bare, rows, point, aim) for point, aim in zip(points[-m:], aims, strict=True)]
    )


def _attack(bare: Frame, aim: Array, relaxed: Relaxed, flips: bool) -> float:
    """Retrain with the rows changed that the relaxation changes the most, and its poison at full mass."""
    claim, data = bare.claim, bare.claim.train
    if (data.weight != 1).any() or (claim.epsilon and not relaxed.poison):
        return -inf
    count = round(bare.changed * claim.mass)
    kept = np.ones(data.n) if relaxed.kept is None else relaxed.kept
    changed = np.argsort(kept, kind="stable")[:count]
    sign = np.ones(data.n)
    sign[changed] = -1.0
    left = replace(data, y=data.y * sign) if flips else data.take(sign > 0)
    try:
        model = make_learner(claim.problem).fit(left.mix(_planted(bare, relaxed)) if claim.epsilon else left)
    except LinpoisonError:
        return -inf
    return -float(aim @ model.vector)


def _planted(bare: Frame, relaxed: Relaxed) -> Any:
    claim = bare.claim
    total = sum(mass for mass, _ in relaxed.poison.values())
    X = np.vstack([claim.sets[label].project((u / w)[None]) for label, (w, u) in relaxed.poison.items()])
    mass = np.array([w for w, _ in relaxed.poison.values()]) * (claim.epsilon / total * claim.mass)
    return replace(
        claim.train,
        X=X,
        y=np.array([float(label) for label in relaxed.poison]),
        weight=mass,
        name="poison",
        row_numbers=None,
    )
