"""Budgets over a plane, and the least budget found to flip a row."""

from __future__ import annotations

import numpy as np
import pytest
from budget_cases import DISCS, LOSSES, PLANAR, problem_of, relearn

from linpoison.certificates.budget.flip import budget_to_flip
from linpoison.certificates.budget.least import budget_poison
from linpoison.certificates.budget.program import BudgetProgram
from linpoison.certificates.budget.target import BudgetTarget
from linpoison.core import Dataset, InputError, LinearModel
from linpoison.losses import Problem
from linpoison.sets import Ball, Box, ByLabel

AXES = {"first": [1, 0, 0], "second": [0, 1, 0], "across": [-1.0, -0.3], "up": [-0.4, 0.2, 0.6]}


@pytest.mark.parametrize(("loss", "scaling"), [(loss, ("mean", "sum")[i % 2]) for i, loss in enumerate(LOSSES)])
def test_a_flip_is_confirmed_by_retraining(loss, scaling):
    problem = problem_of(loss, scaling, "penalised", 0.05, PLANAR)
    row = Dataset([[1.0, -0.2]], [1])
    clean = relearn(problem, PLANAR)
    assert clean.margins(row)[0] > 0.05
    found = budget_to_flip(PLANAR, problem, DISCS, row)
    assert 0 < found.epsilon < 2
    after = relearn(problem, PLANAR.mix(found.poison.as_dataset()))
    assert after.margins(row)[0] <= 0
    assert found.margin == pytest.approx(after.margins(row)[0], abs=1e-3)
    assert DISCS.violation(found.poison).max() < 1e-5
    assert found.certificate.bound <= found.epsilon * (1 + 1e-6)
    assert found.epsilon == pytest.approx(min(found.tried.values()), rel=1e-3)
    assert budget_poison(found.certificate).total == found.poison.total


def test_a_flip_in_one_dimension_is_the_least_there_is():
    """Without an intercept the sign of one coefficient decides; mass e at the far end gives 1 - 2 e <= 0."""
    train = Dataset([[1.0], [-1.0]], [1, -1])
    sets = ByLabel({1: Ball([0.0], 2.0), -1: Ball([0.0], 2.0)})
    problem = Problem(LOSSES["hinge"], 0.1, fit_intercept=False)
    assert budget_to_flip(train, problem, sets, Dataset([[0.5]], [1])).epsilon == pytest.approx(0.5, rel=1e-2)


def test_a_row_that_is_wrong_already_costs_nothing():
    problem = problem_of("logistic", train=PLANAR)
    found = budget_to_flip(PLANAR, problem, DISCS, Dataset([[1.0, -0.2]], [-1]))
    assert found.epsilon == 0
    assert found.poison.total == 0
    assert found.margin <= 0


def test_a_row_that_no_poison_flips():
    train = Dataset([[1.0], [-1.0]], [1, -1])
    helpful = ByLabel({1: Box([0.5], [1.0]), -1: Box([-1.0], [-0.5])})
    problem = Problem(LOSSES["hinge"], 0.1, fit_intercept=False)
    found = budget_to_flip(train, problem, helpful, Dataset([[0.5]], [1]))
    assert found.epsilon == np.inf
    assert found.poison is None
    assert found.certificate.bound == np.inf


def test_points_without_a_pull_are_no_part_of_a_poison():
    sets = ByLabel({1: Ball([0.0], 9.0), -1: Ball([0.0], 9.0)})
    train, problem = Dataset([[1.0], [-1.0]], [1, -1]), Problem(LOSSES["hinge"], 0.1, fit_intercept=False)
    target = BudgetTarget.of(train, problem, sets, LinearModel([0.5]), 1e-3)
    program = BudgetProgram(target, 1.0)
    program.epsilon = 1e-9
    for u, w in zip(program.points, program.pulls, strict=True):
        w.value, u.value = np.array(1e-9), np.array([3e-9])  # the row 3: a margin of 1.5 times its label
    answer = program.answer(None, "solved")
    assert (answer.poison.X.tolist(), answer.poison.y.tolist()) == ([[pytest.approx(3.0)]], [-1.0])
    assert answer.poison.count.tolist() == pytest.approx([2e-9])


def test_one_row_is_asked_for():
    with pytest.raises(InputError, match="one row of 2 features"):
        budget_to_flip(PLANAR, problem_of("hinge", train=PLANAR), DISCS, PLANAR)
    with pytest.raises(InputError, match="margin"):
        budget_to_flip(PLANAR, problem_of("hinge", train=PLANAR), DISCS, PLANAR.take([0]), margin=0.0)
