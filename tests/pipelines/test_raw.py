"""Raw rows there and back through the steps of pipelines."""

import io

import numpy as np
import pandas as pd
import pytest
from raw_cases import odd_columns, people, people_pipeline, reviews, reviews_pipeline
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    Normalizer,
    OneHotEncoder,
    PowerTransformer,
    SplineTransformer,
    StandardScaler,
)

from linpoison.core import CapabilityError, InputError
from linpoison.pipelines import RawTable, raw_rows

PEOPLE = people()
X = PEOPLE.drop(columns="rich")
BROAD = LogisticRegression(max_iter=1000)


def read(rows, estimator, frozen=()):
    return raw_rows(RawTable.of(rows, estimator[:-1].transform), estimator, frozen)


def features(estimator, rows):
    found = estimator[:-1].transform(rows)
    return found.toarray() if hasattr(found, "toarray") else np.asarray(found)


def anywhere(raw, n=40, seed=0):
    return raw.domain.clip(np.random.default_rng(seed).normal(scale=3.0, size=(n, raw.d)))


def test_rows_of_the_domain_of_a_table_are_rows_of_its_schema_and_come_back():
    estimator = people_pipeline(PEOPLE)
    raw = read(X, estimator)
    rows = anywhere(raw)
    frame = raw.frame(rows)
    assert list(frame.columns) == list(X.columns)
    assert (frame.dtypes == X.dtypes).all()
    assert set(frame["work"].dropna()) <= set(X["work"])
    assert set(frame["race"]) == {"a", "b", "c"}
    assert np.abs(features(estimator, frame) - rows).max() < 1e-9
    names = list(estimator[:-1].get_feature_names_out())
    work = [k for k, name in enumerate(names) if name.startswith("work__")]
    assert (rows[:, work].sum(axis=1) == 1).all()
    assert set(np.unique(rows[:, work])) == {0.0, 1.0}
    race = [k for k, name in enumerate(names) if name.startswith("race__")]
    assert set(rows[:, race].sum(axis=1)) == {0.0, 1.0}
    assert frame["wage"].isna().any()
    assert (frame["age"] >= 0).all()


def test_clean_rows_lie_in_the_domain_and_in_the_range():
    estimator = people_pipeline(PEOPLE)
    raw, rows = read(X, estimator), features(estimator, X)
    assert raw.domain.violation(rows).max() < 1e-9
    narrow = raw.domain.within(rows)
    assert narrow.violation(rows).max() < 1e-9
    frame = raw.frame(narrow.clip(anywhere(raw)))
    assert frame["age"].between(X["age"].min(), X["age"].max()).all()
    assert frame["wage"].dropna().between(X["wage"].min() - 1e-9, X["wage"].max() + 1e-9).all()


def test_frozen_columns_are_those_of_one_clean_row():
    few = PEOPLE[(PEOPLE["race"] != "c") | (PEOPLE["sex"] == "f")]
    estimator = people_pipeline(PEOPLE)
    raw = read(few.drop(columns="rich"), estimator, ("race", "sex"))
    pairs = set(map(tuple, raw.frame(anywhere(raw, 200))[["race", "sex"]].to_numpy()))
    assert pairs == set(map(tuple, few[["race", "sex"]].to_numpy()))
    assert ("c", "m") not in pairs
    with pytest.raises(InputError, match="'rase'"):
        read(X, estimator, ("rase",))
    mixing = make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(X[["age", "hours"]], PEOPLE["rich"])
    with pytest.raises(CapabilityError, match="apart"):
        read(X[["age", "hours"]], mixing, ("age",))


@pytest.mark.parametrize("options", [{}, {"sublinear_tf": True}, {"norm": "l1"}, {"use_idf": False, "binary": True}])
def test_a_text_is_given_by_its_words(options):
    texts, y = reviews()
    estimator = reviews_pipeline(texts, y, stop_words=["the"], **options)
    raw = read(np.array(texts, dtype=object), estimator)
    rows = raw.domain.clip(np.abs(anywhere(raw)))
    found = raw.frame(rows)["text"]
    assert np.abs(features(estimator, list(found)) - rows).max() < 1e-9
    assert max(len(text.split()) for text in found) <= max(len(text.split()) for text in texts)
    place = estimator[0].vocabulary_
    row = np.zeros((1, raw.d))
    row[0, [place["good"], place["film"]]] = [
        2 * raw.domain.parts[0].scale[place["good"]],
        raw.domain.parts[0].scale[place["film"]],
    ]
    if not options:
        assert raw.frame(raw.domain.clip(row))["text"][0] == "good good film"


def test_counts_of_words_are_counts():
    texts, y = reviews()
    estimator = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, y)
    raw = read(np.array(texts, dtype=object), estimator)
    assert raw.domain.kind == "counts"
    assert np.isinf(raw.domain.upper).all()
    row = np.zeros((1, raw.d))
    row[0, [estimator[0].vocabulary_[word] for word in ("good", "film")]] = [2, 1]
    assert raw.frame(row)["text"][0] == "good good film"


def test_plain_numbers_stay_real_and_come_back_unscaled():
    values = X[["age", "hours"]].to_numpy(dtype=float)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(values, PEOPLE["rich"])
    raw = read(values, estimator)
    assert raw.domain.kind == "real"
    scaler = estimator[0]
    assert raw.frame(np.array([[1.0, -2.0]])).to_numpy().ravel() == pytest.approx(
        [scaler.mean_[0] + scaler.scale_[0], scaler.mean_[1] - 2 * scaler.scale_[1]]
    )


def test_steps_that_are_no_lines_are_walked_value_by_value():
    steps = ColumnTransformer(
        [("log", FunctionTransformer(np.log1p), ["hours"]), ("bins", KBinsDiscretizer(3), ["age"])]
    )
    estimator = make_pipeline(steps, LogisticRegression()).fit(X, PEOPLE["rich"])
    raw = read(X[["age", "hours"]], estimator)
    frame = raw.frame(raw.domain.within(features(estimator, X)).clip(anywhere(raw)))
    assert set(frame["hours"]) <= set(X["hours"])
    assert set(frame["age"]) <= set(X["age"])
    far = raw.frame(raw.domain.clip(np.full((1, raw.d), 99.0)))["hours"][0]
    assert far > 1e9, "a logarithm grows slowly"
    assert raw.words().endswith("The steps are no line in hours: beyond clean values only a few are tried.")


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([TfidfVectorizer(ngram_range=(1, 2))], "TfidfVectorizer counts other things than single words in 'text'"),
        ([HashingVectorizer(n_features=64)], "HashingVectorizer does not keep the words of 'text'"),
        ([TfidfVectorizer(), TruncatedSVD(3)], "the steps behind TfidfVectorizer mix the words of 'text'"),
    ],
)
def test_texts_without_a_way_back_say_why(steps, why):
    texts, y = reviews()
    estimator = make_pipeline(*steps, LogisticRegression()).fit(texts, y)
    raw = read(np.array(texts, dtype=object), estimator)
    assert raw.words() == f"Poison rows are rows of features and not raw ones: {why}."
    with pytest.raises(CapabilityError, match="raw rows"):
        raw.frame(np.zeros((1, raw.d)))


@pytest.mark.parametrize(
    "steps", [[PCA(1)], [Normalizer()], [FunctionTransformer(lambda rows: rows.prod(axis=1).to_numpy()[:, None])]]
)
def test_columns_that_act_together_have_no_way_back(steps):
    estimator = make_pipeline(*steps, LogisticRegression()).fit(X[["age", "hours"]], PEOPLE["rich"])
    assert "not raw ones" in read(X[["age", "hours"]], estimator).words()


def test_an_array_of_objects_is_read_too():
    array = X[["age", "sex"]].to_numpy(dtype=object)
    is_man = FunctionTransformer(lambda column: (column == "m") * 1.0)
    steps = ColumnTransformer([("n", StandardScaler(), [0]), ("c", is_man, [1])])
    raw = read(array, make_pipeline(steps, LogisticRegression()).fit(array, PEOPLE["rich"]))
    assert set(raw.frame(anywhere(raw))["1"]) == {"f", "m"}


def test_a_table_is_written_with_labels_and_copies():
    raw = read(X, people_pipeline(PEOPLE))
    rows = features(people_pipeline(PEOPLE), X[:2])
    text = raw.csv(rows, ["yes", "no"], np.array([3.0, 1.0]), "rich")
    again = pd.read_csv(io.StringIO(text))
    assert list(again.columns) == [*X.columns, "rich", "copies"]
    assert again["age"].tolist() == X["age"][:2].tolist()
    assert again["copies"].tolist() == [3, 1]


IMPUTED = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
ODD = {
    "whole numbers beside missing ones": (IMPUTED, ["kids", "empty", "Int16"]),
    "numbers that are categories": (OneHotEncoder(), ["code", "UInt8"]),
    "narrow types": (StandardScaler(), ["small", "UInt8"]),
    "logarithms of anything positive": (FunctionTransformer(np.log), ["paid"]),
    "powers of positive numbers": (PowerTransformer("box-cox"), ["paid"]),
    "knots that nothing may be beyond": (SplineTransformer(extrapolation="error"), ["paid"]),
    "None among objects": (FunctionTransformer(lambda rows: rows.map(lambda value: len(str(value)) * 1.0)), ["mixed"]),
    "truth values and categories": (OneHotEncoder(), ["flag", "kind"]),
    "days": (FunctionTransformer(lambda rows: rows.apply(lambda column: column.dt.day_of_week)), ["day"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_columns_of_every_type_come_back_in_their_type(name):
    steps, columns = ODD[name]
    frame = odd_columns()
    estimator = make_pipeline(ColumnTransformer([("s", steps, columns), ("o", StandardScaler(), ["code"])]), BROAD)
    estimator.fit(frame, frame["paid"] > frame["paid"].median())
    raw = read(frame, estimator)
    assert raw.origins, raw.words()
    rows = np.vstack([raw.domain.clip(scale * anywhere(raw)) for scale in (1.0, 1e6)])
    found = raw.frame(rows)
    assert (found.dtypes == frame.dtypes).all()
    assert raw.domain.violation(features(estimator, frame)).max() < 1e-9
    inside = raw.frame(raw.domain.within(features(estimator, frame)).clip(rows))
    for column in columns:
        if pd.api.types.is_numeric_dtype(frame[column].dtype) and frame[column].notna().any():
            shown, made = (part[column].dropna().astype(float) for part in (frame, inside))
            assert made.between(shown.min() - 1e-9, shown.max() + 1e-9).all()
            assert column == "paid" or (found[column].dropna().astype(float) % 1 == 0).all()


def test_counts_of_words_beside_other_columns_keep_to_what_these_can_hold():
    frame = odd_columns()
    words = CountVectorizer(vocabulary=["good", "bad", "never so"])
    steps = ColumnTransformer(
        [("w", words, "text"), ("k", OneHotEncoder(), ["kind"]), ("c", StandardScaler(), ["code"])]
    )
    estimator = make_pipeline(steps, BROAD).fit(frame, frame["code"] > 0)
    raw = read(frame, estimator)
    assert raw.domain.violation(features(estimator, frame)).max() < 1e-9
    rows = raw.domain.clip(np.abs(anywhere(raw)))
    assert (rows[:, 2] == 0).all(), "a text of one word holds no pair"
    assert (rows[:, 3:5].sum(axis=1) == 1).all()
    assert (raw.frame(rows)["text"].str.count("good") == rows[:, 0]).all()
    assert (rows[:, 0] > features(estimator, frame)[:, 0].max()).any()
    narrow = raw.domain.within(features(estimator, frame))
    assert (narrow.clip(rows) <= features(estimator, frame).max(axis=0) + 1e-9).all()
    assert narrow.violation(rows).max() > 0.1


def test_what_acts_together_in_a_single_row_is_noticed():
    frame = odd_columns()
    steps = FunctionTransformer(lambda rows: np.c_[rows["rare"] * rows["code"], rows["code"], rows["rare"]])
    estimator = make_pipeline(steps, BROAD).fit(frame, frame["code"] > 0)
    assert read(frame[["rare", "code"]], estimator).words().endswith("its steps do not treat each column by itself.")


def test_columns_named_like_those_of_a_poison_table_are_kept():
    frame = odd_columns()[["code"]].assign(copies=np.arange(200) % 7, label=1.5)
    estimator = make_pipeline(StandardScaler(), BROAD).fit(frame, frame["code"] > 0)
    rows = features(estimator, frame[:2])
    again = pd.read_csv(io.StringIO(read(frame, estimator).csv(rows, [0, 1], np.array([3.0, 1.0]), "label")))
    assert list(again.columns) == ["code", "copies", "label", "label_", "copies_"]
    assert again["copies"].tolist() == [0, 1]
