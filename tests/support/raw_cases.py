"""Small raw tables, each with a fitted pipeline."""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)

GOOD, BAD = ["good", "fine", "great", "warm"], ["bad", "poor", "weak", "cold"]


def people(n=300, seed=0):
    """Ages, hours, incomes with gaps, three columns of words and a label."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n)
    wage = np.where(rng.random(n) < 0.1, np.nan, rng.normal(30, 9, n))
    frame = pd.DataFrame(
        {
            "age": age,
            "wage": wage,
            "hours": rng.integers(10, 60, n),
            "work": rng.choice(["state", "own", "firm", None], n),
            "race": rng.choice(["a", "b", "c"], n),
            "sex": rng.choice(["f", "m"], n),
        }
    )
    score = (age - 45) / 15 + np.nan_to_num((wage - 30) / 9) + (frame["sex"] == "m") + rng.normal(0, 0.7, n)
    return frame.assign(rich=np.where(score > 0.5, "yes", "no"))


def people_pipeline(frame):
    """One-hot groups of every kind, a lattice, imputed numbers and a category as a number."""
    usual = SimpleImputer(strategy="most_frequent")
    columns = ColumnTransformer(
        [
            ("work", make_pipeline(usual, OneHotEncoder()), ["work"]),
            ("race", OneHotEncoder(drop="first"), ["race"]),
            ("sex", OrdinalEncoder(), ["sex"]),
            ("wage", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["wage"]),
            ("rest", MinMaxScaler(), ["age", "hours"]),
        ]
    )  # fmt: skip
    classifier = LogisticRegression(class_weight="balanced", tol=1e-8, max_iter=1000)
    return make_pipeline(columns, classifier).fit(frame.drop(columns="rich"), frame["rich"])


def reviews(n=120, seed=0):
    """Sentences of good and bad words, and their labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    texts = [" ".join(rng.choice(GOOD * (1 + 2 * k) + BAD * (3 - 2 * k) + ["a film", "the plot"], 6)) for k in y]
    return texts, y


def reviews_pipeline(texts, y, **options):
    """TF-IDF and logistic regression."""
    return make_pipeline(TfidfVectorizer(**options), LogisticRegression(tol=1e-8, max_iter=1000)).fit(texts, y)


def odd_columns(n=200, seed=4):
    """Columns of every type that a frame can hold."""
    rng = np.random.default_rng(seed)
    gaps = rng.random(n) < 0.2
    return pd.DataFrame(
        {
            "kids": np.where(gaps, np.nan, rng.integers(0, 5, n)),
            "code": rng.integers(-5, 5, n),
            "paid": rng.exponential(1000, n),
            "small": rng.integers(0, 90, n).astype("int16"),
            "Int16": pd.array(np.where(gaps, None, rng.integers(0, 90, n)), dtype="Int16"),
            "UInt8": pd.array(rng.integers(0, 250, n), dtype="UInt8"),
            "empty": pd.array([None] * n, dtype="Int64"),
            "mixed": pd.Series(rng.choice([1, "a", None, "bb"], n), dtype=object),
            "flag": pd.array(np.where(gaps, None, rng.random(n) < 0.5), dtype="boolean"),
            "kind": pd.Categorical(rng.choice(["x", "y"], n), categories=["x", "y", "never"]),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, n), unit="D"),
            "text": [" ".join(rng.choice(["good", "bad", "film", "plot"], 4)) for _ in range(n)],
            "rare": (np.arange(n) == n - 2) * 1,
        }
    )


def odd_steps():
    """Steps of every kind, by a name that says whether they take texts."""
    usual, mean = SimpleImputer(strategy="most_frequent"), SimpleImputer(add_indicator=True, keep_empty_features=True)
    return {
        "one-hot": OneHotEncoder(),
        "first": OneHotEncoder(drop="first", handle_unknown="ignore"),
        "rare": make_pipeline(usual, OneHotEncoder(min_frequency=3, handle_unknown="infrequent_if_exist")),
        "codes": make_pipeline(usual, OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
        "imputed": make_pipeline(mean, StandardScaler()),
        "clipped": make_pipeline(mean, MinMaxScaler(clip=True)),
        "squares": make_pipeline(usual, PolynomialFeatures(2), StandardScaler()),
        "bins": make_pipeline(usual, KBinsDiscretizer(3)),
        "ranks": make_pipeline(usual, QuantileTransformer(n_quantiles=20)),
        "splines": make_pipeline(mean, SplineTransformer(extrapolation="error")),
        "logarithm": FunctionTransformer(np.log),
        "lengths": FunctionTransformer(lambda rows: rows.map(lambda value: float(len(str(value))))),
        "text tfidf": TfidfVectorizer(),
        "text counts": CountVectorizer(binary=True),
        "text pairs": TfidfVectorizer(ngram_range=(1, 2)),
    }
