"""A torch linear model and the linear core are the same model in every shared operation, to 1e-12."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import binary, linear_pair, vectors  # noqa: E402
from total_gradient import total_gradient  # noqa: E402

from deep import TorchRisk  # noqa: E402
from linpoison.core import Dataset, LinearModel  # noqa: E402
from linpoison.losses import Problem, make_loss  # noqa: E402
from linpoison.risk import LinearRisk, Sample, hessian, objective, reachability  # noqa: E402
from linpoison.risk.arrays import to_numpy  # noqa: E402
from linpoison.risk.solvers import CG  # noqa: E402

SMOOTH = ["logistic", "squared", "squared_hinge", "smooth_hinge"]
CASES = [
    (loss, bias, penalize)
    for loss in [*SMOOTH, "hinge", "2", "3", "10"]
    for bias, penalize in ((True, True), (True, False), (False, True))
]
cases = pytest.mark.parametrize(("loss", "bias", "penalize"), CASES)


def same(ours, theirs, tol=1e-12):
    ours, theirs = to_numpy(ours), to_numpy(theirs)
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(theirs, ours, rtol=tol, atol=tol * max(1.0, np.abs(ours).max(initial=0)))


def state(loss, bias, penalize):
    ours, theirs, data = linear_pair(loss, bias=bias, penalize=penalize)
    w, u = vectors(theirs.size)
    weights = np.random.default_rng(1).uniform(0.1, 3, size=data.n)
    return ours, theirs, data, w, u, weights


OPERATIONS = {
    "loss": lambda r, X, y, w, u, c: r.loss(w, X, y),
    "loss_vjp": lambda r, X, y, w, u, c: r.loss_vjp(w, X, y, c - 1.5),
    "data_grad": lambda r, X, y, w, u, c: r.data_grad(w, X, y, c),
    "penalty_grad": lambda r, X, y, w, u, c: r.penalty_grad(w),
    "grad": lambda r, X, y, w, u, c: r.grad(w, X, y, c),
    "grad of plain rows": lambda r, X, y, w, u, c: r.grad(w, X, y),
    "per_sample_grad": lambda r, X, y, w, u, c: r.per_sample_grad(w, X, y),
    "loss_jvp": lambda r, X, y, w, u, c: r.loss_jvp(w, X, y, u),
    "hvp": lambda r, X, y, w, u, c: r.hvp(w, X, y, u, c),
    "mixed_product": lambda r, X, y, w, u, c: r.mixed_product(w, X, y, u),
    "row_grad": lambda r, X, y, w, u, c: r.row_grad(w, X, y),
    "scores": lambda r, X, y, w, u, c: r.scores(w, X),
    "predict": lambda r, X, y, w, u, c: r.predict(w, X),
    "features": lambda r, X, y, w, u, c: r.features(w, X),
    "objective": lambda r, X, y, w, u, c: objective(r, w, Sample(X, y, c)),
}


@cases
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_agrees(loss, bias, penalize, operation):
    ours, theirs, data, w, u, weights = state(loss, bias, penalize)
    call = OPERATIONS[operation]
    first = call(ours, data.X, data.y, w, u, weights)
    same(first, call(theirs, data.X, data.y, theirs.vector(w), theirs.vector(u), weights))


@pytest.mark.parametrize("loss", [*SMOOTH, "3"])
def test_they_agree_where_margins_are_zero_and_huge(loss):
    ours, theirs, data = linear_pair(loss)
    X = np.vstack([np.zeros((2, 4)), 1e4 * np.eye(4), -1e4 * np.eye(4)])
    y = data.y[: len(X)]
    for w in (np.zeros(theirs.size), np.ones(theirs.size)):
        for name in ("grad", "loss", "hvp", "mixed_product"):
            extra = () if name in ("grad", "loss") else (np.arange(1.0, theirs.size + 1),)
            first = getattr(ours, name)(w, X, y, *extra)
            second = getattr(theirs, name)(theirs.vector(w), X, y, *(theirs.vector(v) for v in extra))
            same(first, second)


@pytest.mark.parametrize("bias", [True, False])
def test_reachability_and_total_gradient_agree(bias):
    for loss in ("logistic", "10"):
        ours, theirs, data = linear_pair(loss, bias=bias)
        w = 0.3 * vectors(theirs.size)[0]
        first, second = reachability(ours, w, data), reachability(theirs, theirs.vector(w), data)
        assert first.kind == second.kind == ("exact" if loss == "logistic" and not bias else "necessary")
        for name in ("numerator", "penalty", "reach", "length"):
            same(getattr(first, name), getattr(second, name))
        assert first.threshold == pytest.approx(second.threshold, rel=1e-12)
        poison = data.take(range(3))
        solver = CG(relative_damping=0, maxiter=200, tol=1e-14)
        both = [total_gradient(r, r.vector(w), data, poison, data.take(range(9, 20)), solver) for r in (ours, theirs)]
        same(both[0].rows, both[1].rows)
        same(both[0].counts, both[1].counts)


def test_the_hessian_is_that_of_the_derivatives():
    ours, theirs, data = linear_pair("logistic")
    w = vectors(5)[0]
    dense = np.stack([hessian(ours, w, data)(unit) for unit in np.eye(5)])
    same(dense, np.stack([to_numpy(hessian(theirs, theirs.vector(w), data)(theirs.vector(u))) for u in np.eye(5)]))
    same(dense, dense.T)


@pytest.mark.parametrize("loss", SMOOTH)
@pytest.mark.parametrize("penalize", [True, False])
def test_it_is_the_objective_of_the_core(loss, penalize):
    problem = Problem(make_loss(loss), reg=0.3, penalize_intercept=penalize)
    risk, data, w = LinearRisk.of(problem), binary(), vectors(5)[0]
    core, model = Dataset(data.X, data.y), LinearModel(w[:-1], w[-1])
    assert objective(risk, w, data) == pytest.approx(problem.value(model, core), rel=1e-13)
    same(problem.gradient(model, core), risk.grad(w, data.X, data.y))


def test_sparse_rows_are_taken_and_agree():
    import scipy.sparse as sp

    ours, theirs, data = linear_pair("logistic")
    w, u = vectors(5)
    X = sp.csr_array(data.X)
    for name, extra in (("grad", ()), ("hvp", (u,)), ("scores", None)):
        args = (data.y, *extra) if extra is not None else ()
        same(getattr(ours, name)(w, X, *args), getattr(ours, name)(w, data.X, *args))
    same(ours.grad(w, data.X, data.y), theirs.grad(theirs.vector(w), X, data.y))


def test_a_torch_dataset_agrees_with_arrays():
    from torch.utils.data import TensorDataset

    _, theirs, data = linear_pair("3")
    w, u = (theirs.vector(v) for v in vectors(theirs.size))
    rows = TensorDataset(torch.as_tensor(data.X), torch.as_tensor(data.y))
    same(theirs.grad(w, data.X, data.y), theirs.grad(w, rows, None))
    same(theirs.hvp(w, data.X, data.y, u), theirs.hvp(w, rows, None, u))
    same(theirs.mixed_product(w, data.X, data.y, u), theirs.mixed_product(w, rows, None, u))
    same(objective(theirs, w, data), objective(theirs, w, Sample(rows)))


def test_float32_agrees_to_its_precision_and_sums_in_float64():
    _, theirs, data = linear_pair("logistic")
    single = TorchRisk(torch.nn.Linear(4, 1), "logistic", 0.1)
    w = vectors(5)[0]
    found = single.grad(single.vector(w), data.X, data.y)
    assert found.dtype == torch.float64
    same(theirs.grad(theirs.vector(w), data.X, data.y), found, tol=1e-6)
