"""The benchmark of budgets does its work at toy size."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from budget_cases import PLANAR, is_learned, problem_of, relearn

from linpoison.attacks import KKTProgram
from linpoison.certificates import budget_poison, min_budget
from linpoison.core import LinearModel
from linpoison.datasets import counts
from linpoison.optimality import VANISHING, Stationarity
from linpoison.sets import Ball, ByLabel

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


@pytest.mark.parametrize("shrink", [0.6, 0.8])
def test_with_slack_the_attack_needs_idle_rows_and_succeeds_only_above(benchmark, shrink):
    problem = problem_of("hinge", train=PLANAR, reg=0.1)
    sets = ByLabel({1: Ball([1.5, 0.5], 1.2), -1: Ball([-1.5, 0.0], 1.2)})
    model = LinearModel.from_vector(relearn(problem, PLANAR).vector * shrink + np.array([0.02, 0.05, 0.01]))
    found = min_budget(PLANAR, problem, sets, model)
    assert found.exact
    assert found.info["slack"] > 0.05
    assert budget_poison(found).y.size >= 2
    assert is_learned(problem, model, PLANAR.mix(budget_poison(found).as_dataset()))
    assert benchmark["vanishes"](found, 0.99 * found.bound) is False
    assert benchmark["vanishes"](found, 1.01 * found.info["primal"]) is True
    alone = KKTProgram(method="conic").solve(model, PLANAR, problem, sets, 1.01 * found.info["primal"])
    assert alone.residual_norm > 10 * VANISHING * Stationarity(PLANAR, problem, model).size


def test_it_prints_a_table(benchmark, capsys):
    assert benchmark["main"](["--quick", "--no-attack"]) == 0
    assert capsys.readouterr().out.count("\n") >= 3
