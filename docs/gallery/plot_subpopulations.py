"""
Who would be hurt
=================

A model whose average error hardly moves may be lost for one group of rows.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from linpoison.attacks.groups import LabelFlip
from linpoison.risk import Sample
from linpoison.subpopulations import ClusterMatch, EstimatorTrainer, study, three_parts

# %%
# Rows of the defender, of the attacker, and test rows; one attack for each cluster of rows.

X, y = load_digits(return_X_y=True)
parts = three_parts(Sample(X / 16, y), (0.4, 0.4, 0.2), seed=0)
trainer = EstimatorTrainer(LogisticRegression(max_iter=1000))
found = study(parts, ClusterMatch(n_clusters=8), LabelFlip(), trainer, alphas=[1.0], seeds=1)

# %%
# The damage to the group that is attacked, and to all others.

groups = found.at(1.0)
fig, axes = plt.subplots(figsize=(7, 3.5))
for place, group in enumerate(groups):
    hit, others = group.damage.target, group.damage.collateral
    axes.vlines(place, 100 * hit.low, 100 * hit.high, color="#D55E00")
    axes.plot(place, 100 * hit.value, "o", color="#D55E00", label="the group" if place == 0 else None)
    axes.plot(place, 100 * others.value, "s", color="#8A8F98", label="all others" if place == 0 else None)
axes.set_xticks(range(len(groups)), [group.name.replace("cluster ", "") for group in groups])
axes.set(xlabel="cluster", ylabel="points of accuracy lost")
axes.legend()
fig.tight_layout()
