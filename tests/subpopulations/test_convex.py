"""The convex attacks on a subpopulation: collateral, budgets, and label flips outdone."""

from __future__ import annotations

import numpy as np
import pytest
from group_cases import blob_parts, clusters

from linpoison.core import Dataset, Domain, InputError, SolverFailed
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem
from linpoison.sets import Box, ByLabel
from linpoison.subpopulations import (
    Aim,
    ConvexAttack,
    LabelFlip,
    ProblemTrainer,
    correctness,
    group_decoys,
    least_budgets,
    measure_damage,
)
from linpoison.subpopulations.decoys import undominated

DOMAIN = Domain.box(-8.0, 8.0, d=2)
PROBLEM = Problem(Logistic(), 0.01)


@pytest.fixture(scope="module")
def case():
    parts = blob_parts(100)
    return parts, clusters().fit(parts.auxiliary).subpopulations()[0]


def planes(parts, group):
    train = Dataset(parts.train.X, parts.train.y, domain=DOMAIN)
    return train, Aim.of(parts.auxiliary.dataset(), group.mask(parts.auxiliary))


def test_decoys_are_the_models_of_flipped_rows(case):
    train, aim = planes(*case)
    decoys = group_decoys(train, PROBLEM, aim, quantiles=(1.0,), weights=(2.0,), shelters=(0.0,))
    flipped = Dataset(aim.target.X, -aim.target.y, np.full(aim.target.n, 2.0))
    by_hand = make_learner(PROBLEM).fit(train.mix(flipped))
    assert decoys[0].model.distance(by_hand) < 1e-4
    clean = make_learner(PROBLEM).fit(train)
    assert decoys[0].target_damage == by_hand.error(aim.target) - clean.error(aim.target)
    assert decoys[0].collateral == by_hand.error(aim.others) - clean.error(aim.others)


def test_shelter_holds_the_loss_of_other_rows_down(case):
    train, aim = planes(*case)
    free, held = (
        group_decoys(train, PROBLEM, aim, quantiles=(1.0,), weights=(8.0,), shelters=(s,))[0] for s in (0.0, 4.0)
    )
    losses = [PROBLEM.loss.value(decoy.model.margins(aim.others)).mean() for decoy in (free, held)]
    assert losses[1] < losses[0]


def test_undominated_decoys_keep_the_collateral_and_a_front(case):
    train, aim = planes(*case)
    front = undominated(group_decoys(train, PROBLEM, aim), 0.01)
    assert len(front) >= 2
    assert all(decoy.collateral <= 0.01 for decoy in front)
    assert np.all(np.diff([decoy.target_damage for decoy in front]) <= 0)
    assert np.all(np.diff([decoy.clean_loss for decoy in front]) < 0)


@pytest.mark.parametrize("loss", [Logistic(), Hinge()], ids=["logistic", "hinge"])
def test_kkt_beats_label_flips_at_the_same_budget_within_the_collateral(case, loss):
    parts, group = case
    problem = Problem(loss, 0.01)
    trainer, count = ProblemTrainer(problem), group.size
    clean = trainer.fit(parts.train, 0)
    attacks = LabelFlip(), ConvexAttack(problem, parts.train, DOMAIN)
    found = []
    for attack in attacks:
        poison = attack.poison(parts.auxiliary, group, count, clean, 0)
        assert poison.n <= count
        after = trainer.fit(parts.train.mix(poison), 0)
        rows = [correctness([model], parts.test) for model in (clean, after)]
        found.append(measure_damage(*rows, group.mask(parts.test)))
    assert found[1].target.value >= found[0].target.value
    assert found[1].target.value > 0.5
    assert found[1].collateral.value <= 0.02


@pytest.mark.parametrize("method", ["kkt", "min-max", "model-targeted"])
def test_plans_keep_budget_domain_and_order(case, method):
    train, aim = planes(*case)
    plans = ConvexAttack(PROBLEM, domain=DOMAIN, methods=(method,), tries=2).plant(train, aim, 34)
    for plan in plans:
        assert plan.poison.total <= 34
        assert (train.domain.violation(plan.poison.X) <= 1e-9).all()
        model = make_learner(PROBLEM).fit(train.mix(plan.poison.expanded()))
        assert aim.growth(model, make_learner(PROBLEM).fit(train)) == (plan.target_damage, plan.collateral)
    within = [plan for plan in plans if plan.collateral <= 0.01]
    assert plans[: len(within)] == within
    assert [plan.target_damage for plan in within] == sorted((p.target_damage for p in within), reverse=True)
    assert plans[0].target_damage > 0


def test_attacker_of_auxiliary_rows_alone_never_sees_the_training_rows(case):
    parts, group = case
    attack = ConvexAttack(PROBLEM, domain=DOMAIN, tries=2)
    poison = attack.poison(parts.auxiliary, group, 31, None, 0)
    again = attack.poison(parts.auxiliary, group, 31, None, 0)
    assert np.array_equal(poison.X, again.X)
    assert 0 < poison.n <= 31
    clean, after = (ProblemTrainer(PROBLEM).fit(rows, 0) for rows in (parts.train, parts.train.mix(poison)))
    mask = group.mask(parts.test)
    rows = [correctness([model], parts.test) for model in (clean, after)]
    assert measure_damage(*rows, mask).target.value > 0.3


def test_collateral_of_zero_is_kept_on_the_rows_it_is_judged_by(case):
    train, aim = planes(*case)
    best = ConvexAttack(PROBLEM, domain=DOMAIN, collateral=0.0).plant(train, aim, 20)[0]
    assert best.collateral <= 0


@pytest.mark.parametrize(
    "options",
    [
        {"methods": ("magic",)},
        {"methods": ()},
        {"collateral": 2},
        {"tries": 0},
        {"draws": 0},
        {"cap": 0},
        {"reaches": (2.0,)},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(InputError):
        ConvexAttack(PROBLEM, **options)


def test_an_aim_needs_rows_on_both_sides(case):
    rows = case[0].auxiliary.dataset()
    with pytest.raises(InputError, match="in the subpopulation and outside"):
        Aim.of(rows, np.ones(rows.n, dtype=bool))


def test_least_budgets_are_attained_and_rise_with_damage(case):
    train, aim = planes(*case)
    box = ByLabel({label: Box(DOMAIN.lower, DOMAIN.upper) for label in (1, -1)})
    ladder = least_budgets(train, PROBLEM, box, aim)
    for rung in ladder.rungs:
        assert rung.certificate.exact
        assert rung.certificate.bound <= rung.epsilon * (1 + 1e-6)
    assert ladder.least(0.2).epsilon <= ladder.least(0.5).epsilon
    assert ladder.least(0.5).decoy.target_damage >= 0.5
    few = least_budgets(train, PROBLEM, box, aim, weights=(0.5, 1.0))
    with pytest.raises(InputError, match="which the decoys reach"):
        few.least(1.0)


def test_a_budget_below_the_least_leaves_the_decoy_unlearned(case):
    train, aim = planes(*case)
    box = ByLabel({label: Box(DOMAIN.lower, DOMAIN.upper) for label in (1, -1)})
    rung = least_budgets(train, PROBLEM, box, aim, weights=(4.0,)).rungs[0]
    from linpoison.certificates import budget_poison

    poison = budget_poison(rung.certificate)
    learned = make_learner(PROBLEM).fit(train.mix(poison.as_dataset(DOMAIN)))
    assert learned.distance(rung.decoy.model) < 1e-2 * np.linalg.norm(rung.decoy.model.vector)


def test_no_decoy_within_the_collateral_is_said(case):
    train, aim = planes(*case)
    box = ByLabel({label: Box(DOMAIN.lower, DOMAIN.upper) for label in (1, -1)})
    with pytest.raises(SolverFailed, match="of 0 decoys"):
        least_budgets(train, PROBLEM, box, aim, weights=(1e-6,))


def test_rows_that_may_lie_anywhere_are_for_kkt_alone(case):
    train, aim = planes(*case)
    free = Dataset(train.X, train.y)
    both, kkt = (ConvexAttack(PROBLEM, methods=m, tries=2).plant(free, aim, 20) for m in (("kkt", "min-max"), ("kkt",)))
    assert len(both) == len(kkt) > 0
    with pytest.raises(SolverFailed, match="for at least one of"):
        ConvexAttack(PROBLEM, methods=("min-max",), tries=2).plant(free, aim, 20)
