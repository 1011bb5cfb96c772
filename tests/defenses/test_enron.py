"""The defences on the word counts of the paper (LINPOISON_DATA)."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.core import Dataset
from linpoison.defender import Defender
from linpoison.defenses import DEFAULTS, make_defense
from linpoison.losses import Hinge, Problem

FOLDER = os.environ.get("LINPOISON_DATA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="LINPOISON_DATA is not set")


@pytest.fixture(scope="module")
def outcome():
    with np.load(Path(FOLDER) / "enron1.npz") as z:
        X = sp.csr_array((z["data"].astype(float), z["indices"], z["indptr"]), shape=tuple(z["shape"]))
        y, n = z["y"].astype(float), int(z["n_train"])
    train, test = Dataset(X[:n], y[:n]), Dataset(X[n:], y[n:])
    problem = Problem(Hinge(), 0.09, penalize_intercept=True)
    defender = Defender(train, problem, {name: make_defense(name) for name in DEFAULTS})
    return train, defender.score(None, {"test": test})


def test_clean_error(outcome):
    assert 0.028 <= outcome[1].error["test"]["none"] <= 0.0305


@pytest.mark.parametrize("name", DEFAULTS)
def test_keeps_95_percent_and_the_error(outcome, name):
    train, result = outcome
    keep = {label: round(0.95 * int((train.y == label).sum())) for label in (-1, 1)}
    removed = result.removed[name]
    for label, n_keep in keep.items():
        assert (train.y == label).sum() - (train.y[removed] == label).sum() == n_keep
    assert result.error["test"][name] < 0.04


def test_distance_between_the_means(outcome):
    """5.63 between the class means, from the reference program: the slab scores are in that unit."""
    train, result = outcome
    means = [np.asarray(train.of_class(label).X.mean(axis=0)).ravel() for label in (-1, 1)]
    length = np.linalg.norm(means[1] - means[0])
    assert length == pytest.approx(5.63, abs=0.005)
    along = train.X @ ((means[1] - means[0]) / length)
    offset = np.array([along[train.y == label].mean() for label in (-1, 1)])[(train.y > 0).astype(int)]
    np.testing.assert_allclose(result.scores["slab"], length * np.abs(along - offset), atol=1e-9)
