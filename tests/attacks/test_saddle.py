"""The min-max program against cvxpy, written as a minimum and as a maximum, and its own bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kkt_cases import decoy_and_sets, scenario_of

from linpoison.attacks.saddle import SaddleProgram
from linpoison.attacks.saddle_newton import capped_simplex_qp
from linpoison.attacks.saddle_parts import CleanPart, PoisonPart
from linpoison.core import Dataset, InfeasibleSet, InputError, Poison
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared, SquaredHinge
from linpoison.sets import Ball, Box, ByLabel, Slab, intersect

TIGHT = SaddleProgram(tol=1e-6, max_rounds=400)
EPSILON = 0.1
CONVENTIONS = {
    "penalised": {},
    "free": {"penalize_intercept": False},
    "none": {"fit_intercept": False},
    "sum": {"scaling": "sum", "n_reference": 30},
}


def rows(seed=0, n=40, d=4):
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 1.0, -1.0)
    X = rng.normal(size=(n, d)) + 0.7 * y[:, None]
    return Dataset(X, y, rng.integers(1, 4, n).astype(float))


def balls(data, radius=2.5):
    return {label: Ball(np.average(data.X[data.y == label], axis=0), radius + 0.3 * label) for label in (1, -1)}


def reference(data, problem, sets, epsilon, solver):
    """The program over balls as a minimum, worst rows in closed form, in the units of the learner's objective."""
    import cvxpy as cp

    theta, b = cp.Variable(data.d), cp.Variable()
    total = (1 + epsilon) * data.total
    clean = data.weight @ problem.loss.expression(cp.multiply(data.y, data.X @ theta + b)) / total
    worst = cp.Variable()
    constraints = [] if problem.fit_intercept else [b == 0]
    for label, ball in sets.items():
        margin = label * (ball.center @ theta + b) - ball.radius * cp.norm(theta)
        constraints.append(worst >= problem.loss.expression(margin))
    penalty = cp.sum_squares(theta) + (cp.square(b) if problem.penalize_intercept else 0)
    objective = problem.reg_at(total) / 2 * penalty + clean + epsilon / (1 + epsilon) * worst
    return cp.Problem(cp.Minimize(objective), constraints).solve(solver=solver)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # of SCS, whose slack below is wide
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("loss", [Hinge(), Logistic(), SquaredHinge()], ids=lambda loss: loss.name)
def test_value_agrees_with_two_conic_solvers(loss, convention):
    data, problem = rows(), Problem(loss, 0.1, **CONVENTIONS[convention])
    sets = balls(data)
    saddle = TIGHT.solve(data, problem, ByLabel(sets), EPSILON)
    for solver, slack in (("CLARABEL", 1e-5), ("SCS", 2e-3)):
        value = reference(data, problem, sets, EPSILON, solver)
        assert saddle.lower <= value * (1 + slack), solver
        assert saddle.upper >= value * (1 - slack), solver
    assert saddle.gap <= 1e-4


def test_value_agrees_with_the_maximum_over_cones_of_count_sets():
    import cvxpy as cp

    scenario = scenario_of("counts", defenses=("l2", "slab", "loss"))
    _, sets = decoy_and_sets(scenario)
    train, problem = scenario.train, scenario.problem
    saddle = SaddleProgram(tol=1e-5).solve(train, problem, sets, EPSILON)
    dense = train.X.toarray() if train.is_sparse else train.X
    total = (1 + EPSILON) * train.total
    alpha = cp.Variable(train.n, nonneg=True)
    u = {label: cp.Variable(train.d) for label in (1, -1)}
    t = {label: cp.Variable(nonneg=True) for label in (1, -1)}
    pull = dense.T @ cp.multiply(train.y, alpha) + u[1] - u[-1]
    last = train.y @ alpha + t[1] - t[-1]
    gain = cp.sum(alpha) + t[1] + t[-1]
    value = gain - (cp.sum_squares(pull) + cp.square(last)) / (2 * problem.reg)
    cones = [each for label in (1, -1) for each in sets[label].constraints(u[label], t[label])]
    program = cp.Problem(
        cp.Maximize(value), [alpha <= train.weight / total, t[1] + t[-1] <= EPSILON / (1 + EPSILON), *cones]
    )
    assert program.solve(solver="CLARABEL") == pytest.approx(saddle.upper, rel=3e-5)
    assert saddle.gap <= 1e-5
    assert sets.violation(saddle.poison.X, saddle.poison.y).max() <= 1e-6


@pytest.mark.parametrize("loss", [Hinge(), Logistic()], ids=lambda loss: loss.name)
def test_retraining_on_the_relaxed_poison_lands_between_the_bounds(loss):
    data, problem = rows(1), Problem(loss, 0.05)
    saddle = TIGHT.solve(data, problem, ByLabel(balls(data)), EPSILON)
    assert saddle.poison.total == pytest.approx(EPSILON * data.total)
    mixed = data.mix(saddle.poison.as_dataset())
    value = problem.value(make_learner(problem).fit(mixed), mixed)
    assert saddle.lower - 1e-6 <= value <= saddle.upper + 1e-6


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_no_poison_in_the_sets_exceeds_the_upper_bound(seed):
    data, problem = rows(2), Problem(Hinge(), 0.1)
    sets = balls(data)
    upper = SaddleProgram(tol=1e-3).solve(data, problem, ByLabel(sets), EPSILON).upper
    rng = np.random.default_rng(seed)
    labels = rng.choice([-1.0, 1.0], 3)
    step = rng.normal(size=(3, data.d))
    radius = np.array([sets[label].radius for label in labels])
    X = np.array([sets[label].center for label in labels])
    X = X + step / np.linalg.norm(step, axis=1, keepdims=True) * (radius * rng.random(3))[:, None]
    poison = Poison(X, labels, np.full(3, EPSILON * data.total / 3))
    mixed = data.mix(poison.as_dataset())
    assert problem.value(make_learner(problem).fit(mixed), mixed) <= upper + 1e-9


def test_bounds_only_get_better_and_close():
    data = rows(3)
    history = np.array(TIGHT.solve(data, Problem(Hinge(), 0.1), ByLabel(balls(data)), EPSILON).history)
    assert (np.diff(history[:, 0]) <= 0).all()
    assert (np.diff(history[1:, 1]) >= 0).all()
    assert history[-1, 0] - history[-1, 1] <= 2e-6 < history[1, 0] - history[1, 1]


def test_a_loss_that_rises_on_both_sides_looks_at_both_ends():
    data, problem = rows(4, d=1), Problem(Squared(), 0.3)
    box = {label: Box([-4.0], [4.0]) for label in (1, -1)}
    upper = TIGHT.solve(data, problem, ByLabel(box), EPSILON).upper
    for x in (-4.0, 4.0):
        for label in (1.0, -1.0):
            mixed = data.mix(Dataset([[x]], [label], [EPSILON * data.total]))
            assert problem.value(make_learner(problem).fit(mixed), mixed) <= upper * (1 + 1e-9)


def test_a_coarse_tolerance_and_few_rounds_stop_early_and_say_so():
    data, problem = rows(6), Problem(Hinge(), 0.1)
    sets = ByLabel(balls(data))
    one = SaddleProgram(tol=1e-9, max_rounds=1).solve(data, problem, sets, EPSILON)
    coarse = SaddleProgram(tol=0.1).solve(data, problem, sets, EPSILON)
    assert one.info.status == "inexact"
    assert len(one.history) == 2
    assert coarse.info.status == "optimal"
    assert coarse.gap <= 0.1
    assert len(coarse.history) < len(TIGHT.solve(data, problem, sets, EPSILON).history)


def test_unbounded_empty_and_mismatched_sets_are_refused():
    data, problem = rows(), Problem(Hinge(), 0.1)
    slabs = ByLabel({label: Slab(np.ones(4), 0.0, 1.0) for label in (1, -1)})
    with pytest.raises(InputError, match="bounded"):
        TIGHT.solve(data, problem, slabs, EPSILON)
    apart = intersect(Ball(np.zeros(4), 1.0), Box(np.full(4, 5.0), np.full(4, 6.0)))
    with pytest.raises(InfeasibleSet):
        TIGHT.solve(data, problem, ByLabel({1: apart, -1: apart}), EPSILON)
    with pytest.raises(InputError, match="features"):
        TIGHT.solve(data, problem, ByLabel({1: Ball([0.0], 1.0), -1: Ball([0.0], 1.0)}), EPSILON)
    with pytest.raises(InputError):
        SaddleProgram(tol=0.0)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_small_quadratic_program_meets_its_optimality_conditions(seed, k):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(k, rng.integers(1, k + 1)))
    Q, c, total = root @ root.T, rng.normal(size=k), float(rng.uniform(0.1, 3))
    b = capped_simplex_qp(Q, c, total, np.maximum(rng.normal(size=k), 0.0))
    assert (b >= 0).all()
    assert b.sum() <= total * (1 + 1e-9)
    profit = c - Q @ b
    level = max(profit.max(), 0.0)
    assert level * total - profit @ b <= 1e-6 * (1 + np.abs(c).sum())


def test_smoothed_hinge_has_the_slope_that_differences_find():
    part = CleanPart(rows(7), Problem(Hinge(), 0.1))
    part.multiplier = part.share * np.random.default_rng(0).random(part.share.size)
    margins, step = np.linspace(-1, 3, 40), 1e-6
    piece = part.piece(margins, 0.02)
    for i in range(0, 40, 7):
        up, down = margins.copy(), margins.copy()
        up[i] += step
        down[i] -= step
        difference = (part.piece(up, 0.02).value - part.piece(down, 0.02).value) / (2 * step)
        assert difference == pytest.approx(piece.slope[i], abs=1e-7)


def test_rows_without_weight_are_dropped_after_a_while_and_the_gram_matrix_follows():
    part = PoisonPart(2, 0.1, idle=2)
    for value in (1.0, 2.0, 3.0):
        part.add(np.array([value, 0.0]), 1.0, -1.0, 1.0)
    part.weights = np.array([0.0, 0.1, 0.0])
    for _ in range(3):
        part.drop_idle()
    assert part.rows[:, 0].tolist() == [2.0]
    assert part.gram == pytest.approx(part.gradients[:, :-1] @ part.gradients[:, :-1].T)
