"""Class weights are those of scikit-learn, with the poison in: learners, defences, attacks and certificates."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.svm import SVC, LinearSVC
from small_attacks import SMALL

import linpoison
from linpoison import InputError, Poison
from linpoison.attacks import Breakdown, GradientCanceling, ModelTargeted
from linpoison.attacks.scenario import Scenario
from linpoison.auditing.inputs import prepare
from linpoison.auditing.options import LearnerOptions
from linpoison.auditing.trusted import trusted
from linpoison.certificates import Claim
from linpoison.cli import main
from linpoison.core import Budget, CapabilityError, Dataset, LinearModel
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge
from linpoison.sets import Ball, ByLabel

RNG = np.random.default_rng(5)
WORDS = np.where(np.arange(48) % 4 == 0, "spam", "ham")
SIGNS = np.where(WORDS == "spam", 1.0, -1.0)
X = RNG.normal(size=(48, 2)) + 0.9 * SIGNS[:, None]
DATA = (X, WORDS, X - 0.05, WORDS)
POISON = Poison([[2.5, 2.0], [-1.0, -2.0]], [-1.0, 1.0], [3.0, 2.0])
KINDS = {
    "logistic": LogisticRegression(C=0.3, tol=1e-9), "libsvm": SVC(kernel="linear", C=0.4, tol=1e-8),
    "ridge": RidgeClassifier(alpha=3.0), "squared hinge": LinearSVC(C=0.5, tol=1e-9, max_iter=100_000),
    "hinge": LinearSVC(loss="hinge", C=0.5, tol=1e-9, max_iter=1_000_000),
}  # fmt: skip
WEIGHTS = ({"spam": 4.0}, {"ham": 0.5, "spam": 3.0}, "balanced")


@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_poisoned_model_is_that_of_scikit_learn_with_class_weights(kind, weight):
    estimator = clone(KINDS[kind]).set_params(class_weight=weight).fit(X, WORDS)
    setting = prepare(DATA, LearnerOptions(estimator=estimator, defenses="none"))
    assert setting.handed.excess < 1e-5
    model = setting.defender.score(POISON, {}).models["none"]
    rows = np.vstack([X, POISON.expanded().X])
    again = estimator.fit(rows, [*WORDS, *np.where(POISON.expanded().y > 0, "spam", "ham")])
    np.testing.assert_allclose(model.coef, np.ravel(again.coef_), atol=5e-4)
    np.testing.assert_allclose(model.intercept, np.ravel(again.intercept_)[0], atol=1e-3)


def test_sgd_under_class_weights_is_its_minimiser_with_the_poison_in():
    sgd = SGDClassifier(loss="log_loss", alpha=0.1, class_weight={"spam": 4.0}, learning_rate="constant", eta0=1e-3,
                        max_iter=3000, tol=None, average=True, random_state=0)  # fmt: skip
    setting = prepare(DATA, LearnerOptions(estimator=sgd.fit(X, WORDS)))
    assert setting.handed.excess < 2e-3
    rows, labels = np.vstack([X, POISON.expanded().X]), [*WORDS, *np.where(POISON.expanded().y > 0, "spam", "ham")]
    model, mixed = sgd.fit(rows, labels), setting.split.train.mix(POISON.expanded())
    own = setting.problem.value(LinearModel(model.coef_[0], model.intercept_[0]), mixed)
    assert own == pytest.approx(setting.problem.value(make_learner(setting.problem).fit(mixed), mixed), rel=2e-3)


@pytest.mark.parametrize(
    "loss", [Hinge(), SquaredHinge(), SmoothHinge(0.5), Logistic(), Squared()], ids=lambda o: o.name
)
@pytest.mark.parametrize("weight", [(0.5, 3.0), "balanced"], ids=str)
def test_every_learner_reaches_the_least_objective(loss, weight):
    problem = Problem(loss, 0.1, class_weight=weight)
    data = Dataset(X, SIGNS, RNG.uniform(0.5, 2, 48))
    best = make_learner(problem, method="reference").fit(data)
    fast = make_learner(problem).fit(data)
    assert problem.value(fast, data) == pytest.approx(problem.value(best, data), rel=1e-6)
    point, step = LinearModel(RNG.normal(size=2), 0.3), 1e-6
    if loss.kink is None:
        ahead, behind = (LinearModel.from_vector(point.vector + sign * step * np.eye(3)[1]) for sign in (1, -1))
        slope = (problem.value(ahead, data) - problem.value(behind, data)) / (2 * step)
        assert problem.gradient(point, data)[1] == pytest.approx(slope, rel=1e-5)
    low, high = problem.class_weights(data)
    written_out = replace(data, weight=data.weight * np.where(SIGNS > 0, high, low))
    mean = problem.loss.value(best.margins(data)) @ written_out.weight / data.total
    assert problem.value(best, data) == pytest.approx(mean + 0.05 * (best.vector @ best.vector))


def test_weights_of_one_are_none():
    estimator = LogisticRegression(class_weight={"ham": 1, "spam": 1.0}).fit(X, WORDS)
    assert prepare(DATA, LearnerOptions(estimator=estimator)).problem.class_weight is None
    for wrong in ("heavy", (1.0,), (0.0, 1.0), [1.0, 2.0]):
        with pytest.raises(InputError, match="class weight"):
            Problem(Hinge(), 0.1, class_weight=wrong)


@pytest.mark.parametrize("kind", ["hinge", "logistic", "ridge"])
def test_certificates_hold_against_poison_of_either_class(kind):
    estimator = clone(KINDS[kind]).set_params(class_weight={"ham": 0.5, "spam": 3.0}).fit(X, WORDS)
    report = linpoison.certify(DATA, estimator=estimator, epsilon=0.0625, defenses="l2", attacks="random-flips", jobs=1,
                               certificates="average-loss")  # fmt: skip
    rung = report.rungs[-1]
    assert max(rung["clean_loss"], rung["attack_loss"]) <= rung["loss_bound"]
    defender = trusted(prepare(DATA, LearnerOptions(estimator=estimator, defenses="l2")))
    for label in (-1.0, 1.0):  # the strongest single place of each class, three rows there
        center = DATA[0][label == SIGNS].mean(axis=0)
        worst = defender.sets[label].support(center - DATA[0][-label == SIGNS].mean(axis=0))
        model, _ = defender.learn(Poison(worst[None], [label], [3.0]))
        train = defender.train
        assert train.weight @ defender.problem.loss.value(model.margins(train)) / train.total <= rung["loss_bound"]
        with_rows = clone(estimator).fit(
            np.vstack([train.X, *[worst[None]] * 3]), [*train.label_values(train.y), *train.label_values([label] * 3)]
        )
        np.testing.assert_allclose(model.coef, np.ravel(with_rows.coef_), atol=1e-3)


def test_what_cannot_take_class_weights_says_so_with_a_way_out():
    balanced = LogisticRegression(class_weight="balanced").fit(X, WORDS)
    with pytest.raises(CapabilityError, match=r"today's weights written out \(0.6667 for -1 and 2 for \+1\)"):
        linpoison.certify(DATA, estimator=balanced, epsilon=0.0625, defenses="l2", remove=0.0)
    with pytest.raises(CapabilityError, match="least budget"):
        linpoison.budget(DATA, estimator=balanced)
    for twice in ("spam=4,spam=2", "spam=4, spam =4"):
        with pytest.raises(InputError, match="named once, got spam twice"):
            prepare(DATA, LearnerOptions(model="logistic", class_weight=twice))
    problem, data = Problem(Hinge(), 0.1, class_weight=(1.0, 2.0)), Dataset(X, SIGNS)
    for attack in (ModelTargeted(), GradientCanceling(), Breakdown()):
        with pytest.raises(CapabilityError, match="Write them out as sample weights"):
            attack.run(Scenario(data, problem, Budget(0.1), {}, data))
    with pytest.raises(CapabilityError, match="claim on a problem without class weights"):
        Claim(data, problem, ByLabel({label: Ball(np.zeros(2), 3.0) for label in (-1.0, 1.0)}), 0.1)


@pytest.mark.parametrize("attack", ["random-flips", "influence-basic", "min-max-basic", "kkt"])
def test_attacks_are_scored_by_the_weighted_learner(attack):
    estimator = clone(KINDS["hinge"]).set_params(class_weight="balanced").fit(X, WORDS)
    report = linpoison.audit(DATA, estimator=estimator, epsilon=0.0625, attacks=[SMALL[attack]], defenses="l2", jobs=1)
    poison = report.poisons[report.attacks[0].file].expanded()
    assert poison.n == 3
    rows, labels = np.vstack([X, poison.X]), [*WORDS, *np.where(poison.y > 0, "spam", "ham")]
    wrong = np.mean(clone(estimator).fit(rows, labels).predict(DATA[2]) != WORDS)
    assert report.attacks[0].test_error["none"] == pytest.approx(wrong)
    assert report.model["class_weight"] == "balanced"
    assert any("carry class weights" in line for line in report.reading)


@pytest.mark.parametrize("weight", [*WEIGHTS, "spam=4", "ham=0.5,spam=3"], ids=str)
def test_class_weights_beside_a_model_are_those_of_scikit_learn(weight):
    setting = prepare(DATA, LearnerOptions(model="logistic", reg=0.1, class_weight=weight, defenses="none"))
    rows = np.vstack([X, POISON.expanded().X])
    labels = [*WORDS, *np.where(POISON.expanded().y > 0, "spam", "ham")]
    named = dict(part.split("=") for part in weight.split(",")) if "=" in str(weight) else weight
    named = {k: float(v) for k, v in named.items()} if isinstance(named, dict) else named
    own = LogisticRegression(C=1 / (0.1 * len(rows)), tol=1e-9, class_weight=named).fit(rows, labels)
    model = setting.defender.score(POISON, {}).models["none"]
    np.testing.assert_allclose(model.coef, own.coef_[0], atol=1e-4)


@pytest.mark.parametrize("weight", ["ham=1e-300,spam=1e-300", "ham=1e+20,spam=1e+20"])
def test_weights_that_swamp_the_regulariser_are_named(weight):
    data, given = (X, WORDS, X, WORDS), LearnerOptions(model="ridge", class_weight=weight, defenses="none")
    low = weight.split(",")[0].removeprefix("ham=")
    with pytest.raises(InputError, match=rf"expected class weights .* got {re.escape(low)} for -1 and .*of about 1"):
        prepare(data, given).defender.score(None, {})


def test_class_weights_on_the_command_line(tmp_path):
    table = tmp_path / "mail.csv"
    table.write_text("a,b,label\n" + "".join(f"{a},{b},{w}\n" for (a, b), w in zip(X, WORDS, strict=True)))
    asked = ["audit", str(table), "--model", "ridge", "--defenses", "l2", "--attack", "random-flips", "--jobs", "1",
             "--epsilon", "0.1", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*asked, "--class-weight", "spam=4"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["model"]["class_weight"] == [1.0, 4.0]
    assert "--class-weight spam=4" in report["command"]
    for wrong in ("eggs=2", "spam=0", "spam=x", "heavy", "spam=2,=1", ""):
        assert main([*asked[:-1], str(tmp_path / "no"), "--class-weight", wrong]) == 2
    for given in (3, ["balanced"]):
        with pytest.raises(InputError, match="class weights"):
            LearnerOptions(class_weight=given)
    with pytest.raises(InputError, match="estimator and class_weight"):
        LearnerOptions(estimator=LogisticRegression(), class_weight="balanced")
