"""``python -m deep``: what each command writes, resuming, and one line for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep import make_model  # noqa: E402
from deep.cli import main  # noqa: E402
from deep.cli_data import load_task  # noqa: E402
from deep.pictures import save_grid  # noqa: E402
from linpoison.core import InputError  # noqa: E402

torch.set_num_threads(1)
QUICK = ["digits", "--rows", "200", "--epochs-train", "5", "--batch-train", "50", "--quiet", "--device", "cpu"]
COMMANDS = {
    "gc": ["--epsilon", "0.1", "--radius", "2", "--steps", "20", "--free", "--no-picture"],
    "tgda": [
        "--no-picture",
        "--epsilon",
        "0.1",
        "--epochs",
        "2",
        "--batch-size",
        "70",
        "--pretrain",
        "2",
        "--follower-steps",
        "3",
        "--past-sever",
        "1",
    ],
    "flip": ["--epsilon", "0.1", "--rule", "random"],
    "back-gradient": ["--epsilon", "0.1", "--steps", "3", "--unrolled", "5", "--unrolled-batch", "50", "--no-picture"],
    "metapoison": [
        "--epsilon",
        "0.1",
        "--steps",
        "2",
        "--models",
        "2",
        "--epochs",
        "2",
        "--colour",
        "0.1",
        "--near",
        "0.05",
        "--no-picture",
    ],
    "min-max": ["--epsilon", "0.1", "--decoy", "relabeled", "--tries", "4", "--ascent", "2", "--no-picture"],
    "pgan": ["--epsilon", "0.1", "--epochs", "1", "--alpha", "0.3", "--no-picture"],
    "gradpc": ["--relative-radius", "1"],
}


def report(out):
    return json.loads((out / "results.json").read_text(encoding="utf-8"))


def timeless(record):
    return {k: v for k, v in record.items() if "seconds" not in k and k != "memory_mib"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_writes_its_report_and_repeats_itself(command, tmp_path):
    found = []
    for name in ("one", "two"):
        assert main([command, *QUICK, *COMMANDS[command], "--seed", "0,1", "--out", str(tmp_path / name)]) == 0
        found.append(report(tmp_path / name))
    first, second = found
    assert [timeless(r) for r in first["runs"]] == [timeless(r) for r in second["runs"]]
    assert [r["seed"] for r in first["runs"]] == [0, 1]
    assert first["runs"][0]["clean_accuracy"] != first["runs"][1]["clean_accuracy"]
    mean = np.mean([r["clean_accuracy"] for r in first["runs"]])
    assert first["summary"]["clean_accuracy"]["mean"] == pytest.approx(mean)
    assert first["settings"]["command"] == command
    assert first["torch"] == torch.__version__
    written = {p.name for p in (tmp_path / "one").iterdir()}
    if command == "gradpc":
        target = np.load(tmp_path / "one" / "target-0.npy")
        assert target.shape == (650,)
        assert first["runs"][0]["target_accuracy"] < first["runs"][0]["clean_accuracy"] - 0.3
        assert first["runs"][0]["target_relative_length"] == pytest.approx(1.0)
        return
    assert {"poison-0.npz", "poison-1.npz", "seed-0.json"} <= written
    assert ("poison-0.png" in written) == (command == "flip")
    with np.load(tmp_path / "one" / "poison-0.npz") as archive:
        assert archive["X"].shape[1] == 64
        assert len(archive["X"]) == 20 or command == "min-max"  # which plants copies
        assert archive["count"].sum() == 20
        assert set(archive["y"]) <= set(range(10))
    for run in first["runs"]:
        assert run["drop"] == pytest.approx(run["clean_accuracy"] - run["accuracy"])
        assert run["poison_rows"] == 20


def test_poison_is_learned_behind_defences_by_a_learner_of_worst_copies(tmp_path):
    given = ["flip", *QUICK, "--epochs-train", "15", "--epsilon", "0.1", "--no-picture"]
    given += ["--copies-train", "2", "--noise-train", "0.1", "--defenses", "trim,self-influence,l2", "--trusted", "0.2"]
    assert main([*given, "--out", str(tmp_path)]) == 0
    (run,) = report(tmp_path)["runs"]
    assert run["poison_left_by_self-influence"] < 0.5 < run["accuracy_behind_self-influence"]
    assert 0 < run["poison_left_by_l2"] < 1
    assert "a class that is dropped whole" in run["nothing_behind_trim"]


def test_canceling_tells_what_it_cancelled(tmp_path):
    given = ["gc", *QUICK, *COMMANDS["gc"], "--out", str(tmp_path), "--params", "1.weight"]
    assert main(given) == 0
    (run,) = report(tmp_path)["runs"]
    assert run["parameters"] == ["1.weight"]
    assert run["constraint"] == "none"
    assert run["residual"] < run["residual_without_poison"]
    assert "relative_distance" not in run


def test_poison_keeps_to_the_box_unless_it_is_free(tmp_path):
    for name, free in (("box", []), ("free", ["--free"])):
        given = [
            "gc",
            *QUICK,
            "--epsilon",
            "0.1",
            "--steps",
            "20",
            "--out",
            str(tmp_path / name),
            "--no-picture",
            *free,
        ]
        assert main(given) == 0
        with np.load(tmp_path / name / "poison-0.npz") as archive:
            inside = archive["X"].min() >= 0 and archive["X"].max() <= 1
        assert inside == (not free)
    assert report(tmp_path / "box")["runs"][0]["constraint"] == "box [0, 1]"
    assert "relative_distance" in report(tmp_path / "box")["runs"][0]


def test_a_rerun_keeps_finished_seeds(tmp_path, capsys):
    base = ["tgda", *QUICK[:-3], "--device", "cpu", *COMMANDS["tgda"], "--out", str(tmp_path), "--leader", "pixels"]
    assert main([*base, "--seed", "0"]) == 0
    place = tmp_path / "seed-0.json"
    before = place.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([*base, "--seed", "0,1"]) == 0
    told = capsys.readouterr()
    assert place.read_text(encoding="utf-8") == before
    assert "seed 0" not in told.err
    assert "deep: seed 1: learning 1/5" in told.err
    assert "Written to" in told.out
    assert "clean accuracy" in told.out
    assert main([*base, "--seed", "0", "--reg", "0.01"]) == 0
    assert place.read_text(encoding="utf-8") != before


def test_seeds_at_a_time_and_the_report_on_standard_output(tmp_path, capsys):
    base = ["flip", *QUICK, *COMMANDS["flip"], "--seed", "0,1"]
    assert main([*base, "--out", str(tmp_path / "one"), "--jobs", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == report(tmp_path / "one")
    assert main([*base, "--out", str(tmp_path / "two")]) == 0
    assert [timeless(r) for r in told["runs"]] == [timeless(r) for r in report(tmp_path / "two")["runs"]]


@pytest.mark.parametrize("command", ["gc", "tgda"])
def test_an_interrupted_attack_goes_on_in_its_middle(command, tmp_path, monkeypatch):
    from deep import sgd
    from linpoison.attacks.gradient import tgda_parts
    from linpoison.risk import descent

    steps = {"gc": ["--steps", "20", "--optimiser", "gradient"], "tgda": ["--leader", "pixels", "--epochs", "3"]}
    base = [command, *QUICK, *COMMANDS[command], *steps[command], "--precision", "float32"]
    monkeypatch.setattr(descent.Keeper.__init__, "__defaults__", (5,))
    assert main([*base, "--out", str(tmp_path / "whole")]) == 0
    place, where = (descent.Keeper, "store") if command == "gc" else (tgda_parts.State, "note")
    real, calls = getattr(place, where), []

    def stopping(self, *given):
        calls.append(given)
        if len(calls) == {"gc": 13, "tgda": 3}[command]:
            raise KeyboardInterrupt
        return real(self, *given)

    monkeypatch.setattr(place, where, stopping)
    assert main([*base, "--out", str(tmp_path / "parts")]) == 130
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["journal"]
    learned = []
    fit = sgd.SGDTrainer.fit
    monkeypatch.setattr(sgd.SGDTrainer, "fit", lambda self, *a, **k: learned.append(1) or fit(self, *a, **k))
    assert main([*base, "--out", str(tmp_path / "parts")]) == 0
    assert len(learned) == 1  # with the poison only: the clean model was kept
    assert len(calls) == {"gc": 13 + 10, "tgda": 3 + 1}[command]
    runs = [timeless(report(tmp_path / name)["runs"][0]) for name in ("whole", "parts")]
    assert runs[0] == runs[1]
    with np.load(tmp_path / "whole" / "poison-0.npz") as one, np.load(tmp_path / "parts" / "poison-0.npz") as two:
        assert np.array_equal(one["X"], two["X"])
    assert not (tmp_path / "parts" / "journal").exists()


@pytest.mark.parametrize("command", ["gc", "tgda", "flip"])
def test_losses_of_the_margin_have_one_output(command, tmp_path):
    given = [command, "digits:3:8", *QUICK[1:], *COMMANDS[command], "--loss", "logistic", "--reg", "0.01"]
    assert main([*given, "--out", str(tmp_path)]) == 0
    found = report(tmp_path)
    (run,) = found["runs"]
    assert found["settings"]["loss"] == "logistic"
    assert run["clean_accuracy"] > 0.7
    assert command != "gc" or run["parameters_size"] == 65
    with np.load(tmp_path / "poison-0.npz") as archive:
        assert set(archive["y"]) <= {0, 1}


def test_a_target_is_what_is_measured_and_changes_are_told(tmp_path, capsys):
    given = ["metapoison", *QUICK, *COMMANDS["metapoison"], "--out", str(tmp_path), "--target"]
    assert main([*given, "3,4"]) == 0
    (run,) = report(tmp_path)["runs"]
    assert {2 * run["clean_accuracy"], 2 * run["accuracy"]} <= {0.0, 1.0, 2.0}
    assert 0 < run["largest_change"] <= 0.15 + 1e-6
    assert run["constraint"] == "colour 0.1, pixels 0.05"
    for wrong, words in (
        ("3,x", "numbers of test rows"),
        ("100000", "test rows from 0 to"),
        ("-1", "numbers of test rows"),
        ("3,4,3", "different test rows"),
        ("1" * 5000, "a whole number of at most 18 digits"),
    ):
        assert main([*given, wrong]) == 2
        assert words in capsys.readouterr().err


def test_two_digits_are_numbered_as_named():
    task, whole = load_task("digits:3:8", None, 0), load_task("digits", None, 0)
    assert task.train.k == 2
    assert (task.train.y == 1).sum() == (whole.train.y == 3).sum()
    assert (task.train.y == 0).sum() == (whole.train.y == 8).sum()


def test_a_file_and_a_model_of_the_user_s_own(tmp_path, monkeypatch):
    module = ModuleType("of_mine_too")
    module.small = lambda shape, classes: make_model("gc-nn", shape, classes)
    monkeypatch.setitem(sys.modules, "of_mine_too", module)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 5)), rng.integers(3, size=90)
    np.savez(tmp_path / "own.npz", X_train=X[:60], y_train=y[:60], X_test=X[60:], y_test=y[60:])
    given = ["flip", str(tmp_path / "own.npz"), "--model", "of_mine_too:small", "--epsilon", "0.2", "--quiet"]
    given += ["--epochs-train", "3", "--precision", "float64", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main(given) == 0
    assert report(tmp_path / "out")["runs"][0]["poison_rows"] == 12
    assert not (tmp_path / "out" / "poison-0.png").exists()


def test_a_training_of_the_user_s_own(tmp_path, capsys):
    given = ["flip", *QUICK, *COMMANDS["flip"], "--out", str(tmp_path), "--training"]
    assert main([*given, "deep_cases:trained_by_adam"]) == 0
    assert report(tmp_path)["runs"][0]["clean_accuracy"] > 0.8  # 5 epochs of SGD: below 0.7
    assert main([*given, "deep_cases:images"]) == 2
    assert "a training function that works" in capsys.readouterr().err


@pytest.mark.parametrize(("output", "code"), [("logits", 0), ("1", 0), (None, 2), ("other", 2)])
def test_the_scores_of_a_model_are_picked(output, code, tmp_path, monkeypatch, capsys):
    class Giving(torch.nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.line = torch.nn.Linear(64, classes)

        def forward(self, x):
            scores = self.line(x.flatten(1))
            return {"logits": scores} if output != "1" else (x, scores)

    module = ModuleType("of_mine_too")
    module.giving = lambda shape, classes: Giving(classes)
    monkeypatch.setitem(sys.modules, "of_mine_too", module)
    given = ["gc", *QUICK, *COMMANDS["gc"], "--model", "of_mine_too:giving", "--out", str(tmp_path)]
    assert main([*given, *([] if output is None else ["--output", output])]) == code
    assert ("--output" in capsys.readouterr().err or output == "other") == (code != 0)


def test_the_embedded_digits_and_a_part_of_them():
    task = load_task("digits", None, 0)
    assert (task.train.n, task.test.n, task.train.k, task.shape) == (1200, 597, 10, (1, 8, 8))
    assert (task.low, task.high) == (0.0, 1.0)
    assert load_task("digits", 50, 0).train.n == 50


@pytest.mark.data
@pytest.mark.skipif("LINPOISON_DATA" not in os.environ, reason="LINPOISON_DATA names no folder")
def test_mnist_has_images():
    task = load_task("mnist", 100, 0)
    assert task.shape == (1, 28, 28)
    assert (task.train.n, task.test.n, task.train.k) == (100, 10000, 10)


@pytest.mark.parametrize("shape", [(3, 5, 5), (3, 1, 5, 5), (3, 3, 5, 5), (3, 25)])
def test_pictures(tmp_path, shape):
    from matplotlib.image import imread

    X = np.random.default_rng(0).uniform(size=shape)
    save_grid(tmp_path / "a.png", X, torch.as_tensor(1 - X), [0, 1, 2])
    picture = imread(tmp_path / "a.png")
    assert picture.ndim == 3
    assert np.ptp(picture[..., :3]) > 0.9
    save_grid(tmp_path / "b.png", X, 1 - X, [0, 1, 2], most=2)
    assert imread(tmp_path / "b.png").shape[1] < picture.shape[1]


def test_rows_that_are_no_images_have_no_picture(tmp_path):
    with pytest.raises(InputError, match="images"):
        save_grid(tmp_path / "a.png", np.zeros((2, 5)), np.zeros((2, 5)), [0, 1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gc", "nothing"], "'digits', 'mnist' or an .npz file"),
        (["gc", "nowhere.npz"], "No such file"),
        (["gc", "digits", "--rows", "5000"], "from 1 to 1200"),
        (["gc", "digits:3"], "two different digits"),
        (["gc", "digits:3:3"], "two different digits"),
        (["gc", "digits:3:" + "1" * 5000], "two different digits"),
        (["gc", "digits", "--output", "1" * 5000], "a whole number of at most 18 digits"),
        (["gc", "digits", "--loss", "hinge"], "data of two classes"),
        (["gc", "digits", "--loss", "zero-one"], "a loss among"),
        (["flip", "digits", "--device=--"], "expected one argument"),
        (["gc", "digits", "--seed", "a"], "whole numbers with commas"),
        (["gc", "digits", "--seed", "1,1"], "different seeds, got '1,1'."),
        (["gc", "digits", "--seed", ","], "got ','."),
        (["gc", "digits", "--seed=-1"], "seed as a whole number of at least 0"),
        (["gc", "digits", "--model", "vgg"], "a model among"),
        (["gc", "digits", "--device", "nowhere"], "a device that torch can use"),
        (["flip", "digits", "--epsilon", "0"], "epsilon"),
        (["gc", "digits", "--epsilon", "1e-5"], "at least one poison row"),
        (["gc", "digits", "--optimiser", "lbfgs", "--step", "1"], "no --step"),
        (["gc", "digits", "--radius", "1", "--relative-radius", "1"], "got both"),
        (["tgda", "digits", "--validation", "1.5"], "fraction"),
        (["flip", "digits", "--jobs", "0"], "--jobs"),
        (["tgda", "digits", "--pretrain", "-1"], "--pretrain"),
        (["tgda", "digits", "--epochs", "0"], "epochs"),
        (["tgda", "digits", "--game", "chess"], "--help"),
        (["gradpc", "digits", "--reg", "-1"], "reg"),
        (["gradpc", "digits", "--radius", "-1"], "radius"),
        (["gradpc", "digits", "--target-steps", "0"], "steps"),
        (["gc", "digits", "--params", "nope"], "names among 1.weight, 1.bias"),
        (["gc", "digits", "--params", ",,"], "commas between them, got ',,'. Leave --params out for all."),
        (["gc", "digits", "--params", "1.weight,"], "got '1.weight,'."),
        (["gc", "digits", "--params", ""], "got ''."),
        (["gc", "digits", "--step", "0"], "step"),
        (["gc", "digits", "--steps", "0"], "steps"),
        (["gc", "digits", "--epsilon", "nan"], "epsilon"),
        (["tgda", "digits", "--epsilon", "0"], "epsilon"),
        (["tgda", "digits", "--solver-steps", "0"], "maxiter"),
        (["tgda", "digits", "--damping", "-1"], "damping"),
        (["tgda", "digits", "--past-sever", "0"], "weight"),
        (["tgda", "digits", "--batch-size", "0"], "batch_size"),
        (["tgda", "digits", "--leader-step", "0"], "leader_step"),
        (["tgda", "digits", "--follower-steps", "-1"], "follower_steps"),
        (["flip", "digits", "--chunk", "0"], "chunk"),
        (["flip", "digits", "--momentum", "1"], "momentum"),
        (["flip", "digits", "--copies-train", "2"], "noise"),
        (["flip", "digits", "--defenses", "trim,nobody"], "nobody"),
        (["flip", "digits", "--defenses", "self-influence", "--trusted", "2"], "--trusted"),
        (["flip", "digits", "--defenses", "trim, l2", "--trusted", "0.1"], "such as self-influence, got trim, l2"),
        (["attack"], "--help"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_learned_or_deleted(arguments, words, tmp_path, monkeypatch, capsys):
    from deep import sgd

    def never(*given, **more):
        raise AssertionError("learned")

    monkeypatch.setattr(sgd.SGDTrainer, "fit", never)
    (tmp_path / "seed-0.json").write_text("{}")
    quick = ["--quiet", "--out", str(tmp_path)] if len(arguments) > 1 else []
    assert main([*arguments, *quick]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.startswith("deep: error: expected")
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["seed-0.json"]


def test_a_folder_without_a_name_is_refused_and_the_current_one_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seed-0.json").write_text("{}")
    assert main(["flip", "digits", "--quiet", "--out", ""]) == 2
    assert "the name of a file or folder, got ''" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["seed-0.json"]


def test_rows_that_the_attacker_s_network_does_not_take_are_told_before_anything_is_learned(tmp_path, capsys):
    X, y = np.random.default_rng(0).uniform(size=(20, 3, 5, 5)), np.arange(20) % 2
    np.savez(tmp_path / "own.npz", X_train=X, y_train=y, X_test=X, y_test=y)
    given = ["tgda", str(tmp_path / "own.npz"), "--epsilon", "0.2", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main(given) == 2
    told = capsys.readouterr().err
    assert "multiples of 8" in told
    assert "learning" not in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("threshold", "kind", "told"),
    [(0.0, "necessary", "none proved"), (float("nan"), "necessary", "none proved"), (None, "necessary", "none proved"),
     (0.0, "exact", "0.0000"), (0.25, "necessary", "0.2500"), (float("inf"), "necessary", "inf")],
)  # fmt: skip
def test_a_threshold_that_proves_nothing_is_called_that(threshold, kind, told):
    from deep.cli_run import _table

    (_, row) = _table([{"seed": 0, "threshold": threshold, "threshold_kind": kind}]).splitlines()
    assert row.split("0", 1)[1].strip() == told


def test_a_vacuous_bound_on_the_terminal(tmp_path, capsys):
    given = ["gradpc", *QUICK[:-3], "--device", "cpu", "--radius", "1e-3", "--reg", "0", "--out", str(tmp_path)]
    assert main(given) == 0
    (run,) = report(tmp_path)["runs"]
    assert run["threshold"] == 0
    assert "none proved" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["missing", "labels", "nan", "shape", "text"])
def test_files_that_cannot_be_used_are_told(tmp_path, capsys, change):
    arrays = {"X_train": np.zeros((4, 2)), "y_train": np.zeros(4), "X_test": np.zeros((3, 2)), "y_test": np.ones(3)}
    if change == "missing":
        del arrays["y_test"]
    elif change == "labels":
        arrays["y_train"] = np.full(4, -1.0)
    elif change == "nan":
        arrays["X_train"][0] = np.nan
    elif change == "shape":
        arrays["X_test"] = np.zeros((3, 3))
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    if change == "text":
        path.write_text("no archive")
    assert main(["flip", str(path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("deep: error: expected")


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom deep.cli import main\nassert main(['gc', '--help']) == main([]) == 0\n"
        "sys.exit(len({'torch', 'numpy', 'matplotlib', 'cvxpy'} & set(sys.modules)))"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert "--relative-radius" in outcome.stdout
    assert (
        subprocess.run([sys.executable, "-m", "deep", "tgda", "--help"], capture_output=True, check=False).returncode
        == 0
    )
