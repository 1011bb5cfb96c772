"""The truncated SVD against numpy's full one."""

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.defenses import subspace_fit
from linpoison.defenses.block_lanczos import BlockLanczos
from linpoison.defenses.rows import residual_norms
from linpoison.defenses.subspace_fit import principal_subspace, subspace_work


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


def test_many_equal_values_fall_back():
    """A block of 16 columns meets 16 of 300 equal directions and no more."""
    X = np.diag(np.r_[np.full(300, 2.0), np.full(400, 0.1)])
    found = principal_subspace(X, 0.9)
    np.testing.assert_allclose(found.values, np.full(found.rank, 2.0))
    assert found.rank == 271


def test_limit():
    X = sp.csr_array(matrix(650, 700))
    whole, cut = principal_subspace(X, 0.9), principal_subspace(X, 0.9, limit=20)
    assert (whole.rank > 20, cut.rank) == (True, 20)
    np.testing.assert_allclose(cut.values, whole.values[:20], rtol=1e-10)
    np.testing.assert_allclose(cut.own_coordinates() ** 2, whole.own_coordinates()[:, :20] ** 2, atol=1e-8)
    assert principal_subspace(X, 0.9, limit=900).rank == whole.rank


@pytest.mark.parametrize("shape", [(700, 650), (650, 700)])
def test_parts_of_a_subspace(shape):
    X = matrix(*shape)
    rng = np.random.default_rng(3)
    space = principal_subspace(sp.csr_array(X), 0.9)
    B, rows = space.basis, rng.normal(size=(3, shape[1]))
    np.testing.assert_allclose(space.coordinates(rows), rows @ B, atol=1e-9)
    np.testing.assert_allclose(space.combine(rows @ B), rows @ B @ B.T, atol=1e-9)
    np.testing.assert_allclose(space.own_coordinates(), X @ B, atol=1e-9)
    extra = np.linalg.qr((rows - rows @ B @ B.T).T)[0].T
    left = X - X @ B @ B.T - X @ extra.T @ extra
    np.testing.assert_allclose(space.own_residuals(extra), np.linalg.norm(left, axis=1), atol=1e-9)
    assert space.first(4).basis.shape == (shape[1], 4)


def test_own_residuals_without_cancellation():
    """A row that is one of the main directions itself keeps its digits."""
    X = np.zeros((40, 900))
    X[:2, 0], X[0, 1], X[1, 1] = 1e6, 0.1, -0.1
    X[2:, 2:] = np.random.default_rng(5).normal(size=(38, 898))
    space = principal_subspace(X, 0.95)
    assert space.right is None
    np.testing.assert_allclose(space.own_residuals(np.zeros((0, 900)))[:2], 0.1, rtol=1e-4)


@pytest.mark.parametrize("rank", [3, 40])
def test_krylov_space_of_low_rank(rank):
    """Blocks shrink to what is left, and the invariant space holds all the values."""
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(300, rank))
    krylov = BlockLanczos(lambda block: factor @ (factor.T @ block), 300, 16)
    krylov.grow(200)
    values, inner, residuals = krylov.pairs()
    assert krylov.exhausted
    assert krylov.columns < rank + 32
    np.testing.assert_allclose(values[:rank], np.linalg.eigvalsh(factor.T @ factor)[::-1], rtol=1e-10)
    vectors = krylov.expand(inner)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(krylov.columns), atol=1e-10)
    assert not residuals.any()


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


def test_the_work_of_sparse_rows_is_guessed_by_how_their_eigenvalues_fall(monkeypatch):
    monkeypatch.setattr(subspace_fit, "_GUESSED", 0)
    falling = np.arange(1.0, 1001.0) ** -1.3
    k = int(np.searchsorted(np.cumsum(falling), 0.9 * falling.sum())) + 1
    assert abs(subspace_fit._rank_of_power_law(falling[:64], falling.sum(), 0.9, 1000) - k) <= 1
    few, flat = sp.csr_array(matrix(700, 900, decay=2.0)), sp.eye_array(700, 900, format="csr")
    assert subspace_work(flat, 0.95) == 9.0 * 700**3
    assert subspace_work(few, 0.95) < 1e-3 * subspace_work(flat, 0.95)
    assert subspace_work(few.toarray(), 0.95) > 9.0 * 700**3
