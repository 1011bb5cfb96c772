"""The learning problem: its objective by hand, its gradient by finite differences, both scalings."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.core import Dataset, InputError, LinearModel
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge

RNG = np.random.default_rng(2)
X = RNG.normal(size=(12, 3))
DATA = Dataset(X, np.where(RNG.random(12) < 0.5, 1.0, -1.0), RNG.integers(0, 4, 12).astype(float))
MODEL = LinearModel(np.array([0.4, -1.0, 0.3]), 0.7)
SUM = {"scaling": "sum", "n_reference": 7.0}


@pytest.mark.parametrize("convention", [{}, {"penalize_intercept": False}, {"fit_intercept": False}, SUM])
def test_value_by_hand(convention):
    problem = Problem(Logistic(), 0.3, **convention)
    total = sum(DATA.weight)
    loss = sum(
        c * np.log1p(np.exp(-y * (x @ MODEL.coef + 0.7))) for x, y, c in zip(X, DATA.y, DATA.weight, strict=True)
    )
    reg = 0.3 * 7 / total if convention == SUM else 0.3
    square = MODEL.coef @ MODEL.coef + (0.7**2 if convention in ({}, SUM) else 0.0)
    assert problem.value(MODEL, DATA) == pytest.approx(reg / 2 * square + loss / total)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("convention", [{}, {"penalize_intercept": False}, SUM])
@pytest.mark.parametrize("loss", [Hinge(), SquaredHinge(), SmoothHinge(0.5), Logistic(), Squared()])
def test_gradient_by_finite_differences(loss, convention, sparse):
    problem = Problem(loss, 0.3, **convention)
    data = Dataset(sp.csr_array(X), DATA.y, DATA.weight) if sparse else DATA
    step = 1e-6
    slopes = []
    for e in np.eye(4):
        ahead, behind = (LinearModel.from_vector(MODEL.vector + sign * step * e) for sign in (1, -1))
        slopes.append((problem.value(ahead, data) - problem.value(behind, data)) / (2 * step))
    np.testing.assert_allclose(problem.gradient(MODEL, data), slopes, atol=1e-7)
    without = problem.gradient(MODEL, data) - problem.reg_at(data.total) * problem.penalty_mask(3) * MODEL.vector
    np.testing.assert_allclose(problem.data_gradient(MODEL, data), without, atol=1e-12)


def test_rows_of_weight_two_are_rows_twice():
    twice = Dataset(np.repeat(X, DATA.weight.astype(int), axis=0), np.repeat(DATA.y, DATA.weight.astype(int)))
    problem = Problem(SquaredHinge(), 0.1)
    assert problem.value(MODEL, DATA) == pytest.approx(problem.value(MODEL, twice))
    np.testing.assert_allclose(problem.gradient(MODEL, DATA), problem.gradient(MODEL, twice))


def test_regulariser_and_rows():
    mean, total = Problem(Hinge(), 0.2), Problem(Hinge(), 0.2, scaling="sum", n_reference=50)
    assert (mean.reg_at(50), mean.reg_at(100)) == (0.2, 0.2)
    assert (total.reg_at(50), total.reg_at(100)) == (0.2, 0.1)
    pinned = total.pinned(100)
    assert (pinned.reg, pinned.scaling, pinned.n_reference) == (0.1, "mean", None)
    assert total.penalty_mask(2).tolist() == [1, 1, 1]
    assert Problem(Hinge(), 1, penalize_intercept=False).penalty_mask(2).tolist() == [1, 1, 0]
    assert Problem(Hinge(), 1, fit_intercept=False).penalty_mask(2).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hinge", 0.1), "a loss of linpoison.losses"),
        ((Hinge(), 0), "reg as a number of at least 1e-15"),
        ((Hinge(), -1.0), "reg"),
        ((Hinge(), np.nan), "reg"),
        ((Hinge(), "0.1"), "reg"),
        ((Hinge(), 0.1, True, True, "total"), "scaling"),
        ((Hinge(), 0.1, True, True, "sum"), "n_reference"),
        ((Hinge(), 0.1, True, True, "sum", -5.0), "n_reference as a number above 0"),
    ],
)
def test_bad_problems_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        Problem(*arguments)
