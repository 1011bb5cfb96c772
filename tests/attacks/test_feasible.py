"""What the attacker expects of the defences, whatever they are called and however rows are stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from linpoison.attacks import FeasibleRegion, LabelFlipDecoys, Scenario, SetPolicy
from linpoison.attacks.kkt import KKT
from linpoison.core import Budget, InputError, LinearModel, Poison
from linpoison.datasets import counts, gaussians
from linpoison.defenses import TrustedDefense, make_defense
from linpoison.defenses.quota import quota
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Problem
from linpoison.sets import Ball, Box, CountBall

SPLIT = gaussians(n=90, d=3, seed=2)
PROBLEM = Problem(Hinge(), 0.05)
DECOY = LinearModel([1.0, 0.5, 0.0], 0.1)
POISON = Poison(SPLIT.train.X[:2], -SPLIT.train.y[:2], [3, 4])
SMALL = LabelFlipDecoys((0.3,), (2,))


def scenario_of(train=SPLIT.train, *, prefix="", names=("l2", "slab", "loss")):
    defenses = {prefix + name: make_defense(name, remove=0.05, problem=PROBLEM) for name in names}
    return Scenario(train, PROBLEM, Budget(0.1), defenses, SPLIT.test)


def sets_of(scenario, poison=None):
    return FeasibleRegion.fit(scenario, SetPolicy(), poison).sets(DECOY)


def assert_equal_sets(one, other):
    X = np.random.default_rng(0).standard_normal((50, 3)) * 3
    for label in (1, -1):
        assert one[label].violation(X) == pytest.approx(other[label].violation(X), abs=1e-6)


def test_weights_are_for_the_learner_and_move_no_set_but_that_of_the_loss():
    weight = np.random.default_rng(1).uniform(0, 4, SPLIT.train.n)
    weighted, plain = (
        scenario_of(train, names=("l2", "slab")) for train in (replace(SPLIT.train, weight=weight), SPLIT.train)
    )
    assert_equal_sets(sets_of(weighted, POISON), sets_of(plain, POISON))


@pytest.mark.parametrize("poison", [None, POISON])
def test_names_of_defences_carry_no_meaning(poison):
    assert_equal_sets(sets_of(scenario_of(), poison), sets_of(scenario_of(prefix="my "), poison))


def test_defences_without_a_set_may_have_any_name():
    scenario = scenario_of(prefix="my ", names=("l2", "knn", "svd"))
    result = KKT(decoys=SMALL, regrown=SMALL, generations=1, reach=(1.2,)).run(scenario)
    assert set(result.best.test_error) == {"none", "my l2", "my knn", "my svd"}


def test_a_class_may_be_outnumbered_by_its_poison():
    train = SPLIT.train.take(np.r_[np.flatnonzero(SPLIT.train.y < 0), np.flatnonzero(SPLIT.train.y > 0)[:4]])
    scenario = Scenario(train, PROBLEM, Budget(0.5), {"l2": make_defense("l2", remove=0.3)}, SPLIT.test)
    poison = Poison(train.X[-1:] + 1.0, [1], [16])
    assert sets_of(scenario, poison)[1].radius > 0


def test_without_the_envelope_points_lie_in_the_ball_itself():
    split = counts(n=60, d=5, seed=1)
    scenario = Scenario(split.train, PROBLEM, Budget(0.1), {"l2": make_defense("l2", remove=0.05)}, split.test)
    decoy = make_learner(PROBLEM).fit(split.train)
    inside, ball = (FeasibleRegion.fit(scenario, SetPolicy(envelope=flag)).sets(decoy)[1] for flag in (True, False))
    assert isinstance(inside, CountBall)
    assert {type(part) for part in ball.sets} == {Ball, Box}


@pytest.mark.parametrize("remove", [0.02, 0.05, 0.2])
def test_first_thresholds_follow_what_a_defence_drops_with_the_budget_in(remove):
    scenario = Scenario(SPLIT.train, PROBLEM, Budget(0.1), {"l2": make_defense("l2", remove=remove)}, SPLIT.test)
    clean = make_defense("l2", remove=remove).fit(SPLIT.train.X, SPLIT.train.y)
    for label in (1.0, -1.0):
        scores = clean.decision_scores_[SPLIT.train.y == label]
        beyond = (scores > sets_of(scenario)[label].radius).sum()
        dropped = quota(remove, scores.size + scenario.n_poison)
        assert dropped <= beyond <= 1.1 * dropped + 1
    assert (
        FeasibleRegion.fit(scenario, SetPolicy(assumed_removal=0.3)).sets(DECOY)[1].radius < sets_of(scenario)[1].radius
    )


def test_filters_of_trusted_rows_keep_their_thresholds_whatever_the_poison():
    trusted = TrustedDefense(make_defense("l2"), (SPLIT.train.X, SPLIT.train.y))
    scenario = Scenario(SPLIT.train, PROBLEM, Budget(0.1), {"l2": trusted}, SPLIT.test)
    inner = make_defense("l2").fit(SPLIT.train.X, SPLIT.train.y)
    for poison in (None, POISON):
        for label in (1.0, -1.0):
            assert sets_of(scenario, poison)[label].radius == inner.thresholds_[label]


def test_first_sets_leave_out_a_share_of_what_defences_remove_but_never_less_than_the_quota():
    policy, defense = SetPolicy(beyond=1.2), make_defense("l2", remove=0.05)
    assert policy.share(defense, 1209, 124) == pytest.approx(0.06, abs=1e-12)
    assert policy.share(defense, 1209, 600) == defense.n_dropped(1809) / 1209 > 0.06
    with pytest.raises(InputError):
        SetPolicy(beyond=0.9)
