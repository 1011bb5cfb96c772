"""The truncated SVD against numpy's full one."""

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.defenses import subspace_fit
from linpoison.defenses.rows import residual_norms
from linpoison.defenses.subspace_fit import principal_subspace


def matrix(n, d, decay=0.7, seed=0):
    rng = np.random.default_rng(seed)
    rank = min(n, d)
    left, right = np.linalg.qr(rng.normal(size=(n, rank)))[0], np.linalg.qr(rng.normal(size=(d, rank)))[0]
    return (left * (10 * np.arange(1, rank + 1) ** -decay)) @ right.T


def check(X, energy, **options):
    dense = X.toarray() if sp.issparse(X) else X
    _, values, rows = np.linalg.svd(dense, full_matrices=False)
    k = int(np.argmax(np.cumsum(values**2) > energy * np.sum(values**2))) + 1
    found = principal_subspace(X, energy, **options)
    assert found.basis.shape == (dense.shape[1], k)
    np.testing.assert_allclose(found.values, values[:k], rtol=1e-9)
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(k), atol=1e-10)
    exact = np.linalg.norm(dense - dense @ rows[:k].T @ rows[:k], axis=1)
    np.testing.assert_allclose(residual_norms(X, found.basis), exact, atol=1e-7)


@pytest.mark.parametrize("shape", [(40, 15), (15, 40), (30, 30)])
@pytest.mark.parametrize("energy", [0.3, 0.95, 0.999])
def test_small(shape, energy):
    check(matrix(*shape), energy)
    check(sp.csr_array(matrix(*shape)), energy)


@pytest.mark.parametrize("shape", [(700, 650), (650, 700)])
@pytest.mark.parametrize("hint", [None, 2, 150])
def test_lanczos(monkeypatch, shape, hint):
    monkeypatch.setattr(subspace_fit, "_dense", None)  # must not be needed
    check(sp.csr_array(matrix(*shape)), 0.9, rank_hint=hint)
    check(matrix(*shape), 0.9, rank_hint=hint)


def test_flat_spectra_fall_back_to_the_whole_decomposition():
    check(matrix(650, 700, decay=0.05), 0.9)


def test_lanczos_without_convergence_falls_back(monkeypatch):
    def fail(*_, **__):
        raise subspace_fit.ArpackNoConvergence("no", np.zeros(0), np.zeros((0, 0)))

    monkeypatch.setattr(subspace_fit, "eigsh", fail)
    check(matrix(700, 650), 0.9)


def test_low_rank():
    X = matrix(700, 650, decay=0.1)[:, :5] @ np.random.default_rng(1).normal(size=(5, 650))
    check(X, 0.95)
    check(sp.csr_array(X), 0.95)


def test_same_answer_twice():
    X = sp.csr_array(matrix(700, 650))
    np.testing.assert_array_equal(principal_subspace(X, 0.9).basis, principal_subspace(X, 0.9).basis)


def test_zero():
    found = principal_subspace(np.zeros((3, 4)), 0.95)
    assert found.basis.shape == (4, 0)
    assert found.values.size == 0


def test_residual_without_cancellation():
    """A row almost inside the subspace keeps its digits."""
    B = np.linalg.qr(np.random.default_rng(2).normal(size=(50, 3)))[0]
    inside = 1e6 * B[:, 0]
    outside = np.eye(50)[0] - B @ B[0]
    row = (inside + 1e-4 * outside / np.linalg.norm(outside))[None, :]
    for X in (row, sp.csr_array(row)):
        np.testing.assert_allclose(residual_norms(X, B), 1e-4, rtol=1e-4)
