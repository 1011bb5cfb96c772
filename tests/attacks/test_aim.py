"""The aim of a scenario: whom to hurt, and how much the others may suffer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from linpoison.attacks import Aim, RandomFlips, Scenario
from linpoison.core import Budget, CapabilityError, Dataset, InputError
from linpoison.datasets import gaussians
from linpoison.defenses import make_defense
from linpoison.learners import make_learner
from linpoison.losses import Logistic, Problem

SPLIT = gaussians(n=80, d=3, seed=1)
PROBLEM = Problem(Logistic(), 0.05)


def scenario(collateral, defenses=()):
    aim = Aim.of_group(SPLIT.test, SPLIT.test.X[:, 1] > 0.5, collateral)
    return Scenario(SPLIT.train, PROBLEM, Budget(0.8), {name: make_defense(name) for name in defenses}, aim)


def test_excess_is_the_growth_of_the_error_of_the_others_beyond_the_limit():
    asked = scenario(0.001)
    learner = make_learner(PROBLEM)
    found = RandomFlips(draws=6, finalists=6).run(asked).candidates
    clean = learner.fit(asked.train).error(asked.aim.others)
    for item in found:
        growth = learner.fit(asked.train.mix(item.poison.expanded())).error(asked.aim.others) - clean
        assert item.excess == pytest.approx(max(growth - 0.001, 0))
    assert len({item.excess for item in found}) > 2


def test_a_poison_within_the_limit_is_better_than_any_beyond_it():
    free, held = (RandomFlips(draws=12, finalists=12).run(scenario(limit)) for limit in (1.0, 0.0))
    assert free.best.worst == max(item.worst for item in held.candidates)
    least = min(item.excess for item in held.candidates)
    assert held.best.excess == least
    assert held.best.worst == max(item.worst for item in held.candidates if item.excess == least)
    assert held.best.worst < free.best.worst


def test_behind_defences_the_growth_is_that_where_it_is_greatest():
    asked = scenario(0.0, ("l2", "slab"))
    error = {"others": {"none": 1.0, "l2": 0.5, "slab": 0.9}}
    clean = asked.defender.score(None, {"others": asked.aim.others}).error["others"]
    assert asked.excess(error) == pytest.approx(max(0.5 - clean["l2"], 0.9 - clean["slab"]))
    assert replace(asked, aim=asked.target).excess({"target": {"none": 1.0}}) == 0


def test_an_aim_says_what_is_wrong_with_it():
    rows = Dataset([[0.0], [1.0]], [1, -1])
    with pytest.raises(InputError, match="in the subpopulation and outside"):
        Aim.of_group(rows, np.ones(2, dtype=bool))
    with pytest.raises(InputError, match="0.01 means 1 %"):
        Aim(rows, collateral=2)
    with pytest.raises(InputError, match="a goal"):
        Aim(rows, "everyone")
    with pytest.raises(CapabilityError, match="a group as the aim of this one"):
        Aim(rows).rest("this one")
    with pytest.raises(InputError, match="members of 2 training rows"):
        Aim(rows, members=np.ones(3, dtype=bool)).within(rows)
