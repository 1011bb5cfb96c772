"""Problems for the tests of budgets: losses, conventions, random targets, and learners that are tight enough."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from scipy.optimize import linprog

from linpoison.core import LinearModel
from linpoison.datasets import gaussians
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge
from linpoison.optimality import Stationarity
from linpoison.sets import Ball, Box, ByLabel

LOSSES = {loss.name: loss for loss in (Hinge(), SquaredHinge(), Logistic(), SmoothHinge(0.3), Squared())}
CONVENTIONS = {
    "penalised": {"penalize_intercept": True},
    "free": {"penalize_intercept": False},
    "none": {"fit_intercept": False},
}
TRAIN = gaussians(n=60, d=4, seed=3).train
PLANAR = gaussians(n=40, d=2, seed=1).train
DISCS = ByLabel({1: Ball([1.0, 0.3], 2.0), -1: Ball([-1.0, 0.0], 1.6)})


def problem_of(loss, scaling="mean", convention="penalised", reg=0.02, train=TRAIN):
    return Problem(LOSSES[loss], reg, scaling=scaling, n_reference=train.n, **CONVENTIONS[convention])


def everywhere(d=TRAIN.d):
    box = Box(np.full(d, -np.inf), np.full(d, np.inf))
    return ByLabel({1: box, -1: box})


def random_models(problem, number, seed, train=TRAIN, sizes=(0.3, 1.0, 2.0)):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        vector = rng.normal(size=train.d + 1) * rng.choice(sizes)
        vector[-1] *= 0.5 * problem.fit_intercept
        yield LinearModel.from_vector(vector)


def relearn(problem, data):
    """The minimiser to about 1e-8: scikit-learn and scipy for smooth losses, a tight conic program for the hinge."""
    if problem.loss.kink is None:
        return make_learner(problem).fit(data)
    theta, b = cp.Variable(data.d), cp.Variable() if problem.fit_intercept else 0.0
    loss = (data.weight / data.total) @ cp.pos(1 - cp.multiply(data.y, data.X @ theta + b))
    penalty = cp.sum_squares(theta)
    if problem.fit_intercept and problem.penalize_intercept:
        penalty += cp.square(b)
    program = cp.Problem(cp.Minimize(problem.reg_at(data.total) / 2 * penalty + loss))
    program.solve(solver="CLARABEL", tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-12)
    return polished(problem, data, LinearModel(theta.value, float(b.value) if problem.fit_intercept else 0.0))


def polished(problem, data, model, near=1e-4):
    """The hinge's minimiser from the rows that lie on its kink, by the linear equations of optimality."""
    rows = np.column_stack([data.X, np.full(data.n, float(problem.fit_intercept))]) * data.y[:, None]
    margins = rows @ model.vector
    on, share = np.abs(margins - 1) <= near, data.weight / data.total
    mask = problem.reg_at(data.total) * problem.penalty_mask(data.d)
    pulled = share[margins < 1 - near] @ rows[margins < 1 - near]
    k = int(on.sum())
    table = np.block([[np.diag(mask), -(share[on, None] * rows[on]).T], [rows[on], np.zeros((k, k))]])
    found = np.linalg.lstsq(table, np.concatenate([pulled, np.ones(k)]), rcond=None)[0]
    vector, multipliers = found[: data.d + 1], found[data.d + 1 :]
    vector[-1] *= problem.fit_intercept
    good = ((multipliers > -1e-6) & (multipliers < 1 + 1e-6)).all() and np.abs(rows @ vector - margins).max() < 1e-2
    return LinearModel.from_vector(vector) if good else model


def is_learned(problem, model, data, tol=1e-5):
    """Whether the learner returns the model, or another one of the same objective where several are minimal."""
    found = relearn(problem, data)
    if problem.loss.kink is not None and problem.fit_intercept and not problem.penalize_intercept:
        return problem.value(model, data) <= problem.value(found, data) + 1e-8
    return model.distance(found) <= tol * max(1.0, float(np.linalg.norm(model.vector)))


def disc_grid(ball, model, label, near):
    """Points of a disc: rings, a fine rim, the line of margin one, and a fine patch around each point of `near`."""
    angle = np.linspace(0, 2 * np.pi, 900, endpoint=False)
    rim = np.column_stack([np.cos(angle), np.sin(angle)])
    rings = [ball.center + ball.radius * r * rim[:: 9 if r < 1 else 1] for r in np.linspace(0, 1, 25)]
    normal = label * model.coef
    foot = ball.center + normal * (1 - label * (model.intercept + ball.center @ model.coef)) / (normal @ normal)
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    line = foot + np.linspace(-2 * ball.radius, 2 * ball.radius, 801)[:, None] * along
    inside = np.linalg.norm(line - ball.center, axis=1) <= ball.radius
    step = np.linspace(-0.06, 0.06, 17)
    patch = np.stack(np.meshgrid(step, step), axis=-1).reshape(-1, 2)
    patches = [ball.project(x + patch) for x in near]
    return np.vstack([*rings, line[inside], *patches])


def grid_budget(train, problem, sets, model, poison=None):
    """The least mass on a dense grid, finest around a poison, by a linear program written out point by point."""
    condition = Stationarity(train, problem, model, 1e-3)
    c0, c1 = condition.penalty
    columns = []
    for label in (1, -1):
        near = [] if poison is None else poison.X[poison.y == label]
        points = disc_grid(sets[label], model, label, near)
        rows = np.column_stack([points, np.ones(len(points))])
        margins = label * (rows @ model.vector)
        pull = (margins <= 1 + 1e-9).astype(float) if problem.loss.kink else -problem.loss.derivative(margins)
        columns.append(label * pull[:, None] * rows)
    poisoned = np.vstack(columns).T - c1[:, None]
    clean = -condition.kink_matrix.toarray()
    table, target = np.hstack([poisoned, clean]), condition.constant + c0
    if not problem.fit_intercept:
        table, target = table[:-1], target[:-1]
    cost = np.concatenate([np.ones(poisoned.shape[1]), np.zeros(clean.shape[1])])
    bounds = [(0, None)] * poisoned.shape[1] + [(0, 1)] * clean.shape[1]
    found = linprog(cost, A_eq=table, b_eq=target, bounds=bounds, method="highs")
    return found.fun if found.x is not None else np.inf
