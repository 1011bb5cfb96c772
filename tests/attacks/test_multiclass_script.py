"""The experiment on ten classes, in its quick form."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "experiments/stronger_attacks/multiclass.py"


def test_quick_run_writes_table_and_figure(tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT), run_name="script")["main"]
    assert main(["--quick", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as stream:
        clean, *rows = list(csv.DictReader(stream))
    assert [(row["attack"], row["aimed at"]) for row in rows] == [
        ("min-max", "both"),
        ("min-max:paper", "both"),
        ("influence", "both"),
        ("influence", "l2"),
    ]
    assert all(float(row["l2"]) > float(clean["l2"]) for row in rows)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert table == capsys.readouterr().out
    assert "paper: " not in table
    assert (tmp_path / "figure.png").stat().st_size > 0


def test_the_lines_of_one_attack(tmp_path, monkeypatch):
    main = runpy.run_path(str(SCRIPT), run_name="script")["main"]
    clean_row, name_of = (main.__globals__[name] for name in ("clean_row", "name_of"))
    monkeypatch.setitem(
        main.__globals__, "measured",
        lambda scenario, attack, aim, ranked: clean_row(scenario)._replace(attack=name_of(attack), aim=aim),
    )  # fmt: skip
    assert main(["--quick", "--attacks", "influence", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as stream:
        lines = [(row["attack"], row["aimed at"]) for row in csv.DictReader(stream)]
    assert [attack for attack, _ in lines] == ["no poison", "influence", "influence"]
    assert [aim for _, aim in lines[1:]] == ["both", "l2"]
