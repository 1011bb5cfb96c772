"""
Embeddings of sentences
=======================

Linear classifiers are mostly trained on embeddings today. Each has length 1, and so has all that an attacker can plant.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

import linpoison

# %%
# Reviews, embedded by MiniLM; a few hundred of them, for the picture.

reviews = linpoison.load("reviews_minilm")
X, y = normalize(reviews.train.X[:500]), reviews.train.y[:500]
X_test, y_test = normalize(reviews.test.X[:300]), reviews.test.y[:300]
report = linpoison.audit(
    (X, y, X_test, y_test), model="logistic", domain="unit", defenses="l2,slab,loss", attacks="random-flips,breakdown",
    target="split:0.5", jobs=1,
)  # fmt: skip
print(report.verdict)

# %%
# Where the poison lies among the reviews.

poison = next(iter(report.poisons.values()))
plane = PCA(2).fit(X)
flat, planted = plane.transform(X), plane.transform(poison.X)
fig, axes = plt.subplots(figsize=(7, 4.5))
axes.scatter(*flat.T, s=8, c=np.where(y > 0, "#0072B2", "#D55E00"), alpha=0.5)
axes.scatter(*planted.T, s=40 + 8 * poison.count, c=np.where(poison.y > 0, "#0072B2", "#D55E00"), marker="x")
axes.set(xlabel="first principal component", ylabel="second")
fig.tight_layout()
