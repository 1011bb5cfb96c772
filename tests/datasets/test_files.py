"""Users' files: round trips of every kind, and the ways in which a file can be wrong."""

from __future__ import annotations

import builtins
import gzip
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file

from linpoison.core import InputError, MissingDependency
from linpoison.datasets import load

RNG = np.random.default_rng(0)
X = RNG.integers(0, 4, (40, 3)).astype(float)
Y = np.array(["neg", "pos"] * 20)
SIGNED = np.where(Y == "pos", 1.0, -1.0)
X_TEST, Y_TEST = X[:7] + 1, Y[:7]


def frame(X=X, y=Y, label="label"):
    table = pd.DataFrame(X, columns=[f"f{i}" for i in range(X.shape[1])])
    table.insert(1, label, y)
    return table


def csr_parts(matrix):
    matrix = sp.csr_array(matrix)
    return {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": matrix.shape}


def write(path: Path, X, y) -> Path:
    """One file of the kind that the suffix names."""
    if path.suffix == ".npz":
        np.savez(path, X=X, y=y)
    elif {".csv", ".tsv"} & set(path.suffixes):
        frame(X, y).to_csv(path, index=False, sep="\t" if ".tsv" in path.suffixes else ",")
    elif path.suffix == ".parquet":
        frame(X, y).to_parquet(path)
    else:
        dump_svmlight_file(X, np.where(np.asarray(y) == "pos", 1, 0), str(path))
    return path


TABLES, SPARSE = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet"), (".svmlight", ".svm", ".libsvm")
KINDS = (".npz", *TABLES, *SPARSE)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_with_a_test_file(tmp_path, kind):
    path, other = write(tmp_path / f"mine{kind}", X, Y), write(tmp_path / f"other{kind}", X_TEST, Y_TEST)
    split = load(path, test=other)
    dense = [part.X.toarray() if part.is_sparse else part.X for part in (split.train, split.test)]
    np.testing.assert_array_equal(dense[0], X)
    np.testing.assert_array_equal(dense[1], X_TEST)
    np.testing.assert_array_equal(split.train.y, SIGNED)
    np.testing.assert_array_equal(split.test.y, SIGNED[:7])
    assert split.train.is_sparse == (kind in SPARSE)
    assert split.name == "mine"
    assert split.train.domain.kind == "real"
    assert split.train.feature_names == (("f0", "f1", "f2") if kind in TABLES else None)


@pytest.mark.parametrize("kind", KINDS)
def test_split_is_stratified_and_seeded(tmp_path, kind):
    path = str(write(tmp_path / f"mine{kind}", X, Y))
    split = load(path, test_fraction=0.25, seed=3)
    assert (split.train.n, split.test.n) == (30, 10)
    assert split.train.y.sum() == split.test.y.sum() == 0
    assert load(path, test_fraction=0.25, seed=3).train.digest() == split.train.digest()
    assert load(path, test_fraction=0.25, seed=4).train.digest() != split.train.digest()
    rows = np.vstack([part.X.toarray() if part.is_sparse else part.X for part in (split.train, split.test)])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], X[np.lexsort(X.T)])


def test_npz_with_its_own_test_rows(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=Y, X_test=X_TEST, y_test=Y_TEST)
    split = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(split.train.X, X)
    np.testing.assert_array_equal(split.test.X, X_TEST)


def test_sparse_npz_stays_sparse_and_does_not_overflow(tmp_path):
    big = sp.csr_array(np.full((4, 2), 30000, dtype=np.int16))
    np.savez(tmp_path / "a.npz", **csr_parts(big), y=[0, 1, 0, 1], n_train=2)
    split = load(tmp_path / "a.npz", domain="counts")
    assert split.train.is_sparse
    assert (split.train.n, split.test.n) == (2, 2)
    assert split.train.X.sum() == 120000
    np.testing.assert_array_equal(split.train.domain.upper, [30000, 30000])


def test_scipy_archive_with_labels_in_another_array(tmp_path):
    matrix = sp.csr_array(X)
    np.savez(tmp_path / "a.npz", format=np.bytes_("csr"), **csr_parts(matrix), y=Y)
    split = load(tmp_path / "a.npz", test_fraction=0.5)
    assert split.train.is_sparse
    assert split.train.n == 20


@pytest.mark.parametrize("name", ["label", "y", "Target", "class"])
def test_label_column_is_found_by_name(tmp_path, name):
    frame(label=name).to_csv(tmp_path / "a.csv", index=False)
    assert load(tmp_path / "a.csv").train.feature_names == ("f0", "f1", "f2")


def test_label_column_is_else_the_last_or_the_one_given(tmp_path):
    table = pd.DataFrame({"a": X[:, 0], "b": [0, 1] * 20, "c": ["u", "v"] * 20})
    table.to_csv(tmp_path / "a.csv", index=False)
    assert load(tmp_path / "a.csv").train.feature_names == ("a", "b")
    table.drop(columns="c").to_csv(tmp_path / "b.csv", index=False)
    assert load(tmp_path / "b.csv").train.feature_names == ("a",)
    table[["b", "a"]].to_csv(tmp_path / "c.csv", index=False)
    assert load(tmp_path / "c.csv", label="b").train.feature_names == ("a",)


def test_columns_of_the_test_table_are_matched_by_name(tmp_path):
    frame().to_csv(tmp_path / "a.csv", index=False)
    frame(X_TEST, Y_TEST)[["f2", "label", "f0", "f1"]].to_csv(tmp_path / "b.csv", index=False)
    np.testing.assert_array_equal(load(tmp_path / "a.csv", test=tmp_path / "b.csv").test.X, X_TEST)


def test_quotes_are_characters_of_a_field_between_tabs(tmp_path):
    words = ['"', 'a "b"', '"c', "d,e"] * 10
    (tmp_path / "a.tsv").write_text("".join(f"{word}\t{i}.5\n" for i, word in enumerate(words)))
    found = load(tmp_path / "a.tsv", header="none", label="0")
    assert (found.train.classes, found.train.n + found.test.n) == (tuple(sorted(words[:4])), 40)


def test_booleans_duplicates_and_constant_columns_are_data(tmp_path):
    table = pd.DataFrame({"flag": [True, False] * 6, "same": 1, "label": ["a", "a", "b"] * 4})
    table.to_csv(tmp_path / "a.csv", index=False)
    split = load(tmp_path / "a.csv", index="none")
    assert set(np.unique(split.train.X[:, 0])) == {0.0, 1.0}
    assert (split.train.X[:, 1] == 1).all()


def test_header_of_counted_columns_is_a_header(tmp_path):
    pd.DataFrame(np.column_stack([X, SIGNED])).to_csv(tmp_path / "a.csv", index=False)
    assert load(tmp_path / "a.csv").train.d == 3


def test_svmlight_indices_are_read_from_both_files_together(tmp_path):
    (tmp_path / "a.svm").write_text("1 1:5 2:1\n0 1:2\n")
    (tmp_path / "b.svm").write_text("1 4:7\n")
    split = load(tmp_path / "a.svm", test=tmp_path / "b.svm")
    np.testing.assert_array_equal(split.train.X.toarray(), [[5, 1, 0, 0], [2, 0, 0, 0]])
    np.testing.assert_array_equal(split.test.X.toarray(), [[0, 0, 0, 7]])


@pytest.mark.parametrize(("domain", "upper"), [("counts", [3, 3, 3]), ("box", [3, 3, 3]), ("real", None)])
def test_domain_is_as_asked(tmp_path, domain, upper):
    found = load(write(tmp_path / "a.npz", X, Y), domain=domain).train.domain
    assert found.kind == domain
    if upper is not None:
        np.testing.assert_array_equal(found.upper, upper)


# --- failures -----------------------------------------------------------------------------------


def text(content: str, name: str = "a.csv"):
    def make(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return make


def raw(content: bytes, name: str):
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def npz(**arrays):
    def make(folder: Path) -> Path:
        np.savez(folder / "a.npz", **arrays)
        return folder / "a.npz"

    return make


BAD_CSR = csr_parts(X) | {"indices": csr_parts(X)["indices"] + 5}
ONES = [0, 1] * 20

FAILURES = {
    "folder": (lambda folder: folder, "the folder"),
    "missing": (lambda folder: folder / "none.csv", "neither"),
    "long name": (lambda folder: "9" * 300, "neither"),
    "almost long name": (lambda folder: "a" * 253, "neither"),
    "long path": (lambda folder: "a/" * 3000, "a data file or the name of a data set"),
    "suffix": (text("a", "a.xlsx"), "ending in .npz, .csv"),
    "only gz": (text("a", "a.gz"), "ending in .npz, .csv, .csv.gz, .tsv, .tsv.gz"),
    "no gzip": (text("a,label\n1,0\n", "a.csv.gz"), "a gzip file in a.csv.gz"),
    "part of a gzip": (raw(gzip.compress(b"a,label\n1,0\n" * 99)[:-20], "a.csv.gz"), "a gzip file in a.csv.gz"),
    "commas in tsv": (text("a,label\n1,0\n2,1\n", "a.tsv"), "or by tabs in a .tsv file"),
    "no suffix": (text("a", "data"), "ending in .npz, .csv"),
    "pickle": (raw(pickle.dumps(1), "a.pkl"), "Pickles are refused"),
    "pickle 2": (raw(pickle.dumps(1), "a.pickle"), "Pickles are refused"),
    "joblib": (raw(pickle.dumps(1), "a.joblib"), "Pickles are refused"),
    "empty csv": (text(""), "an empty file"),
    "blank csv": (text("\n\n"), "an empty file"),
    "header only": (text("a,b,label\n"), "0 rows"),
    "no header": (text("1.5,2.0,0\n3,4,1\n"), "a header line in a.csv"),
    "long line": (text("a,label\n1,0\n2,1,7\n3,0\n"), "equal length in a.csv, got Expected 2 fields in line 3"),
    "all long": (text("a,label\n1,0,5\n2,1,7\n"), "equal length in a.csv"),
    "short line": (text("a,b,label\n1,2,0\n2\n"), "'b', data row 2"),
    "row numbers": (text(",a,label\n0,1,0\n1,2,1\n"), "no name for column 1"),
    "doubled": (text("a,a,label\n0,1,0\n1,2,1\n"), "'a' more than once"),
    "text feature": (text("a,town,label\n1,Bonn,0\n2,Kiel,1\n"), "feature column 'town' of a.csv"),
    "no features": (text("label\n0\n1\n"), "only the column 'label'"),
    "semicolons": (text("a;b;label\n1;2;0\n1;2;1\n"), "Separate fields by commas"),
    "empty feature": (text("a,label\n,0\n,1\n"), "in column 'a', data row 1"),
    "infinite": (text("a,label\n1,0\ninf,1\n"), "infinity in column 'a', data row 2"),
    "empty label": (text("a,label\n1,0\n2,\n3,1\n"), "1 empty fields in the column 'label'"),
    "many classes": (
        text("a,label\n" + "".join(f"1,{i}\n" for i in range(101))),
        "101 classes (0, 1, 2, 3, 4, ...)",
    ),
    "one class": (text("a,label\n1,x\n2,x\n"), "1 class ('x')"),
    "few rows": (text("a,label\n1,x\n2,x\n3,y\n"), "1 rows of the least"),
    "latin-1": (raw("é,label\n1,0\n".encode("latin-1"), "a.csv"), "UTF-8 text in a.csv"),
    "binary csv": (raw(bytes(range(256)), "a.csv"), "a.csv"),
    "bad parquet": (text("not parquet", "a.parquet"), "a Parquet table in a.parquet"),
    "bad svmlight": (text("1 a:b\n", "a.svmlight"), "svmlight lines"),
    "svmlight text": (text("one 1:2\n", "a.svmlight"), "svmlight lines"),
    "svmlight comment": (text("# nothing\n", "a.svm"), "no rows"),
    "svmlight nan": (text("1 1:nan\n0 1:2\n", "a.svm"), "finite X of a.svm, got NaN"),
    "not a zip": (text("junk", "a.npz"), "an .npz archive"),
    "broken zip": (raw(b"PK\x03\x04" + b"0" * 50, "a.npz"), "an .npz archive"),
    "pickled npz": (raw(pickle.dumps([1, 2]), "a.npz"), "an .npz archive"),
    "no X": (npz(Z=X, y=Y), "an array 'X' in a.npz, got the arrays ['Z', 'y']"),
    "no y": (npz(X=X), "an array 'y' in a.npz"),
    "no y_test": (npz(X=X, y=Y, X_test=X), "an array 'y_test' in a.npz"),
    "object y": (npz(X=X, y=Y.astype(object)), "a pickled object array 'y'"),
    "text X": (npz(X=X.astype(str), y=Y), "numbers in the array 'X' of a.npz"),
    "complex X": (npz(X=X.astype(complex), y=Y), "numbers in the array 'X' of a.npz"),
    "flat X": (npz(X=X[:, 0], y=Y), "shape (n, d)"),
    "column y": (npz(X=X, y=Y[:, None]), "shape (n,)"),
    "scalar y": (npz(X=X, y=1, n_train=2), "shape (n,)"),
    "short y": (npz(X=X, y=Y[:9]), "40 labels in a.npz"),
    "no rows": (npz(X=X[:0], y=Y[:0]), "got shape (0, 3)"),
    "no columns": (npz(X=X[:, :0], y=Y), "at least one feature"),
    "nan": (npz(X=np.where(X == 1, np.nan, X), y=Y), "finite X of a.npz, got NaN"),
    "huge": (npz(X=X * 1e200, y=Y), "Rescale the features"),
    "huge negative": (npz(X=-X * 1e200, y=Y), "Rescale the features"),
    "huge test": (npz(X=X, y=Y, X_test=X * 1e200, y_test=Y), "Rescale the features"),
    "bad csr": (npz(**BAD_CSR, y=Y), "a valid CSR matrix in a.npz"),
    "part of csr": (npz(data=X[:, 0], y=Y), "an array 'indices' in a.npz"),
    "csc": (npz(**csr_parts(X), y=Y, format=np.bytes_("csc")), "the format 'csc'"),
    "n_train 0": (npz(X=X, y=ONES, n_train=0), "n_train as a whole number"),
    "n_train 1.5": (npz(X=X, y=ONES, n_train=1.5), "n_train as a whole number"),
    "n_train many": (npz(X=X, y=ONES, n_train=40), "n_train below the 40 rows"),
    "n_train pair": (npz(X=X, y=ONES, n_train=[1, 2]), "n_train as a whole number"),
    "width of test": (npz(X=X, y=ONES, X_test=X[:, :2], y_test=ONES), "3 features"),
    "third label": (npz(X=X, y=ONES, X_test=X[:2], y_test=[0, 2]), "each of 3 classes, got rows of 2"),
    "one class train": (npz(X=X[:2], y=[0, 0], X_test=X[:2], y_test=[0, 1]), "both classes"),
    "no test rows": (npz(X=X, y=ONES, X_test=X[:0], y_test=ONES[:0]), "at least one row"),
}


def check(caught, words):
    message = str(caught.value)
    assert message.startswith("expected "), message
    assert ", got " in message, message
    assert words in message, message
    assert "\n" not in message.strip(), message


@pytest.mark.parametrize("case", FAILURES)
def test_bad_files(tmp_path, case):
    make, words = FAILURES[case]
    with pytest.raises(InputError) as caught:
        load(make(tmp_path))
    check(caught, words)


@pytest.mark.parametrize(
    ("values", "domain", "words"),
    [
        (-X - 1, "counts", "a value of -4"),
        (X + 0.5, "counts", "not whole"),
        (X, "sphere", "a domain among real, box, counts, counts:N, unit, range and range:F, got 'sphere'"),
    ],
)
def test_bad_domains(tmp_path, values, domain, words):
    with pytest.raises(InputError) as caught:
        load(write(tmp_path / "a.npz", values, Y), domain=domain)
    check(caught, words)


def test_counts_in_training_only(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=Y, X_test=X + 0.5, y_test=Y)
    with pytest.raises(InputError, match="test X of counts"):
        load(tmp_path / "a.npz", domain="counts")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.csv", {"label": "income"}, "a label column 'income' in a.csv, got the columns f0, label"),
        ("a.npz", {"label": "y"}, "no label column with a .npz file"),
        ("a.csv", {"test": "missing.csv"}, "missing.csv, which is not a file"),
        ("a.csv", {"test": "b.npz"}, "a test file ending in .csv"),
        ("a.csv", {"test": "other.csv"}, "columns in only one of them: f2"),
        ("a.csv", {"test_fraction": 0.001}, "test_fraction"),
        ("both.npz", {"test": "b.npz"}, "test rows from one place"),
    ],
)
def test_bad_options(tmp_path, monkeypatch, name, options, words):
    monkeypatch.chdir(tmp_path)
    write(Path("a.csv"), X, Y)
    write(Path("a.npz"), X, Y)
    write(Path("b.npz"), X, Y)
    write(Path("other.csv"), X[:, :2], Y)
    np.savez("both.npz", X=X, y=Y, n_train=30)
    with pytest.raises(InputError) as caught:
        load(name, **options)
    check(caught, words)


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.npz", X, Y)
    original = builtins.open

    def refuse(file, *args, **kwargs):
        if Path(file) == path:
            raise PermissionError(13, "Permission denied")
        return original(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(InputError) as caught:
        load(path)
    check(caught, "Permission denied")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", X, Y)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"linpoison\[parquet\]"):
        load(path)


def test_a_pickle_is_never_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    np.savez(tmp_path / "a.npz", X=np.array([Bomb()], dtype=object), y=[0])
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.npz", "b.npz"):
        with pytest.raises(InputError):
            load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_more_than_two_label_values_are_codes(tmp_path):
    (tmp_path / "a.csv").write_text("a,label\n" + "".join(f"{i},{'xyz'[i % 3]}\n" for i in range(30)))
    split = load(tmp_path / "a.csv", index="none")
    assert (split.train.k, split.train.classes, split.test.n) == (3, ("x", "y", "z"), 9)
    assert split.train.label_values(split.train.y) == ["xyz"[int(a) % 3] for a in split.train.X.ravel()]
