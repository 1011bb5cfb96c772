"""The structured oracles: the conic reference with two solvers, degenerate sets, and what defines an optimum."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from linpoison.core import InfeasibleSet, InputError
from linpoison.sets import (
    Ball,
    Box,
    CountBall,
    Halfspace,
    Intersection,
    NearestProgram,
    NonNegative,
    Oracle,
    Slab,
    SubspaceTube,
    SupportProgram,
)
from linpoison.sets.solvers import Projector

CORES, BOXES = ("ball", "counts", "none"), ("open", "non_negative", "box")
COMBINATIONS = [
    (core, box, rows, tube)
    for core, box, rows, tube in itertools.product(CORES, BOXES, ("", "slab", "cap", "slab cap"), (False, True))
    if core != "none" or (box == "box" and (rows or tube))
]


def random_set(seed, core, box, rows, tube, d=None):
    """A set around a point that is inside every part, so that it is never empty."""
    rng = np.random.default_rng(seed)
    d = d or int(rng.integers(2, 10))
    center = rng.exponential(1.2, size=d)
    radius = rng.choice([0.5, 1.5, 4.0])
    inside = np.round(center) if core == "counts" else center + rng.normal(size=d) * radius / (2 * np.sqrt(d))
    inside = np.maximum(inside, 0.0)
    parts = []
    if core == "ball":
        parts.append(Ball(center, max(radius, 1.01 * np.linalg.norm(inside - center))))
    if core == "counts":
        parts.append(CountBall(center, radius + np.linalg.norm(inside - center), inside + rng.integers(0, 5, size=d)))
    if box == "non_negative":
        parts.append(NonNegative(d))
    if box == "box":
        parts.append(Box(inside - rng.exponential(1.0, size=d), inside + rng.exponential(1.0, size=d)))
    if "slab" in rows:
        normal = rng.normal(size=d)
        parts.append(Slab(normal, normal @ inside + 0.1, 0.2))
    if "cap" in rows:
        normal = rng.normal(size=d)
        parts.append(Halfspace(normal, normal @ inside + 0.3 * rng.exponential()))
    if tube:
        basis = np.linalg.qr(rng.normal(size=(d, max(d // 3, 1))))[0]
        off = inside - basis @ (basis.T @ inside)
        parts.append(SubspaceTube(basis, 1.05 * np.linalg.norm(off) + 0.05))
    return Intersection(parts), rng


def second_solver(feasible):
    curved = any(isinstance(part, Ball | SubspaceTube) for part in feasible.sets)
    return "ECOS" if curved else "HIGHS"


@pytest.mark.parametrize(("core", "box", "rows", "tube"), COMBINATIONS)
def test_agrees_with_two_conic_solvers(core, box, rows, tube):
    for seed in range(2):
        feasible, rng = random_set(seed, core, box, rows, tube)
        oracle, program, nearest = Oracle(feasible), SupportProgram(feasible), NearestProgram(feasible)
        w, z = rng.normal(size=feasible.d), rng.normal(scale=5.0, size=feasible.d)
        x = oracle.support(w)
        assert feasible.violation(x[None, :])[0] < 1e-8
        if oracle.fallbacks == 0 and len(feasible.sets) > 1:
            assert oracle.gap < 1e-8
        for solver in ("CLARABEL", second_solver(feasible)):
            assert w @ x == pytest.approx(w @ program(w, solver), rel=1e-6, abs=1e-6)
        p = oracle.project(z)
        assert feasible.violation(p[None, :])[0] < 1e-8
        for solver in ("CLARABEL", "ECOS"):
            assert np.sum((p - z) ** 2) == pytest.approx(np.sum((nearest(z, solver) - z) ** 2), rel=1e-6, abs=1e-6)
        assert tube or oracle.fallbacks == 0


@settings(max_examples=60)
@given(
    seed=st.integers(0, 100_000),
    core=st.sampled_from(CORES),
    rows=st.sampled_from(["slab", "cap", "slab cap"]),
    tube=st.booleans(),
)
def test_what_defines_the_optimum(seed, core, rows, tube):
    feasible, rng = random_set(seed, core, "box" if core == "none" else "non_negative", rows, tube)
    oracle = Oracle(feasible)
    Z = rng.normal(scale=4.0, size=(6, feasible.d))
    points = np.array([oracle.project(z) for z in Z])
    assert feasible.violation(points).max() < 1e-7
    angles = np.einsum("id,ijd->ij", Z - points, points[None, :, :] - points[:, None, :])
    assert angles.max() < 1e-5
    w = rng.normal(size=feasible.d)
    best = w @ oracle.support(w)
    mixed = rng.dirichlet(np.ones(6), size=10) @ points
    assert (mixed @ w).max() <= best + 1e-6
    assert (points @ w).max() <= best + 1e-6


@settings(max_examples=60)
@given(seed=st.integers(0, 100_000), rows=st.sampled_from(["", "slab", "cap", "slab cap"]), wide=st.booleans())
def test_support_of_counts_is_basic(seed, rows, wide):
    feasible, rng = random_set(seed, "counts", "non_negative", rows, False, d=60 if wide else None)
    oracle, w = Oracle(feasible), rng.normal(size=feasible.d)
    x = oracle.support(w)
    assert oracle.fallbacks == 0
    assert np.sum(np.abs(x - np.rint(x)) > 1e-9) <= 1 + len(rows.split())


@pytest.mark.parametrize("tilt", [0.0, 1e-12, 1e-9, 1e-6, 1e-3])
def test_a_ball_is_cut_in_closed_form_where_the_direction_is_nearly_a_normal(tilt):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        center, across = rng.normal(size=(2, 8))
        first, second = np.linalg.qr(rng.normal(size=(8, 2)))[0].T
        across -= (across @ first) * first + (across @ second) * second
        across /= np.linalg.norm(across)
        oracle = Oracle(Intersection([Ball(center, 2.0), Slab(first, first @ center, 0.6), Halfspace(
            second, second @ center + 0.8)]))  # fmt: skip
        for a, b in ((1.0, 0.0), (-0.4, 0.9), (0.7, 0.7)):
            w = a * first + b * second + tilt * across
            x = oracle.support(w)
            height, room = (0.8, np.sqrt(4 - 0.36 - 0.64)) if b else (0.0, np.sqrt(4 - 0.36))
            best = w @ center + abs(a) * 0.6 + b * height + tilt * room
            assert w @ x == pytest.approx(best, abs=1e-12)
            assert oracle.feasible.violation(x[None, :])[0] < 1e-11
        assert oracle.fallbacks == 0


def test_support_over_a_box_is_basic():
    feasible, rng = random_set(3, "none", "box", "slab cap", False, d=80)
    box = feasible.sets[0]
    x = Oracle(feasible).support(rng.normal(size=80))
    assert np.sum((x > box.lower + 1e-9) & (x < box.upper - 1e-9)) <= 2


@pytest.mark.parametrize(("core", "tube"), [("ball", False), ("counts", False), ("none", False), ("ball", True)])
def test_warm_starts_change_nothing(core, tube):
    feasible, rng = random_set(5, core, "box" if core == "none" else "non_negative", "slab cap", tube, d=40)
    kept = Oracle(feasible)
    w, z = rng.normal(size=40), rng.normal(scale=3.0, size=40)
    for size in (0.0, 0.01, 0.1, 1.0, 10.0):
        w, z = w + size * rng.normal(size=40), z + size * rng.normal(size=40)
        assert w @ kept.support(w) == pytest.approx(w @ Oracle(feasible).support(w), rel=1e-8)
        np.testing.assert_allclose(kept.project(z), Oracle(feasible).project(z), atol=1e-5 if tube else 1e-7)
    assert kept.fallbacks == 0


def test_set_itself_forgets():
    feasible, rng = random_set(6, "counts", "non_negative", "slab cap", False, d=40)
    w, z = rng.normal(size=40), rng.normal(scale=3.0, size=(1, 40))
    first = feasible.support(w), feasible.project(z)
    feasible.support(-w)
    feasible.project(-z)
    np.testing.assert_array_equal(feasible.support(w), first[0])
    np.testing.assert_array_equal(feasible.project(z), first[1])


def test_wide_text_problem_and_its_gap():
    rng = np.random.default_rng(0)
    d = 3000
    center, upper = rng.exponential(0.05, size=d), rng.integers(1, 50, size=d)
    slope, decoy = rng.normal(size=d) * center, rng.normal(size=d) * 0.1
    parts = [CountBall(center, 9.0, upper), Slab(slope, slope @ center, 0.05), Halfspace(decoy, decoy @ center + 0.2)]
    oracle, feasible = Oracle(Intersection(parts)), Intersection(parts)
    for w in rng.normal(size=(5, d)):
        x = oracle.support(w)
        assert oracle.gap < 1e-12
        assert feasible.violation(x[None, :])[0] < 1e-9
        assert np.sum(x != np.rint(x)) <= 3
        oracle.project(center + w)
        assert oracle.gap < 1e-10
    assert oracle.fallbacks == 0


DEGENERATE = {
    "point": [Ball([1.0, 2.0], 0.0), NonNegative(2)],
    "counts_tie": [CountBall([0.5, 2.0], 0.5, [5, 5]), Halfspace([1.0, 1.0], 9.0)],
    "plane": [Ball([0.0, 0.0], 2.0), Slab([1.0, 1.0], 1.0, 0.0)],
    "counts_plane": [CountBall([1.0, 1.0], 2.0, [5, 5]), Slab([1.0, 2.0], 3.5, 0.0)],
    "inactive": [Ball([0.0, 0.0], 1.0), Halfspace([1.0, 0.0], 50.0), Slab([0.0, 1.0], 0.0, 9.0)],
    "ball_around_box": [Ball([0.0, 0.0], 50.0), Box([-1.0, 0.0], [1.0, 2.0]), Halfspace([1.0, 1.0], 1.5)],
    "counts_around_box": [CountBall([1.0, 1.0], 50.0, [1, 2]), Halfspace([1.0, 1.0], 2.5)],
    "parallel": [Ball([0.0, 0.0], 2.0), Halfspace([1.0, 0.0], 1.0), Slab([2.0, 0.0], 0.0, 1.0)],
    "twice": [CountBall([1.0, 1.0], 2.0, [5, 5]), Halfspace([1.0, 1.0], 2.5), Halfspace([2.0, 2.0], 5.0)],
    "half_bounds": [CountBall([1.0, 1.0], 2.0, [5, 5]), Box([0.5, 0.25], [1.75, 2.5]), Halfspace([1.0, 1.0], 3.0)],
    "fixed": [Box([1.0, -1.0], [1.0, 1.0]), Slab([1.0, 1.0], 1.0, 0.5)],
    "many_rows": [Ball([0.0, 0.0], 2.0), *(Halfspace([np.cos(a), np.sin(a)], 1.0) for a in range(6))],
}
DIRECTIONS = [(1.0, 1.0), (-1.0, -1.0), (1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 0.0), (1.0, -2.0)]


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_sets_and_tied_directions(name):
    feasible = Intersection(DEGENERATE[name])
    oracle, program, nearest = Oracle(feasible), SupportProgram(feasible), NearestProgram(feasible)
    for w in map(np.array, DIRECTIONS):
        x, p = oracle.support(w), oracle.project(7 * w)
        assert feasible.violation(np.array([x, p])).max() < 1e-8
        assert w @ x == pytest.approx(w @ program(w), abs=1e-6)
        assert np.sum((p - 7 * w) ** 2) == pytest.approx(np.sum((nearest(7 * w) - 7 * w) ** 2), rel=1e-6, abs=1e-6)
    assert oracle.fallbacks == 0


def test_counts_of_radius_zero_are_one_point():
    oracle = Oracle(Intersection([CountBall([1.0, 2.0], 0.0, [5, 5]), Halfspace([1.0, 1.0], 4.0)]))
    for answer in (oracle.support([1.0, 0.3]), oracle.project([7.0, -3.0])):
        np.testing.assert_allclose(answer, [1.0, 2.0], atol=1e-9)
    assert oracle.fallbacks == 0


def test_no_direction_gives_a_point_of_the_set():
    for name, parts in DEGENERATE.items():
        feasible = Intersection(parts)
        assert feasible.contains(Oracle(feasible).support(np.zeros(2))[None, :])[0], name


EMPTY = {
    "balls_and_cap": [Ball([0.0, 0.0], 1.0), Halfspace([1.0, 0.0], -2.0)],
    "counts_and_cap": [CountBall([1.0, 1.0], 1.0, [5, 5]), Halfspace([1.0, 1.0], -1.0)],
    "strips": [Box([0.0, 0.0], [1.0, 1.0]), Slab([1.0, 0.0], 0.2, 0.1), Slab([1.0, 0.0], 0.8, 0.1)],
    "bounds": [Ball([0.0, 0.0], 1.0), Box([0.0, 0.0], [1.0, 1.0]), Box([2.0, 0.0], [3.0, 1.0])],
    "box_beside_ball": [Ball([0.0, 0.0], 1.0), Box([2.0, 0.0], [3.0, 1.0])],
    "counts_of_nothing": [CountBall([0.5, 0.5], 0.1, [5, 5]), NonNegative(2)],
    "tube": [Ball([0.0, 5.0], 1.0), SubspaceTube([[1.0], [0.0]], 1.0), NonNegative(2)],
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_sets_are_named(name):
    oracle = Oracle(Intersection(EMPTY[name]))
    with pytest.raises(InfeasibleSet):
        oracle.support([1.0, 0.5])
    with pytest.raises(InfeasibleSet):
        oracle.project([0.3, 0.1])


def test_unbounded_directions_are_named():
    with pytest.raises(InputError, match="unbounded"):
        Oracle(Intersection([NonNegative(2), Halfspace([1.0, -1.0], 1.0)])).support([1.0, 1.0])


def test_sets_without_structure_answer_for_themselves():
    ball = Oracle(Ball([0.0, 0.0], 1.0))
    np.testing.assert_allclose(ball.support([3.0, 4.0]), [0.6, 0.8])
    np.testing.assert_allclose(ball.project([3.0, 4.0]), [0.6, 0.8])
    assert ball.fallbacks == 0
    assert np.isnan(ball.gap)
    two_balls = Oracle(Intersection([Ball([0.0, 0.0], 1.0), Ball([1.0, 0.0], 1.0)]))
    assert two_balls.support([1.0, 0.0])[0] == pytest.approx(1.0, abs=1e-6)
    assert two_balls.project([0.5, 9.0])[1] == pytest.approx(np.sqrt(0.75), abs=1e-6)
    assert two_balls.fallbacks == 2


def test_oracle_checks_shapes_and_values():
    oracle = Oracle(Intersection(DEGENERATE["plane"]))
    for call in (oracle.support, oracle.project):
        with pytest.raises(InputError, match="shape"):
            call([1.0, 2.0, 3.0])
        with pytest.raises(InputError, match="NaN"):
            call([1.0, np.nan])


@pytest.mark.parametrize("tube", [False, True])
def test_oracle_travels_between_processes(tube):
    feasible, rng = random_set(8, "counts", "non_negative", "slab cap", tube)
    oracle, w = Oracle(feasible), rng.normal(size=feasible.d)
    before = oracle.support(w)
    copy = pickle.loads(pickle.dumps(oracle))
    assert w @ copy.support(w) == pytest.approx(w @ before, rel=1e-8)
    assert copy.feasible.d == feasible.d
    assert pickle.loads(pickle.dumps(feasible)).d == feasible.d


def test_sparse_rows_are_projected_like_dense_ones():
    feasible, rng = random_set(9, "counts", "non_negative", "slab cap", False, d=30)
    X = rng.poisson(0.5, size=(5, 30)).astype(float)
    np.testing.assert_allclose(feasible.project(sp.csr_array(X)), feasible.project(X), atol=1e-12)
    one_by_one = np.array([Oracle(feasible).project(row) for row in X])
    np.testing.assert_allclose(feasible.project(X), one_by_one, atol=1e-8)


def test_no_conic_solver_is_built_for_structured_sets():
    feasible, rng = random_set(10, "counts", "non_negative", "slab cap", False, d=50)
    feasible.support(rng.normal(size=50))
    feasible.project(rng.normal(size=(2, 50)))
    assert feasible._oracle.fallbacks == 0
    assert "_support_program" not in vars(feasible._oracle)


FIRST = np.array([1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "parts",
    [
        (Halfspace(FIRST, -1.0), Halfspace(-FIRST, -1.0)),
        (Slab(FIRST, 0.0, 0.5), Halfspace(-FIRST, -1.0)),
        (Slab(FIRST, 0.0, 0.0), Halfspace(FIRST, -1.0)),
        (Slab(FIRST, 0.0, 0.5), Slab(-7 * FIRST, 14.0, 0.5)),
        (Slab(FIRST, 0.0, 0.0), Slab(FIRST, 2.0, 0.0)),
        (Slab(FIRST, -2.0, 0.5), NonNegative(3)),
        (Halfspace([1.0, 1.0, 0.0], -1.0), Halfspace(-FIRST, 0.0), Halfspace([0.0, -1.0, 0.0], 0.0)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("point", [(0.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1e6, -1e6, 2.0)])
@pytest.mark.filterwarnings("error")
def test_nearest_points_of_empty_sets_without_bounds_are_refused(parts, point):
    for sets in (parts, parts[::-1]):
        with pytest.raises(InfeasibleSet):
            Intersection(sets).project([point])
        with pytest.raises(InfeasibleSet):
            Intersection(sets).support(np.zeros(3))


def test_a_tube_in_few_columns_ends_within_a_hundred_rounds(monkeypatch):
    rng, calls, plain = np.random.default_rng(0), [], Projector.__call__
    monkeypatch.setattr(Projector, "__call__", lambda self, z: calls.append(1) or plain(self, z))
    fallbacks = 0
    for _ in range(15):
        center = 0.3 * rng.normal(size=12)
        basis = np.linalg.qr(rng.normal(size=(12, 3)))[0]
        low, high = np.minimum(center, 0) - 0.4, np.maximum(center, 0) + 0.4
        slab = Slab(rng.normal(size=12), 0.0, 1.0)
        feasible = Intersection([Ball(center, 1.5), SubspaceTube(basis, 0.6, center), Box(low, high), slab])
        oracle, point = Oracle(feasible), center + 3 * rng.normal(size=12)
        calls.clear()
        nearest = oracle.project(point)
        assert len(calls) <= 102
        fallbacks += oracle.fallbacks
        assert nearest == pytest.approx(NearestProgram(feasible)(point), abs=1e-4)
    assert fallbacks <= 1
