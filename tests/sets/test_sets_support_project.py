"""Support and projection: agreement with conic solvers, and the inequalities that characterise them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from set_cases import CLOSED, MIXED, SETS, D, bounded_direction, points_near

from linpoison.sets import NearestProgram, SupportProgram

POLYHEDRA = {"slab", "plane", "halfspace", "box", "non_negative", "loss_cap", "box_and_halfspace", "counts_and_slab"}
POLYHEDRA |= {name for name in CLOSED if name.startswith("count_ball")}
points = arrays(float, (3, D), elements=st.floats(-20, 20, width=32))


def second_solver(name):
    return "HIGHS" if name in POLYHEDRA else "ECOS"


@pytest.mark.parametrize("name", SETS)
def test_support_agrees_with_two_solvers(name):
    rng = np.random.default_rng(4)
    program = SupportProgram(SETS[name])
    for _ in range(5):
        w = bounded_direction(name, rng)
        x = SETS[name].support(w)
        assert SETS[name].violation(x[None, :])[0] < 1e-7
        for solver in ("CLARABEL", second_solver(name)):
            assert w @ x == pytest.approx(w @ program(w, solver), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_projection_agrees_with_two_solvers(name):
    rng = np.random.default_rng(5)
    program = NearestProgram(SETS[name])
    Z = rng.normal(scale=3.0, size=(4, D))
    nearest = SETS[name].project(Z)
    assert SETS[name].violation(nearest).max() < 1e-6
    for z, x in zip(Z, nearest, strict=True):
        for solver in ("CLARABEL", "ECOS"):
            other = program(z, solver)
            assert np.sum((x - z) ** 2) == pytest.approx(np.sum((other - z) ** 2), rel=1e-6, abs=1e-6)
            np.testing.assert_allclose(x, other, atol=2e-3)  # the root of the solvers' own tolerance


@pytest.mark.parametrize("name", CLOSED)
@settings(max_examples=25)
@given(Z=points)
def test_projection_properties(name, Z):
    feasible = CLOSED[name]
    nearest = feasible.project(Z)
    scale = 1 + np.abs(Z).max()
    assert feasible.violation(nearest).max() < 1e-7 * scale
    np.testing.assert_allclose(feasible.project(nearest), nearest, atol=1e-7 * scale)
    inside = feasible.contains(Z, 0.0)
    np.testing.assert_allclose(nearest[inside], Z[inside], atol=1e-12 * scale)
    others = feasible.project(np.random.default_rng(0).normal(scale=5, size=(30, D)))
    angles = np.einsum("id,ijd->ij", Z - nearest, others[None, :, :] - nearest[:, None, :])
    assert angles.max() < 1e-6 * scale**2


@pytest.mark.parametrize("name", SETS)
def test_no_feasible_point_beats_the_support(name):
    rng = np.random.default_rng(6)
    feasible = SETS[name]
    X = points_near(feasible, rng, n=20)
    X = X[feasible.contains(X, 1e-9)]
    assert len(X) > 5
    for _ in range(5):
        w = bounded_direction(name, rng)
        assert (X @ w).max() <= w @ feasible.support(w) + 1e-6
        assert 3 * w @ feasible.support(w) == pytest.approx(3 * w @ feasible.support(3 * w), abs=1e-5)


@pytest.mark.parametrize("name", CLOSED)
def test_support_of_no_direction_is_any_point(name):
    assert CLOSED[name].contains(CLOSED[name].support(np.zeros(D))[None, :])


@pytest.mark.parametrize("name", MIXED)
def test_intersection_projects_onto_the_variational_inequality(name):
    rng = np.random.default_rng(7)
    Z = rng.normal(scale=3, size=(5, D))
    nearest = MIXED[name].project(Z)
    others = MIXED[name].project(rng.normal(scale=3, size=(10, D)))
    angles = np.einsum("id,ijd->ij", Z - nearest, others[None, :, :] - nearest[:, None, :])
    assert angles.max() < 1e-4
    np.testing.assert_allclose(MIXED[name].project(nearest), nearest, atol=1e-5)
    inside = others[MIXED[name].contains(others)]
    np.testing.assert_array_equal(MIXED[name].project(inside), inside)


@pytest.mark.parametrize("name", SETS)
def test_sparse_rows_give_what_dense_rows_give(name):
    rng = np.random.default_rng(8)
    X = rng.normal(scale=2, size=(12, D)) * (rng.random((12, D)) < 0.5)
    X = np.vstack([X, SETS[name].project(X), np.zeros((1, D))])
    rows = sp.csr_array(X)
    np.testing.assert_allclose(SETS[name].violation(rows), SETS[name].violation(X), atol=1e-9)
    np.testing.assert_array_equal(SETS[name].contains(rows, 1e-6), SETS[name].contains(X, 1e-6))
    np.testing.assert_allclose(SETS[name].project(rows[:3]), SETS[name].project(X[:3]), atol=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_no_rows_and_input_left_alone(name):
    assert SETS[name].violation(np.zeros((0, D))).shape == (0,)
    assert SETS[name].violation(sp.csr_array((0, D))).shape == (0,)
    X = np.full((2, D), 7.5)
    SETS[name].project(X)
    assert (X == 7.5).all()


@pytest.mark.parametrize("name", ["ball", "slab", "plane", "halfspace", "tube"])
def test_violation_is_the_distance_to_the_set(name):
    X = np.random.default_rng(9).normal(scale=3, size=(20, D))
    distance = np.linalg.norm(X - SETS[name].project(X), axis=1)
    np.testing.assert_allclose(SETS[name].violation(X), distance, atol=1e-9)
    assert distance.max() > 0.5
