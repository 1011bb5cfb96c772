"""
Poison as rows of a table
=========================

Behind a pipeline a poison row is what its steps make of some raw row. The report has these rows: categories as words,
numbers unscaled, and columns that nobody can change as clean rows have them.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import linpoison

# %%
# A table of loans, with words, whole numbers and gaps, and a pipeline fitted on its first half.

rng = np.random.default_rng(0)
n = 600
loans = pd.DataFrame({
    "age": rng.integers(18, 80, n),
    "income": np.where(rng.random(n) < 0.1, np.nan, rng.normal(30, 9, n).round(1)),
    "work": rng.choice(["state", "firm", "own"], n),
    "sex": rng.choice(["f", "m"], n),
})  # fmt: skip
score = (loans["income"].fillna(30) - 30) / 9 + (loans["work"] == "state") + (loans["age"] - 45) / 30
loans["label"] = np.where(score + rng.normal(0, 0.7, n) > 0.4, "paid", "lost")
train, test = loans[:300], loans[300:]
numbers = make_pipeline(SimpleImputer(), StandardScaler())
columns = ColumnTransformer([("words", OneHotEncoder(), ["work", "sex"]), ("numbers", numbers, ["age", "income"])])
pipeline = make_pipeline(columns, LogisticRegression()).fit(train.drop(columns="label"), train["label"])

# %%
# The audit gets the frame and the pipeline. Nobody can lie about ``sex`` here.

folder = Path(tempfile.mkdtemp())
report = linpoison.audit(
    train, label="label", test=test, estimator=pipeline, frozen="sex", attacks="random-flips,exchange", defenses="l2",
    epsilon=0.05, domain="range", out=folder, jobs=1,
)  # fmt: skip
print(f"clean {report.clean['test_error']:.1%}, poisoned {report.test_error_behind_all:.1%}")
poison = pd.read_csv(folder / "poison.csv")
print(poison)

# %%
# The rows are the crosses: as large as their copies, in the colour of the label that they bear.

fig, axes = plt.subplots(figsize=(7, 4))
for label, colour in {"paid": "#0072B2", "lost": "#D55E00"}.items():
    clean, planted = train[train["label"] == label], poison[poison["label"] == label]
    axes.scatter(clean["age"], clean["income"], s=12, color=colour, label=label)
    axes.scatter(planted["age"], planted["income"].fillna(30), s=60 + 20 * planted["copies"], color=colour, marker="x")
axes.set(xlabel="age", ylabel="income")
axes.legend()
fig.tight_layout()
