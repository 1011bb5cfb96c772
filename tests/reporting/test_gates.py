"""Gates: what is measured, what may not be above which limit, and what a baseline changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from linpoison import AuditReport, InputError, audit
from linpoison.reporting import Gates


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return audit("gaussians", attacks="random-flips", defenses="l2", target="split:0.5", domain="real", jobs=1)


def with_errors(report, **errors):
    """The report with other figures behind every filter at once."""
    damages = [replace(item, **errors) if item.behind == "all" else item for item in report.damages]
    return replace(report, damages=damages)


@pytest.mark.parametrize(
    ("gate", "limit", "met"),
    [("error", 0.3, True), ("error", 0.29, False), ("unseen", 0.25, True), ("unseen", 0.24, False),
     ("damage", 0.2, True), ("damage", 0.19, False)],
)  # fmt: skip
def test_a_figure_above_its_limit_is_not_met(report, gate, limit, met):
    poisoned = with_errors(report, test_error=0.3, clean_error=0.1, unseen_test_error=0.25)
    judged = poisoned.judged(Gates({gate: limit}))
    assert [item["met"] for item in judged.gate] == [met]
    assert len(judged.broken) == (not met)
    assert AuditReport.from_json(judged.to_json()).gate == judged.gate


def test_a_certified_bound_is_the_greatest_of_the_rungs(report):
    proved = replace(report, rungs=[{"bound": 0.2}, {"bound": 0.4}])
    assert [item["measured"] for item in proved.judged(Gates({"certified": 0.5})).gate] == [0.4]
    with pytest.raises(InputError, match="a figure for the gate 'certified'"):
        report.judged(Gates({"certified": 0.5}))


def test_a_baseline_excuses_what_is_no_worse(report):
    before = with_errors(report, test_error=0.3)
    gates = Gates({"error": 0.1}, before)
    assert with_errors(report, test_error=0.305).judged(gates).broken == []
    broken = with_errors(report, test_error=0.32).judged(gates).broken
    assert len(broken) == 2
    assert "32.0 %, limit 10.0 %; 30.0 % in the baseline" in broken[0]
    assert "+2.0 points (behind all, real, from 30.0 % to 32.0 %), limit +1.0" in broken[1]
    assert with_errors(report, test_error=0.32).judged(Gates({"worse": 0.05}, before)).broken == []


def test_a_baseline_of_another_question_is_refused(report):
    for other in (replace(report, epsilon=0.1), replace(report, target="test")):
        with pytest.raises(InputError, match="a baseline of the same"):
            report.judged(Gates({}, other))
    with pytest.raises(InputError, match=r"a baseline of the same epsilon, 0\.03"):
        audit("no data are read", gates=Gates({}, replace(report, target="test", epsilon=0.1)))


def test_a_baseline_whose_figures_are_missing_or_no_shares_passes_nothing(report):
    narrow = [replace(item, domain="range") for item in report.damages]
    lost = [item for item in report.damages if item.behind != "none"]
    for after, before in (
        (report, replace(report, damages=[])),
        (report, with_errors(report, test_error=float("nan"))),
        (report, with_errors(report, test_error=40.0)),
        (replace(report, damages=narrow, domains=["range"]), report),
        (replace(report, damages=lost), report),
        (report, replace(report, rungs=[{"bound": 0.2}])),
    ):
        with pytest.raises(InputError, match="baseline"):
            after.judged(Gates({"error": 1.0}, before))


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"eror": 0.1}, "gates among error, unseen"), ({"error": 20}, "at most 1, got 20"), ({"worse": 0.1}, "a baseline"),
     ({"error": True}, "as a number"), ([("error", 0.1)], "a mapping")],
)  # fmt: skip
def test_gates_that_cannot_be_held_are_refused(limits, words):
    with pytest.raises(InputError, match=words):
        Gates(limits)


def test_what_a_gate_needs_is_asked_for_before_any_work():
    for name, words in (("unseen", "got target test"), ("certified", "got an audit without certificates")):
        with pytest.raises(InputError, match=words):
            audit("gaussians", gates=Gates({name: 0.1}))
