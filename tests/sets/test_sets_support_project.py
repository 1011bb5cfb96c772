"""Support and projection: agreement with conic solvers, and the inequalities that characterise them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from set_cases import CLOSED, MIXED, SETS, D

points = arrays(float, (3, D), elements=st.floats(-20, 20, width=32))


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


@pytest.mark.parametrize("name", ["ball", "slab", "plane", "halfspace", "tube"])
def test_violation_is_the_distance_to_the_set(name):
    X = np.random.default_rng(9).normal(scale=3, size=(20, D))
    distance = np.linalg.norm(X - SETS[name].project(X), axis=1)
    np.testing.assert_allclose(SETS[name].violation(X), distance, atol=1e-9)
    assert distance.max() > 0.5
