"""Every supported estimator of scikit-learn is described by the problem that it solved."""

import numpy as np
import pytest
from learner_cases import counts, dense
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from linpoison.core import CapabilityError, Dataset, InputError
from linpoison.learners import make_learner, translate_estimator
from linpoison.losses import Hinge, Logistic, Squared, SquaredHinge

TIGHT = {"tol": 1e-9, "max_iter": 200_000}
EXACT = {
    "svc hinge": (LinearSVC(loss="hinge", C=0.3, **TIGHT), Hinge(), "penalised"),
    "svc hinge, no intercept": (LinearSVC(loss="hinge", C=0.3, fit_intercept=False, **TIGHT), Hinge(), "no"),
    "svc squared": (LinearSVC(C=0.2, **TIGHT), SquaredHinge(), "penalised"),
    "libsvm": (SVC(kernel="linear", C=0.3, tol=1e-8), Hinge(), "free"),
    "logistic": (LogisticRegression(C=0.4, tol=1e-10, max_iter=5000), Logistic(), "free"),
    "logistic, no intercept": (
        LogisticRegression(C=0.4, fit_intercept=False, tol=1e-10, max_iter=5000), Logistic(), "no"
    ),
    "logistic liblinear": (LogisticRegression(C=0.4, solver="liblinear", tol=1e-10), Logistic(), "penalised"),
    "ridge": (RidgeClassifier(alpha=3.0, tol=1e-12), Squared(), "free"),
}  # fmt: skip


@pytest.mark.parametrize("make", [dense, counts])
@pytest.mark.parametrize("name", EXACT)
def test_refit_reproduces_the_estimator(name, make):
    data = make()
    estimator, loss, words = EXACT[name]
    estimator = estimator.fit(data.X, data.y)
    translated = translate_estimator(estimator, data.n)
    problem, model = translated.problem, translated.model
    assert problem.loss == loss
    assert f"{words} " in translated.note.replace("penalised intercept", "penalised  intercept")
    assert (problem.scaling, problem.n_reference) == ("sum", data.n)
    refit = make_learner(problem).fit(data)
    assert problem.value(model, data) == pytest.approx(problem.value(refit, data), rel=1e-6)
    np.testing.assert_allclose(refit.vector, model.vector, atol=1e-3)
    np.testing.assert_allclose(model.decision_function(data.X), estimator.decision_function(data.X), atol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_refit_on_more_rows_follows_the_fixed_constant(name):
    """The estimator refitted on twice the rows agrees with the problem translated on half of them."""
    data = dense()
    estimator, _, _ = EXACT[name]
    problem = translate_estimator(estimator.fit(data.X, data.y), data.n).problem
    more = data.mix(dense(seed=8))
    twin = translate_estimator(estimator.fit(more.X, more.y), more.n).model
    np.testing.assert_allclose(make_learner(problem).fit(more).vector, twin.vector, atol=1e-3)


@pytest.mark.parametrize("average", [False, 80_000])
@pytest.mark.parametrize(
    ("name", "loss", "factor"),
    [
        ("hinge", Hinge(), 1.0),
        ("log_loss", Logistic(), 1.0),
        ("squared_hinge", SquaredHinge(), 0.5),
        ("squared_error", Squared(), 1.0),
    ],
)
def test_sgd_comes_close_to_the_exact_minimiser(name, loss, factor, average):
    data = dense(n=400)
    sgd = SGDClassifier(
        loss=name, alpha=0.05, learning_rate="constant", eta0=2e-3, tol=None, max_iter=400, average=average,
        random_state=0,
    )  # fmt: skip
    translated = translate_estimator(sgd.fit(data.X, data.y), data.n)
    problem = translated.problem
    assert (problem.loss, problem.reg, problem.scaling) == (loss, pytest.approx(0.05 * factor), "mean")
    assert not problem.penalize_intercept
    assert "exact minimiser" in translated.note
    refit = make_learner(problem).fit(data)
    best, reached = problem.value(refit, data), problem.value(translated.model, data)
    assert best <= reached + 1e-9
    assert reached < best * 1.01
    assert refit.distance(translated.model) < 0.05 * np.linalg.norm(refit.vector)


def test_pipelines_hand_rows_to_the_last_step():
    data = dense()
    pipeline = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(with_std=False), EXACT["logistic"][0]))
    pipeline.fit(data.X, data.y)
    translated = translate_estimator(pipeline, data.n)
    rows = translated.transform(data.X)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(translated.model.decision_function(rows), pipeline.decision_function(data.X))
    refit = make_learner(translated.problem).fit(Dataset(rows, data.y))
    np.testing.assert_allclose(refit.vector, translated.model.vector, atol=1e-4)


def test_text_pipelines_take_text():
    texts, labels = ["buy now", "meet at noon", "buy cheap", "see you at noon"], ["spam", "ham", "spam", "ham"]
    pipeline = make_pipeline(CountVectorizer(), LinearSVC(loss="hinge")).fit(texts, labels)
    translated = translate_estimator(pipeline, 4)
    assert translated.classes == ("ham", "spam")
    scores = translated.model.decision_function(translated.transform(texts))
    np.testing.assert_allclose(scores, pipeline.decision_function(texts))


def test_without_a_pipeline_rows_stay_as_they_are():
    data = dense()
    translated = translate_estimator(LinearSVC(loss="hinge").fit(data.X, data.y), data.n)
    assert translated.transform(data.X) is data.X


@pytest.mark.parametrize("labels", [("a", "b"), (0, 1), (False, True)])
def test_classes_are_in_the_order_of_the_signs(labels):
    data = dense()
    y = np.array(labels)[(data.y > 0).astype(int)]
    estimator = LogisticRegression().fit(data.X, y)
    translated = translate_estimator(estimator, data.n)
    assert translated.classes == labels
    predicted = np.where(translated.model.predict(data.X) > 0, labels[1], labels[0])
    np.testing.assert_array_equal(predicted, estimator.predict(data.X))


@pytest.mark.parametrize(
    "estimator", [EXACT[name][0] for name in ("svc hinge", "libsvm", "logistic", "ridge")] + [SGDClassifier()], ids=str
)
def test_unfitted_is_refused(estimator):
    from sklearn.base import clone

    with pytest.raises(InputError, match="before fit"):
        translate_estimator(clone(estimator), 10)
    with pytest.raises(InputError, match="before fit"):
        translate_estimator(make_pipeline(StandardScaler(), clone(estimator)), 10)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LinearSVC(loss="hinge", intercept_scaling=2.0), "intercept_scaling"),
        (LinearSVC(penalty="l1"), "penalty"),
        (SVC(), "kernel"),
        (LogisticRegression(solver="liblinear", intercept_scaling=3.0), "intercept_scaling"),
        (LogisticRegression(C=np.inf), "finite C"),
        (LogisticRegression(solver="saga", l1_ratio=0.5, max_iter=5000, penalty="elasticnet"), "L2 penalty"),
        (LogisticRegression(solver="liblinear", penalty="l1"), "L2 penalty"),
        (SGDClassifier(loss="modified_huber"), "loss among"),
        (SGDClassifier(penalty="elasticnet"), "penalty"),
        (RidgeClassifier(positive=True), "positive"),
        (RidgeClassifier(alpha=0.0), "alpha"),
        (GaussianNB(), "LinearSVC, SVC"),
        (Perceptron(), "LinearSVC, SVC"),
        (make_pipeline(StandardScaler(), GaussianNB()), "LinearSVC, SVC"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
def test_what_no_problem_describes_is_refused(estimator, message):
    data = dense()
    with pytest.raises(CapabilityError, match=message):
        translate_estimator(estimator.fit(data.X, data.y), data.n)


def test_the_older_name_of_the_penalty_is_understood():
    data = dense()
    estimator = LogisticRegression(C=0.4).fit(data.X, data.y)
    estimator.penalty, estimator.l1_ratio = "l2", None
    assert translate_estimator(estimator, data.n).problem.reg == pytest.approx(1 / (0.4 * data.n))
    estimator.penalty = None
    with pytest.raises(CapabilityError, match="L2 penalty"):
        translate_estimator(estimator, data.n)


@pytest.mark.parametrize("estimator", [LinearSVC(loss="hinge"), SVC(kernel="linear"), RidgeClassifier()], ids=str)
def test_three_classes_are_refused(estimator):
    data = dense()
    with pytest.raises(CapabilityError, match="two classes"):
        translate_estimator(estimator.fit(data.X, np.arange(data.n) % 3), data.n)


def test_searches_are_read_at_their_best_estimator():
    data, grid = dense(), {"C": [0.1, 1.0]}
    search = GridSearchCV(LogisticRegression(), grid).fit(data.X, data.y)
    found = translate_estimator(search, data.n)
    assert found.problem.reg == pytest.approx(1 / (search.best_params_["C"] * data.n))
    with pytest.raises(CapabilityError, match=r"refit=False. Fit its estimator with best_params_"):
        translate_estimator(GridSearchCV(LogisticRegression(), grid, refit=False).fit(data.X, data.y), data.n)
    with pytest.raises(InputError, match="GridSearchCV before fit"):
        translate_estimator(GridSearchCV(LogisticRegression(), grid), data.n)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("estimator", "way"),
    [
        (LogisticRegressionCV(cv=2), r"LogisticRegression\(C=cv.C_\[0\]\)"),
        (RidgeClassifierCV(), r"RidgeClassifier\(alpha=cv.alpha_\)"),
        (CalibratedClassifierCV(LinearSVC(), cv=2), "hand in the classifier that was calibrated"),
        (GaussianNB(), "Audit a linear classifier"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_refusals_name_a_way_out(estimator, way):
    data = dense()
    with pytest.raises(CapabilityError, match=way):
        translate_estimator(estimator.fit(data.X, data.y), data.n)


def test_a_namesake_of_another_library_is_refused():
    fake = type("LinearSVC", (), {"coef_": np.ones((1, 2))})
    with pytest.raises(CapabilityError, match="Pipeline or search that ends in one"):
        translate_estimator(fake(), 10)
    with pytest.raises(InputError, match="n_train"):
        translate_estimator(LinearSVC(), 0)
