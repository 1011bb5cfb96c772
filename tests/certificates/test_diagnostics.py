import numpy as np
import pytest
import scipy.sparse as sp
from poisoning import INTERCEPTS, LOSSES, SCALINGS, SETS, boxes, claim_of, retrained, rows

from linpoison.certificates import diagnostics
from linpoison.certificates.diagnostics import comparator_budget, projections
from linpoison.core import Dataset, InputError, LinearModel
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Problem, Squared
from linpoison.sets import Ball, Box, ByLabel, Halfspace

IDS = {"ids": lambda value: getattr(value, "name", str(value))}


def model(v):
    return LinearModel.from_vector(v)


@pytest.mark.parametrize("loss", LOSSES, **IDS)
def test_gain_is_an_upper_bound_and_close(loss):
    rng = np.random.default_rng(0)
    ball = Ball([0.3, -0.2], 1.1)
    angle = np.linspace(0, 2 * np.pi, 400)
    radii = np.linspace(0, 1.1, 60)
    grid = ball.center + radii[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    points = grid.reshape(-1, 2)
    for _ in range(5):
        v, goal = rng.normal(size=(2, 3)) * 2
        for label in (1.0, -1.0):
            margins = [label * (points @ w[:-1] + w[-1]) for w in (v, goal)]
            best = np.max(loss.value(margins[0]) - loss.value(margins[1]))
            found = diagnostics._largest_gain(loss, ball, label, model(v), model(goal))
            scale = 1 + np.abs(loss.value(margins[0])).max()
            assert found >= best
            assert found <= max(best, 0) + 0.02 * scale


def test_gain_of_the_hinge_agrees_with_the_polygon():
    rng = np.random.default_rng(1)
    box = Box([-1.0, 0.0, -2.0], [1.0, 2.0, 0.5])
    for _ in range(10):
        v, goal = rng.normal(size=(2, 4))
        exact = diagnostics._hinge_gain(box, 1.0, v, goal)
        rough = diagnostics._polygon_gain(Hinge(), box, 1.0, model(v), model(goal))
        assert exact <= rough + 1e-6  # the polygon lies around the set
        assert rough <= exact + 0.15 * (1 + exact)


@pytest.mark.parametrize(
    ("loss", "scaling", "intercept"),
    [(a, list(SCALINGS)[(i + j) % 2], b) for i, a in enumerate(LOSSES) for j, b in enumerate(INTERCEPTS)],
    **IDS,
)
def test_no_poison_is_cheaper_than_the_bound(loss, scaling, intercept):
    rng, moved = np.random.default_rng(2), 0
    for sets in ("balls", "mixed") if isinstance(loss, Hinge) else ("boxes",):
        claim = claim_of(loss, sets, 0.3, **INTERCEPTS[intercept], **SCALINGS[scaling])
        clean = make_learner(claim.problem).fit(claim.train)
        for mass in (0.05, 0.3):
            y = rng.choice([-1.0, 1.0], size=2)
            X = np.array([claim.sets[k].support(-k * clean.coef + 0.3 * rng.normal(size=3)) for k in y])
            target = retrained(claim, X, y, mass)
            around = [clean, model(0.5 * (target + clean.vector)), model(target + 0.01 * (clean.vector - target))]
            if not claim.problem.fit_intercept:
                around = [model(np.append(other.coef, 0.0)) for other in around]
            found = comparator_budget(claim.problem, model(target), claim.train, claim.sets, around)
            assert found.epsilon == max(found.values) == found.values[found.best]
            assert found.epsilon <= mass * (1 + 1e-4) + 1e-5
            if np.linalg.norm(target - clean.vector) > 1e-2:
                assert found.epsilon > 0
                moved += 1
    assert moved


def test_a_closer_comparator_comes_near_the_true_budget():
    claim = claim_of(Hinge(), "balls", 0.3)
    clean = make_learner(claim.problem, method="reference").fit(claim.train)
    x = claim.sets[1].support(-clean.coef)
    target = retrained(claim, x[None, :], np.array([1.0]), 0.3, method="reference")
    away = [model(target + t * (clean.vector - target)) for t in (1.0, 0.3, 0.05)]
    found = comparator_budget(claim.problem, model(target), claim.train, claim.sets, away)
    assert list(found.values) == sorted(found.values)
    assert 0.15 < found.epsilon <= 0.3 + 1e-6


def test_extreme_answers():
    train = rows()
    sets = boxes(train)
    problem = Problem(Hinge(), 0.1)
    clean = make_learner(problem).fit(train)
    wrong = LinearModel(-100 * clean.coef)
    assert comparator_budget(problem, clean, train, sets, [wrong]).epsilon == 0.0
    points = ByLabel({k: Ball(np.zeros(3), 0.0) for k in (1, -1)})  # nothing can be planted that moves a model
    assert comparator_budget(problem, wrong, train, points, [LinearModel(np.zeros(3))]).epsilon == np.inf
    unbounded = ByLabel({k: Halfspace([1.0, 0.0, 0.0], 1.0) for k in (1, -1)})
    for loss in (Hinge(), Squared()):
        assert comparator_budget(Problem(loss, 0.1), wrong, train, unbounded, [clean]).epsilon == 0.0


def test_comparators_are_demanded():
    train = rows()
    with pytest.raises(InputError, match="one comparator"):
        comparator_budget(Problem(Hinge(), 0.1), LinearModel(np.zeros(3)), train, boxes(train), [])
    with pytest.raises(InputError, match="3 features"):
        comparator_budget(
            Problem(Hinge(), 0.1), LinearModel(np.zeros(2)), train, boxes(train), [LinearModel(np.zeros(3))]
        )


@pytest.mark.parametrize("sets", SETS)
def test_projections_are_the_moments_along_the_direction(sets):
    train, w = rows(n=40), np.array([1.0, -2.0, 0.5])
    parts = SETS[sets](train)
    found = projections(train, parts, w)
    unit = w / np.linalg.norm(w)
    values = train.X @ unit
    by_class = {k: values[train.y == k] for k in (1, -1)}
    assert found.separability == pytest.approx(abs(by_class[1].mean() - by_class[-1].mean()))
    within = np.concatenate([part - part.mean() for part in by_class.values()])
    assert found.deviation == pytest.approx(np.sqrt(np.mean(within**2)))
    ends = [(s * unit) @ parts[k].support(s * unit) for s in (1, -1) for k in (1, -1)]
    assert found.size == pytest.approx(max(ends[:2]) + max(ends[2:]), rel=1e-6)
    assert found.separation_per_deviation == pytest.approx(found.separability / found.deviation)
    assert found.separation_per_size == pytest.approx(found.separability / found.size)
    longer = projections(Dataset(sp.csr_array(train.X), train.y), parts, LinearModel(7 * w))
    assert longer.size == pytest.approx(found.size)
    assert longer.deviation == pytest.approx(found.deviation)


def test_projections_of_unbounded_sets_and_bad_directions():
    train = rows()
    unbounded = ByLabel({k: Halfspace([1.0, 0.0, 0.0], 1.0) for k in (1, -1)})
    found = projections(train, unbounded, [0.0, 1.0, 0.0])
    assert (found.size, found.separation_per_size) == (np.inf, 0.0)
    for bad in (np.zeros(3), np.ones(2), [np.nan, 1.0, 1.0]):
        with pytest.raises(InputError, match="direction"):
            projections(train, boxes(train), bad)
