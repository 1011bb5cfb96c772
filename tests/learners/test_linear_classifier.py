"""The scikit-learn face of the learners."""

import numpy as np
import pytest
import scipy.sparse as sp
from learner_cases import counts, dense
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from linpoison.core import InputError
from linpoison.learners import LinearClassifier, make_learner
from linpoison.losses import SmoothHinge


@parametrize_with_checks([LinearClassifier(loss="squared"), LinearClassifier()])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("loss", "peer"),
    [
        ("hinge", lambda C: LinearSVC(loss="hinge", C=C, tol=1e-8, max_iter=100_000)),
        ("squared_hinge", lambda C: LinearSVC(C=C / 2, tol=1e-8, max_iter=100_000)),
        ("logistic", lambda C: LogisticRegression(C=C, tol=1e-10, max_iter=1000)),
        ("squared", lambda C: RidgeClassifier(alpha=1 / C)),
    ],
)
def test_defaults_follow_scikit_learn(loss, peer):
    data = dense()
    model = LinearClassifier(loss=loss, reg=0.05).fit(data.X, data.y)
    twin = peer(1 / (0.05 * data.n)).fit(data.X, data.y)
    np.testing.assert_allclose(model.coef_.ravel(), twin.coef_.ravel(), atol=1e-4)
    np.testing.assert_allclose(model.intercept_, twin.intercept_, atol=1e-4)


def test_parameters_reach_the_problem():
    data = dense()
    free = LinearClassifier(reg=0.05, penalize_intercept=False).fit(data.X, data.y)
    twin = SVC(kernel="linear", C=1 / (0.05 * data.n), tol=1e-8).fit(data.X, data.y)
    np.testing.assert_allclose(free.coef_, twin.coef_, atol=1e-4)
    none = LinearClassifier("logistic", fit_intercept=False).fit(data.X, data.y)
    assert none.intercept_[0] == 0
    assert none.problem_.reg == 0.01
    slow = LinearClassifier(SmoothHinge(0.2), method="reference").fit(data.X, data.y)
    assert slow.model_.distance(make_learner(slow.problem_, method="reference").fit(data)) == 0
    assert slow.problem_.loss == SmoothHinge(0.2)


@pytest.mark.parametrize("labels", [("ham", "spam"), (0, 1), (False, True), (7.0, 9.0)])
def test_any_two_labels(labels):
    data = dense()
    y = np.array(labels)[(data.y > 0).astype(int)]
    model = LinearClassifier(reg=0.05).fit(data.X, y)
    assert model.classes_.tolist() == list(labels)
    assert model.coef_.shape == (1, data.d)
    assert model.intercept_.shape == (1,)
    signs = model.model_.predict(data.X)
    np.testing.assert_array_equal(model.predict(data.X) == labels[1], signs > 0)
    np.testing.assert_allclose(model.decision_function(data.X), model.model_.decision_function(data.X))


def test_weights_and_sparse_rows():
    data = counts()
    copies = np.random.default_rng(0).integers(0, 3, data.n)
    index = np.repeat(np.arange(data.n), copies)
    model = LinearClassifier("logistic").fit(sp.csr_matrix(data.X), data.y, sample_weight=copies)
    twin = LinearClassifier("logistic").fit(data.X[index].toarray(), data.y[index])
    np.testing.assert_allclose(model.coef_, twin.coef_, atol=1e-5)
    np.testing.assert_allclose(model.decision_function(data.X), twin.decision_function(data.X.toarray()), atol=1e-4)


def test_clone_and_cross_validation():
    data = dense()
    model = clone(LinearClassifier("smooth_hinge", 0.3, penalize_intercept=False))
    assert model.get_params()["reg"] == 0.3
    assert cross_val_score(model, data.X, data.y, cv=3).mean() > 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"loss": "zero_one"}, "a loss among"), ({"reg": -1.0}, "reg"), ({"method": "magic"}, "method")],
)
def test_bad_parameters_are_refused_in_fit(arguments, message):
    data = dense()
    with pytest.raises(InputError, match=message):
        LinearClassifier(**arguments).fit(data.X, data.y)


def test_wrong_numbers_of_classes_are_refused():
    data = dense()
    with pytest.raises(InputError, match="one class"):
        LinearClassifier().fit(data.X, np.ones(data.n))
    with pytest.raises(InputError, match="Only binary"):
        LinearClassifier().fit(data.X, np.arange(data.n) % 3)
