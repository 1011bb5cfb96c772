import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table():
    return runpy.run_path(str(ROOT / "experiments" / "theory" / "ridge_table.py"))


def test_the_table_is_near_the_figures_of_another_split(table, tmp_path):
    table["main"](["--quick", "--out", str(tmp_path / "table.md")])
    *lines, _, measured_with = (tmp_path / "table.md").read_text().splitlines()[4:]
    assert "linpoison " in measured_with
    assert len(lines) == 10
    for line in lines:
        cells = [cell.strip() for cell in line.split("|")]
        before = float(cells[4].split("/")[0])
        uncertified, attacked = float(cells[5]), float(cells[6])
        assert abs(uncertified - before) <= 0.11
        assert uncertified - 0.03 <= attacked <= uncertified


def test_the_benchmark_runs(capsys):
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "ridge_certificates.py"))
    benchmark["main"](["--data", "breast_cancer", "--conic-rows", "2"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[3].strip() for row in rows] == ["balls", "slabs"]
    assert all(float(row.split("|")[-2]) < 1e-5 for row in rows)
