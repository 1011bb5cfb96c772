"""Supports in many directions at once, against the conic solver and their own dual bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from multi_cases import blobs, digits

from linpoison.attacks.many import SupportBatch, ball_regions, capped_regions, refitted_regions
from linpoison.core import CapabilityError, Dataset, InputError, MultiModel, Poison
from linpoison.defenses import L2Defense
from linpoison.losses import CrammerSinger
from linpoison.sets import Ball, Box, Halfspace, Intersection, Slab, SupportProgram, rival_caps


def a_region(seed: int, m: int, d: int = 25, boxed: bool = True, shift: float = 0.1) -> Intersection:
    """A ball, unit box and half-spaces whose boundary is near the center."""
    rng = np.random.default_rng(seed)
    center, normals = rng.random(d), rng.standard_normal((m, d))
    parts = [Ball(center, 0.9), *(Box(np.zeros(d), np.ones(d)),) * boxed]
    return Intersection([*parts, *(Halfspace(row, row @ center + shift * rng.random()) for row in normals)])


@pytest.mark.parametrize(("m", "boxed"), [(0, True), (0, False), (3, False), (6, True)])
@pytest.mark.parametrize("seed", range(3))
def test_supports_agree_with_the_conic_solver(seed, m, boxed):
    region = a_region(seed, m, boxed=boxed)
    directions = 10.0 ** (seed - 1) * np.random.default_rng(seed + 9).standard_normal((4, 25))
    found, conic = SupportBatch.of(region)(directions), SupportProgram(region)
    assert not found.empty
    assert region.violation(found.points).max() <= 1e-6
    for direction, point, bound in zip(directions, found.points, found.bounds, strict=True):
        expected = direction @ conic(direction)
        assert direction @ point == pytest.approx(expected, rel=1e-6)
        assert bound == pytest.approx(expected, rel=1e-6)


def test_a_direction_of_zero_and_a_box_inside_the_ball():
    region = Intersection([Ball([0.5, 0.5], 9.0), Box([0.0, 0.0], [1.0, 1.0])])
    found = SupportBatch.of(region)(np.array([[0.0, 0.0], [1.0, -2.0]]))
    assert region.contains(found.points).all()
    assert np.allclose(found.points[1], [1.0, 0.0], atol=1e-5)
    assert found.bounds == pytest.approx([0.0, 1.0], abs=1e-5)


def test_an_empty_set_is_proved_empty():
    region = a_region(0, 2, shift=0.0)
    apart = Intersection([*region.sets, Halfspace(np.eye(25)[0], -0.5)])
    assert SupportBatch.of(apart)(np.eye(25)[:3]).empty


def test_other_sets_are_refused():
    with pytest.raises(CapabilityError):
        SupportBatch.of(Slab([1.0, 0.0], 0.0, 1.0))
    with pytest.raises(CapabilityError):
        SupportBatch.of(Box([0.0], [1.0]))


def test_half_spaces_are_the_cap_on_the_hinge():
    data = blobs()
    model = MultiModel.from_matrix(np.random.default_rng(5).standard_normal((3, 5)))
    for label in range(3):
        y = np.full(data.n, label)
        inside = Intersection(rival_caps(model, label, 0.7)).contains(data.X)
        assert (inside == (CrammerSinger().value(model.scores(data.X), y) <= 0.7)).all()
        assert 0 < inside.sum() < data.n
    with pytest.raises(InputError):
        rival_caps(MultiModel.zeros(3, 4), 0, 0.7)


def test_ball_regions_hold_their_share_of_each_class():
    train, _ = digits(500)
    regions = ball_regions(train, 0.8)
    for label, region in regions.items():
        share = region.contains(train.X[train.y == label]).mean()
        assert share == pytest.approx(0.8, abs=0.03)
    decoy = MultiModel.from_matrix(np.random.default_rng(5).standard_normal((10, 65)))
    capped = capped_regions(regions, decoy, np.full(10, 0.25))
    assert len(capped[3].sets) == len(regions[3].sets) + 9


def test_refitted_regions_are_what_a_defender_keeps():
    train, _ = digits(900)
    label = 3
    own = np.flatnonzero(train.y == label)
    calm = refitted_regions(train, train.take([]), 0.05)[label]
    share = calm.contains(train.X[own]).mean()
    assert share == pytest.approx(0.949, abs=1.5 / own.size)
    away = train.X[own] - train.X[own].mean(axis=0)
    far = train.X[own[np.argmax((away**2).sum(axis=1))]]
    at = calm.project(far[None])[0]
    for _ in range(20):  # the ball follows the poison, and the poison the ball
        poison = Dataset.coded(at[None], [label], [8.0], train.k)
        region = refitted_regions(train, poison, 0.05)[label]
        at = region.project(far[None])[0]
    assert calm.violation(at[None])[0] > 0.01
    kept = L2Defense(0.05).fit(*stacked(train, poison)).sample_indices_
    assert (kept >= train.n).sum() == 8
    with pytest.raises(InputError, match="less poison"):
        refitted_regions(train, replace(poison, weight=[1e6]), 0.05)


def stacked(train, poison):
    whole = Poison(poison.X, poison.y, poison.weight, poison.n_classes).expanded()
    return np.vstack([train.X, whole.X]), np.concatenate([train.y, whole.y])
