"""The benchmark of the oracles does its work at toy size."""

from __future__ import annotations

import runpy
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "oracles.py"


def test_race_of_structured_and_conic_solvers(tmp_path, capsys):
    benchmark = runpy.run_path(str(BENCHMARK))
    assert benchmark["main"](["--quick", "--out", str(tmp_path / "table.md")]) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| counts |")]
    assert len(rows) == 26
    assert {row[3].strip() for row in rows} == {"support", "project"}
    assert max(float(row[8]) for row in rows) < 1e-6
    assert all(row[10].strip() == "0" for row in rows)
    linear = [
        row for row in rows if row[2].strip().startswith("counts") and "svd" not in row[2] and "support" in row[3]
    ]
    assert max(int(row[9]) for row in linear) <= 3
