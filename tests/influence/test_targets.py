"""Targets: values by hand, gradients by finite differences, and what they tend to."""

from __future__ import annotations

import numpy as np
import pytest
from influence_cases import rows_of, slope

from linpoison.core import InputError, LinearModel
from linpoison.influence import MeanLoss, SoftError
from linpoison.losses import Hinge, Logistic, SmoothHinge


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("make", [lambda rows: SoftError(rows, 0.3), lambda rows: MeanLoss(rows, Logistic())])
def test_gradient_is_that_of_the_value(make, sparse):
    rows = rows_of(sparse, 30, 7, 2)
    target = make(rows)
    rng = np.random.default_rng(0)
    at, direction = rng.standard_normal(8), rng.standard_normal(8)
    by_hand = slope(lambda t: target.value(LinearModel.from_vector(at + t * direction)), 1e-3)
    assert target.gradient(LinearModel.from_vector(at)) @ direction == pytest.approx(by_hand, rel=1e-8)


def test_cold_soft_error_is_the_error_and_mean_loss_the_mean():
    rows = rows_of(False, 60, 4, 1)
    model = LinearModel([0.3, -0.2, 0.5, 0.1], 0.05)
    assert 0 < model.error(rows) < 1
    assert SoftError(rows, 1e-6).value(model) == pytest.approx(model.error(rows), abs=1e-6)
    losses = SmoothHinge(0.2).value(model.margins(rows))
    assert MeanLoss(rows, SmoothHinge(0.2)).value(model) == pytest.approx(losses @ rows.weight / rows.total)


def test_bad_arguments_are_refused():
    rows = rows_of(False, 10, 3, 0)
    with pytest.raises(InputError, match="SmoothHinge"):
        MeanLoss(rows, Hinge())
    with pytest.raises(InputError, match="temperature"):
        SoftError(rows, 0.0)
