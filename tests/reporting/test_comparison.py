"""Comparing attacks: tables, sentences, the curve, and the words of targeted attacks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import audit_cases
import numpy as np
import pytest

import linpoison
from linpoison.attacks import MinMax, MinMaxBasic
from linpoison.auditing.target import Target
from linpoison.core import InputError
from linpoison.reporting import AuditReport, plots
from linpoison.reporting.advice import advice
from linpoison.reporting.lessons import LARGE_GAP, SMALL_GAP, lessons
from linpoison.reporting.table import by_defense, comparison, headline, marks

pytestmark = pytest.mark.usefixtures("fake_attacks")


def report_of(**options) -> AuditReport:
    split = audit_cases.small_split(300)
    return linpoison.audit(
        split, **{"epsilon": 0.1, "defenses": ("l2", "loss"), "jobs": 1, "attacks": "kkt", "domain": "real", **options}
    )


def with_errors(report, **errors):
    """The report with other errors: for each attack (l2, loss), and as many on unseen rows if given."""
    entries = []
    for name, values in errors.items():
        l2, loss, *unseen = values
        error = {"none": 0.5, "l2": l2, "loss": loss}
        entry = replace(report.attacks[0], name=name, test_error=error, seen_error=error, info={},
                        test_error_behind_all=min(l2, loss), unseen_test_error=None,
                        unseen_test_error_behind_all=unseen[0] if unseen else None)  # fmt: skip
        entries.append(entry)
    return replace(report, attacks=entries)


def said(report):
    return " ".join(lessons(report))


def test_a_lead_beyond_noise_and_one_within():
    report = report_of()
    assert "a does the most damage (30.0 %), 10 points more than b: beyond the point" in said(
        with_errors(report, b=(0.25, 0.2), a=(0.4, 0.3))
    )
    near = said(with_errors(report, a=(0.4, 0.3), b=(0.295, 0.4), c=(0.292, 0.3), d=(0.1, 0.1)))
    assert "but b and c are within the point or so" in near
    assert "no order among them" in near


def test_the_noise_of_few_rows_is_a_row():
    few = with_errors(report_of(target="rows:1,2,3,4"), a=(0.5, 0.5), b=(0.25, 0.25))
    assert "b is within a single row of 4" in said(few)
    assert "50 points more than b: beyond a single row of 4" in said(with_errors(few, a=(0.5, 0.5), b=(0.0, 0.0)))


def test_a_single_attack_is_not_compared():
    assert "most damage" not in said(report_of())
    assert "Attacks compared" not in report_of().to_html()


def test_the_strongest_and_the_weakest_defence_are_named():
    report = report_of()

    def told(none, l2, loss):
        """Of errors behind each defence, with whether it holds best."""
        pairs = {"all": (0.1, False), "none": none, "l2": l2, "loss": loss}
        damages = [
            replace(item, test_error=pairs[item.behind][0], holds_best=pairs[item.behind][1]) for item in report.damages
        ]
        return " ".join(advice(replace(report, damages=damages)))

    lead = "ach against a poison of its own, "
    text = told((0.4, False), (0.35, False), (0.3, True))
    assert f"{lead}best is loss (30.0 %), worst is none at all (40.0 %)." in text
    text = told((0.29, True), (0.4, False), (0.3, True))
    assert f"{lead}best are none at all and loss (29.0 %, alike within chance), worst is l2 (40.0 %)." in text
    text = told((0.29, True), (0.3, True), (0.3, True))
    assert "o filter does better than none beyond chance, each against a poison of its own (29.0 % to 30.0 %)." in text


def test_what_carries_over_to_unseen_rows_and_what_only_hindsight_knows():
    report = report_of(target="split:0.5")
    text = said(with_errors(report, a=(0.3, 0.3, 0.22), b=(0.2, 0.2, 0.25)))
    assert "a reaches 30.0 % on the rows that it saw, and 22.0 % on unseen rows, 8 points less" in text
    assert "b does more to unseen rows (25.0 %) shows in hindsight only" in text
    assert "hindsight" not in said(with_errors(report, a=(0.3, 0.3, 0.22), b=(0.2, 0.2, 0.2)))
    assert "on the training rows, to which the model is fitted too" in said(report_of(target="train"))
    assert "unseen" not in said(report_of(target="test"))


def test_gaps_are_told_by_where_the_attacks_stop():
    assert MinMaxBasic().program.tol == SMALL_GAP
    assert MinMax().program.tol == LARGE_GAP


@pytest.mark.parametrize(("info", "words"), [
    ({"upper": 0.25, "gap": 1e-5}, "a: its first program is solved (relative duality gap 1.0e-05)"),
    ({"upper": 0.25, "gap": 5e-3}, "a: its first program is roughly solved (relative duality gap 5.0e-03)"),
    ({"upper": 0.25, "gap": 0.1}, "a: its first program is not solved to the end"),
    ({"upper": 0.25, "gap": 1e-5}, "training objective above 0.25. This bounds the objective, not the error"),
    ({"rows_needed": 85}, "only from 85 poison rows on"),
    ({"rows_needed": 85}, "the budget allows 30, so that model is out of reach"),
    ({"rows_needed": 3}, "the budget allows 30."),
    ({"upper": 0.25, "gap": None}, ""),
    ({"rows_needed": 0.0}, ""),
])  # fmt: skip
def test_what_a_bound_proves(info, words):
    report = with_errors(report_of(), a=(0.2, 0.1))
    text = said(replace(report, attacks=[replace(report.attacks[0], info=info)]))
    assert words in text
    assert ("a: " in text) == bool(words)


def test_the_table_has_times_gaps_and_residuals():
    report = with_errors(report_of(), a=(0.2, 0.1), b=(0.4, 0.3))
    first, second = report.attacks
    times = {"all": {"0.05": 1.0, "0.17": 2.5}}, {"all": {"0.05": 0.2, "0.17": 4.0, "0.25": 9.0}}
    report = replace(report, attacks=[replace(first, seconds_to=times[0], gap=1e-5, residual=None, seconds=3.0),
                                      replace(second, seconds_to=times[1], residual=0.5)])  # fmt: skip
    assert marks(report) == ["0.17", "0.25"]
    header, *rows = comparison(report)
    assert header == (
        "attack", "behind all", "seconds", "seconds to 17 %", "seconds to 25 %", "distinct rows", "duality gap",
        "KKT residual",
    )  # fmt: skip
    assert [row[0] for row in rows] == ["b", "a"]
    assert rows[1] == ("a", "10.0 %", "3.0", "2.5", "-", "2", "1.0e-05", "-")
    assert rows[0][3:5] == ("4.0", "9.0")
    assert marks(replace(report, attacks=[replace(first, seconds_to={})])) == []


def test_errors_of_every_attack_stand_beside_those_without_poison():
    report = report_of(attacks="kkt,one-class")
    header, clean, *rows = by_defense(report)
    assert header == ("error behind", "none", "l2", "loss")
    assert clean[1:] == tuple(f"{100 * error:.1f} %" for error in report.clean["by_defense"].values())
    for row, entry in zip(rows, report.ranked, strict=True):
        assert row == (entry.name, *(f"{100 * error:.1f} %" for error in entry.test_error.values()))
    text, page = report.to_text(), report.to_html()
    for table in (comparison(report), by_defense(report)):
        for cell in (cell for row in table for cell in row):
            assert cell in text
            assert f">{cell}<" in page


@pytest.mark.filterwarnings("error")
def test_the_curve_has_a_line_for_each_attack():
    report = report_of(attacks="kkt,one-class,fake")
    curve = plots.race(report)
    assert curve.title == "Error against time, attack by attack"
    assert all(f"{entry.name}: {100 * entry.timeline[-1][1]:.1f} %" in curve.alt for entry in report.attacks)
    assert plots.race(report_of()) is None
    at_once = [replace(entry, timeline=[[0.0, 0.1]]) for entry in report.attacks]
    assert plots.race(replace(report, attacks=at_once)).title == curve.title


def test_gap_and_memory_are_in_the_json():
    values = json.loads(report_of().to_json())
    assert values["attacks"][0]["gap"] is None
    assert 10 < values["peak_memory_mb"] < 1e6
    assert values["target_rows"] is None
    assert values["failures"] == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell of running workers")
def test_the_memory_of_workers_that_still_run_is_counted():
    code = """
import numpy as np
from joblib import Parallel, delayed
from linpoison.auditing.assemble import peak_memory_mb

before = peak_memory_mb()
Parallel(n_jobs=2)(delayed(lambda size: np.ones(size).sum())(size) for size in (2**17 * int(before + 100), 1))
print(before, peak_memory_mb())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert after > before + 100


def test_a_targeted_report_speaks_of_chosen_rows_and_of_collateral_damage():
    report = report_of(target="rows:3,17,42")
    assert report.target_rows == [3, 17, 42]
    entry = report.attacks[0]
    text = " ".join(report.to_text().split())
    page = report.to_html()
    assert "the error on the 3 chosen rows" in headline(report, entry)
    assert "did not see" not in text
    assert "did not see" not in page
    assert "unseen rows" not in page
    assert "Collateral damage: the error on the other test rows goes from" in text
    assert "poisoned, other rows" in text
    assert "chosen rows" in page
    assert report.threat["goal"].startswith("targeted: have 3 chosen test rows misclassified")
    assert "NISTAML.024" in json.dumps(report.threat)
    assert AuditReport.from_json(report.to_json()) == report


def test_collateral_is_the_error_on_all_other_rows():
    split = audit_cases.small_split(80)
    options = {"epsilon": 0.1, "defenses": ("l2",), "jobs": 1}
    targeted = linpoison.audit(split, target="rows:5,6,30", attacks="kkt", domain="real", **options)
    scored = linpoison.evaluate(split, targeted.poisons[targeted.attacks[0].file], epsilon=0.1, defenses=("l2",))
    entry, whole = targeted.attacks[0], scored.attacks[0].test_error
    for name, error in whole.items():
        assert 3 * entry.test_error[name] + 77 * entry.unseen_test_error[name] == pytest.approx(80 * error)
    everything = linpoison.audit(
        split, target=f"rows:{','.join(map(str, range(80)))}", attacks="kkt", domain="real", **options
    )
    assert everything.attacks[0].unseen_test_error is None
    assert "Collateral" not in said(everything)


def test_rows_of_one_class_are_a_target():
    split = audit_cases.small_split()
    rows = ",".join(map(str, np.flatnonzero(split.test.y > 0)[:4]))
    assert report_of(target=f"rows:{rows}").n_scored == 4


@pytest.mark.parametrize(("name", "content"), [
    ("a.txt", b"3\n17\n42\n"), ("a", b"42 17\t3"), ("a.csv", b"row\r\n3\r\n17\r\n42\r\n"), ("b.csv", b"3,17,42"),
    ("c.txt", b"\xef\xbb\xbf3;17;42"), ("a.npy", None),
])  # fmt: skip
def test_files_of_rows(tmp_path, name, content):
    path = tmp_path / name
    if content is None:
        np.save(path, np.array([[42], [3], [17]]))
    else:
        path.write_bytes(content)
    assert Target.parse(f"rows:{path}").index == (3, 17, 42)
    assert Target.parse("rows:42, 3,17").index == (3, 17, 42)


def test_rows_that_are_no_whole_numbers_are_refused(tmp_path):
    np.save(tmp_path / "float.npy", np.array([1.0, 2.7]))
    np.savez(tmp_path / "many.npz", rows=[1])
    (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    for name in ("float.npy", "many.npy"):
        with pytest.raises(InputError, match="whole numbers"):
            Target.parse(f"rows:{tmp_path / name}")
