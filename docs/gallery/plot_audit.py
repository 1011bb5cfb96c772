"""
Audit a classifier
==================

Poison for a fitted scikit-learn pipeline, past three filters, and the error behind each.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import linpoison

# %%
# The attacker may look at half of the test rows; the others show what carries over.

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
classifier = make_pipeline(StandardScaler(), LinearSVC(loss="hinge", C=0.01)).fit(X_train, y_train)
report = linpoison.audit(
    (X_train, y_train, X_test, y_test),
    estimator=classifier,
    epsilon=0.05,
    defenses="l2,slab,loss",
    target="split:0.5",
    attacks="breakdown",
    domain="real",
    jobs=1,
)

# %%
# Each pair of bars is one defender: without poison, and with the strongest that was found.

poisoned = report.strongest
names = list(poisoned.unseen_test_error)
clean = [100 * report.clean["unseen_by_defense"][name] for name in names]
fig, axes = plt.subplots(figsize=(7, 3.5))
axes.bar([place - 0.2 for place in range(len(names))], clean, 0.4, label="clean", color="#8A8F98")
errors = [100 * poisoned.unseen_test_error[name] for name in names]
axes.bar([place + 0.2 for place in range(len(names))], errors, 0.4, label="poisoned", color="#D55E00")
axes.set_xticks(range(len(names)), names)
axes.set_ylabel("error on unseen rows (%)")
axes.legend()
fig.tight_layout()

# %%
# ``report.save("folder")`` writes the page, the figures as JSON and the poison.

print(f"{poisoned.n_poison} poison rows, {poisoned.n_distinct} of them distinct")
