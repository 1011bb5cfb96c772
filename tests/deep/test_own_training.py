"""Training functions of a user's own: the page's examples, what they are given, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import own_networks  # noqa: E402
from deep_cases import several  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

from deep import FunctionTrainer, NetworkLearner, RiskLearner, SGDTrainer, TorchRisk  # noqa: E402
from linpoison.attacks import RandomFlips  # noqa: E402
from linpoison.core import InputError, SolverFailed  # noqa: E402
from linpoison.core.journal import FolderJournal  # noqa: E402
from linpoison.defenses import TRIM  # noqa: E402

nn, data = torch.nn, torch.utils.data
PAGE = (Path(__file__).parents[2] / "docs/howto/networks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def scope():
    """What the page takes for granted: digits as torch datasets, and an extractor of features."""
    X, y = load_digits(return_X_y=True)
    X = torch.as_tensor(X / 16.0, dtype=torch.float32)
    parts = {"train": slice(0, 300), "test": slice(300, 700)}
    y = torch.as_tensor(y)
    pictures = {f"{k}_set": data.TensorDataset(X[s].reshape(-1, 1, 8, 8), y[s]) for k, s in parts.items()}
    words = [data.TensorDataset(X[s].reshape(-1, 8, 8), y[s]) for s in parts.values()]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        extractor = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
    return {**vars(own_networks), **pictures, "sequences": words[0], "test_sequences": words[1], "extractor": extractor}


@pytest.mark.parametrize("which", range(3), ids=["resnet", "transformer", "head"])
def test_the_page_attacks_a_network_with_its_own_training(scope, which):
    block = BLOCKS[which]
    assert len(block.splitlines()) < 20
    found = dict(scope)
    exec(compile(block, "networks.md", "exec"), found)
    learner, train, result, test = (found[name] for name in ("learner", "train", "result", "test"))
    assert result.poison.total == 30
    assert train.domain.violation(result.poison.X).max() == 0
    assert learner.fit(train).error(test) < 0.35
    assert result.poison.X.std() > 0

    mixed = train.mix(result.poison.expanded())  # the function by itself, in plain torch, on the rows of the poison
    rows = data.TensorDataset(torch.as_tensor(mixed.X, dtype=torch.float32).reshape(-1, *learner.shape),
                              torch.as_tensor(mixed.codes))  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = learner.trainer.train(learner.risk.fresh_module(0).train(), rows, 0).eval()
    with torch.no_grad():
        said = module(torch.as_tensor(test.X, dtype=torch.float32).reshape(-1, *learner.shape)).argmax(dim=1)
    if which != 1:  # the transformer stands behind a defence, which drops rows
        assert result.best.test_error["none"] == pytest.approx(float((said.numpy() != test.codes).mean()))


def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def plain(module, dataset, seed):
    optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(20):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(dataset.tensors[0]), dataset.tensors[1]).backward()
        optimiser.step()
    return module


def test_a_seed_gives_the_same_model_again_and_nothing_else_is_touched():
    module, rows, calls = small().eval(), several(60), []
    before = {k: v.clone() for k, v in module.state_dict().items()}

    def train(given, dataset, seed):
        calls.append((given.training, seed, len(dataset), torch.initial_seed()))
        return plain(given, dataset, seed)

    state, trainer = torch.random.get_rng_state(), FunctionTrainer(train)
    weighted = replace(rows, weights=np.r_[3.0, 0.0, np.ones(58)])
    first, again, other = (trainer.fit(TorchRisk(module), weighted, seed=s) for s in (3, 3, 4))
    assert torch.equal(first.w, again.w)
    assert not torch.equal(first.w, other.w)
    assert calls == [(True, 3, 61, 3)] * 3 + [(True, 4, 61, 4)]  # the first one twice
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert not module.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert int(first.risk.module[1].num_batches_tracked) == 20
    assert float(np.mean(first.predict(rows.X).numpy() == rows.y)) > 0.7


def test_it_trains_wherever_a_trainer_does(tmp_path, monkeypatch):
    rows = NetworkLearner(TorchRisk(small())).rows(pairs())
    journal = FolderJournal(tmp_path)
    learner = NetworkLearner(TorchRisk(small()), plain, journal=journal, progress=lambda *a: None)
    found = RandomFlips(draws=1).run(learner.scenario(rows, rows, 0.1))
    alone = FunctionTrainer(plain).fit(TorchRisk(small()), replace(several(60), X=rows.X))
    assert torch.equal(learner.fit(rows).flat, alone.w)
    assert found.best.test_error["none"] == learner.fit(rows.mix(found.poison.expanded())).error(rows)
    trim = TRIM(remove=0.1, learner=RiskLearner(TorchRisk(small()), plain, classes=range(3)))
    assert len(trim.fit(rows.X, rows.codes).sample_indices_) == 54
    monkeypatch.setattr(FunctionTrainer, "fit", lambda *a, **k: 1 / 0)  # what was learned is read back
    kept = NetworkLearner(TorchRisk(small()), plain, journal=journal).fit(rows)
    assert torch.equal(kept.flat, learner.fit(rows).flat)
    with pytest.raises(ZeroDivisionError):  # of another function it is not
        NetworkLearner(TorchRisk(small()), lambda *a: None, journal=journal).fit(rows)


def test_frozen_layers_and_a_start_from_the_modules_own_parameters():
    module, rows = small(), several(60)
    seen = []

    def tune(given, dataset, seed):
        seen.append([bool(torch.equal(a, b)) for a, b in zip(given.parameters(), module.parameters(), strict=True)])
        return plain(given, dataset, seed)

    head = TorchRisk(module, params=["4.weight", "4.bias"])
    found = FunctionTrainer(tune).fit(head, rows)
    assert torch.equal(found.risk.module[0].weight, module[0].weight)
    assert seen[0] == [True] * 4 + [False] * 2
    FunctionTrainer(tune).fit(TorchRisk(module, init=lambda given: None), rows)
    assert all(seen[-1])


def _forgets(module, dataset, seed):
    plain(module, dataset, seed)


def _draws(module, dataset, seed):
    noise = torch.as_tensor(np.random.default_rng().normal(size=8), dtype=torch.float32)
    module[0].bias.data += noise
    return module


def _other(module, dataset, seed):
    return nn.Sequential(nn.Linear(4, 9), *module[1:])


def _half(module, dataset, seed):
    return module.half()


def _wild(module, dataset, seed):
    module[0].weight.data += float("nan")
    return module


def _hidden(module, dataset, seed):
    module[2] = nn.Tanh()
    return module


def _fails(module, dataset, seed):
    raise KeyError("no such column\nat all")


def _scatters(module, dataset, seed):
    module[0].bias.data.put_(torch.tensor([0]), torch.tensor([0.5]))
    return module


def _thaws(module, dataset, seed):
    module[0].weight.data += 1.0
    return module


MINE = small()


def _mine(module, dataset, seed):
    return plain(MINE, dataset, seed)


@pytest.mark.parametrize(
    ("train", "error", "words"),
    [
        (_forgets, InputError, "expected a torch.nn.Module .* got None. End it with `return module`"),
        (_draws, InputError, "the same module for the same seed, got another 0.bias"),
        (_other, InputError, r"0.weight: shape \(8, 4\) .* got shape \(9, 4\)"),
        (_half, InputError, r"torch.float32, got .* torch.float16"),
        (_wild, SolverFailed, "NaN or infinity in 0.weight"),
        (_hidden, InputError, "computes as the given one"),
        (_fails, InputError, "works on 30 rows, got KeyError: 'no such column"),
        (_scatters, InputError, "deterministic=False"),
        (_thaws, InputError, "outside of `params` alone, got 0.weight"),
        (lambda module, dataset, seed: plain, InputError, "got a function"),
        (_mine, InputError, "leaves the risk's own module alone"),
    ],
)
def test_what_comes_back_is_checked_in_one_line(train, error, words):
    before = {k: v.clone() for k, v in MINE.state_dict().items()}
    names = ["4.weight", "4.bias"] if train is _thaws else None
    with pytest.raises(error, match=words) as caught:
        FunctionTrainer(train).fit(TorchRisk(MINE, params=names), several())
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[k], v) for k, v in MINE.state_dict().items())


def test_what_is_not_deterministic_can_be_allowed():
    found = FunctionTrainer(_scatters, deterministic=False).fit(TorchRisk(small()), several())
    assert float(found.risk.module[0].bias[0]) == 0.5


def test_what_is_no_training_is_refused():
    for given in (3, SGDTrainer):
        with pytest.raises(InputError, match="a trainer such as SGDTrainer"):
            NetworkLearner(TorchRisk(small()), given)


def pairs(keys=None):
    rows = several(60)
    items = [(torch.as_tensor(x, dtype=torch.float32), int(t)) for x, t in zip(rows.X, rows.y, strict=True)]
    return items if keys is None else [dict(zip(keys, item, strict=True)) for item in items]


class Stream(data.IterableDataset):
    def __init__(self, items, again=1):
        self.items, self.again = items, again

    def __iter__(self):
        for _ in range(self.again):
            yield from self.items


class Noisy(data.Dataset):
    def __len__(self):
        return 9

    def __getitem__(self, i):
        return torch.randn(4), i % 3


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        (pairs(), {}),
        (data.DataLoader(pairs(), batch_size=7, shuffle=True, drop_last=True), {}),
        (Stream(pairs()), {}),
        (data.DataLoader(Stream(pairs()), batch_size=7), {}),
        (pairs(("pixels", "digit")), {"row": "pixels", "label": "digit"}),
        ([(t, "more", x) for x, t in pairs()], {"row": 2, "label": 0}),
    ],
    ids=["pairs", "loader", "stream", "streamed loader", "mappings", "places"],
)
def test_rows_of_torch_are_read_in_their_order(source, keys):
    found, rows = NetworkLearner(TorchRisk(small())).rows(source, bounds=(-9, 9), **keys), several(60)
    np.testing.assert_allclose(found.X, rows.X, rtol=1e-6)
    assert found.codes.tolist() == rows.y.tolist()
    assert (found.k, found.domain.kind, found.classes) == (3, "box", (0, 1, 2))


def test_labels_are_words_or_signs():
    words = [(x, "abc"[t]) for x, t in pairs()]
    found = NetworkLearner(TorchRisk(small())).rows(words)
    assert found.classes == ("a", "b", "c")
    assert found.codes.tolist() == several(60).y.tolist()
    signs = [(x, bool(t)) for x, t in pairs()]
    margin = NetworkLearner(TorchRisk(nn.Linear(4, 1), "logistic")).rows(signs)
    assert margin.n_classes is None
    assert (margin.y > 0).tolist() == [t for _, t in signs]


@pytest.mark.parametrize(
    ("source", "keys", "words"),
    [
        (pairs(("a", "b")), {}, "a row at 0 and a label at 1, got a dict with the keys \\['a', 'b'\\]"),
        (Stream(pairs(), again=10**9), {"most": 100}, "a stream that ends within 100 items"),
        (Noisy(), {}, "the same when they are read again"),
        (data.DataLoader(pairs(), sampler=data.WeightedRandomSampler([1.0] * 60, 60)), {}, "WeightedRandomSampler"),
        (data.DataLoader(pairs(), sampler=data.RandomSampler(range(60), replacement=True)), {}, "a RandomSampler"),
        (data.DataLoader(pairs(), collate_fn=list), {}, "collate_fn"),
        ([(torch.zeros(i % 2 + 4), 0) for i in range(4)], {}, "of one shape"),
        ([(object(), 0)], {}, "rows of numbers"),
        ([], {}, "at least one row"),
        (7, {}, "read one after another, got a int"),
        (pairs(), {"bounds": (0, 1)}, r"rows between \(0, 1\), got from -"),
        ([(x, t + 1) for x, t in pairs()] + [(torch.zeros(4), 0)], {}, "labels from 0 to 2"),
        ([(x.reshape(2, 2), t) for x, t in pairs()], {}, "rows of shape flat"),
    ],
)
def test_rows_that_cannot_be_taken_are_refused_in_one_line(source, keys, words):
    with pytest.raises(InputError, match=words) as caught:
        NetworkLearner(TorchRisk(small())).rows(source, **keys)
    assert "\n" not in str(caught.value)
