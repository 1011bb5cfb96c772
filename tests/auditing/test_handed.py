"""The estimator that is handed in is the model that is studied, or it is refused with the way out."""

import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, TargetEncoder
from sklearn.svm import LinearSVC

from linpoison import Poison, evaluate
from linpoison.auditing.inputs import prepare
from linpoison.auditing.options import LearnerOptions
from linpoison.core import CapabilityError

X, Y = make_classification(300, 4, n_informative=2, n_redundant=0, weights=[0.8], random_state=0)
DATA = (X[:200], Y[:200], X[200:], Y[200:])


def refused(estimator, data=DATA):
    with pytest.raises(CapabilityError) as caught:
        prepare(data, LearnerOptions(estimator=estimator))
    return str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_another_model_than_the_minimiser_is_refused_with_the_likeliest_reason():
    late = LogisticRegression(max_iter=1).fit(X[:200] * 50, Y[:200])
    told = refused(late, (X[:200] * 50, Y[:200], X[200:] * 50, Y[200:]))
    assert "raise its max_iter" in told
    assert f"test error of {100 * np.mean(late.predict(X[200:] * 50) != Y[200:]):.1f} %" in told
    weighted = LogisticRegression().fit(X[:200], Y[:200], sample_weight=np.where(Y[:200] == 1, 10.0, 1.0))
    assert "pass the same sample_weight=" in refused(weighted)
    elsewhere = LogisticRegression().fit(X[200:], 1 - Y[200:])
    assert "pass exactly these" in refused(elsewhere)
    assert "SGD stopped away" in refused(SGDClassifier(max_iter=1, random_state=0).fit(X[:200], Y[:200]))


@pytest.mark.filterwarnings("ignore")
def test_encoders_that_cross_fit_are_named():
    rng = np.random.default_rng(0)
    rows, y = np.c_[rng.integers(0, 60, 300), rng.normal(size=300)], rng.integers(0, 2, 300)
    encoder = ColumnTransformer([("t", TargetEncoder(random_state=0), [0])], remainder="passthrough")
    estimator = make_pipeline(encoder, LogisticRegression()).fit(rows[:200], y[:200])
    told = refused(estimator, (rows[:200], y[:200], rows[200:], y[200:]))
    assert "TargetEncoder" in told
    assert "fit the classifier on transform(X_train)" in told


def test_samplers_before_the_classifier_are_named():
    steps = (StandardScaler(), RandomOverSampler(random_state=0), LogisticRegression())
    told = refused(make_sampling_pipeline(*steps).fit(*DATA[:2]))
    assert "'randomoversampler' (RandomOverSampler)" in told
    assert "Resample the training rows first" in told
    assert "RandomOverSampler" in refused(make_sampling_pipeline(*steps[1:]).fit(*DATA[:2]))


def test_both_models_stand_in_the_report():
    search = GridSearchCV(make_pipeline(StandardScaler(), LinearSVC(random_state=0)), {"linearsvc__C": [0.1, 1.0]})
    search.fit(*DATA[:2])
    poison = Poison(X[:1], [1.0], [2.0])
    report = evaluate(DATA, poison, estimator=search, defenses="none")
    handed = report.model["handed_in"]
    assert handed["test_error"] == np.mean(search.predict(X[200:]) != Y[200:]) == report.clean["test_error"]
    assert handed["least_objective"] == pytest.approx(handed["objective"], rel=1e-3)
    assert any("exact minimiser, which is what is studied" in line for line in report.reading)
