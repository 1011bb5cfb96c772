"""An audit that ends early, by its time limit or by Ctrl-C: a valid report of what is known, and a run that goes on."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import pytest

import linpoison
from linpoison.attacks.deadline import Deadline
from linpoison.auditing import AuditReport
from linpoison.auditing.overall import Overall
from linpoison.core import InputError
from tests.support import audit_cases

QUESTION = {"epsilon": 0.1, "defenses": ("l2",), "domain": "real", "jobs": 1}


def audit(**more):
    return linpoison.audit(audit_cases.small_split(), **QUESTION | more)


def test_a_limit_leaves_out_what_it_must_and_says_so(tmp_path, fake_attacks):
    names = {"attacks": "fake,one-class"}
    cut = audit(out=tmp_path / "cut", time_limit=1e-9, **names)
    assert [entry.name for entry in cut.attacks] == ["fake"]
    assert cut.unfinished == ["fake"]
    assert [item["name"] for item in cut.left_out] == ["one-class"]
    assert "one-class was left out: time limit" in " ".join(cut.to_text().split())
    assert "1 attack of the plan did not begin" in cut.verdict
    harmless = replace(cut, damages=[replace(item, test_error=item.clean_error) for item in cut.damages])
    assert "Too little was tried" in harmless.advice[0]
    assert "nothing needs to change" in replace(harmless, left_out=[]).advice[0]
    assert "--time-limit 1e-09" in cut.command
    fake_attacks.steps.clear()
    audit(out=tmp_path / "cut", **names)
    assert fake_attacks.steps == [0, 1, 2]  # of one-class alone
    assert not (tmp_path / "cut" / "journal").exists()
    audit(out=tmp_path / "whole", **names)
    parts = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("cut", "whole")]
    assert audit_cases.without_times(parts[0]) == audit_cases.without_times(parts[1])


def test_a_limit_ends_certificates_too(fake_attacks):
    cut = audit(attacks="fake", time_limit=1e-9, certify=True)
    assert (cut.rungs, cut.certificates) == ([], [])
    assert "certify" in [item["name"] for item in cut.left_out]


@pytest.mark.parametrize("seconds", [0, -1, "soon"])
def test_a_limit_is_a_time(seconds):
    with pytest.raises(InputError, match="time_limit"):
        audit(time_limit=seconds)


@pytest.mark.parametrize(
    ("moment", "known"),
    [
        ("random flips", ["random-flips"]),  # its first draw has ended
        ("alfa: alfa", ["random-flips"]),
        ("scoring", ["random-flips", "alfa"]),
        ("certificate", ["random-flips", "alfa"]),
    ],
)
def test_a_signal_at_any_moment_leaves_a_valid_report(moment, known, tmp_path):
    said = []

    def told(done, total, what):
        said.append(what)
        if moment in what and (moment != "random flips" or len(said) > 1):
            signal.raise_signal(signal.SIGINT)
        if "scoring" in said and what != "scoring" and moment == "certificate":
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match=r"report\.html"):
            audit(attacks="random-flips,alfa", certify=True, out=tmp_path, progress=told)
    finally:
        signal.signal(signal.SIGINT, before)
    report = AuditReport.load(tmp_path)
    assert [entry.name for entry in report.attacks] == known
    assert report.damage().test_error == max(entry.test_error_behind_all for entry in report.attacks)
    assert (moment in ("scoring", "certificate")) == (not report.unfinished)
    again = linpoison.evaluate(audit_cases.small_split(), tmp_path / report.attacks[0].file, defenses="l2")
    assert again.attacks[0].test_error == report.attacks[0].test_error


def test_progress_is_the_share_of_the_work_with_the_best_and_the_time_left():
    now, said = [0.0], []
    limit = Deadline(60.0, lambda: now[0])
    overall = Overall(lambda *words: said.append(words), [1.0, 3.0], limit)
    overall.inside(0, "flips")(0, 8, "draws")
    now[0] = 20.0
    overall.inside(1, "kkt")(0, 8, "decoys")
    assert said == [(0, 100, "flips: draws; 60 s left"), (23, 100, "kkt: decoys; 40 s left")]
    free = Overall(lambda *words: said.append(words), [1.0, 3.0], clock=lambda: now[0])
    now[0] = 40.0
    free.inside(1, "kkt")(0, 8, "decoys")
    assert said[-1] == (23, 100, "kkt: decoys; about 60 s left")
