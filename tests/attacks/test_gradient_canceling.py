"""Gradient canceling: derivatives, the closed-form floor, and agreement with the convex program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kkt_cases import decoy_and_sets, everywhere, scenario_of

from linpoison.attacks.decoys import LabelFlipDecoys
from linpoison.attacks.gradient.free import FreeObjective, simplex
from linpoison.attacks.gradient_canceling import DecoyCanceler, GradientCanceling, condition_of
from linpoison.attacks.kkt_program import KKTProgram
from linpoison.certificates.theory import reachability_threshold
from linpoison.core import InputError, LinearModel, Poison
from linpoison.defender import Defender
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared, SquaredHinge
from linpoison.optimality.stationarity import Stationarity
from linpoison.risk import Cancel, LinearRisk, PoisonObjective

SMALL = GradientCanceling(decoys=LabelFlipDecoys((0.2, 0.4), (1, 3)), most_decoys=2, canceler=DecoyCanceler(steps=150))


def objective_of(train, problem, decoy, mass=0.1):
    """Canceling over four rows, their shares and the multipliers of clean rows on the kink."""
    risk, condition = LinearRisk.of(problem).active(), condition_of(Stationarity(train, problem, decoy), train.d + 1)
    y, shares = np.array([-1.0, -1.0, 1.0, 1.0]), np.full(4, mass / 4)
    fixed = PoisonObjective(risk, decoy.vector, Cancel(condition.rest), y, shares)
    return FreeObjective(fixed, condition, 1.0, mass, (4, train.d), True)


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), Squared(), SquaredHinge()], ids=repr)
def test_gradients_by_finite_differences(loss):
    scenario = replace(scenario_of("breast_cancer"), problem=Problem(loss, 0.05))
    decoy, _ = decoy_and_sets(scenario)
    objective = objective_of(scenario.train, scenario.problem, decoy)
    rng = np.random.default_rng(0)
    X, share = rng.standard_normal((4, scenario.train.d)), np.array([0.4, 0.1, 0.2, 0.3])
    z = np.concatenate([X.ravel(), share, rng.random(objective.condition.n_kinks)])
    value, slope = objective(z)
    assert value == objective.value(z)
    for _ in range(5):
        along = rng.standard_normal(z.size)
        change = objective.value(z + 1e-6 * along) - objective.value(z - 1e-6 * along)
        assert change / 2e-6 == pytest.approx(slope @ along, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("share", [0.5, 0.9, 1.1, 2.0])
def test_free_rows_reach_the_closed_form_floor(share):
    scenario = scenario_of("breast_cancer", "logistic", fit_intercept=False)
    train, problem = scenario.train, scenario.problem
    rng = np.random.default_rng(1)
    decoy = LinearModel(0.2 * rng.standard_normal(train.d))
    threshold = reachability_threshold(problem, decoy, train)
    epsilon, free = share * threshold.epsilon, everywhere(train.d)
    floor = max(1 - share, 0.0) * threshold.numerator / np.linalg.norm(decoy.coef)
    descent = DecoyCanceler(steps=400).solve(decoy, train, problem, free, epsilon, rng)
    convex = KKTProgram().solve(decoy, train, problem, free, epsilon)
    assert descent.residual == pytest.approx(floor, rel=1e-6, abs=1e-7)
    assert convex.residual_norm == pytest.approx(floor, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", ["breast_cancer", "counts"])
def test_descent_in_bounded_sets_comes_near_the_convex_optimum(name):
    scenario = scenario_of(name)
    decoy, sets = decoy_and_sets(scenario)
    arguments = (decoy, scenario.train, scenario.problem, sets, scenario.budget.epsilon)
    convex = KKTProgram(method="conic").solve(*arguments)
    found = DecoyCanceler(steps=1500).solve(*arguments, np.random.default_rng(0))
    assert convex.residual_norm * (1 - 1e-4) <= found.residual <= 1.1 * convex.residual_norm
    assert sets.violation(found.poison).max() < 1e-6
    assert found.poison.total <= scenario.budget.epsilon * scenario.train.n * (1 + 1e-9)
    assert (np.diff(found.history) < 0).all()


def test_residual_is_that_of_the_condition():
    scenario = scenario_of("breast_cancer", "logistic")
    decoy, sets = decoy_and_sets(scenario)
    found = DecoyCanceler(steps=50, rows=3).solve(
        decoy, scenario.train, scenario.problem, sets, scenario.budget.epsilon, np.random.default_rng(0)
    )
    mixed = scenario.train.mix(found.poison.as_dataset())
    gradient = scenario.problem.gradient(decoy, mixed) * mixed.total / scenario.train.total
    assert np.linalg.norm(gradient) == pytest.approx(found.residual, rel=1e-6)


@pytest.mark.parametrize("name", ["breast_cancer", "counts"])
def test_attack_does_damage_that_an_evaluator_confirms(name):
    scenario = scenario_of(name, epsilon=0.1)
    result = SMALL.run(scenario, seed=1)
    clean = make_learner(scenario.problem).fit(scenario.train).error(scenario.target)
    outcome = Defender(scenario.train, scenario.problem, scenario.defenses).score(
        result.poison, {"target": scenario.target}
    )
    assert outcome.error["target"] == result.best.test_error
    assert result.best.worst > clean
    assert result.poison.total <= scenario.n_poison
    assert scenario.train.domain.violation(result.poison.X).max() < 1e-9


def test_descent_is_local_where_the_program_is_not():
    scenario = scenario_of("breast_cancer")
    problem, free = Problem(Squared(), 0.05), everywhere(scenario.train.d)
    decoy = LinearModel(0.1 * np.random.default_rng(0).standard_normal(scenario.train.d))
    found = DecoyCanceler().solve(decoy, scenario.train, problem, free, 0.3, np.random.default_rng(0))
    convex = KKTProgram().solve(decoy, scenario.train, problem, free, 0.3)
    assert convex.residual_norm - 1e-6 <= found.residual < found.history[0]


def test_simplex_is_the_nearest_point():
    rng = np.random.default_rng(0)
    for _ in range(20):
        z = rng.standard_normal(5)
        p = simplex(z)
        assert p.min() >= 0
        assert p.sum() <= 1 + 1e-12
        for other in rng.dirichlet(np.ones(6), size=20)[:, :5]:
            assert (z - p) @ (other - p) <= 1e-9


@pytest.mark.parametrize("loss", [Squared(), SquaredHinge(), Logistic()], ids=repr)
def test_residual_is_true_on_both_sides_of_the_margin(loss):
    scenario = scenario_of("breast_cancer")
    train, problem = scenario.train, Problem(loss, 0.05)
    decoy = LinearModel(0.5 * np.random.default_rng(2).standard_normal(train.d), 0.1)
    rows = objective_of(train, problem, decoy).fixed
    X, share = np.outer([2.0, -2.0, 2.0, -2.0], decoy.coef), np.full(4, 0.25)
    assert np.ptp(np.sign(rows.y * (X @ decoy.coef + 0.1) - 1)) == 2
    mixed = train.mix(Poison(X, rows.y, share * 0.1 * train.n).as_dataset())
    expected = problem.gradient(decoy, mixed) * mixed.total / train.total
    condition = condition_of(Stationarity(train, problem, decoy), train.d + 1)
    np.testing.assert_allclose(condition.rest + 0.1 * condition.growth + rows.pull(X), expected, atol=1e-10)


def test_a_method_that_does_not_fit_the_sets_is_refused_and_not_skipped():
    attack = replace(SMALL, canceler=DecoyCanceler(method="lbfgs"))
    with pytest.raises(InputError, match="L-BFGS"):
        attack.run(scenario_of("breast_cancer", "logistic", epsilon=0.1))


@pytest.mark.parametrize("options", [{"steps": 0}, {"rows": 1}, {"method": "newton"}])
def test_bad_options(options):
    with pytest.raises(InputError):
        DecoyCanceler(**options)
