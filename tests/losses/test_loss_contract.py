"""The contract of a loss: all keep it, one that breaks a part is caught, and one that keeps it works everywhere."""

import numpy as np
import pytest
from foreign import register
from own_losses import LogCosh, ModifiedHuber
from small_attacks import SMALL

from linpoison import audit, certify
from linpoison.certificates import Certificate, Claim, certify_average_loss, min_budget
from linpoison.core import CapabilityError, Dataset, LinearModel, Poison
from linpoison.learners import LinearClassifier, make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge, make_loss
from linpoison.sets import Ball, ByLabel
from linpoison.testing import check_loss

EVERY = [Hinge(), SquaredHinge(), SmoothHinge(), SmoothHinge(1.5), Logistic(), Squared()]
OWN = [ModifiedHuber(), LogCosh()]


def rows(n: int = 40, seed: int = 2) -> Dataset:
    y = np.tile([1.0, -1.0], n // 2)
    return Dataset(np.random.default_rng(seed).normal(size=(n, 2)) + y[:, None], y)


SETS = ByLabel({label: Ball(label * np.ones(2), 3.0) for label in (1, -1)})


@pytest.mark.parametrize("loss", [*EVERY, *OWN], ids=repr)
def test_every_loss_keeps_it(loss):
    check_loss(loss)


BREACHES = {
    "at least 0": {"value": lambda self, m: ModifiedHuber.value(self, m) - 1},
    "never falls": {"derivative": lambda self, m: np.where(m > 5, -1.0, ModifiedHuber.derivative(self, m))},
    "`derivative` as differences": {"derivative": lambda self, m: 1.01 * ModifiedHuber.derivative(self, m)},
    "`second_derivative`": {"second_derivative": lambda self, m: np.where(m < 1.0, 1.0, 0.0)},
    "`lipschitz`": {"lipschitz": 1.9},
    "`smoothness`": {"smoothness": 0.9},
    "`reach`": {"reach": 0.24},
    "`soft_hinge`": {"soft_hinge": (1.0, 0.2)},
    "`quadratic`": {"quadratic": True},
    "invert `value`": {"margin_at_loss": lambda self, value: 1.0 - np.sqrt(2 * value)},
    "`worst_pull` above": {"worst_pull": lambda self, r: (np.minimum(self.value(-r), 0.6), self.pull(-r))},
    "derivative of `worst_pull`": {"worst_pull": lambda self, r: (self.value(-r), self.pull(-r) / 2)},
    "`expression` to equal": {"expression": lambda self, m: SquaredHinge().expression(m)},
    "w / psi": {"pull_constraints": lambda self, w, wm, mass: SquaredHinge().pull_constraints(w, wm, mass)},
    "the conjugate": {"gain": lambda self, w, mass: SquaredHinge().gain(w, mass)},
    "symmetric": {"turn": 1.0},
    "`continuation`": {"continuation": (SmoothHinge(0.1),)},
    "the same loss again": {"parameters": {}, "__eq__": lambda self, other: False, "__hash__": None},
}


@pytest.mark.parametrize("part", BREACHES)
def test_a_loss_that_breaks_a_part_is_caught(part):
    broken = type("Broken", (ModifiedHuber,), BREACHES[part])
    with pytest.raises(AssertionError, match=part):
        check_loss(broken())


def test_a_loss_of_a_shape_that_nothing_can_be_proved_of_is_refused_at_once():
    rising = type("Rising", (LogCosh,), {"turn": None})
    with pytest.raises(CapabilityError, match="`turn`"):
        Problem(rising(), 0.1)
    elsewhere = type("Elsewhere", (ModifiedHuber,), {"soft_hinge": (2.0, 0.0)})
    with pytest.raises(CapabilityError, match="kink at margin 1"):
        Problem(elsewhere(), 0.1)


@pytest.mark.parametrize("loss", OWN, ids=repr)
def test_newton_and_the_conic_reference_learn_it(loss):
    problem, train = Problem(loss, 0.05), rows()
    quick, exact = (make_learner(problem, method=method).fit(train) for method in ("auto", "reference"))
    np.testing.assert_allclose(quick.vector, exact.vector, atol=1e-4)
    assert np.linalg.norm(problem.gradient(quick, train)) < 1e-7


@pytest.mark.parametrize("loss", OWN, ids=repr)
def test_the_bound_of_the_average_loss_holds(loss):
    """Of any poison of the sets, the strongest of many drawn ones included; and not by being empty."""
    train, problem = rows(), Problem(loss, 0.05)
    claim = Claim(train, problem, SETS, 0.1)
    found, rng = certify_average_loss(claim), np.random.default_rng(0)
    reached = []
    for _ in range(60):
        label = rng.choice([-1.0, 1.0])
        direction = rng.normal(size=2)
        x = label * np.ones(2) + 3.0 * direction / np.linalg.norm(direction)
        model = make_learner(problem).fit(train.mix(Poison([x], [label], [4.0]).as_dataset()))
        reached.append(float(loss.value(model.margins(train)).mean()))
    assert max(reached) <= found.bound < 0.6 * float(loss.value(np.zeros(1))[0])
    assert found.verify() == found.bound


def test_budgets_are_bounded_and_attained_where_the_pull_has_a_formula():
    """The formula that a loss may leave out only sharpens the bound."""

    class Sharp(ModifiedHuber):
        def worst_pull(self, r):
            near = (1 + r).clip(min=0)
            return np.where(r <= 3, near**2 / 4, 2 * (r - 1)), np.where(r <= 3, near / 2, 2.0)

    check_loss(Sharp())
    train, model = rows(), LinearModel([0.2, -0.1], 0.0)
    loose, tight = (min_budget(train, Problem(loss, 0.1), SETS, model) for loss in (ModifiedHuber(), Sharp()))
    assert 0 < loose.bound < 0.6 * tight.bound
    assert tight.exact
    assert tight.info["primal"] == pytest.approx(loose.info["primal"], rel=1e-4)
    with pytest.raises(CapabilityError, match="states `pull_constraints`"):
        min_budget(train, Problem(LogCosh(), 0.1), SETS, model)


@pytest.mark.parametrize(("loss", "attack"), [(ModifiedHuber(), "kkt"), (LogCosh(), "gradient-canceling")], ids=repr)
def test_audits_attack_it_behind_every_filter(loss, attack):
    train, test = rows(), rows(100, seed=3)
    estimator = LinearClassifier(loss, 0.05).fit(train.X, train.y)
    data = (train.X, train.y, test.X, test.y)
    report = audit(data, estimator=estimator, attacks=[SMALL[attack]], defenses="l2,loss", epsilon=0.2, jobs=1)
    assert report.model["loss"] == loss.name
    assert report.test_error_behind_all > report.damage("none").clean_error + 0.03


def test_what_it_lacks_is_said_before_any_work():
    train = rows()
    estimator = LinearClassifier(LogCosh(), 0.05).fit(train.X, train.y)
    data = (train.X, train.y, train.X, train.y)
    with pytest.raises(CapabilityError, match=r"states `pull_constraints`, got LogCosh\(\)"):
        audit(data, estimator=estimator, attacks="kkt", defenses="l2", epsilon=0.1, jobs=1)
    with pytest.raises(CapabilityError, match="got log_cosh"):
        certify(data, estimator=estimator, defenses="l2", epsilon=0.05, progress=pytest.fail)
    report = certify(data, estimator=estimator, defenses="l2", epsilon=0.05, certificates="average-loss")
    assert report.rungs[-1]["clean_loss"] < report.rungs[0]["loss_bound"] < float(LogCosh().value(np.zeros(1))[0])


def test_a_registered_loss_is_found_by_name_and_its_certificates_are_read(tmp_path, monkeypatch):
    register(tmp_path, losses={"modified_huber": "own_losses:ModifiedHuber"})
    monkeypatch.syspath_prepend(tmp_path)
    assert make_loss("modified_huber") == ModifiedHuber()
    claim = Claim(rows(), Problem(ModifiedHuber(), 0.05), SETS, 0.1)
    certify_average_loss(claim).save(tmp_path / "average")
    assert Certificate.load(tmp_path / "average", rows()).claim.problem == claim.problem
