"""Scripts beside the library: pages of the site, the experiments and the benchmarks do their work at toy size."""

from __future__ import annotations

import configparser
import csv
import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_attacks import FEW
from test_architecture import ALLOWED, listed_packages

import linpoison
from linpoison import AuditReport, InputError, Poison
from linpoison.attacks import ATTACKS, KKT, LabelFlipDecoys
from linpoison.losses import Hinge, Problem

ROOT = Path(__file__).parent.parent
ENRON = ROOT / "experiments" / "stronger_attacks" / "enron_kkt.py"


def script(path: Path) -> dict[str, Any]:
    return runpy.run_path(str(path), run_name="imported")


def test_the_reference_tells_every_public_name_once():
    reference = script(ROOT / "docs" / "reference.py")
    shown = {name for name in listed_packages() if hasattr(import_module(name), "__all__")}
    assert set(reference["packages"]()) == shown
    pages = {name: reference["page"](name) for name in shown}
    text = "\n".join(pages.values())
    for name, (package, last) in reference["homes"]().items():
        assert f"<{package}.{last}>`" in pages[name.rpartition(".")[0]], name
        assert len(re.findall(rf":: {re.escape(f'{package}.{last}')}$", text, re.MULTILINE)) == 1, name


def test_the_glossary_is_sorted_and_says_each_term_once(tmp_path):
    script(ROOT / "docs" / "reference.py")["write_glossary"](tmp_path / "glossary.md")
    text = (tmp_path / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^(\w.*)\n  \w", text, re.MULTILINE)
    assert len(terms) > 30
    assert terms == sorted(set(terms), key=str.lower)
    assert {"slab", "decoy", "envelope", "KKT residual", "outer set", "overrun", "drag", "base", "witness"} <= set(
        terms
    )


def test_every_dependency_has_its_reason():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    named = {re.split(r"[<>=!~\[ ]", line)[0] for text in lines for line in text.split("\n") if line}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert not [name for name in named if not re.search(rf"^\|.*\b{re.escape(name)}\b.*\|", page, re.MULTILINE)]


def test_the_map_repeats_the_table_of_rooms():
    page = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE)
    assert [room for room, _ in rooms] == list(ALLOWED)
    for room, others in rooms:
        named = set(re.findall(r"`(\w+)`", others))
        if others.startswith(("all ", "everything ")):
            above = set(ALLOWED) if others.startswith("everything") else set(list(ALLOWED)[: list(ALLOWED).index(room)])
            named = above - named - {room}
        assert named == ALLOWED[room], room


def test_tables_say_what_they_were_measured_with_in_words_that_a_shell_takes(monkeypatch):
    written = script(ROOT / "experiments" / "written.py")
    words = ["/some/where/tgda.py", "--games", "tied start", "--out", ".", "--poison", "in/planted", "--quick"]
    monkeypatch.setattr(sys, "argv", words)
    last = written["with_provenance"]("| a |\n").splitlines()[-1]
    assert shlex.split(last.split("`")[1]) == ["tgda.py", *words[1:6], "planted", "--quick"]
    for path in (ROOT / "experiments").glob("*/*.py"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"\.md\W.*write_text|markdown", text):
            assert re.search(r"with_provenance|provenance\(", text), path


def test_the_table_of_experiments_has_every_script_and_result():
    folder = ROOT / "experiments"
    pages = {path: path.read_text(encoding="utf-8") for path in folder.glob("*/README.md")}
    pages[folder / "README.md"] = (folder / "README.md").read_text(encoding="utf-8")
    linked = {
        path: {(path.parent / name).resolve() for name in re.findall(r"\]\(([^)#:]+)\)", text)}
        for path, text in pages.items()
    }
    assert not [name for names in linked.values() for name in names if not name.exists()]
    scripts = {path for path in folder.rglob("*.py") if "def main(" in path.read_text(encoding="utf-8")}
    assert scripts <= linked[folder / "README.md"]


def test_the_enron_table_on_a_small_set(tmp_path, fake_attacks, capsys):
    experiment = script(ENRON)
    assert experiment["main"](["--quick", "--jobs", "1", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["target"] for row in rows] == ["test", "test", "train", "train"]
    for row in rows:
        errors = [float(row[name]) for name in ("l2", "slab", "loss", "svd", "knn")]
        assert float(row["worst of five"]) == min(errors)
        assert (row["paper"], row["paper seconds"]) == ("", "")
    for target in ("test", "train"):
        report = AuditReport.from_json((tmp_path / target / "report.json").read_text(encoding="utf-8"))
        assert report.target == target
        assert str(report.clean["test_error"]) in {row["clean"] for row in rows if row["target"] == target}
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert len(table.splitlines()) == 6 + 2
    assert capsys.readouterr().out == table
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@dataclass(frozen=True)
class Few(KKT):
    """With few decoys."""

    decoys: LabelFlipDecoys = FEW
    generations: int = 1
    refits: int = 1
    finalists: int = 2


def test_the_enron_table_with_the_real_attack(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(ATTACKS, "kkt", Few)
    experiment = script(ENRON)
    experiment["run"].__globals__.update(TARGETS=("train",), ATTACKS=("kkt",))
    assert experiment["main"](["--quick", "--jobs", "1", "--out", str(tmp_path)]) == 0
    report = AuditReport.from_json((tmp_path / "train" / "report.json").read_text(encoding="utf-8"))
    poison = Poison.load(tmp_path / "train" / "poison.npz")
    assert poison.total == report.strongest.n_poison == 6
    assert (poison.X.toarray() == np.round(poison.X.toarray())).all()
    assert report.strongest.n_solves > 0
    assert report.strongest.residual > 0
    assert "| kkt | train |" in capsys.readouterr().out


def test_the_figures_of_the_paper_stand_beside_enron_only():
    experiment = script(ENRON)
    assert experiment["setup"](None, False) == ("enron1", 0.09, 0.03, True, "counts")
    assert experiment["setup"]("breast_cancer", False).compare is False
    assert experiment["setup"](None, True).compare is False


def test_an_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="enron2"):
        script(ENRON)["main"](["--data", "enron2", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_the_race_of_joint_program_and_grid(capsys):
    benchmark = script(ROOT / "benchmarks" / "joint_vs_grid.py")
    assert benchmark["main"](["--quick"]) == 0
    assert capsys.readouterr().out.count("| counts |") == 1
    ((_, split),) = benchmark["cases"](True, None)
    races = list(benchmark["races"]("counts", split, epsilon=0.05, points=5, n_decoys=2))
    assert len(races) == 2
    for race in races:
        assert 0 < race.joint <= race.grid * (1 + 1e-5)
        assert race.grid_solves == 5
        assert np.isfinite([race.joint_seconds, race.grid_seconds]).all()


@pytest.mark.parametrize("asked", [["--quick"], ["--quick", "--units"], ["--quick", "--words"]])
def test_the_cost_of_an_audit(asked, capsys):
    assert script(ROOT / "benchmarks" / "audit_rows.py")["main"](asked) == 0
    printed = capsys.readouterr().out.splitlines()
    rows = [line for line in printed if line.startswith(("| 2", "| 4"))]
    assert len(rows) == 2
    assert 0.0 <= float(rows[0].split("|")[5]) <= 1.0
    assert printed[-1].startswith("in units" if "--units" in asked else "exponent")


def test_an_audit_of_a_raw_table_beside_naive_rows(capsys, tmp_path):
    benchmark = script(ROOT / "benchmarks" / "raw_tables.py")
    assert benchmark["main"](["--quick", "--tables", "fraud", "--out", str(tmp_path)]) == 0
    assert "tables of poison, off by" in capsys.readouterr().out
    report = linpoison.AuditReport.load(tmp_path / "fraud" / "report.json")
    tried, more = benchmark["exceeding"](benchmark["fraud"](1000), report, benchmark["QUICK"])
    assert tried > 60
    assert all(" > " in line for line in more)  # against flips alone a naive row may well do more
    (tmp_path / "fraud" / "poison.csv").write_text("v0\n1\n")
    with pytest.raises(ValueError, match="columns"):
        benchmark["all_raw_again"](benchmark["fraud"](1000), tmp_path / "fraud")


def test_the_race_of_cold_and_warm_learners(capsys):
    assert script(ROOT / "benchmarks" / "scoring.py")["main"](["--quick"]) == 0
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if "counts" in line]
    assert [line[1:3] for line in lines] == [
        [intercept, rows] for intercept in ("penalised", "free") for rows in ("poisoned", "kept")
    ]
    assert all(float(line[7]) <= 1e-9 and abs(float(line[8])) <= 1e-6 for line in lines)


def test_ci_can_be_run():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_module_runs_as_the_command():
    outcome = subprocess.run(
        [sys.executable, "-m", "linpoison", "--version"], capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stdout) == (0, f"linpoison {linpoison.__version__}\n")


def test_the_naive_grid_on_a_small_set(tmp_path, capsys):
    naive = script(ROOT / "experiments" / "stronger_attacks" / "naive.py")
    assert naive["main"](["--quick", "--no-audit", "--out", str(tmp_path)]) == 0
    table = (tmp_path / "naive.md").read_text(encoding="utf-8")
    assert table == capsys.readouterr().out
    assert len(table.splitlines()) == 2 + 2 * 7 + 2
    split, Best = naive["split_of"]("toy", True), naive["Best"]
    for domain, least in ((naive["Domain"].real(), 300), (naive["Domain"].range(split.train.X), 100)):
        ground = naive["Ground"](split.train, 3, np.random.default_rng(0))
        poisons = naive["grid"](ground, domain)
        assert len(poisons) >= least
        assert max(poison.total for poison in poisons.values()) == 3
        assert max(domain.violation(poison.X).max() for poison in poisons.values()) == 0
    best = {"real": Best({"all": 0.3, "none": 0.2}, {"all": "far", "none": "near"})}
    told = list(naive["lines"]("toy", best, {"real": {"all": 0.29, "none": 0.2}}))
    assert [more for _, more in told] == [True, False]


def test_the_detection_of_planted_rows(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments" / "inspect"))
    detect = script(ROOT / "experiments" / "inspect" / "detect.py")
    with pytest.raises(SystemExit):
        detect["main"](["--attack", "none", "--poison", str(tmp_path), "--out", str(tmp_path)])
    assert detect["main"](["--quick", "--poison", str(tmp_path), "--out", str(tmp_path)]) == 0
    with open(tmp_path / "cases.csv", newline="", encoding="utf-8") as stream:
        clean, flipped = csv.DictReader(stream)
    assert (clean["poison"], int(clean["named"]) <= 2) == ("none", True)
    assert (flipped["poison"], flipped["rows"]) == ("random-flips", "12")
    assert float(flipped["AP"]) > 5 * 12 / 412
    compare = script(ROOT / "experiments" / "inspect" / "compare.py")
    assert compare["main"](["--seed", "0", "--poison", str(tmp_path), "--out", str(tmp_path)]) == 0
    with open(tmp_path / "rankings.csv", newline="", encoding="utf-8") as stream:
        told = {line["ranking"]: line for line in csv.DictReader(stream)}
    assert told["inspect"]["gaussians"] == flipped["AP"]
    assert max(float(told[name]["gaussians"]) for name in ("loss", "twins", "pull")) <= float(flipped["its AP"])
    with open(tmp_path / "remedy.csv", newline="", encoding="utf-8") as stream:
        (line,) = csv.DictReader(stream)
    assert line["named of clean rows"] == f"{clean['named']} of 400"


def test_a_whole_run_of_harden_and_the_dumbest_poison(tmp_path):
    whole = script(ROOT / "experiments" / "harden" / "whole.py")
    assert whole["main"](["--quick", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "whole.csv", newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    assert [(one["data"], one["seed"], one["by"]) for one in found] == [("gaussians:60", "0", "any")]
    rows = linpoison.load("gaussians").train
    found = list(whole["dumb"](rows, Problem(Hinge(), reg=0.01), rows.take(np.arange(40)), 4))
    kinds = {name.split(",")[0] for name, _ in found}
    assert {"border of the range", "trusted rows with the other label", "flips of cluster 1"} < kinds
    apart = next(poison for name, poison in found if "last place apart" in name)
    assert len(np.unique(apart.X, axis=0)) == 4
    assert np.allclose(apart.X, apart.X[0], rtol=1e-15, atol=0)


def test_the_fresh_attack_on_hardened_settings(tmp_path):
    fresh = script(ROOT / "experiments" / "harden" / "fresh.py")
    assert fresh["main"](["--quick", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "fresh.csv", newline="", encoding="utf-8") as stream:
        next(stream)
        alone, filtered = csv.reader(stream)
    assert (alone[3], alone[6], alone[7]) == ("trusted-alone", alone[9], "any")
    assert filtered[3] == "trusted-5"
    assert 0 < float(filtered[9].rstrip("%")) <= 20
