"""Rows, labels and columns in a user's words: in reports, targets, and behind a user's own preprocessing."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import linpoison
from linpoison import InputError, Poison
from linpoison.auditing.inputs import load_split, prepare
from linpoison.auditing.options import LearnerOptions
from linpoison.auditing.target import Target

RNG = np.random.default_rng(0)
N = 80
FRAME = pd.DataFrame({"job": RNG.choice(list("abc"), N), "age": RNG.normal(40, 9, N)})
ANSWER = np.where((FRAME.job == "a") ^ (RNG.random(N) < 0.1), "yes", "no")
HOLED = FRAME.assign(age=FRAME.age.where(RNG.random(N) > 0.1))
TEXT = np.array([f"{one} {two}" for one, two in zip(RNG.choice(["cash", "noon"], N), RNG.choice(["u", "vv"], N))])  # noqa: B905


def by_columns():
    age = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(
        ColumnTransformer([("o", OneHotEncoder(), ["job"]), ("n", age, ["age"])]), LogisticRegression()
    )


def test_reports_name_the_label_and_rows_are_those_of_the_file(tmp_path):
    X = RNG.normal(size=(60, 2)) + np.where(np.arange(60) % 2, 1.0, -1.0)[:, None]
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "Kind": np.where(np.arange(60) % 2, "spam", "ham")})
    table.to_csv(tmp_path / "t.csv", index=False)
    split = load_split(str(tmp_path / "t.csv"), LearnerOptions(label="Kind"))
    row = int(split.test.row_numbers[4])
    rows = Target.parse(f"rows:{row}").rows(split, 0)
    assert rows.index == (row,)
    np.testing.assert_array_equal(rows.scored.X[0], X[row])
    assert row not in rows.unseen.row_numbers
    with pytest.raises(InputError, match="row numbers of the file among its 18 test rows"):
        Target.parse(f"rows:{split.train.row_numbers[0]}").rows(split, 0)
    report = linpoison.evaluate(str(tmp_path / "t.csv"), Poison([[0.0, 0.0]], [1], [1]), label="Kind", defenses="none")
    words = "the label is the column 'Kind': 'spam' is +1 and 'ham' is -1"
    assert report.dataset["classes"] == {"+1": "spam", "-1": "ham"}
    assert words in report.to_text()
    assert "label is the column" in report.to_html()
    report.save(tmp_path / "out")
    with np.load(tmp_path / "out" / "poison.npz") as stored:
        assert (stored["label"].tolist(), stored["columns"].tolist()) == (["spam"], ["a", "b"])
    proved = linpoison.certify(str(tmp_path / "t.csv"), label="Kind", model="ridge", epsilon=0.03, defenses="l2")
    assert json.loads(proved.to_json())["dataset"]["test_rows"] == split.test.row_numbers.tolist()
    assert words in proved.to_text()


@pytest.mark.parametrize("kind", ["columns", "text", "numbers with holes"])
def test_raw_rows_reach_the_users_own_preprocessing(kind, tmp_path):
    holed = np.where(RNG.random((N, 2)) < 0.1, np.nan, RNG.normal(size=(N, 2)))
    X, y, estimator = {
        "columns": (HOLED, ANSWER, by_columns()),
        "text": (TEXT, np.char.startswith(TEXT, "cash") * 1, make_pipeline(TfidfVectorizer(), LogisticRegression())),
        "numbers with holes": (holed, np.arange(N) % 2, make_pipeline(SimpleImputer(), LogisticRegression())),
    }[kind]
    estimator.fit(X[:60], y[:60])
    setting = prepare((X[:60], y[:60], X[60:], y[60:]), LearnerOptions(estimator=estimator, defenses="none"))
    assert setting.handed.test_error == pytest.approx(np.mean(estimator.predict(X[60:]) != y[60:]))
    assert setting.split.train.d == estimator[-1].n_features_in_
    table = X.assign(answer=y) if kind == "columns" else pd.DataFrame(np.c_[X, y], columns=None)
    frame = (
        table.set_axis([*map("c{}".format, range(table.shape[1] - 1)), "answer"], axis=1)
        if kind != "columns"
        else table
    )
    frame[:60].to_csv(tmp_path / "a.csv", index=False)
    frame[60:].to_csv(tmp_path / "b.csv", index=False)
    options = LearnerOptions(estimator=estimator, defenses="none", label="answer", test=str(tmp_path / "b.csv"))
    again = prepare(str(tmp_path / "a.csv"), options)
    assert again.handed.test_error == pytest.approx(setting.handed.test_error)
    if kind == "columns":
        assert setting.split.train.feature_names[0] == "o__job_a"


def test_rows_that_the_preprocessing_refuses_name_the_way_out():
    estimator = by_columns().fit(HOLED[:60], ANSWER[:60])
    strange = HOLED.assign(job="zz")
    with pytest.raises(
        InputError, match=r"hand in .* or pipeline\[:-1\].transform\(X\) with pipeline\[-1\]|Hand in rows"
    ):
        prepare((strange[:60], ANSWER[:60], strange[60:], ANSWER[60:]), LearnerOptions(estimator=estimator))
