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
