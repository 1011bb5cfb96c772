"""The contract of a feasible set: its cone, its numpy views, its bounds and its file, held against each other."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from math import inf, isfinite
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..convex import UnfitSolver, solve
from ..core import Array, CapabilityError, InputError, SolverFailed
from ..sets import Ball, ByLabel, FeasibleSet, NearestProgram, SupportProgram, intersect, pack_sets, unpack_sets
from .holding import hold

_SOLVERS = ("CLARABEL", "HIGHS", "ECOS")
_TOL = 1e-6


def check_set(feasible: FeasibleSet, directions: Any = None, *, seed: int = 0) -> None:
    """Hold what a set says of itself against conic solvers, and against points of its own.

    Parameters
    ----------
    feasible : FeasibleSet
        Of a few features, and not empty.
    directions : array_like, shape (n, d), optional
        In which the set is bounded; random ones by default, in which a set without bounds is not tried.
    seed : int, default 0
        Of the random rows and directions.

    Raises
    ------
    AssertionError
        In one sentence, for the first thing that is not so.

    Examples
    --------
    >>> check_set(Ball([1.0, -2.0], 0.5))
    """
    rng = np.random.default_rng(seed)
    found = _bounded(feasible, rng.normal(size=(6, feasible.d)) if directions is None else np.asarray(directions))
    X = _rows(feasible, rng)
    _input(feasible)
    _violation(feasible, X)
    try:
        _projection(feasible, X)
        _support(feasible, X, found)
        _cone(feasible, X)
    except SolverFailed as error:
        hold(False, f"a cone that solvers take, of points without violation ({error})", feasible)
    _bounds(feasible, X, found)
    _structure(feasible, X, found)
    _grown(feasible, X, rng)
    _copies(feasible, X, found)


def _bounded(feasible: FeasibleSet, directions: Array) -> list[tuple[Array, Array]]:
    """Directions of length 1 in which the set is bounded, and its support points."""
    found = []
    for w in directions / np.linalg.norm(directions, axis=1)[:, None]:
        try:
            found.append((w, feasible.support(w)))
        except InputError:
            hold(not isfinite(feasible.extent), "a support in every direction, where `extent` is finite", feasible)
    return found


def _rows(feasible: FeasibleSet, rng: np.random.Generator) -> Array:
    """Points outside, some of them near; and inside: projections, pulled inwards, and mixed."""
    anchor = feasible.project(np.zeros((1, feasible.d)))[0]
    outer = anchor + (3 + np.abs(anchor).max()) * rng.normal(size=(8, feasible.d))
    inside = feasible.project(outer)
    mean = inside.mean(axis=0)
    near = inside + 0.02 * (outer - inside)
    outside = np.abs(outer - inside).max(axis=1) > 1e-6
    hold(feasible.violation(near[outside]) > 0, "a violation greater than 0 outside the set", feasible)
    return np.vstack([outer, near, mean + 0.9 * (inside - mean), 0.5 * (inside + inside[::-1]), inside])


def _input(feasible: FeasibleSet) -> None:
    for view in (feasible.violation, feasible.contains, feasible.project):
        for bad in (np.zeros((2, feasible.d + 1)), np.full((1, feasible.d), np.nan)):
            hold(_refuses(view, bad), "an InputError for rows of another length and for NaN", feasible)
        hold(len(view(np.zeros((0, feasible.d)))) == 0, "no rows for no rows", feasible)
    for look in (feasible.support, feasible.support_bound):
        hold(_refuses(look, np.zeros(feasible.d + 1)), "an InputError for a direction of another length", feasible)


def _refuses(view: Any, value: Array) -> bool:
    try:
        view(value)
    except InputError:
        return True
    return False


def _violation(feasible: FeasibleSet, X: Array) -> None:
    out = feasible.violation(X)
    hold(np.isfinite(out) & (out >= 0), "a finite violation of at least 0", feasible)
    hold(feasible.contains(X, 0.1) == (out <= 0.1), "`contains` to be `violation <= tol`", feasible)
    thinned = np.where(np.abs(X) < np.median(np.abs(X)), 0.0, X)
    rows = sp.csr_array(thinned)
    hold(_near(feasible.violation(rows), feasible.violation(thinned), 1e-9), "CSR to be as dense rows are", feasible)
    hold(_near(feasible.project(rows[:2]), feasible.project(thinned[:2]), 1e-9), "CSR to be projected alike", feasible)


def _projection(feasible: FeasibleSet, X: Array) -> None:
    before = X.copy()
    nearest = feasible.project(X)
    size = 1 + np.abs(X).max()
    hold(before == X, "input that `project` leaves alone", feasible)
    hold(feasible.violation(nearest) <= _TOL * size, "projections inside the set", feasible)
    inside = feasible.contains(X, 1e-9)
    hold(_near(nearest[inside], X[inside], 1e-7 * size), "points of the set to be their own projections", feasible)
    angles = np.einsum("id,ijd->ij", X - nearest, nearest[None] - nearest[:, None])
    hold(angles <= 1e-5 * size**2, "no point of the set at a sharp angle to a projection", feasible)
    program = NearestProgram(feasible)
    for z, x in zip(X[:2], nearest[:2], strict=True):
        for y in _solved(program, z):
            hold(_near(np.sum((x - z) ** 2), np.sum((y - z) ** 2), _TOL * size**2), "distances of solvers", feasible)


def _support(feasible: FeasibleSet, X: Array, found: Iterable[tuple[Array, Array]]) -> None:
    inside = X[feasible.contains(X, 1e-9)]
    program = SupportProgram(feasible)
    for w, x in found:
        size = 1 + np.abs(x).max()
        hold(feasible.violation(x[None]) <= _TOL * size, "support points inside the set", feasible)
        hold(inside @ w <= w @ x + _TOL * size, "no point of the set beyond a support point", feasible)
        for y in _solved(program, w):
            hold(_near(w @ x, w @ y, _TOL * size), "supports as the solvers find them", feasible)


def _bounds(feasible: FeasibleSet, X: Array, found: Iterable[tuple[Array, Array]]) -> None:
    inside = X[feasible.contains(X, 1e-9)]
    reach = feasible.extent
    lengths = np.linalg.norm(inside, axis=1)
    hold(lengths <= reach * (1 + 1e-12) + 1e-9, "`extent` above the lengths of points", feasible)
    if not feasible.has_support_bound:
        hold(_refuses(feasible.support_bound, np.ones(feasible.d)), "no bound where it says it has none", feasible)
        return
    hold(feasible.support_bound(np.zeros(feasible.d)) == 0, "a bound of 0 in no direction", feasible)
    for w, x in found:
        bound = feasible.support_bound(w)
        hold(inside @ w <= bound + 1e-9, "`support_bound` above all points of the set", feasible)
        hold(w @ x <= bound + 1e-7, "`support_bound` above the support", feasible)
        hold(bound <= w @ x + _TOL * (1 + reach), "`support_bound` no further from the support than 1e-6", feasible)
        hold(not isfinite(bound) or _near(feasible.support_bound(3 * w), 3 * bound, _TOL), "equal units", feasible)


def _cone(feasible: FeasibleSet, X: Array) -> None:
    """``(t x, t)`` is in the cone where x is in the set; the cone at 0 is where the set goes on for ever."""
    import cvxpy as cp

    u, t, at, scale = cp.Variable(feasible.d), cp.Variable(), cp.Parameter(feasible.d), cp.Parameter(nonneg=True)
    apart = cp.Problem(cp.Minimize(cp.norm_inf(u - at) + cp.abs(t - scale)), feasible.constraints(u, t))
    out = feasible.violation(X)
    for x, violation in [*zip(X, out, strict=True)][:: max(1, len(X) // 8)]:
        for factor in (0.01, 3.0):
            at.value, scale.value = factor * x, factor
            distance = solve(apart).value
            if violation <= 1e-9:
                hold(distance <= _TOL * (1 + np.abs(at.value).max()), "the cone to hold multiples of points", feasible)
            elif violation > 1e-2:
                hold(distance > 1e-5 * factor, "the cone to keep out multiples of outer points", feasible)
    down = solve(cp.Problem(cp.Minimize(t), [*feasible.constraints(u, t), cp.norm_inf(u) <= 1, t <= 1]))
    hold(abs(down.value) <= 1e-5, "a cone of scales of at least 0", feasible)
    ahead = cp.Problem(cp.Maximize(X[0] @ u), [*feasible.constraints(u, 0.0), cp.norm2(u) <= 1])
    solve(ahead)
    bounded = isfinite(feasible.extent)
    hold(not bounded or np.abs(u.value) <= 1e-4, "nothing but zero in the cone at 0 of a bounded set", feasible)
    far = X[-1] + 10 * np.asarray(u.value)
    hold(feasible.violation(far[None]) <= 1e-4, "the cone at 0 to be directions in which the set goes on", feasible)


def _structure(feasible: FeasibleSet, X: Array, found: Iterable[tuple[Array, Array]]) -> None:
    """What `piece` says is the set: beside a ball, the fast solvers find what a conic one does."""
    if feasible.piece is None:
        return
    beside = intersect(feasible, Ball(X[-1], 2.0)) if feasible.piece.center is None else intersect(feasible)
    program = SupportProgram(beside)
    for w, _ in found:
        best = w @ intersect(beside, _everything(feasible.d)).support(w)
        for y in _solved(program, w):
            hold(_near(best, w @ y, _TOL * (1 + np.abs(y).max())), "a `piece` that is the set", feasible)


def _everything(d: int) -> FeasibleSet:
    from ..sets import Box

    return Box(np.full(d, -inf), np.full(d, inf))


def _grown(feasible: FeasibleSet, X: Array, rng: np.random.Generator) -> None:
    inside = X[feasible.contains(X, 1e-9)]
    try:
        wider = feasible.grown(0.5)
    except CapabilityError:
        return
    moves = rng.normal(size=inside.shape)
    moved = inside + 0.5 * moves / np.linalg.norm(moves, axis=1)[:, None]
    counts = feasible.piece is not None and feasible.piece.counts is not None
    hold(counts or wider.contains(moved, 1e-7), "`grown` to hold the points that are that near", feasible)


def _copies(feasible: FeasibleSet, X: Array, found: Iterable[tuple[Array, Array]]) -> None:
    """What comes back from a file, and from another process, is the same set."""
    specification, arrays = pack_sets(ByLabel({1: feasible, -1: feasible}))
    read = unpack_sets(json.loads(json.dumps(specification)), arrays)[1]
    for copy in (read, pickle.loads(pickle.dumps(feasible))):
        hold(copy.relation == feasible.relation, "the same `relation` in a copy", feasible)
        hold(copy.violation(X) == feasible.violation(X), "the same violation in a copy", feasible)
        for w, x in found:
            hold(_near(copy.support(w), x, 1e-7 * (1 + np.abs(x).max())), "the same support in a copy", feasible)


def _solved(program: Any, vector: Array) -> list[Array]:
    """What two solvers answer, of those that take the cones of the set."""
    answers: list[Array] = []
    for name in _SOLVERS:
        try:
            answers.append(program(vector, name))
        except (UnfitSolver, InputError):  # not for such a set, or not installed
            continue
    return answers[:2]


def _near(one: Any, other: Any, tol: float) -> Any:
    return np.abs(np.asarray(one) - np.asarray(other)) <= tol
