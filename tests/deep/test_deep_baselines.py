"""Label flips and the papers' networks."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import binary, several  # noqa: E402

from deep import make_model  # noqa: E402
from deep.models import ConvLeader, DenseLeader  # noqa: E402
from linpoison.attacks.gradient import flip_labels  # noqa: E402
from linpoison.core import InputError  # noqa: E402
from linpoison.risk import Sample  # noqa: E402

DIGITS = (1, 28, 28)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "size"), [("lr", 7850), ("nn", 1238730), ("cnn", 28938), ("gc-nn", 101770), ("gc-cnn", 1199882)]
)
def test_networks_have_the_published_sizes(name, size):
    module = make_model(name, DIGITS, 10)
    assert count(module) == size
    assert module(torch.zeros(2, *DIGITS)).shape == (2, 10)
    assert count(make_model("lenet", (3, 32, 32), 10)) == 62006
    assert make_model("lenet", DIGITS, 3)(torch.zeros(2, *DIGITS)).shape == (2, 3)
    assert make_model(name, (1, 8, 8), 3)(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_attackers_have_the_published_sizes_and_keep_the_range():
    dense = DenseLeader(DIGITS, 10)
    assert count(dense) == 1847104
    coloured = ConvLeader((3, 32, 32), 10, -1.0, 1.0)
    assert count(coloured) == 47355 + 12 * 16
    for leader, shape, low in ((dense, DIGITS, 0.0), (coloured, (3, 32, 32), -1.0)):
        made = leader(100 * torch.randn(3, *shape), torch.tensor([0, 5, 9]))
        assert made.shape == (3, *shape)
        assert made.min() >= low
        assert made.max() <= 1.0
        one, other = (leader(torch.ones(1, *shape), torch.tensor([y])) for y in (0, 9))
        assert not torch.equal(one, other)


def test_a_model_of_the_user_s_own(monkeypatch):
    module = ModuleType("of_mine")
    module.small = lambda shape, classes: torch.nn.Linear(shape[0], classes)
    module.wrong = lambda shape, classes: None
    monkeypatch.setitem(sys.modules, "of_mine", module)
    assert make_model("of_mine:small", (4,), 3).out_features == 3
    for name, words in (
        ("of_mine:wrong", "got NoneType"),
        ("of_mine:none", "can be imported"),
        ("nowhere_at_all:f", "can be imported"),
        ("resnet", "a model among"),
    ):
        with pytest.raises(InputError, match=words):
            make_model(name, (4,), 3)


@pytest.mark.parametrize("call", [lambda: make_model("cnn", (64,), 10), lambda: ConvLeader((3, 30, 32), 10)])
def test_shapes_are_checked(call):
    with pytest.raises(InputError, match="height"):
        call()


@pytest.mark.parametrize("rule", ["reverse", "random"])
def test_flipped_rows_are_clean_rows_with_wrong_labels(rule):
    data = several(40)
    poison = flip_labels(data, 0.3, classes=3, rule=rule, seed=1)
    assert poison.n == 12
    for row, label in zip(poison.X, poison.y, strict=True):
        (where,) = np.flatnonzero((row == data.X).all(axis=1))
        assert label != data.y[where]
        assert label in range(3)
        assert rule == "random" or label == 2 - data.y[where]
    assert len({tuple(row) for row in poison.X}) == 12
    np.testing.assert_array_equal(poison.X, flip_labels(data, 0.3, classes=3, rule=rule, seed=1).X)
    assert not np.array_equal(poison.X, flip_labels(data, 0.3, classes=3, rule=rule, seed=2).X)


def test_two_classes_are_negated_and_datasets_are_taken():
    from torch.utils.data import TensorDataset

    data = binary()
    poison = flip_labels(data, 2.0)
    assert poison.n == 60
    whole = {tuple(row): label for row, label in zip(data.X, data.y, strict=True)}
    assert all(label == -whole[tuple(row)] for row, label in zip(poison.X, poison.y, strict=True))
    rows = several()
    tensors = Sample(TensorDataset(torch.as_tensor(rows.X), torch.as_tensor(rows.y)))
    np.testing.assert_array_equal(flip_labels(tensors, 0.2, classes=3).X, flip_labels(rows, 0.2, classes=3).X)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: flip_labels(several(), 0.001, classes=3), "at least one row"),
        (lambda: flip_labels(several(), 0.0, classes=3), "epsilon"),
        (lambda: flip_labels(several(), 0.1, classes=3, rule="none"), "rule"),
        (lambda: flip_labels(several(), 0.1, classes=2), "labels from 0 to 1"),
        (lambda: flip_labels(several(), 0.1), "labels in"),
        (lambda: flip_labels(several(), 0.1, classes=3, seed=-1), "seed"),
        (lambda: flip_labels(Sample(np.zeros((4, 1)), [1, 1, 1, 1]), 0.5, classes=3), "the rule changes"),
    ],
)
def test_options_are_checked(call, words):
    with pytest.raises(InputError, match=words):
        call()
