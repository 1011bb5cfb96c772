"""
Find rows that look planted
===========================

Several detectors look at every row, and one ranking combines what they say.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

import linpoison

# %%
# Clean rows, and among them twelve copies of a far row and eight rows with a flipped label.

clean = linpoison.load("breast_cancer").train
flipped = np.arange(8)
X = np.vstack([clean.X, np.repeat(clean.X[[5]] * 2.5, 12, axis=0)])
y = np.append(clean.y, np.full(12, -clean.y[5]))
y[flipped] *= -1
planted = np.append(flipped, np.arange(clean.n, len(y)))
report = linpoison.inspect((X, y), top=20)
named = [entry["row"] for entry in report.suspects]
print(f"{np.isin(named, planted).sum()} of 20 planted rows are among the first 20")
for entry in report.suspects[:3]:
    print(entry["row"], "; ".join(entry["reasons"]))

# %%
# Circles are the rows that it names, crosses those that were planted.

flat = PCA(2).fit_transform(X)
fig, axes = plt.subplots(figsize=(7, 4.5))
axes.scatter(*flat.T, s=8, c=np.where(y > 0, "#0072B2", "#D55E00"), alpha=0.5)
axes.scatter(*flat[named].T, s=120, facecolors="none", edgecolors="k", label="named")
axes.scatter(*flat[planted].T, s=50, marker="x", color="k", label="planted")
axes.set(xlabel="first principal component", ylabel="second")
axes.legend()
fig.tight_layout()
