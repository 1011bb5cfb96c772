"""Where rows may lie, and how many may be planted."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from linpoison.core import Budget, Domain, InputError
from linpoison.core.validation import as_generator, check_integer, check_number

X = np.array([[0.0, 3.0], [1.0, 0.0]])


@pytest.mark.parametrize("form", [np.array, sp.csr_array])
def test_domains_suggested_by_rows(form):
    assert Domain.of("real", form(X)).upper is None
    box = Domain.of("box", form(X))
    assert (box.lower.tolist(), box.upper.tolist()) == ([0, 0], [1, 3])
    unit = Domain.of("box", form(X / 5))
    assert (unit.lower.tolist(), unit.upper.tolist()) == ([0, 0], [1, 1])
    counts = Domain.of("counts", form(X * [0, 1]))
    assert counts.upper.tolist() == [1, 3]
    assert Domain.of("counts:7", form(X)).upper.tolist() == [7, 7]
    assert Domain.of("counts:inf", form(X)).upper.tolist() == [np.inf, np.inf]
    assert (counts.integral, box.integral) == (True, False)
    observed = Domain.of("range", form(X / 5))
    assert (observed.kind, observed.lower.tolist(), observed.upper.tolist()) == ("range", [0, 0], [0.2, 0.6])
    wide = Domain.of("range:2", form(X + 1))
    assert (wide.lower.tolist(), wide.upper.tolist()) == ([0.5, -0.5], [2.5, 5.5])
    whole = Domain.of("range:2", form(X + 1), integral=True)
    assert (whole.integral, whole.lower.tolist(), whole.upper.tolist()) == (True, [1, 0], [2, 5])


def test_violation_is_the_worst_coordinate():
    rows = np.array([[0.5, 0.5], [-0.25, 2.0], [0.0, 1.0]])
    assert Domain.box([0, 0], [1, 1]).violation(rows).tolist() == [0, 1, 0]
    assert Domain.counts([3, 3]).violation(rows).tolist() == [0.5, 0.25, 0]
    assert Domain.counts([3, 3]).violation(sp.csr_array(np.array([[4.0, 0.0]]))).tolist() == [1]
    assert Domain.real().violation(rows).tolist() == [0, 0, 0]


@pytest.mark.parametrize("form", [np.array, sp.csr_array])
def test_rows_of_length_one(form):
    rows = np.array([[0.6, 0.8], [0.0, 0.0], [0.0, 1.0 + 5e-8]])
    unit = Domain.of("unit", form(rows))
    assert unit.violation(form(rows)).tolist() == [0, 0, 0]  # zeros, and single precision
    np.testing.assert_allclose(unit.violation(form(2 * rows)), [1, 0, 1], atol=1e-7)
    np.testing.assert_allclose(unit.clip(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(unit.clip(np.array([3.0, 4.0])), [0.6, 0.8])
    assert unit.reach(np.array([0.0, 0.5])) == 1.5
    with pytest.raises(InputError, match="rows of length 1, got a length that differs by 1"):
        Domain.of("unit", form(2 * rows))


def test_check_names_what_is_wrong():
    counts = Domain.counts([1, 1])
    for rows, words in (([[-1.0, 0]], "a value of -1"), ([[0.5, 0]], "not whole")):
        for form in (np.array, sp.csr_array):
            for check in (counts.check, counts.check_kind):
                with pytest.raises(InputError, match=words):
                    check(form(rows), "X")
    for form in (np.array, sp.csr_array):
        counts.check_kind(form([[5.0, 0.0]]), "X")
        with pytest.raises(InputError, match="X inside its counts, got 1 rows outside, by up to 4"):
            counts.check(form([[5.0, 0.0], [1.0, 1.0]]), "X")
    with pytest.raises(InputError, match="inside its box, got 1 rows outside"):
        Domain.box(0, 1, d=2).check(np.array([[0.0, 1.5]]), "X")
    with pytest.raises(InputError, match="inside its range, got 2 rows outside"):
        Domain.range(X).check(X * 1.1, "X")
    Domain.real().check(np.array([[-1.5]]), "X")


@pytest.mark.parametrize("form", [np.array, sp.csr_array])
def test_what_a_word_says_binds_test_rows_and_what_training_rows_show_does_not(form):
    further = form(X + 3)
    for word in ("counts", "box", "range", "counts:6", "counts:inf"):
        Domain.of(word, form(X), further)
    with pytest.raises(InputError, match="test X inside its counts, got 1 rows outside, by up to 1"):
        Domain.of("counts:5", form(X), further)
    with pytest.raises(InputError, match="X inside its counts, got 1 rows outside, by up to 1"):
        Domain.of("counts:2", form(X), form(X))
    with pytest.raises(InputError, match="test X of counts"):
        Domain.of("counts", form(X), form(X + 0.5))
    with pytest.raises(InputError, match="test X of rows of length 1"):
        Domain.of("unit", form([[0.6, 0.8]]), further)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Domain.box(0.0, 1.0),
        lambda: Domain.box([1.0], [0.0]),
        lambda: Domain.box([0.0], [1.0, 1.0]),
        lambda: Domain.box([-np.inf], [1.0]),
        lambda: Domain.counts([-1]),
        lambda: Domain.counts([np.nan]),
        lambda: Domain.of("words", X),
        lambda: Domain.of("box:2", X),
        lambda: Domain.of("range:", X),
        lambda: Domain.of("counts:0", X),
        lambda: Domain.of("counts:many", X),
        lambda: Domain.of("counts:3.5", X),
        lambda: Domain.of("range:0.9", X),
        lambda: Domain.of("range:nan", X),
        lambda: Domain.of(None, X),
        lambda: Domain.of("counts", X - 1),
        lambda: Domain.of("counts", X + 0.5),
    ],
)
def test_bad_domains_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_counts_limits_are_rounded_down_and_shown():
    assert Domain.counts(2.7, d=2).upper.tolist() == [2, 2]
    assert repr(Domain.real()) == "Domain(kind='real')"
    assert repr(Domain.counts([1, 2])) == "Domain(kind='counts', d=2)"


@given(st.floats(1e-3, 1), st.integers(1, 10_000))
def test_budget_rounds_to_the_nearest_row(epsilon, n):
    if round(epsilon * n) == 0:
        with pytest.raises(InputError, match="rounds to 0"):
            Budget(epsilon).count(n)
    else:
        assert abs(Budget(epsilon).count(n) - epsilon * n) <= 0.5


@pytest.mark.parametrize("epsilon", [0, -0.1, 1.5, 3, np.nan, np.inf, "0.03", None, True])
def test_bad_budgets_are_refused(epsilon):
    with pytest.raises(InputError, match="epsilon as a number"):
        Budget(epsilon)


def test_the_paper_plants_124_rows_in_enron():
    assert Budget(0.03).count(4137) == 124
    assert Budget(1).count(7) == 7
    with pytest.raises(InputError, match=r"Use epsilon of at least 0\.1"):
        Budget(0.04).count(10)


def test_numbers_and_seeds():
    assert check_number(np.float32(0.5), "x", at_least=0, at_most=1) == 0.5
    with pytest.raises(InputError, match="x as a number above 0 and below 1, got 1"):
        check_number(1, "x", above=0, below=1)
    with pytest.raises(InputError, match="k as a whole number of at least 2, got 1.5"):
        check_integer(1.5, "k", at_least=2)
    rng = np.random.default_rng(0)
    assert as_generator(rng) is rng
    assert as_generator(5).random() == np.random.default_rng(5).random()
    assert as_generator(None).random() != as_generator(None).random()
    for seed in (-1, 1.5, "a", True):
        with pytest.raises(InputError, match="a seed"):
            as_generator(seed)


@given(st.integers(0, 2**32 - 1))
def test_violations_of_sparse_rows_are_those_of_dense_ones(seed):
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((6, 4)) < 0.5, rng.normal(size=(6, 4)) * 3, 0.0)
    X[0] = 0.0
    for domain in (
        Domain.real(),
        Domain.counts([1, 2, 3, 0]),
        Domain.box(-1.0, 1.0, d=4),
        Domain.box([0.5, -1, -2, 0], [1, -0.5, 2, 0]),
    ):
        np.testing.assert_allclose(domain.violation(sp.csr_array(X)), domain.violation(X))


def test_violation_of_sparse_rows_makes_no_dense_ones(monkeypatch):
    X = sp.random_array((600, 300_000), density=1e-5, format="csr", rng=np.random.default_rng(0))
    monkeypatch.setattr(sp.csr_array, "toarray", None)
    assert Domain.box(0.0, 0.5, d=300_000).violation(X).max() == pytest.approx(X.data.max() - 0.5)
