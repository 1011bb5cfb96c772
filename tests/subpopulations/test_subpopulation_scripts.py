"""The experiments run on small data, and say what they say they show."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "subpopulation"))

import adult
import fairness
import figure2
import impossibility
import linear

from linpoison.attacks.groups import Stage


@pytest.mark.parametrize("match", ["clusters", "features"])
def test_adult_quick(match, capsys, tmp_path):
    adult.main(["--quick", "--match", match, "--out", str(tmp_path / "run")])
    first = capsys.readouterr().out
    assert "| 1 | 1 |" in first
    adult.main(["--quick", "--match", match, "--out", str(tmp_path / "run")])
    assert capsys.readouterr().out == first


def test_adult_with_a_linear_learner_has_no_null(capsys):
    adult.main(["--quick", "--learner", "linear"])
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| 1 | 1 |"))
    assert row.split(" | ")[3] == "0.000"


def test_flips_of_a_sex_open_a_gap_to_the_other(tmp_path, capsys):
    fairness.main(["--quick", "--out", str(tmp_path / "fairness.md")])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["sex=0", "sex=1"]
    for row in rows:
        before, after = map(float, row[9].split(" to "))
        assert after > before + 0.05
        assert float(row[4]) - float(row[5]) == pytest.approx(float(row[6]), abs=2e-3)
        assert float(row[6]) > float(row[8])
    table = (tmp_path / "fairness.md").read_text(encoding="utf-8")
    assert all(" | ".join(row) in table for row in rows)


def test_linear_quick(capsys, monkeypatch):
    monkeypatch.setattr(linear, "REACHES", (1.0, 0.01))
    monkeypatch.setattr(linear, "JOINT", {**linear.JOINT, "schedules": [(Stage(1.0, 0.05, 3), Stage(0.5, 0.05, 3))]})
    linear.main(["--quick"])
    assert "of 2 clusters" in capsys.readouterr().out


def test_trim_fails_as_in_figure_2(tmp_path, capsys):
    place = tmp_path / "figure2.json"
    figure2.main(["--seeds", "12", "--out", str(place)])
    assert "| 11 |" in capsys.readouterr().out
    stored = json.loads(place.read_text())
    found, summary = np.array(stored["rows"]), stored["summary"]
    assert (found[:, 0] == 0).all()
    assert (found[:, 1] > 0.5).all()
    assert summary["difference"] == pytest.approx((found[:, 2] - found[:, 1]).mean())
    assert summary["low"] > 0.05
    assert summary["worse"] > 0.5
    assert summary["better"] == 0
    assert (found[:, 3] >= 0.8).all()


def test_the_recorded_figure_2_is_what_the_script_finds():
    place = Path(figure2.__file__).parent / "results" / "figure2.json"
    stored = json.loads(place.read_text())
    assert stored["summary"]["seeds"] == len(stored["rows"]) == 20
    assert stored["rows"][3] == pytest.approx(figure2.measure(3))
    assert stored["summary"]["low"] > 0


def test_no_locally_dependent_learner_withstands_flips_of_the_smallest_group():
    for seed in range(3):
        for damage, collateral, size in impossibility.trial(6, 300, seed).values():
            assert (damage, collateral) == (1.0, 0.0)
            assert size <= 300 / 6 + 1
    damage, collateral, _ = impossibility.trial(10, 1000, 18)["neighbours"]
    assert (damage, collateral) == (1.0, 0.0), "a copy of the farthest row would leave neighbours the majority"


def test_the_tail_bound_holds_with_a_third_and_fails_with_a_half():
    rows = impossibility.tails([(1000, 0.01), (10_000, 0.01), (10_000, 0.02), (100, 0.05)])
    assert all(exact <= third for _, _, exact, third, _ in rows)
    assert rows[1][2] == pytest.approx(2.76e-19, rel=0.01)
    assert rows[1][4] == pytest.approx(1.93e-22, rel=0.01)
    assert rows[1][2] > rows[1][4]
