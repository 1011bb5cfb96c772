"""Supports and projections by a named conic solver, against the structured ones."""

from __future__ import annotations

import contextlib
import pickle
import tracemalloc

import numpy as np
import pytest
from set_cases import SETS, D, bounded_direction

from linpoison.convex import UnfitSolver
from linpoison.core import InputError
from linpoison.sets import Ball, ByLabel, Intersection, NearestProgram, Oracle, SolvedBy

CURVED = ("ball_slab_halfspace", "ball_tube_non_negative")


@pytest.mark.parametrize("solver", ["CLARABEL", "ECOS", "OSQP", "SCS"])
@pytest.mark.parametrize("name", [*CURVED, "counts_and_slab", "count_ball"])
def test_supports_and_projections_agree_to_six_digits(name, solver):
    rng = np.random.default_rng(3)
    usual, named = SETS[name], SolvedBy(SETS[name], solver)
    if solver == "OSQP" and name in CURVED:
        with pytest.raises(UnfitSolver, match=r"second-order cones, .*got OSQP\."):
            named.support(rng.normal(size=D))
        with pytest.raises(UnfitSolver, match="second-order cones"):
            named.project(np.full((1, D), 9.0))
        return
    Z = rng.normal(scale=3, size=(3, D))
    far, near = usual.project(Z), named.project(Z)
    np.testing.assert_allclose(np.linalg.norm(Z - near, axis=1), np.linalg.norm(Z - far, axis=1), atol=1e-6)
    np.testing.assert_allclose(near, far, atol=1e-4)  # the root of the solver's own tolerance
    assert named.violation(near).max() < 1e-6
    for _ in range(3):
        w = bounded_direction(name, rng)
        w /= np.linalg.norm(w)
        assert w @ named.support(w) == pytest.approx(w @ usual.support(w), abs=1e-6)


def test_it_is_the_same_set_and_an_oracle_asks_the_solver(monkeypatch):
    rng = np.random.default_rng(0)
    usual = SETS["ball_and_box"]
    named = pickle.loads(pickle.dumps(SolvedBy(usual, "ecos")))
    X = rng.normal(size=(9, D))
    np.testing.assert_array_equal(named.violation(X), usual.violation(X))
    inside = usual.project(X)
    np.testing.assert_array_equal(named.project(inside), inside)
    asked = []
    monkeypatch.setattr("linpoison.sets.programs.solve", lambda problem, *, solver, **_: asked.append(solver))
    oracle = Oracle(named)
    for call in (oracle.support, oracle.project):
        with contextlib.suppress(TypeError):  # the stand-in leaves no value
            call(np.full(D, 7.0))
    assert asked == ["ECOS", "ECOS"]


def test_both_classes_at_once():
    sets = ByLabel({1: Ball([1.0], 1.0), -1: Ball([-1.0], 1.0)})
    assert sets.solved_by(None) is sets
    assert sets.solved_by("SCS")[-1].support([-1.0])[0] == pytest.approx(-2.0, abs=1e-6)
    with pytest.raises(InputError, match="'nosuch'"):
        sets.solved_by("nosuch")


@pytest.mark.parametrize("name", ["ball_tube_non_negative", "counts_and_slab"])
def test_a_program_of_many_columns_is_stated_anew_for_each_vector(name, monkeypatch):
    rng = np.random.default_rng(5)
    directions = [bounded_direction(name, rng) for _ in range(2)]
    compiled = SolvedBy(SETS[name], "CLARABEL")
    expected = [compiled.support(w) @ w for w in directions] + [
        compiled.project(np.full((1, D), at)) for at in (9.0, -3)
    ]
    monkeypatch.setattr("linpoison.convex.program.COMPILED", D - 1)
    anew = SolvedBy(SETS[name], "CLARABEL")
    found = [anew.support(w) @ w for w in directions] + [anew.project(np.full((1, D), at)) for at in (9.0, -3)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert pickle.loads(pickle.dumps(anew)).support(directions[0]) @ directions[0] == pytest.approx(
        expected[0], abs=1e-5
    )


def test_a_projection_of_many_columns_takes_memory_as_its_columns():
    d = 3_000
    feasible = Intersection([Ball(np.zeros(d), 1.0), SolvedBy(Ball(np.full(d, 0.5 / np.sqrt(d)), 1.0), "CLARABEL")])
    tracemalloc.start()
    try:
        nearest = NearestProgram(feasible)(np.full(d, 1.0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.linalg.norm(nearest) == pytest.approx(1.0, abs=1e-6)
    assert peak < 8 * d * d  # a compiled parameter asks for twice that and more
