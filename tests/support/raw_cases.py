"""Small raw tables, each with a fitted pipeline."""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

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
