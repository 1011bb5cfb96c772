"""Overrun and drag: what is said of a class is what the filters do, and what stops it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.utils.estimator_checks import parametrize_with_checks

from linpoison.core import Dataset, Domain, InputError
from linpoison.defenses import (
    DEFAULTS,
    L2Defense,
    NormClipper,
    SlabDefense,
    TrustedDefense,
    class_exposures,
    make_defense,
)
from linpoison.losses import Hinge, Problem

PROBLEM = Problem(Hinge(), 0.05)
FILTERS = {name: make_defense(name, problem=PROBLEM) for name in DEFAULTS}


@pytest.fixture(scope="module")
def train():
    rng = np.random.default_rng(0)
    y = np.where(np.arange(150) < 60, 1.0, -1.0)
    return Dataset(rng.normal(size=(150, 5)) + y[:, None], y)


def far_rows(train, label, lengths):
    """Rows of one class at multiples of one direction from its mean."""
    return train.of_class(label).X.mean(axis=0) + np.asarray(lengths)[:, None] * np.eye(5)[0] * -label


def kept(defense, train, X, label):
    """How many of the rows that are added with a label stay."""
    fitted = defense.fit(np.vstack([train.X, X]), np.concatenate([train.y, np.full(len(X), label)]))
    return int((fitted.sample_indices_ >= train.n).sum())


def test_overrun_is_what_the_l2_filter_keeps(train):
    for label, exposure in class_exposures(train, 9, {"l2": L2Defense(remove=0.05)}).items():
        for m in range(1, 10):
            stay = kept(L2Defense(remove=0.05), train, far_rows(train, label, np.full(m, 1e4)), label)
            assert (stay > 0) == (exposure.least_overrun is not None and m >= exposure.least_overrun)
        assert stay == exposure.n_surviving == 9 - exposure.n_dropped
        assert exposure.n_surviving > 0
    assert not class_exposures(train, 4, {"l2": L2Defense(remove=0.05)})[-1.0].n_surviving


def test_a_mean_is_dragged_by_so_few_rows_and_no_fewer(train):
    exposure = class_exposures(train, 9, FILTERS)[-1.0]
    assert exposure.least_drag == 7
    assert class_exposures(train, 9, {"l2": FILTERS["l2"]})[-1.0].least_drag == 2
    assert class_exposures(train, 6, FILTERS)[-1.0].least_drag is None
    X = far_rows(train, -1.0, [1e3] * 6 + [1e6])
    for defense in FILTERS.values():
        assert kept(defense, train, X, -1.0) >= 6


def test_a_range_check_leaves_no_room_for_a_drag(train):
    bounded = replace(train, domain=Domain.range(train.X))
    assert all(one.least_drag is None for one in class_exposures(bounded, 9, FILTERS).values())
    wide = replace(train, domain=Domain.range(train.X, 300.0))
    assert not any(one.least_drag is None for one in class_exposures(wide, 9, FILTERS).values())


@pytest.mark.parametrize("kind", [L2Defense, SlabDefense])
def test_medians_that_remove_enough_hold_what_means_do_not(train, kind):
    X = far_rows(train, -1.0, [1e3] * 6 + [1e6])
    assert kept(kind(remove=0.1), train, X, -1.0) == 6
    assert kept(kind(remove=0.1, center="median"), train, X, -1.0) == 0
    dense, sparse = (kind(center="median").fit(form(train.X), train.y) for form in (np.asarray, sp.csr_array))
    np.testing.assert_allclose(dense.means_[0], np.median(train.X[train.y < 0], axis=0))
    np.testing.assert_allclose(dense.decision_scores_, sparse.decision_scores_)
    with pytest.raises(InputError, match="a center among mean, median, got 'mode'"):
        kind(center="mode").fit(train.X, train.y)


@pytest.mark.parametrize("name", ["l2", "slab", "loss", "knn"])
def test_filters_fitted_on_trusted_rows_keep_their_sets(train, name):
    defense = TrustedDefense(FILTERS[name], (train.X, train.y))
    X = far_rows(train, -1.0, [1e3] * 20 + [1e6])
    assert kept(defense, train, X, -1.0) == 0
    assert kept(defense, train, -X, -1.0) == (21 if name == "loss" else 0)  # a right label has no loss
    inner = make_defense(name, problem=PROBLEM).fit(train.X, train.y)
    assert defense.thresholds_ == inner.thresholds_
    if name != "knn":
        fresh = np.random.default_rng(1).normal(size=(50, 5))
        inside = defense.feasible_set(1.0).contains(fresh)
        np.testing.assert_array_equal(inside, inner.decision_function(fresh, np.ones(50)) <= inner.thresholds_[1.0])
    assert class_exposures(train, 9, {name: defense}) == {}  # no quota


def test_trusted_rows_have_every_class(train):
    for trusted in (None, (train.X[:60], train.y[:60])):
        with pytest.raises(InputError, match="trusted"):
            TrustedDefense(L2Defense(), trusted).fit(train.X, train.y)
    with pytest.raises(InputError, match="none of class -1.0"):
        TrustedDefense(L2Defense(), (train.X, train.y)).fit(train.X + 1e4 * (train.y[:, None] < 0), train.y)


@parametrize_with_checks([NormClipper()])
def test_clipper_follows_scikit_learn(estimator, check):
    check(estimator)


def test_clipped_rows_lie_within_the_radius_and_others_stay(train):
    X = np.vstack([train.X, far_rows(train, 1.0, [1e5] * 5)])
    clipper = NormClipper(0.9).fit(X)
    moved = clipper.transform(X)
    distances = np.linalg.norm(X - np.median(X, axis=0), axis=1)
    assert clipper.radius_ == pytest.approx(np.quantile(distances, 0.9))
    assert clipper.radius_ < 10
    np.testing.assert_allclose(np.linalg.norm(moved - clipper.center_, axis=1), distances.clip(max=clipper.radius_))
    np.testing.assert_array_equal(moved[distances <= clipper.radius_], X[distances <= clipper.radius_])
    sparse = NormClipper(0.9).fit(sp.csr_array(X)).transform(sp.csr_array(X))
    np.testing.assert_allclose(sparse.toarray(), moved)
