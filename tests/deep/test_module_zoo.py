"""Every kind of layer: derivatives against differences, with the user's module left as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import seeded  # noqa: E402

from deep import TorchRisk  # noqa: E402
from linpoison.core import CapabilityError  # noqa: E402

nn = torch.nn
F = nn.functional


class Head(nn.Module):
    """A layer, bent, and a linear layer on all that it gives."""

    def __init__(self, layer, x, call=None):
        super().__init__()
        self.layer, self.call = layer, call
        with torch.no_grad():
            self.last = nn.Linear(self.seen(x.to(next(self.parameters()).dtype)).shape[1], 3)

    def seen(self, x):
        out = self.layer(x) if self.call is None else self.call(self.layer, x)
        return torch.tanh((out[0] if isinstance(out, tuple) else out).flatten(1))

    def forward(self, x):
        return self.last(self.seen(x))


class Attention(nn.Module):
    """Attention by torch's function, whose weights the layer keeps."""

    def __init__(self):
        super().__init__()
        self.up, self.norm = nn.Linear(5, 12), nn.LayerNorm(4)

    def forward(self, x):
        q, k, v = self.up(x).chunk(3, -1)
        self.kept = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return self.norm(self.kept)


class Tied(nn.Module):
    """One weight in two layers, and one layer called twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.twice = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.twice(torch.tanh(self.twice(torch.tanh(self.second(torch.tanh(self.first(x)))))))


class LowRank(nn.Module):
    """A frozen layer with a learned correction of rank 1."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(5, 4).requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(1, 5)), nn.Parameter(torch.randn(4, 1))

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T


class Keeping(nn.Module):
    """Counts its calls and keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((5,), 0.3))
        self.register_buffer("calls", torch.tensor(0))
        self.line, self.times = nn.Linear(5, 4), 0

    def forward(self, x):
        self.calls += 1
        self.times += 1
        self.seen = x
        return self.line(torch.tanh(x - self.mean))


class Spectrum(nn.Module):
    """Through complex numbers."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(5, 5)

    def forward(self, x):
        return torch.fft.rfft(self.line(x)).abs()


def twice():
    line = nn.Linear(5, 5)
    return nn.Sequential(line, nn.Tanh(), line)


def attend(layer, x):
    return layer(x, x, x, need_weights=False)


FLAT, SERIES, PICTURE = (5,), (4, 5), (2, 6, 6)
S, L, C = nn.Sequential, nn.Linear, nn.Conv2d
ZOO = {
    "Linear": (lambda: L(5, 4), FLAT),
    "Bilinear": (lambda: nn.Bilinear(5, 5, 3), FLAT, lambda layer, x: layer(x, x)),
    "Conv1d": (lambda: nn.Conv1d(4, 3, 3, padding=1, padding_mode="circular"), SERIES),
    "Conv2d": (lambda: C(2, 4, 3, groups=2), PICTURE),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 2, 2, 2), PICTURE),
    "BatchNorm2d": (lambda: S(C(2, 3, 1), nn.BatchNorm2d(3)), PICTURE),
    "LayerNorm": (lambda: S(L(5, 4), nn.LayerNorm(4)), FLAT),
    "LayerNorm without affine": (lambda: S(L(5, 4), nn.LayerNorm(4, elementwise_affine=False)), FLAT),
    "GroupNorm": (lambda: S(C(2, 4, 1), nn.GroupNorm(2, 4)), PICTURE),
    "InstanceNorm2d": (lambda: S(C(2, 3, 1), nn.InstanceNorm2d(3, affine=True)), PICTURE),
    "RMSNorm": (lambda: S(L(5, 4), nn.RMSNorm(4)), FLAT),
    "LocalResponseNorm": (lambda: S(C(2, 4, 1), nn.LocalResponseNorm(2)), PICTURE),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(5, 1, batch_first=True), SERIES, attend),
    "attention": (Attention, SERIES),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(5, 1, 6, batch_first=True), SERIES),
    "norm first, GELU": (
        lambda: nn.TransformerEncoderLayer(5, 1, 6, activation="gelu", batch_first=True, norm_first=True), SERIES,
    ),
    "RNN": (lambda: nn.RNN(5, 3, batch_first=True), SERIES),
    "GRU": (lambda: nn.GRU(5, 3, batch_first=True), SERIES),
    "LSTM": (lambda: nn.LSTM(5, 3, batch_first=True), SERIES),
    "spectral_norm": (lambda: nn.utils.parametrizations.spectral_norm(L(5, 4)), FLAT),
    "orthogonal": (lambda: nn.utils.parametrizations.orthogonal(L(5, 5)), FLAT),
    "ReLU": (lambda: S(L(5, 8), nn.ReLU(inplace=True)), FLAT),
    "LeakyReLU and PReLU": (lambda: S(L(5, 8), nn.LeakyReLU(0.2), nn.PReLU()), FLAT),
    "GELU": (lambda: S(L(5, 4), nn.GELU(), L(4, 4), nn.GELU("tanh")), FLAT),
    "SiLU, Mish": (lambda: S(L(5, 4), nn.SiLU(), L(4, 4), nn.Mish()), FLAT),
    "Softplus, ELU": (lambda: S(L(5, 4), nn.Softplus(), L(4, 4), nn.ELU()), FLAT),
    "GLU, Softmax": (lambda: S(L(5, 8), nn.GLU(), nn.Softmax(-1)), FLAT),
    "MaxPool2d": (lambda: S(C(2, 3, 3), nn.MaxPool2d(2)), PICTURE),
    "AvgPool2d, Upsample": (lambda: S(C(2, 3, 3), nn.AvgPool2d(2), nn.Upsample(None, 2, "bilinear")), PICTURE),
    "tied and shared": (Tied, FLAT),
    "one layer, two names": (twice, FLAT),
    "frozen part and low rank": (LowRank, FLAT),
    "own attributes": (Keeping, FLAT),
    "complex inside": (Spectrum, FLAT),
}  # fmt: skip


def zoo(kind):
    build, shape, *call = ZOO[kind]
    rng = np.random.default_rng(3)
    X, y = torch.as_tensor(rng.normal(size=(4, *shape))), rng.integers(3, size=4)
    return seeded(lambda: Head(build(), X.float(), *call)), X, y


def state(module):
    """Everything that evaluation must leave as it is."""
    parts = [(name, part.training, sorted(part.__dict__), len(part._forward_pre_hooks), part.__dict__.get("times"))
             for name, part in module.named_modules()]  # fmt: skip
    tensors = {k: v.clone() for k, v in module.state_dict().items()}
    grads = [(name, p.requires_grad, p.grad) for name, p in module.named_parameters()]
    return parts, tensors, grads, torch.random.get_rng_state()


def same(first, second):
    assert first[0] == second[0]
    assert first[2] == second[2]
    assert torch.equal(first[3], second[3])
    assert all(torch.equal(v, second[1][k]) for k, v in first[1].items())


@pytest.mark.parametrize("kind", ZOO)
def test_derivatives_are_those_of_differences_and_the_module_is_left_alone(kind):
    module, X, y = zoo(kind)
    module.train()
    before = state(module)
    risk = TorchRisk(module, chunk=3)
    w, h = risk.current, 1e-5
    v = torch.randn(risk.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def slope(function):
        return (8 * (function(w + h * v) - function(w - h * v)) - function(w + 2 * h * v) + function(w - 2 * h * v)) / (
            12 * h
        )

    for found, numeric in (
        (risk.loss_jvp(w, X, y, v), slope(lambda w: risk.loss(w, X, y))),
        (risk.data_grad(w, X, y) @ v, slope(lambda w: risk.loss(w, X, y).mean())),
        (risk.hvp(w, X, y, v), slope(lambda w: risk.grad(w, X, y))),
        (risk.mixed_product(w, X, y, v), slope(lambda w: risk.row_grad(w, X, y))),
    ):
        assert float((found - numeric).norm()) < 1e-7 * float(numeric.norm()), kind
    same(before, state(module))


@pytest.mark.parametrize(
    "kind", ["Linear", "BatchNorm2d", "tied and shared", "one layer, two names", "frozen part and low rank", "GRU"]
)
def test_the_gradient_is_that_of_plain_torch(kind):
    module, X, y = zoo(kind)
    risk, plain = TorchRisk(module, chunk=2), copy.deepcopy(module).eval()
    own = dict(plain.named_parameters())
    found = torch.autograd.grad(F.cross_entropy(plain(X), torch.as_tensor(y)), [own[k] for k in risk.layout.names])
    torch.testing.assert_close(risk.data_grad(risk.current, X, y), torch.cat([g.reshape(-1) for g in found]))


def test_sparse_gradients_of_an_embedding_are_those_of_a_dense_one():
    words, y = np.random.default_rng(0).integers(6, size=(8, 3)), np.arange(8) % 2

    def risk_of(sparse):
        return TorchRisk(seeded(lambda: S(nn.Embedding(6, 4, sparse=sparse), nn.Flatten(), L(12, 2))).double())

    risks = [risk_of(sparse) for sparse in (False, True)]
    w = risks[0].current
    for name in ("grad", "hvp"):
        dense, sparse = (getattr(risk, name)(w, words, y, *[w] * (name == "hvp")) for risk in risks)
        torch.testing.assert_close(sparse, dense)


class Places(nn.Module):
    """Rows and a vector for each place in them, of which one stands for padding."""

    def __init__(self):
        super().__init__()
        self.place, self.last = nn.Embedding(4, 5, padding_idx=1), nn.Linear(20, 3)
        with torch.no_grad():
            self.place.weight[1] = 0.4  # as a pretrained network has it

    def forward(self, x):
        return self.last(torch.tanh(x + self.place(torch.arange(4))).flatten(1))


class Tied(nn.Module):
    """The weight of an embedding as the last layer, which moves the row for padding, too."""

    def __init__(self):
        super().__init__()
        self.first, self.word = nn.Linear(2, 3), nn.Embedding(4, 3, padding_idx=0)

    def forward(self, x):
        return torch.tanh(self.first(x)) @ self.word.weight.T


@pytest.mark.parametrize("derivative", ["auto", "forward", "double_backward"])
def test_the_row_for_padding_of_a_weight_that_is_used_again_is_no_constant(derivative):
    rng = np.random.default_rng(3)
    X, y, h = rng.normal(size=(4, 2)), np.arange(4), 1e-5
    module = seeded(Tied).double()
    with torch.no_grad():
        module.word.weight += 0.3
    risk = TorchRisk(module, derivative=derivative)
    w, v = risk.current, torch.as_tensor(rng.normal(size=risk.size))
    losses = (risk.loss(w + h * v, X, y) - risk.loss(w - h * v, X, y)) / (2 * h)
    torch.testing.assert_close(TorchRisk(module, derivative=derivative).loss_jvp(w, X, y, v), losses, atol=1e-6, rtol=0)
    slopes = (risk.grad(w + h * v, X, y) - risk.grad(w - h * v, X, y)) / (2 * h)
    torch.testing.assert_close(risk.hvp(w, X, y, v), slopes, atol=1e-6, rtol=0)


@pytest.mark.parametrize("derivative", ["auto", "forward", "double_backward"])
def test_the_row_of_an_embedding_for_padding_is_a_constant(derivative):
    rng = np.random.default_rng(3)
    X, y = torch.as_tensor(rng.normal(size=(4, 4, 5))), rng.integers(3, size=4)
    risk, h = TorchRisk(seeded(Places).double(), derivative=derivative), 1e-5
    w, v = risk.current, torch.as_tensor(rng.normal(size=risk.size))
    along = v.clone()
    along[5:10] = 0.0  # names begin with place.weight, of rows of five

    def slope(function):
        return (function(w + h * along) - function(w - h * along)) / (2 * h)

    for found, numeric in (
        (risk.loss_jvp(w, X, y, v), slope(lambda w: risk.loss(w, X, y))),
        (risk.per_sample_grad(w, X, y) @ v, slope(lambda w: risk.loss(w, X, y))),
        (risk.hvp(w, X, y, v), slope(lambda w: risk.grad(w, X, y))),
        (risk.mixed_product(w, X, y, v), slope(lambda w: risk.row_grad(w, X, y))),
        (risk.pulled(w, X, y, np.ones(4))[1](v), slope(lambda w: risk.row_grad(w, X, y))),
    ):
        assert float((found - numeric).norm()) < 1e-7 * float(numeric.norm())
    moved = w.clone()
    moved[5:10] += 1.0
    assert float((risk.loss(moved, X, y) - risk.loss(w, X, y)).abs().max()) > 0.01  # whatever the row, it is used


class Reads(Places):
    """The same, and the vectors are read once more, where padding has a slope."""

    def forward(self, x):
        return self.last((x + self.place(torch.arange(4)) + torch.tanh(self.place.weight)).flatten(1))


class Ties(Places):
    """The same, and a linear layer has the vectors as its weight."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(5, 4)
        self.line.weight = self.place.weight

    def forward(self, x):
        return super().forward(x + self.line(x).sum(-1, keepdim=True))


@pytest.mark.parametrize("kind", [Reads, Ties])
def test_padding_that_has_a_slope_elsewhere_is_no_constant(kind):
    risk, X = TorchRisk(seeded(kind)), np.random.default_rng(3).normal(size=(4, 4, 5))
    with pytest.raises(CapabilityError, match="gradient that is off"):
        risk.grad(risk.current, X, np.arange(4) % 3)
