"""Labels of any kind, rows of whole numbers, parts of what a module returns, and models that cannot be taken apart."""

from __future__ import annotations

import pickle
from collections import namedtuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import mlp, seeded, several  # noqa: E402
from total_gradient import total_gradient  # noqa: E402

from deep import SGDTrainer, TorchRisk  # noqa: E402
from deep.adam_training import AdamTrainer  # noqa: E402
from linpoison.attacks.gradient import Canceler, GradPC  # noqa: E402
from linpoison.core import CapabilityError, InputError  # noqa: E402
from linpoison.risk import Adam, LBFGSTrainer, Sample, accuracy  # noqa: E402

nn = torch.nn
S, L = nn.Sequential, nn.Linear
WORDS = np.array(["cat", "dog", "emu"])


def line(outputs=3):
    return seeded(lambda: L(4, outputs))


KINDS = {
    "words": lambda y: WORDS[y],
    "objects": lambda y: WORDS[y].astype(object),
    "from one": lambda y: y + 1,
    "far apart": lambda y: np.array([-7, 40, 1000])[y],
    "whole floats": lambda y: y.astype(float),
    "fractions": lambda y: np.array([0.25, 0.5, 0.75])[y],
    "small integers": lambda y: y.astype(np.uint8),
    "tensor": lambda y: torch.as_tensor(y).int(),
    "tensor of floats": lambda y: torch.as_tensor(y).double(),
    "tensor from one": lambda y: torch.as_tensor(y).float() + 1,
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_any_kind_are_learned_like_numbers_from_zero(kind):
    data = several(60)
    other = Sample(data.X, KINDS[kind](data.y))
    risk, plain = TorchRisk(line(), reg=0.05), TorchRisk(line(), reg=0.05)
    found, known = (LBFGSTrainer(tol=1e-6, maxiter=15, newton=0).fit(r, s) for r, s in ((risk, other), (plain, data)))
    assert torch.equal(found.w, known.w)
    assert accuracy(found, other) == accuracy(known, data) > 0.7
    predicted, wanted = (
        np.asarray(found.predict(data.X)),
        np.asarray(KINDS[kind](np.asarray(plain.predict(known.w, data.X)))),
    )
    assert (predicted == wanted).all()
    poison = Canceler(Adam(steps=2)).cancel(risk, found.w, other, 0.1).poison
    assert set(np.asarray(poison.y).tolist()) <= set(np.asarray(other.y).tolist())
    assert np.asarray(found.risk.classes_).shape == (3,)
    assert (
        LBFGSTrainer(tol=1e-6, maxiter=2, newton=0).fit(risk, other.joined(poison, risk)).risk.classes_ is risk.classes_
    )


@pytest.mark.parametrize("loss", ["logistic", "hinge", "squared"])
@pytest.mark.parametrize("pair", [(-1, 1), (0, 1), (False, True), (1.0, 2.0), ("no", "yes")])
def test_a_loss_of_the_margin_takes_any_two_labels(loss, pair):
    X = np.random.default_rng(0).normal(size=(60, 8))
    above = (X[:, 0] > 0).astype(int)
    data = Sample(X, np.array(pair)[above])
    risk = TorchRisk(seeded(lambda: L(8, 1)), loss, reg=0.01)
    found = SGDTrainer(epochs=15, batch_size=20, step=0.3).fit(risk, data)
    assert accuracy(found, data) > 0.95
    assert risk.classes_.tolist() == list(pair)
    sign = TorchRisk(risk.module, loss, reg=0.01)
    torch.testing.assert_close(risk.grad(found.w, X, data.y), sign.grad(found.w, X, 2 * above - 1))


def test_the_first_labels_settle_what_the_others_mean():
    data, risk = several(), TorchRisk(line())
    risk.grad(risk.current, data.X, data.y + 1)
    part = data.y < 2
    shifted = risk.grad(risk.current, data.X[part], data.y[part] + 1)  # 1 and 2, which alone are labels from 0 too
    torch.testing.assert_close(shifted, TorchRisk(line()).grad(risk.current, data.X[part], data.y[part]))
    with pytest.raises(InputError, match=r"labels among \[1, 2, 3\], got \[0\]"):
        risk.grad(risk.current, data.X, data.y)
    named = TorchRisk(line(), classes=["emu", "dog", "cat"])
    codes = named.codes(WORDS[data.y], data.X)
    np.testing.assert_array_equal(codes, 2 - data.y)


@pytest.mark.parametrize(
    ("loss", "y", "words"),
    [
        ("cross_entropy", [0, 1, 3, 5], "labels from 0 to 2, or of 3 kinds.*classes"),
        ("cross_entropy", ["a", "b", "a"], "labels from 0 to 2, or of 3 kinds"),
        ("cross_entropy", [-1, 1, 1], "labels from 0 to 2"),
        ("cross_entropy", [0.0, np.nan, 1.0], "none missing"),
        ("cross_entropy", ["a", None, "b"], "none missing, got NoneType, str"),
        ("cross_entropy", [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "argmax"),
        ("logistic", [0, 0, 0], "of two kinds"),
        ("logistic", [0, 1, 2], "of two kinds"),
        (lambda out, t: out[:, 0] * t, ["a", "b", "a"], "labels as numbers"),
    ],
)
def test_labels_that_mean_nothing_are_refused(loss, y, words):
    module = line(1 if loss == "logistic" else 3)
    y = np.array(y, dtype=object) if None in y else np.array(y)
    risk = TorchRisk(module, loss)
    with pytest.raises(InputError, match=words):
        risk.grad(risk.current, several(len(y)).X, y)
    with pytest.raises(InputError, match=words):
        SGDTrainer(epochs=1).fit(TorchRisk(module, loss), Sample(several(len(y)).X, y))


def test_classes_are_checked():
    for classes in ("a", ["a"], ["a", "a"], [[1, 2]]):
        with pytest.raises(InputError, match="at least two labels"):
            TorchRisk(line(), classes=classes)
    with pytest.raises(InputError, match="two classes"):
        TorchRisk(line(1), "logistic", classes=[1, 2, 3])
    two, one = TorchRisk(line(), classes=[4, 5]), TorchRisk(line(1))
    with pytest.raises(InputError, match="3 classes, one for each output"):
        two.grad(two.current, several().X, np.full(30, 4))
    with pytest.raises(InputError, match="at least two outputs"):
        one.grad(one.current, several().X, several().y)


class Tokens(nn.Module):
    """The mean of embedded tokens, with a linear layer on it."""

    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(11, 5), L(5, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.embedding(x)).mean(dim=1))


def tokens(n=24):
    rng = np.random.default_rng(0)
    return rng.integers(0, 11, size=(n, 7)), rng.integers(3, size=n)


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "list"])
def test_tokens_stay_whole(kind):
    X, y = tokens()
    data = Sample(X.tolist() if kind == "list" else X.astype(kind), y)
    risk = TorchRisk(seeded(Tokens))
    found = SGDTrainer(epochs=2, batch_size=8).fit(risk, data)
    assert not risk.rows(data.X).is_floating_point()
    again = SGDTrainer(epochs=2, batch_size=8).fit(risk, data.joined(data.take([0, 1]), risk))
    assert again.risk.rows(data.X).shape == (24, 7)
    target = GradPC(radius=0.5, steps=2).target(risk, found.w, data)
    for moved in (
        lambda: Canceler(Adam(steps=1)).cancel(risk, target, data, 0.2),
        lambda: total_gradient(risk, found.w, data, data.take([0]), data),
        lambda: risk.mixed_product(target, data.X, y, target),
    ):
        with pytest.raises(CapabilityError, match="Attack the embeddings"):
            moved()


def test_whole_numbers_become_floats_where_the_module_wants_them():
    X = np.random.default_rng(0).integers(0, 256, size=(12, 1, 6, 6))
    module = seeded(lambda: S(nn.Conv2d(1, 2, 3), nn.Flatten(), L(32, 3)))
    risk, y = TorchRisk(module), several(12).y
    for kind in ("uint8", "int64", "bool"):
        rows = X.astype(kind)
        torch.testing.assert_close(
            risk.grad(risk.current, rows, y), risk.grad(risk.current, rows.astype(float), y), rtol=1e-12, atol=1e-12
        )
        assert risk.rows(rows).dtype == torch.float64


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.where(several().X > 1, np.nan, several().X), "finite rows X, got NaN"),
        (np.where(several().X > 1, np.inf, several().X), "finite rows X"),
        (several().X + 0j, "real numbers"),
        (several().X[:, :3], r"rows X that the module takes, got rows of shape \(3,\)"),
        (several().X.astype(str), "array of numbers"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(X, words):
    risk, y = TorchRisk(line()), several().y
    for call in (
        lambda: risk.grad(risk.current, X, y),
        lambda: risk.predict(risk.current, X),
        lambda: SGDTrainer(epochs=1).fit(TorchRisk(line()), Sample(X, y)),
        lambda: LBFGSTrainer().fit(TorchRisk(line()), Sample(X, y)),
    ):
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


class Items(torch.utils.data.Dataset):
    """A Dataset of given items."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Items([{"x": torch.zeros(4), "y": 0}]), r"\(row, label\), got a dict with the keys \['x', 'y'\]"),
        (lambda: Items([torch.zeros(4)]), r"\(row, label\), got a Tensor"),
        (lambda: Items([(torch.zeros(4), 0), (torch.zeros(5), 0)]), "one shape"),
        (Stream, "can be counted"),
        (lambda: torch.utils.data.DataLoader(Items([(torch.zeros(4), 0)])), "asked for by number, got a DataLoader"),
        (lambda: Items([(torch.full((4,), torch.nan), 0)] * 3), "finite rows"),
    ],
)
def test_datasets_of_another_kind_are_refused(build, words):
    for call in (
        lambda: SGDTrainer(epochs=1).fit(TorchRisk(line()), Sample(build())),
        lambda: (risk := TorchRisk(line())).grad(risk.current, build(), None),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_a_dataset_of_words_and_frames_of_pandas_are_taken():
    import pandas as pd

    data = several(12)
    rows = Items([(torch.as_tensor(x), w) for x, w in zip(data.X, WORDS[data.y], strict=True)])
    risk = TorchRisk(line())
    found = SGDTrainer(epochs=2).fit(risk, Sample(rows))
    frame = Sample(pd.DataFrame(data.X, columns=list("abcd")), pd.Series(WORDS[data.y]))
    again = SGDTrainer(epochs=2).fit(TorchRisk(line()), frame)
    assert torch.equal(found.w, again.w)
    assert accuracy(found, Sample(rows)) == accuracy(again, frame)


Pair = namedtuple("Pair", "hidden logits")


class Giving(nn.Module):
    """Returns its scores within something."""

    def __init__(self, wrap):
        super().__init__()
        self.line, self.wrap = L(4, 3), wrap

    def forward(self, x):
        return self.wrap(self.line(x), x)


PARTS = [
    (lambda s, x: (s, x), 0),
    (lambda s, x: [x, s], -1),
    (lambda s, x: {"logits": s, "hidden": x}, "logits"),
    (lambda s, x: Pair(x, s), "logits"),
    (lambda s, x: {"all": (x, s)}, lambda found: found["all"][1]),
]


@pytest.mark.parametrize(("wrap", "output"), PARTS)
def test_a_part_of_what_a_module_returns_is_picked(wrap, output):
    data, plain = several(), TorchRisk(S(seeded(lambda: L(4, 3))))
    risk = TorchRisk(seeded(lambda: Giving(wrap)), output=output)
    w, u = risk.current, risk.current + 1
    for name, extra in (("grad", ()), ("hvp", (u,)), ("mixed_product", (u,)), ("per_sample_grad", ())):
        first, second = (getattr(r, name)(w, data.X, data.y, *extra) for r in (risk, plain))
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-13)
    assert torch.equal(risk.predict(w, data.X), plain.predict(w, data.X))
    first, second = (SGDTrainer(epochs=2).fit(r, data) for r in (risk, plain))
    assert torch.equal(first.w, second.w)
    assert accuracy(first, data) == accuracy(second, data)
    bare = TorchRisk(seeded(lambda: Giving(wrap)))
    with pytest.raises(InputError, match="one tensor of scores from the module, got a .*--output"):
        bare.grad(w, data.X, data.y)


@pytest.mark.parametrize("output", ["other", 7, lambda found: found["other"]])
def test_a_part_that_is_not_there_is_refused(output):
    risk = TorchRisk(seeded(lambda: Giving(PARTS[2][0])), output=output)
    with pytest.raises(InputError, match="something from the module with the output .* got a dict with 'logits'"):
        risk.grad(risk.current, several().X, several().y)
    for bad in (1.5, True, ["logits"]):
        with pytest.raises(InputError, match="output as a key"):
            TorchRisk(mlp(), output=bad)


def test_a_loss_of_one_s_own_may_take_what_a_module_returns():
    def loss(found, y):
        return nn.functional.cross_entropy(found["logits"], y, reduction="none") + 0.1 * (found["hidden"] ** 2).sum(1)

    risk, data = TorchRisk(seeded(lambda: Giving(PARTS[2][0])), loss, reg=0.1), several()
    found = SGDTrainer(epochs=3).fit(risk, data)
    assert found.loss < float(risk.loss(risk.init(0), data.X, data.y).mean()) + 1
    with pytest.raises(InputError, match="one tensor"):
        accuracy(found, data)


def normed():
    return seeded(lambda: S(L(4, 16), nn.BatchNorm1d(16), nn.ReLU(), L(16, 3)))


@pytest.mark.parametrize("trainer", [SGDTrainer(epochs=30, batch_size=20, step=0.3), AdamTrainer(epochs=30, step=0.01)])
def test_what_was_learned_cannot_be_taken_apart(trainer):
    """Parameters bring the batch statistics to whichever risk of the module, through arithmetic too."""
    data = Sample(several(60).X * 5 + 20, several(60).y)
    module = normed()
    risk, before = TorchRisk(module, reg=1e-3), {k: v.clone() for k, v in module.state_dict().items()}
    first, second = (trainer.fit(risk, data, seed=s) for s in (0, 1))
    assert accuracy(first, data) > 0.75
    for other in (risk, second.risk, TorchRisk(normed(), reg=1e-3)):
        assert accuracy(other, first.w, data) == accuracy(first, data)
        for vector in (first.w, first.w + 0.1 * torch.ones(risk.size), risk.vector(1.5 * first.w), first.risk.current):
            u = torch.ones(risk.size, dtype=torch.float64)
            for name, extra in (("grad", ()), ("hvp", (u,)), ("mixed_product", (u,)), ("loss", ())):
                assert torch.equal(
                    getattr(other, name)(vector, data.X, data.y, *extra),
                    getattr(first.risk, name)(vector, data.X, data.y, *extra),
                )
    target = GradPC(radius=0.5, steps=2).target(risk, first.w, data)
    found = [Canceler(Adam(steps=2)).cancel(r, target, data, 0.1).residual for r in (risk, first.risk)]
    assert found[0] == found[1]
    torch.testing.assert_close(risk.module_at(target)[1].running_mean, first.risk.module[1].running_mean)
    stored = pickle.loads(pickle.dumps(first.w))
    assert accuracy(risk, stored, data) == accuracy(first, data)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    bare = np.asarray(first.w)
    assert accuracy(risk, risk.vector(bare), data) < accuracy(first, data)  # numbers alone are parameters alone


def test_vectors_of_modules_without_statistics_are_plain():
    found = SGDTrainer(epochs=1).fit(TorchRisk(mlp()), several())
    assert type(found.w) is torch.Tensor


def test_accuracy_asks_for_a_model_and_rows():
    risk, data = TorchRisk(mlp()), several()
    for wrong in ((risk, data), (risk, risk.current), (risk, risk.current, data.X, 1)):
        with pytest.raises(InputError, match=r"accuracy\(learned, data\)"):
            accuracy(*wrong)


RESET = {
    "attention": lambda: nn.MultiheadAttention(4, 2),
    "transformer": lambda: nn.TransformerEncoderLayer(4, 2, 8),
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(L(4, 4)),
    "spectral_norm": lambda: nn.utils.parametrizations.spectral_norm(L(4, 4)),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(L(4, 4)),
}


@pytest.mark.parametrize("kind", RESET)
def test_layers_of_torch_start_anew(kind):
    layer = seeded(RESET[kind])
    risk = TorchRisk(layer, check=False)
    first, again, other = risk.init(1), risk.init(1), risk.init(2)
    assert torch.equal(first, again)
    at = dict(
        zip(risk.layout.names, zip(*(risk.layout.split(v).values() for v in (first, other)), strict=True), strict=True)
    )
    drawn = [name for name, (one, two) in at.items() if not torch.equal(one, two)]
    random = [
        n
        for n in at
        if n.rpartition(".")[2] in ("weight", "in_proj_weight", "original1", "original") and "norm" not in n
    ]
    fresh = risk.fresh_module(1)
    if kind == "spectral_norm":
        assert float(torch.linalg.matrix_norm(fresh.weight.detach(), 2)) == pytest.approx(1.0, abs=0.05)
    if kind == "orthogonal":
        torch.testing.assert_close(fresh.weight @ fresh.weight.T, torch.eye(4, dtype=torch.float64))
        assert not torch.equal(fresh.weight, risk.fresh_module(2).weight)  # drawn in a buffer
        return
    assert set(random) <= set(drawn), kind


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_layers_whose_draw_misses_a_parameter_ask_for_help():
    module = seeded(lambda: S(nn.utils.weight_norm(L(4, 3))))
    data = several()
    risk = TorchRisk(module)
    risk.hvp(risk.current, data.X, data.y, risk.current)
    with pytest.raises(CapabilityError, match="draw all they have, got 0.weight_[gv] of Linear.*init"):
        risk.init(0)
    copy = TorchRisk(module, init=lambda made: [nn.init.normal_(p) for p in made.parameters()])
    assert SGDTrainer(epochs=1).fit(copy, data).w.shape == (18,)
