"""What follows from the clean rows alone is computed once in an audit, whatever the number of attacks and steps."""

import numpy as np
import pytest
from small_attacks import SMALL

import linpoison
from linpoison.core import Dataset
from linpoison.defender import Defender
from linpoison.defenses import SVDDefense
from linpoison.defenses.neighbors import Neighbors
from linpoison.learners import HingeLearner


def rows(n, seed):
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 1, -1)
    return rng.normal(size=(n, 4)) + 0.8 * y[:, None], y


@pytest.fixture
def counted(monkeypatch):
    """How often neighbours, subspaces and models of the clean rows alone are computed."""
    seen = {"neighbors": 0, "subspaces": 0, "models": 0}
    X, _ = rows(120, 0)

    def counting(kind, name, owner, data_of):
        original = getattr(owner, name)

        def counted(*args, **kwargs):
            seen[kind] += np.array_equal(data_of(*args), X)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    counting("neighbors", "__post_init__", Neighbors, lambda self: self.X)
    counting("subspaces", "_fit_detector", SVDDefense, lambda self, X, codes: X)
    counting("models", "_fit", HingeLearner, lambda self, data, start: data.X)
    return seen


def test_an_audit_computes_what_follows_from_the_clean_rows_once(counted):
    data = (*rows(120, 0), *rows(60, 1))
    attacks = [SMALL[name] for name in ("random-flips", "alfa", "kkt")]
    report = linpoison.audit(data, attacks=attacks, defenses="l2,svd,knn", domain="real", jobs=1)
    assert len(report.attacks) == 3
    # the subspace once more where the report fixes filters on the clean rows, to say what stops the poison
    assert counted == {"neighbors": 1, "subspaces": 2, "models": 1}


def defender(X, y, reg=0.1, like=None, weight=None):
    return Defender(Dataset(X, y, weight), linpoison.losses.Problem(linpoison.losses.Hinge(), reg), {}, like=like)


def test_what_is_known_is_about_equal_rows_only():
    X, y = rows(30, 0)
    one = defender(X, y)
    assert defender(X.copy(), -y, like=one).memory is one.memory
    assert defender(X[:-1], y[:-1], like=one).memory is not one.memory
    assert defender(X + 1e-9, y, like=one).memory is not one.memory


def test_a_model_is_of_rows_labels_weights_and_learner():
    X, y = rows(30, 0)
    one = defender(X, y)
    model = one.clean_model()
    assert defender(X, y, like=one).clean_model() is model
    heavy = defender(X, y, like=one, weight=1.0 + (np.arange(30) < 5))
    assert not np.allclose(heavy.clean_model().coef, model.coef)
    assert not np.allclose(defender(X, y, 0.2, like=one).clean_model().coef, model.coef)
