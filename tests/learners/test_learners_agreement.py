"""Fast learners against the conic reference, against numpy's optimality conditions, and against repeated rows."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from learner_cases import CONVENTIONS, DATA, LOSSES, counts, dense, unscaled, weighted

from linpoison.core import Dataset, InputError, LinearModel
from linpoison.learners import (
    HingeLearner,
    LearnerWarning,
    LogisticLearner,
    SmoothLearner,
    hessian,
    make_learner,
    smooth,
)
from linpoison.learners.base import converged, narrow
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge

pytestmark = pytest.mark.filterwarnings("error")
SMOOTH = [loss for loss in LOSSES if loss.kink is None]


def excess(problem: Problem, model: LinearModel, best: LinearModel, data: Dataset) -> float:
    least = problem.value(best, data)
    return (problem.value(model, data) - least) / least


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_rows_of_mostly_zeros_are_learned_alike_without_them(convention, monkeypatch):
    rng = np.random.default_rng(0)
    X = np.eye(8)[rng.integers(0, 8, (300, 3))].reshape(300, 24) * rng.uniform(0.5, 2, (300, 24))
    data = Dataset(X, np.sign(X @ rng.normal(size=24) + 0.1))
    learner = LogisticLearner(Problem(Logistic(), 0.01, **CONVENTIONS[convention]))
    before = learner.fit(data)
    monkeypatch.setattr("linpoison.learners.library.MANY_ENTRIES", 0)
    stored = []
    monkeypatch.setattr("linpoison.learners.library.narrow", lambda X: stored.append(sp.issparse(X)) or narrow(X))
    np.testing.assert_allclose(learner.fit(data).vector, before.vector, rtol=0, atol=1e-9)
    assert stored[-1]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("name", DATA)
def test_fast_equals_reference(name, loss, convention):
    data = DATA[name]
    problem = Problem(loss, 0.05, **CONVENTIONS[convention])
    fast = make_learner(problem).fit(data)
    reference = make_learner(problem, method="reference").fit(data)
    assert abs(excess(problem, fast, reference, data)) < 1e-6
    assert abs(excess(problem, LinearModel(np.zeros(data.d)), reference, data)) > 1e-3
    if "fit_intercept" in CONVENTIONS[convention]:
        assert fast.intercept == reference.intercept == 0.0


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("loss", SMOOTH, ids=str)
@pytest.mark.parametrize("name", DATA)
def test_gradient_vanishes(name, loss, convention):
    data = DATA[name]
    problem = Problem(loss, 0.01, **CONVENTIONS[convention])
    model = make_learner(problem).fit(data)
    free = slice(None) if problem.fit_intercept else slice(-1)
    at_zero = np.linalg.norm(problem.gradient(LinearModel(np.zeros(data.d)), data)[free])
    assert np.linalg.norm(problem.gradient(model, data)[free]) < 1e-6 * at_zero


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", DATA)
def test_hinge_is_stationary(name, convention):
    """Zero lies in the subdifferential up to a small residual: support vectors carry pulls in [0, 1]."""
    from scipy.optimize import lsq_linear

    data = DATA[name]
    problem = Problem(Hinge(), 0.05, **CONVENTIONS[convention])
    model = make_learner(problem).fit(data)
    margin = model.margins(data)
    on = np.abs(margin - 1) < 1e-3
    share = data.weight * data.y / data.total
    X = data.X.toarray() if data.is_sparse else data.X
    rows = np.column_stack([X, np.ones(data.n)]) * share[:, None]
    fixed = rows[(margin < 1) & ~on].sum(axis=0)
    mask = problem.penalty_mask(data.d)
    used = slice(None) if problem.fit_intercept else slice(-1)
    target = (0.05 * mask * model.vector - fixed)[used]
    answer = lsq_linear(rows[on].T[used], target, bounds=(0, 1), tol=1e-13)
    assert np.linalg.norm(answer.fun) < 1e-4


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("make", [dense, counts])
def test_weights_are_copies_and_zero_is_absence(loss, make):
    data = make()
    copies = np.random.default_rng(5).integers(0, 4, data.n)
    repeated = data.take(np.repeat(np.arange(data.n), copies))
    problem = Problem(loss, 0.05)
    model = make_learner(problem).fit(Dataset(data.X, data.y, copies))
    twin = make_learner(problem).fit(repeated)
    assert problem.value(model, repeated) == pytest.approx(problem.value(twin, repeated), rel=1e-6)
    assert model.distance(twin) < 2e-3 * np.linalg.norm(twin.vector)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_sum_scaling_lowers_the_regulariser_as_rows_are_added(loss):
    data = dense()
    double = data.mix(data)
    fixed = Problem(loss, 0.1, scaling="sum", n_reference=data.n)
    on_double = make_learner(fixed).fit(double)
    assert on_double.distance(make_learner(Problem(loss, 0.05)).fit(data)) < 1e-3
    assert on_double.distance(make_learner(Problem(loss, 0.1)).fit(data)) > 1e-2


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_start_does_not_change_the_answer(loss, convention):
    data = dense()
    problem = Problem(loss, 0.02, **CONVENTIONS[convention])
    cold = make_learner(problem).fit(data)
    far = LinearModel(np.full(data.d, 3.0), -2.0 if problem.fit_intercept else 0.0)
    warm = make_learner(problem).fit(data, start=far)
    by_libsvm = isinstance(loss, Hinge) and problem.fit_intercept and not problem.penalize_intercept
    rel = 1e-7 if by_libsvm else 1e-9  # libsvm, cold, is the less exact of the two
    assert problem.value(warm, data) == pytest.approx(problem.value(cold, data), rel=rel)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("loss", [SquaredHinge(), SmoothHinge(0.05)], ids=str)
@pytest.mark.parametrize("make", [dense, counts])
def test_smooth_learner_uses_start(loss, convention, make, monkeypatch):
    """From the answer one step is plenty, from zero it is not enough."""
    data = make()
    learner = make_learner(Problem(loss, 0.02, **CONVENTIONS[convention]))
    answer = learner.fit(data)
    monkeypatch.setattr(learner, "max_iter", 1)
    monkeypatch.setattr(learner, "tol", 1e-6)
    assert learner.fit(data, start=answer).distance(answer) < 1e-5
    with pytest.warns(LearnerWarning, match="approximate"):
        assert learner.fit(data).distance(answer) > 1e-3


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("make", [dense, counts])
def test_logistic_learner_uses_start(convention, make, monkeypatch):
    """From the answer scikit-learn stops at once, from zero it hands over to the smooth learner."""
    data = make()
    learner = make_learner(Problem(Logistic(), 0.02, **CONVENTIONS[convention]))
    answer = learner.fit(data)
    monkeypatch.setattr(learner, "max_iter", 1)
    monkeypatch.setattr(learner, "tol", 1e-6)
    finished = []
    original = SmoothLearner.fit

    def record(self, rows, start=None):
        finished.append(start)
        return original(self, rows, start)

    monkeypatch.setattr(SmoothLearner, "fit", record)
    assert learner.fit(data, start=answer).distance(answer) < 1e-5
    assert not finished
    assert learner.fit(data).distance(answer) < 1e-5
    assert len(finished) == 1
    assert finished[0].distance(answer) > 1e-3


def test_stalled_conjugate_gradients_are_replaced(monkeypatch):
    """With one inner step the directions are poor, unless the Hessian is factorised in the end."""
    data = counts()
    problem = Problem(SquaredHinge(), 0.001)
    reference = make_learner(problem, method="reference").fit(data)
    monkeypatch.setattr(smooth, "_CG_STEPS", 1)
    monkeypatch.setattr(hessian, "DIRECT", 1)
    monkeypatch.setattr(SmoothLearner, "max_iter", 12)
    assert abs(excess(problem, SmoothLearner(problem).fit(data), reference, data)) < 1e-6
    monkeypatch.setattr(hessian, "STALLED", 1)
    with pytest.warns(LearnerWarning):
        SmoothLearner(problem).fit(data)


def test_other_warnings_of_scikit_learn_pass_through():
    def noisy():
        warnings.warn("something else", FutureWarning)

    with pytest.warns(FutureWarning, match="something else"):
        assert converged(noisy)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_columns_of_very_different_scales(loss, convention):
    data = unscaled()
    problem = Problem(loss, 0.01, **CONVENTIONS[convention])
    fast = make_learner(problem).fit(data)
    reference = make_learner(problem, method="reference").fit(data)
    assert abs(excess(problem, fast, reference, data)) < 1e-6


@pytest.mark.parametrize("penalize", [True, False])
def test_hinge_beyond_the_fallback_warns(penalize, monkeypatch):
    data = unscaled()
    learner = make_learner(Problem(Hinge(), 1e-4, penalize_intercept=penalize))
    assert isinstance(learner, HingeLearner)
    monkeypatch.setattr(learner, "max_iter", 10)
    monkeypatch.setattr(learner, "max_steps", 10)
    monkeypatch.setattr(learner, "interior_width", 0)
    learner.fit(data)
    monkeypatch.setattr(learner, "fallback_entries", data.X.size - 1)
    with pytest.warns(LearnerWarning, match="approximate"):
        learner.fit(data)


def test_libsvm_answers_of_a_wide_gap_are_refused(monkeypatch):
    """Without the gap check a loose answer would pass, since libsvm itself reports success."""
    data = dense()
    learner = make_learner(Problem(Hinge(), 0.01, penalize_intercept=False))
    monkeypatch.setattr(learner, "step_tol", 1.0)
    loose, solved = learner._libsvm(data)
    tight = learner.fit(data)
    assert not solved
    assert excess(learner.problem, loose, tight, data) > 1e-4


def test_equal_data_give_equal_models():
    learner = make_learner(Problem(Hinge(), 0.01))
    assert learner.fit(counts()).distance(learner.fit(counts())) == 0


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_csr_is_never_densified_and_wide_indices_are_accepted(loss, convention, monkeypatch):
    data = weighted(counts())
    data.X.indices = data.X.indices.astype(np.int64)
    data.X.indptr = data.X.indptr.astype(np.int64)

    def refuse(self, *args, **kwargs):
        if self.shape[0] > 1 and self.shape[1] >= data.d:  # a Gram matrix of rows may be dense
            raise AssertionError("densified")
        return original(self, *args, **kwargs)

    original = type(data.X).toarray
    monkeypatch.setattr(type(data.X), "toarray", refuse)
    problem = Problem(loss, 0.05, **CONVENTIONS[convention])
    sparse = make_learner(problem).fit(data)
    monkeypatch.undo()
    solid = make_learner(problem).fit(Dataset(data.X.toarray(), data.y, data.weight))
    assert problem.value(sparse, data) == pytest.approx(problem.value(solid, data), rel=1e-6)


@pytest.mark.parametrize("method", ["auto", "reference"])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_one_class_is_refused(loss, method):
    data = dense()
    learner = make_learner(Problem(loss, 0.1), method=method)
    with pytest.raises(InputError, match="both classes"):
        learner.fit(data.of_class(1.0))
    with pytest.raises(InputError, match="both classes"):
        learner.fit(Dataset(data.X, data.y, (data.y > 0).astype(float)))


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="a method among auto, quick"):
        make_learner(Problem(Hinge(), 0.1), method="fast")
    with pytest.raises(InputError, match="start of 6 coefficients"):
        make_learner(Problem(Logistic(), 0.1)).fit(dense(), start=LinearModel(np.zeros(3)))


def test_which_learner():
    assert isinstance(make_learner(Problem(Logistic(), 0.1)), LogisticLearner)
    assert isinstance(make_learner(Problem(SquaredHinge(), 0.1)), SmoothLearner)
    assert "Hinge()" in repr(make_learner(Problem(Hinge(), 0.1)))


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("LINPOISON_DATA"), reason="LINPOISON_DATA is not set")
@pytest.mark.parametrize(("penalize", "objective", "intercept"), [(True, 0.27322, 0.051), (False, 0.27302, 0.137)])
def test_published_facts_of_enron(penalize, objective, intercept):
    """Objective (without the intercept's penalty) and intercept of the clean Enron SVM at reg 0.09."""
    path = Path(os.environ["LINPOISON_DATA"]) / "enron1.npz"
    X = sp.csr_array(sp.load_npz(path))[:4137]
    data = Dataset(X, np.load(path)["y"][:4137])
    problem = Problem(Hinge(), 0.09, penalize_intercept=penalize)
    model = make_learner(problem).fit(data)
    assert replace(problem, penalize_intercept=False).value(model, data) == pytest.approx(objective, abs=6e-6)
    assert model.intercept == pytest.approx(intercept, abs=2e-3)


def test_ridge_hands_over_what_scikit_learn_cannot_factorise(monkeypatch):
    from scipy.linalg import LinAlgWarning
    from sklearn.linear_model import Ridge

    data = dense()
    learner = make_learner(Problem(Squared(), 0.1))
    answer = learner.fit(data)
    original = Ridge.fit

    def poor(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.coef_ = self.coef_ + 1.0
        warnings.warn("ill-conditioned", LinAlgWarning)

    monkeypatch.setattr(Ridge, "fit", poor)
    assert learner.fit(data).distance(answer) < 1e-6


@pytest.mark.parametrize("loss", [Squared(), SquaredHinge(), SmoothHinge(), Logistic()])
def test_a_start_with_an_intercept_leaves_none_where_none_is_fitted(loss):
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(30, 2)), np.where(rng.random(30) < 0.5, 1.0, -1.0))
    learner = make_learner(Problem(loss, 0.1, fit_intercept=False))
    warm = learner.fit(data, start=LinearModel([3.0, -1.0], 3.0))
    assert warm.intercept == 0
    np.testing.assert_allclose(warm.coef, learner.fit(data).coef, atol=1e-5)


@pytest.mark.parametrize("loss", [SmoothHinge(0.5), Logistic(), SquaredHinge()], ids=repr)
def test_rows_that_tell_nothing_are_fitted_by_zero_from_any_start(loss):
    data = Dataset(np.zeros((4, 2)), [1, 1, -1, -1])
    found = SmoothLearner(Problem(loss, 0.1)).fit(data, start=LinearModel([1.0, -2.0], 0.5))
    assert found.vector.tolist() == [0.0, 0.0, 0.0]
