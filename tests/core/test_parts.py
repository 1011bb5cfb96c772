"""What groups of features may hold, against literal rows and rows that were made by hand."""

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.core import Domain
from linpoison.core.parts import Choice, Line, Words

WORDS = Words(np.arange(3), np.array([1.0, 2.0, 4.0]), np.array([True, True, False]), longest=6)


def test_one_of_a_group_is_the_nearest_point_and_its_hull_has_the_greatest_sum():
    group = Choice(np.array([1, 2]), np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert group.nearest(np.array([[0.4, 0.3], [0.2, 0.8]])).tolist() == [[0, 0], [0, 1]]
    assert group.most == 1.0
    assert Choice(np.array([0]), np.array([[0.0], [1.0]])).most is None


def test_a_lattice_keeps_its_steps_bounds_and_the_point_of_a_missing_value():
    age = Line(np.array([0]), np.array([-4.0]), np.array([0.1]), whole=True, low=0.0, also=np.array([[0.05]]))
    assert age.value(np.array([[0.33], [-9.0], [0.06]])).tolist()[:2] == [43.0, 0.0]
    assert np.isnan(age.value(np.array([[0.06]]))).all()
    assert age.nearest(np.array([[0.06]])).tolist() == [[0.05]]
    narrow = age.within(np.array([[-2.0], [0.05], [1.0]]), 1.0)
    assert (narrow.low, narrow.high) == (20.0, 50.0)


def test_counts_of_words_are_the_nearest_text_that_is_not_too_long():
    assert WORDS.rows(np.array([[2.0, 1.0, 0.0]])) == pytest.approx(np.array([[2**-0.5, 2**-0.5, 0.0]]))
    X = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 9.0], [5.0, 0.1, 0.0]])
    assert WORDS.counts(X).tolist() == [[4, 1, 0], [0, 0, 0], [6, 0, 0]]
    assert WORDS.counts(X).sum(axis=1).max() <= WORDS.longest


def test_texts_of_any_weighting_are_their_own_nearest():
    rng = np.random.default_rng(0)
    counts = np.minimum(rng.poisson(0.6, (60, 8)), 3).astype(float)
    counts[np.arange(60), rng.integers(0, 8, 60)] = 1.0
    for norm in ("l2", "l1", None):
        for more in ({}, {"sublinear": True}, {"binary": True}):
            words = Words(np.arange(8), rng.uniform(1, 3, 8), np.ones(8, dtype=bool), longest=40, norm=norm, **more)
            X = words.rows(counts)
            assert np.abs(words.nearest(X) - X).max() < 1e-12
            assert words.off(sp.csr_array(X)).max() < 1e-12
            assert words.off(sp.csr_array(X * 1.01 + 0.01 * (X > 0))).max() > 1e-3


@pytest.mark.parametrize("more", [{}, {"sublinear": True}, {"binary": True}])
def test_a_range_check_of_words_that_are_counted_lets_no_more_copies_through_than_clean_rows_have(more):
    words = Words(np.arange(3), np.array([1.0, 2.0, 3.0]), np.ones(3, dtype=bool), longest=99, norm=None, **more)
    clean = words.rows(np.array([[1.0, 0.0, 2.0], [1.0, 3.0, 0.0]]))
    narrow, wide = words.within(sp.csr_array(clean), 1.0), words.within(clean, 3.0)
    far = words.rows(np.array([[0.0, 9.0, 9.0], [1.0, 2.0, 1.0]]))
    most = np.array([1.0, 3.0, 2.0])
    assert narrow.nearest(far) == pytest.approx(words.rows(np.minimum([[1.0, 9.0, 9.0], [1.0, 2.0, 1.0]], most)))
    assert np.array([narrow.off(far)[0], narrow.off(sp.csr_array(far))[1]]) == pytest.approx(
        [max(abs((far[0] - narrow.nearest(far)[0]) / np.maximum(1.0, far[0]))), 0.0]
    )
    assert narrow.off(clean).max() < 1e-12
    assert narrow.bounds()[0] == pytest.approx(words.rows(np.array([[1.0, 0.0, 0.0]]))[0])
    assert narrow.bounds()[1] == pytest.approx(clean.max(axis=0))
    assert wide.greatest.tolist() == ([1.0, 2.0, 2.0] if "binary" in more else [1.0, 6.0, 4.0])
    assert not WORDS.ranged
    assert WORDS.within(clean, 1.0) is WORDS


def test_a_table_clips_and_measures_part_by_part():
    line = Line(np.array([2]), np.zeros(1), np.array([0.5]), whole=True)
    domain = Domain.of_parts([Choice(np.array([0, 1]), np.eye(2)), line], 3)
    assert domain.clip(np.array([[0.4, 0.7, 0.8]])).tolist() == [[0, 1, 1.0]]
    assert domain.clip(np.array([0.9, 0.7, 0.1])).tolist() == [1, 0, 0]
    assert domain.violation(np.array([[0, 1, 0.5], [0.5, 1, 0.0]])).tolist() == [0.0, 0.5]
    assert domain.within(np.array([[0, 1, 0.5], [1, 0, 2.0]])).upper.tolist() == [1, 1, 2]
