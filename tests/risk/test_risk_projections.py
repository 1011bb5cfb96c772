"""Projections of rows: feasible, idempotent, non-expansive and nearest; the same in numpy and in torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from linpoison.core import InfeasibleSet, InputError  # noqa: E402
from linpoison.risk import Box, Everywhere, Intersection, L2AroundSeed, L2Ball, LinfAroundSeed, Sphere, Tied  # noqa: E402
from linpoison.risk.arrays import to_numpy  # noqa: E402

N, D = 5, 4
SEEDS = np.random.default_rng(9).normal(size=(N, D))
SETS = {
    "everywhere": Everywhere(),
    "box": Box(-0.5, 0.8),
    "box of columns": Box([-1.0, 0.0, -0.5, 0.2], [1.0, 0.1, 0.5, 0.2]),
    "ball": L2Ball(0.7),
    "ball around": L2Ball(0.7, center=[1.0, 0.0, 0.0, 1.0]),
    "around seeds": L2AroundSeed(SEEDS, 0.6),
    "box around seeds": LinfAroundSeed(SEEDS, 0.3),
    "box and ball": Intersection(Box(-0.5, 0.8), L2Ball(0.7)),
    "three": Intersection(Box(-3.0, 3.0), L2AroundSeed(SEEDS, 0.6), LinfAroundSeed(SEEDS, 0.4)),
}
every = pytest.mark.parametrize("name", SETS)


def rows(seed=0, scale=2.0):
    return scale * np.random.default_rng(seed).normal(size=(N, D))


@every
@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_projections_are_feasible_idempotent_and_non_expansive(name, seed):
    part, X, Z = SETS[name], rows(seed), rows(seed + 1)
    P, Q = part.project(X), part.project(Z)
    assert part.violation(P).max() < 1e-7
    assert part.contains(P, 1e-7).all()
    np.testing.assert_allclose(part.project(P), P, atol=1e-7)
    assert (np.linalg.norm(P - Q, axis=1) <= np.linalg.norm(X - Z, axis=1) + 1e-7).all()


@every
@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_no_other_feasible_row_is_nearer(name, seed):
    part, X = SETS[name], rows(seed)
    P, other = part.project(X), part.project(rows(seed + 1))
    assert (((X - P) * (other - P)).sum(axis=1) <= 1e-6).all()


@every
def test_tensors_and_images_are_projected_alike(name):
    part, X = SETS[name], rows()
    np.testing.assert_allclose(to_numpy(part.project(torch.as_tensor(X))), part.project(X), atol=1e-12)
    single = part.project(torch.as_tensor(X, dtype=torch.float32))
    assert single.dtype == torch.float32


def test_the_rows_given_are_left_alone():
    for part in SETS.values():
        X = rows()
        part.project(X)
        np.testing.assert_array_equal(X, rows())


@every
def test_a_part_of_the_rows_has_its_own_sets(name):
    part, X, index = SETS[name], rows(), np.array([3, 1])
    np.testing.assert_allclose(part.take(index).project(X[index]), part.project(X)[index], atol=1e-8)


def test_violations_are_distances():
    np.testing.assert_allclose(Box(0, 1).violation(np.array([[2.0, 0.5], [0.1, 0.2]])), [1.0, 0.0])
    np.testing.assert_allclose(L2Ball(1.0).violation(np.array([[3.0, 4.0]])), [4.0])
    assert Everywhere().contains(rows()).all()
    assert not L2Ball(1.0).contains(np.array([[3.0, 4.0]])).any()


def test_pixels_after_normalising():
    box = Box.pixels(0.1307, 0.3081)
    assert float(box.lower) == pytest.approx(-0.4242, abs=5e-5)
    assert float(box.upper) == pytest.approx(2.8215, abs=5e-5)
    mean, sd = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.2, 0.1])
    colours = Box.pixels(mean, sd)
    X = torch.as_tensor(10 * np.random.default_rng(0).normal(size=(2, 3, 4, 4)))
    pixels = (
        to_numpy(colours.project(X)) * np.array([0.2, 0.2, 0.1])[:, None, None]
        + np.array([0.5, 0.4, 0.3])[:, None, None]
    )
    assert pixels.min() == pytest.approx(0.0, abs=1e-12)
    assert pixels.max() == pytest.approx(1.0)
    columns = Box.pixels([0.5, 0.4], [0.1, 0.2], image=False)
    np.testing.assert_allclose(columns.project(np.full((1, 2), 99.0)), [[5.0, 3.0]])


def test_an_empty_intersection_is_told():
    with pytest.raises(InfeasibleSet, match="may be empty"):
        Intersection(Box(1.0, 2.0), L2Ball(0.5), maxiter=200).project(rows())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Box(1.0, 0.0), "lower bounds"),
        (lambda: Box(0.0, np.nan), "lower bounds"),
        (lambda: Box.pixels(0.5, 0.0), "standard deviations"),
        (lambda: L2Ball(-1.0), "radius"),
        (lambda: L2AroundSeed(SEEDS, -1.0), "radius"),
        (lambda: LinfAroundSeed(SEEDS, -1.0), "radius"),
        (lambda: Intersection(), "at least one set"),
        (lambda: Intersection(Box(0, 1), tol=0), "tol"),
        (lambda: Intersection(Box(0, 1), maxiter=0), "maxiter"),
    ],
)
def test_sets_are_checked(build, words):
    with pytest.raises(InputError, match=words):
        build()


def test_rows_on_a_sphere_have_its_length_and_no_other_row_of_it_is_nearer():
    part, X = Sphere(3.0, center=[1.0, 0.0, 0.0, 1.0]), rows()
    X[0] = [1.0, 0.0, 0.0, 1.0]
    P, rng = part.project(X), np.random.default_rng(1)
    assert part.violation(P).max() < 1e-12
    np.testing.assert_allclose(np.linalg.norm(P - [1.0, 0.0, 0.0, 1.0], axis=1), 3.0, rtol=1e-12)
    others = part.project(rng.normal(size=(200, D)))
    for x, p in zip(X, P, strict=True):
        assert np.linalg.norm(others - x, axis=1).min() >= np.linalg.norm(p - x) - 1e-12
    np.testing.assert_allclose(to_numpy(part.project(torch.as_tensor(X))), P, atol=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_tied_rows_are_the_nearest_equal_rows(seed):
    part, X = Tied(3, L2Ball(0.7)), np.random.default_rng(seed).normal(size=(6, D))
    P, other = part.project(X), part.project(np.random.default_rng(seed + 1).normal(size=(6, D)))
    for group in (P[:3], P[3:]):
        np.testing.assert_array_equal(group, np.tile(group[0], (3, 1)))
    assert np.linalg.norm(P, axis=1).max() <= 0.7 + 1e-12
    assert ((X - P) * (other - P)).sum() <= 1e-9
    np.testing.assert_allclose(part.project(P), P, atol=1e-12)
    np.testing.assert_allclose(to_numpy(part.project(torch.as_tensor(X))), P, atol=1e-12)


def test_groups_stay_whole():
    part = Tied(3)
    assert part.take(np.arange(3, 9)) is part
    assert part.take(np.arange(0)) is part
    for index in (np.arange(4), np.arange(1, 4), np.array([0, 2, 1])):
        with pytest.raises(InputError, match="whole groups of 3 rows"):
            part.take(index)
    with pytest.raises(InputError, match="whole groups of 3 rows, got 4 rows"):
        part.project(np.zeros((4, D)))
    with pytest.raises(InputError, match="radius"):
        Sphere(0.0)


@pytest.mark.parametrize("part", [Sphere(2.0), L2Ball(0.5), Tied(2, Sphere(2.0))], ids=["sphere", "ball", "tied"])
def test_no_rows_are_no_rows(part):
    assert part.project(np.zeros((0, 2, 3))).shape == (0, 2, 3)
    assert part.project(torch.zeros((0, 2, 3))).shape == (0, 2, 3)
    assert part.violation(np.zeros((0, 2, 3))).shape == (0,)


def test_rows_at_the_center_leave_it_however_they_lie_in_memory():
    rows = torch.ones((2, 3, 4, 4)).to(memory_format=torch.channels_last)
    found = Sphere(2.0, center=1.0).project(rows)
    assert found.shape == rows.shape
    np.testing.assert_allclose(to_numpy(found - 1).reshape(2, -1), 2 * np.eye(1, 48).repeat(2, axis=0))
