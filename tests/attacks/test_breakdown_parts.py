"""The parts of the breakdown attack against closed forms, finite differences, linear programs and other learners."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog

from linpoison.attacks.breakdown import rays as rays_module
from linpoison.attacks.breakdown.climb import Climb
from linpoison.attacks.breakdown.plans import Aim, Ground, Plan, far_plans, halves
from linpoison.attacks.breakdown.rays import Rays, RaySearch, far_direction, worst_rays
from linpoison.attacks.breakdown.trials import Trials, excess
from linpoison.attacks.decoys import LabelFlipDecoys
from linpoison.attacks.newton import NewtonLearner
from linpoison.attacks.scenario import Scenario
from linpoison.core import Budget, Dataset, Domain, LinearModel, Poison
from linpoison.datasets import gaussians
from linpoison.defenses import make_defense
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared

SPLIT = gaussians(n=60, d=4, seed=1)
PROBLEMS = [
    Problem(Hinge(), 0.05),
    Problem(Hinge(), 0.05, fit_intercept=False),
    Problem(SmoothHinge(0.2), 0.05),
    Problem(Logistic(), 0.05, penalize_intercept=False),
    Problem(Squared(), 0.05, penalize_intercept=False),
    Problem(Logistic(), 0.05, scaling="sum", n_reference=60),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=repr)
def test_newton_finds_the_minimum_of_other_learners_with_far_rows_in(problem):
    far = Dataset([[300.0, 100.0, 0.0, 50.0]], [1.0], [4.0])
    data = SPLIT.train.mix(far)
    other = make_learner(problem).fit(data)
    assert problem.value(NewtonLearner(problem).fit(data), data) <= problem.value(other, data) + 3e-3
    assert problem.value(NewtonLearner(problem, coarse=True).fit(data), data) <= problem.value(other, data) + 3e-2
    assert excess(problem, data, other) <= 1e-3
    assert excess(problem, data, LinearModel(other.coef + 0.3, other.intercept)) > 1e-2


@pytest.mark.parametrize("loss", [Logistic(), Squared()])
def test_models_of_rays_are_stationary_and_far_rows_plant_them(loss):
    problem = Problem(loss, 0.05, penalize_intercept=False)
    copies = 6.0
    rays = Rays(problem, SPLIT.train, SPLIT.test, copies)
    W = np.random.default_rng(0).normal(size=(4, 3)) + 0.8
    models = rays.models(W, *rays.fit(W, steps=60))
    for model in models:
        g = np.append(
            problem.data_gradient(model, SPLIT.train)[:-1] + rays.reg * model.coef,
            problem.data_gradient(model, SPLIT.train)[-1],
        )
        assert model.coef @ g[:-1] == pytest.approx(0, abs=1e-6)
        assert g[-1] == pytest.approx(0, abs=1e-6)
        distances = []
        for radius in (1e2, 1e4):
            row = radius * far_direction(rays, model)
            data = SPLIT.train.mix(Dataset(row[None, :], [1.0], [copies]))
            distances.append(NewtonLearner(problem).fit(data).distance(model))
        assert distances[1] < 0.02 < 0.5 * distances[0] + 0.02


def test_slope_of_the_error_is_its_derivative():
    rays = Rays(Problem(Logistic(), 0.05, penalize_intercept=False), SPLIT.train, SPLIT.test)
    W = np.random.default_rng(1).normal(size=(4, 2)) + 0.5
    step, h = np.random.default_rng(2).normal(size=W.shape), 1e-5
    t, b = rays.fit(W, steps=60)
    width = 0.5 * (SPLIT.test.X @ W * t + b).std(axis=0)

    def error(moved):
        t, b = rays.fit(moved, steps=60)
        return (1 / (1 + np.exp(SPLIT.test.y[:, None] * (SPLIT.test.X @ moved * t + b) / width))).mean(axis=0)

    central = (error(W + h * step) - error(W - h * step)) / (2 * h)
    assert (rays.slope(W, t, b, 0.5) * step).sum(axis=0) == pytest.approx(central, rel=1e-3)


def test_least_mass_of_a_model_is_the_closed_form():
    """Of a hinge: ``theta . g + b g_b``, or what the intercept asks, by a linear program in ``a_y x_y`` and ``a_y``."""
    rng = np.random.default_rng(3)
    for _ in range(8):
        theta, g, b, g_b = rng.normal(size=3), rng.normal(size=3), rng.normal(), 0.3 * rng.normal()
        equal = np.zeros((4, 8))
        equal[:3, :3], equal[:3, 3:6], equal[3, 6:] = np.eye(3), -np.eye(3), (1, -1)
        margin = np.vstack([np.r_[theta, np.zeros(3), b - 1, 0], np.r_[np.zeros(3), -theta, 0, -b - 1]])
        found = linprog(
            np.r_[np.zeros(6), 1, 1], margin, np.zeros(2), equal, np.r_[g, g_b],
            bounds=[(None, None)] * 6 + [(0, None)] * 2,
        )  # fmt: skip
        assert found.fun == pytest.approx(max(theta @ g + b * g_b, abs(g_b)), abs=1e-8)


def test_dragged_means_keep_the_working_rows_and_overrun_keeps_what_is_over_the_quota():
    train = SPLIT.train
    ground, aim = Ground(train, 8), Aim(np.array([0.6, 0.8, 0.0, 0.0]), LinearModel(np.zeros(4)))
    plans = dict(far_plans(ground, aim, 8, (60.0,)))
    counts = replace(train, domain=Domain.counts(np.full(4, 9.0)))
    cornered = dict(far_plans(Ground(counts, 8), aim, 8, (60.0,)))
    assert set(cornered) == {f"overrun {who}, radius 60" for who in ("halves", "+1", "-1", "both")}
    assert cornered["overrun +1, radius 60"].points[0, :2].tolist() == [9.0, 9.0]
    assert set(plans) == {f"{name} {who}, radius 60" for name in ("drag", "overrun") for who in ("+1", "-1", "both")}
    for name, stay in (("drag +1, radius 60", 7), ("overrun +1, radius 60", 8 - 2)):
        mixed = train.mix(plans[name].poison(ground).expanded())
        for guard in ("l2", "slab"):
            kept = make_defense(guard).fit(mixed.X, mixed.y).sample_indices_
            assert (kept >= train.n).sum() == stay


def test_rows_of_counts_split_a_direction_and_lie_on_the_margin():
    rng = np.random.default_rng(4)
    theta = rng.normal(size=30)
    u = rng.normal(size=30)
    u -= theta * (u @ theta) / (theta @ theta)
    u /= np.linalg.norm(u)
    model = LinearModel(theta, -0.4)
    rows = halves(Aim(u, model), 50.0)
    assert rows.min() >= 0
    assert rows[0] - rows[1] == pytest.approx(50.0 * u)
    assert model.decision_function(rows) == pytest.approx([1.0, 1.0])


def test_distinct_copies_are_apart_and_a_sparse_ground_gives_sparse_rows():
    ground = Ground(SPLIT.train, 8, spread=0.2)
    plan = Plan(np.array([[50.0, 0.0, 0.0, 0.0]]), np.array([1.0]), np.array([8]), np.array([True]))
    poison = plan.poison(ground)
    assert poison.n_distinct == 8
    assert np.unique(poison.X, axis=0).shape[0] == 8
    assert np.linalg.norm(poison.X[:7] - plan.points, axis=1) == pytest.approx(0.2 * ground.base)
    counts = replace(SPLIT.train, X=sp.csr_array(np.abs(np.round(SPLIT.train.X))), domain=Domain.counts(9, d=4))
    sparse: Poison = plan.poison(Ground(counts, 8))
    assert sp.issparse(sparse.X)
    assert sparse.X.toarray().max() <= 9


@pytest.mark.parametrize("loss", [Hinge(), Squared()])
def test_a_trial_is_given_up_only_where_its_value_is_no_greater_and_costs_fewer_fits(loss):
    guards = {name: make_defense(name) for name in ("l2", "slab", "svd", "knn")}
    scenario = Scenario(SPLIT.train, Problem(loss, 0.05), Budget(0.1), guards, SPLIT.test)
    trials, ground = Trials(scenario, SPLIT.test), Ground(SPLIT.train, 6)
    aim = Aim(np.array([-1.0, -1.0, 0.0, 0.0]) / np.sqrt(2), LinearModel(np.zeros(4)))
    poisons = [plan.poison(ground) for _, plan in far_plans(ground, aim, 6, (5.0, 60.0))]
    near = trials.measure(poisons[0])
    given_up = 0
    for poison in poisons[1:]:
        whole = trials.measure(poison, near)
        for least in (whole.value - 1e-9, whole.value, near.value):
            raced = trials.measure(poison, near, least)
            if raced is None:
                given_up += 1
                assert whole.value <= least
            else:
                assert raced.value == whole.value
        assert trials.measure(poison, near, whole.value - 1e-9) is not None
    assert given_up > 0
    fits = []
    trials.defender.learner.fit, plain = lambda *a, **k: fits.append(1) or plain(*a, **k), trials.defender.learner.fit
    assert trials.measure(poisons[1], near, 1.0) is None
    assert len(fits) <= 2


def boxed():
    """A local search within the range of each column, and its start at the mean of a class."""
    train = replace(SPLIT.train, domain=Domain.of("range", SPLIT.train.X))
    scenario = Scenario(train, Problem(Hinge(), 0.05), Budget(0.1), {}, replace(SPLIT.test, domain=train.domain))
    climb = Climb(Trials(scenario, scenario.aim.target), Ground(train, 6), np.random.default_rng(0))
    middle = train.X[train.y > 0].mean(axis=0)[None, :]
    return climb, climb.state(Plan(middle, np.array([-1.0]), np.array([6]), np.array([False])), "middle")


def test_places_go_to_the_corners_that_do_the_most():
    climb, start = boxed()
    domain, found = climb.ground.domain, climb.corners(start, 12)
    moved = found.plan.points != start.plan.points
    assert moved.any()
    assert ((found.plan.points == domain.lower) | (found.plan.points == domain.upper))[moved].all()
    corners = (Plan(np.array([corner]), *map(np.array, ([-1.0], [6], [False]))) for corner in product(
        *zip(domain.lower, domain.upper, strict=True)))  # fmt: skip
    most = max(state.trial.value for state in climb.states(("corner", plan) for plan in corners))
    assert start.trial.value < 0.8 * most
    assert found.trial.value > 0.95 * most
    assert climb.corners(start, 0) is start


def test_a_move_that_changes_nothing_is_not_measured(monkeypatch):
    climb, start = boxed()
    climb.credit = {"layout": 1.0}  # within ranges no row drags
    monkeypatch.setattr(climb.trials, "measure", None)
    assert climb.run([start], 5) == [start]


def test_moves_that_add_nothing_end_a_search_that_is_impatient(monkeypatch):
    climb, start = boxed()
    measured = []
    monkeypatch.setattr(climb.trials, "measure", lambda *given: measured.append(given))  # none does more
    assert climb.run([start], 40, patience=7) == [start]
    assert len(measured) == 7
    assert climb.run([start], 40) == [start]
    assert len(measured) > 20


def test_a_step_keeps_its_length_where_coordinates_are_at_a_bound():
    climb, start = boxed()
    low, high = climb.ground.domain.lower, climb.ground.domain.upper
    points = np.array([[low[0], high[1], 0.5 * (low[2] + high[2]), low[3]]])
    moved = climb._along(replace(start.plan, points=points), np.array([[-9.0, 9.0, 1.0, 0.0]]), 0.01).points - points
    out = np.linalg.norm(points - climb.ground.center) + 0.1 * climb.ground.base
    np.testing.assert_allclose(moved, [[0.0, 0.0, 0.01 * out, 0.0]], atol=1e-12)
    back = climb._along(replace(start.plan, points=points), np.array([[9.0, -9.0, 0.0, 0.0]]), 0.01).points - points
    assert back[0, 0] > 0 > back[0, 1]


def test_plans_among_others_are_measured_as_far_as_they_can_be_chosen():
    defenses = {name: make_defense(name) for name in ("l2", "slab", "svd")}
    scenario = Scenario(SPLIT.train, Problem(Hinge(), 0.05), Budget(0.1), defenses, SPLIT.test)
    trials, ground = Trials(scenario, SPLIT.test), Ground(SPLIT.train, 6)
    gap = SPLIT.train.X[SPLIT.train.y > 0].mean(axis=0) - SPLIT.train.X[SPLIT.train.y < 0].mean(axis=0)
    aim = Aim(gap / np.linalg.norm(gap), LinearModel(np.zeros(4)))
    named = [plan for radius in (60.0, 5.0) for plan in far_plans(ground, aim, 6, (radius,))]
    poison = named[0][1].poison(ground)
    whole, high = trials.measure(poison), dict.fromkeys(("none", *defenses), 1.0)
    assert trials.measure(poison, least=whole.value - 1e-9, most=high).value == pytest.approx(whole.value, rel=1e-12)
    assert trials.measure(poison, least=1.2, most=high) is None
    leading = trials.measure(poison, least=1.2, most={**high, "slab": whole.error["none"] - 0.02})
    assert leading.error == whole.error
    climbs = [Climb(Trials(scenario, SPLIT.test), ground, np.random.default_rng(0)) for _ in range(2)]
    every, some = climbs[0].states(named), climbs[1].states(named, [])
    best = [sorted(state.trial.value for state in states)[-5:] for states in (every, some)]
    np.testing.assert_allclose(best[1], best[0], rtol=1e-12)


def test_an_equal_search_for_directions_is_made_once(monkeypatch):
    calls = []
    monkeypatch.setattr(rays_module, "worst_rays", lambda *given: calls.append(1) or worst_rays(*given))

    def found(rows, copies=6.0, seed=(0, 1)):
        rays = Rays(Problem(Hinge(), 0.0521), Dataset(rows.X.copy(), rows.y), SPLIT.test, copies)
        return RaySearch(rays, seed, 4, 3).models()

    first = found(SPLIT.train)
    assert found(SPLIT.train) is first
    plain = worst_rays(
        Rays(Problem(Hinge(), 0.0521), SPLIT.train, SPLIT.test, 6.0), np.random.default_rng((0, 1)), 4, 3
    )
    assert [model.vector.tolist() for model in first] == [model.vector.tolist() for _, model in plain]
    others = [{"copies": 7.0}, {"seed": (1, 1)}]
    assert all(found(SPLIT.train, **other) is not first for other in others)
    assert found(SPLIT.test) is not first
    assert len(calls) == 4


def test_decoys_that_directions_ascend_from_are_trained_once(monkeypatch):
    trained = []
    generate = LabelFlipDecoys.generate
    monkeypatch.setattr(LabelFlipDecoys, "generate", lambda self, *given: trained.append(1) or generate(self, *given))
    rays = Rays(Problem(Hinge(), 0.0522), SPLIT.train, SPLIT.test, 6.0)

    def found(decoys):
        return RaySearch(rays, (0, 1), 4, 3, decoys).models()

    first = found(LabelFlipDecoys((0.5,), (3,)))
    assert found(LabelFlipDecoys((0.5,), (3,))) is first
    assert found(None) is not first
    assert len(trained) == 1
    assert found(LabelFlipDecoys((0.5,), (4,))) is not first
    begun = [
        decoy.model.coef for decoy in generate(LabelFlipDecoys((0.5,), (3,)), SPLIT.train, rays.problem, SPLIT.test)
    ]
    plain = worst_rays(rays, np.random.default_rng((0, 1)), 4, 3, begun)
    assert [model.vector.tolist() for model in first] == [model.vector.tolist() for _, model in plain]
