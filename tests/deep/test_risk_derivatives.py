"""Derivatives of networks: finite differences, dense Hessians, both rules, chunks, memory and modes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import conv, images, mlp, seeded, several, slope, vectors  # noqa: E402

from deep import TorchRisk  # noqa: E402
from deep.precision import full_precision  # noqa: E402
from linpoison.core import CapabilityError, InputError  # noqa: E402
from linpoison.risk import Sample  # noqa: E402
from linpoison.risk.arrays import to_numpy  # noqa: E402

nn = torch.nn
RULES = ["forward", "double_backward"]


def case(kind, **options):
    data = images() if kind == "conv" else several()
    risk = TorchRisk(conv() if kind == "conv" else mlp(), reg=0.1, chunk=4, **options)
    w, u = vectors(risk.size)
    return risk, data, 0.4 * w, u


kinds = pytest.mark.parametrize("kind", ["mlp", "conv"])
rules = pytest.mark.parametrize("derivative", RULES)


def value(risk, data, weights=None):
    mass = np.ones(data.n) if weights is None else weights
    return lambda w: np.average(to_numpy(risk.loss(w, data.X, data.y)), weights=mass) + 0.05 * w @ w


@kinds
def test_the_gradient_is_that_of_the_objective(kind):
    risk, data, w, u = case(kind)
    weights = np.random.default_rng(2).uniform(size=data.n)
    found = to_numpy(risk.grad(w_of(risk, w), data.X, data.y, weights)) @ u
    assert slope(value(risk, data, weights), w, u) == pytest.approx(found, rel=1e-8)


def w_of(risk, w):
    return risk.vector(w)


@kinds
@rules
def test_the_hessian_product_is_the_slope_of_the_gradient(kind, derivative):
    risk, data, w, u = case(kind, derivative=derivative)
    numeric = slope(lambda v: to_numpy(risk.grad(w_of(risk, v), data.X, data.y)), w, u)
    found = to_numpy(risk.hvp(w_of(risk, w), data.X, data.y, w_of(risk, u)))
    np.testing.assert_allclose(found, numeric, rtol=1e-7, atol=1e-8)


@kinds
@rules
def test_the_mixed_product_is_the_slope_of_the_gradient_in_the_rows(kind, derivative):
    risk, data, w, u = case(kind, derivative=derivative)
    change = np.random.default_rng(3).normal(size=data.X.shape)

    def pull(X):
        return float(risk.loss_vjp(w_of(risk, w), X, data.y, np.ones(data.n)) @ w_of(risk, u))

    found = float((to_numpy(risk.mixed_product(w_of(risk, w), data.X, data.y, w_of(risk, u))) * change).sum())
    assert slope(pull, data.X, change) == pytest.approx(found, rel=1e-8)


@kinds
def test_the_gradient_in_the_rows_is_the_slope_of_the_loss(kind):
    risk, data, w, _ = case(kind)
    change = np.random.default_rng(3).normal(size=data.X.shape)
    found = float((to_numpy(risk.row_grad(w_of(risk, w), data.X, data.y)) * change).sum())
    numeric = slope(lambda X: float(risk.loss(w_of(risk, w), X, data.y).sum()), data.X, change)
    assert numeric == pytest.approx(found, rel=1e-8)


@kinds
def test_the_hessian_product_equals_the_dense_hessian(kind):
    risk, data, w, u = case(kind)
    flat = risk.vector(w)
    names, shapes = risk.layout.names, risk.layout.shapes

    def total(vector):
        parts = torch.split(vector, [s.numel() for s in shapes])
        values = {k: p.reshape(s) for k, p, s in zip(names, parts, shapes, strict=True)}
        outputs = torch.func.functional_call(risk.module, values, (torch.as_tensor(data.X),))
        return nn.functional.cross_entropy(outputs, torch.as_tensor(data.y)) + 0.05 * vector @ vector

    dense = torch.autograd.functional.hessian(total, flat)
    found = risk.hvp(flat, data.X, data.y, risk.vector(u))
    assert float((found - dense @ risk.vector(u)).abs().max()) < 1e-12
    assert torch.equal(dense.isfinite(), torch.ones_like(dense, dtype=torch.bool))


@kinds
def test_products_agree_with_each_other(kind):
    risk, data, w, u = case(kind)
    flat, along = risk.vector(w), risk.vector(u)
    J = risk.per_sample_grad(flat, data.X, data.y)
    assert J.shape == (data.n, risk.size)
    torch.testing.assert_close(J @ along, risk.loss_jvp(flat, data.X, data.y, along), rtol=1e-12, atol=1e-13)
    weights = np.random.default_rng(4).normal(size=data.n)
    torch.testing.assert_close(
        J.T @ torch.as_tensor(weights), risk.loss_vjp(flat, data.X, data.y, weights), rtol=1e-12, atol=1e-13
    )


@kinds
@pytest.mark.parametrize("operation", ["hvp", "mixed_product"])
def test_the_two_rules_agree(kind, operation):
    found = []
    for derivative in RULES:
        risk, data, w, u = case(kind, derivative=derivative)
        found.append(getattr(risk, operation)(risk.vector(w), data.X, data.y, risk.vector(u)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)


class OnlyBackward(torch.autograd.Function):
    """Squares, without a forward rule."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


class Squares(nn.Module):
    def __init__(self, own):
        super().__init__()
        self.layer, self.own = nn.Linear(4, 3), own

    def forward(self, x):
        out = self.layer(x)
        return OnlyBackward.apply(out) if self.own else out * out


def test_an_operation_without_a_forward_rule_is_differentiated_by_two_backward_sweeps():
    data, found = several(), []
    for own in (True, False):
        risk = TorchRisk(seeded(lambda own=own: Squares(own)))
        w, u = (risk.vector(v) for v in vectors(risk.size))
        products = [getattr(risk, name)(w, data.X, data.y, u) for name in ("hvp", "mixed_product", "loss_jvp")]
        found.append([*products, risk.grad(w, data.X, data.y)])
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-13)
    forward = TorchRisk(Squares(True).double(), derivative="forward")
    with pytest.raises(CapabilityError, match="second derivatives"):
        forward.hvp(w, data.X, data.y, u)


@kinds
@pytest.mark.parametrize("chunk", [1, 2, 5, 1000])
def test_chunks_change_nothing(kind, chunk):
    whole, data, w, u = case(kind)
    parts = TorchRisk(whole.module, reg=0.1, chunk=chunk)
    flat, along = whole.vector(w), whole.vector(u)
    for name, extra in (("grad", ()), ("loss", ()), ("hvp", (along,)), ("loss_jvp", (along,)),
                        ("mixed_product", (along,)), ("per_sample_grad", ())):  # fmt: skip
        first, second = (getattr(r, name)(flat, data.X, data.y, *extra) for r in (whole, parts))
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(whole.scores(flat, data.X), parts.scores(flat, data.X), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(whole.features(flat, data.X), parts.features(flat, data.X), rtol=1e-12, atol=1e-14)


def test_weights_are_copies():
    risk, data, w, u = case("mlp")
    copies = np.arange(data.n) % 4
    index = np.repeat(np.arange(data.n), copies)
    flat, along = risk.vector(w), risk.vector(u)
    for name, extra in (("grad", ()), ("hvp", (along,))):
        weighted = getattr(risk, name)(flat, data.X, data.y, *extra, copies)
        copied = getattr(risk, name)(flat, data.X[index], data.y[index], *extra)
        torch.testing.assert_close(weighted, copied, rtol=1e-12, atol=1e-14)


PEAK = """
import resource, sys
import numpy as np, torch
torch.set_num_threads(1)
from deep import TorchRisk
from linpoison.attacks.gradient import Canceler
from linpoison.risk import Adam, Sample
net = torch.nn.Sequential(torch.nn.Linear(8, 2000), torch.nn.Tanh(), torch.nn.Linear(2000, 3)).double()
risk = TorchRisk(net, chunk=64)
rng = np.random.default_rng(0)
rows = lambda n: Sample(rng.normal(size=(n, 8)), rng.integers(3, size=n))
Canceler(Adam(steps=1)).cancel(risk, risk.current, rows(64), 0.5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Canceler(Adam(steps=1)).cancel(risk, risk.current, rows(64), 1.0, start=rows(int(sys.argv[1])))
sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads KiB from getrusage")
def test_memory_does_not_grow_with_the_poison():
    outcome = subprocess.run([sys.executable, "-c", PEAK, "3200"], capture_output=True, text=True, check=True)
    activations = 3200 * 2000 * 8 / 2**10
    assert float(outcome.stdout) < 0.4 * activations


def test_derivatives_are_those_of_evaluation_mode_and_modes_are_restored():
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)))
    module.train()
    module[1].eval()
    modes = [part.training for part in module.modules()]
    statistics = module[1].running_mean.clone()
    risk, data = TorchRisk(module), several()
    w, u = (risk.vector(v) for v in vectors(risk.size))
    first = risk.hvp(w, data.X, data.y, u), risk.mixed_product(w, data.X, data.y, u), risk.grad(w, data.X, data.y)
    assert [part.training for part in module.modules()] == modes
    module.eval()
    second = risk.hvp(w, data.X, data.y, u), risk.mixed_product(w, data.X, data.y, u), risk.grad(w, data.X, data.y)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(module[1].running_mean, statistics)
    assert torch.equal(risk.current, TorchRisk(module).current)


def test_modes_are_restored_after_a_failure():
    module = mlp().train()
    risk = TorchRisk(module)
    with pytest.raises(InputError, match=r"rows X that the module takes, got rows of shape \(9,\)"):
        risk.grad(risk.current, np.zeros((2, 9)), np.zeros(2, dtype=int))
    assert module.training


def test_a_selector_differentiates_in_some_parameters_only():
    module, data = mlp(), several()
    whole = TorchRisk(module, reg=0.1)
    for part in (
        TorchRisk(module, reg=0.1, params=["2.weight"]),
        TorchRisk(module, reg=0.1, params=lambda n: n == "2.weight"),
    ):
        assert part.size == 15
        where = whole.layout.slices(lambda name: name == "2.weight")[0]
        torch.testing.assert_close(
            part.grad(part.current, data.X, data.y),
            whole.grad(whole.current, data.X, data.y)[where],
            rtol=1e-12,
            atol=1e-14,
        )


def test_frozen_parameters_are_left_out_by_default():
    module = mlp()
    for parameter in module[0].parameters():
        parameter.requires_grad_(False)
    assert TorchRisk(module).size == 18


def test_features_of_any_layer():
    module, data = mlp(), several()
    risk = TorchRisk(module, chunk=7)
    with torch.no_grad():
        hidden = module[1](module[0](torch.as_tensor(data.X)))
    torch.testing.assert_close(risk.features(risk.current, data.X), hidden)
    torch.testing.assert_close(risk.features(risk.current, data.X, "1"), hidden)
    assert len(module[2]._forward_hooks) == len(module[1]._forward_hooks) == 0


def test_precision_settings_are_restored():
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    with full_precision("cpu"):
        assert [place.fp32_precision for place in places] == ["ieee"] * 3
        assert not torch.is_autocast_enabled("cpu")
    assert [place.fp32_precision for place in places] == before


def test_autocast_has_no_influence():
    risk, data, w, _ = case("mlp")
    flat = risk.vector(w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = risk.grad(flat, data.X, data.y)
    assert torch.equal(inside, risk.grad(flat, data.X, data.y))


def test_the_module_is_never_changed():
    module, data = mlp(), several()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    risk = TorchRisk(module)
    w = risk.vector(vectors(risk.size)[0])
    risk.hvp(w, data.X, data.y, w)
    risk.fresh_module(3)
    moved = risk.module_at(w)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    torch.testing.assert_close(TorchRisk(moved).current, w)
    assert all(p.grad is None for p in module.parameters())


def test_a_start_is_the_seed_s_and_nothing_else_s():
    risk = TorchRisk(mlp())
    state = torch.random.get_rng_state()
    first, again, other = risk.init(1), risk.init(1), risk.init(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_loss_of_the_user_s_own():
    data = several()
    module = mlp()
    named, own = TorchRisk(module), TorchRisk(module, lambda s, y: -torch.log_softmax(s, 1).gather(1, y[:, None])[:, 0])
    w, u = (named.vector(v) for v in vectors(named.size))
    torch.testing.assert_close(named.hvp(w, data.X, data.y, u), own.hvp(w, data.X, data.y, u), rtol=1e-12, atol=1e-13)
    assert np.isnan(own.reach)


def test_log_probabilities_are_cross_entropy_too():
    data, module = several(), mlp()
    plain, logged = TorchRisk(module), TorchRisk(nn.Sequential(module, nn.LogSoftmax(dim=1)))
    w, u = (plain.vector(v) for v in vectors(plain.size))
    torch.testing.assert_close(
        plain.hvp(w, data.X, data.y, u), logged.hvp(w, data.X, data.y, u), rtol=1e-12, atol=1e-13
    )


def test_a_sample_of_a_dataset_gives_its_rows():
    from torch.utils.data import TensorDataset

    data = several()
    rows = Sample(TensorDataset(torch.as_tensor(data.X), torch.as_tensor(data.y)), weights=np.arange(1.0, 31))
    part = rows.take([4, 2])
    np.testing.assert_array_equal(part.X, data.X[[4, 2]])
    np.testing.assert_array_equal(part.y, data.y[[4, 2]])
    np.testing.assert_array_equal(part.mass, [5.0, 3.0])
