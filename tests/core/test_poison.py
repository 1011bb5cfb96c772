"""Poison: copies, merging, and a file format that survives a round trip and refuses everything else."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from linpoison.core import (
    CapabilityError,
    Domain,
    InputError,
    LinearModel,
    MissingDependency,
    Poison,
)
from linpoison.core.results import Candidate

ROWS = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0], [1.0, 0.0, 2.0]])
LABELS = [1, -1, 1, -1]


@pytest.mark.parametrize("form", [np.array, sp.csr_array])
def test_copies(form):
    poison = Poison(form(ROWS), LABELS, [2, 0, 1, 4])
    assert (poison.total, poison.n_distinct, poison.relaxed) == (7.0, 3, False)
    expanded = poison.expanded()
    assert expanded.y.tolist() == [1, 1, 1, -1, -1, -1, -1]
    assert expanded.total == 7
    weighted = poison.as_dataset(Domain.counts([2, 1, 2]))
    assert weighted.weight.tolist() == [2, 0, 1, 4]
    assert weighted.domain.integral
    merged = poison.merged()
    assert sorted(zip(merged.y.tolist(), merged.count.tolist(), strict=True)) == [(-1, 4), (1, 3)]
    assert sp.issparse(merged.X) == sp.issparse(poison.X)


def test_fractional_copies_cannot_be_planted():
    poison = Poison(ROWS, LABELS, [0.5, 1, 1, 1])
    assert poison.relaxed
    with pytest.raises(InputError, match="Round the poison"):
        poison.expanded()


@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(1, 5))
def test_sparse_rows_merge_like_dense_ones_and_in_their_order(seed, k, d):
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((k, d)) < 0.5, rng.choice([-2.5, -1.0, 0.5, 1.0, 3.0], (k, d)), 0.0)
    X[k // 2 :] = X[: k - k // 2][::-1]
    sparse = sp.csr_array(X)
    sparse.data[:1] = 0.0  # a zero that is stored
    y, count = rng.choice([-1, 1], k), rng.integers(0, 3, k)
    merged = Poison(sparse, y, count).merged()
    dense = Poison(sparse.toarray(), y, count).merged()
    np.testing.assert_array_equal(merged.X.toarray(), dense.X)
    np.testing.assert_array_equal(merged.y, dense.y)
    np.testing.assert_array_equal(merged.count, dense.count)
    assert (merged.X.data != 0).all()
    keyed = np.column_stack([y, sparse.toarray()])[count > 0]
    np.testing.assert_array_equal(np.column_stack([dense.y, dense.X]), np.unique(keyed, axis=0).reshape(-1, d + 1))


def test_sparse_rows_merge_without_dense_ones(monkeypatch):
    X = sp.random_array((600, 300_000), density=1e-5, format="csr", rng=np.random.default_rng(0))
    monkeypatch.setattr(sp.csr_array, "toarray", None)
    merged = Poison(sp.csr_array(sp.vstack([X, X])), np.ones(1200), np.ones(1200)).merged()
    assert merged.total == 1200
    assert merged.X.nnz == X.nnz


def test_nothing_merges_to_nothing():
    assert Poison(ROWS, LABELS, np.zeros(4)).merged().y.size == 0
    assert Poison(np.zeros((0, 3)), [], []).merged().total == 0


@pytest.mark.parametrize("form", [np.array, sp.csr_array])
@pytest.mark.parametrize("count", [[2, 0, 1, 4], [0.25, 1, 1, 1]])
def test_file_round_trip(tmp_path, form, count):
    poison = Poison(form(ROWS), LABELS, count)
    path = tmp_path / "poison.npz"
    poison.save(path)
    loaded = Poison.load(path)
    assert loaded.as_dataset().digest() == poison.as_dataset().digest()
    assert sp.issparse(loaded.X) == sp.issparse(poison.X)
    assert [item.name for item in tmp_path.iterdir()] == ["poison.npz"]
    with np.load(path, allow_pickle=False) as stored:
        assert stored["y"].dtype.kind == "i"
        assert stored["count"].dtype.kind == ("f" if poison.relaxed else "i")
        names = {"X"} if form is np.array else {"data", "indices", "indptr", "shape"}
        assert set(stored.files) == {"y", "count"} | names


def test_a_file_of_another_tool_without_counts_has_one_copy_each(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, X=ROWS.astype(np.float32), y=np.array(LABELS, dtype=float))
    assert Poison.load(path).count.tolist() == [1, 1, 1, 1]


CSR = {"data": np.ones(1), "indices": np.array([0]), "indptr": np.array([0, 1]), "shape": np.array([1, 2])}
BAD_ARRAYS = {
    "no y": {"X": ROWS},
    "no X": {"y": LABELS},
    "half a CSR matrix": {"y": [1], "data": [1.0]},
    "column out of range": {"y": [1], **CSR, "indices": np.array([7])},
    "row pointers of another matrix": {"y": [1], **CSR, "indptr": np.array([0, 1, 1])},
    "three labels": {"X": ROWS, "y": [0, 1, 2, 1]},
    "wrong number of labels": {"X": ROWS, "y": [1]},
    "negative count": {"X": ROWS, "y": LABELS, "count": [-1, 1, 1, 1]},
    "short count": {"X": ROWS, "y": LABELS, "count": [1]},
    "NaN": {"X": ROWS * np.nan, "y": LABELS},
    "one dimension": {"X": ROWS[0], "y": LABELS},
    "text": {"X": np.array([["a", "b"]]), "y": [1]},
    "pickled objects": {"X": np.array([[{}]], dtype=object), "y": [1]},
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_are_refused(tmp_path, name):
    path = tmp_path / "bad.npz"
    np.savez(path, **{key: np.asarray(value) for key, value in BAD_ARRAYS[name].items()})
    with pytest.raises(InputError):
        Poison.load(path)


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="a poison file"):
        Poison.load(tmp_path / "none.npz")
    good = tmp_path / "good.npz"
    Poison(ROWS, LABELS, [1, 1, 1, 1]).save(good)
    contents = {
        "empty": b"",
        "text": b"label,feature\n1,2\n",
        "pickle": pickle.dumps({"y": LABELS}),
        "cut": good.read_bytes()[:80],
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match="poison file"):
            Poison.load(path)
    np.save(tmp_path / "one.npy", ROWS)
    with pytest.raises(InputError, match="poison file"):
        Poison.load(tmp_path / "one.npy")


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "poison.npz"
    Poison(ROWS, LABELS, [1, 1, 1, 1]).save(path)
    before = path.read_bytes()

    def fails(stream, **_):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fails)
    with pytest.raises(OSError, match="disk full"):
        Poison(ROWS, LABELS, [9, 9, 9, 9]).save(path)
    assert path.read_bytes() == before


def test_worst_is_the_least_over_the_defences():
    poison = Poison(ROWS[:1], [1], [1])

    def candidate(errors):
        return Candidate(poison, poison, LinearModel([1.0]), 0.0, 0.0, 0.0, errors)

    assert candidate({"none": 0.1, "l2": 0.3, "knn": 0.2}).worst == 0.2
    assert candidate({"none": 0.4}).worst == 0.4


def test_errors_survive_a_trip_between_processes():
    for error in (
        InputError("a", "b", "Do c."),
        CapabilityError("a", "b"),
        MissingDependency("torch", "deep attacks", "deep"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
    assert str(InputError("a", "b", "Do c.")) == "expected a, got b. Do c."
    assert "pip install 'linpoison[deep]'" in str(MissingDependency("torch", "deep attacks", "deep"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((2, 3)), "y": np.array(1)}, "labels of shape"),
        (
            {"data": np.array(["a"]), "indices": np.array([0]), "indptr": np.array([0, 1]), "shape": np.array([1, 2])}
            | {"y": np.array([1])},
            "real numbers in the array 'data'",
        ),
    ],
)
def test_files_with_odd_arrays_are_refused(tmp_path, arrays, message):
    path = tmp_path / "odd.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message):
        Poison.load(path)
