"""
The researcher: a theory and its measurement
============================================

Which models can poison plant at all, how close do attacks come to what is possible, and does an idea of one's own do
more?
"""

from dataclasses import dataclass
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np

import linpoison
from linpoison import Dataset, LinearModel, Poison, Problem
from linpoison.attacks import Attack, DecoyCanceler
from linpoison.attacks.ranking import candidate
from linpoison.certificates.theory import reachability_threshold
from linpoison.learners import make_learner
from linpoison.losses import Logistic
from linpoison.sets import Box, ByLabel

# %%
# A threshold in closed form
# --------------------------
#
# Without a filter, a model is the learned one on clean rows and poison iff the poison weighs at least a threshold.
# Gradient canceling moves two rows until the gradient at the model is as short as it gets: it falls in a line to zero.

rng = np.random.default_rng(0)
y = np.repeat([-1.0, 1.0], 100)
rows = Dataset(rng.normal(size=(200, 2)) + 1.5 * y[:, None], y)
problem = Problem(Logistic(), reg=0.01)
learned = make_learner(problem).fit(rows)
wrong = LinearModel(-0.3 * learned.coef, 0.0)
threshold = reachability_threshold(problem, wrong, rows).epsilon
anywhere = Box(np.full(2, -np.inf), np.full(2, np.inf))
shares = threshold * np.array([0.5, 0.7, 0.9, 1.0, 1.1, 1.3])
anywhere = ByLabel({1: anywhere, -1: anywhere})
draw = np.random.default_rng
found = [DecoyCanceler().solve(wrong, rows, problem, anywhere, share, draw(0)) for share in shares]
fig, axes = plt.subplots(figsize=(6, 3.5))
axes.plot(shares / threshold, [one.residual for one in found], "o-", color="#D55E00")
axes.axvline(1, color="k", linestyle="--", label="threshold")
axes.set(xlabel="weight of the poison / threshold", ylabel="gradient that is left")
axes.legend()
fig.tight_layout()

# %%
# An attack and a proof
# ---------------------
#
# Behind filters that are held fixed, a certificate says what no poison exceeds. Ridge regression is the case in which
# attack and certificate meet.

bracket = linpoison.certify(
    "gaussians", model="ridge", reg=0.1, defenses="l2", epsilon=[0.01, 0.03], attacks="influence", jobs=1
)
for rung in bracket.rungs:
    print(f"{rung['epsilon']:.0%}: at least {rung['attack_error']:.1%}, at most {rung['bound']:.1%}")

# %%
# An attack of one's own
# ----------------------
#
# It is told the question and proposes poison; what that is worth is measured by training anew behind each filter, as it
# is for all others. This one copies the clean row that the model is least sure of, with the other label.


@dataclass(frozen=True)
class Unsure(Attack):
    """Copies of the row nearest to the boundary."""

    name: ClassVar[str] = "unsure"

    def _search(self, scenario, run):
        train = scenario.train
        distance = np.abs(make_learner(scenario.problem).fit(train).decision_function(train.X))
        nearest = int(distance.argmin())
        poison = Poison(train.X[[nearest]], [-train.y[nearest]], [scenario.n_poison])
        return [candidate(run.started, scenario, poison, label="copies of the least sure row")]


# %%
# Beside two of the library, on rows that the attacks saw and on rows that they did not.

for attack in (Unsure(), "random-flips", "breakdown"):
    report = linpoison.audit(
        "gaussians", attacks=[attack], defenses="l2", domain="real", target="split:0.5", jobs=1
    )  # fmt: skip
    found = report.strongest
    print(f"{found.name:14} seen {found.test_error['l2']:.1%}, unseen {found.unseen_test_error['l2']:.1%}")
