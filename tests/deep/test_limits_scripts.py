"""The experiments on gradient canceling and TGDA, and the benchmark of steps in torch, at toy size."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "experiments" / "limits"
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import a script; no module of the folder stays behind."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


def read(path: Path) -> list[dict[str, str]]:
    """A table, after a look at what it was measured with."""
    assert "torch 2" in path.with_suffix(".md").read_text(encoding="utf-8").splitlines()[-1]
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_canceling_lowers_the_residual_and_resumes(load, tmp_path, capsys):
    script = load("canceling")
    arguments = ["--quick", "--out", str(tmp_path), "--models", "lr", "--seeds", "1", "--radii", "0.5"]
    assert script.main(arguments) == 0
    first = (tmp_path / "canceling-lr.md").read_text(encoding="utf-8")
    assert "learned free" in capsys.readouterr().err
    rows = read(tmp_path / "canceling-lr.csv")
    assert [row["pixels"] for row in rows] == ["free", "box"]
    for row in rows:
        after, before, bound = (float(number) for number in row["residual"].split(" / "))
        assert bound <= after < before
        assert float(row["drop"]) == pytest.approx(float(row["clean"]) - float(row["accuracy"]), abs=0.011)
    assert [row["radius"] for row in read(tmp_path / "targets-lr.csv")] == ["0.5"]
    assert script.main(arguments) == 0
    assert (tmp_path / "canceling-lr.md").read_text(encoding="utf-8") == first
    assert capsys.readouterr().err == ""


def test_the_cluster_and_what_is_optimised_from_it_are_within_the_pixels(load, tmp_path, capsys):
    script = load("cluster_start")
    assert script.main(["--quick", "--out", str(tmp_path)]) == 0
    rows = read(tmp_path / "cluster_start.csv")
    assert [row["poison"].removesuffix(", chosen") for row in rows] == list(script.ATTACKS)
    assert sum("chosen" in row["poison"] for row in rows) == 1
    lab = script.lab_of(tmp_path, True)
    X, y = script.kept_poison(lab, "cluster")
    places = [(lab.train[0] == x).flatten(1).all(dim=1).nonzero()[0, 0] for x in X]
    assert len({int(lab.train[1][place]) for place in places}) == len(set(y.tolist())) == 1
    assert int(lab.train[1][places[0]]) != int(y[0])
    for name in ("canceling", "matching", "unrolled"):
        moved, labels = script.kept_poison(lab, name)
        assert labels.tolist() == y.tolist()
        assert moved.shape == X.shape
        assert 0 <= moved.min() < moved.max() <= 1
        assert (moved != X).flatten(1).any(dim=1).all()
    drops = [lab.measured("clean", None, s) - lab.measured("cluster", None, s) for s in (1, 2)]
    assert rows[0]["drop, last epoch"].startswith(f"{np.mean(drops, axis=0)[0, 0]:.2f} (")
    assert script.interval(np.array([1.0, 2.0, 3.0])) == "2.00 (-0.48 to 4.48)"


def test_baselines_are_within_the_pixels_and_beside_the_thesis(load, tmp_path, capsys):
    script = load("baselines")
    arguments = ["--quick", "--out", str(tmp_path), "--victims", "1", "--behind", "--attacks"]
    names = ["flip", "cluster", "min-max", "back-gradient", "MetaPoison", "pGAN 0.9"]
    assert script.main([*arguments, *names, "--onto", "lr"]) == 0
    rows, moved = read(tmp_path / "baselines-nn.csv"), read(tmp_path / "baselines-nn-onto.csv")
    assert [row["attack"] for row in rows] == [row["attack"] for row in moved] == names
    assert [row["thesis"] for row in rows] == ["0.05", "-", "-0.03", "0.37", "-", "1.09"]
    assert [row["behind loss"] != "-" for row in rows] == [True, True, False, False, False, True]
    lab = script.Lab("nn", "mnist", tmp_path, script.QUICK, quick=True, full=False)
    for name in names:
        poison, _ = lab.poison(name, 0.03)
        assert poison.total == 4
        assert poison.X.min() >= 0
        assert poison.X.max() <= 1
    most = [float(rows[k]["change"].split(", ")[0]) for k in (3, 4)]
    assert most[0] > 0.05
    assert 0 < most[1] <= 8 / 255 + 0.04 + 0.005
    assert [rows[k]["change"] for k in (0, 1, 2, 5)] == ["0", "0", "-", "-"]
    clean, poisoned = (100 * (1 - lab.learner(1).fit(part).error(lab.test)) for part in (
        lab.train, lab.train.mix(lab.poison("flip", 0.03)[0].expanded())
    ))  # fmt: skip
    assert float(rows[0]["drop"]) == pytest.approx(clean - poisoned, abs=0.006)
    capsys.readouterr()
    assert script.main([*arguments, *names]) == 0
    assert capsys.readouterr().err == ""


def test_poison_behind_every_defence_is_compared_with_itself_without_one(load, tmp_path, capsys):
    script = load("baselines")
    names, defences = ["flip", "TGDA past SEVER"], ["loss", "SEVER", "influence", "MaxUp"]
    arguments = ["--quick", "--model", "lr", "--victims", "2", "--attacks", *names, "--defences", *defences]
    assert script.main([*arguments, "--out", str(tmp_path)]) == 0
    rows = read(tmp_path / "baselines-lr-behind.csv")
    assert [(row["attack"], row["defence"]) for row in rows] == [(a, d) for a in names for d in ["none", *defences]]
    assert {row["thesis"] for row in rows} == {"-"}
    lab = script.Lab("lr", "mnist", tmp_path, script.QUICK, quick=True, full=False)
    bare, behind = (
        lab.drops(lab.poison("flip", 0.03)[0], (1, 2)),
        [lab.behind("flip", 0.03, s, "SEVER") for s in (1, 2)],
    )
    lost = [lab.clean[s] - reached for s, (reached, _) in zip((1, 2), behind, strict=True)]
    assert rows[2]["drop"] == script.interval(lost)
    assert rows[2]["more than without"] == script.interval(np.subtract(lost, bare))
    alone = [lab.clean[s] - lab.behind("", 0.03, s, "SEVER")[0] for s in (1, 2)]
    assert rows[2]["clean rows alone"] == rows[7]["clean rows alone"] == script.interval(alone)
    assert script.thesis_of(script.WITH["SEVER"], "nn", "TGDA", 0.03) == "1.32"


def test_the_baselines_of_the_thesis_are_the_differences_of_its_accuracies(load):
    script, clean = load("baselines"), {"lr": 92.35, "nn": 98.04, "cnn": 99.13, "cifar-cnn": 69.44, "resnet": 94.95}
    reached = {
        "flip": (90.83, 97.99, 99.12, 68.99, 94.79), "min-max": (89.80, 98.07, 99.55),
        "i-min-max": (89.56, 97.82, 99.05),
        "back-gradient": (89.82, 97.67, 99.02),
        "TGDA": (89.56, 96.54, 98.02, 65.15, 89.41),
    }  # fmt: skip
    for name, accuracies in reached.items():
        for model, accuracy in zip(clean, accuracies, strict=False):
            assert float(script.THESIS[model][name]) == pytest.approx(clean[model] - accuracy, abs=0.0101)
    assert float(script.THESIS["cifar-cnn"]["MetaPoison"]) == pytest.approx(69.44 - 68.14, abs=0.001)


def test_the_thesis_has_figures_of_its_own_data_alone(load, tmp_path):
    script = load("baselines")
    labs = [
        script.Lab("nn", data, tmp_path, script.QUICK, quick=True, full=False) for data in ("mnist", "cifar10_small")
    ]
    assert [script.thesis_of(script.THESIS, lab.thesis, "flip", 0.03) for lab in labs] == ["0.05", "-"]
    assert [script.thesis_of(script.THESIS, lab.thesis, "flip", 1.0) for lab in labs] == ["0.1", "-"]


def test_corrupted_parameters_are_in_their_balls_and_worse(load, tmp_path):
    script = load("corruption")
    assert script.main(["--quick", "--out", str(tmp_path), "--models", "lr"]) == 0
    rows = read(tmp_path / "corruption-lr.csv")
    assert [row["radius"] for row in rows] == ["relative 0.5", "relative 1", "absolute 0.5", "absolute 1"]
    assert [row["relative"] for row in rows[:2]] == ["0.500", "1.000"]
    assert all(float(row["accuracy"]) < float(row["clean"]) for row in rows)
    assert {row["rows"] for row in rows} == {"9"}
    assert [row["thesis, at eps_w"] for row in rows] == ["69.80", "21.48"] * 2


def test_poison_of_growing_sets_is_beside_flips(load, tmp_path):
    script = load("growing")
    assert script.main(["--quick", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "growing.md").read_text(encoding="utf-8")
    assert "torch 2" in text
    with open(tmp_path / "growing.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["attack"] for row in rows] == list(script.CASES)
    assert all(row["poison"] == "2" and float(row["drop"]) > float(row["drop of random flips"]) for row in rows)


def test_the_poison_in_the_box_is_in_it_and_has_the_budget(load, tmp_path):
    script, lab = load("canceling"), load("limits_lab").Lab("lr", tmp_path, True)
    attacker = script.Attacker(lab, script.quick_plan())
    found = attacker.poison(0, "box", 0.1)
    assert found["X"].min() >= 0
    assert found["X"].max() <= 1
    assert found["copies"].sum() == 20
    assert attacker.poison(0, "free", 0.1)["X"].min() < 0


def test_networks_meet_tied_pictures_on_a_sphere_that_start_in_conflict(load, tmp_path):
    script, lab = load("canceling"), load("limits_lab").Lab("nn", tmp_path, True)
    attacker = script.Attacker(lab, replace(script.quick_plan(), rows=20))
    start = attacker.poison(0, "start", 0.1)
    found = attacker.poison(0, "tied", 0.1)
    for poison in (start, found):
        np.testing.assert_allclose(np.linalg.norm(poison["X"].reshape(-1, 64), axis=1), 1000, rtol=1e-5)
        assert poison["copies"].sum() == 20
        pictures = poison["X"].reshape(2, 10, 64)
        np.testing.assert_array_equal(pictures, np.tile(pictures[:, :1], (1, 10, 1)))
        assert poison["y"].tolist() == 2 * list(range(10))
    np.testing.assert_allclose(start["X"][0], -start["X"][10])
    assert np.abs(found["X"] - start["X"]).max() > 1
    assert found["residual"] < start["residual"]


def test_distinct_rows_share_the_copies_evenly(load):
    distinct = load("canceling").distinct
    assert [distinct(1800, 1800), distinct(1800, 6000), distinct(4, 6), distinct(60, 7)] == [1800, 1500, 3, 7]


def test_the_victim_is_another_seed(load):
    assert [load("limits_lab").victim(seed) for seed in range(3)] == [1, 2, 0]


def test_games_are_played_and_resumed(load, tmp_path, capsys):
    script = load("tgda")
    games = ["flip", "main", "not pretrained", "(m, n) = (20, 1)"]
    arguments = ["--quick", "--out", str(tmp_path), "--models", "lr", "--seeds", "1", "--games", *games]
    assert script.main(arguments) == 0
    first = read(tmp_path / "tgda-lr.csv")
    assert [row["game"] for row in first] == games
    assert first[0]["CG residual"] == "-"
    assert all(float(row["CG residual"]) > 0 for row in first[1:])
    capsys.readouterr()
    assert script.main(arguments) == 0
    assert read(tmp_path / "tgda-lr.csv") == first
    assert capsys.readouterr().err == ""


def test_the_variants_are_what_their_names_say(load, tmp_path):
    script = load("tgda")
    table = script.Table(load("limits_lab").Lab("lr", tmp_path, True), script.Size(10, 4))
    rules = {name: table.rule(variant) for name, variant in script.VARIANTS.items()}
    main = rules["main"]
    assert rules["defender first"].order == "defender" != main.order
    assert rules["zero-sum"].game == "zero-sum" != main.game
    assert rules["cold start"].start == "cold" != main.start
    assert rules["(m, n) = (1, 0)"].follower_steps == 0
    assert (rules["(m, n) = (20, 1)"].leader_steps, rules["(m, n) = (20, 1)"].epochs) == (20, 2)
    train, validation = table.split(0)
    assert train.n + validation.n == 200
    assert table.leader(0)[1].total == pytest.approx(0.03 * train.n)


def test_the_thesis_figures_are_those_of_the_model(load):
    """Accuracies of Tables 2.2 and 2.4 to 2.8, from which the drops follow; two that it prints do not."""
    script = load("tgda")
    clean = {"lr": 92.35, "nn": 98.04, "cnn": 99.13}
    accuracies = {
        "flip": (90.83, 97.99, 99.12), "main": (89.56, 96.54, 98.02), "defender first": (89.79, 96.98, 98.66),
        "zero-sum": (92.33, 98.07, 99.55), "not pretrained": (92.09, 97.47, 98.72), "cold start": (89.84, 96.77, 98.33),
        "(m, n) = (1, 0)": (92.30, 98.02), "(m, n) = (1, 1)": (89.97, 97.03), "(m, n) = (20, 1)": (89.29, 96.33),
        "(m, n) = (20, 20)": (89.77, 96.85),
    }  # fmt: skip
    found = {(model, name): float(drop) for model, drops in script.THESIS.items() for name, drop in drops.items()}
    expected = {
        (model, name): clean[model] - accuracy
        for name, row in accuracies.items()
        for model, accuracy in zip(clean, row, strict=False)
    }
    assert found == pytest.approx(expected, abs=0.0101)
    assert set(accuracies) == {"flip", *script.VARIANTS} - set(script.TIED)
    cells = [script.thesis_of(*cell) for cell in (("nn", "zero-sum"), ("cnn", "(m, n) = (1, 1)"), ("nn", "tied"))]
    assert cells == ["-0.03 (Table 2.5)", "-", "1.50"]


def test_the_tied_game_moves_pictures_with_all_labels_on_their_sphere(load, tmp_path, capsys):
    script = load("tgda")
    table = script.TiedTable(
        load("limits_lab").Lab("nn", tmp_path, True), script.Size(2, 2), script.Tie(30.0, 2, 0.5, 150)
    )
    train, validation = table.split(0)
    assert train.n + validation.n == 150
    found, start = table.game("tied", 0), table.start()
    pictures = found["X"].reshape(2, 10, 64)
    np.testing.assert_array_equal(pictures, np.tile(pictures[:, :1], (1, 10, 1)))
    np.testing.assert_allclose(np.linalg.norm(pictures, axis=2), 30, rtol=1e-5)
    assert found["y"].tolist() == start.y.tolist() == 2 * list(range(10))
    assert found["copies"].tolist() == start.mass.tolist()
    assert np.abs(found["X"] - start.X).max() > 0.1
    arguments = ["--quick", "--out", str(tmp_path), "--seeds", "1", "--games", "tied start", "tied", "--models"]
    assert script.main([*arguments, "nn"]) == 0
    rows = read(tmp_path / "tgda-nn.csv")
    assert [row["game"] for row in rows] == ["tied start", "tied"]
    assert rows[0]["clean"] == rows[1]["clean"]
    assert float(rows[1]["distance"]) > 0
    for wrong in (["lr"], ["nn", "lr"], ["nn", "--subset", "100"]):
        with pytest.raises(SystemExit):
            script.main([*arguments, *wrong])
        assert "tied games are for nn and cnn and all rows" in capsys.readouterr().err


def test_the_default_games_of_a_subset_are_not_tied_and_a_step_of_the_journal_that_lacks_something_is_made_anew(
    load, tmp_path
):
    script, lab = load("tgda"), load("limits_lab").Lab("lr", tmp_path, True)
    assert script.main(["--quick", "--out", str(tmp_path), "--models", "nn", "--seeds", "1", "--subset", "100"]) == 0
    assert [row["game"] for row in read(tmp_path / "tgda-nn.csv")] == ["flip", "main"]
    assert script.main(["--quick", "--out", str(tmp_path), "--models", "nn", "--seeds", "1", "--signed"]) == 0
    assert len(read(tmp_path / "tgda-signed-nn.csv")) == 4
    lab.kept("step", lambda: {"a": 1.0})
    assert float(lab.kept("step", lambda: {"a": 2.0})["a"]) == 1
    assert sorted(lab.kept("step", lambda: {"a": 2.0, "b": 3.0}, ("a", "b"))) == ["a", "b"]


def test_games_of_a_network_have_signed_pixels(load, tmp_path):
    script, lab = load("tgda"), load("limits_lab").Lab("lr", tmp_path, True, signed=True)
    assert (float(lab.train.X.min()), float(lab.train.X.max())) == (-1.0, 1.0)
    found = script.Table(lab, script.Size(1, 2, batch=70)).game("not pretrained", 0)
    assert -1 <= found["X"].min() < 0


def test_poison_is_transferred_and_defended_against(load, tmp_path, capsys):
    script = load("defended")
    arguments = ["--quick", "--out", str(tmp_path), "--models", "lr", "nn", "--onto", "lr", "cnn", "--defend", "lr"]
    assert script.main(arguments) == 0
    rows = read(tmp_path / "transfer.csv")
    assert [(row["game of"], row["learner"]) for row in rows] == [
        ("lr", "lr"), ("lr", "cnn"), ("nn", "lr"), ("nn", "cnn")
    ]  # fmt: skip
    for row in rows:
        assert float(row["drop"]) == pytest.approx(float(row["clean"]) - float(row["accuracy"]), abs=0.011)
    kept = {row["defence"]: row for row in read(tmp_path / "defended.csv")}
    assert list(kept) == ["loss", "SEVER", "influence", "MaxUp"]
    assert (kept["MaxUp"]["poison kept"], kept["MaxUp"]["clean rows kept"]) == ("100.0 %", "100.0 %")
    for name in ("loss", "SEVER", "influence"):
        assert 90 < float(kept[name]["clean rows kept"].split()[0]) < 100
    capsys.readouterr()
    assert script.main(arguments) == 0
    assert capsys.readouterr().err == ""


def test_a_game_s_poison_has_a_row_for_each_copy_and_a_defence_drops_that_many(load, tmp_path):
    script = load("defended")
    given = script.options("Test.").parse_args(["--quick", "--out", str(tmp_path)])
    games = script.Games(given)
    assert [games.poison(model)[1].n for model in ("lr", "nn")] == [6, 20]
    found = script.behind("loss", games.labs["lr"], games.poison("lr")[1])
    assert found["poison"] * 6 + found["clean"] * 200 == pytest.approx(200)


def test_steps_are_held_beside_plain_torch(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("torch_steps")
    assert script.main(["--quick", "--models", "lr"]) == 0
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[1].strip() for line in lines] == list(script.STEPS)
    assert all(float(number) >= 0 for line in lines for number in line[2:])


def test_an_update_of_tgda_is_that_of_plain_torch(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("torch_steps")
    scene = script.Scene("lr", 5, 50, True)
    w, phi = scene.game(1)
    module, leader = deepcopy(scene.module), deepcopy(scene.leader.module)
    sets = [(s.X, torch.as_tensor(s.y)) for s in (scene.train, scene.validation, scene.seeds)]
    script.plain_update(module, leader, *sets, 5)
    for ours, theirs in ((w, module), (phi, leader)):
        flat = torch.cat([p.detach().reshape(-1) for p in theirs.parameters()])
        torch.testing.assert_close(ours.float(), flat, rtol=1e-4, atol=1e-6)
