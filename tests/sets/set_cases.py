"""One small instance of every set, with what the shared tests need to know about it."""

from __future__ import annotations

import numpy as np

from linpoison.core import LinearModel
from linpoison.losses import Hinge
from linpoison.sets import (
    Ball,
    Box,
    CountBall,
    FeasibleSet,
    Halfspace,
    Intersection,
    NonNegative,
    Slab,
    SubspaceTube,
    loss_cap,
)

D = 5
_rng = np.random.default_rng(0)
CENTER = _rng.normal(size=D)
NORMAL = _rng.normal(size=D)
BASIS = np.linalg.qr(_rng.normal(size=(D, 2)))[0]
COUNT_CENTER = np.array([0.3, 1.7, 0.05, 2.4, 0.0])
UPPER = np.array([3.0, 9.0, 1.0, 4.0, 0.0])

CLOSED: dict[str, FeasibleSet] = {
    "ball": Ball(CENTER, 1.3),
    "slab": Slab(NORMAL, 0.4, 0.7),
    "plane": Slab(NORMAL, 0.4, 0.0),
    "halfspace": Halfspace(NORMAL, -0.5),
    "tube": SubspaceTube(BASIS, 0.8, CENTER),
    "box": Box([-1.0, 0.0, -np.inf, 2.0, -3.0], [1.0, np.inf, 0.5, 2.0, -1.0]),
    "non_negative": NonNegative(D),
    "loss_cap": loss_cap(LinearModel(NORMAL, 0.3), -1, Hinge(), 1.5),
    "count_ball": CountBall(COUNT_CENTER, 2.2, UPPER),
    "count_ball_small": CountBall(COUNT_CENTER, 0.9, UPPER),
    "count_ball_open": CountBall(COUNT_CENTER, 3.1, np.full(D, np.inf)),
}
MIXED: dict[str, FeasibleSet] = {
    "ball_and_box": Intersection([Ball(CENTER, 1.3), Box(np.full(D, -1.0), np.full(D, 0.5))]),
    "ball_slab_halfspace": Intersection(
        [Ball(CENTER, 1.3), Slab(NORMAL, NORMAL @ CENTER, 0.5), Halfspace(CENTER, 1.0)]
    ),
    "ball_tube_non_negative": Intersection([Ball(np.abs(CENTER), 1.3), SubspaceTube(BASIS, 0.8), NonNegative(D)]),
    "counts_and_slab": Intersection([CountBall(COUNT_CENTER, 2.2, UPPER), Slab(NORMAL, NORMAL @ COUNT_CENTER, 0.5)]),
    "box_and_halfspace": Intersection([Box(np.zeros(D), np.ones(D)), Halfspace(np.ones(D), 1.5)]),
}
SETS = CLOSED | MIXED


def bounded_direction(name: str, rng: np.random.Generator) -> np.ndarray:
    """A direction in which the set of that name is bounded."""
    w = rng.normal(size=D)
    special = {
        "slab": NORMAL * w[0],
        "plane": NORMAL * w[0],
        "halfspace": NORMAL * abs(w[0]),
        "loss_cap": NORMAL * abs(w[0]),
        "tube": w - BASIS @ (BASIS.T @ w),
        "box": w * [1, -np.sign(w[1]), np.sign(w[2]), 1, 1],
        "non_negative": -np.abs(w),
    }
    return np.asarray(special.get(name, w))


def points_near(feasible: FeasibleSet, rng: np.random.Generator, n: int = 40) -> np.ndarray:
    """Random points, about half of them inside: outer points, and projections pulled inwards."""
    outer = rng.normal(scale=3.0, size=(n, D))
    inside = feasible.project(outer)
    mean = inside.mean(axis=0)
    return np.vstack(
        [outer, mean + 0.9 * (inside - mean), inside + 0.2 * (outer - inside), 0.5 * (inside + inside[::-1])]
    )
