"""Class weights in the mathematics of kkt, min-max and influence: against retraining, gradients, a cone program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from linpoison.attacks.kkt_program import KKTProgram
from linpoison.attacks.minmax_paper import PaperLoop
from linpoison.attacks.saddle import SaddleProgram
from linpoison.core import CapabilityError, Dataset, LinearModel, Poison
from linpoison.influence import ImplicitGradient, PoisonGradient, SoftError
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared
from linpoison.optimality.stationarity import Stationarity
from linpoison.sets import Ball, ByLabel

RNG = np.random.default_rng(2)
Y = np.where(np.arange(30) % 3 == 0, 1.0, -1.0)
X = RNG.normal(size=(30, 2)) + 0.7 * Y[:, None]
TRAIN = Dataset(X, Y, RNG.integers(1, 3, size=30).astype(float))
SETS = ByLabel({k: Ball(X[k == Y].mean(axis=0), 3.0) for k in (1, -1)})
SCALINGS = {"mean": {}, "sum": {"scaling": "sum", "n_reference": 30.0}}
WEIGHTS = ((0.5, 3.0), (2.0, 0.7), "balanced")
weights = pytest.mark.parametrize("weight", WEIGHTS, ids=str)
scalings = pytest.mark.parametrize("scaling", SCALINGS)


def problem_of(loss, weight, scaling="mean", **more):
    return Problem(loss, 0.1, class_weight=weight, **SCALINGS[scaling], **more)


def planted(problem, epsilon):
    """A model that poison of the sets has planted."""
    rows = np.array([SETS[1].support(np.array([-1.0, -0.5])), SETS[-1].support(np.array([0.6, 1.0]))])
    poison = Poison(rows, [1.0, -1.0], epsilon * TRAIN.total * np.array([0.3, 0.7]))
    return make_learner(problem, method="reference").fit(TRAIN.mix(poison.as_dataset()))


@weights
@scalings
@pytest.mark.parametrize("loss", [Hinge(), Logistic(), SmoothHinge(0.5)], ids=lambda loss: loss.name)
def test_the_kkt_program_finds_poison_that_plants_the_decoy(loss, weight, scaling):
    """Retraining with the class weights on clean rows and the poison gives the decoy; without them it does not."""
    problem = problem_of(loss, weight, scaling)
    decoy = planted(problem, 0.15)
    found = KKTProgram(method="conic").exact(decoy, TRAIN, problem, SETS, 0.2)
    assert found.poison.total <= (0.2 if weight == "balanced" else 0.15) * TRAIN.total * (1 + 1e-3)
    data = TRAIN.mix(found.poison.as_dataset())
    again = make_learner(problem, method="reference").fit(data)
    np.testing.assert_allclose(again.vector, decoy.vector, atol=2e-3)
    plain = make_learner(replace(problem, class_weight=None)).fit(data)
    assert np.abs(plain.vector - decoy.vector).max() > 0.03


@weights
@scalings
def test_the_residual_is_the_gradient_under_class_weights(weight, scaling):
    problem, decoy = problem_of(Logistic(), weight, scaling), LinearModel([-0.9, 0.4], 0.2)
    found = KKTProgram().solve(decoy, TRAIN, problem, SETS, 0.1)
    data = TRAIN.mix(found.poison.as_dataset())
    gradient = problem.gradient(decoy, data) * data.total / TRAIN.total
    np.testing.assert_allclose(found.residual, gradient, atol=1e-5)
    assert found.poison.total == pytest.approx(0.1 * TRAIN.total, rel=1e-3)


def test_the_kkt_program_agrees_with_the_rows_written_out_where_poison_weighs_one():
    """A class weight of one for the poison's class, and the other written into the clean rows, is the plain program."""
    problem, decoy = problem_of(Hinge(), (2.0, 1.0), "sum"), LinearModel([-0.9, 0.4], 0.2)
    written = replace(TRAIN, weight=TRAIN.weight * np.where(Y > 0, 1.0, 2.0))
    plain = Stationarity(written, replace(problem, class_weight=None), decoy)
    own = Stationarity(TRAIN, problem, decoy)
    scale = written.total / TRAIN.total
    np.testing.assert_allclose(own.constant, plain.constant * scale)
    np.testing.assert_allclose(own.penalty[0], plain.penalty[0] * scale)
    np.testing.assert_allclose(own.kink_matrix.toarray(), plain.kink_matrix.toarray() * scale)
    with pytest.raises(CapabilityError, match="fixed class weights"):
        Stationarity(TRAIN, problem_of(Hinge(), "balanced"), decoy).constant  # noqa: B018


@weights
@scalings
@pytest.mark.parametrize("loss", [Hinge(), Logistic(), Squared()], ids=lambda loss: loss.name)
def test_the_saddle_closes_its_gap_and_its_poison_attains_the_value(loss, weight, scaling):
    problem = problem_of(loss, weight, scaling)
    saddle = SaddleProgram().solve(TRAIN, problem, SETS, 0.15)
    assert saddle.gap < 1e-4
    data = TRAIN.mix(saddle.poison.as_dataset())
    reached = problem.value(make_learner(problem, method="reference").fit(data), data)
    assert saddle.lower * (1 - 1e-4) <= reached <= saddle.upper * (1 + 1e-4)
    if weight != "balanced":
        conic = SaddleProgram(solver="CLARABEL").solve(TRAIN, problem, SETS, 0.15)
        assert conic.lower == pytest.approx(saddle.lower, rel=2e-4)
        assert conic.upper == pytest.approx(saddle.upper, rel=2e-4)
        assert conic.poison.total == pytest.approx(0.15 * TRAIN.total)


def test_the_paper_loop_weighs_rows_by_class():
    """With all weight on one class its worst row is planted, whatever the losses are."""
    for weight, label in (((1.0, 1e3), 1.0), ((1e3, 1.0), -1.0)):
        poison = PaperLoop().rows(TRAIN, problem_of(Hinge(), weight), SETS, 0.1, 4, np.random.default_rng(0))
        assert (poison.y == label).all()


@weights
@scalings
@pytest.mark.parametrize("more", [{}, {"penalize_intercept": False}], ids=["penalised", "free"])
def test_implicit_gradients_under_class_weights_are_differences(weight, scaling, more):
    problem, target = problem_of(Logistic(), weight, scaling, **more), SoftError(Dataset(-X, -Y))
    poison, step = Poison([[-1.0, 0.5], [1.5, 1.0]], [1.0, -1.0], [2.0, 3.0]), 1e-5

    def value(changed):
        return target.value(make_learner(problem).fit(TRAIN.mix(changed.as_dataset())))

    data = TRAIN.mix(poison.as_dataset())
    model = make_learner(problem).fit(data)
    found = PoisonGradient.at(ImplicitGradient(problem, data, model), poison, target)
    for j in range(2):
        ahead, behind = (replace(poison, count=poison.count + sign * step * np.eye(2)[j]) for sign in (1, -1))
        assert found.counts[j] == pytest.approx((value(ahead) - value(behind)) / (2 * step), rel=1e-3, abs=1e-7)
        for k in range(2):
            shift = step * np.outer(np.eye(2)[j], np.eye(2)[k])
            ahead, behind = (replace(poison, X=poison.X + sign * shift) for sign in (1, -1))
            assert found.rows[j, k] == pytest.approx((value(ahead) - value(behind)) / (2 * step), rel=1e-3, abs=1e-7)
