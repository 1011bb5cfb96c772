"""The step of a joint program against the model that is learned with its poison, at any mass of the poison before."""

from __future__ import annotations

import numpy as np
import pytest

from linpoison.attacks.joint_step import Goal, JointStep, Planted
from linpoison.core import Dataset, LinearModel, Poison
from linpoison.learners import make_learner
from linpoison.losses import Logistic, Problem, Squared
from linpoison.sets import Ball, ByLabel

PROBLEMS = {
    "mean": Problem(Logistic(), 0.5),
    "free intercept": Problem(Logistic(), 0.5, penalize_intercept=False),
    "no intercept": Problem(Logistic(), 0.5, fit_intercept=False),
    "squared": Problem(Squared(), 0.5),
    "sum": Problem(Logistic(), 0.5, scaling="sum", n_reference=30),
}
SETS = ByLabel({label: Ball(np.zeros(2), 8.0) for label in (1, -1)})
GOAL = Goal(np.array([-1.0, 0.5, 0.3]), np.zeros(3), room=1.0, penalty=1.0)
COUNT = 60
every_problem = pytest.mark.parametrize("name", PROBLEMS)


def rows() -> Dataset:
    y = np.repeat([1.0, -1.0], 20)
    return Dataset(np.random.default_rng(0).standard_normal((40, 2)) + y[:, None], y)


def moved(before: Planted, radius: float) -> tuple[Planted, np.ndarray]:
    """What is planted by one program, and the step that the program said it would be."""
    program = JointStep(before, SETS, COUNT, GOAL, radius)
    poison = program.solve()
    learned = make_learner(before.problem).fit(before.train.mix(poison.as_dataset()))
    return Planted(before.train, before.problem, learned, poison), program.step.value


def heavy(name: str) -> Planted:
    """A model planted by more poison than clean rows, from which small steps need small changes of the poison."""
    train, problem = rows(), PROBLEMS[name]
    here = Planted(train, problem, make_learner(problem).fit(train), Poison(np.zeros((0, 2)), np.zeros(0), np.zeros(0)))
    for radius in (0.3, 0.3, 0.3, 1e-4, 1e-4):
        here, _ = moved(here, radius)
    assert here.poison.total > 1.2 * train.total
    return here


@every_problem
def test_the_error_of_a_step_is_of_second_order(name):
    here = heavy(name)
    errors = []
    for radius in (0.04, 0.01):
        there, step = moved(here, radius)
        length = np.linalg.norm(step)
        assert length > 0.1 * radius
        errors.append(np.linalg.norm(there.model.vector - here.model.vector - step) / length)
    assert errors[1] < 0.02
    assert errors[1] < 0.5 * errors[0]  # a quarter, but for the tolerance of the solver


@every_problem
@pytest.mark.parametrize("mass", [0.0, 1.5], ids=["clean", "heavy"])
def test_the_hessian_is_what_the_clean_rows_and_the_penalty_bend(name, mass):
    train, problem, step = rows(), PROBLEMS[name], 1e-5
    poison = Poison([[1.0, -2.0], [0.5, 0.5]], [1, -1], [mass * 25, mass * 15])
    mixed, model = train.mix(poison.as_dataset()), LinearModel([0.3, -0.2], 0.1 * problem.fit_intercept)
    found, free = Planted(train, problem, model, poison).hessian, 3 if problem.fit_intercept else 2

    def gradient(vector):
        at = LinearModel.from_vector(vector)
        pulled = problem.data_gradient(at, poison.as_dataset()) * poison.total if mass else 0.0
        return (mixed.total * problem.gradient(at, mixed) - pulled) / train.total

    for place in range(free):
        ends = [gradient(model.vector + sign * step * np.eye(3)[place]) for sign in (1, -1)]
        assert found[place, :free] == pytest.approx((ends[0] - ends[1])[:free] / (2 * step), rel=1e-5, abs=1e-8)
