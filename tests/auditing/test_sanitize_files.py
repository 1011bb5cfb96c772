"""What `sanitize` writes is a table like the input, and every row of the file is accounted for."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import dump_svmlight_file

import linpoison
from linpoison import InputError
from linpoison.cli.main import main

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(40, 2)), 3)
X[[7, 12]] = [[90.0, 90.0], [-80.0, 50.0]]
KIND = np.where(np.arange(40) % 2, "spam", "ham")
FRAME = pd.DataFrame({"Kind": KIND, "a": X[:, 0], "note": "x, y", "b": X[:, 1]})
WORDS = ["--label", "Kind", "--defense", "l2", "--remove", ".1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FRAME.drop(columns="note").to_csv("t.csv", index=False)
    return tmp_path


def test_the_whole_table_comes_back_in_its_own_words(here, capsys):
    assert main(["sanitize", "t.csv", *WORDS, "--out", "o.csv"]) == 0
    kept, gone = pd.read_csv("o.csv"), pd.read_csv("o.removed.csv")
    removed = gone.row.tolist()
    assert {7, 12} <= set(removed)
    assert gone.label.tolist() == KIND[removed].tolist()
    pd.testing.assert_frame_equal(kept, pd.read_csv("t.csv").drop(index=removed).reset_index(drop=True))
    lines = here.joinpath("t.csv").read_text().splitlines()
    assert here.joinpath("o.csv").read_text().splitlines() == [
        line for number, line in enumerate(lines) if number - 1 not in removed
    ]
    said = " ".join(capsys.readouterr().out.split())
    assert f"{40 - len(removed)} of 40 rows of t.csv kept, {len(removed)} removed (l2 {len(removed)})" in said
    assert "The label is the column 'Kind': 'spam' is +1 and 'ham' is -1" in said
    assert "numbered from 0, a header line not counted" in said


def test_rows_that_are_held_out_are_said_to_be(here, capsys):
    assert main(["sanitize", "t.csv", *WORDS, "--test-fraction", "0.25", "--out", "o.csv"]) == 0
    kept, gone = pd.read_csv("o.csv"), pd.read_csv("o.removed.csv")
    assert "10 held out as test rows and not in the output" in " ".join(capsys.readouterr().out.split())
    assert len(kept) + len(gone) == 30
    np.testing.assert_array_equal(KIND[gone.row], gone.label)


def test_raw_columns_stay_behind_an_estimator(here):
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    FRAME.to_csv("raw.csv", index=False)
    before = ColumnTransformer([("scale", StandardScaler(), ["a", "b"]), ("one", OneHotEncoder(), ["note"])])
    estimator = make_pipeline(before, LogisticRegression()).fit(FRAME.drop(columns="Kind"), KIND)
    result = linpoison.sanitize("raw.csv", label="Kind", estimator=estimator, defenses="l2", remove=0.1, out="o.csv")
    pd.testing.assert_frame_equal(pd.read_csv("o.csv"), FRAME.iloc[result.kept].reset_index(drop=True))
    assert {7, 12} <= set(result.removed)


def test_tables_without_a_header_and_parquet(here):
    FRAME[["a", "b", "Kind"]].to_csv("bare.csv", index=False, header=False)
    result = linpoison.sanitize("bare.csv", header="none", defenses="l2", remove=0.1, out="o.csv")
    again = pd.read_csv("o.csv", header=None)
    np.testing.assert_array_equal(again.to_numpy(), FRAME[["a", "b", "Kind"]].iloc[result.kept].to_numpy())
    pytest.importorskip("pyarrow")
    FRAME.drop(columns="note").to_parquet("t.parquet")
    result = linpoison.sanitize("t.parquet", label="Kind", defenses="l2", remove=0.1, out="o.parquet")
    want = FRAME.drop(columns="note").iloc[result.kept]
    pd.testing.assert_frame_equal(pd.read_parquet("o.parquet").reset_index(drop=True), want.reset_index(drop=True))


def test_packed_fields_between_tabs_stay_as_they_are(here):
    table = FRAME[["a", "b", "Kind"]].assign(Kind='"' + FRAME["Kind"])
    table.to_csv("t.tsv.gz", index=False, sep="\t", quoting=3)
    result = linpoison.sanitize("t.tsv.gz", label="Kind", defenses="l2", remove=0.1, out="o.tsv.gz")
    again = pd.read_csv("o.tsv.gz", sep="\t", quoting=3)
    pd.testing.assert_frame_equal(again, table.iloc[result.kept].reset_index(drop=True))
    with pytest.raises(InputError, match="npz or .csv, got o.tsv. .tsv is for rows of such a file"):
        linpoison.sanitize("t.csv", label="Kind", defenses="l2", out="o.tsv")


def test_svmlight_lines_stay_as_they_are(here):
    dump_svmlight_file(X, (KIND == "spam") + 1, "t.svm", comment="mine")
    result = linpoison.sanitize("t.svm", defenses="l2", remove=0.1, out="o.svm")
    lines = [line for line in here.joinpath("t.svm").read_text().splitlines() if not line.startswith("#")]
    assert here.joinpath("o.svm").read_text().splitlines() == [lines[row] for row in result.kept]
    with pytest.raises(InputError, match="an output file .npz or .csv, got o.svm. .svm is for rows of such a file"):
        linpoison.sanitize("t.csv", label="Kind", defenses="l2", out="o.svm")


@pytest.mark.parametrize("sparse", [False, True])
def test_npz_keeps_its_arrays_and_test_rows(here, sparse):
    import scipy.sparse as sp

    csr = sp.csr_array(X)
    rows = {"data": csr.data, "indices": csr.indices, "indptr": csr.indptr, "shape": csr.shape} if sparse else {"X": X}
    np.savez("t.npz", **rows, y=KIND, n_train=30, name=np.arange(40), vocabulary=np.array(["u", "v"]))
    result = linpoison.sanitize("t.npz", defenses="l2", remove=0.1, out="o.npz")
    again = linpoison.load("o.npz")
    assert (again.train.n, again.test.n, again.train.classes) == (result.kept.size, 10, ("ham", "spam"))
    with np.load("o.npz") as stored:
        assert stored["name"].tolist() == [*result.kept.tolist(), *range(30, 40)]
        assert stored["removed"].tolist() == result.removed.tolist()
        assert stored["vocabulary"].tolist() == ["u", "v"]
    dense = again.train.X.toarray() if sparse else again.train.X
    np.testing.assert_array_equal(dense, X[result.kept])


def test_arrays_without_test_rows_are_enough():
    result = linpoison.sanitize((X, KIND), defenses="l2", remove=0.1)
    assert {7, 12} <= set(result.removed)
    assert result.data.label_values(result.data.y[[0, 1]]) == ["ham", "spam"]


def test_the_report_of_the_rows_says_what_each_defence_took(here, capsys):
    assert main(["sanitize", "t.csv", *WORDS, "--out", "o.csv", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    gone = pd.read_csv("o.removed.csv")
    assert [entry["row"] for entry in values["removed"]] == gone.row.tolist()
    assert values["n_kept"] + len(gone) == values["n_rows"] == 40
    report = linpoison.sanitize("t.csv", label="Kind", defenses="l2,loss", remove=0.1)
    header, *rows = report.summary()[0][1]
    assert [int(row[2]) for row in rows] == [(report.removed_by == name).sum() for name in ("l2", "loss")]
    assert [int(row[1]) for row in rows] == [40, 40 - int(rows[0][2])]
    assert all(sum(map(int, row[3:])) == int(row[2]) for row in rows)
    assert header[3:] == ("of ham", "of spam")
    assert report.to_frame().score_loss.isna().sum() == (report.removed_by == "l2").sum()
    with pytest.raises(InputError, match="a folder for the report, got kept.csv. save_rows writes"):
        report.save("kept.csv")


def test_a_frame_is_accounted_for_as_a_file_is_and_no_removed_row_is_an_empty_table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"]).assign(y=["p", "q"] * 20)
    report = linpoison.sanitize(frame, label="y", defenses="l2", test_fraction=0.25)
    assert (report.n_held_out, report.values()["n_rows"]) == (10, 40)
    assert "10 held out as test rows" in " ".join(report.to_text().split())
    assert linpoison.sanitize(frame, label="y", defenses="l2").n_held_out == 0
    nothing = linpoison.sanitize(frame, label="y", defenses="l2,knn", remove=0.0).to_frame()
    assert (len(nothing), list(nothing)) == (0, ["row", "label", "removed_by", "score_l2", "score_knn"])


def test_labels_as_a_column_are_told_what_to_do():
    X = np.random.default_rng(0).normal(size=(10, 2))
    with pytest.raises(InputError, match=r"got shape .10, 1.. Write y.ravel"):
        linpoison.sanitize((X, np.array([["p"], ["q"]] * 5)), defenses="l2")


def test_the_data_are_never_written_over(here, capsys):
    (here / "link.csv").symlink_to("t.csv")
    (here / "t.csv").rename(here / "o.removed.csv")
    (here / "t.csv").symlink_to("o.removed.csv")
    before = (here / "o.removed.csv").read_bytes()
    for out in ("o.removed.csv", "link.csv", "o.csv"):
        assert main(["sanitize", "t.csv", *WORDS, "--out", out]) == 2
        assert "leaves the data as they are" in capsys.readouterr().err
    assert (here / "o.removed.csv").read_bytes() == before
