"""Rows with every label: where they lie, what is asked of the budget, and that networks do not get over them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

torch = pytest.importorskip("torch")

from deep import SGDTrainer, TorchRisk, make_model  # noqa: E402
from linpoison.attacks.gradient import Canceler, conflicting_rows  # noqa: E402
from linpoison.core import InputError  # noqa: E402
from linpoison.risk import Adam, Sample, Sphere, Tied, accuracy  # noqa: E402


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).reshape(-1, 1, 8, 8)
    return Sample(X[:1000], y[:1000]), Sample(X[1000:], y[1000:])


@pytest.fixture(scope="module")
def risk():
    return TorchRisk(make_model("gc-nn", (1, 8, 8), 10).double())


def test_pairs_of_pictures_with_all_labels(digits):
    train = digits[0]
    poison = conflicting_rows(train, 0.05, length=40.0, classes=10, directions=3)
    assert poison.X.shape == (40, 1, 8, 8)
    assert poison.total == 40
    flat, rows = poison.X.reshape(4, 10, -1), train.X.reshape(1000, -1)
    np.testing.assert_array_equal(flat, np.tile(flat[:, :1], (1, 10, 1)))
    np.testing.assert_array_equal(poison.y.reshape(4, 10), np.tile(np.arange(10), (4, 1)))
    pictures = flat[:, 0]
    np.testing.assert_allclose(np.linalg.norm(pictures, axis=1), 40.0, rtol=1e-12)
    np.testing.assert_array_equal(pictures[::2], -pictures[1::2])
    span = np.linalg.svd(rows, full_matrices=False)[2][:3]
    np.testing.assert_allclose(pictures @ span.T @ span, pictures, atol=1e-10)
    again = conflicting_rows(train, 0.05, length=40.0, classes=10, directions=3, seed=1)
    assert not np.allclose(again.X, poison.X)


def test_a_network_does_not_get_over_them_but_over_as_many_long_rows_with_one_label_each(digits, risk):
    train, test = digits
    conflict = conflicting_rows(train, 0.1, length=300.0, classes=10)
    single = Sample(conflict.X, np.repeat(np.arange(10), 10))
    learner = SGDTrainer(epochs=40, batch_size=100, step=0.1)
    reached = {}
    for name, poison in {"clean": None, "conflict": conflict, "single": single}.items():
        rows = train if poison is None else train.joined(poison, risk)
        found = learner.fit(risk, rows, seed=0)
        reached[name] = accuracy(found.risk, found.w, test)
    assert reached["clean"] > 0.85
    assert reached["conflict"] < reached["clean"] - 0.1
    assert reached["single"] > reached["conflict"] + 0.05


def test_gradient_canceling_turns_them_and_keeps_length_and_ties(digits, risk):
    train = digits[0]
    w = risk.current
    start = conflicting_rows(train, 0.04, length=5.0, classes=10)
    rule = Canceler(Adam(step=0.05, steps=40), Tied(10, Sphere(5.0)))
    found = rule.cancel(risk, w, train, 0.04, start=start)
    assert found.history[-1] < found.history[0]
    pictures = found.poison.X.reshape(4, 10, 64)
    assert torch.equal(pictures, pictures[:, :1].expand_as(pictures))
    torch.testing.assert_close(pictures[:, 0].norm(dim=1), torch.full((4,), 5.0, dtype=torch.float64))
    assert float((pictures[:, 0] - torch.as_tensor(start.X).reshape(4, 10, 64)[:, 0]).norm()) > 0.1


def test_budgets_below_a_pair_are_refused(digits):
    with pytest.raises(InputError, match="at least 20 rows, for 2 pictures with 10 labels each, got 19 rows"):
        conflicting_rows(digits[0], 0.019, length=1.0, classes=10)
    with pytest.raises(InputError, match="at least 60 rows, for 6 pictures with 10 labels each, got 50 rows"):
        conflicting_rows(digits[0], 0.05, length=1.0, classes=10, pictures=6)
    with pytest.raises(InputError, match="an even number of pictures, got 3"):
        conflicting_rows(digits[0], 0.05, length=1.0, classes=10, pictures=3)


def test_few_pictures_have_more_copies(digits):
    poison = conflicting_rows(digits[0], 0.09, length=7.0, classes=10, pictures=4)
    assert poison.n == 40
    assert poison.mass.tolist() == 40 * [2.0]
    binary = conflicting_rows(Sample(digits[0].X, np.where(digits[0].y > 4, 1, -1)), 0.009, length=7.0, pictures=2)
    assert binary.y.tolist() == [-1, 1, -1, 1]
    assert binary.total == 8


@pytest.mark.parametrize("labels", [[0, 1], [1, 2]])
def test_labels_of_other_classes_are_told(labels):
    rows = Sample(np.eye(2), labels)
    with pytest.raises(InputError, match="labels in {-1, \\+1}"):
        conflicting_rows(rows, 2.0, length=1.0)
    assert sorted(set(conflicting_rows(rows, 6.0, length=1.0, classes=3).y.tolist())) == [0, 1, 2]


def test_rows_with_nan_are_told():
    with pytest.raises(InputError, match="finite rows"):
        conflicting_rows(Sample([[np.nan], [1.0]], [1, -1]), 2.0, length=1.0)
