"""Outlier detectors and samplers as defences, against the detectors and samplers themselves."""

import numpy as np
import pytest
import scipy.sparse as sp
from foreign import EveryOther, LargestEntry, Repeating, Silent
from imblearn.under_sampling import EditedNearestNeighbours, RandomUnderSampler
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from linpoison.core import CapabilityError, InputError
from linpoison.defenses import DetectorDefense, L2Defense, SamplerDefense, as_defense, tried


def rows(seed=0, n=80):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 4 == 0, 1, -1)
    return rng.normal(size=(n, 3)) + y[:, None], y


DETECTORS = [
    IsolationForest(n_estimators=20, random_state=3),
    LocalOutlierFactor(novelty=True, n_neighbors=5),
    OneClassSVM(),
    KernelDensity(),
    EllipticEnvelope(random_state=0),
    make_pipeline(StandardScaler(), OneClassSVM()),
]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda each: type(each).__name__)
def test_the_strangest_of_each_class_go(detector):
    X, y = rows()
    defense = as_defense(detector, remove=0.1).fit(X, y)
    for label, dropped in ((1, 2), (-1, 6)):
        members = np.flatnonzero(y == label)
        scores = -detector.fit(X[members]).score_samples(X[members])
        np.testing.assert_array_equal(defense.decision_scores_[members], scores)
        gone = members[np.argsort(scores)[-dropped:]]
        assert set(gone) == set(members) - set(defense.sample_indices_)
        np.testing.assert_array_equal(defense.decision_function(X[members], y[members]), scores)
    with pytest.raises(CapabilityError, match="feasible set is convex, got DetectorDefense. An attack meets it by "):
        defense.feasible_set(1)
    assert not defense.has_convex_set


def test_draws_are_the_same_each_time():
    X, y = rows()
    np.random.seed(1)  # noqa: NPY002
    first = as_defense(IsolationForest(n_estimators=5)).fit(X, y).decision_scores_
    np.random.seed(2)  # noqa: NPY002
    assert (as_defense(IsolationForest(n_estimators=5)).fit(X, y).decision_scores_ == first).all()
    kept = as_defense(RandomUnderSampler()).fit(X, y).sample_indices_
    assert (as_defense(RandomUnderSampler()).fit(X, y).sample_indices_ == kept).all()


@pytest.mark.parametrize("sampler", [EveryOther(), EditedNearestNeighbours(), RandomUnderSampler(random_state=0)])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_a_sampler_keeps_what_it_keeps(sampler, container):
    X, y = rows()
    defense = as_defense(sampler).fit(container(X), y)
    sampler.fit_resample(X, y)
    kept = np.sort(sampler.sample_indices_)
    assert 0 < kept.size < 80
    np.testing.assert_array_equal(defense.sample_indices_, kept)
    np.testing.assert_array_equal(np.flatnonzero(defense.decision_scores_ == 0), kept)
    assert defense.thresholds_ == {-1: 0.0, 1: 0.0}
    with pytest.raises(CapabilityError, match="a defence that scores rows, got a sampler"):
        defense.decision_function(X, y)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (LogisticRegression(), "LogisticRegression without score_samples or fit_resample"),
        (LocalOutlierFactor(), "LocalOutlierFactor without score_samples .* novelty=True"),
        (IsolationForest, "got the class IsolationForest. Pass an instance"),
        (3, "a defence: an object of linpoison.defenses.Defense, an outlier detector, or a sampler, got 3"),
    ],
)
def test_what_is_no_defence_is_refused(thing, words):
    with pytest.raises(InputError, match=words):
        as_defense(thing)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (Silent(), "a sampler that tells in sample_indices_ which rows it keeps, got Silent, which does not"),
        (Repeating(), "a sampler that drops rows, got Repeating, which repeats some"),
        (LargestEntry(scale="wide"), r"a defence mine that can be fitted on the rows, got .*Error"),
        (LargestEntry(scale=float("nan")), r"80 decision_scores_ of mine .*, got shape \(80,\) with 80 NaN"),
        (EllipticEnvelope(support_fraction=2.0), "support_fraction"),
    ],
)
def test_what_it_lacks_is_told_at_the_trial(thing, words):
    X, y = rows()
    with pytest.raises(InputError, match=words):
        tried("mine", as_defense(thing), X, y)


class Careless(LargestEntry):
    """Keeps rows in any order."""

    def _finish(self, X, codes):
        super()._finish(X, codes)
        self.sample_indices_ = self.sample_indices_[::-1]
        return self


class Halved(LargestEntry):
    """Has no threshold for one class."""

    def _finish(self, X, codes):
        super()._finish(X, codes)
        del self.thresholds_[1]
        return self


def test_a_trial_holds_a_defence_to_its_word():
    X, y = rows()
    assert tried("mine", LargestEntry(), X, y).sample_indices_.size == 76
    with pytest.raises(InputError, match="sample_indices_ of mine as row numbers, ascending, each once"):
        tried("mine", Careless(), X, y)
    with pytest.raises(InputError, match=r"got shape \(80,\) with 0 NaN, and no threshold of \[1\]"):
        tried("mine", Halved(), X, y)


def test_parameters_are_those_of_the_detector_and_clones_are_equal():
    made = as_defense(OneClassSVM(nu=0.2), remove=0.1)
    assert made.get_params()["detector__nu"] == 0.2
    assert (made.title, as_defense(EveryOther()).title, L2Defense().title) == ("OneClassSVM", "EveryOther", "L2Defense")
    assert isinstance(made, DetectorDefense)
    assert isinstance(as_defense(EveryOther()), SamplerDefense)
