"""The contract of a learner: all keep it, one that breaks a part is caught, and one of someone else works in audits."""

from dataclasses import replace

import numpy as np
import pytest
from audit_cases import small_split
from foreign import register
from own_learners import Descent

from linpoison import audit
from linpoison.auditing.options import AuditOptions
from linpoison.core import CapabilityError, InputError, LinearModel
from linpoison.learners import (
    AdaGradLearner,
    HingeLearner,
    LibraryLearner,
    LogisticLearner,
    MultiReferenceLearner,
    NewtonLearner,
    ReferenceLearner,
    RidgeLearner,
    SmoothLearner,
)
from linpoison.losses import Hinge, Logistic, MultiProblem, Problem, SmoothHinge, Softmax, Squared
from linpoison.testing import check_learner

EVERY = [
    HingeLearner(Problem(Hinge(), 0.05)),
    HingeLearner(Problem(Hinge(), 0.05, penalize_intercept=False)),
    HingeLearner(Problem(Hinge(), 0.05, fit_intercept=False)),
    LogisticLearner(Problem(Logistic(), 0.05, penalize_intercept=False)),
    LogisticLearner(Problem(Logistic(), 0.05, scaling="sum", n_reference=40, class_weight=(1.0, 3.0))),
    RidgeLearner(Problem(Squared(), 0.05, penalize_intercept=False)),
    SmoothLearner(Problem(SmoothHinge(), 0.05)),
    ReferenceLearner(Problem(Hinge(), 0.05)),
    LibraryLearner(MultiProblem("crammer_singer", 0.05)),
    NewtonLearner(MultiProblem("crammer_singer", 0.05, penalize_intercept=False), tol=1e-5),
    NewtonLearner(MultiProblem("softmax", 0.05, penalize_intercept=False)),
    NewtonLearner(MultiProblem(Softmax(1.0, 0.5), 0.05)),
    MultiReferenceLearner(MultiProblem("softmax", 0.05)),
]


@pytest.mark.parametrize("learner", [*EVERY, Descent()], ids=repr)
def test_every_learner_keeps_it(learner):
    check_learner(learner)


def test_one_that_stops_early_keeps_the_rest_of_it():
    check_learner(AdaGradLearner(MultiProblem("crammer_singer")), tol=None)
    with pytest.raises(AssertionError, match="least objective"):
        check_learner(AdaGradLearner(MultiProblem("crammer_singer", 0.05)))


RNG = np.random.default_rng(0)


def unweighted(self, data, start):
    return Descent._fit(self, replace(data, weight=np.ones(data.n)), start)


def penalising(self, data, start):
    return type(self).__base__(replace(self.problem, penalize_intercept=True))._fit(data, start)


def as_a_sum(self, data, start):
    return Descent(replace(self.problem, reg=self.problem.reg / data.total))._fit(data, start)


def dense_alone(self, data, start):
    return LinearModel(np.zeros(data.d)) if data.is_sparse else Descent._fit(self, data, start)


def any_start(self, data, start):
    return Descent._fit(self, data, None) if start is None else start


def drawn(self, data, start):
    found = Descent._fit(self, data, start)
    return LinearModel(found.coef + 1e-9 * RNG.random(), found.intercept)


BREACHES = {
    "the least objective of its problem .dense": unweighted,
    "least objective": penalising,
    "its problem .dense rows": as_a_sum,
    "sparse rows": dense_alone,
    "another start": any_start,
    "the same model of the same rows": drawn,
    "a model of the shape": lambda self, data, start: LinearModel(np.zeros(data.d + 1)),
}


@pytest.mark.parametrize("part", BREACHES)
def test_a_learner_that_breaks_a_part_is_caught(part):
    broken = type("Broken", (Descent,), {"_fit": BREACHES[part]})
    with pytest.raises(AssertionError, match=part):
        check_learner(broken())


def test_a_learner_that_takes_rows_of_one_class_is_caught():
    broken = type("Broken", (Descent,), {"fit": lambda self, data, start=None: Descent._fit(self, data, start)})
    with pytest.raises(AssertionError, match="one class"):
        check_learner(broken())


def test_audits_measure_by_a_learner_of_someone_else(tmp_path, monkeypatch):
    register(tmp_path / "site", learners={"descent": "own_learners:Descent"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    asked, fit = [], Descent._fit
    monkeypatch.setattr(Descent, "_fit", lambda *arguments: (asked.append(1), fit(*arguments))[1])
    options = {"attacks": "random-flips", "defenses": "l2", "jobs": 1}
    reports = [audit(small_split(80), model=model, **options) for model in (Descent(), "descent")]
    assert len(asked) > 20
    own = audit(small_split(80), model="logistic", reg=0.05, **options)
    for report in reports:
        assert report.model["loss"] == "logistic"
        assert report.attacks[0].test_error == own.attacks[0].test_error
    with pytest.raises(InputError, match="The learner brings its own"):
        AuditOptions(model=Descent(), reg=0.1)
    with pytest.raises(CapabilityError, match="of two classes"):
        audit(small_split(80), model=NewtonLearner(MultiProblem("softmax", 0.1)), **options)
