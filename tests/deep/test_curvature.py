"""What is computed once for many uses: products with the Hessian and Gauss-Newton matrix, pulls, steps of a learner."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import binary, linear_pair, mlp, several  # noqa: E402
from total_gradient import total_gradient  # noqa: E402

from deep import TorchRisk  # noqa: E402
from linpoison.core import InputError  # noqa: E402
from linpoison.risk import CG, MINRES, Alone, GaussNewton, LBFGSTrainer, hessian  # noqa: E402
from linpoison.risk.arrays import to_numpy  # noqa: E402

LOSSES = {"cross_entropy": 3, "logistic": 1, "squared": 1}
chunked = pytest.mark.parametrize("chunk", [7, 64])


def case(loss="cross_entropy", chunk=64, **options):
    risk = TorchRisk(mlp(outputs=LOSSES[loss]), loss, chunk=chunk, **options)
    data = several(30) if loss == "cross_entropy" else binary(30)
    coefficients = np.random.default_rng(3).uniform(size=30)
    return risk, risk.current, data, coefficients


def jacobian(function, w):
    return torch.autograd.functional.jacobian(function, w)


def outputs_of(risk, X):
    """Scores as a function of the flat vector, by torch alone."""
    return lambda w: torch.func.functional_call(risk.module, risk.layout.split(w), torch.as_tensor(X))


@chunked
@pytest.mark.parametrize("loss", LOSSES)
def test_products_are_those_of_dense_matrices(loss, chunk):
    risk, w, data, coefficients = case(loss, chunk)
    v, share = torch.as_tensor(np.random.default_rng(4).normal(size=len(w))), torch.as_tensor(coefficients)
    scores, targets = outputs_of(risk, data.X), risk.targets(data.y, data.X)
    value = lambda z: (share * risk._loss(z, targets)).sum()  # noqa: E731
    H = torch.autograd.functional.hessian(lambda p: value(scores(p)), w)
    torch.testing.assert_close(risk.curvature(w, data.X, data.y, coefficients)(v), H @ v, rtol=1e-10, atol=1e-12)
    J, z = jacobian(scores, w).reshape(-1, len(w)), scores(w).detach()
    bend = torch.autograd.functional.hessian(lambda flat: value(flat.reshape(z.shape)), z.reshape(-1))
    G, found = J.T @ bend @ J, risk.curvature(w, data.X, data.y, coefficients, gauss_newton=True)
    torch.testing.assert_close(found(v), G @ v, rtol=1e-10, atol=1e-12)
    assert float(v @ found(v)) >= 0
    assert float((H - G).abs().max()) > 1e-3


def test_a_linear_model_s_gauss_newton_matrix_is_its_hessian():
    for risk, data in ((risk, pair[2]) for pair in (linear_pair("3"),) for risk in pair[:2]):
        w = risk.vector(np.random.default_rng(0).normal(size=15))
        products = [hessian(risk, w, data, gauss_newton=kind)(w) for kind in (False, True)]
        np.testing.assert_allclose(*map(to_numpy, products), rtol=1e-10, atol=1e-13)


@chunked
def test_a_pull_and_what_follows_it_are_the_two_apart(chunk):
    risk, w, data, coefficients = case(chunk=chunk)
    p, push = risk.pulled(w, data.X, data.y, coefficients)
    torch.testing.assert_close(p, risk.loss_vjp(w, data.X, data.y, coefficients), rtol=1e-12, atol=1e-14)
    mixed = torch.as_tensor(coefficients)[:, None] * risk.mixed_product(w, data.X, data.y, p)
    torch.testing.assert_close(push(p), mixed, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(push(-2.0 * p), -2.0 * mixed, rtol=1e-10, atol=1e-12)


@chunked
def test_steps_of_a_learner_are_steps_along_the_gradient(chunk):
    for penalize in (True, False):
        risk, w, data, _ = case(chunk=chunk, reg=0.3, penalize_intercept=penalize)
        share, expected = np.full(30, 1 / 30), w
        for _ in range(3):
            expected = expected - 0.5 * risk.grad(expected, data.X, data.y)
        found = risk.descended(w, data.X, data.y, share, steps=3, length=0.5, ranks=Alone())
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
        assert torch.equal(w, risk.current)


def test_where_conjugate_gradients_end_at_once_the_others_solve():
    risk, _, data, _ = case(chunk=64)
    w = 3.0 * torch.as_tensor(np.random.default_rng(1).normal(size=risk.size))
    products, b = hessian(risk, w, data), risk.data_grad(w, data.X, data.y)
    first = CG(relative_damping=0, maxiter=40).solve(products, b)
    assert first.negative_curvature
    assert first.residual > 0.9
    found = MINRES(relative_damping=0, maxiter=80).solve(products, b)
    assert found.negative_curvature
    assert found.residual < 1e-3
    gauss = GaussNewton(maxiter=80).solve(hessian(risk, w, data, gauss_newton=True), b)
    assert not gauss.negative_curvature
    assert gauss.residual < 1e-3


def test_a_solver_says_which_matrix_it_wants():
    risk, _, data, _ = case(reg=0.1)
    w = LBFGSTrainer(maxiter=50, newton=0).fit(risk, data).w
    kinds = [kind(0, 0.01, 60) for kind in (MINRES, GaussNewton)]
    found = [total_gradient(risk, w, data, data, data, kind) for kind in kinds]
    assert [one.solution.solver for one in found] == ["minres", "gauss-newton"]
    for one, kind in zip(found, kinds, strict=True):
        matrix = hessian(risk, w, data, gauss_newton=kind.gauss_newton)
        slope = risk.data_grad(w, data.X, data.y)
        torch.testing.assert_close(matrix(one.solution.x) + 0.01 * one.solution.x, slope, rtol=1e-4, atol=1e-6)
    assert float((found[0].rows - found[1].rows).abs().max()) > 1e-6


@pytest.mark.parametrize(("precision", "wanted"), [("ieee", "ieee"), ("tf32", "tf32"), ("bf16", "tf32")])
def test_steps_of_a_learner_come_in_the_precision_asked_for_and_nothing_else_does(precision, wanted):
    module, seen = mlp().float(), []
    risk = TorchRisk(module).stepping_in(precision).on(module)
    data, w, share = several(30), risk.current, np.full(30, 1 / 30)
    exact = risk.stepping_in("ieee").descended(w, data.X, data.y, share, steps=4, length=0.5, ranks=Alone())
    place = torch.backends.cuda.matmul
    before = place.fp32_precision
    module[0].register_forward_hook(lambda *a: seen.append((place.fp32_precision, a[2].dtype)))
    found = risk.descended(w, data.X, data.y, share, steps=4, length=0.5, ranks=Alone())
    assert set(seen) == {(wanted, torch.bfloat16 if precision == "bf16" else torch.float32)}
    gap = float((found - exact).norm() / (exact - w).norm())
    assert (1e-5 < gap < 0.1) if precision == "bf16" else gap == 0, gap
    seen.clear()
    risk.curvature(w, data.X, data.y, share)(w)
    assert set(seen) == {("ieee", torch.float32)}
    assert place.fp32_precision == before


def test_precisions_have_names():
    with pytest.raises(InputError, match="ieee, tf32, bf16"):
        TorchRisk(mlp()).stepping_in("fp8")
