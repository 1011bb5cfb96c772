"""The Hessian's routes against numpy, and what leaving out light rows changes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.learners import hessian
from linpoison.learners.hessian import Hessian, squared_lengths, without_light_rows


def dense_hessian(X, curvature, penalty):
    full = np.column_stack([X, np.ones(X.shape[0])])
    return np.diag(penalty) + (full * curvature[:, None]).T @ full


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("intercept_penalty", [0.3, 0.0])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("route", ["rows", "columns", "iterations", "stalled"])
def test_every_route_solves_with_the_same_hessian(route, sparse, intercept_penalty, fit_intercept, monkeypatch):
    rng = np.random.default_rng(1)
    n, d = (12, 20) if route == "rows" else (40, 8)
    X = rng.poisson(0.7, (n, d)).astype(float) * np.logspace(-1, 1, d)
    curvature = rng.random(n) * (rng.random(n) < 0.8)
    penalty = np.append(np.full(d, 0.3), intercept_penalty)
    if route in ("iterations", "stalled"):
        monkeypatch.setattr(hessian, "DIRECT", 1)
    options = {"fit_intercept": fit_intercept, "max_iter": 1 if route == "stalled" else 2000}
    solver = Hessian(sp.csr_array(X) if sparse else X, curvature, penalty, **options)
    v = rng.standard_normal(d + 1)
    full = dense_hessian(X, curvature, penalty)
    expected = np.linalg.solve(full, v) if fit_intercept else np.append(np.linalg.solve(full[:-1, :-1], v[:-1]), 0.0)
    answer = solver.solve(v)
    np.testing.assert_allclose(answer, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    held = v if fit_intercept else np.append(v[:-1], 0.0)
    np.testing.assert_allclose(solver.product(answer), held, atol=1e-8)
    free = d + fit_intercept
    np.testing.assert_allclose(solver.matrix()[:free, :free], full[:free, :free], rtol=1e-12, atol=1e-12)
    assert not solver.matrix()[free:].any()
    assert not solver.matrix()[:, free:].any()
    assert solver.stalled == (route == "stalled")


def test_without_a_row_of_curvature_the_penalty_is_left(capfd):
    solver = Hessian(np.ones((3, 9)), np.zeros(3), np.full(10, 0.5))
    np.testing.assert_allclose(solver.solve(np.arange(10.0)), 2 * np.arange(10.0))
    assert capfd.readouterr() == ("", "")  # LAPACK complains there


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_light_rows_are_left_out_within_their_bounds(make):
    rng = np.random.default_rng(0)
    X, curvature = rng.standard_normal((60, 5)), 10.0 ** rng.uniform(-6, 0, 60)
    lengths = squared_lengths(make(X))
    np.testing.assert_allclose(lengths, (X**2).sum(axis=1) + 1)
    kept = without_light_rows(curvature, lengths, 1e-2, 1.0)
    assert 0 < (kept == 0).sum() < 60
    assert set(kept[kept > 0]) <= set(curvature)
    change = dense_hessian(X, curvature - kept, np.zeros(6))
    assert 0 < np.linalg.norm(change, 2) <= 1e-2
    shared = without_light_rows(curvature, lengths, 1e9, 1e-3)
    assert 0 < (curvature - shared).sum() <= 1e-3 * curvature.sum()
