"""Neighbours of clean rows, kept and updated for a few more rows: the same distances as from nothing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from linpoison.core import Dataset, Poison
from linpoison.defender import Defender
from linpoison.defenses import KNNDefense, neighbors
from linpoison.defenses.known import Known
from linpoison.defenses.neighbors import Neighbors
from linpoison.losses import Hinge, Problem

FORMS = [np.array, sp.csr_array]


def untrained():
    raise AssertionError("no model is asked for")


def by_hand(X, k):
    """Distances to the k nearest other rows, ascending."""
    distances = cdist(X, X)
    np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, :k]


def rows_of(seed, n, d):
    """Few different values, so that equal rows and equal distances are frequent."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, d)) < 0.6, rng.integers(0, 3, (n, d)), 0).astype(float)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 9), st.sampled_from(FORMS))
def test_joined_distances_are_those_of_all_rows_together(seed, k, extra, form):
    clean, fresh = rows_of(seed, 8, 4), rows_of(seed + 1, extra, 4)
    fresh[extra // 2 :] = fresh[0]  # copies
    joined = Neighbors(form(clean), k).joined(form(fresh))
    np.testing.assert_allclose(joined, by_hand(np.vstack([clean, fresh]), k), atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_rows_far_from_all_others_and_on_top_of_clean_ones(form):
    clean = np.arange(12.0).reshape(6, 2)
    fresh = np.vstack([np.full((4, 2), 1e6), clean[[2, 2]]])
    joined = Neighbors(form(clean), 3).joined(form(fresh))
    np.testing.assert_allclose(joined, by_hand(np.vstack([clean, fresh]), 3), rtol=1e-12)
    assert (joined[6:10] == 0).all()
    assert (joined[[2, 10, 11], :2] == 0).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", ["paper", "reference"])
@pytest.mark.parametrize("k", [2, 5])
def test_a_defence_fitted_beside_known_rows_is_that_of_all_rows(form, variant, k):
    rng = np.random.default_rng(k)
    clean, fresh = rng.normal(size=(60, 5)), np.repeat(rng.normal(size=(3, 5)) * 2, [1, 2, 4], axis=0)
    y, X = np.tile([1, -1], 34)[:67], form(np.vstack([clean, fresh]))
    whole = KNNDefense(remove=0.1, k=k, variant=variant).fit(X, y)
    known = Known(Dataset(form(clean), y[:60]), Problem(Hinge(), 0.1))
    beside = KNNDefense(remove=0.1, k=k, variant=variant).fit_beside(X, y, known, untrained)
    np.testing.assert_allclose(beside.decision_scores_, whole.decision_scores_, atol=1e-12)
    np.testing.assert_array_equal(beside.sample_indices_, whole.sample_indices_)
    assert beside.thresholds_ == pytest.approx(whole.thresholds_)
    other = form(rng.normal(size=(4, 5)))
    np.testing.assert_allclose(
        beside.decision_function(other, [1, 1, -1, -1]), whole.decision_function(other, [1, 1, -1, -1]), atol=1e-12
    )
    alone = KNNDefense(remove=0.1, k=k, variant=variant).fit_beside(form(clean), y[:60], known, untrained)
    np.testing.assert_allclose(
        alone.decision_scores_, KNNDefense(remove=0.1, k=k, variant=variant).fit(form(clean), y[:60]).decision_scores_
    )


def test_an_evaluator_measures_what_the_defence_itself_does():
    """Of two k-NN defences on one defender the larger neighbourhood is computed once and serves both."""
    rng = np.random.default_rng(0)
    train = Dataset(rng.normal(size=(40, 3)) + np.repeat([[1], [-1]], 20, axis=0), np.repeat([1, -1], 20))
    poison = Poison([[3.0, 3.0, 3.0], [0.0, 0.0, 0.0]], [-1, 1], [4, 2])
    defenses = {"near": KNNDefense(remove=0.1, k=2), "far": KNNDefense(remove=0.1, k=6)}
    defender = Defender(train, Problem(Hinge(), 0.1), defenses)
    mixed = train.mix(poison.expanded())
    for name in ("near", "far", "near"):
        alone = KNNDefense(remove=0.1, k=defenses[name].k).fit(mixed.X, mixed.y)
        fitted = defender.fit_detector(name, poison)
        np.testing.assert_allclose(fitted.decision_scores_, alone.decision_scores_, atol=1e-12)
        np.testing.assert_array_equal(fitted.sample_indices_, alone.sample_indices_)


@pytest.mark.parametrize("kind", ["plain", "copies and far rows", "few columns", "units"])
def test_many_rows_are_compared_in_single_precision_first(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1300, 6))
    if kind == "copies and far rows":
        X[:40] *= 1e4
        X[40:60], X[60:70] = X[40], X[100]
    if kind == "few columns":
        X = np.round(X[:, :1], 2)
    if kind == "units":
        X[:, 0], X[:, 1:] = np.exp(10 + X[:, 0]), X[:, 1:] > 0
    found, right = neighbors._self_joined(X, 3), by_hand(X, 3)
    assert np.allclose(found, right, rtol=1e-12, atol=1e-12)
    assert np.array_equal(found == 0, right == 0)


def test_sparse_rows_of_few_columns_are_compared_as_dense_ones():
    X, extra = rows_of(0, 40, 6), rows_of(1, 5, 6)
    sparse, plain = Neighbors(sp.csr_array(X), 3), Neighbors(X, 3)
    assert not sp.issparse(sparse.X)
    assert np.array_equal(sparse.joined(sp.csr_array(extra)), plain.joined(extra))
    assert np.array_equal(sparse.of(sp.csr_array(extra)), plain.of(extra))


def test_rows_too_near_each_other_for_single_precision_are_left_to_double():
    X = np.random.default_rng(0).normal(size=(2500, 2)) * [1.0, 1e-4]
    X[:, 0] = X[:, 0] > 0
    assert neighbors._self_joined(X, 3) is None
