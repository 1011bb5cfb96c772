"""
Ten classes
===========

The same command for digits: which classes are mistaken for which, once rows are planted.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay

import linpoison

# %%
# An audit of a few hundred rows.

digits = linpoison.load("digits")
train, test = digits.train.take(np.arange(400)), digits.test.take(np.arange(200))
report = linpoison.audit(
    linpoison.Split(train, test),
    model="logistic",
    epsilon=0.03,
    attacks="breakdown",
    defenses="l2",
    domain="real",
    jobs=1,
)
print(report.verdict)

# %%
# The poison, given to a learner of scikit-learn without any filter.

poison = next(iter(report.poisons.values()))
X = np.vstack([train.X, np.repeat(poison.X, poison.count.astype(int), axis=0)])
y = np.append(train.y, np.repeat(poison.y, poison.count.astype(int)))
fig, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
for axes, rows, labels, title in ((panels[0], train.X, train.y, "clean"), (panels[1], X, y, "poisoned")):
    model = LogisticRegression(C=0.25, max_iter=2000).fit(rows, labels)
    ConfusionMatrixDisplay.from_estimator(model, test.X, test.y, ax=axes, colorbar=False, cmap="Blues")
    axes.set_title(f"{title}: error {1 - model.score(test.X, test.y):.0%}")
fig.tight_layout()
