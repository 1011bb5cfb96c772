import numpy as np
import pytest

from linpoison.sets import (
    Ball,
    Box,
    CountBall,
    Halfspace,
    Intersection,
    Slab,
    SubspaceTube,
    SupportProgram,
)


def make_set(kind, rng):
    ball, normal = Ball(rng.normal(size=4), 2.0), rng.normal(size=4)
    slab = Slab(normal, float(normal @ ball.center) + 0.2, 0.4)
    side = Halfspace([1.0, 0, 0, 0], ball.center[0] + 0.3)
    return {
        "slab": Intersection([ball, slab]),
        "halfspace": Intersection([ball, slab, side]),
        "box": Intersection([ball, Box(np.full(4, -1.0), np.full(4, 1.5)), slab]),
        "ball": ball,
        "counts": CountBall([1.0, 0.5, 2.0, 0.1], 2.0, [3, 3, 3, 3]),
        "tube": Intersection([ball, SubspaceTube(np.eye(4)[:, :2], 0.8, ball.center)]),
    }[kind], normal


@pytest.mark.parametrize("kind", ["slab", "halfspace", "box", "ball", "counts", "tube"])
def test_the_bound_is_valid_and_tight(kind):
    rng = np.random.default_rng(0)
    part, _ = make_set(kind, rng)
    bound, program = part.support_bound, SupportProgram(part)
    for _ in range(20):
        w = rng.normal(size=4)
        true = float(w @ program(w))
        assert true - 1e-6 <= bound(w) <= true + 1e-5


@pytest.mark.parametrize("kind", ["slab", "halfspace"])
@pytest.mark.parametrize("off", [0.0, 1e-12, 1e-9, 1e-7])
def test_directions_of_a_normal(kind, off):
    rng = np.random.default_rng(1)
    part, normal = make_set(kind, rng)
    bound, program = part.support_bound, SupportProgram(part)
    for sign in (1, -1):
        w = sign * normal + off * rng.normal(size=4)
        assert bound(w) == pytest.approx(float(w @ program(w)), abs=1e-5)


def test_unbounded_directions_and_zero():
    assert Box([-np.inf, 0.0], [np.inf, 1.0]).support_bound([1.0, 0.0]) == np.inf
    assert Halfspace([1.0, 0.0], 1.0).support_bound([0.0, 1.0]) == np.inf
    assert Halfspace([1.0, 0.0], 1.0).support_bound([0.0, 0.0]) == 0.0
    both = Intersection([Halfspace([1.0, 0.0], 1.0), Slab([1.0, 0.0], 0.0, 2.0)])
    assert both.support_bound([1.0, 1.0]) == np.inf


@pytest.mark.parametrize("seed", [1, 8, 14, 18])
def test_a_direction_that_the_search_does_not_settle_on_is_bounded_beside_it(seed):
    """A column whose bound is the centre hardly counts, and bounds and slab decide: by parts alone 0.08 to 7.5 more."""
    rng = np.random.default_rng(seed)
    center, normal, w = rng.uniform(0.2, 0.8, 3), rng.normal(size=3), rng.normal(size=3)
    center[0], normal[0] = 0.0, 0.0
    w[0] = 10.0 ** rng.uniform(-9, -4) * np.linalg.norm(w) * rng.choice([-1, 1])
    w[1:] = -0.94 * np.linalg.norm(w[1:]) * normal[1:] / np.linalg.norm(normal) + 0.3 * w[1:]
    ball = Ball(center, rng.uniform(0.8, 1.2) * np.sqrt(3) * 0.65)
    slab = Slab(normal, float(normal @ center), 0.2 * np.linalg.norm(normal))
    part = Intersection([ball, slab, Box(np.zeros(3), np.ones(3))])
    true = float(w @ SupportProgram(part)(w))
    assert true - 1e-7 <= part.support_bound(w) <= true + 0.02 * np.linalg.norm(w)
    assert true + 0.07 <= min(each.support_bound(w) for each in part.parts)
