"""The derivative through training: against differences, whatever is kept on the way, and of batches."""

from __future__ import annotations

import numpy as np
import pytest

from linpoison.core import SolverFailed
from linpoison.losses import Logistic
from linpoison.risk import LinearRisk, Sample
from linpoison.risk.unrolled import Unrolled, loss_on


def case(n=20, m=3, classes=None, length=0.5):
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(n, 4)), rng.normal(size=(m, 4))
    risk = LinearRisk(Logistic() if classes is None else classes, 0.1, penalize_intercept=False)
    labels = (
        (lambda size: rng.choice([-1.0, 1.0], size)) if classes is None else (lambda k: rng.integers(classes, size=k))
    )
    clean = risk.held(Sample(X, labels(n), rng.integers(1, 3, n)))
    poison = risk.held(Sample(Z, labels(m), rng.integers(1, 4, m)))
    w = rng.normal(size=5 * (classes or 1))
    return Unrolled(risk, clean, poison.y, poison.mass, poison.total, length), w, Z


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 9])
@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("size", [None, 6])
def test_the_derivative_agrees_with_differences(steps, classes, size):
    unrolled, w, Z = case(classes=classes)
    batches = [*unrolled.batches(size, steps, np.random.default_rng(1))]
    outer = loss_on(unrolled.risk, unrolled.clean, -1.0)
    value, slope, last = unrolled.after(w, Z, batches, outer)
    walked = w
    for batch in batches:
        walked = unrolled.step(walked, Z, batch)
    np.testing.assert_allclose(last, walked, rtol=1e-13)
    assert value == pytest.approx(outer(walked)[0], rel=1e-13)
    change, h = np.random.default_rng(2).normal(size=Z.shape), 1e-5
    around = [unrolled.after(w, Z + sign * h * change, batches, outer)[0] for sign in (1, -1)]
    assert float((slope * change).sum()) == pytest.approx((around[0] - around[1]) / (2 * h), rel=1e-6, abs=1e-9)
    assert (np.abs(slope).max() > 1e-6) == (steps > 0)


def test_batches_weigh_as_much_as_all_rows_and_have_them_all_in_an_epoch():
    unrolled, _, _ = case(n=18)
    rng = np.random.default_rng(0)
    parts = [*unrolled.batches(6, 3, rng)]
    for part in parts:
        assert part.mass.sum() == pytest.approx(unrolled.clean.total)
        assert part.total == unrolled.clean.total
    seen = np.concatenate([part.X for part in parts])
    np.testing.assert_array_equal(seen[np.lexsort(seen.T)], unrolled.clean.X[np.lexsort(unrolled.clean.X.T)])
    assert len([*unrolled.batches(6, 7, rng)]) == 7
    assert all(part is unrolled.clean for part in unrolled.batches(18, 2, rng))


def test_the_mean_step_on_batches_is_the_step_on_all_rows():
    unrolled, w, Z = case(n=18)
    unrolled = Unrolled(unrolled.risk, unrolled.risk.held(Sample(unrolled.clean.X, unrolled.clean.y)), unrolled.labels,
                        unrolled.mass, unrolled.total, 0.5)  # fmt: skip
    (whole,) = unrolled.batches(None, 1, np.random.default_rng(0))
    moved = [unrolled.step(w, Z, part) for part in unrolled.batches(6, 3, np.random.default_rng(0))]
    np.testing.assert_allclose(np.mean(moved, axis=0), unrolled.step(w, Z, whole), rtol=1e-12)


def test_training_that_diverges_is_told():
    unrolled, w, Z = case(classes=3, length=1e200)
    batches = [*unrolled.batches(None, 8, np.random.default_rng(0))]
    with np.errstate(all="ignore"), pytest.raises(SolverFailed, match="diverges while it is unrolled"):
        unrolled.after(w, Z, batches, loss_on(unrolled.risk, unrolled.clean, 1.0))
