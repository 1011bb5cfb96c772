"""
Embeddings of pictures
======================

The last layer of a network on features that are held fixed is a linear classifier like any other.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import linpoison

# %%
# Two classes of CIFAR-10 pictures as features of EfficientNet.


with np.load(Path(os.environ["LINPOISON_DATA"]) / "cifar10_small_effnet.npz") as cifar:
    X, y = cifar["X_train"].astype(float), cifar["y_train"]
    X_test, y_test = cifar["X_test"].astype(float), cifar["y_test"]
rows, test_rows = np.flatnonzero(y < 2)[:600], np.flatnonzero(y_test < 2)[:300]
scale = X.std()
report = linpoison.audit(
    (X[rows] / scale, y[rows], X_test[test_rows] / scale, y_test[test_rows]),
    model="logistic", reg=0.1, domain="range", defenses="l2,loss", epsilon=0.03,
    attacks="random-flips,breakdown", target="split:0.5", jobs=1,
)  # fmt: skip
print(report.verdict)

# %%
# How many rows it takes.

fig, axes = plt.subplots(figsize=(6, 3.5))
axes.step(
    [point["rows"] for point in report.curve], [100 * point["test_error"] for point in report.curve], where="post"
)
axes.set(xlabel="poison rows", ylabel="error behind both filters (%)", ylim=(0, None))
fig.tight_layout()
