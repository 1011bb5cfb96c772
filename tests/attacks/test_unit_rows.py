"""Rows of unit length: attacks plant such rows inside the sets, and do more than the best single row of the data."""

from __future__ import annotations

import numpy as np
import pytest
from kkt_cases import LOSSES

from linpoison.attacks import KKT, Breakdown, Influence, LabelFlipDecoys, MinMax, Refined, Scenario
from linpoison.core import Budget, Dataset, Domain
from linpoison.defenses import make_defense
from linpoison.learners import make_learner
from linpoison.losses import Problem

SMALL = LabelFlipDecoys(quantiles=(0.3, 0.5), repeats=(2, 4))
ATTACKS = [
    KKT(decoys=SMALL, regrown=SMALL, generations=0, reach=(1.1,), refits=1, finalists=2),
    MinMax(decoys=SMALL, regrown=SMALL, generations=0, reach=(1.1,), tries=1, draws=1, finalists=2),
    Influence(starts=1, steps=6, check=3, draws=1, finalists=2),
    Breakdown(directions=4, ascents=10, kept=1, chains=1, steps=5, remade=0, radii=(20.0,), inside=False),
]


@pytest.fixture(scope="module")
def scenario():
    rng = np.random.default_rng(3)
    y = np.where(rng.random(160) < 0.5, 1.0, -1.0)
    X = rng.normal(size=(160, 12)) + 0.9 * y[:, None] * np.eye(12)[0] + 0.5 * np.eye(12)[1]
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    rows = [Dataset(X[part], y[part], domain=Domain.unit()) for part in (slice(100), slice(100, None))]
    problem = Problem(LOSSES["hinge"], 0.01)
    guards = {name: make_defense(name, remove=0.05, problem=problem) for name in ("l2", "slab", "loss")}
    return Scenario(rows[0], problem, Budget(0.08), guards, rows[1])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attacks_plant_rows_of_length_one(scenario, attack):
    result = attack.run(scenario, seed=0)
    poison = result.best.poison
    assert 0 < poison.total <= scenario.n_poison
    np.testing.assert_allclose(np.linalg.norm(poison.X, axis=1), 1, atol=1e-9)
    clean = make_learner(scenario.problem).fit(scenario.train).error(scenario.target)
    assert min(result.best.test_error.values()) > clean


def test_local_search_stays_on_the_sphere(scenario):
    result = Refined(start=ATTACKS[0], rounds=1, steps=20, chains=1).run(scenario, seed=0)
    np.testing.assert_allclose(np.linalg.norm(result.best.poison.X, axis=1), 1, atol=1e-9)
