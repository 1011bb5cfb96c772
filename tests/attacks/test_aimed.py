import numpy as np
import pytest

from linpoison.attacks.aimed import Aimed
from linpoison.certificates import Claim, certify_ridge
from linpoison.core import Dataset, Poison
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared
from linpoison.sets import Ball, Box, ByLabel, intersect

EPSILON = 0.1


def scenario(loss, reg=0.1, n=80, d=4, **options):
    rng = np.random.default_rng(1)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    X = 0.5 * rng.normal(size=(n, d)) + 0.4 * y[:, None]
    balls = {k: Ball(X[y == k].mean(axis=0), 1.2) for k in (1, -1)}
    wall = Box(np.full(d, -1.5), np.full(d, 1.5))
    sets = ByLabel(balls if loss.quadratic else {k: intersect(ball, wall) for k, ball in balls.items()})
    labels = np.where(rng.random(12) < 0.5, 1.0, -1.0)
    rows = Dataset(0.3 * rng.normal(size=(12, d)) + 0.2 * labels[:, None], labels)
    return Dataset(X, y), Problem(loss, reg, **options), sets, rows


def score(data, problem, z, k):
    model = make_learner(problem).fit(data)
    return -k * (model.coef @ z + model.intercept)


def test_it_attains_the_bound_of_ridge_where_one_group_does():
    train, problem, sets, rows = scenario(Squared(), penalize_intercept=True)
    proved = certify_ridge(Claim(train, problem, sets, EPSILON, rows))
    search = Aimed(train, problem, sets, EPSILON * train.n)
    margins = make_learner(problem).fit(train).margins(rows)
    reached = np.array([search.at(rows.X[j], rows.y[j]).score for j in range(rows.n)])
    assert np.all(reached <= proved.bound + 1e-9)
    assert np.any(margins > 0)
    at_stake = (margins > 0) & (proved.bound >= 0)
    assert at_stake.sum() >= 2
    np.testing.assert_array_equal(reached[at_stake] >= 0, True)
    safe = proved.bound < 0
    assert np.median((proved.bound - reached)[safe]) < 0.02 * np.median(np.abs(proved.bound + margins))


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), Squared()])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}])
def test_a_poison_is_within_budget_and_sets_and_does_what_is_said(loss, options):
    train, problem, sets, rows = scenario(loss, **options)
    search = Aimed(train, problem, sets, EPSILON * train.n)
    rng = np.random.default_rng(0)
    gains = []
    for j in range(rows.n):
        found = search.at(rows.X[j], rows.y[j])
        poison = found.poison
        assert poison is None or poison.total == pytest.approx(EPSILON * train.n)
        assert poison is None or sets.contains(poison.X, poison.y, 1e-7).all()
        data = train if poison is None else train.mix(poison.as_dataset())
        assert found.score == pytest.approx(score(data, problem, rows.X[j], rows.y[j]), abs=1e-7)
        y = rng.choice((-1.0, 1.0))
        X = sets[y].project(rng.normal(size=(1, train.d)) * 3)
        random = Poison(X, [y], [EPSILON * train.n])
        gains.append(found.score - score(train.mix(random.as_dataset()), problem, rows.X[j], rows.y[j]))
        if found.score < 0:
            assert gains[-1] >= -1e-7
    assert np.mean(gains) > 0.02


def test_it_turns_what_a_search_of_the_ball_turns():
    """In the plane: all points of a fine grid on both circles, alone, against the hinge."""
    rng = np.random.default_rng(3)
    y = np.repeat((1.0, -1.0), 12)
    train = Dataset(0.5 * rng.normal(size=(24, 2)) + 0.6 * y[:, None], y)
    sets = ByLabel({k: Ball(train.X[y == k].mean(axis=0), 1.0) for k in (1, -1)})
    problem, mass = Problem(Hinge(), 0.05), 1.5
    search = Aimed(train, problem, sets, mass)
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    around = [(sets[k].center + s * x, k) for k in (1.0, -1.0) for x in circle for s in (1.0, 0.5)]
    models = [make_learner(problem).fit(train.mix(Dataset([x], [k], [mass]))).vector for x, k in around]
    clean = make_learner(problem).fit(train).vector
    turned = open_ = 0
    for z in rng.normal(size=(40, 2)):
        k = np.sign(z @ clean[:2] + clean[2])
        worst = max(-k * (z @ v[:2] + v[2]) for v in models)
        if worst >= 0:
            open_ += 1
            turned += search.at(z, k).score >= 0
    assert open_ >= 4
    assert turned >= open_ - 1
