"""The experiments on theory at toy size: what their tables claim holds in every line."""

from __future__ import annotations

import csv
import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "experiments" / "theory"
Run = Callable[..., tuple[ModuleType, Path]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Run a script with ``--quick``; no module of the folder stays behind."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def quick(name: str, *more: str) -> tuple[ModuleType, Path]:
        module = importlib.import_module(name)
        assert module.main(["--quick", "--out", str(tmp_path), *more]) == 0
        return module, tmp_path

    yield quick
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


def read(path: Path) -> list[dict[str, str]]:
    """A table, after a look at the Markdown beside it and at what it was measured with."""
    with open(path, newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert all(f"| {' | '.join(row.values())} |\n" in text for row in table)
    assert "linpoison " in text.splitlines()[-1]
    return table


def column(table: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name].split()[0]) for row in table])


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_the_gradient_vanishes_at_the_threshold_and_lies_on_the_floor_below(run):
    module, out = run("phase_transition")
    table = read(out / "table.csv")
    factor, gradient, floor, distance = (
        column(table, name) for name in ("budget / threshold", "gradient", "floor", "distance")
    )
    assert len(table) == len(module.FACTORS) * 7
    np.testing.assert_allclose(gradient, floor, atol=1e-6, rtol=1e-2)
    assert (floor[factor < 1] > 0.01).all()
    assert (floor[factor >= 1] == 0).all()
    assert distance[factor >= 1].max() < 1e-3 < distance[factor < 1].min()
    assert is_picture(out / "figure.png")
    below, above = read(out / "notebook.csv")
    for row in (below, above):
        assert row["notebook's threshold"] == row["threshold"]
    assert float(below["squared gradient at 0.52"]) == pytest.approx(module.PLATEAU[1], rel=1e-6)
    assert float(above["squared gradient at 0.52"]) < 1e-20


def test_the_examples_and_maps_of_the_thesis(run):
    module, out = run("thresholds")
    examples = read(out / "examples.csv")
    grown = [float(row["search"]) for row in examples if row["library"] == "infinite"]
    assert [later > 5 * earlier for earlier, later in zip(grown, grown[1:], strict=False)] == [True, True]
    assert [row["library"] for row in examples if row["quantity"].startswith("least rows")] == ["1", "2", "5"]
    for row in examples:
        if "-" not in (row["library"], row["search"]) and row["library"] != "infinite":
            assert float(row["library"]) == pytest.approx(float(row["search"]), abs=2e-6), row
        if row["quantity"].startswith("distance"):
            assert float(row["search"]) < 1e-8
        if row["quantity"].startswith("threshold, two"):
            assert row["thesis"].split()[0] == row["library"]
    for row in read(out / "breakdown.csv"):
        plain, found, inside = (
            float(row[name]) for name in ("without regulariser", "with regulariser", "behind the L2 defence")
        )
        assert plain < found <= inside * (1 + 1e-3)
        assert row["attained"] == "yes"
    maps = {(row["plane"], row["points"]): row for row in read(out / "figure31.csv")}
    assert maps["OR", "anywhere"]["reachable"] == "100 %"
    assert maps["OR", "behind L2"]["reachable"] == "0 %"
    free, fixed, _ = module.or_maps(2, 0)
    assert (free.values <= fixed.values * (1 + 1e-9)).all()
    anywhere, behind = module.cancer_maps(2)
    assert (anywhere.values <= behind.values * (1 + 1e-5)).all()
    assert (anywhere.values < behind.values * 0.9).any()
    assert is_picture(out / "figure31.png")


def test_two_points_plant_the_same_model(run):
    _, out = run("two_points")
    table = read(out / "table.csv")
    assert len(table) == 5 * 2 * 3 + 2
    for row in table:
        several = row["loss"].startswith("Crammer")
        assert float(row["distance"]) < (1e-3 if several else 1e-6) < 0.1 < float(row["clean model"])
        if not several:
            most = 4 if row["loss"] == "squared" or (row["loss"], row["scaling"]) == ("hinge", "mean") else 2
            assert int(row["points after"]) <= most
            merged = float(row["merged only"])
            assert merged > 1e-3 if row["scaling"] == "mean" else merged < 1e-6
    assert {row["weight kept"] for row in table if row["loss"] == "hinge" and row["scaling"] == "mean"} == {"1.000"}


@pytest.mark.parametrize("model", ["svm", "ridge"])
def test_bounds_lie_above_attacks(run, model):
    _, out = run("bracket", "--model", model)
    table = read(out / "table.csv")
    assert [row["budget"] for row in table] == ["0.01", "0.1"]
    for below, above in (("clean error", "attack"), ("attack", "bound"), ("clean loss", "attack's loss"),
                         ("attack's loss", "loss bound")):  # fmt: skip
        assert (column(table, below) <= column(table, above)).all()
    for name in ("attack", "bound", "attack's loss", "loss bound"):
        assert (np.diff(column(table, name)) >= 0).all()
    assert column(table, "attack's loss")[-1] > column(table, "clean loss")[-1] * 1.1
    assert column(table, "attack")[-1] > column(table, "clean error")[-1]
    np.testing.assert_array_less(1 - column(table, "certified rows"), column(table, "bound") + 0.101)
    assert is_picture(out / "figure.png")


def test_certificates_in_their_order(run):
    _, out = run("comparison")
    table = {row["certificate"]: row for row in read(out / "table.csv")}
    first, second = (
        {name: float(row[head]) for name, row in table.items() if row[head] != "-"} for head in ("1 %", "5 %")
    )
    chain = [
        "SVM: naive",
        "SVM: Steinhardt",
        "SVM: + strong convexity",
        "SVM: outer set",
        "SVM: outer set, cap, margins",
    ]
    for weak, strong in itertools.pairwise(chain):
        assert first[weak] <= first[strong]
        assert second[weak] <= second[strong]
    assert second["SVM: ball"] < second["SVM: naive"] < second[chain[-1]] < second["ridge: exact set"]
    assert first["SVM: ball"] <= first[chain[-1]] <= first["SVM: branch and bound"]
    assert all(first[name] >= share > 0 for name, share in second.items() if name != "SVM: ball")
    assert is_picture(out / "figure.png")
