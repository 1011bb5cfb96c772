"""Audits of raw tables: the poison of a report is rows that the user's own pipeline turns into what was scored."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from raw_cases import people, people_pipeline, reviews, reviews_pipeline
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from linpoison import Poison, audit
from linpoison.attacks import Influence, RandomFlips
from linpoison.auditing.inputs import prepare
from linpoison.auditing.options import LearnerOptions
from linpoison.core import CapabilityError, InputError

TRAIN, TEST = people(300), people(150, seed=1)
ATTACKS = [RandomFlips(draws=3), Influence(starts=1, steps=20, finalists=1)]
QUICK = {"attacks": ATTACKS, "defenses": "l2", "epsilon": 0.05, "jobs": 1}


def retrained_error(estimator, X, y, poison, X_test, y_test):
    """The error of a pipeline with the same steps, fitted by scikit-learn on clean and raw poison rows."""
    copies = poison["copies"].to_numpy()
    rows = poison.loc[np.repeat(poison.index, copies)]
    mixed = np.vstack([dense(estimator[:-1].transform(X)), dense(estimator[:-1].transform(rows[X.columns]))])
    learned = clone(estimator[-1]).fit(mixed, np.concatenate([y, rows[y.name]]))
    return 1 - learned.score(dense(estimator[:-1].transform(X_test)), y_test)


def dense(X):
    return X.toarray() if hasattr(X, "toarray") else np.asarray(X)


def test_a_frame_is_audited_behind_its_pipeline_and_its_poison_is_a_table(tmp_path):
    estimator = people_pipeline(TRAIN)
    report = audit(TRAIN, label="rich", test=TEST, estimator=estimator, frozen="race,sex", out=tmp_path, **QUICK)
    X, X_test = TRAIN.drop(columns="rich"), TEST.drop(columns="rich")
    assert report.clean["test_error"] == pytest.approx(1 - estimator.score(X_test, TEST["rich"]))
    poison = pd.read_csv(tmp_path / "poison.csv")
    assert list(poison.columns) == [*TRAIN.columns, "copies"]
    assert set(map(tuple, poison[["race", "sex"]].to_numpy())) <= set(map(tuple, TRAIN[["race", "sex"]].to_numpy()))
    saved = Poison.load(tmp_path / "poison.npz")
    assert poison["copies"].sum() == saved.total <= 15
    assert np.abs(dense(estimator[:-1].transform(poison[X.columns])) - dense(saved.X)).max() < 1e-9
    error = retrained_error(estimator, X, TRAIN["rich"], poison, X_test, TEST["rich"])
    assert report.damage("none").test_error == pytest.approx(error, abs=0.011)
    assert any("raw rows" in line and "race, sex" in line for line in report.reading)


def test_tables_and_pipelines_of_files_are_read_alike(tmp_path):
    io = pytest.importorskip("skops.io")
    TRAIN.to_csv(tmp_path / "train.csv", index=False)
    TEST.to_csv(tmp_path / "test.csv", index=False)
    estimator = people_pipeline(pd.read_csv(tmp_path / "train.csv"))
    io.dump(estimator, tmp_path / "pipeline.skops")
    files = {"test": str(tmp_path / "test.csv"), "estimator": tmp_path / "pipeline.skops"}
    of_file = prepare(tmp_path / "train.csv", LearnerOptions(label="rich", frozen="race", **files))
    of_frame = prepare(TRAIN, LearnerOptions(label="rich", frozen="race", test=TEST, estimator=estimator))
    assert np.array_equal(of_file.split.train.X, of_frame.split.train.X)
    assert of_file.raw.words() == of_frame.raw.words()
    assert of_file.raw.frozen == ("race",)


def test_texts_are_audited_as_they_are(tmp_path):
    texts, y = reviews()
    estimator = reviews_pipeline(texts[:80], y[:80])
    report = audit((texts[:80], y[:80], texts[80:], y[80:]), estimator=estimator, out=tmp_path, **QUICK)
    poison = pd.read_csv(tmp_path / "poison.csv", keep_default_na=False)
    saved = Poison.load(tmp_path / "poison.npz")
    assert np.abs(dense(estimator[:-1].transform(poison["text"])) - dense(saved.X)).max() < 1e-9
    assert report.domains == ["table"]
    assert report.clean["test_error"] == pytest.approx(1 - estimator.score(texts[80:], y[80:]))


def test_what_stands_in_the_way_of_raw_rows_is_said_in_one_line():
    texts, y = reviews()
    estimator = reviews_pipeline(texts[:80], y[:80], ngram_range=(1, 2))
    setting = prepare((texts[:80], y[:80], texts[80:], y[80:]), LearnerOptions(estimator=estimator))
    assert setting.raw.words().endswith("TfidfVectorizer counts other things than single words in 'text'.")
    assert setting.split.train.domain.kind == "real"


def test_a_frame_holds_out_rows_as_a_file_does(tmp_path):
    frame = TRAIN[["age", "hours", "rich"]]
    frame.to_csv(tmp_path / "t.csv", index=False)
    split = prepare(frame, LearnerOptions(label="rich", seed=3)).split
    of_file = prepare(tmp_path / "t.csv", LearnerOptions(label="rich", seed=3)).split
    assert np.array_equal(split.train.X, of_file.train.X)
    assert np.array_equal(split.test.y, of_file.test.y)


def test_sparse_categories_are_learned_from_dense_rows_unless_their_columns_are_many():
    names = ["race", "sex"]
    few, many = (
        OneHotEncoder(),
        OneHotEncoder(categories=[["a", "b", "c", *map(str, range(50))], ["f", "m", *map(str, range(50))]]),
    )
    for encoder, sparse in ((few, False), (many, True)):
        estimator = make_pipeline(encoder, LogisticRegression(tol=1e-8)).fit(TRAIN[names], TRAIN["rich"])
        assert sp.issparse(encoder.fit_transform(TRAIN[names]))
        split = prepare(
            (TRAIN[names], TRAIN["rich"], TEST[names], TEST["rich"]), LearnerOptions(estimator=estimator)
        ).split
        assert (split.train.is_sparse, split.test.is_sparse) == (sparse, sparse)


@pytest.mark.parametrize(("labels", "got"), [([1, "no"], "the types int, str"), ([1.0, np.nan], "150 missing labels")])
def test_labels_of_a_frame_are_checked_before_rows_are_held_out(labels, got):
    frame = TRAIN[["age", "hours"]].assign(rich=np.resize(np.array(labels, dtype=object), len(TRAIN)))
    with pytest.raises(InputError, match=got):
        prepare(frame, LearnerOptions(label="rich"))


def test_frames_of_polars_keep_their_nulls(tmp_path):
    pl = pytest.importorskip("polars")
    frames = [
        pl.DataFrame({name: [None if value != value else value for value in part[name].tolist()] for name in part})
        for part in (TRAIN, TEST)
    ]
    steps = ColumnTransformer(
        [("w", OneHotEncoder(sparse_output=False), ["work"]), ("n", SimpleImputer(), ["age", "wage"])]
    ).set_output(transform="polars")
    estimator = make_pipeline(steps, StandardScaler(with_mean=False), LogisticRegression(tol=1e-8, max_iter=5000))
    estimator.fit(frames[0].drop("rich"), TRAIN["rich"])
    report = audit(frames[0], label="rich", test=frames[1], estimator=estimator, out=tmp_path, **QUICK)
    assert report.clean["test_error"] == pytest.approx(1 - estimator.score(frames[1].drop("rich"), TEST["rich"]))
    assert set(pd.read_csv(tmp_path / "poison.csv")["work"].dropna()) <= set(TRAIN["work"])


def test_names_that_stand_twice_are_one_frozen_column_and_no_frame():
    twice = LearnerOptions(label="rich", test=TEST, estimator=people_pipeline(TRAIN), frozen="race, race")
    assert prepare(TRAIN, twice).raw.frozen == ("race",)
    doubled = pd.concat([TRAIN, TRAIN[["age"]]], axis=1)
    with pytest.raises(InputError, match="age twice"):
        prepare(doubled, LearnerOptions(label="rich", estimator=people_pipeline(TRAIN)))


def test_frozen_columns_need_an_estimator_and_a_table():
    with pytest.raises(InputError, match="an estimator beside frozen columns"):
        LearnerOptions(frozen="race")
    with pytest.raises(InputError, match="'rase'"):
        prepare(TRAIN, LearnerOptions(label="rich", test=TEST, estimator=people_pipeline(TRAIN), frozen="rase"))
    with pytest.raises(InputError, match="a domain real or range beside frozen columns"):
        LearnerOptions(estimator=people_pipeline(TRAIN), frozen="race", domain="unit")
    squares = make_pipeline(SimpleImputer(), PolynomialFeatures(), LogisticRegression(max_iter=2000)).fit(
        TRAIN[["age", "wage"]], TRAIN["rich"]
    )
    with pytest.raises(CapabilityError, match="mix the columns .* Leave out frozen"):
        prepare(TRAIN, LearnerOptions(label="rich", test=TEST, estimator=squares, frozen="age"))
