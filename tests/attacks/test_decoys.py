"""Algorithm 3 by hand, the Pareto front by brute force, and pairs between the points of the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linpoison.attacks import Decoy, LabelFlipDecoys, pareto_front
from linpoison.attacks.decoys import by_promise, in_reach, weighted_quantile
from linpoison.certificates.theory import reachability_threshold
from linpoison.core import Dataset, InputError, LinearModel
from linpoison.datasets import gaussians
from linpoison.learners import make_learner
from linpoison.losses import Logistic, Problem

SPLIT = gaussians(n=80, d=3, seed=1)
PROBLEM = Problem(Logistic(), 0.05)


def test_algorithm_3_by_hand():
    quantile, copies = 0.4, 3
    (decoy,) = LabelFlipDecoys((quantile,), (copies,)).generate(SPLIT.train, PROBLEM, SPLIT.test)
    train, test = SPLIT.train, SPLIT.test
    learner = make_learner(PROBLEM, method="reference")
    clean = learner.fit(train)
    margins = test.y * (test.X @ clean.coef + clean.intercept)
    order = np.argsort(margins)[: int(np.ceil(0.4 * (test.n - 1)))]  # strictly below the interpolated quantile
    X = np.vstack([train.X, *[test.X[order]] * copies])
    y = np.concatenate([train.y, *[-test.y[order]] * copies])
    by_hand = learner.fit(Dataset(X, y))
    assert decoy.model.distance(by_hand) < 1e-3
    wrong = np.where(test.X @ by_hand.coef + by_hand.intercept > 0, 1, -1) != test.y
    assert decoy.target_error == pytest.approx(wrong.mean(), abs=1.01 / test.n)
    losses = np.logaddexp(0, -train.y * (train.X @ decoy.model.coef + decoy.model.intercept))
    assert decoy.clean_loss == pytest.approx(losses.mean())
    assert decoy.label == "decoy q=0.40 r=3"


def test_the_rows_that_are_flipped_are_those_of_small_margin():
    """Rows of a target set whose margins are known: only those below the median are flipped."""
    target = Dataset([[9.0, 0, 0], [1.0, 0, 0], [-9.0, 0, 0], [-1.0, 0, 0]], [1, 1, 1, 1])
    grid = LabelFlipDecoys((0.5,), (1,))
    (decoy,) = grid.generate(SPLIT.train, PROBLEM, target)
    flipped = Dataset(np.array([[-9.0, 0, 0], [-1.0, 0, 0]]), [-1, -1])
    expected = make_learner(PROBLEM).fit(SPLIT.train.mix(flipped))
    assert decoy.model.distance(expected) < 1e-5


def test_more_copies_err_more_and_cost_more():
    grid = LabelFlipDecoys((0.5,), (1, 4), prune=False)
    strong, weak = grid.generate(SPLIT.train, PROBLEM, SPLIT.test)
    assert (strong.repeats, weak.repeats) == (4, 1)
    assert strong.target_error > weak.target_error
    assert strong.clean_loss > weak.clean_loss


def test_weights_of_the_clean_rows_count():
    heavy = Dataset(SPLIT.train.X, SPLIT.train.y, np.where(SPLIT.train.y > 0, 3.0, 1.0))
    (decoy,) = LabelFlipDecoys((0.3,), (2,)).generate(heavy, PROBLEM, SPLIT.test)
    losses = PROBLEM.loss.value(decoy.model.margins(heavy))
    assert decoy.clean_loss == pytest.approx((losses * heavy.weight).sum() / heavy.weight.sum())


def test_pairs_that_flip_nothing_are_left_out():
    rows = Dataset(SPLIT.test.X[:3], SPLIT.test.y[:3])
    grown = LabelFlipDecoys((0.01, 0.6), (1,), prune=False).generate(SPLIT.train, PROBLEM, Dataset(
        np.vstack([rows.X, rows.X[[0, 0]]]), np.append(rows.y, rows.y[[0, 0]])))  # fmt: skip
    assert {decoy.quantile for decoy in grown} <= {0.01, 0.6}


@pytest.mark.parametrize("n", [1, 5])
def test_rows_of_one_margin_are_all_flipped(n):
    same = Dataset(np.ones((n, 3)), np.ones(n))  # none lies strictly below a quantile
    (decoy,) = LabelFlipDecoys((0.2, 0.5), (2,)).generate(SPLIT.train, PROBLEM, same)
    assert (decoy.quantile, decoy.repeats) == (1.0, 2)
    mixed = SPLIT.train.mix(Dataset(same.X, -same.y, np.full(n, 2.0)))
    assert decoy.model.distance(make_learner(PROBLEM).fit(mixed)) < 1e-8


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_pareto_front_by_brute_force(pairs):
    decoys = [Decoy(LinearModel([1.0]), 0.5, 1, error / 6, float(loss)) for error, loss in pairs]
    front = pareto_front(decoys)
    values = [(decoy.target_error, decoy.clean_loss) for decoy in front]
    assert len(set(values)) == len(values)
    assert values == sorted(values, reverse=True)
    for decoy in decoys:
        better = [
            other
            for other in decoys
            if other.target_error >= decoy.target_error
            and other.clean_loss <= decoy.clean_loss
            and (other.target_error, other.clean_loss) != (decoy.target_error, decoy.clean_loss)
        ]
        assert ((decoy.target_error, decoy.clean_loss) in values) == (not better)


def test_pruning_is_the_pareto_front_of_the_whole_grid():
    grid = {"quantiles": (0.1, 0.3, 0.5), "repeats": (1, 3)}
    every = LabelFlipDecoys(**grid, prune=False).generate(SPLIT.train, PROBLEM, SPLIT.test)
    kept = LabelFlipDecoys(**grid).generate(SPLIT.train, PROBLEM, SPLIT.test)
    assert len(every) == 6
    errors = [decoy.target_error for decoy in every]
    assert errors == sorted(errors, reverse=True)
    assert [decoy.label for decoy in kept] == [decoy.label for decoy in pareto_front(every)]


def test_copies_of_target_rows_count_in_the_quantile():
    split = gaussians(n=60, n_test=30, d=3, seed=1)
    weight = np.random.default_rng(0).integers(0, 4, split.test.n).astype(float)
    weighted = Dataset(split.test.X, split.test.y, weight)
    index = np.repeat(np.arange(split.test.n), weight.astype(int))
    problem, grid = Problem(Logistic(), 0.1), LabelFlipDecoys((0.2, 0.5), (2,), prune=False)
    one = grid.generate(split.train, problem, weighted)
    other = grid.generate(split.train, problem, split.test.take(index))
    assert [decoy.target_error for decoy in one] == pytest.approx([decoy.target_error for decoy in other])
    for first, second in zip(one, other, strict=True):
        np.testing.assert_allclose(first.model.vector, second.model.vector, atol=1e-5)


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 3)), min_size=1, max_size=9), st.floats(0.01, 0.99))
def test_weighted_quantile_is_that_of_the_copies(pairs, q):
    values, weight = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
    weight[0] = max(weight[0], 1.0)
    expected = np.quantile(np.repeat(values, weight.astype(int)), q)
    assert weighted_quantile(values, weight, q) == pytest.approx(expected, abs=1e-9)


def test_a_base_model_chooses_the_rows():
    """Under the opposite of the clean model the rows of small margin are those of large margin."""
    clean = make_learner(PROBLEM).fit(SPLIT.train)
    opposite = LinearModel(-clean.coef, -clean.intercept)
    grid = LabelFlipDecoys((0.3,), (2,))
    by_clean = grid.generate(SPLIT.train, PROBLEM, SPLIT.test, base=clean)[0]
    assert by_clean.model.distance(grid.generate(SPLIT.train, PROBLEM, SPLIT.test)[0].model) == 0
    by_opposite = grid.generate(SPLIT.train, PROBLEM, SPLIT.test, base=opposite)[0]
    assert by_opposite.model.error(SPLIT.test) > by_clean.model.error(SPLIT.test) + 0.1


def test_in_reach_takes_the_worst_decoy_of_each_price():
    model = LinearModel([1.0])
    decoys = [Decoy(model, 0.5, 1, error, loss) for error, loss in ((0.5, 3.0), (0.3, 2.0), (0.2, 1.0), (0.1, 1.5))]
    chosen = in_reach(decoys, 1.0, (0.5, 1.0, 1.6, 2.5, 2.6))
    assert [(item.target_error, item.clean_loss) for item in chosen] == [(0.2, 1.0), (0.3, 2.0)]
    assert in_reach(decoys, 1.0, (0.9,)) == []


def test_promise_is_error_less_the_price_in_budgets():
    """Two decoys of one error: the one that needs less than the budget comes first."""
    problem = Problem(Logistic(), 0.01)
    clean = make_learner(problem).fit(SPLIT.train).vector
    dear = Decoy(LinearModel.from_vector(-clean), 0.5, 1, 0.4, 9.0)
    cheap = Decoy(LinearModel.from_vector(-0.01 * clean), 0.5, 1, 0.4, 1.0)
    harmless = Decoy(LinearModel.from_vector(-0.01 * clean), 0.5, 1, 0.1, 1.0)
    assert by_promise([dear, harmless, cheap], problem, SPLIT.train, 0.05) == [cheap, harmless, dear]
    needed = reachability_threshold(problem, dear.model, SPLIT.train).ratio
    assert by_promise([cheap, dear], problem, SPLIT.train, 50 * needed)[0] is cheap


@pytest.mark.parametrize("scaling", ["mean", "sum"])
def test_promise_rests_on_the_closed_form_under_either_scaling(scaling):
    problem = Problem(Logistic(), 0.02, scaling=scaling, n_reference=SPLIT.train.n)
    model = make_learner(PROBLEM).fit(SPLIT.train)
    costly = Decoy(LinearModel.from_vector(-model.vector), 0.5, 1, 0.4, 1.0)
    ratio = reachability_threshold(problem, costly.model, SPLIT.train).ratio
    for share, first in ((0.99, True), (1.01, False)):  # a decoy that costs nothing, erring less by the ratio
        free = Decoy(make_learner(problem).fit(SPLIT.train), 0.5, 1, 0.4 - share * ratio, 1.0)
        assert (by_promise([free, costly], problem, SPLIT.train, 1.0)[0] is free) == first


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantiles": (0.0,)}, "quantile"),
        ({"quantiles": (1.0,)}, "quantile"),
        ({"quantiles": ()}, "at least one"),
        ({"repeats": (0,)}, "repeats"),
        ({"repeats": (1.5,)}, "repeats"),
        ({"repeats": ()}, "at least one"),
    ],
)
def test_bad_grids_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        LabelFlipDecoys(**options)
