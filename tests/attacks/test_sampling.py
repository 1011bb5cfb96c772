"""A search on a sample asks the same question, and what it finds is measured on all rows."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.attacks import KKT, Breakdown, LabelFlipDecoys, Scenario, base
from linpoison.attacks.breakdown import attack as breakdown
from linpoison.attacks.deadline import Deadline, Interrupted
from linpoison.attacks.sampling import ENTRIES, TIMES, sample_size, sampled, scaled, strongest_alone
from linpoison.core import Budget, Dataset, Domain, Poison
from linpoison.defenses import make_defense
from linpoison.losses import Hinge, MultiProblem, Problem

PROBLEM = Problem(Hinge(), 0.05)
ATTACK = KKT(decoys=LabelFlipDecoys((0.3,), (2, 8)), generations=0)


def rows(n, seed, d=3):
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.25, 1, -1)
    return Dataset(rng.normal(size=(n, d)) + 0.8 * y[:, None], y)


def scenario(n=600, problem=PROBLEM):
    defenses = {name: make_defense(name, problem=problem) for name in ("l2", "knn")}
    return Scenario(rows(n, 0), problem, Budget(0.05), defenses, rows(300, 1))


def test_sizes_from_which_many_classes_are_searched_on_a_sample():
    problem = MultiProblem("softmax", 0.1)
    for d, size in ((400, None), (500, 800)):
        many = Dataset.coded(np.zeros((2500, d)), np.arange(2500) % 10)
        assert sample_size(Scenario(many, problem, Budget(0.03), {}, many)) == size


def test_a_sample_has_the_classes_and_the_regulariser_of_all_rows():
    summed = replace(PROBLEM, scaling="sum", n_reference=600.0)
    for problem in (PROBLEM, summed):
        whole = scenario(problem=problem)
        few = sampled(whole, 200, 0)
        assert few.train.n == pytest.approx(200, abs=1)
        assert (few.train.y > 0).mean() == pytest.approx((whole.train.y > 0).mean(), abs=0.005)
        assert few.problem.reg_at(few.train.total) == pytest.approx(problem.reg_at(whole.train.total))
        assert few.n_poison == 10
        assert few.target.n == 300
    again, other = sampled(whole, 200, 0), sampled(whole, 200, 1)
    assert again.train.digest() == few.train.digest() != other.train.digest()


def test_what_is_found_on_a_sample_spends_the_budget_and_is_measured_on_all_rows():
    whole = scenario()
    found = ATTACK.run(whole, seed=3, rows=200)
    assert found.info["rows"] == pytest.approx(200, abs=1)
    assert found.best.poison.total == whole.n_poison == 30
    measured = whole.defender.score(found.best.poison, {"target": whole.target}).error["target"]
    assert found.best.test_error == measured
    assert set(measured) == {"none", "l2", "knn"}
    assert found.best.worst > whole.defender.score(None, {"target": whole.target}).worst("target")


def test_the_same_seed_gives_the_same_poison_for_any_jobs():
    alone, two = (ATTACK.run(scenario(), seed=1, n_jobs=jobs, rows=200).best for jobs in (1, 2))
    assert np.array_equal(alone.poison.X, two.poison.X)
    assert np.array_equal(alone.poison.count, two.poison.count)
    assert alone.test_error == two.test_error


def test_an_attack_goes_on_from_a_poison_of_all_rows():
    whole = scenario()
    start = Poison(np.full((2, 3), [[-9.0], [9.0]]), [1, -1], [20, 10])
    found = Breakdown(start=start, steps=8, remade=0, directions=2, chains=1).run(whole, rows=200)
    assert found.best.poison.total == 30
    assert scaled(start, 10).count.tolist() == [7.0, 3.0]


def test_what_does_most_behind_one_defence_is_measured_on_all_rows_too():
    few = sampled(scenario(), 200, 0)
    found = Breakdown(steps=4, remade=0, directions=2, chains=1, each=True).run(few, seed=0).candidates
    kinds = [replace(found[0], test_error=error) for error in ({"none": 0.2, "l2": 0.1}, {"none": 0.1, "l2": 0.3})]
    assert strongest_alone(kinds) == [kinds[1]]
    assert strongest_alone(kinds[::-1]) == [kinds[0]]
    assert strongest_alone([kinds[0], replace(kinds[1], test_error={"none": 0.205})]) == []
    alone = {name: max(item.test_error[name] for item in found) for name in ("none", "l2", "knn")}
    whole = Breakdown(steps=4, remade=0, directions=2, chains=1, each=True).run(scenario(), seed=0, rows=200)
    for name, error in alone.items():
        assert max(item.test_error[name] for item in whole.candidates) > error - 0.05


def test_a_limit_after_the_first_poison_on_all_rows_keeps_it(monkeypatch):
    now, measure = [0.0], base.verified

    def slow(*step):
        now[0] += 1.0
        return measure(*step)

    monkeypatch.setattr(base, "verified", slow)
    attack = Breakdown(steps=4, remade=0, directions=2, chains=1, on_all=15)
    cut = attack.run(scenario(), rows=200, deadline=Deadline(0.5, lambda: now[0]))
    assert (cut.info["cut"], now[0], cut.best.poison.total) == ("time limit", 1.0, 30)


def test_ctrl_c_during_the_moves_on_all_rows_keeps_what_was_measured_before(monkeypatch):
    def interrupted(*step):
        raise KeyboardInterrupt

    monkeypatch.setattr(breakdown, "on_all_rows", interrupted)
    asked = scenario()
    with pytest.raises(Interrupted) as stop:
        Breakdown(steps=4, remade=0, directions=2, chains=1, on_all=15).run(asked, rows=200)
    result = stop.value.result
    assert result.info["cut"] == "interrupted"
    assert result.best.poison.total == 30
    assert asked.defender.score(result.best.poison, asked.judged).error["target"] == result.best.test_error


@pytest.mark.parametrize("name", ["none", "l2"])
def test_a_search_goes_on_on_all_rows_and_no_corner_of_the_ranges_does_more(name):
    train, defenses = rows(1200, 0, 8), {} if name == "none" else {name: make_defense(name, problem=PROBLEM)}
    train = replace(train, domain=Domain.range(train.X))
    whole = Scenario(train, PROBLEM, Budget(0.05), defenses, rows(300, 1, 8))
    search = Breakdown(steps=4, remade=0, directions=2, kept=1, chains=1, inside=False, on_all=0)
    few = search.run(whole, rows=150)
    onward = replace(search, on_all=30, sample=False, start=few.poison).run(whole, rows=150)
    assert onward.best.worst > few.best.worst
    assert onward.best.worst == whole.defender.score(onward.poison, {"target": whole.target}).error["target"][name]
    assert replace(search, on_all=15).run(whole, rows=150).best.worst > few.best.worst - 1e-12
    across = train.of_class(-1).X.mean(axis=0) - train.of_class(1).X.mean(axis=0)
    for sign, label in product((-1, 1), (-1, 1)):
        corner = np.where(sign * across > 0, train.domain.upper, train.domain.lower)
        naive = whole.defender.score(Poison(corner[None], [label], [whole.n_poison]), {"target": whole.target})
        assert naive.error["target"][name] <= onward.best.worst


def test_only_rows_many_times_their_columns_are_sampled():
    d, rng = 4, np.random.default_rng(0)
    least = ENTRIES // d
    for n, expected in ((TIMES * least, None), (TIMES * least + 1, least)):
        train = Dataset(rng.normal(size=(n, d)), np.arange(n) % 2 * 2.0 - 1)
        whole = Scenario(train, PROBLEM, Budget(0.03), {}, rows(20, 1, d))
        assert sample_size(whole) == expected
    assert sample_size(replace(whole, budget=Budget(1e-4))) is None
    sparse = Dataset(sp.csr_array(train.X), train.y)
    assert sample_size(replace(whole, train=sparse)) == least
    words = Dataset(sp.csr_array((train.n, 2_000)), train.y)
    assert sample_size(replace(whole, train=words)) is None
