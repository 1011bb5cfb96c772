"""Random and adversarial label flips, and the iterative wrapper."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from kkt_cases import scenario_of
from memory_journal import Memory

from linpoison.attacks.alfa import ALFA, chosen
from linpoison.attacks.decoys import LabelFlipDecoys
from linpoison.attacks.feasible import FeasibleRegion, SetPolicy
from linpoison.attacks.iterative import Iterative
from linpoison.attacks.kkt import KKT, IterativeKKT
from linpoison.attacks.random_flips import RandomFlips, in_sets
from linpoison.core import Dataset, Domain, InfeasibleSet, InputError, SolverFailed
from linpoison.defender import Defender
from linpoison.learners import make_learner

SMALL = LabelFlipDecoys((0.2, 0.4), (1, 3))


def rows_of(X):
    return {tuple(row) for row in (X.toarray() if hasattr(X, "toarray") else np.asarray(X))}


@pytest.mark.parametrize("name", ["breast_cancer", "counts"])
def test_random_flips_are_training_rows_with_the_other_label(name):
    scenario = scenario_of(name, epsilon=0.1)
    result = RandomFlips(draws=3).run(scenario, seed=0)
    assert result.poison.total == scenario.n_poison
    for label in (1, -1):
        flipped = rows_of(result.poison.X[result.poison.y == label])
        assert flipped <= rows_of(scenario.train.of_class(-label).X)
    other = RandomFlips(draws=3).run(scenario, seed=1)
    assert other.poison.as_dataset().digest() != result.poison.as_dataset().digest()


def test_feasible_flips_lie_in_the_sets_of_their_new_class():
    scenario = scenario_of("breast_cancer", defenses=("l2", "slab"))
    attack = RandomFlips()
    pool = attack.pool(scenario)
    assert 0 < pool.n < scenario.train.n
    sets = FeasibleRegion.fit(scenario, SetPolicy()).sets(make_learner(scenario.problem).fit(scenario.train))
    assert sets.violation(pool).max() <= 1e-8
    assert replace(attack, feasible=False).pool(scenario).n == scenario.train.n
    flipped = replace(scenario.train, y=-scenario.train.y)
    assert in_sets(scenario, SetPolicy(), flipped).sum() == pool.n


@pytest.mark.parametrize("name", ["breast_cancer", "counts"])
def test_alfa_flips_target_rows_and_beats_random_flips(name):
    scenario = scenario_of(name, epsilon=0.1, defenses=("l2",))
    result = ALFA(rounds=20).run(scenario)
    assert result.poison.total == scenario.n_poison
    for label in (1, -1):
        assert rows_of(result.poison.X[result.poison.y == label]) <= rows_of(scenario.target.of_class(-label).X)
    random = RandomFlips(draws=3).run(scenario, seed=0)
    assert result.best.worst >= random.best.worst
    outcome = Defender(scenario.train, scenario.problem, scenario.defenses).score(
        result.poison, {"target": scenario.target}
    )
    assert outcome.error["target"] == result.best.test_error


def test_alfa_solves_the_linear_program_in_the_weights():
    from scipy.optimize import linprog

    rng = np.random.default_rng(0)
    for most in (1, 3, 40):
        cost = rng.standard_normal(30)
        count = chosen(cost, 25, most)
        best = linprog(cost, A_eq=np.ones((1, 30)), b_eq=[25], bounds=(0, most))
        assert count.sum() == 25
        assert cost @ count == pytest.approx(best.fun)
    assert chosen(cost[:3], 25, 1).sum() == 25


def test_alfa_pools():
    scenario = scenario_of("breast_cancer", epsilon=0.1, defenses=("l2",))
    result = ALFA(pool="train", most=(1,), rounds=5).run(scenario)
    assert result.poison.count.max() == 1
    for label in (1, -1):
        assert rows_of(result.poison.X[result.poison.y == label]) <= rows_of(scenario.train.of_class(-label).X)


def test_iterative_reads_the_sets_with_the_poison_in(monkeypatch):
    scenario = scenario_of("breast_cancer", epsilon=0.1)
    seen = []
    original = FeasibleRegion.fit.__func__

    def fit(cls, scenario, policy, poison=None):
        region = original(cls, scenario, policy, poison)
        seen.append(region.poison)
        return region

    monkeypatch.setattr(FeasibleRegion, "fit", classmethod(fit))
    result = Iterative(KKT(decoys=SMALL, generations=0, finalists=2), rounds=2).run(scenario, seed=1)
    assert result.name == "kkt-iterative" == IterativeKKT.name
    assert seen[0] is None
    assert all(poison is not None for poison in seen[1:])
    worst = result.info["worst_by_round"]
    assert result.best.worst == max(worst) >= worst[0]
    assert result.info["rounds"] == len(worst) - 1 >= 1
    assert result.best.label.startswith("round ")


def test_iterative_kkt_refits_each_decoy_with_its_own_poison():
    scenario = scenario_of("breast_cancer", epsilon=0.1)
    result = IterativeKKT(decoys=SMALL, chains=2, refits=3, finalists=2).run(scenario, seed=1)
    labels = [item.label for item in result.candidates]
    assert sum("refit" in label for label in labels) == 6
    plain = max(item.worst for item in result.candidates if "refit" not in item.label)
    assert result.best.worst >= plain


def test_decoys_of_one_label_are_each_refitted_with_their_own_poison(monkeypatch):
    scenario = scenario_of("breast_cancer", epsilon=0.1, defenses=("l2",))
    seen = []
    monkeypatch.setattr(
        "linpoison.attacks.kkt.chain", lambda _, attack, scenario, decoy, *rest: seen.append(decoy) or ([], [])
    )
    grid = LabelFlipDecoys((0.298, 0.302), (3,), prune=False)
    one, other = grid.generate(scenario.train, scenario.problem, scenario.target)
    assert one.label == other.label
    assert not np.array_equal(one.model.vector, other.model.vector)
    IterativeKKT(decoys=grid, chains=2, refits=1, finalists=1).run(scenario, seed=1)
    assert {decoy.quantile for decoy in seen} == {0.298, 0.302}


def test_iterative_resumes_and_wraps_any_attack():
    scenario, journal = scenario_of("breast_cancer", epsilon=0.1, defenses=("l2",)), Memory()
    attack = Iterative(RandomFlips(draws=2), rounds=1)
    first = attack.run(scenario, journal=journal)
    assert first.name == "random-flips-iterative"
    before = len(journal)
    second = attack.run(scenario, journal=journal)
    assert len(journal) == before
    assert second.poison.as_dataset().digest() == first.poison.as_dataset().digest()


class Fading(RandomFlips):
    """An attack that finds nothing once the defender is known to have poison."""

    error: ClassVar[Exception] = SolverFailed("nothing.")

    def run(self, scenario, **options):
        if scenario.known is not None:
            raise self.error
        return super().run(scenario, **options)


@pytest.mark.parametrize("error", [SolverFailed("nothing."), InfeasibleSet("empty."), InputError("a row kept", "none")])
def test_iterative_keeps_what_it_has_when_a_later_round_fails(monkeypatch, error):
    monkeypatch.setattr(Fading, "error", error)
    scenario = scenario_of("breast_cancer", epsilon=0.1, defenses=("l2",))
    result = Iterative(Fading(draws=2), rounds=3).run(scenario)
    assert result.info["rounds"] == 0
    assert result.poison.total == scenario.n_poison
    with pytest.raises(type(error)):
        Iterative(Fading(draws=2)).run(replace(scenario, known=result.poison))


def test_rows_outside_the_domain_or_without_copies_are_not_flipped():
    scenario = scenario_of("breast_cancer", epsilon=0.1, defenses=("l2",))
    X = np.array(scenario.target.X)
    X[::2] += 100.0
    weight = np.where(np.arange(scenario.target.n) % 3 == 0, 0.0, 1.0)
    box = replace(scenario.train, domain=Domain.of("box", scenario.train.X))
    outside = replace(scenario, train=box, aim=Dataset(X, scenario.target.y, weight))
    pool = ALFA().flipped(outside)
    assert pool.n > 0
    assert pool.domain.violation(pool.X).max() < 1e-9
    assert rows_of(pool.X) <= rows_of(X[weight > 0])
    with pytest.raises(InputError, match="domain"):
        ALFA().flipped(replace(outside, aim=Dataset(X + 100.0, scenario.target.y)))
    single = replace(scenario.train, weight=(np.arange(scenario.train.n) < 40) * 1.0)
    assert RandomFlips(feasible=False).pool(replace(scenario, train=single)).n == 40


def test_a_row_is_drawn_once_whatever_its_weight():
    scenario = scenario_of("breast_cancer", epsilon=1.0, defenses=())
    scenario = replace(scenario, train=replace(scenario.train, weight=np.full(scenario.train.n, 2.5)))
    result = RandomFlips(draws=1).run(scenario)
    assert result.poison.total == scenario.n_poison == scenario.train.n
    assert (result.poison.merged().count <= np.unique(scenario.train.X, axis=0, return_counts=True)[1].max()).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [(RandomFlips, {"draws": 0}), (ALFA, {"pool": "test"}), (ALFA, {"most": (0,)}), (Iterative, {"rounds": 0}),
     (Iterative, {"attack": "kkt"})],
)  # fmt: skip
def test_bad_options(kind, options):
    with pytest.raises(InputError):
        kind(**options)
