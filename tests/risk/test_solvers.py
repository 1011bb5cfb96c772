"""Solvers of linear systems that only multiply: against dense solutions, in numpy and in torch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.sparse.linalg import minres

torch = pytest.importorskip("torch")

from linpoison.core import InputError, SolverFailed  # noqa: E402
from linpoison.risk import CG, MINRES, Dense, GaussNewton, Identity, NormalCG  # noqa: E402
from linpoison.risk.arrays import plus, to_numpy, where  # noqa: E402
from linpoison.risk.solvers import mean_curvature  # noqa: E402
from linpoison.risk.training import quasi_newton  # noqa: E402

P = 12


def system(low=0.1, high=10.0, seed=0):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(P, P)))[0]
    return (Q * np.linspace(low, high, P)) @ Q.T, rng.normal(size=P)


def product(H, kind):
    if kind == "numpy":
        return lambda v: H @ v
    return lambda v: torch.as_tensor(H) @ v


def vector(b, kind):
    return b if kind == "numpy" else torch.as_tensor(b)


def test_numbers_of_every_kind_are_chosen_and_added_alike():
    vectors = np.array([1.0, -2.0]), np.array([0.5, 4.0])
    tensors = [torch.as_tensor(v) for v in vectors]
    for mask in (True, False):
        want = vectors[0] if mask else vectors[1]
        assert (where(mask, *vectors) == want).all()
        assert where(mask, 2.0, 3.0) == (2.0 if mask else 3.0)
        t = torch.tensor(mask)
        assert (where(t, *tensors).numpy() == want).all()
        assert (where(t, 2.0, tensors[1]).numpy() == (np.full(2, 2.0) if mask else vectors[1])).all()
        assert float(where(t, 2.0, 3.0)) == (2.0 if mask else 3.0)
    want = vectors[0] - 3 * vectors[1]
    for factor in (-3.0, torch.tensor(-3.0, dtype=torch.float64)):
        np.testing.assert_allclose(plus(tensors[0], factor, tensors[1]).numpy(), want)
    np.testing.assert_allclose(plus(*vectors[:1], -3.0, vectors[1]), want)


@pytest.mark.parametrize("solver", [CG(0.0, 1.0, 6, 0.0), MINRES(0.0, 1.0, 6, 0.0), NormalCG(0.0, 1.0, 6, 0.0)])
def test_looking_at_every_iteration_or_seldom_gives_the_same(solver):
    for low in (0.1, -10.0):
        H, b = system(low)
        often, seldom = (
            type(solver)(0.0, 1.0, 6, 0.0, every).solve(product(H, "torch"), torch.as_tensor(b)) for every in (None, 3)
        )
        torch.testing.assert_close(often.x, seldom.x)
        torch.testing.assert_close(often.facts, seldom.facts, rtol=1e-9, atol=1e-9)


EXACT = [kind(relative_damping=0, maxiter=200, tol=1e-13) for kind in (CG, MINRES, GaussNewton, NormalCG)] + [Dense()]
kinds = pytest.mark.parametrize("kind", ["numpy", "torch"])


@kinds
@pytest.mark.parametrize("solver", EXACT, ids=lambda s: type(s).__name__)
def test_a_positive_definite_system_is_solved(solver, kind):
    H, b = system()
    found = solver.solve(product(H, kind), vector(b, kind))
    assert type(found.x) is type(vector(b, kind))
    np.testing.assert_allclose(to_numpy(found.x), np.linalg.solve(H, b), rtol=1e-10, atol=1e-10)
    assert found.residual < 1e-9
    assert found.iterations > 0
    assert not found.negative_curvature


@kinds
@pytest.mark.parametrize(
    "solver",
    [kind(relative_damping=0, damping=0.7, maxiter=200) for kind in (CG, MINRES, NormalCG)] + [Dense(0.7)],
    ids=lambda s: type(s).__name__,
)
def test_a_damped_system_is_that_of_the_dense_solve(solver, kind):
    H, b = system()
    found = solver.solve(product(H, kind), vector(b, kind))
    assert found.damping == 0.7
    np.testing.assert_allclose(to_numpy(found.x), np.linalg.solve(H + 0.7 * np.eye(P), b), rtol=1e-8, atol=1e-8)
    assert found.residual < 1e-8


def test_relative_damping_is_in_units_of_the_mean_curvature():
    H, b = system()
    found = CG(relative_damping=0.1, maxiter=200).solve(lambda v: H @ v, b)
    assert found.damping == pytest.approx(0.1 * mean_curvature(lambda v: H @ v, b))
    assert found.damping == pytest.approx(0.1 * np.trace(H) / P, rel=0.6)
    np.testing.assert_allclose(found.x, np.linalg.solve(H + found.damping * np.eye(P), b), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("build", [lambda d: CG(0, d), lambda d: MINRES(0, d), lambda d: Dense(d)])
def test_negative_curvature_is_told_of_the_damped_matrix(build):
    H, b = system(-2.0, 10.0)
    assert build(0.0).solve(lambda v: H @ v, b).negative_curvature
    assert not build(2.5).solve(lambda v: H @ v, b).negative_curvature


def test_conjugate_gradients_stop_at_negative_curvature_with_a_direction_of_ascent():
    H, b = system(-2.0, 10.0)
    found = CG(relative_damping=0).solve(lambda v: H @ v, b)
    assert found.x @ b > 0
    assert found.residual == pytest.approx(np.linalg.norm(H @ found.x - b) / np.linalg.norm(b))
    first = CG(relative_damping=0).solve(lambda v: -v, b)
    np.testing.assert_array_equal(first.x, b)
    assert first.negative_curvature
    assert first.iterations == 1


def test_an_indefinite_system_is_solved_densely():
    H, b = system(-2.0, 10.0)
    found = Dense().solve(lambda v: H @ v, b)
    np.testing.assert_allclose(found.x, np.linalg.solve(H, b), rtol=1e-8, atol=1e-8)


@kinds
@pytest.mark.parametrize("solver", [MINRES(0, maxiter=60), NormalCG(0, maxiter=60)], ids=lambda s: s.name)
@pytest.mark.parametrize("seed", range(5))
def test_an_indefinite_system_is_solved_by_products(solver, kind, seed):
    H, b = system(-7.0, 10.0, seed)
    found = solver.solve(product(H, kind), vector(b, kind))
    np.testing.assert_allclose(to_numpy(found.x), np.linalg.solve(H, b), rtol=1e-7, atol=1e-7)
    assert found.residual < 1e-8
    assert found.negative_curvature
    assert found.solver == solver.name


@pytest.mark.parametrize("seed", range(5))
def test_minres_is_scipy_s_step_by_step(seed):
    H, b = system(-7.0, 10.0, seed)
    last = np.inf
    for steps in range(1, P):
        ours = MINRES(0, maxiter=steps).solve(lambda v: H @ v, b)
        theirs, _ = minres(H, b, maxiter=steps, rtol=0)
        np.testing.assert_allclose(ours.x, theirs, rtol=1e-7, atol=1e-8)
        krylov = np.linalg.qr(np.stack([np.linalg.matrix_power(H, k) @ b for k in range(steps)], axis=1))[0]
        best = krylov @ np.linalg.lstsq(H @ krylov, b, rcond=None)[0]
        assert ours.residual == pytest.approx(np.linalg.norm(H @ best - b) / np.linalg.norm(b), rel=1e-4, abs=1e-8)
        assert ours.residual <= last
        ritz = np.linalg.eigvalsh(krylov.T @ H @ krylov)[0]
        assert ours.negative_curvature == (ritz <= 0)
        assert ours.curvature >= ritz - 1e-6
        last = ours.residual


def test_a_system_without_a_solution_ends_at_the_least_residual():
    H, b = np.diag([1.0, -2.0, 0.0]), np.ones(3)
    found = MINRES(0, maxiter=20).solve(lambda v: H @ v, b)
    assert found.residual == pytest.approx(1 / np.sqrt(3))


@pytest.mark.parametrize("low", [0.1, -7.0])
@pytest.mark.parametrize("kind", [CG, MINRES, NormalCG])
def test_how_often_it_looks_changes_no_answer(kind, low):
    H, b = system(low)
    products = {1: 0, 16: 0}

    def counted(every):
        def product(v):
            products[every] += 1
            return torch.as_tensor(H) @ v

        return kind(maxiter=40, tol=1e-3, every=every).solve(product, torch.as_tensor(b))

    often, seldom = counted(1), counted(16)
    assert torch.equal(often.x, seldom.x)
    assert (often.iterations, often.curvature) == (seldom.iterations, seldom.curvature)
    assert products[1] < products[16]


def test_few_iterations_report_the_residual_that_they_reach():
    H, b = system()
    found = CG(relative_damping=0, maxiter=3).solve(lambda v: H @ v, b)
    assert found.iterations == 3
    assert found.residual == pytest.approx(np.linalg.norm(H @ found.x - b) / np.linalg.norm(b))
    assert 1e-6 < found.residual < 1


def test_a_zero_right_side_has_a_zero_solution():
    H, _ = system()
    for solver in EXACT:
        found = solver.solve(lambda v: H @ v, np.zeros(P))
        assert (found.x == 0).all()
        assert found.residual == 0


def test_identity_is_the_right_side_and_knows_no_residual():
    b = np.arange(3.0)
    found = Identity().solve(lambda v: 1 / 0, b)
    np.testing.assert_array_equal(found.x, b)
    assert np.isnan(found.residual)


def test_what_cannot_be_solved_says_so():
    _, b = system()
    with pytest.raises(SolverFailed, match="singular"):
        Dense().solve(lambda v: 0 * v, b)
    with pytest.raises(InputError, match="at most 5 parameters"):
        Dense(limit=5).solve(lambda v: v, b)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: CG(relative_damping=-1), "relative_damping"),
        (lambda: CG(damping=-1), "damping"),
        (lambda: CG(maxiter=0), "maxiter"),
        (lambda: CG(tol=-1), "tol"),
    ],
)
def test_options_are_checked(build, name):
    with pytest.raises(InputError, match=name):
        build()


@kinds
@pytest.mark.parametrize("every", [1, 16])
def test_quasi_newton_finds_the_bottom_of_a_bent_valley(kind, every):
    def rosenbrock(x):
        slope = 0.0 * x
        gap = x[1:] - x[:-1] ** 2
        slope[1:] += 200 * gap
        slope[:-1] += -400 * x[:-1] * gap - 2 * (1 - x[:-1])
        return 100 * (gap @ gap) + (1 - x[:-1]) @ (1 - x[:-1]), slope

    start = vector(np.array([-1.2, 1.0, -0.5, 0.8]), kind)
    found = to_numpy(quasi_newton(rosenbrock, start, steps=400, tol=1e-9, every=every))
    theirs = minimize(
        lambda x: rosenbrock(x), to_numpy(start), jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-10}
    )
    np.testing.assert_allclose(found, theirs.x, atol=1e-6)
    np.testing.assert_allclose(found, 1.0, atol=1e-6)


def test_quasi_newton_keeps_away_from_where_there_are_no_numbers():
    function = lambda x: (-np.log(1 - x @ x) + x.sum() if x @ x < 1 else np.nan, 2 * x / (1 - x @ x) + 1.0)  # noqa: E731
    with np.errstate(all="ignore"):
        found = quasi_newton(function, np.array([0.5, -0.3]), steps=200, tol=1e-10)
    assert found @ found < 1
    np.testing.assert_allclose(2 * found / (1 - found @ found), -1.0, atol=1e-8)
