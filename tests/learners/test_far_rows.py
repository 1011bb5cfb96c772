"""The hinge loss where some rows are a hundred thousand times as long as the others, as far poison rows are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from linpoison.core import Dataset, LinearModel
from linpoison.datasets import counts
from linpoison.learners import HingeLearner
from linpoison.learners.svm_warm import warm_hinge
from linpoison.losses import Hinge, Problem

PROBLEM = Problem(Hinge(), reg=0.09)


@pytest.fixture(scope="module")
def dragged() -> Dataset:
    """Word counts with copies of a row of length 500 in each class, and one row 600 times as long behind each."""
    train = counts(n=300, d=400, seed=3).train
    rng = np.random.default_rng(0)
    near = rng.integers(0, 60, size=(2, train.d)).astype(float)
    far = 600.0 * near
    X = np.vstack([near[[0] * 7], near[[1] * 7], far])
    return train.mix(Dataset(X, np.repeat([1.0, -1.0, 1.0, -1.0], [7, 7, 1, 1])))


@pytest.mark.parametrize("penalize", [True, False])
def test_the_duality_gap_closes_from_nothing(dragged: Dataset, penalize: bool) -> None:
    problem = replace(PROBLEM, penalize_intercept=penalize)
    found = warm_hinge(problem, dragged, LinearModel(np.zeros(dragged.d)))
    assert found.gap <= 1e-9 * found.value


def test_the_learner_needs_neither_thousands_of_passes_nor_a_conic_solver(
    dragged: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = warm_hinge(PROBLEM, dragged, LinearModel(np.zeros(dragged.d)))
    learner = HingeLearner(PROBLEM)
    learner.first_passes, learner.max_iter = 2, 2
    monkeypatch.setattr("linpoison.learners.svm.ReferenceLearner", None)
    assert PROBLEM.value(learner.fit(dragged), dragged) == pytest.approx(best.value, rel=1e-8)
