"""The top direction of gradients that hardly vary: found where there is one, none where there is rounding alone."""

from __future__ import annotations

import numpy as np
import pytest

from linpoison.defenses.refitting import GradientFrame

N, P = 60, 7


class Dense:
    """A model whose gradients are the rows themselves."""

    single_precision = False

    def __init__(self, kind=np.float64):
        self.kind = kind
        self.single_precision = kind is np.float32

    def gradients(self, X, y):
        return X.astype(self.kind)


class Products(Dense):
    """The same by products alone."""

    def gradient_products(self, X, y, v):
        return (self.gradients(X, y) @ v.astype(self.kind)).astype(np.float64)

    def gradient_sum(self, X, y, coefficients):
        return (self.gradients(X, y).T @ coefficients.astype(self.kind)).astype(np.float64)


def almost_constant(variation, p=P):
    """One gradient, and around it a spread of this relative size along one direction mostly."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=p)
    spread = rng.normal(size=(N, p)) * np.r_[5.0, np.ones(p - 1)]
    return mean + variation * np.linalg.norm(mean) * spread


@pytest.mark.parametrize("model", [Dense(), Products()], ids=["matrix", "products"])
@pytest.mark.parametrize("p", [P, 1])
@pytest.mark.parametrize("variation", [0.0, 1e-17, 1e-16, 3e-15])
def test_rounding_is_no_direction(model, p, variation):
    X = almost_constant(variation, p)
    frame = GradientFrame.of(model, X, np.ones(N))
    assert np.array_equal(frame.direction, np.zeros(p))
    assert (frame.centre, frame.size) == (0, 0)
    assert not frame.scores(model, X, np.ones(N)).any()


@pytest.mark.parametrize("model", [Dense(), Products()], ids=["matrix", "products"])
@pytest.mark.parametrize("p", [P, 1])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("variation", [1.0, 1e-3, 1e-6, 1e-9, 1e-11])
def test_what_is_more_than_rounding_is_one(model, p, scale, variation):
    X = scale * almost_constant(variation, p)
    frame = GradientFrame.of(model, X, np.ones(N))
    _, sizes, right = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    assert abs(frame.direction @ right[0]) == pytest.approx(1, abs=1e-3)
    assert frame.size == pytest.approx(sizes[0], rel=1e-3)


@pytest.mark.parametrize(("variation", "varies"), [(1e-8, False), (1e-6, False), (1e-3, True)])
def test_single_precision_has_its_own_rounding(variation, varies):
    X = almost_constant(variation)
    frame = GradientFrame.of(Products(np.float32), X, np.ones(N))
    assert frame.direction.any() == varies


def test_gradients_without_a_mean_vary():
    X = almost_constant(1e-6)
    X = X - X.mean(axis=0)
    assert GradientFrame.of(Products(), X, np.ones(N)).size > 0
