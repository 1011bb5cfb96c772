"""Answers for rows without labels, and how many changed training rows each withstands."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, Normalizer

from linpoison import CapabilityError, InputError, certify_rows
from linpoison.cli import main
from linpoison.core import Dataset
from linpoison.learners import LinearClassifier, make_learner
from linpoison.losses import Logistic, Problem


def table(n=24, seed=0):
    rng = np.random.default_rng(seed)
    label = np.where(np.arange(n) % 2 == 0, "spam", "ham")
    X = 0.6 * rng.normal(size=(n, 2)) + np.where(label == "spam", 1.0, -1.0)[:, None]
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": label})


def asked_rows():
    return table(9, 1)[["a", "b"]] * np.linspace(0.02, 1.0, 9)[:, None]


@pytest.fixture
def files(tmp_path):
    table().to_csv(tmp_path / "train.csv", index=False)
    asked_rows()[["b", "a"]].to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "train.csv", tmp_path / "rows.csv"


def test_answers_are_those_that_no_lost_row_changes(files, tmp_path, capsys):
    train, rows = files
    out = tmp_path / "out"
    command = ["certify", str(train), "--label", "kind", "--rows", str(rows), "--model", "logistic", "--reg", "0.3"]
    assert main([*command, "--penalize-intercept", "--count", "4", "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f"Written to {out}: answers.csv, answers.html, answers.json\n")
    with open(out / "answers.csv", newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    data, asked = table(), asked_rows().to_numpy()
    clean, y = data[["a", "b"]].to_numpy(), np.where(data["kind"] == "spam", 1.0, -1.0)
    kept = [np.arange(24) != i for i in range(24)]
    models = [make_learner(Problem(Logistic(), 0.3)).fit(Dataset(clean[rest], y[rest])) for rest in kept]
    held = [int(line["withstands"]) for line in lines]
    for line, row in zip(lines, asked, strict=True):
        score = {model.decision_function(row[None])[0] > 0 for model in models}
        if int(line["withstands"]) >= 1:
            assert score == {line["answer"] == "spam"}
    assert [int(line["row"]) for line in lines] == list(range(9))
    assert max(held) == 4 > min(held)
    report = json.loads((out / "answers.json").read_text(encoding="utf-8"))
    assert [entry["withstands"] for entry in report["answers"]] == held
    assert report["verdict"].startswith("Of 9 answers half withstand 4 planted rows or more (no more were looked at)")
    assert "<table" in (out / "answers.html").read_text(encoding="utf-8")


def test_python_and_flips_of_ridge(files):
    report = certify_rows(str(files[0]), asked_rows().to_numpy(), label="kind", model="ridge", kind="flips")
    frame = report.to_frame()
    assert list(frame.columns) == ["row", "answer", "score", "withstands"]
    assert ((frame["answer"] == "spam") == (frame["score"] > 0)).all()
    assert "flipped labels" in report.verdict
    assert "wrong label" in report.to_text()


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ([-1, -1, 0], "3 of 3 answers withstand not one of the planted rows."),
        ([-1, 0, 2, 3], "Of 4 answers half withstand 1 planted rows or more; 2 may not withstand one."),
    ],
)
def test_the_verdict_tells_answers_that_are_not_proved_at_all(held, words, files):
    report = certify_rows(str(files[0]), asked_rows().to_numpy(), label="kind", model="ridge", most=1)
    entries = [{**report.answers[0], "withstands": count} for count in held]
    assert replace(report, answers=entries, most=9).verdict == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"b": "c"}, "the columns of the training rows in rows.csv, got none called b"),
        ({}, "no other columns in rows.csv, got some called extra"),
    ],
)
def test_rows_of_other_columns_are_refused(files, change, words):
    rows = table(3)[["a", "b"]].rename(columns=change)
    (rows if change else rows.assign(extra=1.0)).to_csv(files[1], index=False)
    with pytest.raises(InputError, match=words):
        certify_rows(str(files[0]), str(files[1]), label="kind")


def test_what_would_void_the_guarantee_is_refused(files):
    data = table()
    X, y = data[["a", "b"]].to_numpy(), data["kind"].to_numpy()
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    for rows in (scaled, np.column_stack([scaled, np.zeros(24)])):  # a column that never changed becomes zero
        with pytest.raises(InputError, match="no scaler was fitted on"):
            certify_rows((rows, y), rows[:2], model="logistic")
    signs = np.where(np.arange(24) % 2, 1.0, -1.0)[:, None]  # as often 1 as -1: so without any scaler
    assert certify_rows((signs, y), signs[:2], model="ridge", most=1).answers
    with pytest.raises(InputError, match="no scaler was fitted on"):
        certify_rows((both := np.hstack([scaled, signs]), y), both[:2], model="ridge")
    with pytest.raises(CapabilityError, match="without weights"):
        certify_rows((X, y), X[:2], model="ridge", sample_weight=np.arange(1, 25))
    with pytest.raises(CapabilityError, match="logistic loss for deletions"):
        certify_rows((X, y), X[:2], estimator=LinearClassifier("squared_hinge").fit(X, y))
    with pytest.raises(InputError, match="rows of 2 columns"):
        certify_rows((X, y), X[:2, :1], model="ridge")
    with pytest.raises(InputError, match="a kind among deletions, flips"):
        certify_rows((X, y), X[:2], kind="radius")


STEPS = {
    "MinMaxScaler": MinMaxScaler,
    "random": lambda: Nystroem(n_components=2, random_state=np.random.RandomState(0)),
    "PCA": lambda: PCA(1),
    "nested": lambda: make_pipeline(FunctionTransformer(), MaxAbsScaler()),
    "beside others": lambda: ColumnTransformer([("some", MinMaxScaler(), [0])], remainder="passthrough"),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_that_were_fitted_on_the_training_rows_are_refused(name):
    data = table(5)
    X, y = data[["a", "b"]].to_numpy(), data["kind"].to_numpy()
    learned = make_pipeline(STEPS[name](), LogisticRegression()).fit(X, y)
    more = make_pipeline(STEPS[name](), LogisticRegression()).fit(np.vstack([X, 9 * X[:1]]), np.append(y, y[:1]))
    for fitted in (learned, more):
        with pytest.raises(InputError, match="some of these rows fit otherwise.*FrozenEstimator"):
            certify_rows((X, y), X[:2], estimator=fitted)
    twice = (np.repeat(X, 2, axis=0), np.repeat(y, 2))  # one copy in each half
    with pytest.raises(InputError, match="some of these rows fit otherwise"):
        certify_rows(twice, X[:2], estimator=make_pipeline(STEPS[name](), LogisticRegression()).fit(*twice))
    other = table(6)[["a", "b"]].to_numpy()
    elsewhere = make_pipeline(FrozenEstimator(STEPS[name]().fit(other)), LogisticRegression()).fit(X, y)
    assert certify_rows((X, y), X[:2], estimator=elsewhere, most=1).answers
    for step in (FunctionTransformer(np.tanh), Normalizer()):
        assert certify_rows(
            (X, y), X[:2], estimator=make_pipeline(step, LogisticRegression()).fit(X, y), most=1
        ).answers


def test_a_gap_in_the_rows_asked_about_is_not_filled_by_what_the_training_rows_say():
    data = table(8)
    X, y = data[["a", "b"]].to_numpy(), data["kind"].to_numpy()
    filled = make_pipeline(SimpleImputer(), LogisticRegression()).fit(X, y)
    assert certify_rows((X, y), X[:2], estimator=filled, most=1).answers
    with pytest.raises(InputError, match="some of these rows fit otherwise"):
        certify_rows((X, y), np.array([[np.nan, 1.0]]), estimator=filled)


def test_steps_before_which_rows_are_sparse_are_refused():
    X, y = sp.csr_array(np.random.default_rng(0).poisson(2, size=(20, 3)) + 1.0), np.resize(["p", "q"], 20)
    learned = make_pipeline(TfidfTransformer(), LogisticRegression()).fit(X, y)
    with pytest.raises(CapabilityError, match="such as sparse ones.*transform"):
        certify_rows((X, y), X[:2], estimator=learned)
    before = learned[:-1].transform(X)
    assert certify_rows((before, y), before[:2], estimator=learned[-1], most=1).answers


def test_what_was_chosen_by_looking_at_all_rows_is_refused():
    data = table(5)
    X, y = data[["a", "b"]].to_numpy(), data["kind"].to_numpy()
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(X, y)
    for chosen in (search, make_pipeline(Normalizer(), search).fit(X, y)):
        with pytest.raises(InputError, match="no part in, got a GridSearchCV, which chose some"):
            certify_rows((X, y), X[:2], estimator=chosen)
    assert certify_rows((X, y), X[:2], estimator=search.best_estimator_, most=1).answers
    with pytest.raises(InputError, match="trained on, got test_fraction=0.3"):
        certify_rows((X, y), X[:2], model="ridge", test_fraction=0.3)
