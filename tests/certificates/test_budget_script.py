"""The benchmark of budgets does its work at toy size."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from linpoison.datasets import counts

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "budgets.py"


@pytest.fixture(scope="module")
def benchmark():
    return runpy.run_path(str(SCRIPT), run_name="imported")


def test_both_methods_agree_and_the_attack_succeeds_only_above(benchmark):
    split = counts(n=120, d=25, contrast=0.7, length=20.0, seed=4)
    rows = list(benchmark["lines"](split, 0.05, 2, True))
    assert rows
    for row in rows:
        assert row.conic.info["gap"] < 1e-3
        assert row.structured is not None
        assert row.structured.bound == pytest.approx(row.conic.bound, rel=2e-3)
        assert row.below in (None, False)
        assert row.above in (None, True)
    assert any(row.below is False and row.above is True for row in rows)


def test_it_prints_a_table(benchmark, capsys):
    assert benchmark["main"](["--quick", "--no-attack"]) == 0
    assert capsys.readouterr().out.count("\n") >= 3
