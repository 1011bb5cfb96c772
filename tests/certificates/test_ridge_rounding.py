"""Ridge certificates hold for the exact minimiser, however the columns are scaled and whoever wrote the witness."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from rational import excess

from linpoison.certificates import Claim, certify_partition, certify_ridge, certify_test_error, label_flips_ridge
from linpoison.certificates.ridge.certify import recompute_ridge
from linpoison.certificates.ridge.model import RidgeSystem, comparator_bounds
from linpoison.core import CertificateInvalid, Dataset, Poison
from linpoison.losses import Problem, Squared
from linpoison.sets import Ball, Box, ByLabel

FREE, PENALISED, NONE = {"penalize_intercept": False}, {}, {"fit_intercept": False}
UNITS = [(0.0, 1.0), (1e5, 1.0), (1e8, 1.0), (1e8, 100.0), (1.6e9, 1e6), (0.0, 1e10), (0.0, 1e-8)]
"""Offset and spread of the first column."""


def far_claim(offset=0.0, spread=1.0, reg=0.1, epsilon=0.0, intercept=FREE, n=14, boxes=False):
    rng = np.random.default_rng(3)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    X = rng.normal(size=(n, 2)) + 0.4 * y[:, None]
    X[:, 0] = offset + spread * X[:, 0]
    reach = 2 * max(spread, 1.0)
    means = {k: X[y == k].mean(axis=0) for k in (1, -1)}
    sets = ByLabel({k: Box(m - reach, m + reach) if boxes else Ball(m, reach) for k, m in means.items()})
    return Claim(Dataset(X, y), Problem(Squared(), reg, **intercept), sets, epsilon, Dataset(X[:5], y[:5]))


@pytest.mark.parametrize("intercept", [FREE, PENALISED, NONE], ids=["free", "penalised", "none"])
@pytest.mark.parametrize(("offset", "spread"), UNITS)
def test_the_clean_score_is_between_its_bounds(offset, spread, intercept):
    for reg in (1e-8, 0.1, 1e3):
        claim = far_claim(offset, spread, reg, intercept=intercept)
        found = certify_ridge(claim)
        over = excess(claim, found.bound)
        assert max(over) <= 0
        assert min(over) >= -1e-6 if reg < 1e-3 else min(over) >= -1e-9  # useful, not only infinite
        assert max(excess(claim, RidgeSystem.of(claim).about.low)) >= 0
        np.testing.assert_array_equal(found.verify(), found.bound)


@pytest.mark.parametrize(("boxes", "intercept"), list(product([False, True], [FREE, PENALISED])))
def test_no_poison_exceeds_the_bound_far_from_the_origin(boxes, intercept):
    rng = np.random.default_rng(0)
    for offset, spread in UNITS:
        claim = far_claim(offset, spread, epsilon=0.2, intercept=intercept, boxes=boxes)
        found = certify_ridge(claim, method="structured")
        assert np.isfinite(found.bound).all()
        for _ in range(3):
            labels = rng.choice([-1.0, 1.0], size=2)
            X = np.array([claim.sets[int(k)].center if not boxes else claim.sets[int(k)].lower for k in labels])
            poison = Poison(X, labels, np.array([0.12, 0.08]) * claim.mass)
            assert max(excess(claim, found.bound, poison)) <= 0


@pytest.mark.parametrize("size", [1.0, 1e6, 1e16, 1e30, 1e200, np.inf, np.nan])
def test_a_forged_comparator_never_proves_less_than_the_clean_score(size):
    for offset, epsilon in product((0.0, 1e7), (0.0, 0.003)):
        claim = far_claim(offset, epsilon=epsilon)
        system = RidgeSystem.of(claim)
        with np.errstate(invalid="ignore", over="ignore"):
            forged = system.clean - size * system.responses
        bound = comparator_bounds(system, forged)
        assert (bound >= system.about.low).all()
        assert np.isinf(bound).all() == (not size < 1e200)
        plain = comparator_bounds(system, np.tile(system.clean, (len(bound), 1)))
        found = recompute_ridge(claim, {"comparator": forged, "origin": system.rows.origin})
        np.testing.assert_array_equal(found, np.minimum(plain, bound))


@pytest.mark.parametrize("origin", [np.full(2, 1e300), np.full(2, np.nan), np.zeros(3), np.full(2, -1e5), np.zeros(2)])
def test_a_forged_origin_proves_no_more(origin):
    claim = far_claim(1e5)
    found = certify_ridge(claim)
    bound = recompute_ridge(claim, {**found.witness, "origin": origin})
    assert max(excess(claim, np.minimum(bound, 1e300))) <= 0
    assert (bound >= found.bound - 1e-12).all()
    with pytest.raises(CertificateInvalid):
        replace(found, bound=found.bound - 0.1, witness={**found.witness, "origin": origin}).verify()


def test_sparse_columns_far_from_zero_are_moved_alone():
    claim = far_claim(1e8, epsilon=0.1)
    X = np.column_stack([claim.train.X, np.where(np.arange(14) % 5 == 0, 1.0, 0.0)])
    dense = replace(
        claim,
        train=Dataset(X, claim.train.y),
        rows=Dataset(X[:5], claim.rows.y),
        sets=ByLabel({k: Ball(np.append(claim.sets[k].center, 0.2), 3.0) for k in (1, -1)}),
    )
    sparse = replace(
        dense, train=Dataset(sp.csr_array(X), claim.train.y), rows=Dataset(sp.csr_array(X[:5]), claim.rows.y)
    )
    rows = RidgeSystem.of(sparse).rows
    assert rows.E.nnz == 14 * 3 + 3
    assert rows.origin[2] == 0 != rows.origin[0]
    assert max(excess(dense, certify_ridge(sparse.at(0.0)).bound)) <= 0
    np.testing.assert_allclose(certify_ridge(sparse).bound, certify_ridge(dense).bound, atol=1e-9)


def test_flips_are_charged():
    for intercept, offset in product((FREE, PENALISED), (0.0, 1e6)):
        claim = far_claim(offset, intercept=intercept)
        found = label_flips_ridge(claim, 2)
        for row, chosen in enumerate(found.witness["flipped"]):
            y = claim.train.y.copy()
            y[chosen[chosen >= 0]] *= -1
            flipped = replace(claim, train=replace(claim.train, y=y))
            over = excess(flipped, found.bound)
            assert max(over) <= 0
            assert over[row] > -1e-9


def test_what_is_built_on_it_holds_too():
    claim = far_claim(1e8, epsilon=0.05)
    wrong = np.mean([float(score) >= 0 for score in excess(claim, np.zeros(5))])
    assert certify_test_error(claim).bound >= wrong
    kept = replace(claim, train=claim.train.take(claim.sets.contains(claim.train.X, claim.train.y, 0.0)))
    right = np.array([score < 0 for score in excess(kept, np.zeros(5))])
    held = certify_partition(kept, n_parts=1, base=certify_ridge).bound >= 0
    assert held.any()
    assert right[held].all()


def test_what_overflows_proves_nothing():
    claim = far_claim(0.0, 1e200, boxes=True)
    assert np.isinf(certify_ridge(claim).bound).all()
    assert np.isinf(label_flips_ridge(claim, 1).bound).all()
