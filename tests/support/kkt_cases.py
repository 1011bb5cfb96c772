"""Problems for the tests of the KKT program, and its residual written out by hand."""

from __future__ import annotations

import numpy as np

from linpoison import load
from linpoison.attacks import FeasibleRegion, LabelFlipDecoys, Scenario, SetPolicy
from linpoison.core import Budget
from linpoison.datasets import counts
from linpoison.defenses import make_defense
from linpoison.losses import Hinge, Logistic, Problem
from linpoison.sets import Box, ByLabel

EPSILON = 0.06
LOSSES = {"hinge": Hinge(), "logistic": Logistic()}
REG = {"breast_cancer": 0.01, "digits17": 0.02, "counts": 0.05, "enron1": 0.09}


def split_of(name):
    return counts(n=120, d=25, contrast=0.7, length=20.0, seed=4) if name == "counts" else load(name)


def scenario_of(name, loss="hinge", epsilon=EPSILON, defenses=("l2", "slab", "loss"), **convention):
    split = split_of(name)
    problem = Problem(LOSSES[loss], REG.get(name, 0.05), **convention)
    guards = {guard: make_defense(guard, remove=0.05, problem=problem) for guard in defenses}
    return Scenario(split.train, problem, Budget(epsilon), guards, split.test)


def decoy_and_sets(scenario, quantile=0.3, repeats=3):
    """One decoy of Algorithm 3 and the sets of the defences fitted on clean rows."""
    grid = LabelFlipDecoys(quantiles=(quantile,), repeats=(repeats,))
    decoy = grid.generate(scenario.train, scenario.problem, scenario.target)[0].model
    return decoy, FeasibleRegion.fit(scenario, SetPolicy()).sets(decoy)


def everywhere(d):
    box = Box(np.full(d, -np.inf), np.full(d, np.inf))
    return ByLabel({1: box, -1: box})


def residual_by_hand(train, problem, decoy, poison, multipliers, kink_tolerance=1e-3):
    """Gradient of the objective times N / n, row by row, with multipliers for rows on the kink."""
    dense = train.X.toarray() if train.is_sparse else np.asarray(train.X)
    rows = np.vstack([np.column_stack([dense, np.ones(train.n)]), np.column_stack([poison.X, np.ones(poison.y.size)])])
    labels = np.concatenate([train.y, poison.y])
    weights = np.concatenate([train.weight, poison.count])
    margins = labels * (rows @ decoy.vector)
    if problem.loss.name == "hinge":
        pulls = (margins < 1).astype(float)
        on_kink = np.abs(margins[: train.n] - 1) <= kink_tolerance
        pulls[: train.n][on_kink] = multipliers
        pulls[train.n :] = 1.0
    else:
        pulls = 1 / (1 + np.exp(margins))
    gradient = -(rows * (weights * labels * pulls)[:, None]).sum(axis=0) / train.total
    penalised = decoy.vector.copy()
    penalised[-1] *= problem.penalize_intercept
    total = train.total + poison.total if problem.scaling == "mean" else problem.n_reference
    return gradient + problem.reg * total / train.total * penalised
