"""A network's last layer and its features against torch itself."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep import features, linear_model_of  # noqa: E402
from linpoison import InputError, LinearModel, audit  # noqa: E402

nn = torch.nn


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


def network(outputs=1, width=7, *middle):
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), *middle, nn.Linear(width, outputs)).double()


def rows(n=23, d=5):
    return np.random.default_rng(8).normal(size=(n, d))


def torch_scores(module, X):
    with torch.no_grad():
        outputs = module(torch.as_tensor(X)).numpy()
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 10, 256])
def test_scores_agree_with_torch(outputs, batch_size):
    module, X = network(outputs), rows()
    scores = linear_model_of(module).decision_function(features(module, X, batch_size))
    np.testing.assert_allclose(scores, torch_scores(module, X), atol=1e-6)
    assert np.ptp(scores) > 0.01


@pytest.mark.parametrize("outputs", [1, 2])
def test_predicted_labels_are_those_of_the_network(outputs):
    module, X = network(outputs), rows(200)
    labels = linear_model_of(module).predict(features(module, X))
    with torch.no_grad():
        logits = module(torch.as_tensor(X))
    expected = logits[:, 0] > 0 if outputs == 1 else logits.argmax(dim=1) == 1
    np.testing.assert_array_equal(labels > 0, expected.numpy())
    assert len(set(labels)) == 2


def test_a_bare_layer_is_its_own_model():
    layer = nn.Linear(5, 1).double()
    model = linear_model_of(layer)
    np.testing.assert_array_equal(model.coef, layer.weight.detach().numpy()[0])
    assert model.intercept == layer.bias.item()
    np.testing.assert_array_equal(features(layer, rows()), rows())


def test_two_outputs_become_the_difference_of_the_rows():
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
        layer.bias.copy_(torch.tensor([0.25, -0.5]))
    model = linear_model_of(layer)
    np.testing.assert_array_equal(model.coef, [4.0, 3.0, 2.0])
    assert model.intercept == -0.75


def test_no_bias_is_an_intercept_of_zero():
    for outputs in (1, 2):
        assert linear_model_of(nn.Linear(4, outputs, bias=False)).intercept == 0.0


def test_nested_sequences_end_in_the_innermost_last_layer():
    inner = nn.Sequential(nn.ReLU(), nn.Linear(7, 1))
    module, X = nn.Sequential(nn.Linear(5, 7), inner).double(), rows()
    assert features(module, X).min() == 0.0
    scores = linear_model_of(module).decision_function(features(module, X))
    np.testing.assert_allclose(scores, torch_scores(module, X), atol=1e-6)


def test_float32_networks_give_float64_numbers():
    module, X = network().float(), rows()
    assert features(module, X).dtype == np.float64
    assert linear_model_of(module).coef.dtype == np.float64
    scores = linear_model_of(module).decision_function(features(module, X))
    np.testing.assert_allclose(scores, torch_scores(module, X.astype(np.float32)), atol=1e-5)


def test_images_are_taken_as_they_are():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 4, 2)).double()
    X = rows(6, 16).reshape(6, 1, 4, 4)
    scores = linear_model_of(module).decision_function(features(module, X))
    np.testing.assert_allclose(scores, torch_scores(module, X), atol=1e-6)


def test_tensors_and_arrays_give_the_same():
    module, X = network(), rows()
    np.testing.assert_array_equal(features(module, torch.tensor(X, requires_grad=True)), features(module, X))


def test_it_runs_in_evaluation_mode_and_restores_every_mode():
    module = network(1, 7, nn.BatchNorm1d(7), nn.Dropout(0.5))
    module.train()
    module[2].eval()
    before = [part.training for part in module.modules()]
    statistics = module[2].running_mean.clone()
    first, second = features(module, rows()), features(module, rows(), 4)
    np.testing.assert_allclose(first, second, atol=1e-12)
    assert [part.training for part in module.modules()] == before
    assert torch.equal(module[2].running_mean, statistics)
    assert len(module[-1]._forward_pre_hooks) == 0
    assert all(parameter.grad is None for parameter in module.parameters())


def test_modes_and_hooks_are_restored_after_a_failure():
    module = network()
    module.train()
    with pytest.raises(InputError, match="rows X that the network takes"):
        features(module, rows(4, 3))
    assert all(part.training for part in module.modules())
    assert len(module[-1]._forward_pre_hooks) == 0


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (nn.ReLU(), "got ReLU"),
        (nn.Sequential(), "got Sequential"),
        (nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()), "Sequential that ends in Sigmoid"),
        ("a network", "got str"),
        (None, "got NoneType"),
    ],
)
def test_other_modules_are_refused(module, got):
    for function in (linear_model_of, lambda module: features(module, [[1.0, 2.0, 3.0]])):
        with pytest.raises(InputError, match=got):
            function(module)


def test_tokens_stay_whole():
    module = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 2)).double()
    X = np.random.default_rng(0).integers(0, 9, size=(7, 4))
    with torch.no_grad():
        expected = module[:2](torch.as_tensor(X)).numpy()
    for kind in ("int64", "int32", "uint8"):
        np.testing.assert_array_equal(features(module, X.astype(kind), 3), expected)
    with pytest.raises(InputError, match="rows X that the network takes"):
        features(module, X + 9)


def test_rows_that_are_looked_at_together_are_refused():
    """Otherwise features depend on `batch_size`."""
    for single in (False, True):
        module = network(2, 7, nn.BatchNorm1d(7, track_running_stats=False))
        with pytest.raises(InputError, match=r"depend on each other.*BatchNorm1d"):
            features(module.float() if single else module, rows())


def test_more_than_two_outputs_are_refused():
    with pytest.raises(InputError, match="got 3 outputs"):
        linear_model_of(nn.Linear(4, 3))


def test_weights_that_are_not_finite_are_refused():
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="finite coef"):
        linear_model_of(layer)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], "shape"),
        (np.zeros((0, 5)), "at least one row"),
        ([["a"] * 5], "array of numbers"),
        ([[1.0], [1.0, 2.0]], "array of numbers"),
        (np.full((2, 5), np.nan), "rows X without NaN, got such values in row 0"),
        (np.zeros((2, 4)), "rows X that the network takes"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(X, message):
    with pytest.raises(InputError, match=message):
        features(network(), X)


def test_features_that_are_not_a_matrix_are_refused():
    with pytest.raises(InputError, match="Flatten before the last layer"):
        features(nn.Sequential(nn.Identity(), nn.Linear(4, 1)).double(), np.zeros((2, 3, 4)))


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_batch_size_is_a_positive_integer(size):
    with pytest.raises(InputError, match="batch_size"):
        features(network(), rows(), size)


def test_the_representation_of_a_network_can_be_audited(fake_attacks):
    module = network()
    X, y = rows(80), np.where(rows(80)[:, 0] > 0, 1, -1)
    H = features(module, X)
    report = audit((H[:50], y[:50], H[50:], y[50:]), attacks="kkt", defenses="l2", epsilon=0.1, jobs=1)
    assert report.dataset["n_features"] == linear_model_of(module).d == 7


def test_the_room_is_lazy_about_names():
    import deep

    assert set(deep.__all__) <= set(dir(deep))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = deep.nothing
    assert isinstance(deep.linear_model_of(nn.Linear(1, 1)), LinearModel)
