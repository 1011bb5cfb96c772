"""Rounding: whole copies that add up, rows with the right law, nothing outside the domain."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from linpoison.core import Domain, InputError, Poison
from linpoison.rounding import copies_of, deploy, largest_remainder, on_sphere, round_balanced, round_point
from linpoison.sets import Ball, Box, ByLabel, Halfspace, Slab, SubspaceTube, in_domain, intersect

WEIGHTS = st.lists(st.floats(0, 100), min_size=1, max_size=6).filter(lambda values: sum(values) > 1e-3)
POINT = np.array([0.0, 0.3, 1.5, 2.9, 4.0, 0.05])


@given(WEIGHTS, st.integers(0, 500))
def test_largest_remainder_shares_everything_within_one(weights, total):
    counts = largest_remainder(weights, total)
    assert counts.sum() == total
    shares = total * np.array(weights) / sum(weights)
    assert (np.abs(counts - shares) < 1 + 1e-6).all()
    assert (counts >= 0).all()


@given(WEIGHTS, st.integers(0, 500))
def test_largest_remainder_gives_the_spare_ones_to_the_largest_remainders(weights, total):
    counts = largest_remainder(weights, total)
    shares = total * np.array(weights) / sum(weights)
    rests = shares - np.floor(shares + 1e-9)
    up = counts > np.floor(shares + 1e-9)
    assert not up.any() or up.all() or rests[up].min() >= rests[~up].max() - 1e-9


def test_largest_remainder_by_hand_and_ties():
    assert largest_remainder([1, 1, 1], 4).tolist() == [2, 1, 1]
    assert largest_remainder([0.6, 0.4], 1).tolist() == [1, 0]
    assert largest_remainder([0.1 * 3, 0.7], 10).tolist() == [3, 7]
    assert largest_remainder([0, 0], 0).tolist() == [0, 0]


@pytest.mark.parametrize(("weights", "total"), [([0, 0], 3), ([1, 1], -1), ([-1, 2], 1), ([np.nan, 1], 1)])
def test_nothing_to_share_is_refused(weights, total):
    with pytest.raises(InputError):
        largest_remainder(weights, total)


@given(st.integers(0, 100), st.integers(1, 12))
def test_copies_add_up(total, repeats):
    copies = copies_of(total, repeats)
    assert copies.sum() == total
    assert (copies[:-1] == repeats).all()
    assert copies.size == -(-total // repeats)


@pytest.mark.parametrize("law", ["independent", "stratified"])
def test_every_row_has_the_law_of_randomised_rounding(law):
    """Each coordinate of each row is ceil with probability of the fraction, coordinates independent."""
    draws = np.array([round_point(POINT, 4, np.random.default_rng(seed), law=law) for seed in range(4000)])
    base = np.floor(POINT)
    assert set(np.unique(draws - base)) <= {0.0, 1.0}
    spread = np.sqrt((POINT - base) * (1 - POINT + base) / 4000)
    for row in range(4):
        mean = draws[:, row].mean(axis=0)
        assert (np.abs(mean - POINT) <= 4.5 * spread + 1e-12).all()
        up = (draws[:, row] - base)[:, [1, 2, 3]]
        joint = (up.T @ up) / 4000
        expected = np.outer([0.3, 0.5, 0.9], [0.3, 0.5, 0.9])
        np.testing.assert_allclose(joint[~np.eye(3, dtype=bool)], expected[~np.eye(3, dtype=bool)], atol=0.035)


@given(st.integers(1, 40), st.integers(0, 1000))
def test_stratified_counts_are_within_one_of_their_expectation(rows, seed):
    drawn = round_point(POINT, rows, np.random.default_rng(seed))
    up = (drawn - np.floor(POINT)).sum(axis=0)
    expected = rows * (POINT - np.floor(POINT))
    assert (np.abs(up - expected) < 1).all()
    assert set(np.unique(drawn - np.floor(POINT))) <= {0.0, 1.0}


def test_independent_counts_stray_farther():
    def spread(law):
        means = [round_point(POINT, 20, np.random.default_rng(s), law=law).mean(axis=0) for s in range(300)]
        return np.std(means, axis=0)[1:4]

    assert (spread("stratified") < 0.4 * spread("independent")).all()


def test_nearly_whole_numbers_are_whole():
    noisy = np.array([2 - 1e-10, 3 + 1e-10, -1e-10, 0.9999999])
    for law in ("independent", "stratified"):
        drawn = round_point(noisy, 50, np.random.default_rng(0), law=law)
        assert (drawn == [2, 3, 0, 1]).all()
    assert round_point(POINT, 0, np.random.default_rng(0)).shape == (0, 6)


def test_rows_outside_are_drawn_again():
    x = np.full(8, 0.5)
    inside = Ball(np.zeros(8), np.sqrt(5.0))  # at most five ones
    loose = round_point(x, 200, np.random.default_rng(1))
    held = round_point(x, 200, np.random.default_rng(1), inside=inside)
    assert (inside.violation(loose) > 1e-9).sum() > 10
    assert inside.contains(held).all()
    kept = inside.contains(loose)
    np.testing.assert_array_equal(held[kept], loose[kept])


def test_if_no_draw_is_inside_the_least_violation_is_kept():
    x = np.full(3, 0.5)
    never = Halfspace(np.ones(3), -1.0)
    held = round_point(x, 30, np.random.default_rng(0), inside=never)
    assert (held == 0).all()
    impatient = round_point(x, 30, np.random.default_rng(0), inside=never, attempts=1)
    assert impatient.sum() > 0


def test_bad_requests_are_refused():
    with pytest.raises(InputError, match="law"):
        round_point(POINT, 3, np.random.default_rng(0), law="systematic")
    with pytest.raises(InputError, match="rows"):
        round_point(POINT, -1, np.random.default_rng(0))


RELAXED = Poison([[0.5, 1.25, 2.0], [3.0, 0.1, 0.0]], [1, -1], [6.6, 3.3])


@pytest.mark.parametrize("sparse", [False, True])
def test_deploy_real_rows_keeps_two_points_and_shares_the_copies(sparse):
    poison = deploy(RELAXED, 50, Domain.real(), np.random.default_rng(0), sparse=sparse)
    assert sp.issparse(poison.X) == sparse
    assert poison.total == 10
    X = poison.X.toarray() if sparse else poison.X
    counts = {label: (count, x.tolist()) for label, count, x in zip(poison.y, poison.count, X, strict=True)}
    assert counts == {1.0: (7.0, [0.5, 1.25, 2.0]), -1.0: (3.0, [3.0, 0.1, 0.0])}


@given(st.integers(0, 12), st.integers(1, 4), st.integers(0, 50))
def test_deploy_spends_the_rounded_total_and_no_more_than_the_limit(limit, repeats, seed):
    domain = Domain.counts([4, 4, 4])
    poison = deploy(RELAXED, limit, domain, np.random.default_rng(seed), repeats=repeats)
    assert poison.total == min(limit, 10)
    assert not poison.relaxed
    assert domain.violation(poison.X).max(initial=0) == 0
    keyed = np.column_stack([poison.y, poison.X])
    assert len(np.unique(keyed, axis=0)) == len(keyed)
    for label in (1.0, -1.0):
        assert poison.count[poison.y == label].sum() == largest_remainder([6.6, 3.3], min(limit, 10))[int(label < 0)]


def test_repeats_share_a_row():
    x = Poison(np.full((1, 12), 0.5), [1], [12.0])
    domain = Domain.counts(np.ones(12))
    once = deploy(x, 12, domain, np.random.default_rng(0), repeats=1)
    thrice = deploy(x, 12, domain, np.random.default_rng(0), repeats=3)
    assert thrice.n_distinct <= 4 < once.n_distinct
    assert (thrice.count % 3 == 0).all()
    with pytest.raises(InputError, match="repeats"):
        deploy(x, 12, domain, np.random.default_rng(0), repeats=0)


def test_deploy_clips_what_a_solver_left_outside_the_box():
    noisy = Poison([[1 + 1e-9, -1e-9]], [1], [2.0])
    assert deploy(noisy, 2, Domain.box(0, 1, d=2), np.random.default_rng(0)).X.tolist() == [[1.0, 0.0]]


def test_counts_never_pass_their_limits():
    domain = Domain.counts([2, 5, 2])
    for noise, rows in ((1e-7, 40), (1e-3, 5000)):  # the greater noise is rounded now and then
        noisy = Poison([[2 + noise, -noise, 1.5]], [1], [rows])
        poison = deploy(noisy, rows, domain, np.random.default_rng(0))
        assert domain.violation(poison.X).max() == 0


def test_deploy_draws_again_in_the_set_of_the_label():
    x = Poison(np.full((2, 6), 0.5), [1, -1], [30.0, 30.0])
    few = Ball(np.zeros(6), np.sqrt(3.0))
    sets = ByLabel({1: few, -1: Box(np.zeros(6), np.ones(6))})
    poison = deploy(x, 60, Domain.counts(np.ones(6)), np.random.default_rng(0), sets=sets)
    ones = poison.X.sum(axis=1)
    assert ones[poison.y > 0].max() <= 3
    assert ones[poison.y < 0].max() > 3


def test_nothing_to_deploy():
    empty = deploy(Poison(np.zeros((0, 3)), [], []), 5, Domain.real(), np.random.default_rng(0))
    assert empty.total == 0
    assert deploy(RELAXED, 0, Domain.real(), np.random.default_rng(0)).y.size == 0


@pytest.mark.parametrize("law", ["independent", "stratified"])
def test_sparse_rows_are_drawn_like_dense_ones(law):
    inside = Ball(POINT, 0.9)
    for seed in range(20):
        dense, sparse = (
            round_point(POINT, 7, np.random.default_rng(seed), law=law, inside=inside, sparse=kind)
            for kind in (False, True)
        )
        assert sp.issparse(sparse)
        np.testing.assert_array_equal(sparse.toarray(), dense)
    assert round_point(np.zeros(3), 0, np.random.default_rng(0), sparse=True).shape == (0, 3)


@pytest.mark.parametrize("domain", [Domain.counts(np.full(60_000, 9)), Domain.real()], ids=["counts", "real"])
def test_sparse_rows_are_deployed_without_dense_tables(monkeypatch, domain):
    """Never more than one row at a time is dense: 300 of them would take 144 MB."""
    rng = np.random.default_rng(0)
    relaxed = sp.random_array((300, 60_000), density=1e-4, format="csr", rng=rng)
    relaxed.data = 3 * relaxed.data
    largest, original = [0], sp.csr_array.toarray

    def watched(self, *args, **kwargs):
        largest[0] = max(largest[0], self.shape[0])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(sp.csr_array, "toarray", watched)
    poison = Poison(relaxed, np.ones(300), np.ones(300))
    sets = ByLabel({1: Ball(np.zeros(60_000), 4.0), -1: Ball(np.zeros(60_000), 4.0)})
    tracemalloc.start()
    whole = deploy(poison, 300, domain, rng, sets=sets, sparse=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert whole.total == 300
    assert sp.issparse(whole.X)
    assert largest[0] == 1
    assert peak < 40e6


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**16))
def test_balanced_rows_add_up(copies, d, seed):
    rng = np.random.default_rng(seed)
    point, direction = rng.exponential(1.5, size=d), rng.normal(size=d)
    rows = round_balanced(point, copies, direction)
    assert rows.shape == (copies, d)
    assert (rows == np.rint(rows)).all()
    np.testing.assert_array_equal(rows.sum(axis=0), np.rint(copies * point))
    assert (np.abs(rows - point) < 1 + 0.5 / copies).all()
    assert np.ptp(rows @ direction) <= np.abs(direction).max() + 1e-12  # list scheduling: never worse than one step


def test_balanced_rows_score_more_alike_than_drawn_ones():
    rng = np.random.default_rng(0)
    point, direction = rng.exponential(0.3, size=200), rng.normal(size=200)
    rows = round_balanced(point, 40, direction)
    drawn = np.floor(point) + (rng.random((40, 200)) < point - np.floor(point))
    assert np.ptp(rows @ direction) < 0.05 * np.ptp(drawn @ direction)
    assert np.linalg.norm(rows.mean(axis=0) - point) < 0.3 * np.linalg.norm(drawn.mean(axis=0) - point)


@pytest.mark.parametrize("point", [[-0.1, 1.0], [np.nan, 1.0], [1.0]])
def test_balanced_rows_need_counts(point):
    with pytest.raises(InputError):
        round_balanced(np.array(point), 3, np.ones(2))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 12, 13])
def test_rows_of_length_one_add_up_to_the_copies_of_a_shorter_row_and_stay_in_its_set(count):
    rng = np.random.default_rng(count)
    center, theta = rng.normal(size=(2, 8)) / 4
    point = center / np.linalg.norm(center) * 0.7
    basis = np.linalg.qr(rng.normal(size=(8, 6)))[0]
    across = float(np.linalg.norm(point - basis @ (basis.T @ point)))
    inside = intersect(
        in_domain(Ball(center, 0.95), Domain.unit()), Ball(np.zeros(8), 1.0), Halfspace(-theta, -theta @ point),
        Slab(center, float(center @ point), 0.1), SubspaceTube(basis, across),
    )  # fmt: skip
    assert inside.contains(point[None, :], 1e-12).all()
    rows, copies = on_sphere(point, count, rng, inside)
    assert copies.sum() == count
    assert len(copies) <= 3
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(rows @ theta, theta @ point, atol=1e-12)
    assert inside.violation(rows).max() <= 1e-9
    assert np.linalg.norm(rows - center, axis=1).max() <= 0.95 + 1e-12
    if count > 1:
        np.testing.assert_allclose(copies @ rows, count * point, atol=1e-12)
    for tight in (np.zeros(8), point):  # a row of zeros, and a set that leaves no direction
        rows, copies = on_sphere(tight, count, rng, Box(np.full(8, -1.0), np.ones(8)))
        assert copies.sum() == count
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-12)
    line, copies = on_sphere(np.array([0.3]), count, rng)
    assert (line.tolist(), copies.tolist()) == ([[1.0]], [count])
