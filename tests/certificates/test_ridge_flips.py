from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from ridge_cases import ridge_claim, ridge_problem, scores

from linpoison.certificates.partition.hashing import parts_of
from linpoison.certificates.ridge.flips import flips_withstood, label_flips_ridge
from linpoison.core import CapabilityError, CertificateInvalid, CertificateViolated, InputError
from linpoison.losses import Logistic, Problem


def flipped(claim, rows):
    y = claim.train.y.copy()
    y[list(rows)] *= -1
    return scores(replace(claim, train=replace(claim.train, y=y)))


@pytest.mark.parametrize("convention", [0, 1, 2])
@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("flips", [0, 1, 2])
def test_enumeration_finds_the_bound(convention, scaling, flips):
    claim = ridge_claim(0.3, problem=ridge_problem(convention, scaling, n=12), n=12, seed=1)
    found = label_flips_ridge(claim, flips)
    tried = [rows for k in range(flips + 1) for rows in combinations(range(12), k)]
    best = np.max([flipped(claim, rows) for rows in tried], axis=0)
    np.testing.assert_allclose(found.bound, best, atol=1e-7)
    assert found.exact.all()
    np.testing.assert_array_equal(found.verify(), found.bound)


def test_the_listed_rows_do_it():
    claim = ridge_claim(0.0, n=20, seed=2)
    found = label_flips_ridge(claim, 3)
    for row, chosen in enumerate(found.witness["flipped"]):
        assert flipped(claim, chosen[chosen >= 0])[row] == pytest.approx(found.bound[row], abs=1e-7)
    with pytest.raises(CertificateViolated):
        found.check_attack(found.bound + 1e-3)


def test_copies_count():
    claim = ridge_claim(0.0, n=12, seed=3)
    twice = replace(claim, train=replace(claim.train, weight=np.full(12, 2.0)))
    np.testing.assert_allclose(label_flips_ridge(twice, 4).bound, label_flips_ridge(claim, 2).bound, atol=1e-9)
    assert (label_flips_ridge(twice, 3).bound < label_flips_ridge(twice, 4).bound).all()
    all_rows = label_flips_ridge(claim, 100)
    np.testing.assert_allclose(all_rows.bound, label_flips_ridge(claim, 12).bound)
    assert (all_rows.bound >= label_flips_ridge(claim, 8).bound - 1e-9).all()


def test_other_losses_are_refused():
    with pytest.raises(CapabilityError, match="squared"):
        label_flips_ridge(ridge_claim(problem=Problem(Logistic(), 0.1)), 1)


@pytest.mark.parametrize(("convention", "scaling"), [(0, "mean"), (1, "sum"), (2, "mean")])
def test_enumeration_finds_what_the_average_of_parts_withstands(convention, scaling):
    claim = ridge_claim(0.0, problem=ridge_problem(convention, scaling, n=12), n=12, seed=4)
    part = parts_of(claim.train.X, 2, 3)

    def averaged(rows):
        y = claim.train.y * np.where(np.isin(np.arange(12), rows), -1.0, 1.0)
        each = [alone(claim, claim.train.X[part == number], y[part == number]) for number in (0, 1)]
        return np.mean(each, axis=0)

    tried = [rows for k in range(3) for rows in combinations(range(12), k)]
    found, held = label_flips_ridge(claim, 2, n_parts=2, seed=3), flips_withstood(claim, 12, n_parts=2, seed=3)
    np.testing.assert_allclose(found.bound, np.max([averaged(rows) for rows in tried], axis=0), atol=1e-7)
    np.testing.assert_array_equal(found.verify(), found.bound)
    for count in range(13):
        bound = label_flips_ridge(claim, count, n_parts=2, seed=3).bound
        np.testing.assert_array_equal(bound < 0, held >= count)
    assert len(set(held)) > 2
    whole = replace(found, witness={"flipped": found.witness["flipped"]})
    with pytest.raises(CertificateInvalid):
        whole.verify()
    with pytest.raises(InputError, match="at most 12 parts"):
        label_flips_ridge(claim, 1, n_parts=13)


def alone(claim, X, y):
    """Negative margins by the model of some rows, by a linear system: they may be of one class."""
    problem, one = claim.problem, float(claim.problem.fit_intercept)
    E = np.column_stack([X, np.full(len(y), one)])
    H = E.T @ E / len(y) + problem.reg_at(len(y)) * np.diag(problem.penalty_mask(X.shape[1]))
    v = np.linalg.lstsq(H, E.T @ y / len(y), rcond=None)[0]
    return -claim.rows.y * (claim.rows.X @ v[:-1] + one * v[-1])
