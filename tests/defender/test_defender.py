"""The defender's loop against the same steps written out."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

import linpoison.defender.defender as module
from linpoison.core import Dataset, InputError, Poison
from linpoison.defender import Defender
from linpoison.defenses import DEFAULTS, LossDefense, SVDDefense, make_defense
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem

PROBLEM = Problem(Logistic(), 0.05)


def sample(seed=0, n=80, weight=None):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    return Dataset(rng.normal(size=(n, 4)) + y[:, None], y, weight)


def poison():
    return Poison([[6.0, 6.0, 0.0, 0.0], [-3.0, 1.0, 0.0, 0.0]], [-1, 1], [5, 2])


def defender(train=None, problem=PROBLEM, names=DEFAULTS, **options):
    return Defender(train or sample(), problem, {name: make_defense(name, **options) for name in names})


@pytest.mark.parametrize("variant", ["paper", "reference"])
@pytest.mark.parametrize("name", DEFAULTS)
def test_is_fit_drop_retrain(name, variant):
    train, test = sample(), sample(1)
    outcome = defender(names=[name], variant=variant, remove=0.1).score(poison(), {"test": test, "train": train})
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
    outcome = defender().score(poison(), {"test": sample(1)})
    assert list(outcome.error["test"]) == ["none", *DEFAULTS]
    assert outcome.kept_fraction["none"] == outcome.kept_clean_fraction["none"] == 1.0
    assert outcome.removed["none"].size == 0
    assert "none" not in outcome.scores
    assert "none" not in outcome.thresholds


@pytest.mark.parametrize("nothing", [None, Poison(np.zeros((0, 4)), [], []), Poison(np.zeros((1, 4)), [1], [0])])
def test_without_poison(nothing):
    outcome = defender().score(nothing, {"test": sample(1)})
    assert set(outcome.kept_fraction.values()) == {None}
    assert outcome.n_poison == 0
    assert outcome.kept_clean_fraction["l2"] == 76 / 80


def test_worst_is_the_least_error_of_the_defences():
    outcome = defender().score(poison(), {"test": sample(1)})
    errors = {"none": 0.1, "l2": 0.4, "slab": 0.3}
    outcome = dataclasses.replace(outcome, error={"test": errors, "train": {"none": 0.2}})
    assert outcome.worst() == outcome.worst("test") == 0.3
    assert outcome.worst("train") == 0.2
    with pytest.raises(InputError, match="rows among test, train"):
        outcome.worst("validation")


def test_some_defences_only():
    outcome = defender().score(poison(), {"test": sample(1)}, ["knn"])
    assert list(outcome.models) == ["none", "knn"]
    alone = defender().score(poison(), {"test": sample(1)}, [])
    assert list(alone.models) == ["none"]
    assert alone.worst() == alone.error["test"]["none"]


class Counting:
    warm, fits = False, 0

    def __init__(self, problem):
        self.inner = make_learner(problem)

    def fit(self, data, start=None):
        Counting.fits += 1
        return self.inner.fit(data, start=start)


@pytest.fixture(autouse=True)
def count_from_zero():
    Counting.fits = 0


@pytest.mark.parametrize(("estimator", "fits"), [(None, 2), (PROBLEM, 2), (Problem(Hinge(), 0.05), 2)])
def test_the_loss_defence_shares_the_undefended_model(monkeypatch, estimator, fits):
    monkeypatch.setattr(module, "make_learner", Counting)
    test = Defender(sample(), PROBLEM, {"loss": LossDefense(estimator=estimator)})
    outcome = test.score(poison(), {"test": sample(1)})
    assert test.learner.fits == fits
    mixed = sample().mix(poison().expanded())
    loss = Hinge() if estimator is not None and estimator != PROBLEM else Logistic()
    model = make_learner(Problem(loss, 0.05)).fit(mixed)
    np.testing.assert_allclose(outcome.scores["loss"], loss.value(model.margins(mixed)), atol=1e-6)


def test_nothing_removed_is_not_retrained(monkeypatch):
    monkeypatch.setattr(module, "make_learner", Counting)
    test = defender(remove=0.0)
    outcome = test.score(poison(), {"test": sample(1)})
    assert test.learner.fits == 1
    assert set(outcome.kept_fraction.values()) == {1.0}


def test_fit_detector():
    test = defender()
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
    test = defender(names=["svd"])
    ranks = [test.fit_detector("svd", each).rank_ for each in (None, poison())]
    assert hints == [None, ranks[0]]


def test_weights_are_for_the_learner_and_a_row_is_one_row_to_a_defence():
    weight = np.where(np.arange(80) < 10, 3.5, 0.5)
    test = defender(sample(weight=weight), names=["l2"])
    outcome = test.score(poison(), {"test": sample(1)})
    plain = defender(sample(), names=["l2"]).fit_detector("l2", poison())
    np.testing.assert_array_equal(test.fit_detector("l2", poison()).sample_indices_, plain.sample_indices_)
    mixed = sample(weight=weight).mix(poison().expanded())
    want = make_learner(PROBLEM).fit(mixed.take(plain.sample_indices_))
    assert outcome.models["l2"].distance(want) < 1e-4


def test_sum_scaling_is_the_learners():
    problem = dataclasses.replace(PROBLEM, scaling="sum", n_reference=40)
    outcome = defender(problem=problem, names=["l2"]).score(poison(), {"test": sample(1)})
    mixed = sample().mix(poison().expanded())
    assert outcome.models["none"].distance(make_learner(problem).fit(mixed)) < 1e-8
    assert outcome.models["none"].distance(make_learner(PROBLEM).fit(mixed)) > 1e-3


def test_sparse_rows_stay_sparse():
    train = sample()
    sparse = dataclasses.replace(train, X=sp.csr_array(train.X))
    a = defender(train, remove=0.1).score(poison(), {"test": sample(1)})
    b = defender(sparse, remove=0.1).score(poison(), {"test": sample(1)})
    for name in DEFAULTS:
        np.testing.assert_allclose(a.scores[name], b.scores[name], atol=1e-4)


def test_failures():
    with pytest.raises(InputError, match="names of defences other than 'none'"):
        Defender(sample(), PROBLEM, {"none": make_defense("l2")})
    test = defender(names=["l2"])
    with pytest.raises(InputError, match="a defence among l2, got 'svd'"):
        test.score(None, {}, ["svd"])
    with pytest.raises(InputError, match="a defence among l2"):
        test.fit_detector("knn")
    with pytest.raises(InputError, match="whole copies"):
        test.score(Poison(np.zeros((1, 4)), [1], [0.5]), {})
    with pytest.raises(InputError, match="rows of 4 features"):
        test.score(Poison(np.zeros((1, 3)), [1], [1]), {})
    one = Defender(sample().of_class(1.0), PROBLEM, {"slab": make_defense("slab")})
    with pytest.raises(InputError, match="rows of both classes"):
        one.fit_detector("slab")
    tiny = defender(sample(n=4), names=["l2"], remove=0.8)
    with pytest.raises(InputError, match=r"at least one row kept of each class.*class -1"):
        tiny.score(None, {"test": sample(1)})


def test_defenders_that_share_their_memory_learn_nothing_twice():
    rows, made = {"test": sample(1)}, None

    def score(train, found=None, problem=PROBLEM):
        nonlocal made
        made = Defender(train, problem, {"l2": make_defense("l2")}, Counting(problem), like=made)
        return made.score(found, rows)

    first = score(sample(), poison())
    assert Counting.fits == 2
    again = score(sample(), poison())
    assert Counting.fits == 2
    assert again.error == first.error == defender(names=["l2"]).score(poison(), rows).error
    heavy = score(sample(weight=np.where(np.arange(80) < 8, 5.0, 1.0)), poison())  # the same rows and the same filter
    assert Counting.fits == 4
    assert heavy.models["none"].distance(first.models["none"]) > 1e-3
    score(sample(), poison(), Problem(Logistic(), 0.06))
    assert Counting.fits == 6
    for _ in range(2):
        score(sample(), None)
        assert Counting.fits == 8


def test_another_learner_shares_what_is_known_of_the_rows_and_no_model():
    one = defender(names=["knn"])
    one.score(poison(), {"test": sample(1)})
    other = one.by(Counting(Problem(Hinge(), 0.5)))
    assert other.memory is one.memory
    for times in (1, 2):
        outcome = other.score(poison(), {"test": sample(1)})
        assert Counting.fits == 2 * times
        assert outcome.models["none"].distance(one.open(poison()).model("none")) > 1e-3


def test_defences_that_are_held_keep_the_rows_of_least_scores():
    train, guards = sample(), {"svd": make_defense("svd", remove=0.1), "l2": make_defense("l2", remove=0.1)}
    held = Defender(train, PROBLEM, guards).holding(poison())
    assert list(held.held) == ["svd"]
    other = Poison([[6.0, 6.0, 0.0, 0.0], [0.0, 9.0, 0.0, 0.0]], [-1, 1], [3, 2])
    fitted, mixed = held.fit_detector("svd", poison()), train.mix(other.expanded())
    scores = fitted.decision_function(mixed.X, mixed.y)
    want = np.concatenate([
        rows[np.argsort(scores[rows], kind="stable")[: rows.size - fitted.n_dropped(rows.size)]]
        for rows in (np.flatnonzero(mixed.y == label) for label in (-1, 1))
    ])  # fmt: skip
    np.testing.assert_array_equal(held.open(other).kept("svd"), np.sort(want))
    plain = Defender(train, PROBLEM, guards).open(other)
    np.testing.assert_array_equal(held.open(other).kept("l2"), plain.kept("l2"))
    assert held.open(other).model("l2").distance(plain.model("l2")) < 1e-9


def test_a_poison_that_is_scored_again_at_once_fits_no_defence_again(monkeypatch):
    fitted = []
    plain = SVDDefense.fit_beside
    monkeypatch.setattr(SVDDefense, "fit_beside", lambda self, *given: fitted.append(1) or plain(self, *given))
    train, guards = sample(), {"svd": SVDDefense()}
    one = Defender(train, PROBLEM, guards)
    two = Defender(train, PROBLEM, guards, like=one)
    other = Poison([[9.0, 0.0, 0.0, 0.0]], [-1], [7])
    first = one.score(poison(), {"test": sample(1)})
    again = two.score(poison(), {"test": sample(1)})
    assert len(fitted) == 1
    assert again.error == first.error
    np.testing.assert_array_equal(again.removed["svd"], first.removed["svd"])
    moved = two.score(other, {"test": sample(1)})
    assert len(fitted) == 2
    alone = Defender(train, PROBLEM, {"svd": SVDDefense()}).score(other, {"test": sample(1)})
    np.testing.assert_array_equal(moved.removed["svd"], alone.removed["svd"])
