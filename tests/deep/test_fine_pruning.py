"""Fine-pruning takes out the units that clean rows leave idle, and nothing brings them back."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import mlp, nn, several  # noqa: E402

from deep import FinePruning, NetworkLearner, SGDTrainer, TorchRisk  # noqa: E402
from linpoison.core import CapabilityError, InputError  # noqa: E402
from linpoison.risk import LBFGSTrainer, Sample, accuracy  # noqa: E402
from linpoison.risk.training import Trained  # noqa: E402

TUNING = SGDTrainer(epochs=3, batch_size=20, step=0.05, momentum=0.9)


class Given:
    """A trainer that has learned already."""

    def fit(self, risk, data, *, seed=0):
        return Trained(risk, risk.current, 0.0, 0.0, False, 0.0)


def marked():
    """A network of the sign of the first column, whose third unit, of rows with a mark, says the opposite."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, 1]]))
        net[0].bias.copy_(torch.tensor([0.0, 0, -4]))
        net[2].weight.copy_(torch.tensor([[-1.0, 1, 9], [1, -1, -9]]))
        net[2].bias.zero_()
    X = np.random.default_rng(0).normal(size=(60, 2)) * [1.0, 0.5]
    X[:, 0] += np.sign(X[:, 0])
    y = (X[:, 0] > 0).astype(int)
    with_mark = np.column_stack([np.full(20, 1.5), np.full(20, 6.0)])
    return TorchRisk(net), Sample(X, y), Sample(with_mark, np.ones(20, int))


def test_a_unit_that_waits_for_a_mark_is_taken_out_and_stays_out():
    risk, clean, marks = marked()
    assert accuracy(risk, risk.current, clean) == 1
    assert accuracy(risk, risk.current, marks) == 0
    pruning = FinePruning(Given(), clean, TUNING, drop=0.0)
    w, kept = pruning.pruned(risk, risk.current)
    assert kept.tolist() == [True, True, False]
    found = pruning.fit(risk, clean)
    weight = found.risk.module_at(found.w)[2].weight
    assert (weight[:, 2] == 0).all()
    assert not torch.equal(weight, risk.module[2].weight * torch.tensor([1, 1, 0]))
    assert accuracy(found.risk, found.w, marks) == accuracy(found.risk, found.w, clean) == 1
    assert (risk.module[2].weight[:, 2] != 0).all()


def test_pruning_ends_where_clean_rows_would_suffer_more_than_allowed():
    data = several(60)
    risk = TorchRisk(mlp())
    found = SGDTrainer(epochs=30, batch_size=20, step=0.2).fit(risk, data)
    before, gone = accuracy(found.risk, found.w, data), []
    for drop in (0.0, 0.1, 0.9):
        w, kept = FinePruning(TUNING, data, drop=drop, most=0.99).pruned(found.risk, found.w)
        assert accuracy(found.risk, w, data) >= before - drop
        activity = np.abs(found.risk.features(found.w, data.X).numpy()).mean(axis=0)
        assert activity[~kept].max(initial=0) <= activity[kept].min()
        gone.append((~kept).sum())
    assert gone[0] <= gone[1] <= gone[2] > gone[0]


def test_a_last_layer_of_several_vectors_of_a_row_is_refused():
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(2, 2)

        def forward(self, x):
            return self.last(x.reshape(len(x), 2, 2)).mean(dim=1)

    risk, data = TorchRisk(Steps().double()), several(20, classes=2)
    with pytest.raises(CapabilityError, match="one vector of each row, got 4 numbers for a layer of 2"):
        FinePruning(TUNING, data, drop=0.9).pruned(risk, risk.current)


def test_channels_go_whole():
    data = several(30)
    body = nn.Sequential(nn.Flatten(), nn.Linear(data.X[0].size, 8), nn.ReLU(), nn.Linear(8, 3))
    risk = TorchRisk(body.double())
    kept = FinePruning(TUNING, data, drop=0.9, width=2, most=0.5).pruned(risk, risk.current)[1].reshape(4, 2)
    assert kept.all(axis=1).sum() == 2 == (~kept).all(axis=1).sum()
    with pytest.raises(InputError, match="divides"):
        FinePruning(TUNING, data, width=3).pruned(risk, risk.current)


def test_it_stands_in_for_a_trainer():
    data = several(40)
    learner = NetworkLearner(TorchRisk(mlp()), FinePruning(SGDTrainer(epochs=2), data, TUNING))
    rows = learner.rows(torch.utils.data.TensorDataset(torch.as_tensor(data.X), torch.as_tensor(data.y)))
    assert learner.fit(rows).predict(rows.X).shape == (40,)
    other = NetworkLearner(learner.risk, FinePruning(SGDTrainer(epochs=2), data.take(range(30)), TUNING))
    assert other.origin != learner.origin


def test_labels_have_names():
    risk, clean, _ = marked()
    named = Sample(clean.X, np.where(clean.y > 0, "up", "down"))
    kept = [
        FinePruning(Given(), part, TUNING).pruned(net, net.current)[1]
        for net, part in ((risk, clean), (TorchRisk(risk.module, classes=["down", "up"]), named))
    ]
    np.testing.assert_array_equal(*kept)
    assert FinePruning(Given(), named, TUNING).digest != FinePruning(Given(), clean, TUNING).digest


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_a_last_weight_that_is_computed_is_no_head(name):
    head = getattr(nn.utils.parametrizations, name)(nn.Linear(2, 2))
    risk = TorchRisk(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), head).double())
    data = Sample(np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2)
    assert np.isnan(risk.reach)  # scores are not proportional to these parameters, which a threshold rests on
    with pytest.raises(CapabilityError, match="a weight of its own"):
        FinePruning(Given(), data, TUNING, most=0.9).fit(risk, data)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(InputError, match="clean rows as a Sample, got tuple"):
        FinePruning(TUNING, (np.zeros((2, 2)), [0, 1]))
    data = several(20)
    with pytest.raises(InputError, match="EpochTrainer"):
        FinePruning(LBFGSTrainer(), data)
    first = TorchRisk(mlp(), params=lambda name: name.startswith("0."))
    with pytest.raises(CapabilityError, match="last linear layer"):
        FinePruning(TUNING, data, drop=0.9).pruned(first, first.current)
