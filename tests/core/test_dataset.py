"""Datasets: checked on entry, sparse kept sparse, rows selected and stacked, equal data hash alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from linpoison.core import Dataset, Domain, InputError, LinearModel, Poison, Split, stack_rows

X = np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
Y = [1, -1, -1, 1]


@pytest.mark.parametrize("form", [np.array, sp.csr_array, sp.csc_array, sp.csr_matrix, sp.coo_array, list])
def test_forms_of_input(form):
    data = Dataset(form(X), Y)
    assert (data.n, data.d, data.total) == (4, 2, 4.0)
    assert data.is_sparse == sp.issparse(form(X))
    dense = data.X.toarray() if data.is_sparse else data.X
    assert dense.dtype == np.float64
    np.testing.assert_array_equal(dense, X)
    assert not data.is_sparse or isinstance(data.X, sp.csr_array)


def test_repeated_entries_of_a_sparse_matrix_are_added():
    coo = sp.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(1, 2))
    assert Dataset(coo, [1]).X.toarray().tolist() == [[0.0, 3.0]]


@pytest.mark.parametrize("form", [np.array, sp.csr_array])
def test_take_and_classes(form):
    data = Dataset(form(X), Y, [1, 2, 3, 4], name="toy", feature_names=("a", "b"))
    by_mask, by_index = data.take(np.array([True, False, False, True])), data.take([0, 3])
    assert by_mask.digest() == by_index.digest() == data.of_class(1).digest()
    assert by_index.weight.tolist() == [1, 4]
    assert (by_index.name, by_index.feature_names, by_index.is_sparse) == ("toy", ("a", "b"), data.is_sparse)
    assert data.take([]).n == 0


@pytest.mark.parametrize("top", [np.array, sp.csr_array])
@pytest.mark.parametrize("bottom", [np.array, sp.csr_array])
def test_mix_keeps_the_storage_and_names_of_the_first(top, bottom):
    data, other = Dataset(top(X), Y, name="clean"), Dataset(bottom(X[:1] + 5), [-1], [7.0], name="poison")
    mixed = data.mix(other)
    assert (mixed.name, mixed.n, mixed.total, mixed.is_sparse) == ("clean", 5, 11.0, data.is_sparse)
    stacked = stack_rows(data.X, other.X)
    dense = stacked.toarray() if sp.issparse(stacked) else stacked
    np.testing.assert_array_equal(dense, np.vstack([X, X[:1] + 5]))
    assert mixed.y.tolist() == [*Y, -1]
    with pytest.raises(InputError, match="rows of 2 features, got 3"):
        data.mix(Dataset(np.ones((1, 3)), [1]))


def test_arrays_cannot_be_written_and_the_callers_stay_writable():
    mine = X.copy()
    data = Dataset(mine, Y)
    with pytest.raises(ValueError, match="read-only"):
        data.X[0, 0] = 1.0
    mine[0, 0] = 9.0


@given(hnp.arrays(np.float64, (4, 3), elements=st.floats(-5, 5)), st.integers(0, 3), st.integers(0, 2))
def test_digest_tells_values_apart(values, row, column):
    data = Dataset(values, Y)
    assert data.digest() == Dataset(values.copy(), np.array(Y, dtype=float), np.ones(4)).digest()
    changed = values.copy()
    changed[row, column] += 1
    assert data.digest() != Dataset(changed, Y).digest()
    assert data.digest() != Dataset(values, [-1, -1, 1, 1]).digest()
    assert data.digest() != Dataset(values, Y, [1, 1, 1, 2]).digest()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[np.nan, 1.0]], [1]), "NaN"),
        (([[np.inf, 1.0]], [1]), "infinity"),
        ((sp.csr_array([[np.inf, 1.0]]), [1]), "infinity"),
        (([["a", "b"]], [1]), "not numbers"),
        (([1.0, 2.0], [1, 1]), r"shape \(2,\)"),
        ((np.ones((2, 0)), [1, 1]), "at least one feature"),
        ((X, [1, 1]), "4 labels, one for each row, got 2"),
        ((X, [0, 1, 0, 1]), r"labels in \{-1, \+1\}"),
        ((X, [[1], [1], [1], [1]]), "shape"),
        ((X, ["a", "b", "a", "b"]), "not numbers"),
        ((X, Y, [1, 1]), "weight of shape"),
        ((X, Y, [1, 1, 1, -1]), "non-negative weight"),
        ((X, Y, [1, 1, 1, np.nan]), "NaN"),
        ((X, Y, ["a"] * 4), "numeric weight"),
        ((X, Y, None, Domain.box(0, 1, d=3)), "a domain of 2 features, got one of 3"),
    ],
)
def test_bad_data_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        Dataset(*arguments)


def test_names_and_pictures_must_fit():
    with pytest.raises(InputError, match="2 feature names"):
        Dataset(X, Y, feature_names=("a",))
    with pytest.raises(InputError, match="2 pixels"):
        Dataset(X, Y, image_shape=(2, 2))
    assert Dataset(X, Y, image_shape=(1, 2)).image_shape == (1, 2)


def test_both_classes_means_rows_of_positive_weight():
    Dataset(X, Y).require_all_classes()
    for data in (Dataset(X, [1] * 4), Dataset(X, Y, [1, 0, 0, 1]), Dataset(np.zeros((0, 2)), [])):
        with pytest.raises(InputError, match="both classes"):
            data.require_all_classes()


def test_split_checks_its_halves():
    train = Dataset(X, Y, name="toy")
    assert Split(train, train.take([0])).name == "toy"
    with pytest.raises(InputError, match="test rows of 2 features"):
        Split(train, Dataset(np.ones((1, 3)), [1]))
    with pytest.raises(InputError, match="at least one test row"):
        Split(train, train.take([]))
    with pytest.raises(InputError, match="both classes"):
        Split(train.of_class(1), train)


def test_linear_model():
    model = LinearModel([1.0, -2.0], 0.5)
    assert model.decision_function(X).tolist() == [-3.5, 1.5, 0.5, -4.5]
    assert model.decision_function(sp.csr_array(X)).tolist() == [-3.5, 1.5, 0.5, -4.5]
    assert model.predict(X).tolist() == [-1, 1, 1, -1]
    assert LinearModel([0.0, 0.0]).predict(X).tolist() == [-1] * 4
    assert model.margins(Dataset(X, Y)).tolist() == [-3.5, -1.5, -0.5, -4.5]
    assert model.error(Dataset(X, Y)) == 1.0
    assert model.error(Dataset(X, [1, 1, -1, -1], [1, 2, 3, 4])) == pytest.approx(0.4)
    assert model.vector.tolist() == [1.0, -2.0, 0.5]
    assert LinearModel.from_vector(model.vector).distance(model) == 0
    assert model.distance(LinearModel([1.0, 1.0], 4.5)) == 5.0
    with pytest.raises(InputError, match="rows of 2 features"):
        model.decision_function(np.ones((1, 3)))
    for coef, intercept in (([[1.0]], 0.0), ([np.nan], 0.0), ([1.0], np.inf)):
        with pytest.raises(InputError, match="finite coef"):
            LinearModel(coef, intercept)


def test_digest_tells_widths_and_storage_apart():
    narrow = sp.csr_array(X)
    wide = sp.csr_array((narrow.data, narrow.indices, narrow.indptr), shape=(4, 3))
    digests = {Dataset(rows, Y).digest() for rows in (X, narrow, wide)}
    assert len(digests) == 3
    assert Dataset(X.copy(), Y).digest() == Dataset(X, Y).digest()


@pytest.mark.parametrize("X", [np.ones((2, 2)) * 1j, sp.csr_array(np.ones((2, 2)) * 1j)])
def test_complex_features_are_refused(X):
    with pytest.raises(InputError, match="expected real X, got complex numbers"):
        Dataset(X, [1, -1])


def test_codes_are_labels_of_more_than_two_classes():
    data = Dataset.coded([[0.0], [1.0], [2.0], [3.0]], [2, 0, 1, 2], classes=("a", "b", "c"))
    assert (data.k, data.labels, data.codes.tolist()) == (3, (0.0, 1.0, 2.0), [2, 0, 1, 2])
    assert data.label_values(data.y) == ["c", "a", "b", "c"]
    assert data.of_class(2).X.ravel().tolist() == [0.0, 3.0]
    assert data.take([1, 2]).k == 3
    signs = Dataset([[0.0], [1.0]], [1, -1], classes=("a", "b"))
    assert (signs.labels, signs.codes.tolist(), signs.label_values(signs.y)) == ((-1.0, 1.0), [1, 0], ["b", "a"])
    coded = Dataset.coded([[0.0], [1.0]], [1, 0])
    assert coded.digest() != Dataset.coded([[0.0], [1.0]], [1, 0], n_classes=3).digest() != signs.digest()
    with pytest.raises(InputError, match="rows of 3 classes, got 2"):
        data.mix(coded)
    with pytest.raises(InputError, match="each of 3 classes, got rows of 2"):
        data.take([0, 1]).require_all_classes()
    data.require_all_classes()
    for y in ([1, [2]], ["a", "b"]):
        with pytest.raises(InputError):
            Dataset.coded([[0.0], [1.0]], y)


def test_poison_keeps_its_number_of_classes(tmp_path):
    poison = Poison([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0]], [1, 1, 2], [1, 2, 3], n_classes=4)
    merged = poison.merged()
    assert (merged.count.tolist(), merged.y.tolist(), merged.n_classes) == ([3.0, 3.0], [1.0, 2.0], 4)
    for X in (merged.X, sp.csr_array(merged.X)):
        replace(merged, X=X).save(tmp_path / "p.npz")
        again = Poison.load(tmp_path / "p.npz")
        assert (again.n_classes, again.y.tolist(), again.expanded().k) == (4, [1.0, 2.0], 4)
        assert replace(poison, X=sp.csr_array(poison.X)).merged().count.tolist() == [3.0, 3.0]
    with pytest.raises(InputError, match="below n_classes=2"):
        replace(poison, n_classes=2)
