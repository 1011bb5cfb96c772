"""Label encodings: two values of any type become -1 and +1, anything else is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linpoison.core import InputError
from linpoison.datasets import LabelEncoding


@pytest.mark.parametrize(
    ("values", "pair"),
    [
        (["spam", "ham", "spam"], ("ham", "spam")),
        ([True, False, True], (False, True)),
        ([1, 0, 1], (0, 1)),
        ([1.0, -1.0, 1.0], (-1.0, 1.0)),
        ([2, 1, 2], (1, 2)),
        (np.array(["b", "a", "b"]), ("a", "b")),
        (np.array(["b", "a", "b"], dtype=object), ("a", "b")),
    ],
)
def test_later_value_in_sorted_order_is_positive(values, pair):
    encoding = LabelEncoding.of(values)
    signed = encoding.encode(values)
    assert (encoding.values, encoding.n_classes) == (pair, None)
    assert signed.dtype == np.float64
    np.testing.assert_array_equal(signed, [1.0, -1.0, 1.0])


@given(st.lists(st.sampled_from(["no", "yes"]), min_size=2).filter(lambda y: len(set(y)) == 2))
def test_decode_undoes_encode(y):
    encoding = LabelEncoding.of(y)
    assert encoding.decode(encoding.encode(y)).tolist() == y


def test_encoding_values_are_python_scalars():
    assert [type(value) for value in LabelEncoding.of(np.array([0, 1], dtype=np.int8)).values] == [int, int]


def test_more_than_two_values_are_their_places_in_sorted_order():
    encoding = LabelEncoding.of(["b", "c", "a", "c"])
    assert (encoding.values, encoding.n_classes) == (("a", "b", "c"), 3)
    assert encoding.encode(["c", "a"]).tolist() == [2.0, 0.0]
    assert encoding.decode([2.0, 0.0, 1.0]).tolist() == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (list(range(101)), ("2 to 100 classes", "101 classes", "...")),
        (["a", "a"], ("2 to 100 classes", "1 class ('a')")),
        ([], ("2 to 100 classes", "no labels")),
        ([0.0, np.nan], ("a label for every row", "1 missing")),
        (["a", None], ("a label for every row", "1 missing")),
        ([["a"], ["b"]], ("shape (n_samples,)", "(2, 1)")),
        ([[1], [1, 2]], ("shape (n_samples,)", "ragged")),
        ([1, "a"], ("one type", "int, str")),
    ],
)
def test_bad_labels(y, words):
    with pytest.raises(InputError) as caught:
        LabelEncoding.of(y)
    message = str(caught.value)
    assert all(word in message for word in ("expected", "got", *words)), message


def test_a_new_value_is_refused():
    with pytest.raises(InputError, match="expected labels among 'a', 'b', got 'c'"):
        LabelEncoding(("a", "b")).encode(["a", "c"])


@pytest.mark.parametrize("values", [
    pd.Series([True, pd.NA, False], dtype="boolean"), pd.Series(["a", pd.NA, "b"], dtype="string"),
    pd.Series([1, pd.NA, 0], dtype="Int64"), pd.Series(["a", None, "b"], dtype="category"),
    pd.Series([0.0, np.nan, 1.0]), np.array(["a", None], dtype=object), pd.Series([pd.NaT, pd.Timestamp(0)]),
])  # fmt: skip
def test_missing_labels_of_any_kind_are_counted(values):
    with pytest.raises(InputError, match="a label for every row, got 1 missing labels"):
        LabelEncoding.of(values)
