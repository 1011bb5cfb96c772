"""The convex attacks on a subpopulation: collateral, budgets, and label flips outdone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from group_cases import blob_parts, clusters

from linpoison import audit
from linpoison.attacks import Aim, FeasibleRegion, Scenario, SetPolicy
from linpoison.attacks.groups import (
    ConvexAttack,
    CrossFittedAttack,
    Directed,
    GroupFlips,
    JointAttack,
    LabelFlip,
    PlantedDecoy,
    Stage,
    group_decoys,
    undominated,
)
from linpoison.core import Budget, CapabilityError, Dataset, Domain, InputError, SolverFailed
from linpoison.core.parts import Line
from linpoison.datasets import gaussians
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem
from linpoison.subpopulations import ProblemTrainer, correctness, measure_damage
from linpoison.testing import check_attack

DOMAIN = Domain.box(-8.0, 8.0, d=2)
PROBLEM = Problem(Logistic(), 0.01)


@pytest.fixture(scope="module")
def case():
    parts = blob_parts(100)
    return parts, clusters().fit(parts.auxiliary).subpopulations()[0]


def planes(parts, group):
    train = Dataset(parts.train.X, parts.train.y, domain=DOMAIN)
    return train, Aim.of_group(parts.auxiliary.dataset(), group.mask(parts.auxiliary))


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
    attacks = LabelFlip(), Directed(ConvexAttack(), problem, parts.train, DOMAIN)
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


@pytest.mark.parametrize("method", ["kkt", "model-targeted"])
def test_candidates_are_ordered_by_collateral_then_damage(case, method):
    train, aim = planes(*case)
    found = ConvexAttack(methods=(method,), tries=2).run(Scenario(train, PROBLEM, Budget(34 / train.n), {}, aim))
    clean = make_learner(PROBLEM).fit(train)
    for item in found.candidates:
        assert item.poison.total <= 34
        model = make_learner(PROBLEM).fit(train.mix(item.poison.expanded()))
        assert item.test_error["none"] == model.error(aim.target)
        assert item.excess == max(model.error(aim.others) - clean.error(aim.others) - 0.01, 0)
    assert [item.rank for item in found.candidates] == sorted(item.rank for item in found.candidates)
    assert found.best.worst > clean.error(aim.target)


def test_collateral_of_zero_is_kept_on_the_rows_it_is_judged_by(case):
    train, aim = planes(*case)
    asked = Scenario(train, PROBLEM, Budget(20 / train.n), {}, replace(aim, collateral=0.0))
    assert ConvexAttack().run(asked).best.excess == 0


@pytest.mark.parametrize(
    "options",
    [
        {"methods": ("magic",)},
        {"methods": ()},
        {"tries": 0},
        {"draws": 0},
        {"reaches": (2.0,)},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(InputError):
        ConvexAttack(**options)


def test_rows_that_may_lie_anywhere_are_for_kkt_alone(case):
    train, aim = planes(*case)
    free = Scenario(Dataset(train.X, train.y), PROBLEM, Budget(20 / train.n), {}, aim)
    both, kkt = (ConvexAttack(methods=m, tries=2).run(free) for m in (("kkt", "model-targeted"), ("kkt",)))
    assert len(both.candidates) == len(kkt.candidates) > 0
    with pytest.raises(SolverFailed, match="at least one poison of the attack group-convex"):
        ConvexAttack(methods=("model-targeted",), tries=2).run(free)


SMALL = {
    "flips": GroupFlips(),
    "training flips": GroupFlips(rows="train", surrogate="aim"),
    "convex": ConvexAttack(tries=1, reaches=(0.2,)),
    "kkt": PlantedDecoy(),
    "joint": JointAttack((Stage(1.0, 0.05, 2), Stage(1.0, 0.05, 1))),
    "cross-fitted": CrossFittedAttack(programs=("kkt",), weights=(2.0,), shelters=(1.0,), portions=(1.0,), folds=2),
}


def scenario() -> Scenario:
    split = gaussians(n=80, d=3, seed=1)
    train = replace(split.train, domain=Domain.box(-9.0, 9.0, d=3))
    aim = Aim.of_group(split.test, split.test.X[:, 1] > 0.5, 0.05, train.X[:, 1] > 0.5)
    return Scenario(train, Problem(Logistic(), 0.05), Budget(0.1), {}, aim)


@pytest.mark.parametrize("name", SMALL)
def test_attacks_on_groups_keep_the_contract_of_all_attacks(name):
    assert check_attack(SMALL[name], scenario()).best.worst > 0


@pytest.mark.parametrize("attack", SMALL.values(), ids=list(SMALL))
def test_rows_without_others_are_no_group(attack):
    asked = scenario()
    with pytest.raises(CapabilityError, match=f"a group as the aim of {attack.name}"):
        attack.run(replace(asked, aim=asked.target))


def test_an_audit_of_rows_takes_attacks_on_groups():
    report = audit("gaussians", target="rows:1,2,5,8", defenses=(), attacks=[ConvexAttack(tries=1)], epsilon=0.05)
    assert report.attacks[0].name == "group-convex"
    assert report.attacks[0].test_error["none"] >= 0.5  # none of the four rows is wrong without poison


def test_a_domain_without_bounds_below_has_no_smaller_parts():
    relaxed = ConvexAttack(methods=("kkt",)).relaxed
    split = gaussians(n=60, d=2, seed=0)
    lines = [Line(np.array([k]), np.zeros(1), np.ones(1), whole=True) for k in range(2)]
    train = replace(split.train, domain=Domain.of_parts(lines, 2))
    scenario = Scenario(train, Problem(Hinge(), 0.1), Budget(0.1), {}, split.test)
    decoy = make_learner(scenario.problem).fit(replace(train, y=-train.y))
    sets = FeasibleRegion.fit(scenario, SetPolicy()).sets(decoy)
    for poison in relaxed(scenario, decoy, sets, np.random.default_rng(0)):
        assert np.isfinite(poison.X).all()
