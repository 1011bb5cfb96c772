"""
A defence is a feasible set
===========================

Two filters keep a ball and a slab of each class. Poison that lies inside of both turns the learned line all the same.
"""

import matplotlib.pyplot as plt
import numpy as np

from linpoison import Budget, Dataset, LinearClassifier, Problem, make_defense
from linpoison.attacks import KKT, Scenario
from linpoison.losses import Hinge

# %%
# Two clouds of rows in the plane, and two defences.

rng = np.random.default_rng(0)
y = np.repeat([-1.0, 1.0], 100)
X = rng.normal(size=(200, 2)) * [1.0, 2.0] + 1.5 * y[:, None] * [1.0, 0.3]
train = Dataset(X, y)
defences = {name: make_defense(name, remove=0.05) for name in ("l2", "slab")}

# %%
# The KKT attack looks for rows inside of the sets that make a worse model the learned one.

problem = Problem(Hinge(), reg=0.01, penalize_intercept=True)
scenario = Scenario(train, problem, Budget(0.1), defences, train)
poison = KKT(generations=1).run(scenario, seed=0).poison
clean = LinearClassifier("hinge", reg=0.01).fit(X, y)
rows = np.repeat(poison.X, poison.count.astype(int), axis=0)
labels = np.repeat(poison.y, poison.count.astype(int))
X_all, y_all = np.vstack([X, rows]), np.concatenate([y, labels])
poisoned = LinearClassifier("hinge", reg=0.01).fit(X_all, y_all)
print(f"{poison.total:.0f} rows at {poison.n_distinct} places")

# %%
# What both filters keep, fitted on clean rows and poison together as a defender would, is shaded; the cross is poison.

fitted = [defence.fit(X_all, y_all) for defence in defences.values()]
fig, axes = plt.subplots(figsize=(8, 5))
colours = {-1.0: "#D55E00", 1.0: "#0072B2"}
grid = np.stack(np.meshgrid(np.linspace(-6, 6, 300), np.linspace(-7, 7, 300)), axis=-1)
points = grid.reshape(-1, 2)
for label, colour in colours.items():
    inside = np.ones(len(points), dtype=bool)
    for defence in fitted:
        inside &= defence.feasible_set(label).contains(points)
    axes.contourf(grid[..., 0], grid[..., 1], inside.reshape(300, 300), [0.5, 1.5], colors=[colour], alpha=0.15)
    axes.scatter(*X[y == label].T, s=10, color=colour)
    axes.scatter(*rows[labels == label].T, s=140, marker="x", color=colour, linewidths=3)
for model, style, name in ((clean, "-", "learned from clean rows"), (poisoned, "--", "learned with poison")):
    w, b = model.coef_.ravel(), float(model.intercept_[0])
    height = np.linspace(-7, 7, 2)
    axes.plot(-(b + w[1] * height) / w[0], height, "k", linestyle=style, label=name)
axes.set(xlim=(-6, 6), ylim=(-7, 7), xlabel="first feature", ylabel="second feature")
axes.legend(loc="upper left")
fig.tight_layout()
