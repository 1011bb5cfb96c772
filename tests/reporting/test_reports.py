"""What all reports offer, and the first line of each."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import audit_cases
import numpy as np
import pytest

import linpoison
from linpoison.auditing.answering import certify_rows
from linpoison.auditing.curve import cut
from linpoison.auditing.options import AuditOptions, LearnerOptions
from linpoison.auditing.subpop import SubpopOptions, run_subpop
from linpoison.core import LinearModel, Poison
from linpoison.reporting.advice import advice
from linpoison.reporting.base import Report
from linpoison.reporting.curve import bracket_words
from linpoison.reporting.gates import Gates
from linpoison.reporting.harden import HardenReport
from linpoison.reporting.suite import SuiteEntry, SuiteReport
from linpoison.reporting.sweep import SweepCell, SweepReport
from linpoison.reporting.trial import Trial
from linpoison.reporting.verdict import filters_words

FEW = audit_cases.small_split()
POISON = Poison(np.full((1, 10), 3.0), [-1], [12])
MADE = {
    "audit": lambda: audited(),
    "evaluate": lambda: linpoison.evaluate("gaussians", POISON, defenses=("l2",)),
    "certify": lambda: linpoison.certify(
        FEW, epsilon=0.03, model="ridge", reg=0.3, defenses="l2", attacks="random-flips"
    ),
    "budget": lambda: linpoison.budget(
        "gaussians", LinearModel(np.full(10, 0.1)), model="ridge", reg=0.3, defenses="l2"
    ),
    "subpop": lambda: run_subpop(
        "gaussians", SubpopOptions(LearnerOptions(defenses="none"), clusters=3, groups=2, alphas=(1.0,))
    ),
    "sweep": lambda: SweepReport((SweepCell(AuditOptions(), audited()), SweepCell(AuditOptions(), None, "no room"))),
    "check": lambda: SuiteReport("x.toml", (SuiteEntry("a", "b", 1, audited()), SuiteEntry("c", "d", 2, None, "gone"))),
    "answers": lambda: certify_rows("gaussians", np.zeros((25, 10)), model="ridge", reg=0.3, kind="flips", most=2),
    "inspect": lambda: linpoison.inspect(two_blobs()),
    "harden": lambda: hardened(),
    "sanitize": lambda: linpoison.sanitize("gaussians", defenses="l2,loss", remove=0.05),
}


@cache
def audited():
    return linpoison.audit(FEW, attacks="random-flips", model="ridge", defenses="l2", epsilon=0.1, certify=True, jobs=1)


def two_blobs():
    rng, y = np.random.default_rng(0), np.repeat([-1, 1], 40)
    return np.where(np.arange(80)[:, None] < 76, rng.normal(size=(80, 2)) + y[:, None], [-20.0, -20.0]), y


def hardened():
    """Of two settings, as if they had been tried."""
    now = Trial(name="as it is", words="leave it", clean_error=0.1, cost=0.0, low=0.0, high=0.0, seen_error=0.4,
                unseen_error=0.3, attack="kkt")  # fmt: skip
    return HardenReport(
        dataset={"name": "blobs", "n_train": 80}, model={"loss": "hinge", "reg": 0.1}, epsilon=0.1, n_poison=8,
        n_trusted=0, trials=[now, replace(now, name="medians", seen_error=0.2, unseen_error=0.2)],
        chosen="medians", max_cost=0.01, failures={}, versions={}, seed=0, command="harden", code="model = 1\n",
        estimator=linpoison.LinearClassifier().fit(*two_blobs()),
    )  # fmt: skip


@pytest.fixture(scope="module")
def reports():
    return {name: make() for name, make in MADE.items()}


def test_no_report_is_left_out(reports):
    here = {kind.__name__ for kind in Report.__subclasses__() if kind.__module__.startswith("linpoison")}
    assert {type(report).__name__ for report in reports.values()} == here


@pytest.mark.parametrize("name", MADE)
def test_every_report_begins_with_its_verdict_and_has_the_same_members(reports, name, tmp_path):
    report = reports[name]
    words = " ".join(report.to_text().split())
    assert words.startswith(report.verdict)
    assert report.verdict.endswith(".")
    assert next(iter(json.loads(report.to_json()).items())) == ("verdict", report.verdict)
    page = report.to_html()
    assert page.index('class="verdict"') < page.index("<table")
    short = str(report)
    assert " ".join(short.split()).startswith(report.verdict)
    assert len(short) < len(report.to_text())
    assert all(cell in short and cell in report._repr_html_() for _, rows in report.summary() for cell in rows[0])
    assert len(report.to_frame()) == len(report.records()) > 0
    report.save(tmp_path / "out")
    files = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert {".json", ".html"} <= files


def test_a_verdict_says_by_how_much_with_how_many_rows_past_what(reports):
    item = replace(
        reports["audit"].damage(), n_poison=12, clean_error=0.05, test_error=0.4, low=0.2, high=0.5,
        unseen_test_error=0.38,
    )  # fmt: skip
    clean = {**reports["audit"].clean, "unseen_by_defense": {"l2": 0.04, "none": 0.04}}
    report = replace(reports["audit"], damages=[item], domains=[item.domain], rungs=[], target="split:0.5", clean=clean)
    n = report.dataset["n_train"]
    assert report.verdict == (
        f"Whoever adds 12 rows to the {n} training rows ({1200 / n:.2g} %) can raise the test error from 5.0 % to "
        "40.0 % past the filter l2, on test rows that the attacker knows, and from 4.0 % to 38.0 % on those it "
        "does not know. No upper bound was computed (--certify)."
    )
    spared = replace(report, damages=[replace(item, unseen_test_error=0.03)])
    assert "knows; on those it does not know it goes from 4.0 % to 3.0 %." in spared.verdict
    assert "may be chance" in replace(report, damages=[replace(item, low=-0.1)]).verdict
    assert "kkt had not ended" in replace(report, unfinished=["kkt"]).verdict
    assert replace(report, damages=[replace(item, test_error=0.05)]).verdict.startswith(
        "No attack that was run, with 12 rows added"
    )
    proved = replace(report, rungs=[{"bound": 0.2}, {"bound": 0.6}])
    assert proved.verdict.endswith("no poison of the budget brings it above 60.0 %.")
    assert replace(proved, rungs=[{"bound": 1.0}]).verdict.endswith("held fixed is 100 %.")
    chosen = replace(report, target="rows:1,2,3,4", target_rows=[1, 2, 3, 4], metric_rows=4,
                     damages=[replace(item, test_error=0.75)])  # fmt: skip
    assert "can have 3 of the 4 chosen rows misclassified past the filter l2 (0 without poison)" in chosen.verdict
    assert filters_words(["a"] * 5) == "past all five filters"


def test_a_sweep_says_what_its_worst_poison_moves(reports):
    (cell, _), report = reports["sweep"].cells, reports["audit"]
    clean, (attack, *_) = report.clean["test_error"], report.attacks
    moved, still = (
        SweepReport((replace(cell, report=replace(report, attacks=[replace(attack, test_error_behind_all=error)])),))
        for error in (0.4, clean)
    )
    assert moved.verdict.endswith(f"takes the test error from {100 * clean:.1f} % to 40.0 %.")
    assert still.verdict.endswith(f"no poison moves the test error: it stays at {100 * clean:.1f} %.")


def test_gates_that_are_not_met_are_in_text_and_page(reports):
    report = reports["evaluate"].judged(Gates({"error": 0.0}))
    assert "NOT MET: test error behind every filter at once" in report.to_text()
    assert "Gate not met: test error behind every filter at once" in report.to_html()


def test_fewer_rows_do_less_and_the_words_name_the_least_number(reports):
    report = reports["audit"]
    for domain in report.domains:
        rows = [row for row in report.curve if row["domain"] == domain]
        errors = [row["test_error"] for row in rows]
        assert errors == sorted(errors)
        assert errors[-1] == report.damage(domain=domain).test_error
        assert [row["rows"] for row in rows][-1] == report.damage(domain=domain).n_poison
        bounds = [row["bound"] for row in rows[1:]]
        assert bounds == sorted(bounds)
    curve = [
        {"domain": "real", "rows": m, "test_error": error, "bound": bound}
        for m, error, bound in ((0, 0.05, None), (2, 0.1, 0.14), (7, 0.15, 0.3), (12, 0.4, 0.5))
    ]
    rung = {"clean_error": 0.05, "attack_error": 0.1, "bound": 0.5}
    told = bracket_words(replace(report, curve=curve, domains=["real"], rungs=[rung]))
    assert "For 10 points of error 7 rows suffice (no range check)." in told
    assert "Up to 2 rows provably cannot, behind filters held fixed." in told


def test_a_cut_keeps_the_number_and_the_row_that_drags():
    poison = Poison(np.eye(2), [1, 1], [11, 1])
    assert [cut(poison, m).total for m in (1, 5, 11)] == [1, 5, 11]
    assert cut(poison, 6).count.tolist() == [5, 1]


def test_measures_are_ranked_by_what_they_leave(reports):
    report = reports["audit"]
    hard = replace(report.damage(), clean_error=0.05, test_error=0.4)
    remedy = {"words": "clip", "clean_error": {"l2": 0.06}, "touched": 0.0, "name": "clip"}
    remedies = [{**remedy, "poisoned_error": {"l2": left}, "words": f"clip {left}"} for left in (0.3, 0.1, 0.395)]
    lines = advice(replace(report, damages=[hard], domains=["real"], remedies=remedies, exposures=[]))
    assert [line.partition(":")[0] for line in lines[:2]] == ["Clip 0.1", "Clip 0.3"]
    assert not any("0.395" in line for line in lines)


def test_redacted_reports_lie_beside_no_poison_of_before(tmp_path):
    linpoison.audit("gaussians", attacks="random-flips", defenses="l2", jobs=1, out=tmp_path)
    files = sorted(tmp_path.iterdir())
    for command in (
        lambda: linpoison.audit("gaussians", attacks="random-flips", out=tmp_path, redact=True),
        lambda: linpoison.evaluate("gaussians", tmp_path / "poison.npz", out=tmp_path, redact=True),
    ):
        with pytest.raises(linpoison.InputError, match="poison files beside redact"):
            command()
    assert sorted(tmp_path.iterdir()) == files


def test_redacted_reports_hold_no_poison_row(tmp_path):
    report = linpoison.audit(
        "gaussians", attacks="random-flips", defenses="l2", domain="real", jobs=1, redact=True, out=tmp_path
    )
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.json"}
    assert report.poisons == {}
    assert report.files == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Poison rows" not in page
    assert "decision boundary" not in page
