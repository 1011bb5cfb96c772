"""The joint conic program against a grid over the split, a second solver, numpy and retraining."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from kkt_cases import EPSILON, decoy_and_sets, everywhere, residual_by_hand, scenario_of

from linpoison.attacks import KKTGrid, KKTProgram, kkt_program
from linpoison.attacks.decoys import Decoy
from linpoison.certificates.theory import reachability_threshold
from linpoison.core import InfeasibleSet, InputError, LinearModel, SolverFailed
from linpoison.datasets import gaussians
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge
from linpoison.sets import Ball, ByLabel, Halfspace

SETS = ("breast_cancer", "digits17", "counts")


def program_of(scenario, decoy, sets, program=None, **options):
    return (program or KKTProgram()).solve(
        decoy, scenario.train, scenario.problem, sets, scenario.budget.epsilon, **options
    )


@pytest.fixture
def count_solves(monkeypatch):
    calls = []
    original = kkt_program.solve
    monkeypatch.setattr(kkt_program, "solve", lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs))
    return calls


@pytest.mark.parametrize("name", SETS)
def test_joint_optimum_beats_the_best_of_21_splits(name, count_solves):
    scenario = scenario_of(name)
    decoy, sets = decoy_and_sets(scenario)
    joint = program_of(scenario, decoy, sets)
    assert len(count_solves) == 1
    values = []
    for positive in np.linspace(0, EPSILON, 21):
        try:
            values.append(program_of(scenario, decoy, sets, split=float(positive)).residual_norm)
        except InfeasibleSet:
            continue
    assert len(count_solves) == 22
    assert joint.residual_norm <= min(values) * (1 + 1e-6)
    assert joint.residual_norm >= 0.95 * min(values)
    second = program_of(scenario, decoy, sets, KKTProgram(solver="ECOS"))
    assert second.info.solver == "ECOS"
    assert second.residual_norm == pytest.approx(joint.residual_norm, rel=1e-5)


@pytest.mark.data
@pytest.mark.skipif("LINPOISON_DATA" not in os.environ, reason="LINPOISON_DATA is not set")
def test_joint_optimum_beats_every_other_split_of_the_paper_on_enron():
    scenario = scenario_of("enron1", epsilon=0.03)
    decoy, sets = decoy_and_sets(scenario, 0.5, 8)
    joint = program_of(scenario, decoy, sets).residual_norm
    values = []
    for positive in np.linspace(0, 0.03, 7)[::2]:
        try:
            values.append(program_of(scenario, decoy, sets, split=float(positive)).residual_norm)
        except InfeasibleSet:
            continue
    assert len(values) >= 3
    assert joint <= min(values) * (1 + 1e-6)
    second = program_of(scenario, decoy, sets, KKTProgram(solver="ECOS")).residual_norm
    assert second == pytest.approx(joint, rel=1e-5)


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("name", SETS)
def test_solution_is_what_it_says(name, loss):
    scenario = scenario_of(name, loss)
    decoy, sets = decoy_and_sets(scenario)
    solution = program_of(scenario, decoy, sets)
    poison = solution.poison
    assert 1 <= poison.n_distinct <= 2
    assert np.unique(poison.y).size == poison.y.size
    assert poison.total <= EPSILON * scenario.train.total * (1 + 1e-6)
    by_hand = residual_by_hand(scenario.train, scenario.problem, decoy, poison, solution.multipliers)
    np.testing.assert_allclose(solution.residual, by_hand, atol=1e-9)
    assert solution.violation == pytest.approx(sets.violation(poison.X, poison.y).max())
    assert solution.violation < 1e-5
    without = residual_by_hand(scenario.train, scenario.problem, decoy, replace_count(poison, 0), solution.multipliers)
    assert solution.residual_norm < np.linalg.norm(without)
    if loss == "hinge":
        assert (poison.y * decoy.decision_function(poison.X) <= 1 + 1e-5).all()


def replace_count(poison, value):
    return replace(poison, count=np.full(poison.y.size, float(value)))


@pytest.mark.parametrize("name", SETS)
def test_logistic_objective_agrees_between_solvers(name):
    scenario = scenario_of(name, "logistic")
    decoy, sets = decoy_and_sets(scenario)
    first = program_of(scenario, decoy, sets).residual_norm
    second = program_of(scenario, decoy, sets, KKTProgram(solver="SCS")).residual_norm
    assert second == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize("scaling", ["mean", "sum"])
def test_residual_by_hand_under_either_scaling_and_intercept(scaling):
    for penalize in (True, False):
        scenario = scenario_of("breast_cancer", scaling=scaling, n_reference=398, penalize_intercept=penalize)
        decoy, sets = decoy_and_sets(scenario)
        solution = program_of(scenario, decoy, sets)
        by_hand = residual_by_hand(scenario.train, scenario.problem, decoy, solution.poison, solution.multipliers)
        np.testing.assert_allclose(solution.residual, by_hand, atol=1e-9)


def test_free_multipliers_never_do_worse():
    gains = []
    for quantile in (0.2, 0.4):
        scenario = scenario_of("breast_cancer")
        decoy, sets = decoy_and_sets(scenario, quantile)
        free = program_of(scenario, decoy, sets)
        fixed = program_of(scenario, decoy, sets, KKTProgram(free_multipliers=False))
        assert not fixed.multipliers.any()
        assert (free.multipliers >= 0).all()
        assert (free.multipliers <= 1).all()
        gains.append(fixed.residual_norm - free.residual_norm)
    assert min(gains) > -1e-7
    assert max(gains) > 1e-6


def test_ignoring_the_intercept_frees_the_rest():
    scenario = scenario_of("breast_cancer")
    decoy, sets = decoy_and_sets(scenario)
    whole = program_of(scenario, decoy, sets)
    ignored = program_of(scenario, decoy, sets, KKTProgram(intercept="ignored"))
    assert np.linalg.norm(ignored.residual[:-1]) <= np.linalg.norm(whole.residual[:-1]) * (1 + 1e-6)
    assert ignored.residual_norm >= whole.residual_norm * (1 - 1e-6)
    assert abs(ignored.residual[-1]) > abs(whole.residual[-1])


def test_sets_without_support_vectors_and_empty_sets_are_infeasible():
    scenario = scenario_of("breast_cancer")
    decoy, _ = decoy_and_sets(scenario)
    apart = ByLabel({y: Halfspace(-y * decoy.coef, -2.0 + y * decoy.intercept) for y in (1, -1)})  # margin >= 2
    with pytest.raises(InfeasibleSet):
        program_of(scenario, decoy, apart, split=EPSILON / 2)
    center = np.zeros(scenario.train.d)
    empty = ByLabel({y: Ball(center, 1.0) for y in (1, -1)}).intersect(Ball(center + 9, 1.0))
    with pytest.raises(InfeasibleSet):
        program_of(scenario, decoy, empty, split=EPSILON / 2)
    with pytest.raises(InfeasibleSet):
        KKTProgram().exact(decoy, scenario.train, scenario.problem, empty, EPSILON)


@pytest.mark.parametrize("options", [{"intercept": "free"}, {"kink_tolerance": -1.0}])
def test_bad_options_are_refused(options):
    with pytest.raises(InputError):
        KKTProgram(**options)


def test_an_unknown_solver_is_refused():
    scenario = scenario_of("breast_cancer")
    with pytest.raises(InputError, match="solver"):
        program_of(scenario, *decoy_and_sets(scenario), KKTProgram(solver="NOSUCH"))


@pytest.mark.parametrize(("epsilon", "split"), [(0.0, None), (-1.0, None), (np.nan, None), (0.1, 0.2), (0.1, -0.1)])
def test_bad_budgets_are_refused(epsilon, split):
    scenario = scenario_of("breast_cancer")
    decoy, sets = decoy_and_sets(scenario)
    with pytest.raises(InputError, match="split" if split else "epsilon"):
        KKTProgram().solve(decoy, scenario.train, scenario.problem, sets, epsilon, split=split)


# exact optimality, with points anywhere

LEARNED = {
    "logistic": Logistic(),
    "smooth_hinge": SmoothHinge(0.2),
    "squared_hinge": SquaredHinge(),
    "squared": Squared(),
}


def targets(train, problem, seed=0):
    """Models that are costly to reach: the opposite of the clean one, and two random ones."""
    clean = make_learner(problem).fit(train).vector
    rng = np.random.default_rng(seed)
    vectors = [-0.4 * clean, *(0.5 * np.linalg.norm(clean) * unit(rng, clean.size) for _ in range(2))]
    return [LinearModel.from_vector(v * np.append(np.ones(train.d), float(problem.fit_intercept))) for v in vectors]


def unit(rng, size):
    vector = rng.normal(size=size)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("penalize", [True, False])
@pytest.mark.parametrize("name", ["breast_cancer", "digits17", "gaussians"])
def test_logistic_residual_vanishes_exactly_past_the_closed_form(name, penalize):
    train = gaussians(n=150, d=5, seed=2).train if name == "gaussians" else scenario_of(name).train
    problem = Problem(Logistic(), 0.01, penalize_intercept=penalize)
    learner = make_learner(problem)
    for decoy in targets(train, problem):
        threshold = reachability_threshold(problem, decoy, train).epsilon
        size = np.linalg.norm(problem.gradient(decoy, train))
        for share in (0.5, 0.99, 1.01, 2.0):
            budget = share * threshold
            solution = KKTProgram().solve(decoy, train, problem, everywhere(train.d), budget)
            assert solution.poison.total <= budget * train.total * (1 + 1e-6)
            by_hand = residual_by_hand(train, problem, decoy, solution.poison, solution.multipliers)
            np.testing.assert_allclose(solution.residual, by_hand, atol=1e-9)
            if share < 1:
                assert solution.residual_norm > 1e-4 * size
            else:
                assert solution.residual_norm < 1e-6 * size
                learned = learner.fit(train.mix(solution.poison.as_dataset()), start=decoy)
                assert learned.distance(decoy) < 1e-6


@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("loss", LEARNED)
def test_retraining_on_the_exact_poison_returns_the_decoy(loss, scaling):
    train = gaussians(n=100, d=4, seed=5).train
    problem = Problem(LEARNED[loss], 0.03, scaling=scaling, n_reference=train.n)
    for decoy in targets(train, problem):
        threshold = reachability_threshold(problem, decoy, train).epsilon
        solution = KKTProgram().exact(decoy, train, problem, everywhere(train.d), 2 * threshold)
        assert solution.poison.total / train.total == pytest.approx(threshold, rel=1e-6)
        learned = make_learner(problem).fit(train.mix(solution.poison.as_dataset()))
        assert learned.distance(decoy) < 1e-6


def test_retraining_an_svm_on_the_exact_poison_returns_the_decoy():
    train = gaussians(n=100, d=4, seed=5).train
    problem = Problem(Hinge(), 0.03)
    for decoy in targets(train, problem):
        solution = KKTProgram().exact(decoy, train, problem, everywhere(train.d), 20.0)
        mixed = train.mix(solution.poison.as_dataset())
        assert make_learner(problem).fit(mixed).distance(decoy) < 1e-6
        reference = make_learner(problem, method="reference").fit(mixed)
        assert problem.value(decoy, mixed) == pytest.approx(problem.value(reference, mixed), rel=1e-6)


def test_a_decoy_that_costs_nothing_is_reached_with_any_budget_but_at_no_least_mass():
    """Along a model that errs little the clean rows pull outwards: far points of small weight undo that."""
    train = gaussians(n=100, d=4, seed=5).train
    problem = Problem(Logistic(), 0.01, fit_intercept=False)
    decoy = LinearModel(0.3 * make_learner(problem).fit(train).coef[::-1])
    assert reachability_threshold(problem, decoy, train).epsilon == 0
    for budget in (0.01, 0.2):
        solution = KKTProgram().solve(decoy, train, problem, everywhere(train.d), budget)
        assert solution.residual_norm < 1e-6
        assert solution.poison.total <= budget * train.total * (1 + 1e-6)
        learned = make_learner(problem).fit(train.mix(solution.poison.as_dataset()))
        assert learned.distance(decoy) < 1e-6
    with pytest.raises(SolverFailed, match="farther out"):
        KKTProgram().exact(decoy, train, problem, everywhere(train.d), 0.2)


def test_exact_says_where_its_points_pull_harder_than_they_should():
    """The least mass of the program is then a lower bound only; `solve` may spend more and be exact."""
    scenario = scenario_of("breast_cancer", "logistic", epsilon=0.3)
    decoy, sets = decoy_and_sets(scenario_of("breast_cancer", "logistic", epsilon=0.03), 0.2, 1)
    with pytest.raises(SolverFailed, match=r"least mass of the convex program, 0\.143 .* pull harder") as caught:
        KKTProgram().exact(decoy, scenario.train, scenario.problem, sets, 0.3)
    assert "farther out" not in str(caught.value)
    assert program_of(scenario, decoy, sets).residual_norm < 1e-6


def test_exact_needs_more_mass_in_smaller_sets_and_fails_in_too_small_a_budget():
    train = gaussians(n=100, d=4, seed=5).train
    problem = Problem(Hinge(), 0.03)
    decoy = targets(train, problem)[0]
    free = KKTProgram().exact(decoy, train, problem, everywhere(train.d), 30.0).poison.total
    ball = ByLabel({y: Ball(np.zeros(4), 1.2) for y in (1, -1)})
    held = KKTProgram().exact(decoy, train, problem, ball, 30.0)
    assert held.poison.total > 1.001 * free
    assert held.violation < 1e-6
    with pytest.raises(InfeasibleSet):
        KKTProgram().exact(decoy, train, problem, ball, 0.5 * free / train.total)


def test_grid_attack_solves_each_split_and_never_beats_the_joint_program(count_solves):
    scenario = scenario_of("digits17")
    model, sets = decoy_and_sets(scenario)
    decoy = Decoy(model, 0.3, 3, 0.0, 0.0)
    solutions = KKTGrid().solve(scenario, decoy, sets)
    assert len(count_solves) == 7
    assert len(solutions) >= 3
    joint = program_of(scenario, model, sets)
    assert joint.residual_norm <= min(item.residual_norm for item in solutions) * (1 + 1e-6)
    positive = [item.poison.count[item.poison.y > 0].sum() / scenario.train.n for item in solutions]
    assert np.all(np.diff(positive) > EPSILON / 8)
    empty = sets.intersect(Ball(np.full(scenario.train.d, 99.0), 1.0))
    with pytest.raises(SolverFailed, match="one split"):
        KKTGrid().solve(scenario, decoy, empty)
