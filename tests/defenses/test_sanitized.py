"""The meta-estimator, by scikit-learn's own checks."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from linpoison.defenses import KNNDefense, L2Defense, SanitizedClassifier, make_defense
from linpoison.losses import Hinge, Problem


@parametrize_with_checks([SanitizedClassifier()])
def test_scikit_learn(estimator, check):
    check(estimator)


def blobs(seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(["no", "yes"], 40)
    X = rng.normal(size=(80, 3)) + 3.0 * (y == "yes")[:, None]
    X[:2] = 40.0  # two outliers labelled "no"
    return X, y


@pytest.mark.parametrize("name", ["l2", "slab", "loss", "svd", "knn"])
def test_trains_on_what_the_defence_keeps(name):
    X, y = blobs()
    defense = make_defense(name, problem=Problem(Hinge(), 0.1))
    model = SanitizedClassifier(defense, LinearSVC(random_state=0)).fit(X, y)
    kept = defense.fit(X, y).sample_indices_
    np.testing.assert_array_equal(model.sample_indices_, kept)
    assert kept.size == 76
    alone = LinearSVC(random_state=0).fit(X[kept], y[kept])
    np.testing.assert_allclose(model.decision_function(X), alone.decision_function(X))
    assert model.predict(X).tolist() == alone.predict(X).tolist()


def test_defaults():
    X, y = blobs()
    model = SanitizedClassifier().fit(X, y)
    assert isinstance(model.defense_, L2Defense)
    assert isinstance(model.estimator_, LogisticRegression)
    assert not set(model.sample_indices_) & {0, 1}
    assert model.predict_proba(X).shape == (80, 2)
    assert model.score(X[2:], y[2:]) > 0.95


def test_methods_are_those_of_the_estimator():
    assert hasattr(SanitizedClassifier(), "predict_proba")
    svm = SanitizedClassifier(estimator=LinearSVC())
    assert hasattr(svm, "decision_function")
    assert not hasattr(svm, "predict_proba")


def test_frames_and_sparse():
    X, y = blobs()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = SanitizedClassifier().fit(frame, pd.Series(y))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    sparse = SanitizedClassifier().fit(sp.csr_array(X), y)
    np.testing.assert_allclose(sparse.decision_function(sp.csr_array(X)), model.decision_function(frame), atol=1e-3)


def test_parameters_of_the_parts_can_be_searched():
    X, y = blobs()
    grid = {"defense__remove": [0.0, 0.1], "estimator__C": [0.1, 1.0]}
    search = GridSearchCV(SanitizedClassifier(KNNDefense(), LinearSVC(random_state=0)), grid, cv=2).fit(X, y)
    assert set(search.best_params_) == set(grid)
