"""The benchmark of the attacks' costs measures, fits and writes what it says."""

from __future__ import annotations

import csv
import re
import runpy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linpoison import InputError, LinpoisonError
from linpoison.attacks import ATTACKS, SaddleProgram

ROOT = Path(__file__).parent.parent
benchmark = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "attack_costs.py"), run_name="imported"))


@settings(max_examples=30)
@given(st.floats(-3, 3), st.floats(1e-6, 1e6), st.lists(st.integers(0, 12), min_size=2, max_size=6, unique=True))
def test_the_exponent_of_a_power_law_is_exact(exponent: float, factor: float, doublings: list[int]) -> None:
    x = [100.0 * 2**k for k in doublings]
    fit = benchmark.power(x, [factor * value**exponent for value in x])
    assert fit.exponent == pytest.approx(exponent, abs=1e-9)
    assert fit.last == pytest.approx(exponent, abs=1e-9)
    if abs(exponent) > 0.01:
        assert fit.r2 == pytest.approx(1, abs=1e-9)


def test_noise_lowers_r2_as_scipy_says() -> None:
    from scipy.stats import linregress

    rng = np.random.default_rng(0)
    x = 2.0 ** np.arange(8)
    y = x**0.5 * np.exp(rng.normal(size=8))
    fit, other = benchmark.power(x, y), linregress(np.log(x), np.log(y))
    assert (fit.exponent, fit.r2) == pytest.approx((other.slope, other.rvalue**2), abs=1e-12)
    assert fit.r2 < 0.9


def test_a_fixed_cost_shows_in_the_last_doubling() -> None:
    x = 100.0 * 2.0 ** np.arange(4)
    fit = benchmark.power(x, 1 + (x / 400) ** 2)
    assert fit.exponent < fit.last < 2


def test_points_without_a_measurement_are_left_out() -> None:
    fit = benchmark.power([1, 2, 4, 8], [3, np.nan, 12, 24])
    assert fit.exponent == pytest.approx(1)
    assert np.isnan(benchmark.power([1, 2], [np.nan, 3])).all()
    flat = benchmark.power([1, 2, 4], [5, 5, 5])
    assert flat.exponent == pytest.approx(0)
    assert np.isnan(flat.r2)


@pytest.mark.parametrize("axis", ["n", "d", "nnz", "eps", "dense-n", "dense-d"])
def test_an_axis_doubles_one_quantity(axis: str) -> None:
    line = benchmark.sizes(axis, benchmark.BASE, 3)
    _, field = benchmark.AXES[axis]
    assert [getattr(size, field) / getattr(line[0], field) for size in line] == [1, 2, 4, 8]
    assert len({size._replace(**{field: 0}) for size in line}) == 1


def test_stored_entries_double_on_their_axis_and_stay_on_that_of_columns() -> None:
    def entries(axis: str) -> Sequence[float]:
        return [benchmark.generate(size, 0).train.X.nnz / size.n for size in benchmark.sizes(axis, benchmark.BASE, 3)]

    assert entries("nnz") == pytest.approx([16, 32, 64, 128], rel=0.1)
    assert entries("d") == pytest.approx([16] * 4, rel=0.1)


@pytest.mark.parametrize("name", list(ATTACKS))
def test_options_are_reduced_never_raised(name: str) -> None:
    attack, words = benchmark.reduced(name)
    usual = ATTACKS[name]()
    assert type(attack) is type(usual)
    changed = {field for field in benchmark.REDUCED if getattr(attack, field, None) != getattr(usual, field, None)}
    assert words.count(benchmark.REDUCED[next(iter(changed))][1]) == 1
    for field in changed:
        new, old = getattr(attack, field), getattr(usual, field)
        if isinstance(new, int) and isinstance(old, int):
            assert new < old
    assert isinstance(getattr(attack, "program", None), SaddleProgram) == name.startswith("min-max")


def test_a_forked_process_answers_or_says_why_not() -> None:
    def fail() -> float:
        raise InputError("more", "less")

    assert benchmark.apart(lambda a, b: a + b, 1, 2.5) == 3.5
    with pytest.raises(LinpoisonError, match="InputError: expected more, got less"):
        benchmark.apart(fail)
    with pytest.raises(LinpoisonError, match="ended without an answer"):
        benchmark.apart(exit, 3)


def test_memory_is_the_peak_of_the_run() -> None:
    class Hoarder:
        def run(self, megabytes: int, *, seed: int, n_jobs: int) -> None:
            np.ones(megabytes * 125_000)
            np.ones(125_000)

    assert benchmark.megabytes_of(Hoarder(), 20, 0) == pytest.approx(20, abs=0.5)


def test_quick_run_of_two_attacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--attacks", "random-flips", "alfa", "--repeat", "1", "--doublings", "1"]
    assert benchmark.main([*arguments, "--axes", "nnz", "dense-d", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text
    assert len(re.findall(r"^\| (random-flips|alfa) \| (nnz|dense-d) \|", text, re.MULTILINE)) == 4
    assert "| alfa | 1 and 3 copies, 2 rounds, 2 finalists |" in text
    with open(tmp_path / "costs.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * 2
    assert [float(row["x"]) for row in rows[2:4]] == [4, 8]
    assert all(float(row["seconds"]) > 0 and float(row["megabytes"]) > 0 and not row["note"] for row in rows)
    assert all(row["x"] == f"{float(row['nnz'])}" for row in rows if row["axis"] == "nnz")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_what_an_attack_cannot_do_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> float:
        raise LinpoisonError("no room")

    monkeypatch.setitem(benchmark.measure.__globals__, "apart", refuse)
    (first, *_) = benchmark.curves("alfa", ["n"], benchmark.QUICK, 1, ("l2",), 1, 0)
    assert np.isnan([first.seconds, first.megabytes]).all()
    assert "alfa, n = 40: no room" in benchmark.summary([first], "")
