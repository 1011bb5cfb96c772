"""The networks for pictures, weights from a file, and Adam with moved pictures."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep import TorchRisk  # noqa: E402
from deep.adam_training import AdamTrainer, shifted  # noqa: E402
from deep.vision import CONV_LAYERS, load_vgg16, paper_conv, transfer_risk, vgg16  # noqa: E402
from linpoison.core import InputError, SolverFailed  # noqa: E402
from linpoison.risk import Sample  # noqa: E402


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A state dict with the names of torchvision's vgg16, its top replaced by something small."""
    torch.manual_seed(0)
    state = {f"features.{k}": v for k, v in vgg16(2).features.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save({**state, "classifier.6.bias": torch.zeros(1000)}, path)
    return path


def test_sizes_are_those_of_the_published_networks():
    assert count(paper_conv((3, 32, 32), 10)) == 606_836
    assert count(vgg16(2)) == 14_715_714
    assert transfer_risk(vgg16(2), "ll").size == 1026


def test_every_layer_of_the_conv_can_be_looked_at():
    risk = TorchRisk(paper_conv((1, 16, 16), 3, width=2))
    X = torch.rand(2, 1, 16, 16)
    sizes = [risk.features(risk.current, X, layer).shape[1] for layer in CONV_LAYERS]
    assert sizes == [2 * 256, 4 * 64, 8 * 16, 16 * 4, 10 * 4]
    np.testing.assert_array_equal(risk.features(risk.current, X, "last"), risk.features(risk.current, X))


def test_weights_come_from_the_file(weights):
    module = load_vgg16(weights, 3)
    state = torch.load(weights, weights_only=True)
    assert module.classifier.out_features == 3
    for name, tensor in module.features.state_dict().items():
        torch.testing.assert_close(tensor, state[f"features.{name}"], rtol=0, atol=0)
    x = torch.rand(1, 3, 32, 32)
    mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        seen = module.features((x - mean[:, None, None]) / sd[:, None, None]).mean(dim=(2, 3))
        torch.testing.assert_close(module(x), module.classifier(seen))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("features.28.bias"), "features.28.bias.*no such entry"),
        (lambda state: state.update({"features.0.weight": torch.zeros(64, 1, 3, 3)}), r"shape \(64, 1, 3, 3\)"),
    ],
)
def test_weights_that_do_not_fit(weights, tmp_path, change, words):
    state = torch.load(weights, weights_only=True)
    change(state)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=words):
        load_vgg16(tmp_path / "bad.pth", 2)


def test_files_that_are_no_weights(tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    torch.save([1.0], tmp_path / "list.pth")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "code.pth")
    for name in ("none.pth", "text.pth", "list.pth", "code.pth"):
        with pytest.raises(InputError, match=name):
            load_vgg16(tmp_path / name, 2)


def pretrained(classes=2):
    """A small network with the layer names of a pretrained one."""
    torch.manual_seed(1)
    module = torch.nn.Sequential()
    module.add_module("features", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 6), torch.nn.Tanh()))
    module.add_module("classifier", torch.nn.Linear(6, classes))
    return module


def two_classes(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 1, 2, 2)).astype(np.float32)
    return Sample(X, (X.sum(axis=(1, 2, 3)) > 0).astype(int))


def test_the_last_layer_alone_learns_its_penalised_optimum():
    data, module = two_classes(), pretrained()
    risk = transfer_risk(module, "ll", l2=0.05)
    trained = AdamTrainer(300, 60, 0.05).fit(risk, data)
    assert trained.grad_norm < 1e-3
    body = trained.risk.module.features[1].weight
    torch.testing.assert_close(body, module.features[1].weight, rtol=0, atol=0)
    weight = trained.risk.module.classifier.weight.detach()
    losses = risk.loss(trained.w, data.X, data.y).mean()
    assert trained.loss == pytest.approx(float(losses) + 0.05 * float((weight**2).sum()), rel=1e-6)


def test_fine_tuning_starts_from_the_weights_and_penalises_the_last_layer():
    data, module = two_classes(), pretrained()
    still = AdamTrainer(1, 60, 1e-8).fit(transfer_risk(module, "ft"), data, seed=3)
    torch.testing.assert_close(still.risk.module.features[1].weight, module.features[1].weight, rtol=0, atol=1e-6)
    assert not torch.allclose(still.risk.module.classifier.weight, module.classifier.weight)
    sizes = []
    for l2 in (0.0, 1.0):
        trained = AdamTrainer(60, 60, 0.02, head_l2=l2).fit(transfer_risk(module, "ft"), data)
        sizes.append(
            [float(trained.risk.module.get_submodule(k).weight.detach().norm()) for k in ("features.1", "classifier")]
        )
    assert sizes[1][1] < 0.2 * sizes[0][1]
    assert sizes[1][0] > 0.3 * sizes[0][0]


def test_a_seed_gives_the_same_network_again():
    data, risk = two_classes(), TorchRisk(pretrained())
    trainer = AdamTrainer(2, 16, 0.01, shift=0.5, mirror=True)
    first, again, other = (trainer.fit(risk, data, seed=seed).w for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_shifts_move_pictures_and_repeat_the_border():
    x = torch.arange(25.0).reshape(1, 1, 5, 5).repeat(40, 1, 1, 1)
    torch.manual_seed(0)
    moved = shifted(x, 1)
    padded = torch.nn.functional.pad(x[:1], (1, 1, 1, 1), mode="replicate")[0, 0]
    crops = [padded[i : i + 5, j : j + 5] for i in range(3) for j in range(3)]
    which = [next(k for k, crop in enumerate(crops) if torch.equal(crop, picture[0])) for picture in moved]
    assert len(set(which)) == 9


def test_mirrored_pictures_are_learned_too():
    X = np.zeros((40, 1, 2, 2), dtype=np.float32)
    X[:20, 0, :, 0] = 1.0
    data = Sample(X, np.r_[np.zeros(20), np.ones(20)].astype(int))
    turned = torch.as_tensor(X[:20]).flip(-1)
    losses = {}
    for mirror in (False, True):
        trained = AdamTrainer(40, 8, 0.05, mirror=mirror).fit(TorchRisk(pretrained()), data)
        losses[mirror] = float(trained.risk.loss(trained.w, turned, np.zeros(20, dtype=int)).mean())
    assert losses[True] < 0.1 < losses[False]


def test_what_cannot_be_trained():
    with pytest.raises(InputError, match="to move"):
        AdamTrainer(1, mirror=True).fit(TorchRisk(torch.nn.Linear(2, 2)), Sample(np.ones((4, 2)), [0, 1, 0, 1]))
    with pytest.raises(InputError, match="finite rows"):
        AdamTrainer(1).fit(TorchRisk(torch.nn.Linear(1, 2)), Sample([[np.inf], [1.0]], [0, 1]))
    with pytest.raises(SolverFailed, match="no longer a number"):
        AdamTrainer(9, step=1e29).fit(TorchRisk(torch.nn.Linear(1, 2)), Sample([[1e10], [1e10]], [0, 1]))
    with pytest.raises(InputError, match="'ll' or 'ft'"):
        transfer_risk(pretrained(), "all")
