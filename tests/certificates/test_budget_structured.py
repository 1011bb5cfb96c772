"""The structured method away from its benchmark, and budgets without end of the squared loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from budget_cases import CONVENTIONS, PLANAR, grid_budget, problem_of, random_models, relearn

from linpoison.certificates.budget import structured
from linpoison.certificates.budget.dual import dual_ratio
from linpoison.certificates.budget.least import budget_poison, min_budget
from linpoison.certificates.budget.target import BudgetTarget
from linpoison.certificates.budget.tune import toward_margins
from linpoison.core import Dataset, LinearModel, SolverFailed
from linpoison.losses import Problem
from linpoison.sets import Ball, ByLabel, Slab, intersect


def cut_discs(radius, width=1.0):
    centers = {1: np.array([1.0, 0.3]), -1: np.array([-1.0, 0.0])}
    parts = {y: (Ball(c, radius), Slab([0.6, 0.8], float(c @ [0.6, 0.8]), width)) for y, c in centers.items()}
    return ByLabel({y: intersect(*part) for y, part in parts.items()})


@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_it_agrees_with_the_conic_program_among_cut_balls(scaling, convention):
    problem, finite = problem_of("hinge", scaling, convention, 0.05, PLANAR), 0
    for model in random_models(problem, 3, 3, PLANAR, sizes=(0.3, 0.7, 1.5)):
        conic = min_budget(PLANAR, problem, cut_discs(2.0), model, method="conic")
        fast = min_budget(PLANAR, problem, cut_discs(2.0), model, method="structured")
        if np.isinf(conic.bound):
            assert np.isinf(fast.bound)
            continue
        finite += 1
        assert fast.bound == pytest.approx(conic.bound, rel=1e-3)
        assert fast.info["primal"] == pytest.approx(conic.bound, rel=1e-3)
        assert fast.exact
        assert fast.verify() == fast.bound
        data = PLANAR.mix(budget_poison(fast).as_dataset())
        assert problem.value(model, data) <= problem.value(relearn(problem, data), data) + 1e-6
    assert finite >= 1


@pytest.mark.parametrize("scaling", ["mean", "sum"])
def test_units_of_the_features_do_not_matter(scaling):
    problem = problem_of("hinge", scaling, "none", 0.05, PLANAR)
    model = LinearModel([0.4, 0.9])
    bounds = []
    for unit in (1e-2, 1.0, 1e2):
        train = Dataset(PLANAR.X * unit, PLANAR.y)
        own = Problem(problem.loss, problem.reg * unit**2, scaling=scaling, fit_intercept=False, n_reference=train.n)
        wide = Slab([0.6, 0.8], 0.0, 1.5 * unit)
        centers = {1: np.array([1.0, 0.3]), -1: np.array([-1.0, 0.0])}
        parts = {y: intersect(Ball(center * unit, 2.0 * unit), wide) for y, center in centers.items()}
        found = min_budget(train, own, ByLabel(parts), LinearModel(model.coef / unit), method="structured")
        bounds.append(found.info["primal"])
    np.testing.assert_allclose(bounds, bounds[1], rtol=1e-3)
    assert 0 < bounds[1] < np.inf


def test_a_model_out_of_reach_is_proved_so():
    problem = problem_of("hinge", train=PLANAR, reg=0.05)
    found = min_budget(PLANAR, problem, cut_discs(0.3), LinearModel([-0.5, 0.8], 0.3), method="structured")
    assert found.bound == found.info["primal"] == np.inf
    assert budget_poison(found) is None
    assert found.verify() == np.inf


def test_where_it_fails_it_says_so_and_the_conic_program_steps_in(monkeypatch):
    def fail(self, done):
        raise SolverFailed("gave up")

    monkeypatch.setattr(structured.LeastMass, "descend", fail)
    monkeypatch.setattr("linpoison.certificates.budget.least.LARGE", 1)
    problem, model = problem_of("hinge", train=PLANAR, reg=0.05), LinearModel([0.4, 0.9], 0.1)
    with pytest.raises(SolverFailed, match="gave up"):
        min_budget(PLANAR, problem, cut_discs(2.0), model, method="structured")
    assert min_budget(PLANAR, problem, cut_discs(2.0), model).info["method"] == "conic"


SMALL = ByLabel({1: Ball([1.0, 0.3], 0.6), -1: Ball([-1.0, 0.0], 0.5)})


@pytest.mark.parametrize("convention", ["penalised", "free"])
def test_squared_rows_on_both_sides_of_their_margin_may_rule_a_model_out(convention):
    """Class +1 straddles its margin: only ``(theta, b - 1)`` proves, with a cap of zero, that no poison will do."""
    problem = problem_of("squared", "sum", convention, 0.05, PLANAR)
    model = next(random_models(problem, 1, 17, PLANAR, sizes=(0.5, 1.0, 2.0)))
    found = min_budget(PLANAR, problem, SMALL, model)
    assert found.bound == found.info["primal"] == np.inf
    assert found.verify() == np.inf
    assert grid_budget(PLANAR, problem, SMALL, model) == np.inf


@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_squared_budgets_near_the_infeasible_are_those_of_the_grid(scaling, convention):
    problem = problem_of("squared", scaling, convention, 0.05, PLANAR)
    for model in random_models(problem, 4, 17, PLANAR, sizes=(0.5, 1.0, 2.0)):
        found = min_budget(PLANAR, problem, SMALL, model)
        dense = grid_budget(PLANAR, problem, SMALL, model, budget_poison(found))
        assert found.bound == pytest.approx(dense, rel=1e-3)
        assert found.info["primal"] == pytest.approx(dense, rel=1e-3)


def test_margins_of_other_losses_prove_nothing_of_the_kind():
    target = BudgetTarget.of(PLANAR, problem_of("logistic", train=PLANAR), SMALL, LinearModel([0.5, 0.2]), 1e-3)
    assert toward_margins(target) == []
    squared = BudgetTarget.of(PLANAR, problem_of("squared", train=PLANAR), SMALL, LinearModel([0.5, 0.2]), 1e-3)
    proved = [dual_ratio(squared, proof) for proof in toward_margins(squared)]
    bound = min_budget(PLANAR, squared.problem, SMALL, LinearModel([0.5, 0.2])).info["primal"]
    assert max(proved) <= bound * (1 + 1e-6)


@pytest.mark.parametrize("scaling", ["mean", "sum"])
def test_rounding_of_the_rows_does_not_stop_it(scaling):
    problem, rng = problem_of("hinge", scaling, "none", 0.05, PLANAR), np.random.default_rng(0)
    models = list(random_models(problem, 3, 3, PLANAR, sizes=(0.3, 0.7, 1.5)))
    bounds = [min_budget(PLANAR, problem, cut_discs(2.0), model, method="structured").bound for model in models]
    for size in (1e-15, 1e-13, 1e-12, 1e-10):
        moved = replace(PLANAR, X=PLANAR.X * (1 + size * rng.normal(size=PLANAR.X.shape)))
        for model, bound in zip(models, bounds, strict=True):
            found = min_budget(moved, problem, cut_discs(2.0), model, method="structured")
            assert found.bound == pytest.approx(bound, rel=1e-4)
            assert found.exact or np.isinf(found.bound)
