"""Logistic regression and the smooth hinge when any few training rows are deleted or relabelled: no solver enters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.errors import CapabilityError, InputError
from ...core.validation import Array, check_integer
from ...learners import make_learner
from ..certificate import Certificate, Witness, Words, check
from ..claim import ROW_BY_ROW, Claim
from ..rounding import gamma
from .expansion import Expansion

_ROUNDS = 40
_ROOM = 0.02
"""Share of their width by which intervals are widened before it is asked whether they map into themselves."""
_WIDE = 1e3
"""Width beyond which the search is given up: a margin of that size says nothing."""


class Proof(NamedTuple):
    """A vector near the minimiser of all rows, shape (D,), and intervals that map into themselves, shapes (n,)."""

    v: Array
    low: Array
    high: Array


def deletions_smooth(claim: Claim, removed: int) -> Certificate:
    """The greatest negative margin of each row after any `removed` clean rows are deleted and poison is inserted.

    ::

        max { -k (z, 1) . v :  v minimises  reg/2 <v, P v> + (1/n) sum_{i not in S} phi(y_i (x_i, 1) . v)
                                            + integral phi(y (x, 1) . v) d nu(x, y),
              |S| <= removed,  mass of nu <= epsilon }

    for the logistic loss and the smooth hinge, exact to first order (`expansion` has the proof). Read backwards it is
    about data in hand: if at most `removed` of these rows were planted, training without them gives the same answer.

    Parameters
    ----------
    claim : Claim
        Rows without weights, and bounded sets if epsilon is positive. A budget of 0 allows deletions alone;
        ``removed / n`` covers rows that are replaced by rows of the sets.
    removed : int
        Clean rows that are lost at most.

    Returns
    -------
    Certificate
        Of kind "score". For each number of rows left that the regulariser depends on its witness holds a vector and
        intervals of what the margins of the clean rows move by. Whatever these are, what follows is a bound. Besides
        ``deleted``: the rows that count the most for each row of the claim, shape (rows, removed), -1 where fewer do.

    Raises
    ------
    CapabilityError
        If the loss is another, or rows have weights.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Logistic, Problem
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[1.0], [-1.0], [0.8], [-0.8]] * 5, [1, -1, 1, -1] * 5)
    >>> sets = ByLabel({1: Ball([1.0], 0.5), -1: Ball([-1.0], 0.5)})
    >>> claim = Claim(train, Problem(Logistic(), 0.1), sets, 0.0, Dataset([[1.0]], [1]))
    >>> deletions_smooth(claim, 1).bound.round(2)
    array([-1.6])
    """
    return _certify(claim, removed, flips=False)


def flips_smooth(claim: Claim, flipped: int) -> Certificate:
    """The greatest negative margin of each row after any `flipped` labels of clean rows are changed.

    As `deletions_smooth`, with the flipped rows in the place of the deleted ones.

    Parameters
    ----------
    claim : Claim
    flipped : int

    Returns
    -------
    Certificate
        Of kind "score"; its witness holds `flipped` as ``removed``, and ``flipped`` in the place of ``deleted``.

    Raises
    ------
    CapabilityError
        If the loss is another, or rows have weights.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Logistic, Problem
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[1.0], [-1.0], [0.8], [-0.8]] * 5, [1, -1, 1, -1] * 5)
    >>> sets = ByLabel({1: Ball([1.0], 0.5), -1: Ball([-1.0], 0.5)})
    >>> claim = Claim(train, Problem(Logistic(), 0.1), sets, 0.0, Dataset([[1.0]], [1]))
    >>> bool(flips_smooth(claim, 2).bound[0] < 0)
    True
    """
    return _certify(claim, flipped, flips=True)


def withstood(claim: Claim, most: int, *, flips: bool = False) -> NDArray[np.intp]:
    """For each row of the claim the greatest number of changed rows, up to `most`, that provably leave its label.

    Parameters
    ----------
    claim : Claim
    most : int
    flips : bool
        Whether labels change; else rows are lost.

    Returns
    -------
    ndarray of int, shape (rows,)
        -1 where not even the model of all rows is proved to predict it.
    """
    _take(claim)
    found, proof = np.full(claim.demand_rows().n, -1), None
    open_ = np.arange(len(found))
    for count in range(min(most, claim.train.n - 1) + 1):
        at, proof = _proved(claim, _reg(claim, count, flips), count, flips, proof)
        open_ = open_[_bound(at, proof, open_) < 0]
        if not open_.size:
            break
        found[open_] = count
    return found


def _certify(claim: Claim, count: int, flips: bool) -> Certificate:
    began = time.perf_counter()
    _take(claim)
    if check_integer(count, "removed", at_least=0) >= claim.train.n:
        raise InputError("fewer rows to change than there are", count)
    proofs: list[Proof] = []
    for reg, each in _variants(claim, count, flips):
        proofs.append(_proved(claim, reg, each, flips, proofs[-1] if proofs else None)[1])
    parts = [np.array(part) for part in zip(*proofs, strict=True)]
    witness = {"removed": np.array(count), **dict(zip(Proof._fields, parts, strict=True))}
    name, key = ("smooth-flips", "flipped") if flips else ("smooth-deletions", "deleted")
    witness[key] = _worst(Expansion(claim, reg, proofs[-1].v, count, flips))
    return Certificate.proved(name, claim, _recompute(claim, witness, flips), witness, began)


def _worst(at: Expansion) -> NDArray[np.intp]:
    """The rows that count the most to first order for each row of the claim, shape (rows, count), -1 for no more."""
    gains = -(at.system.solve(at.system.directions) @ at.signed.T) * (1.0 if at.flips else at.pulls)
    order = np.argsort(-gains, axis=1, kind="stable")[:, : at.count]
    return np.where(np.take_along_axis(gains, order, axis=1) > 0, order, -1)


def _take(claim: Claim) -> None:
    """Refuse what nothing is proved of."""
    soft = claim.problem.loss.soft_hinge
    if soft is None or soft[1] == 0:
        known = "the logistic loss or the smooth hinge"
        raise CapabilityError(known, f"the {claim.problem.loss.name} loss", "Use deletions_ridge or certify_deletions.")
    if (claim.train.weight != 1).any():
        raise CapabilityError("rows without weights where rows are changed", "weights", "Leave them out.")
    claim.demand_rows()


def _reg(claim: Claim, count: int, flips: bool) -> float:
    """The regulariser per clean row with `count` rows changed."""
    problem, n = claim.problem, claim.train.n
    if flips or problem.scaling != "mean":
        return claim.reg
    return problem.reg * ((n - count) / n + claim.epsilon)


def _variants(claim: Claim, count: int, flips: bool) -> Iterator[tuple[float, int]]:
    """Each regulariser, and how many rows are changed at most where it holds."""
    # Under mean scaling the learner divides by the n - j rows that are left. Times (n - j) / n its objective is that of
    # `expansion` with (n - j) / n reg: another Q for each j, so that each j is proved by itself.
    many = not flips and claim.problem.scaling == "mean"
    for each in range(count + 1) if many else (count,):
        yield _reg(claim, each, flips), each


def _words(flips: bool) -> Words:
    def words(claim: Claim, witness: Witness) -> tuple[str, ...]:
        said = claim.changed_assumptions(int(np.ceil(np.ravel(witness["removed"])[0])), flips)
        return (*said, ROW_BY_ROW)

    return words


@check("smooth-deletions", scores=True, words=_words(flips=False))
def recompute_deletions(claim: Claim, witness: Witness) -> Array:
    """The bound that vectors and intervals prove for deletions; infinite where these do not map into themselves."""
    return _recompute(claim, witness, flips=False)


@check("smooth-flips", scores=True, words=_words(flips=True))
def recompute_flips(claim: Claim, witness: Witness) -> Array:
    """The same for flipped labels."""
    return _recompute(claim, witness, flips=True)


@np.errstate(all="ignore")  # what is not finite proves nothing
def _recompute(claim: Claim, witness: Witness, flips: bool) -> Array:
    nothing = np.full(claim.demand_rows().n, np.inf)
    soft, removed = claim.problem.loss.soft_hinge, np.ravel(witness["removed"])
    if soft is None or soft[1] == 0 or removed.size != 1 or (claim.train.weight != 1).any():
        return nothing
    if not 0 <= removed[0] < claim.train.n:
        return nothing
    variants = list(_variants(claim, int(np.ceil(removed[0])), flips))
    v, low, high = (np.asarray(witness[name], dtype=np.float64) for name in Proof._fields)
    width = claim.train.d + claim.problem.fit_intercept
    n, each = claim.train.n, len(variants)
    if (v.shape, low.shape, high.shape) != ((each, width), (each, n), (each, n)):
        return nothing
    bounds = []
    for (reg, count), *proof in zip(variants, v, low, high, strict=True):
        bounds.append(_bound(Expansion(claim, reg, proof[0], count, flips), Proof(*proof), np.arange(len(nothing))))
    return np.asarray(np.max(bounds, axis=0))


@np.errstate(all="ignore")
def _bound(at: Expansion, proof: Proof, rows: NDArray[np.intp]) -> Array:
    """No less than ``c'v^`` for some rows of the claim."""
    nothing = np.full(len(rows), np.inf)
    if not np.isfinite(proof.v).all() or not np.isfinite(at.total) or at.total <= 0:
        return nothing
    # Whatever the intervals of the witness are: if their image is in their interior, the new minimiser is in them,
    # hence in the image, and the bound of the rows asked about may start from that.
    low, high = at.maps(at.see_rows(), proof.low, proof.high)
    if not _inside(low, high, proof.low, proof.high):
        return nothing
    terms, directions = at.terms(low, high), at.system.directions[rows]
    up = at.moves(at.see(directions), terms, at.length(terms, low, high))[0]
    before = directions @ proof.v
    size = np.abs(directions) @ np.abs(proof.v)
    bound = before + up + gamma(len(proof.v) + 16) * (size + np.abs(up))
    return np.where(np.isfinite(bound), bound, np.inf)


def _inside(low: Array, high: Array, least: Array, most: Array) -> bool:
    """Whether intervals lie in the interior of others, around 0."""
    return bool(((least < low) & (high < most) & (least < 0) & (most > 0)).all())


@np.errstate(all="ignore")
def _proved(claim: Claim, reg: float, count: int, flips: bool, before: Proof | None) -> tuple[Expansion, Proof]:
    """A vector and intervals, from those of a problem nearby; infinite intervals where none are found."""
    at = Expansion(claim, reg, _minimiser(claim, reg, None if before is None else before.v), count, flips)
    n = claim.train.n
    low, high = np.full(n, -1e-12), np.full(n, 1e-12)
    if before is not None and count > 1 and np.isfinite(before.low).all():
        low, high = before.low * count / (count - 1), before.high * count / (count - 1)
    return at, Proof(at.v, *_intervals(at, low, high))


def _intervals(at: Expansion, low: Array, high: Array) -> tuple[Array, Array]:
    """Intervals that map into themselves, nearly the least: from below, each round a little wider than its image."""
    seen, found = at.see_rows(), None
    for _ in range(_ROUNDS):
        below, above = at.maps(seen, low, high)
        width = above - below
        if not width.max() < _WIDE:
            break
        held = _inside(below, above, low, high)
        if held:
            found = low, high
        room = _ROOM * width
        if found is not None and (not held or ((below - low <= 2 * room) & (high - above <= 2 * room)).all()):
            break
        low, high = below - room, above + room
    return found or (np.full_like(low, -np.inf), np.full_like(high, np.inf))


def _minimiser(claim: Claim, reg: float, start: Array | None) -> Array:
    """The parameters learned from all rows at a regulariser, by Newton's steps from a start near it."""
    free = claim.problem.fit_intercept and not claim.problem.penalize_intercept
    if start is None:
        problem = replace(claim.problem, reg=reg, scaling="mean", n_reference=None)
        vector = make_learner(problem).fit(claim.train).vector
        origin = Expansion(claim, reg, vector, 0, False).rows.origin
        vector[-1] += float(vector[:-1] @ origin) if free else 0.0
        start = vector if claim.problem.fit_intercept else vector[:-1]
    best, least = start, np.inf
    for _ in range(6):
        at = Expansion(claim, reg, start, 0, False)
        value = at.slope[0]
        left = float(np.linalg.norm(value / at.system.scale))
        if not left < 0.5 * least:
            break
        best, least = start, left
        start = start - at.system.solve(value)[0]
    return best
