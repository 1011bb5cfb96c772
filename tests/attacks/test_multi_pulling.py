"""Poison that is pulled in lies in the balls that it leaves, of the digits as of rows at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from multi_cases import blobs, scenario, scenario_of

from linpoison.attacks.many import MeasureInfluence, MultiInfluence, refitted_regions, regions
from linpoison.attacks.many.regions import pulled_in
from linpoison.core import Dataset, Domain, InputError
from linpoison.defender import Defender
from linpoison.learners import LibraryLearner
from linpoison.losses import MultiProblem, Softmax

REMOVE = 0.05


def outside(clean, poison):
    """How far the worst row is outside of the balls that this poison leaves."""
    regions = refitted_regions(clean, poison, REMOVE)
    return max(float(regions[label].violation(poison.X[poison.y == label]).max(initial=0)) for label in regions)


def thrown(clean, seed, mass):
    """Rows of any place and weight, of mass `mass` for each class on average."""
    rng = np.random.default_rng(seed)
    X, y = 4 * rng.standard_normal((9, clean.d)), rng.integers(0, clean.k, 9)
    return Dataset.coded(X, y, rng.uniform(0.1, 2, 9) * mass * clean.k / 9, clean.k)


@pytest.mark.parametrize("mass", [1.0, 15.0, 100.0])
def test_rows_end_in_the_balls_that_they_leave(mass):
    """With 20 clean rows in a class, 100 are far beyond the share below which readings are proved to converge."""
    clean = blobs()
    for seed in range(6):
        poison = thrown(clean, seed, mass)
        found = pulled_in(clean, poison, REMOVE)
        assert outside(clean, poison) > 0.1
        assert outside(clean, found) < 1e-6
        assert (found.y == poison.y).all()
        assert (found.weight == poison.weight).all()
        assert (pulled_in(clean, found, REMOVE).X == found.X).all()


def test_a_row_alone_ends_on_the_border_of_its_ball():
    clean = blobs()
    poison = Dataset.coded([[9.0, 1.0, -2.0, 0.0]], [1], [3.0], 3)
    found = pulled_in(clean, poison, REMOVE)
    ball = refitted_regions(clean, found, REMOVE)[1]
    assert np.linalg.norm(found.X[0] - ball.center) == pytest.approx(ball.radius, rel=1e-6)
    mean = clean.X[clean.y == 1].mean(axis=0)
    way, whole = found.X[0] - mean, poison.X[0] - mean
    assert way @ whole == pytest.approx(np.linalg.norm(way) * np.linalg.norm(whole))


def test_readings_that_do_not_converge_end_in_a_contraction(monkeypatch):
    clean, pulled = blobs(), 0
    for seed in range(4):
        poison = thrown(clean, seed, 5.0)
        monkeypatch.setattr(regions, "MOST", 1)
        assert outside(clean, pulled_in(clean, poison, REMOVE)) < 1e-6
        monkeypatch.setattr(regions, "MOST", 0)
        found = pulled_in(clean, poison, REMOVE)
        assert outside(clean, found) < 1e-6
        for label in np.unique(poison.y):
            own, mean = found.y == label, clean.X[clean.y == label].mean(axis=0)
            less = np.where(own[:, None], mean + (found.X - mean) * (1 + 1e-4), found.X)
            if not np.allclose(found.X[own], poison.X[own]):
                pulled += 1
                assert outside(clean, replace(found, X=less)) > 1e-6
    assert pulled > 3


def test_rows_stay_in_their_domain():
    rng = np.random.default_rng(0)
    domain = Domain.box(0.0, 1.0, d=4)
    clean = Dataset.coded(rng.uniform(size=(60, 4)) ** 3, np.arange(60) % 3, domain=domain)
    poison = Dataset.coded((rng.uniform(size=(12, 4)) > 0.5).astype(float), np.arange(12) % 3, np.full(12, 2.0), 3)
    found = pulled_in(clean, poison, REMOVE)
    assert outside(clean, poison) > 0.1
    assert outside(clean, found) < 1e-6  # of box and balls
    assert found.X.min() >= 0
    assert found.X.max() <= 1


def test_clean_rows_at_one_place_leave_no_other():
    clean = Dataset.coded(np.repeat(np.eye(2), 20, axis=0), np.repeat([0, 1], 20))
    found = pulled_in(clean, Dataset.coded([[5.0, 5.0], [1.0, 0.0]], [0, 0], [1.0, 1.0], 2), REMOVE)
    assert np.allclose(found.X, [[1.0, 0.0], [1.0, 0.0]], atol=1e-9)


def test_more_poison_than_the_defender_leaves_clean_rows_for_is_refused():
    poison = Dataset.coded([[0.0] * 4], [0], [400.0], 3)
    with pytest.raises(InputError, match="a mass of 400 on 20"):
        pulled_in(blobs(), poison, REMOVE)
    with pytest.raises(InputError, match="remove"):
        pulled_in(blobs(), poison, 1.0)


@pytest.mark.parametrize(("exact", "seed"), [(False, 0), (True, 1)], ids=["stops early", "trains to the end"])
def test_what_the_influence_attack_plants_lies_in_the_balls_that_it_leaves(exact, seed):
    """For both defenders of the experiment, each with a seed of its own, as shares and as whole copies."""
    case = scenario(250, epsilon=0.1)
    if exact:
        learner = LibraryLearner(MultiProblem("crammer_singer", 5e-3), tol=0.1)
        case = scenario_of(case.train, case.target, learner, 0.1)
    walk = MeasureInfluence(MultiProblem(Softmax(1.0, 0.5), 5e-3), width=0.5, steps=10, share=0.2, rows=200)
    found = MultiInfluence(walk).run(case, seed=seed)
    assert outside(case.train, found.best.relaxed.as_dataset()) < 1e-5
    assert outside(case.train, found.poison.as_dataset()) < 1e-5
    assert found.poison.total == case.n_poison
    defender = Defender(case.train, case.problem, case.defenses, case.learner)
    assert defender.score(found.poison, {}).kept_fraction["l2"] > 0.95
