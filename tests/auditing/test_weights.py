"""Sample weights reach the learner of every command, as scikit-learn takes them; a poison row weighs the mean."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.svm import SVC, LinearSVC

import linpoison
from linpoison import InputError, Poison
from linpoison.auditing.inputs import prepare
from linpoison.auditing.options import LearnerOptions
from linpoison.auditing.subpop import SubpopOptions, run_subpop

RNG = np.random.default_rng(3)
Y = np.arange(60) % 2
X = RNG.normal(size=(60, 2)) + 1.2 * (2 * Y - 1)[:, None]
WEIGHT = np.round(RNG.uniform(0.2, 6.0, 60), 3)
DATA = (X, Y, X + 0.1, Y)
POISON = Poison([[2.5, 2.0], [-1.0, -2.0]], [-1.0, 1.0], [3.0, 2.0])


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(C=0.3, tol=1e-9), SVC(kernel="linear", C=0.4, tol=1e-8), RidgeClassifier(alpha=3.0)],
    ids=lambda one: type(one).__name__,
)
def test_the_poisoned_model_is_that_of_scikit_learn_with_weights(estimator):
    estimator.fit(X, Y, sample_weight=WEIGHT)
    setting = prepare(DATA, LearnerOptions(estimator=estimator, sample_weight=WEIGHT, defenses="none"))
    assert setting.handed.excess < 1e-5
    model = setting.defender.score(POISON, {}).models["none"]
    rows, labels = np.vstack([X, POISON.X]), np.r_[Y, POISON.y > 0]
    weight = np.r_[WEIGHT, POISON.count * WEIGHT.mean()]
    again = estimator.fit(rows, labels, sample_weight=weight)
    np.testing.assert_allclose(model.coef, np.ravel(again.coef_), atol=2e-4)
    np.testing.assert_allclose(model.intercept, np.ravel(again.intercept_)[0], atol=2e-4)


def test_sgd_with_weights_is_its_minimiser():
    sgd = SGDClassifier(loss="log_loss", alpha=0.1, learning_rate="constant", eta0=1e-3, max_iter=3000, tol=None,
                        average=True, random_state=0).fit(X, Y, sample_weight=WEIGHT)  # fmt: skip
    setting = prepare(DATA, LearnerOptions(estimator=sgd, sample_weight=WEIGHT))
    assert setting.handed.excess < 2e-3


def test_the_scale_of_weights_is_theirs_and_a_column_is_an_array(tmp_path):
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "cost": WEIGHT, "label": Y})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "b.csv", index=False)
    options = {"defenses": "l2", "epsilon": 0.1}
    one = linpoison.evaluate((X, Y, X, Y), POISON, sample_weight=1000 * WEIGHT, **options)
    two = linpoison.evaluate(
        str(tmp_path / "a.csv"), POISON, test=str(tmp_path / "b.csv"), sample_weight="cost", **options
    )
    plain = linpoison.evaluate((X, Y, X, Y), POISON, **options)
    assert one.attacks[0].test_error == two.attacks[0].test_error
    assert one.attacks[0].kept_fraction == plain.attacks[0].kept_fraction
    assert one.command.endswith("--weight '<weights>'")
    assert two.command.endswith("--weight cost")
    assert "divided by their mean" in one.to_text()
    assert "divided by their mean" not in plain.to_text()
    assert one.dataset["digest"] != plain.dataset["digest"]


@pytest.mark.parametrize("model", ["svm", "logistic", "ridge"])
def test_attacks_and_certificates_bracket_the_damage_under_weights(model):
    few, names = tuple(part[:24] for part in DATA), "average-loss,test-error" if model == "ridge" else "average-loss"
    report = linpoison.certify(
        few, model=model, reg=0.1, epsilon=0.1, defenses="l2", attacks="random-flips", certificates=names,
        sample_weight=WEIGHT[:24], jobs=1,
    )  # fmt: skip
    rung = report.rungs[-1]
    assert rung["clean_error"] <= rung["attack_error"] <= rung["bound"]
    assert rung["clean_loss"] < rung["attack_loss"] <= rung["loss_bound"] < 1


@pytest.mark.parametrize("attack", ["random-flips", "alfa", "min-max-basic", "influence-basic", "model-targeted"])
def test_every_attack_takes_weights(attack):
    few, weight = tuple(part[:30] for part in DATA), WEIGHT[:30]
    report = linpoison.audit(few, attacks=attack, defenses="l2", epsilon=0.1, reg=0.1, sample_weight=weight, jobs=1)
    entry, poison = report.attacks[0], report.poisons[report.attacks[0].file]
    assert entry.n_poison == 3
    rows, labels = np.vstack([few[0], poison.expanded().X]), np.r_[2 * few[1] - 1, poison.expanded().y]
    mass = np.r_[weight / weight.mean(), np.ones(3)]
    svm = LinearSVC(loss="hinge", C=1 / (0.1 * mass.sum()), tol=1e-9, max_iter=1_000_000)
    wrong = svm.fit(rows, labels, sample_weight=mass).predict(few[2]) != 2 * few[3] - 1
    assert entry.test_error["none"] == pytest.approx(wrong.mean(), abs=1e-9)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    cases = ((WEIGHT[:5], "60 sample weights, one for each training row, got 5"), (-WEIGHT, "non-negative"),
             (np.zeros(60), "both classes"), (WEIGHT + 1j, "real sample_weight"))  # fmt: skip
    for weight, words in cases:
        with pytest.raises(InputError, match=words):
            prepare(DATA, LearnerOptions(sample_weight=weight))
    pd.DataFrame({"a": X[:, 0], "label": Y}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match="a weight column 'cost' in a.csv"):
        prepare(str(tmp_path / "a.csv"), LearnerOptions(sample_weight="cost"))
    with pytest.raises(InputError, match="no sample weights with subpop"):
        run_subpop(DATA, SubpopOptions(LearnerOptions(sample_weight=WEIGHT, defenses="none")))
