"""Any poison as two points: the merged poison is planted, and the same model comes out."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from budget_cases import LOSSES, TRAIN, is_learned, problem_of, relearn

from linpoison.core import Dataset, InputError, Poison, SolverFailed
from linpoison.learners import make_learner
from linpoison.losses import CrammerSinger, Hinge, MultiProblem, Problem
from linpoison.sets import Ball

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "experiments" / "theory" / "collapse.py"))
collapse, collapse_classes = SCRIPT["collapse"], SCRIPT["collapse_classes"]


def random_poison(seed, number=9):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(number) % 2, 1.0, -1.0)
    return Poison(rng.normal(size=(number, TRAIN.d)) * 2, y, rng.uniform(0.3, 1.5, number))


@pytest.mark.parametrize("convention", ["penalised", "free", "none"])
@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_collapsed_poison_plants_the_same_model(loss, scaling, convention):
    problem = problem_of(loss, scaling, convention, 0.05)
    poison = random_poison(1)
    model = relearn(problem, TRAIN.mix(poison.as_dataset()))
    merged = collapse(poison, TRAIN, problem, model)
    assert merged.y.size <= {"squared": 4, "hinge": 4 if scaling == "mean" else 2}.get(loss, 2)
    assert merged.total <= poison.total * (1 + 1e-9)
    assert is_learned(problem, model, TRAIN.mix(merged.as_dataset()))
    ball = Ball(np.zeros(TRAIN.d), float(np.linalg.norm(poison.X, axis=1).max()))
    assert ball.contains(merged.X, tol=1e-6).all()


def test_the_hinge_keeps_its_weight_under_mean_scaling_only():
    poison = random_poison(2)
    totals = {}
    for scaling in ("mean", "sum"):
        problem = problem_of("hinge", scaling, "penalised", 0.05)
        model = relearn(problem, TRAIN.mix(poison.as_dataset()))
        merged = collapse(poison, TRAIN, problem, model)
        totals[scaling] = merged.total
        margins = merged.y * model.decision_function(merged.X)
        assert (margins >= 1 - 1e-6).sum() == merged.y.size - (margins < 1 - 1e-6).sum()
    assert totals["mean"] == pytest.approx(poison.total)
    assert totals["sum"] < poison.total * 0.98


def test_the_model_is_trained_where_none_is_given():
    problem = problem_of("logistic", "sum", "penalised", 0.05)
    poison = random_poison(3)
    given = collapse(poison, TRAIN, problem, relearn(problem, TRAIN.mix(poison.as_dataset())))
    own = collapse(poison, TRAIN, problem)
    np.testing.assert_allclose(own.X, given.X, atol=1e-6)


def test_no_poison_collapses_to_none():
    empty = Poison(np.zeros((0, TRAIN.d)), np.zeros(0), np.zeros(0))
    for loss in ("hinge", "logistic"):
        assert collapse(empty, TRAIN, problem_of(loss)).y.size == 0


def test_weight_that_no_point_can_keep_is_an_error():
    """Rows that hardly pull only weigh, and one point for all of them weighs less."""
    train = Dataset([[1.0], [1.2], [-1.0]], [1, 1, -1])
    problem = Problem(LOSSES["logistic"], 0.4, fit_intercept=False)
    poison = Poison([[0.5], [40.0]], [1, 1], [0.5, 9.0])
    model = relearn(problem, train.mix(poison.as_dataset()))
    with pytest.raises(SolverFailed, match="scaling 'sum'"):
        collapse(poison, train, problem, model)
    total = Problem(LOSSES["logistic"], 0.4, fit_intercept=False, scaling="sum", n_reference=3)
    other = relearn(total, train.mix(poison.as_dataset()))
    assert is_learned(total, other, train.mix(collapse(poison, train, total, other).as_dataset()))


def test_a_model_that_the_poison_does_not_plant_is_kept_as_far_from_planted():
    """Merging changes nothing in the condition of optimality, met or not."""
    problem = problem_of("squared", "sum", "penalised", 0.05)
    merged = collapse(random_poison(4), TRAIN, problem, relearn(problem, TRAIN))
    gradient = [
        problem.gradient(relearn(problem, TRAIN), TRAIN.mix(p.as_dataset())) * (TRAIN.total + p.total)
        for p in (random_poison(4), merged)
    ]
    np.testing.assert_allclose(gradient[0], gradient[1], atol=1e-8)


def test_features_must_fit():
    with pytest.raises(InputError, match="poison of 4 features, got 2"):
        collapse(Poison([[1.0, 2.0]], [1], [1]), TRAIN, Problem(Hinge(), 0.1))


def test_classes_collapse_to_pairs():
    rng = np.random.default_rng(0)
    centers = np.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    y = np.arange(60) % 3
    clean = Dataset.coded(centers[y] + rng.normal(size=(60, 2)), y)
    labels = rng.integers(0, 3, size=20)
    poison = Dataset.coded(rng.normal(size=(20, 2)) * 2, labels, rng.uniform(0.5, 2.0, 20), n_classes=3)
    problem = MultiProblem(CrammerSinger(), 0.1)
    learner = make_learner(problem, method="reference")
    mixed = clean.mix(poison)
    model = learner.fit(mixed)
    X, codes, count = collapse_classes(poison.X, poison.y, poison.weight, model.coef, model.intercept)
    assert len(codes) <= 9 + 3
    assert len(codes) < 20
    assert count.sum() == pytest.approx(poison.total)
    merged = clean.mix(Dataset.coded(X, codes, count, n_classes=3))
    assert problem.value(model, merged) == pytest.approx(problem.value(model, mixed), rel=1e-9)
    again = learner.fit(merged)
    np.testing.assert_allclose(again.matrix, model.matrix, atol=2e-3)
    assert problem.value(model, merged) <= problem.value(again, merged) + 1e-7


def test_classes_refuse_what_does_not_fit():
    with pytest.raises(InputError, match="k intercepts"):
        collapse_classes([[1.0]], [0], [1.0], [[1.0], [2.0]], [0.0])
    with pytest.raises(InputError, match="a label from 0 to 1"):
        collapse_classes([[1.0]], [2], [1.0], [[1.0], [2.0]], [0.0, 0.0])


def test_rows_near_a_kink_or_a_tie_are_kept_as_they_are():
    """Rivals 1 and 2 of the label 0 have scores x_0 and x_1: the loss is 1 + max(x_0, x_1)."""
    coef, intercept = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.zeros(3)
    X = [[2.0, 0.0], [3.0, 0.0], [-0.9995, -2.0], [-5.0, -4.0], [-3.0, -2.0], [1.0, 0.9995]]

    def merged(**options):
        return collapse_classes(X, np.zeros(6, int), np.ones(6), coef, intercept, **options)

    rows, _, count = merged()
    assert len(rows) == 2
    assert sorted(count) == [2, 4]
    rows, codes, count = merged(kink_tolerance=1e-3)
    assert sorted(count) == [1, 1, 2, 2]
    assert (codes == 0).all()
    kept = {tuple(row) for row in rows[count == 1]}
    assert kept == {(-0.9995, -2.0), (1.0, 0.9995)}
    assert len(merged(kink_tolerance=10.0)[0]) == 6
    with pytest.raises(InputError, match="kink_tolerance"):
        merged(kink_tolerance=-1.0)
