"""The duplicates defence against all pairs by hand, and poison that is made distinct for it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from linpoison.attacks import ATTACKS, Scenario
from linpoison.core import Budget, CapabilityError, Dataset, Domain, InputError, Poison
from linpoison.datasets import counts
from linpoison.defender import Defender
from linpoison.defenses import DuplicatesDefense, make_defense
from linpoison.losses import Hinge, Problem
from linpoison.rounding import make_distinct

PROBLEM = Problem(Hinge(), 0.05)


def by_hand(X, y, radius):
    """Rows that stay, one after another."""
    kept = []
    for i in range(len(y)):
        if not any(y[j] == y[i] and np.linalg.norm(X[i] - X[j]) <= radius for j in kept):
            kept.append(i)
    return kept


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_what_stays_is_what_pairs_by_hand_leave(seed):
    rng = np.random.default_rng(seed)
    X = np.vstack([rng.normal(size=(30, 2)), rng.normal(size=(4, 2)) * 1e6])
    X = np.vstack([X, X[rng.integers(0, 34, 20)] + rng.normal(size=(20, 2)) * rng.choice([0, 1e-3, 0.3], (20, 1))])
    y = rng.permuted(np.repeat([1, -1], 27))
    order = rng.permutation(54)
    X, y = X[order], y[order]
    base = np.median(np.linalg.norm(X - np.median(X, axis=0), axis=1))
    for tolerance in (0.0, 0.1):
        defense = DuplicatesDefense(tolerance).fit(X, y)
        assert defense.sample_indices_.tolist() == by_hand(X, y, tolerance * base)
        assert defense.radius_ == pytest.approx(tolerance * base)
        sparse = DuplicatesDefense(tolerance).fit(sp.csr_array(X), y)
        np.testing.assert_array_equal(sparse.sample_indices_, defense.sample_indices_)
        newcomers = defense.decision_function(X, y)
        assert (newcomers >= 1).all()
        assert (defense.decision_function(X + 50.3, y) == 0).all()


def test_it_has_no_share_and_no_set():
    X = np.array([[0.0], [1.0], [3.0], [9.0]])
    defense = make_defense("duplicates", remove=0.3, variant="reference").fit(X, [0, 0, 1, 1])
    assert defense.sample_indices_.tolist() == [0, 1, 2, 3]
    assert defense.get_params() == {"tolerance": 0.1}
    with pytest.raises(CapabilityError, match="distinct rows"):
        defense.feasible_set(0)
    with pytest.raises(InputError, match="tolerance"):
        DuplicatesDefense(-1).fit(X, [0, 0, 1, 1])


@pytest.mark.parametrize("domain", [Domain.real(), Domain.box(-2.0, 2.0, d=4), Domain.counts(5, d=4)])
def test_copies_become_distinct_within_the_domain(domain):
    rng = np.random.default_rng(0)
    X = rng.poisson(2.0, (40, 4)).clip(max=5) if domain.integral else rng.uniform(-2, 2, (40, 4))
    clean = Dataset(X, np.repeat([1, -1], 20), domain=domain)
    poison = Poison([[2.0, 2.0, 2.0, 2.0], [-2.0, 0, 0, 0] if not domain.integral else [0, 1, 0, 0]], [1, -1], [9, 2])
    apart = make_distinct(poison, 0.4, clean, rng)
    assert (apart.total, apart.n_distinct, apart.y.tolist()) == (11, 11, [-1] * 2 + [1] * 9)
    assert domain.violation(apart.X).max() == 0
    for label in (1, -1):
        rows = np.vstack([clean.of_class(label).X, apart.X[apart.y == label]])
        gaps = np.linalg.norm(rows[:, None] - rows[None], axis=2) + 9 * np.eye(len(rows))
        assert gaps[20:].min() > 0.4
    assert make_distinct(poison, 0.0, clean, rng) is poison


def test_few_different_rows_leave_few_distinct_ones():
    clean = Dataset([[0.0], [1.0], [3.0]], [1, 1, -1], domain=Domain.counts([3]))
    found = make_distinct(Poison([[1.0]], [1], [9]), 0.4, clean, np.random.default_rng(0))
    assert found.X.ravel().tolist() == [2]


@pytest.mark.parametrize("name", ["alfa", "influence-basic"])
def test_attacks_pass_it_and_stay_as_they_are_without_it(name):
    split = counts(n=40, d=8, contrast=0.7, length=10.0, seed=4)
    problem, attack = Problem(Hinge(), 0.05), ATTACKS[name](**({"steps": 4} if name == "influence-basic" else {}))
    duplicates = {"l2": make_defense("l2"), "duplicates": DuplicatesDefense()}
    for defenses, distinct in (({"l2": make_defense("l2")}, True), (duplicates, False)):
        scenario = Scenario(split.train, problem, Budget(0.08), defenses, split.test, distinct=distinct)
        result = attack.run(scenario, seed=0)
        scored = Defender(split.train, problem, duplicates).score(result.poison, {"target": split.test})
        assert scored.kept_fraction["duplicates"] == 1
        assert {name: scored.error["target"][name] for name in result.best.test_error} == result.best.test_error
        assert split.train.domain.violation(result.poison.X).max() == 0
        assert result.poison.total <= scenario.n_poison
