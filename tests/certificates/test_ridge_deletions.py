"""Deleted and replaced rows of ridge: every subset of small data, in plain linear algebra, against the closed form."""

from __future__ import annotations

import csv
import runpy
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ridge_cases import CONVENTIONS, make_sets, random_poison, ridge_claim, ridge_problem

from linpoison.certificates import Claim, deletions_ridge
from linpoison.certificates.ridge import deletions
from linpoison.certificates.ridge.deletions import deletions_withstood
from linpoison.core import CapabilityError, Dataset, InputError
from linpoison.losses import Hinge

CASES = [(convention, scaling) for convention in range(len(CONVENTIONS)) for scaling in ("mean", "sum")]


def scores_without(claim, gone, poison=None):
    """Negative margins of the rows of a claim after training without the rows `gone`, by a linear system."""
    train, problem = claim.train.take(np.setdiff1d(np.arange(claim.train.n), gone)), claim.problem
    data = train if poison is None else train.mix(poison.as_dataset())
    E = np.column_stack([data.X, np.ones(data.n)])[:, : data.d + problem.fit_intercept]
    penalty = problem.reg_at(data.total) * data.total * problem.penalty_mask(data.d)[: E.shape[1]]
    v = np.linalg.solve((E.T * data.weight) @ E + np.diag(penalty), (E.T * data.weight) @ data.y)
    rows = claim.rows
    return -rows.y * (np.column_stack([rows.X, np.ones(rows.n)])[:, : E.shape[1]] @ v)


def worst_of_all(claim, count, least=0):
    """The greatest score over every way to lose `least` to `count` rows."""
    n = claim.train.n
    lost = (gone for j in range(least, count + 1) for gone in combinations(range(n), j))
    return np.max([scores_without(claim, np.array(gone, dtype=int)) for gone in lost], axis=0)


def small(convention, scaling, seed, n=11, reg=0.2):
    problem = ridge_problem(convention, scaling, reg, n)
    return ridge_claim(0.0, problem=problem, n=n, d=3, rows=5, seed=seed)


@pytest.mark.parametrize(("convention", "scaling"), CASES)
def test_no_subset_exceeds_a_bound_that_subsets_nearly_attain(convention, scaling):
    shares = []
    for seed, reg in ((0, 0.3), (1, 0.05)):
        claim = small(convention, scaling, seed, reg=reg)
        clean = scores_without(claim, np.zeros(0, dtype=int))
        for count in (1, 2, 3):
            best, bound = worst_of_all(claim, count), deletions_ridge(claim, count).bound
            assert (best <= bound).all()
            if count == 1:
                np.testing.assert_allclose(bound, best, rtol=1e-9)  # the formula of leaving one out is exact
            shares += [(best - clean) / (bound - clean)] if count == 2 else []
    assert np.median(shares) > 0.9


@pytest.mark.parametrize(("convention", "scaling"), CASES)
def test_rows_replaced_by_any_of_the_sets(convention, scaling):
    claim = small(convention, scaling, 3, n=12).at(2 / 12)
    found, rng = deletions_ridge(claim, 2), np.random.default_rng(0)
    assert np.isfinite(found.bound).all()
    for _ in range(150):
        gone = rng.choice(12, size=int(rng.integers(3)), replace=False)
        poison = random_poison(claim.at(claim.epsilon * rng.random()), rng)
        found.check_attack(scores_without(claim, gone, poison), tol=1e-9)
    assert (found.bound > deletions_ridge(claim.at(0.0), 2).bound).all()


def test_less_poison_with_rows_outside_the_sets_is_covered():
    """Rows that fit badly, and poison that fits well: the regulariser of less poison is what does the damage."""
    claim = ridge_claim(0.6, n=12, d=2, rows=6, seed=2)
    near = make_sets("ball", Dataset(0.1 * claim.train.X + 2 * claim.train.y[:, None], claim.train.y), np.ones(2))
    claim, rng = replace(claim, sets=near), np.random.default_rng(1)
    found = deletions_ridge(claim, 1)
    for share in np.linspace(0.0, 1.0, 60):
        poison = random_poison(claim.at(share * claim.epsilon), rng)
        found.check_attack(scores_without(claim, rng.choice(12, size=1), poison if share else None), tol=1e-9)


def test_without_pairs_the_bound_is_looser_and_holds(monkeypatch):
    claim = small(0, "mean", 4)
    exact = deletions_ridge(claim, 2).bound
    monkeypatch.setattr(deletions, "PAIRS", 0)
    loose = deletions_ridge(claim, 2).bound
    assert (loose >= exact - 1e-12).all()
    assert (loose > exact + 1e-4).any()
    assert (worst_of_all(claim, 2) <= loose).all()


def test_far_columns_cost_nothing_where_the_intercept_is_free():
    """Moving all rows is a symmetry that numbers of 20 bits do not round."""
    claim = small(1, "mean", 5)
    rounded = [replace(data, X=np.round(data.X * 1024) / 1024) for data in (claim.train, claim.rows)]
    near = Claim(rounded[0], claim.problem, claim.sets, 0.0, rounded[1])
    far = near.about(replace(rounded[1], X=rounded[1].X + 2.0**20))
    far = replace(far, train=replace(rounded[0], X=rounded[0].X + 2.0**20))
    best, bound = worst_of_all(near, 1), deletions_ridge(far, 1).bound
    assert (best <= bound).all()
    np.testing.assert_allclose(bound, best, atol=1e-6)


def test_rows_withstood_are_those_that_the_certificates_say():
    claim = small(0, "mean", 6, n=20)
    found = deletions_withstood(claim, 4)
    for count in range(5):
        np.testing.assert_array_equal(found >= count, deletions_ridge(claim, count).bound < 0)
    assert found.min() < 4 == found.max()


def test_sum_scaling_goes_through_one_regulariser(monkeypatch):
    claim, seen = small(0, "sum", 0), []
    real = deletions._one
    monkeypatch.setattr(deletions, "_one", lambda claim, count: seen.append(count) or real(claim, count))
    deletions_ridge(claim, 3)
    assert seen == [3]
    deletions_ridge(small(0, "mean", 0), 3)
    assert seen == [3, 0, 1, 2, 3]


def test_the_rows_that_count_the_most_are_named():
    claim = small(0, "sum", 7)
    found = deletions_ridge(claim, 1)
    for row, (gone,) in enumerate(found.witness["deleted"]):
        assert scores_without(claim, np.array([gone]))[row] == pytest.approx(found.bound[row], rel=1e-9)


def test_what_it_cannot_do_is_refused():
    claim = small(0, "mean", 0)
    with pytest.raises(CapabilityError, match="squared"):
        deletions_ridge(replace(claim, problem=replace(claim.problem, loss=Hinge())), 1)
    with pytest.raises(CapabilityError, match="weights"):
        deletions_ridge(replace(claim, train=replace(claim.train, weight=np.full(11, 2.0))), 1)
    with pytest.raises(InputError, match="fewer rows"):
        deletions_ridge(claim, 11)


def test_the_experiment_finds_no_bound_exceeded_and_no_wrong_answer(tmp_path, monkeypatch):
    script = Path(__file__).parents[2] / "experiments" / "theory" / "planted.py"
    monkeypatch.syspath_prepend(str(script.parent))
    assert runpy.run_path(str(script))["main"](["--quick", "--out", str(tmp_path)]) == 0
    tables = {}
    for name in ("subsets", "shares", "planted"):
        with open(tmp_path / f"{name}.csv", newline="", encoding="utf-8") as stream:
            tables[name] = list(csv.DictReader(stream))
    assert len(tables["subsets"]) == 24
    assert all(int(row["checks"]) >= 59 and row["exceeded"] == "0" for row in tables["subsets"])
    assert [tables["shares"][0][f"k = {k}"] for k in (1, 2, 5)] == ["0.942", "0.942", "0.936"]
    assert [row["wrong"] for row in tables["planted"]] == ["0"] * 10
    assert sum(int(row["answers changed"]) for row in tables["planted"]) > 0
