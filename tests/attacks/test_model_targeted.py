"""The online attack: the worst loss difference, the bound on rows, and that both are true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from kkt_cases import decoy_and_sets, scenario_of

from linpoison.attacks import loss_gap
from linpoison.attacks.decoys import LabelFlipDecoys
from linpoison.attacks.kkt_program import KKTProgram
from linpoison.attacks.loss_gap import GapOracle
from linpoison.attacks.model_targeted import ModelTargeted, chase, rows_needed
from linpoison.core import CapabilityError, Dataset, InputError, LinearModel
from linpoison.defender import Defender
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge
from linpoison.sets import Ball, Box, Halfspace, intersect

LOSSES = [Hinge(), Logistic(), SmoothHinge(0.3), SquaredHinge()]
SMALL = ModelTargeted(decoys=LabelFlipDecoys((0.2, 0.4), (1, 3)), most_decoys=2)


def sets_in_the_plane(rng):
    ball = Ball(rng.standard_normal(2), 1.5)
    box = Box(np.array([-1.0, -2.0]), np.array([1.5, 1.0]))
    cut = Halfspace(rng.standard_normal(2), 0.8)
    return [ball, box, intersect(ball, box), intersect(box, cut)]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("label", [1.0, -1.0])
def test_worst_difference_in_the_plane_is_that_of_a_dense_grid(loss, label):
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(-4, 4, 401)] * 2), axis=-1).reshape(-1, 2)
    for trial in range(3):
        target, current = (LinearModel(1.5 * rng.standard_normal(2), rng.standard_normal()) for _ in range(2))
        for part in sets_in_the_plane(rng):
            inside = grid[part.contains(grid)]
            if not len(inside):
                continue
            values = loss.value(label * current.decision_function(inside))
            values = values - loss.value(label * target.decision_function(inside))
            found = GapOracle(part, label, loss, target).worst(current)
            assert part.violation(found.x[None, :])[0] < 1e-6
            assert found.value == pytest.approx(
                float(loss.value(label * current.decision_function(found.x[None, :]))[0])
                - float(loss.value(label * target.decision_function(found.x[None, :]))[0]),
                abs=1e-6,
            )
            assert values.max() <= found.bound + 1e-9, trial
            assert found.value >= values.max() - 0.02 * max(1.0, abs(values.max()))
            assert found.bound - found.value <= 0.02 * max(1.0, abs(found.bound))


def test_difference_of_a_model_with_itself_is_nothing():
    model = LinearModel([1.0, -1.0], 0.2)
    found = GapOracle(Ball([0.0, 0.0], 2.0), 1.0, Hinge(), model).worst(model)
    assert abs(found.value) < 1e-9
    assert found.bound < 0.05


def test_squared_loss_is_refused():
    with pytest.raises(CapabilityError, match="increase"):
        GapOracle(Ball([0.0], 1.0), 1.0, Squared(), LinearModel([1.0]))


@pytest.mark.parametrize(("quantile", "repeats"), [(0.1, 1), (0.1, 2), (0.2, 2)])
def test_no_fewer_rows_than_the_bound_plant_the_target(quantile, repeats):
    scenario = replace(scenario_of("breast_cancer"), problem=Problem(Hinge(), 0.05))
    decoy, sets = decoy_and_sets(scenario, quantile=quantile, repeats=repeats)
    train, problem = scenario.train, scenario.problem
    pursuit = chase(decoy, train, problem, sets, 60, tol=0.05)
    exact = KKTProgram().exact(decoy, train, problem, sets, 2.0)
    assert 0 < pursuit.rows_needed <= np.ceil(exact.poison.total + 1e-6)


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("count", [4, 20, 60])
def test_bound_is_true_for_a_target_that_was_planted(loss, count):
    """Learn a model from known poison: it is optimal there, so the bound must not exceed that many rows."""
    scenario = scenario_of("breast_cancer", loss)
    train, problem = scenario.train, scenario.problem
    _, sets = decoy_and_sets(scenario)
    rng = np.random.default_rng(count)
    rows = train.take(rng.choice(train.n, size=count))
    planted = train.mix(type(train)(sets[1].project(rows.X), np.ones(count)))
    target = make_learner(problem).fit(planted)
    pursuit = chase(target, train, problem, sets, 30, tol=0.01)
    assert 0 < pursuit.rows_needed <= count


def test_loss_difference_shrinks_and_the_model_comes_near():
    scenario = scenario_of("breast_cancer")
    decoy, sets = decoy_and_sets(scenario_of("breast_cancer", epsilon=0.03), quantile=0.1, repeats=1)
    clean = make_learner(scenario.problem).fit(scenario.train)
    near, far = (chase(decoy, scenario.train, scenario.problem, sets, limit, tol=0.01) for limit in (80, 5))
    assert near.gap < far.gap
    assert near.model.distance(decoy) < clean.distance(decoy)
    assert far.poison.total == 5
    assert sets.violation(near.poison).max() < 1e-6


def test_bound_by_hand():
    scenario = scenario_of("breast_cancer")
    train, problem = scenario.train, scenario.problem
    target, model = LinearModel(np.full(train.d, 0.3), 0.1), make_learner(problem).fit(train)
    cost = train.n * (problem.value(target, train) - problem.value(model, train))
    reg = 0.5 * problem.reg * (model.vector @ model.vector - target.vector @ target.vector)
    assert rows_needed(problem, train, target, model, 3.0) == int(np.ceil(cost / (3.0 + reg)))
    assert rows_needed(problem, train, model, target, 3.0) == 0


@pytest.mark.parametrize("name", ["breast_cancer", "counts"])
def test_attack_does_damage_that_an_evaluator_confirms(name):
    scenario = scenario_of(name, epsilon=0.1)
    result = SMALL.run(scenario, seed=1)
    clean = make_learner(scenario.problem).fit(scenario.train).error(scenario.target)
    outcome = Defender(scenario.train, scenario.problem, scenario.defenses).score(
        result.poison, {"target": scenario.target}
    )
    assert outcome.error["target"] == result.best.test_error
    assert result.best.test_error["none"] > clean
    assert result.poison.total <= scenario.n_poison
    assert scenario.train.domain.violation(result.poison.X).max() < 1e-9
    assert result.info["rows_needed"] > 0


def test_what_has_no_greatest_difference_is_refused():
    scenario = scenario_of("breast_cancer", defenses=("slab",))
    with pytest.raises(InputError, match="unbounded"):
        SMALL.run(scenario)
    with pytest.raises(CapabilityError, match="squared"):
        SMALL.run(replace(scenario, problem=Problem(Squared(), 0.05)))


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("gain", [0.5, 3e-4])
def test_bound_holds_where_supports_are_only_nearly_exact(loss, gain, monkeypatch):
    """What a chord leaves beyond it counts, however little the search follows it up."""
    monkeypatch.setattr(loss_gap, "SLACK", gain / 10)
    target, current = LinearModel([0.0, 1.5]), LinearModel([-1.5, 0.0])
    ball = Ball(np.zeros(2), 1.0)
    turn = np.linspace(0, 2 * np.pi, 20001)
    rows = np.column_stack([np.cos(turn), np.sin(turn)])
    most = np.max(loss.value(current.decision_function(rows)) - loss.value(target.decision_function(rows)))
    found = GapOracle(ball, 1.0, loss, target, tol=0.0).worst(current)
    monkeypatch.undo()
    assert most <= found.bound / (1 + gain / 10) + 1e-7  # without the slack that is added in the end


@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("convention", [{}, {"penalize_intercept": False}, {"fit_intercept": False}], ids=str)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_bound_is_true_in_every_convention_with_weighted_rows(loss, convention, scaling):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((30, 3))
    train = Dataset(X, np.where(X[:, 0] > 0, 1, -1), rng.integers(1, 4, 30))
    ball = Ball(np.zeros(3), 3.0)
    poison = Dataset([[3.0, 0.0, 0.0], [-2.0, 1.0, 0.0]], [-1, 1], [5, 3])
    problem = Problem(loss, 0.1, scaling=scaling, n_reference=40 if scaling == "sum" else None, **convention)
    target = make_learner(problem).fit(train.mix(poison))
    needed = []
    for model in (make_learner(problem).fit(train), LinearModel(rng.standard_normal(3)), LinearModel(np.zeros(3))):
        gap = max(GapOracle(ball, label, loss, target).worst(model).bound for label in (1.0, -1.0))
        needed.append(rows_needed(problem, train, target, model, gap))
    assert 0 < max(needed) <= poison.total


def test_rows_of_a_sparse_problem_stay_sparse():
    scenario = scenario_of("counts", epsilon=0.1)
    scenario = replace(scenario, train=replace(scenario.train, X=sp.csr_array(scenario.train.X)))
    decoy, sets = decoy_and_sets(scenario)
    for limit in (0, 4):
        poison = chase(decoy, scenario.train, scenario.problem, sets, limit).poison
        assert sp.issparse(poison.X)
        assert poison.total == limit


def test_bad_options():
    with pytest.raises(InputError):
        ModelTargeted(repeat=0)
