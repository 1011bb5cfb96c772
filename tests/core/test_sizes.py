"""Numbers without squares are refused where something is learned, whatever the loss, in one line."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.core import Dataset, InputError, LinpoisonError
from linpoison.core.sizes import check_squares
from linpoison.learners import LinearClassifier, make_learner
from linpoison.losses import Hinge, Logistic, MultiProblem, Problem, SmoothHinge, Softmax, Squared, SquaredHinge

Y = np.where(np.arange(10) % 2, 1.0, -1.0)
X = np.random.default_rng(0).normal(size=(10, 2)) + Y[:, None]
LOSSES = (Squared(), Hinge(), SquaredHinge(), SmoothHinge(), Logistic())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("factor", [1e300, 1e160, 1e-160, 1e-300])
def test_learners_refuse_rows_without_squares(loss, factor):
    """All but one had returned zeros, of rows too great or too small, or raised what their libraries do."""
    for data in (Dataset(factor * X, Y), Dataset(sp.csr_array(factor * X), Y)):
        with pytest.raises(InputError, match="size in the training rows.*Rescale"):
            make_learner(Problem(loss, 0.1)).fit(data)
    with pytest.raises(InputError, match="Rescale"):
        LinearClassifier(loss).fit(factor * X, Y)


def test_learners_of_many_classes_refuse_them_too():
    data = Dataset.coded(1e200 * X, np.arange(10) % 3)
    with pytest.raises(InputError, match="Rescale"):
        make_learner(MultiProblem(Softmax(), 0.1)).fit(data)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("factor", [1e-140, 1e-12, 1e3])
def test_other_sizes_are_learned(loss, factor):
    """To first order where the loss has no second: theta is the mean pull over reg."""
    problem = Problem(loss, 0.1, fit_intercept=False)
    model = make_learner(problem).fit(Dataset(factor * X, Y))
    if factor < 1:
        first = -float(loss.derivative(np.zeros(1))[0]) * factor * (X * Y[:, None]).mean(axis=0) / 0.1
        np.testing.assert_allclose(model.coef, first, rtol=1e-8)
    assert (model.predict(factor * X) == Y).mean() >= 0.9


def test_rows_that_libsvm_cannot_sum_end_in_one_line():
    with pytest.raises(LinpoisonError, match="libsvm.*Scale the columns"):
        make_learner(Problem(Hinge(), 0.1, penalize_intercept=False)).fit(Dataset(1e100 * X, Y))


def test_rows_of_zeros_and_many_great_rows_pass():
    for rows in (np.zeros((3, 2)), np.zeros((0, 2)), np.full((1000, 2), 1e149), np.asfortranarray(X)):
        check_squares(rows, "rows")


def test_masked_entries_are_not_taken_for_what_stands_behind_the_mask():
    masked, part = np.ma.masked_array(X, X > 1), np.ma.masked_array(Y, np.arange(10) > 7)
    for make in (lambda: Dataset(masked, Y), lambda: Dataset(X, part), lambda: Dataset(X, Y, np.ma.abs(part))):
        with pytest.raises(InputError, match="without masked entries"):
            make()
    for rows in ((masked, Y), (X, part)):
        with pytest.raises(InputError, match="without masked entries"):
            LinearClassifier().fit(*rows)
    assert Dataset(np.ma.masked_array(X, False), Y).n == 10


@pytest.mark.parametrize("size", [1e308, 1e-320])
def test_weights_without_a_sum_or_digits_are_refused(size):
    with pytest.raises(InputError, match="weight of a sum between .*Divide"):
        Dataset(X, Y, np.full(10, size))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_the_unit_of_weights_does_not_matter(loss):
    weight = np.random.default_rng(1).uniform(0.5, 2, size=10)
    found = [make_learner(Problem(loss, 0.1)).fit(Dataset(X, Y, unit * weight)).vector for unit in (1.0, 1e-300, 1e300)]
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-5, atol=1e-7)
