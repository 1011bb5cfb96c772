"""The closed-form threshold against the conic program, a dense dual bound, and retraining."""

from __future__ import annotations

import numpy as np
import pytest

from linpoison.attacks import KKTProgram
from linpoison.certificates.theory import reachability_threshold
from linpoison.core import Dataset, InfeasibleSet, InputError, LinearModel
from linpoison.datasets import gaussians
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge
from linpoison.sets import Box, ByLabel

LOSSES = {loss.name: loss for loss in (Hinge(), SquaredHinge(), Logistic(), SmoothHinge(0.3), Squared())}
TRAIN = gaussians(n=60, d=4, seed=3).train
CONVENTIONS = {
    "penalised": {"penalize_intercept": True},
    "free": {"penalize_intercept": False},
    "none": {"fit_intercept": False},
}


def everywhere(d):
    box = Box(np.full(d, -np.inf), np.full(d, np.inf))
    return ByLabel({1: box, -1: box})


def problem_of(loss, scaling, convention):
    return Problem(LOSSES[loss], 0.02, scaling=scaling, n_reference=TRAIN.n, **CONVENTIONS[convention])


def targets(problem, number, seed=0):
    """Random models whose threshold is positive and finite."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < number:
        vector = rng.normal(size=TRAIN.d + 1) * rng.choice([0.3, 1.0, 2.0])
        vector[-1] *= problem.fit_intercept
        model = LinearModel.from_vector(vector)
        threshold = reachability_threshold(problem, model, TRAIN)
        if 1e-3 < threshold.epsilon < 50:
            found.append((model, threshold))
    return found


@pytest.mark.parametrize(
    ("loss", "scaling", "convention"),
    [(a, ("mean", "sum")[(i + j) % 2], b) for i, a in enumerate(LOSSES) for j, b in enumerate(CONVENTIONS)],
)
def test_least_mass_of_the_conic_program_is_the_closed_form(loss, scaling, convention):
    problem = problem_of(loss, scaling, convention)
    for model, threshold in targets(problem, 8):
        solution = KKTProgram().exact(model, TRAIN, problem, everywhere(TRAIN.d), 1.5 * threshold.epsilon)
        assert solution.poison.total / TRAIN.total == pytest.approx(threshold.epsilon, rel=1e-5)
        assert threshold.epsilon >= threshold.ratio * (1 - 1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_bound_of_the_model_alone_is_often_attained_and_often_not(loss):
    ratios = [t.epsilon / max(t.ratio, 1e-9) for _, t in targets(problem_of(loss, "mean", "free"), 30)]
    assert min(ratios) == pytest.approx(1)
    assert max(ratios) > 1.01
    simple = [t.epsilon / t.ratio for _, t in targets(problem_of(loss, "mean", "none"), 10)]
    np.testing.assert_allclose(simple, 1)


@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_no_direction_proves_more_than_the_threshold_and_the_best_proves_as_much(loss, scaling):
    """Weak duality: ``<v, g + reg P v0> / sup_t psi(t) (t + |s|)`` for v = v0 + (0, s), by dense grids."""
    problem = problem_of(loss, scaling, "free")
    t = np.linspace(-30, 1 if loss == "hinge" else 12, 40_001)
    psi = np.ones_like(t) if loss == "hinge" else problem.loss.pull(t)
    steps = np.geomspace(1e-3, 1e4, 300)
    for model, threshold in targets(problem, 4, seed=1):
        gradient = problem.gradient(model, TRAIN)
        growth = problem.reg * float(model.coef @ model.coef) if scaling == "mean" else 0.0
        proved = []
        for s in np.concatenate([-steps, [0.0], steps]):
            direction = model.vector + np.append(np.zeros(TRAIN.d), s)
            denominator = float((psi * (t + abs(s))).max()) - growth
            proved.append(gradient @ direction / denominator if denominator > 0 else 0.0)
        assert max(proved) <= threshold.epsilon * (1 + 1e-4)
        assert max(proved) >= threshold.epsilon * (1 - 1e-2)


def test_infinite_if_the_regulariser_grows_faster_than_the_poison():
    problem = Problem(Logistic(), 0.3)
    threshold = reachability_threshold(problem, LinearModel([-2.0]), Dataset([[1.0], [-1.0]], [1, -1]))
    assert threshold.epsilon == np.inf == threshold.ratio
    assert threshold.denominator < 0 < threshold.numerator
    by_sum = Problem(Logistic(), 0.3, scaling="sum", n_reference=2)
    assert reachability_threshold(by_sum, LinearModel([-2.0]), Dataset([[1.0], [-1.0]], [1, -1])).epsilon < 20


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_infinite_if_no_poison_holds_the_intercept(loss):
    """A penalised intercept of 0.02 at reg 100 pulls with 2 a row; a row pulls back with 1 at most."""
    problem = Problem(LOSSES[loss], 100.0)
    model = LinearModel(np.full(TRAIN.d, 1e-3), 0.02)
    threshold = reachability_threshold(problem, model, TRAIN)
    assert threshold.epsilon == np.inf > threshold.ratio
    with pytest.raises(InfeasibleSet):
        KKTProgram().exact(model, TRAIN, problem, everywhere(TRAIN.d), 100.0)


@pytest.mark.parametrize("seed", range(3))
def test_any_model_under_any_convention(seed):
    """Random models, regularisers and conventions: finite thresholds are attained, infinite ones infeasible."""
    rng = np.random.default_rng(seed)
    outcomes = []
    for _ in range(25):
        convention = CONVENTIONS[rng.choice(list(CONVENTIONS))]
        scaling = rng.choice(["mean", "sum"])
        loss = LOSSES[rng.choice(list(LOSSES))]
        problem = Problem(loss, 10 ** rng.uniform(-3, 0), scaling=str(scaling), n_reference=TRAIN.n, **convention)
        vector = rng.normal(size=TRAIN.d + 1) * 10 ** rng.uniform(-1.5, 1)
        vector[-1] *= problem.fit_intercept
        model = LinearModel.from_vector(vector)
        epsilon = reachability_threshold(problem, model, TRAIN).epsilon
        if not 1e-4 < epsilon < 100 and np.isfinite(epsilon):
            continue
        outcomes.append(np.isfinite(epsilon))
        if np.isinf(epsilon):
            with pytest.raises(InfeasibleSet):
                KKTProgram().exact(model, TRAIN, problem, everywhere(TRAIN.d), 100.0)
        else:
            solution = KKTProgram().exact(model, TRAIN, problem, everywhere(TRAIN.d), 1.5 * epsilon)
            assert solution.poison.total / TRAIN.total == pytest.approx(epsilon, rel=1e-5)
    assert sum(outcomes) >= 8


def test_without_regulariser_and_intercept_it_is_the_formula_of_lu():
    """``max(<w, g>, 0) / W(1/e)``, equation (3.4)."""
    problem = Problem(Logistic(), 1e-12, fit_intercept=False)
    model = LinearModel(np.array([-1.0, 0.3, -0.2, 0.5]))
    margins = model.margins(TRAIN)
    gradient = -(margins / (1 + np.exp(margins))).mean()
    assert reachability_threshold(problem, model, TRAIN).epsilon == pytest.approx(gradient / 0.2784645427610738)


def test_free_multipliers_lower_the_hinge_threshold_by_a_linear_program():
    train = Dataset([[1.0], [3.0], [-2.0], [-1.0]], [1, 1, -1, -1])
    problem = Problem(Hinge(), 0.5, fit_intercept=False)
    model = LinearModel([1.0])  # rows 0 and 3 lie on the kink: S = 0.5 - (a_0 + a_3) / 4 + e 0.5 <= e
    assert reachability_threshold(problem, model, train).epsilon == 0
    heavier = LinearModel([1.0001])
    strict = reachability_threshold(problem, heavier, train, kink_tolerance=0.0)
    assert strict.epsilon == pytest.approx(1, rel=1e-2)
    assert reachability_threshold(problem, heavier, train, kink_tolerance=1e-3).epsilon < 0.01


def test_the_learned_model_needs_nothing():
    for loss in LOSSES.values():
        problem = Problem(loss, 0.05)
        model = make_learner(problem, method="reference").fit(TRAIN)
        assert reachability_threshold(problem, model, TRAIN).epsilon < 1e-3


def test_a_model_that_does_not_fit_the_problem_is_refused():
    with pytest.raises(InputError, match="a model of 4 features, got 2"):
        reachability_threshold(Problem(Hinge(), 1.0), LinearModel([1.0, 2.0]), TRAIN)
    with pytest.raises(InputError, match="without intercept"):
        reachability_threshold(Problem(Hinge(), 1.0, fit_intercept=False), LinearModel(np.ones(4), 1.0), TRAIN)
    with pytest.raises(InputError, match="kink_tolerance"):
        reachability_threshold(Problem(Hinge(), 1.0), LinearModel(np.ones(4)), TRAIN, kink_tolerance=-1)
