"""Poison as datasets and pictures, networks as safetensors, run folders: written, read back, and learned again."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import several, trained_by_adam  # noqa: E402
from PIL import Image  # noqa: E402
from test_deep_cli import QUICK  # noqa: E402

from deep import (  # noqa: E402
    LeaderNetwork,
    NetworkLearner,
    SGDTrainer,
    TorchRisk,
    load_images,
    load_tensors,
    poison_dataset,
    save_images,
    save_tensors,
)
from deep.cli import main  # noqa: E402
from linpoison.core import Dataset, InputError, MissingDependency, Poison  # noqa: E402
from linpoison.core.journal import FolderJournal  # noqa: E402
from linpoison.risk import Sample  # noqa: E402

nn = torch.nn


def pictures(d=48, seed=0):
    rng = np.random.default_rng(seed)
    return Poison(rng.uniform(-1.0, 3.0, size=(4, d)), [2, 0, 11, 2], [1, 3, 1, 2], n_classes=12)


def test_a_dataset_has_an_item_for_each_copy():
    poison = pictures()
    data = poison_dataset(poison, (3, 4, 4))
    assert len(data) == 7
    rows, codes = data.tensors
    assert codes.tolist() == [2, 0, 0, 0, 11, 2, 2]
    np.testing.assert_allclose(rows.reshape(7, -1).numpy(), poison.expanded().X, rtol=1e-6)
    assert poison_dataset(Poison([[1.0], [2.0]], [-1, 1], [1, 1])).tensors[1].tolist() == [0, 1]
    with pytest.raises(InputError, match="Round the poison"):
        poison_dataset(Poison([[1.0]], [1], [0.5]))


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 6, 8), (6, 8)])
def test_pictures_come_back_but_for_rounding_and_clipping(shape, tmp_path):
    poison, bounds = pictures(), (-0.5, 2.5)
    change = save_images(tmp_path, poison, shape, bounds)
    read, rows = load_images(tmp_path, poison, bounds), poison.expanded()
    inside = np.clip(rows.X, *bounds)
    assert np.abs(read.X - inside).max() <= 3 / 510 + 1e-12
    assert change == pytest.approx(np.abs(read.X - rows.X).max())
    assert change > 3 / 510
    assert read.y.tolist() == rows.y.tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00", "02", "11"]
    with Image.open(tmp_path / "02" / "poison-000000.png") as picture:  # as any other tool reads it
        assert picture.size == (shape[-1], shape[-2])
        assert picture.mode == ("RGB" if shape[0] == 3 else "L")
        first = np.asarray(picture)[0, 0]
    want = np.round(255 * (inside[0].reshape(shape)[..., 0, 0] + 0.5) / 3)
    assert np.ravel(first).tolist() == np.ravel(want).tolist()
    again = Poison(read.X, read.y, read.count, 12)
    assert save_images(tmp_path / "again", again, shape, bounds) < 1e-12


def test_pictures_that_are_none_are_refused(tmp_path):
    poison = pictures()
    for shape in ((2, 4, 6), (48,), (3, 4, 5)):
        with pytest.raises(InputError, match="pictures of 48 numbers"):
            save_images(tmp_path, poison, shape)
    with pytest.raises(InputError, match="bounds"):
        save_images(tmp_path, poison, (6, 8), (1.0, 1.0))
    save_images(tmp_path, poison, (6, 8))
    (tmp_path / "02" / "poison-000000.png").unlink()
    with pytest.raises(InputError, match="7 pictures"):
        load_images(tmp_path, poison)
    (tmp_path / "02" / "poison-000000.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="pictures of one size"):
        load_images(tmp_path, poison)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_learned_networks_and_leaders_come_back_with_their_statistics(tmp_path):
    reader = pytest.importorskip("safetensors.torch", reason="needs the extra safetensors")
    risk, rows = TorchRisk(network()), several(60)
    found = SGDTrainer(epochs=3, batch_size=20).fit(risk, rows)
    path = tmp_path / "learned.safetensors"
    save_tensors(path, found.risk, found.w, what="learned")
    back = load_tensors(path, risk)
    assert torch.equal(back, found.w)
    assert torch.equal(risk.scores(back, rows.X), risk.scores(found.w, rows.X))
    assert not torch.equal(risk.scores(back, rows.X), risk.scores(torch.Tensor(back), rows.X))  # batch statistics
    plain = network()  # any other program loads it as a state dict
    plain.load_state_dict(reader.load_file(path))
    torch.testing.assert_close(plain.eval()(torch.as_tensor(rows.X).float()).double(), risk.scores(found.w, rows.X))

    leader = LeaderNetwork(nn.Linear(4, 4), Sample(rows.X, rows.y), label_input=False)
    save_tensors(tmp_path / "leader.safetensors", leader, leader.current + 1)
    torch.testing.assert_close(load_tensors(tmp_path / "leader.safetensors", leader), leader.current + 1)
    with pytest.raises(InputError, match=r"with 0.weight of shape \(8, 4\)"):
        load_tensors(tmp_path / "leader.safetensors", risk)
    path.write_bytes(b"0" * 20)
    with pytest.raises(InputError, match="a safetensors file of this module"):
        load_tensors(path, risk)


def test_the_package_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    risk = TorchRisk(network())
    with pytest.raises(MissingDependency, match=r"linpoison\[safetensors\]"):
        save_tensors(tmp_path / "x", risk, risk.current)


def test_a_journal_is_read_by_what_wrote_it_alone(tmp_path):
    rows, journal = several(60), FolderJournal(tmp_path)
    train = Dataset.coded(rows.X, rows.y)
    first = NetworkLearner(TorchRisk(network()), trained_by_adam, journal=journal).fit(train)
    again = NetworkLearner(TorchRisk(network()), trained_by_adam, journal=journal)
    again.trainer = None  # is not asked
    assert torch.equal(again.fit(train).flat, first.flat)
    tanh = TorchRisk(nn.Sequential(*network()[:2], nn.Tanh(), nn.Linear(8, 3)))
    others = [
        (TorchRisk(network(), reg=0.1), trained_by_adam),
        (tanh, trained_by_adam),
        (TorchRisk(network()), SGDTrainer(3)),
    ]
    learners = [NetworkLearner(*other, journal=journal) for other in others]
    assert len({learner.origin for learner in [again, *learners]}) == 4
    assert not torch.equal(learners[1].fit(train).flat, first.flat)


def test_losses_go_to_a_hook_as_tensorboard_takes_them():
    seen, rows = [], several(60)
    add_scalar = lambda tag, value, step: seen.append((tag, value, step))  # noqa: E731
    learner = NetworkLearner(TorchRisk(network()), SGDTrainer(epochs=3), scalars=add_scalar)
    train = Dataset.coded(rows.X, rows.y)
    learner.fit(train)
    learner.fit(train.take(range(50)))
    assert [(tag, step) for tag, _, step in seen] == [(f"training {k}/loss", e) for k in (1, 2) for e in (1, 2, 3)]
    assert seen[2][1] < seen[0][1]


def test_a_run_folder_has_all_that_a_run_depends_on_and_the_damage_of_its_pictures(tmp_path):
    given = ["flip", *QUICK, "--epsilon", "0.1", "--seed", "0,1", "--images", "--no-picture", "--out", str(tmp_path)]
    assert main(given) == 0
    report = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert set(report) >= {"settings", "device", "linpoison", "torch", "numpy", "python", "runs", "summary"}
    for seed, run in enumerate(report["runs"]):
        assert run["seed"] == seed
        assert run["images_rounding"] <= 1 / 510
        assert run["images_accuracy"] == pytest.approx(run["accuracy"], abs=0.02)
        assert len(list((tmp_path / f"images-{seed}").glob("*/*.png"))) == 20
    place = tmp_path / "seed-0.json"
    stamp = place.stat().st_mtime_ns
    assert main(given) == 0
    assert place.stat().st_mtime_ns == stamp
