"""
The engineer: from a table to a gate
====================================

A model is trained each night on rows that people hand in. How bad can a few false rows make it, what is to be done, and
how does the build fail when that changes? The table is UCI Adult, as it was published: words and numbers. The gate
needs the extra ``skops``: ``pip install -e '.[skops]'``.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops.io import dump

import linpoison
from linpoison.datasets import load_adult_table

# %%
# The model
# ---------
#
# A pipeline as it would be without linpoison. A thousand rows keep this page quick; nothing else depends on it.

columns = ["age", "education", "hours_per_week", "marital_status", "race", "sex", "income"]
table = load_adult_table("train")[columns].assign(
    income=lambda rows: rows["income"].str[:2].map({">5": "more", "<=": "less"})
)
train, test = table.iloc[:1000], table.iloc[1000:2000]
words, numbers = ["education", "marital_status", "race", "sex"], ["age", "hours_per_week"]
steps = ColumnTransformer([
    ("words", OneHotEncoder(handle_unknown="ignore"), words),
    ("numbers", StandardScaler(), numbers),
])  # fmt: skip
pipeline = make_pipeline(steps, LogisticRegression(C=0.1)).fit(train.drop(columns="income"), train["income"])
print(f"error on other rows: {1 - pipeline.score(test.drop(columns='income'), test['income']):.1%}")

# %%
# How bad can it get?
# -------------------
#
# Three rows in a hundred are the attacker's. Nobody can hand in a false ``race`` or ``sex`` here: these columns
# are frozen, and each poison row has them from one clean row. All other columns are free. One row in four
# earns more. The error would say little of them, so the damage is measured by the share of them that the model misses.

folder = Path(tempfile.mkdtemp())
report = linpoison.audit(
    train, label="income", test=test, estimator=pipeline, frozen="race,sex", epsilon=0.03, defenses="l2,loss",
    metric="recall:more", target="split:0.5", attacks="random-flips,exchange", out=folder / "audit", jobs=1,
)  # fmt: skip
print(report.verdict)

# %%
# Such rows are in ``poison.csv``, as somebody would hand them in.

print(pd.read_csv(folder / "audit" / "poison.csv").to_string(index=False))

# %%
# How many rows does it take?

fig, axes = plt.subplots(figsize=(6, 3.5))
axes.step(
    [point["rows"] for point in report.curve], [100 * point["test_error"] for point in report.curve], where="post"
)
axes.set(xlabel="poison rows", ylabel="missed of those who earn more (%)", ylim=(0, None))
fig.tight_layout()

# %%
# What to do
# ----------
#
# The report ends with advice.

for line in report.advice:
    print("-", line)

# %%
# A gate
# ------
#
# The pipeline in a file, an audit with a name, and limits for what it may find: the build runs ``linpoison check``. It
# writes SARIF and JUnit files, and exits with code 1 where a limit is broken.

train.to_csv(folder / "train.csv", index=False)
test.to_csv(folder / "test.csv", index=False)
dump(pipeline, folder / "pipeline.skops")
(folder / "linpoison.toml").write_text("""
[audits.income]
data = "train.csv"
test = "test.csv"
label = "income"
estimator = "pipeline.skops"
frozen = "race,sex"
epsilon = 0.03
defenses = "l2,loss"
metric = "recall:more"
attacks = "random-flips"
target = "split:0.5"
gates = { unseen = 0.50, damage = 0.02 }
""")
checked = linpoison.check(folder / "linpoison.toml", out=folder / "check", jobs=1)
print(checked.to_text())
print(sorted(path.name for path in (folder / "check").iterdir()))
