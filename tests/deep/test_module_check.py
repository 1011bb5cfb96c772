"""What a module has to have: refused in one line that names the layer, and no honest module refused."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import conv, images, mlp, seeded, several  # noqa: E402

from deep import SGDTrainer, TorchRisk  # noqa: E402
from linpoison.core import CapabilityError, InputError  # noqa: E402
from linpoison.risk import Sample  # noqa: E402

nn = torch.nn
S, L = nn.Sequential, nn.Linear


class WrongSlope(torch.autograd.Function):
    """Squares, with a first derivative that is 5 % too large."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2.1 * g * ctx.saved_tensors[0]


class WrongCurvature(torch.autograd.Function):
    """Cubes, whose first derivative is right and whose second one lacks half."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x.detach() * x


class NoCurvature(torch.autograd.Function):
    """Squares, differentiable once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        if torch.is_grad_enabled():
            raise NotImplementedError("differentiable once")
        return 2 * g * ctx.saved_tensors[0]


class Own(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Inside(nn.Module):
    """A function within a module that has layers of its own before and after it."""

    def __init__(self, function):
        super().__init__()
        self.before, self.function, self.after = L(4, 5), function, L(5, 3)

    def forward(self, x):
        return self.after(self.function(torch.tanh(self.before(x))))


def around(layer, width=5):
    return lambda: S(L(4, width), layer(), nn.Tanh(), L(width, 3))


def centred(x):
    return x - x.mean(dim=0)


def paired(x):
    return x.reshape(len(x) // 2, 2, -1).flatten(0, 1)


def dropped(x):
    return nn.functional.dropout(x, 0.5)


REFUSED = {
    "noise": (lambda: Inside(dropped), "one answer for the same rows.*Inside itself.*training"),
    "noise in a layer": (around(lambda: Own(dropped)), r"one answer.*the layer 1 \(Own\)"),
    "batch statistics": (
        around(lambda: nn.BatchNorm1d(5, track_running_stats=False)),
        r"depend on each other.*the layer 1 \(BatchNorm1d\).*track_running_stats",
    ),
    "rows centred": (lambda: Inside(centred), "depend on each other.*Inside itself"),
    "rows in order": (around(lambda: Own(lambda x: x.cumsum(dim=0))), r"depend on each other.*layer 1 \(Own\)"),
    "only pairs": (around(lambda: Own(paired)), "depend.*no output for 1"),
    "wrong gradient": (around(lambda: Own(WrongSlope.apply)), r"gradient that is off by 0.0.*layer 1 \(Own\).*check"),
    "wrong gradient within": (lambda: Inside(WrongSlope.apply), "gradient that is off by .*Inside itself"),
    "straight-through": (
        around(lambda: Own(lambda x: x + (torch.round(x) - x).detach())), r"gradient that is off.*layer 1 \(Own\)",
    ),
    "wrong curvature": (around(lambda: Own(WrongCurvature.apply)), r"Hessian product that is off by.*layer 1 \(Own\)"),
    "writes in its parameters": (
        lambda: S(nn.Embedding(9, 2, max_norm=0.3), nn.Flatten(), L(8, 3)), r"writes in 0.weight, of the layer 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "precision"),
    [*((kind, "float64") for kind in REFUSED), ("batch statistics", "float32"), ("wrong gradient", "float32")],
)
def test_a_module_that_breaks_the_premises_is_refused_with_its_layer(kind, precision):
    build, words = REFUSED[kind]
    module, data = seeded(build).to(getattr(torch, precision)), several()
    X = (np.abs(data.X) * 3).astype(int).clip(0, 8) if "writes" in kind else data.X
    before = {k: v.clone() for k, v in module.state_dict().items()}
    risk, state = TorchRisk(module), torch.random.get_rng_state()
    for _ in range(2):  # it is not let through the second time
        with pytest.raises(CapabilityError, match=words):
            risk.grad(risk.current, X, data.y)
    with pytest.raises(CapabilityError, match=words):
        SGDTrainer(epochs=1).fit(TorchRisk(module), Sample(X, data.y))
    unchecked = TorchRisk(module, check=False)
    if kind not in ("only pairs", "writes in its parameters"):
        assert torch.isfinite(unchecked.grad(unchecked.current, X, data.y)).all()
        assert kind.startswith("noise") or torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


class Tokens(nn.Module):
    """Takes rows of numbers for words."""

    def __init__(self):
        super().__init__()
        self.words, self.last = nn.Embedding(9, 3), L(12, 3)

    def forward(self, x):
        return self.last(self.words(x.long()).flatten(1))


STILL = {
    "words": (Tokens, "Tokens itself"),
    "rounded": (lambda: S(Own(torch.round), L(4, 3)), r"layer 0 \(Own\)"),
    "greater": (lambda: S(L(4, 5), S(nn.Tanh(), Own(lambda x: (x > 0).to(x))), L(5, 3)), r"layer 1.1 \(Own\)"),
}


@pytest.mark.parametrize("kind", STILL)
def test_rows_are_not_moved_along_slopes_that_are_zero_everywhere(kind):
    build, words = STILL[kind]
    module, data = seeded(build), several()
    X = np.abs(3 * data.X).clip(0, 8)
    for operation in ("row_grad", "mixed_product", "pulled"):
        risk = TorchRisk(module)
        w = risk.current
        assert torch.isfinite(risk.hvp(w, X, data.y, w)).all()  # what asks for no slopes in the rows is answered
        given = {"row_grad": (), "mixed_product": (w,), "pulled": (np.ones(30),)}[operation]
        for _ in range(2):
            with pytest.raises(CapabilityError, match=f"slopes in the rows, got none behind .*{words}"):
                getattr(risk, operation)(w, X, data.y, *given)
    unchecked = TorchRisk(module, check=False)
    assert not unchecked.row_grad(unchecked.current, X, data.y).any()


@pytest.mark.parametrize(("shift", "scale"), [(-100.0, 1.0), (0.0, 1e7)])
def test_units_that_are_dead_or_saturated_at_the_first_rows_are_no_steps(shift, scale):
    module, data = seeded(lambda: S(L(4, 2), nn.ReLU() if shift else nn.Tanh(), L(2, 3))), several()
    with torch.no_grad():
        module[0].bias += shift
    risk = TorchRisk(module)
    assert not risk.row_grad(risk.current, scale * (1 + np.abs(data.X[:4])), data.y[:4]).any()


def test_a_column_of_categories_beside_others_is_taken():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.last = nn.Embedding(9, 3), L(6, 3)

        def forward(self, x):
            return self.last(torch.tanh(torch.cat([self.words(x[:, 0].long()), x[:, 1:]], dim=1)))

    risk, data = TorchRisk(seeded(Table)), several()
    slopes = risk.row_grad(risk.current, np.abs(data.X), data.y)
    assert slopes[:, 1:].all()
    assert not slopes[:, 0].any()


class Before(nn.Module):
    """A function of the rows, and a linear layer."""

    def __init__(self, function):
        super().__init__()
        self.function, self.last = function, L(4, 3)

    def forward(self, x):
        return self.last(self.function(x))


def zeroed(x):
    x[:, 0] = 0.0
    return x


WRITERS = {
    "first layer": (lambda: S(nn.ReLU(inplace=True), L(4, 3)), r"layer 0 \(ReLU\)"),
    "clipped": (lambda: Before(lambda x: x.clamp_(-0.5, 0.5)), "Before itself"),
    "an entry": (lambda: S(Before(zeroed), nn.Tanh()), r"layer 0 \(Before\)"),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("operation", ["grad", "scores"])
def test_a_module_that_writes_in_its_rows_is_refused_and_they_stay_what_they_are(kind, operation):
    build, words = WRITERS[kind]
    risk, data = TorchRisk(seeded(build)), several()
    X = data.X.copy()
    with pytest.raises(CapabilityError, match=f"leaves its rows alone, got .*{words}"):
        getattr(risk, operation)(risk.current, X, *[data.y] * (operation == "grad"))
    assert np.array_equal(X, data.X)


def test_parameters_that_share_their_numbers_are_refused():
    module = S(L(4, 4, bias=False), nn.Tanh(), L(4, 4, bias=False), L(4, 3))
    module[2].weight.data = module[0].weight.data.t()
    with pytest.raises(CapabilityError, match="0.weight and 2.weight in one place.*Tie layers"):
        TorchRisk(module)
    module = S(L(4, 4, bias=False), L(4, 4), L(4, 2, bias=False))
    halves = torch.randn(8, 4)  # one behind the other, as recurrent layers have theirs
    module[0].weight.data, module[1].weight.data = halves[:4], halves[4:]
    assert TorchRisk(module).size == 16 + 20 + 8
    columns = torch.randn(4, 8)
    module[0].weight.data, module[1].weight.data = columns[:, ::2], columns[:, 1::2]
    assert TorchRisk(module).size == 16 + 20 + 8


@pytest.mark.parametrize("kind", ["GRU", "written in", "checkpoint"])
def test_gradients_of_rows_are_taken_one_by_one_where_vmap_cannot(kind):
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = L(4, 2)

        def forward(self, x):
            found = torch.zeros(len(x), 3, dtype=x.dtype)
            found[:, :2] = self.last(x)
            return found

    class Series(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.GRU(2, 3, batch_first=True)

        def forward(self, x):
            return self.steps(x.reshape(len(x), 2, 2))[0][:, -1]

    def again(x):
        return torch.utils.checkpoint.checkpoint(torch.tanh, x, use_reentrant=False)

    build = {"GRU": Series, "written in": Written, "checkpoint": around(lambda: Own(again))}[kind]
    risk, data = TorchRisk(seeded(build), chunk=7), several(9)
    found = risk.per_sample_grad(risk.current, data.X, data.y)
    for i in range(9):
        torch.testing.assert_close(found[i], risk.data_grad(risk.current, data.X[i : i + 1], data.y[i : i + 1]))


def bare(width=200):
    return lambda: S(L(4, width, bias=False), nn.ReLU(), L(width, width, bias=False), nn.ReLU(), L(width, 3))


class OneRow(nn.Module):
    """Of one row it gives no axis of rows."""

    def __init__(self):
        super().__init__()
        self.line = L(4, 1)

    def forward(self, x):
        return self.line(x).squeeze()


def ties():
    return S(nn.MaxPool2d(2), nn.Flatten(), L(9, 3))


HONEST = {
    "kinks at zero rows": (bare(), np.zeros((30, 4)), {}),
    "many kinks": (bare(1000), None, {}),
    "ties of a maximum": (ties, np.ones((30, 1, 6, 6)), {}),
    "confident": (lambda: S(L(4, 3), Own(lambda x: 200 * x)), None, {}),
    "hinge at its kink": (OneRow, np.zeros((30, 4)), {"loss": "hinge"}),
    "squared hinge": (OneRow, None, {"loss": "squared_hinge"}),
    "one row": (lambda: mlp(), np.ones((1, 4)), {}),
    "linear in all": (lambda: S(L(4, 3)), None, {"loss": lambda out, y: out[:, 0] * (y > 1)}),
    "large rows": (around(nn.Identity), 1e6 * np.eye(4)[np.arange(30) % 4], {}),
    "small rows": (around(nn.Identity), 1e-6 * np.eye(4)[np.arange(30) % 4], {}),
    "pixels as floats": (lambda: conv(), images(30).X, {}),
}


@pytest.mark.parametrize(
    ("kind", "precision"),
    [*((kind, "float64") for kind in HONEST), ("many kinks", "float32"), ("large rows", "float32")],
)
def test_honest_modules_pass(kind, precision):
    build, X, options = HONEST[kind]
    module, data = seeded(build).to(getattr(torch, precision)), several()
    X = data.X if X is None else X
    y = np.where(data.y > 1, 1, -1) if "loss" in options and isinstance(options["loss"], str) else data.y
    risk = TorchRisk(module, **options)
    w = risk.current
    assert torch.isfinite(risk.hvp(w, X, y[: len(X)], w)).all()
    assert risk.mixed_product(w, X, y[: len(X)], w).shape == X.shape


def weight_normed(old):
    norm = nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm
    return seeded(lambda: S(norm(L(4, 5)), nn.Tanh(), norm(L(5, 3), dim=1 if old else 0)))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("derivative", ["auto", "forward", "double_backward"])
def test_weight_norm_is_differentiated_by_its_formula(old, derivative):
    risk, data, h = TorchRisk(weight_normed(old), derivative=derivative), several(), 1e-5
    w = risk.current
    v = torch.randn(risk.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    numeric = (risk.grad(w + h * v, data.X, data.y) - risk.grad(w - h * v, data.X, data.y)) / (2 * h)
    assert float((risk.hvp(w, data.X, data.y, v) - numeric).norm()) < 1e-7 * float(numeric.norm())
    rows = (risk.row_grad(w + h * v, data.X, data.y) - risk.row_grad(w - h * v, data.X, data.y)) / (2 * h)
    assert float((risk.mixed_product(w, data.X, data.y, v) - rows).norm()) < 1e-7 * float(rows.norm())


def test_what_can_be_differentiated_once_is_taken_for_what_needs_no_more():
    module, data = seeded(around(lambda: Own(NoCurvature.apply))), several()
    risk = TorchRisk(module)
    w = risk.current
    assert risk.grad(w, data.X, data.y).shape == w.shape
    with pytest.raises(CapabilityError, match="second derivatives, got .*once") as caught:
        risk.hvp(w, data.X, data.y, w)
    assert "\n" not in str(caught.value)


def test_a_module_is_looked_at_once_for_all_risks_of_it():
    calls, data = [], several()
    module = seeded(around(lambda: Own(lambda x: calls.append(len(x)) or x)))
    risk = TorchRisk(module)
    risk.grad(risk.current, data.X, data.y)
    assert len(calls) > 10
    calls.clear()
    other = risk.on(risk.fresh_module(3))
    for one in (risk, other):
        one.grad(one.current, data.X, data.y)
    assert calls == [30, 30]


def test_a_dataset_that_changes_its_rows_is_refused():
    class Augmented(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            return torch.randn(4, dtype=torch.float64), i % 3

    risk = TorchRisk(mlp())
    with pytest.raises(InputError, match="same rows again"):
        risk.grad(risk.current, Augmented(), None)


class Meant(nn.Module):
    """Casts within, so that it can be run in single precision only."""

    def __init__(self):
        super().__init__()
        self.line, self.last = L(4, 6), L(6, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.line(x.float())).float())


def test_a_module_of_single_precision_only_is_looked_at_in_it():
    module, data = seeded(Meant).float(), several()
    risk = TorchRisk(module)
    assert risk.hvp(risk.current, data.X, data.y, risk.current).shape == (risk.size,)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: S(nn.LazyLinear(3)), "lazy ones: 0.weight"),
        (lambda: mlp().to("meta"), "meta device"),
        (lambda: nn.DataParallel(mlp()), "DataParallel. Give `module.module`"),
        (lambda: mlp().to(torch.complex64), "complex64"),
    ],
)
def test_modules_that_cannot_be_called_with_other_parameters_are_refused_at_once(build, words):
    with pytest.raises(CapabilityError, match=words):
        TorchRisk(build())


def test_a_module_that_gives_nan_is_refused_with_the_layer_that_does():
    module, data = seeded(around(lambda: Own(torch.log))), several()
    with pytest.raises(CapabilityError, match=r"numbers for the first rows, got NaN from the layer 1 \(Own\)"):
        TorchRisk(module).loss(TorchRisk(module).current, data.X, data.y)


@pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning")
def test_what_a_users_hook_raises_is_one_line():
    module, data = seeded(lambda: S(L(4, 4), nn.Tanh(), L(4, 3))), several()
    module[0].register_full_backward_hook(lambda *_: {}["missing"])
    risk = TorchRisk(module)
    with pytest.raises(CapabilityError, match="can be differentiated, got KeyError"):
        risk.grad(risk.current, data.X, data.y)
