"""The defender's loop against the same steps written out."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

import linpoison.evaluation.evaluator as module
from linpoison.core import Dataset, InputError, Poison
from linpoison.defenses import DEFAULTS, LossDefense, SVDDefense, make_defense
from linpoison.defenses.known import CleanFacts
from linpoison.evaluation import Evaluator
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem

PROBLEM = Problem(Logistic(), 0.05)


def sample(seed=0, n=80, weight=None):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    return Dataset(rng.normal(size=(n, 4)) + y[:, None], y, weight)


def poison():
    return Poison([[6.0, 6.0, 0.0, 0.0], [-3.0, 1.0, 0.0, 0.0]], [-1, 1], [5, 2])


def evaluator(train=None, problem=PROBLEM, names=DEFAULTS, **options):
    return Evaluator(train or sample(), problem, {name: make_defense(name, **options) for name in names})


@pytest.mark.parametrize("variant", ["paper", "reference"])
@pytest.mark.parametrize("name", DEFAULTS)
def test_is_fit_drop_retrain(name, variant):
    train, test = sample(), sample(1)
    outcome = evaluator(names=[name], variant=variant, remove=0.1).score(poison(), {"test": test, "train": train})
    mixed = train.mix(poison().expanded())
    defense = make_defense(name, variant=variant, remove=0.1, problem=PROBLEM).fit(mixed.X, mixed.y)
    kept = defense.sample_indices_
    model = make_learner(PROBLEM).fit(mixed.take(kept))
    assert outcome.models[name].distance(model) < 1e-5
    assert outcome.error["test"][name] == model.error(test)
    assert outcome.error["train"][name] == model.error(train)
    assert outcome.error["test"]["none"] == make_learner(PROBLEM).fit(mixed).error(test)
    assert outcome.kept_fraction[name] == (kept >= 80).sum() / 7
    assert outcome.kept_clean_fraction[name] == (kept < 80).sum() / 80
    np.testing.assert_array_equal(outcome.removed[name], np.setdiff1d(np.arange(87), kept))
    np.testing.assert_allclose(outcome.scores[name], defense.decision_scores_, atol=1e-6)
    assert outcome.thresholds[name] == pytest.approx(defense.thresholds_, abs=1e-6)
    assert outcome.n_poison == 7


def test_undefended():
    outcome = evaluator().score(poison(), {"test": sample(1)})
    assert list(outcome.error["test"]) == ["none", *DEFAULTS]
    assert outcome.kept_fraction["none"] == outcome.kept_clean_fraction["none"] == 1.0
    assert outcome.removed["none"].size == 0
    assert "none" not in outcome.scores
    assert "none" not in outcome.thresholds


@pytest.mark.parametrize("nothing", [None, Poison(np.zeros((0, 4)), [], []), Poison(np.zeros((1, 4)), [1], [0])])
def test_without_poison(nothing):
    outcome = evaluator().score(nothing, {"test": sample(1)})
    assert set(outcome.kept_fraction.values()) == {None}
    assert outcome.n_poison == 0
    assert outcome.kept_clean_fraction["l2"] == 76 / 80


def test_worst_is_the_least_error_of_the_defences():
    outcome = evaluator().score(poison(), {"test": sample(1)})
    errors = {"none": 0.1, "l2": 0.4, "slab": 0.3}
    outcome = dataclasses.replace(outcome, error={"test": errors, "train": {"none": 0.2}})
    assert outcome.worst() == outcome.worst("test") == 0.3
    assert outcome.worst("train") == 0.2
    with pytest.raises(InputError, match="rows among test, train"):
        outcome.worst("validation")


def test_some_defences_only():
    outcome = evaluator().score(poison(), {"test": sample(1)}, ["knn"])
    assert list(outcome.models) == ["none", "knn"]
    alone = evaluator().score(poison(), {"test": sample(1)}, [])
    assert list(alone.models) == ["none"]
    assert alone.worst() == alone.error["test"]["none"]


class Counting:
    warm = False

    def __init__(self, problem):
        self.inner, self.fits = make_learner(problem), 0

    def fit(self, data, start=None):
        self.fits += 1
        return self.inner.fit(data, start=start)


@pytest.mark.parametrize(("estimator", "fits"), [(None, 2), (PROBLEM, 2), (Problem(Hinge(), 0.05), 2)])
def test_the_loss_defence_shares_the_undefended_model(monkeypatch, estimator, fits):
    monkeypatch.setattr(module, "make_learner", Counting)
    test = Evaluator(sample(), PROBLEM, {"loss": LossDefense(estimator=estimator)})
    outcome = test.score(poison(), {"test": sample(1)})
    assert test.learner.fits == fits
    mixed = sample().mix(poison().expanded())
    loss = Hinge() if estimator is not None and estimator != PROBLEM else Logistic()
    model = make_learner(Problem(loss, 0.05)).fit(mixed)
    np.testing.assert_allclose(outcome.scores["loss"], loss.value(model.margins(mixed)), atol=1e-6)


def test_nothing_removed_is_not_retrained(monkeypatch):
    monkeypatch.setattr(module, "make_learner", Counting)
    test = evaluator(remove=0.0)
    outcome = test.score(poison(), {"test": sample(1)})
    assert test.learner.fits == 1
    assert set(outcome.kept_fraction.values()) == {1.0}


def test_fit_detector():
    test = evaluator()
    outcome = test.score(poison(), {"test": sample(1)})
    for name in DEFAULTS:
        detector = test.fit_detector(name, poison())
        np.testing.assert_allclose(detector.decision_scores_, outcome.scores[name], atol=1e-9)
        assert detector.thresholds_ == pytest.approx(outcome.thresholds[name], abs=1e-9)
    assert test.fit_detector("l2").decision_scores_.size == 80
    assert not hasattr(test.defenses["l2"], "decision_scores_")


def test_the_rank_of_one_poison_is_the_hint_for_the_next(monkeypatch):
    hints = []
    fit = SVDDefense.fit
    monkeypatch.setattr(SVDDefense, "fit", lambda self, X, y: hints.append(self.rank_hint) or fit(self, X, y))
    test = evaluator(names=["svd"])
    ranks = [test.fit_detector("svd", each).rank_ for each in (None, poison())]
    assert hints == [None, ranks[0]]


def test_weights_are_for_the_learner_and_a_row_is_one_row_to_a_defence():
    weight = np.where(np.arange(80) < 10, 3.5, 0.5)
    test = evaluator(sample(weight=weight), names=["l2"])
    outcome = test.score(poison(), {"test": sample(1)})
    plain = evaluator(sample(), names=["l2"]).fit_detector("l2", poison())
    np.testing.assert_array_equal(test.fit_detector("l2", poison()).sample_indices_, plain.sample_indices_)
    mixed = sample(weight=weight).mix(poison().expanded())
    want = make_learner(PROBLEM).fit(mixed.take(plain.sample_indices_))
    assert outcome.models["l2"].distance(want) < 1e-4


def test_sum_scaling_is_the_learners():
    problem = dataclasses.replace(PROBLEM, scaling="sum", n_reference=40)
    outcome = evaluator(problem=problem, names=["l2"]).score(poison(), {"test": sample(1)})
    mixed = sample().mix(poison().expanded())
    assert outcome.models["none"].distance(make_learner(problem).fit(mixed)) < 1e-8
    assert outcome.models["none"].distance(make_learner(PROBLEM).fit(mixed)) > 1e-3


def test_sparse_rows_stay_sparse():
    train = sample()
    sparse = dataclasses.replace(train, X=sp.csr_array(train.X))
    a = evaluator(train, remove=0.1).score(poison(), {"test": sample(1)})
    b = evaluator(sparse, remove=0.1).score(poison(), {"test": sample(1)})
    for name in DEFAULTS:
        np.testing.assert_allclose(a.scores[name], b.scores[name], atol=1e-4)


def test_failures():
    with pytest.raises(InputError, match="names of defences other than 'none'"):
        Evaluator(sample(), PROBLEM, {"none": make_defense("l2")})
    test = evaluator(names=["l2"])
    with pytest.raises(InputError, match="a defence among l2, got 'svd'"):
        test.score(None, {}, ["svd"])
    with pytest.raises(InputError, match="a defence among l2"):
        test.fit_detector("knn")
    with pytest.raises(InputError, match="whole copies"):
        test.score(Poison(np.zeros((1, 4)), [1], [0.5]), {})
    with pytest.raises(InputError, match="rows of 4 features"):
        test.score(Poison(np.zeros((1, 3)), [1], [1]), {})
    one = Evaluator(sample().of_class(1.0), PROBLEM, {"slab": make_defense("slab")})
    with pytest.raises(InputError, match="rows of both classes"):
        one.fit_detector("slab")
    tiny = evaluator(sample(n=4), names=["l2"], remove=0.8)
    with pytest.raises(InputError, match=r"at least one row kept of each class.*class -1"):
        tiny.score(None, {"test": sample(1)})


def test_evaluators_that_share_their_fits_learn_nothing_twice():
    learner, rows, fits = Counting(PROBLEM), {"test": sample(1)}, {}

    def score(train, found=None, problem=PROBLEM):
        one = Evaluator(train, problem, {"l2": make_defense("l2")}, learner, fits)
        return one.score(found, rows)

    first = score(sample(), poison())
    assert learner.fits == 2
    again = score(sample(), poison())
    assert learner.fits == 2
    assert again.error == first.error == evaluator(names=["l2"]).score(poison(), rows).error
    heavy = score(sample(weight=np.where(np.arange(80) < 8, 5.0, 1.0)), poison())  # the same rows and the same filter
    assert learner.fits == 4
    assert heavy.models["none"].distance(first.models["none"]) > 1e-3
    score(sample(), poison(), Problem(Logistic(), 0.06))
    assert learner.fits == 6
    score(sample(), None)
    assert learner.fits == 8


def test_a_poison_that_is_scored_again_at_once_fits_no_defence_again(monkeypatch):
    fitted = []
    plain = SVDDefense.fit_beside
    monkeypatch.setattr(SVDDefense, "fit_beside", lambda self, *given: fitted.append(1) or plain(self, *given))
    train, guards, fits = sample(), {"svd": SVDDefense()}, {}
    facts = CleanFacts(train.X)
    one, two = (Evaluator(train, PROBLEM, guards, fits=fits, facts=facts) for _ in range(2))
    other = Poison([[9.0, 0.0, 0.0, 0.0]], [-1], [7])
    first = one.score(poison(), {"test": sample(1)})
    again = two.score(poison(), {"test": sample(1)})
    assert len(fitted) == 1
    assert again.error == first.error
    np.testing.assert_array_equal(again.removed["svd"], first.removed["svd"])
    moved = two.score(other, {"test": sample(1)})
    assert len(fitted) == 2
    alone = Evaluator(train, PROBLEM, {"svd": SVDDefense()}).score(other, {"test": sample(1)})
    np.testing.assert_array_equal(moved.removed["svd"], alone.removed["svd"])
