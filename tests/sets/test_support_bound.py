import numpy as np
import pytest

from linpoison.sets import Ball, Box, CountBall, Halfspace, Slab, SubspaceTube, intersect, support_bound

RNG = np.random.default_rng(3)
CENTER = RNG.normal(size=4)
SETS = {
    "ball": Ball(CENTER, 1.5),
    "box": Box(-np.ones(4), np.ones(4)),
    "ball and slab": intersect(Ball(CENTER, 1.5), Slab(RNG.normal(size=4), 0.1, 0.4)),
    "counts": intersect(CountBall([1.0, 0.5, 0.2, 2.0], 2.5, [3, 2, 2, 4]), Halfspace(RNG.normal(size=4), 1.0)),
    "tube": intersect(Ball(CENTER, 1.5), SubspaceTube(np.linalg.qr(RNG.normal(size=(4, 2)))[0], 1.0, CENTER)),
}


@pytest.mark.parametrize("name", SETS)
def test_bound_is_above_every_point_and_tight(name):
    feasible = SETS[name]
    points = feasible.project(RNG.normal(size=(40, 4)) * 3)
    for w in RNG.normal(size=(25, 4)) * 10 ** RNG.uniform(-3, 3, size=(25, 1)):
        bound = support_bound(feasible, w)
        assert (points @ w).max() <= bound + 1e-7 * np.linalg.norm(w)
        assert bound == pytest.approx(float(w @ feasible.support(w)), abs=1e-6 * np.linalg.norm(w))


def test_nothing_bounds_an_open_direction():
    assert support_bound(Halfspace([1.0, 0.0], 1.0), [0.0, 1.0]) == np.inf
    assert support_bound(intersect(Halfspace([1.0, 0.0], 1.0), Slab([1.0, 0.0], 0.0, 2.0)), [1.0, 1.0]) == np.inf
    assert support_bound(Ball([0.0], 1.0), [0.0]) == 0.0
