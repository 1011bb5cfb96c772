"""All attacks in one audit: order, failures, resuming, and the clock of a refinement."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import audit_cases
import numpy as np
import pytest

import linpoison
from linpoison.auditing import AuditOptions, AuditReport
from linpoison.auditing.assemble import command_line
from linpoison.auditing.campaign import credited, packed, unpacked
from linpoison.cli.parser import ATTACKS, build_parser
from linpoison.core import InfeasibleSet, InputError, SolverFailed


def small_audit(**options) -> AuditReport:
    data = options.pop("data", None) or audit_cases.small_split()
    return linpoison.audit(
        data,
        **{
            "epsilon": 0.1,
            "defenses": ("l2", "loss"),
            "reg": 0.1,
            "jobs": 1,
            "attacks": "kkt",
            "domain": "real",
            **options,
        },
    )


class Failing(audit_cases.FakeAttack):
    """Fails at once."""

    def _search(self, scenario, run):
        raise SolverFailed("expected a solution,\ngot none.")


def failing_at(name, monkeypatch):
    monkeypatch.setitem(audit_cases.REGISTRY, name, type(f"Failing{name}", (Failing,), {"name": name}))


def test_all_runs_every_registered_attack_but_the_baseline():
    names = AuditOptions(attacks="all").attack_names()
    registered = ATTACKS.split(", ")
    assert set(registered) - set(names) == {"kkt-grid"}
    assert names[-1] == "refined"
    assert "kkt-grid" in AuditOptions(attacks="kkt-grid").attack_names()
    assert AuditOptions(attacks="refined,kkt").attack_names() == ("kkt", "refined")


def test_all_stays_a_word_of_the_command():
    options = AuditOptions(attacks="all", epsilon=0.1)
    again = build_parser().parse_args(shlex.split(command_line("audit", "gaussians", options))[1:])
    assert AuditOptions(attacks=again.attacks, epsilon=0.1).every
    assert replace(options, jobs=2).every
    for mixed in ("all,kkt", ["kkt", "all"]):
        with pytest.raises(InputError, match="'all' alone"):
            AuditOptions(attacks=mixed)


def test_a_failure_is_one_line_and_survives_the_json(monkeypatch, fake_attacks):
    failing_at("fake", monkeypatch)
    report = AuditReport.from_json(small_audit(attacks="all").to_json())
    assert report.failures == [{"name": "fake", "reason": "expected a solution, got none."}]
    assert "fake failed: expected a solution, got none." in " ".join(report.to_text().split())
    assert 'class="note">fake failed' in report.to_html()


def test_only_all_passes_over_a_failure(monkeypatch, tmp_path, fake_attacks):
    failing_at("fake", monkeypatch)
    for names in ("fake", "kkt,fake"):
        with pytest.raises(SolverFailed, match="got none"):
            small_audit(attacks=names, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_if_every_attack_fails_each_is_named(monkeypatch, fake_attacks):
    for name in ("kkt", "fake", "one-class"):
        failing_at(name, monkeypatch)
    with pytest.raises(SolverFailed, match=r"got none \(kkt: expected a solution, got none.; fake: .*one-class: "):
        small_audit(attacks="all")


def test_a_defect_is_not_passed_over(fake_attacks):
    fake_attacks.fail_with = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        small_audit(attacks="all")


def test_finished_attacks_are_not_run_again_after_an_interruption(tmp_path, monkeypatch, fake_attacks):
    class Interrupted(audit_cases.OneClassAttack):
        stop = True

        def _search(self, scenario, run):
            if self.stop:
                raise KeyboardInterrupt
            return super()._search(scenario, run)

    whole = small_audit(attacks="all")
    fake_attacks.scenarios.clear()
    monkeypatch.setitem(audit_cases.REGISTRY, "one-class", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        small_audit(attacks="all", out=tmp_path)
    assert len(fake_attacks.scenarios) == 2
    Interrupted.stop = False
    resumed = small_audit(attacks="all", out=tmp_path)
    assert len(fake_attacks.scenarios) == 3
    values = [audit_cases.without_times(json.loads(report.to_json())) for report in (whole, resumed)]
    assert values[0] == values[1]
    assert not (tmp_path / "journal").exists()


def test_results_survive_the_journal(fake_attacks):
    from linpoison.attacks.scenario import Scenario
    from linpoison.core import Budget
    from linpoison.losses import Hinge, Problem

    split = audit_cases.small_split()
    scenario = Scenario(split.train, Problem(Hinge(), 0.1), Budget(0.1), {}, split.test)
    result = audit_cases.FakeAttack().run(scenario, seed=4)
    again = unpacked(packed(result))
    assert (again.name, again.seconds, again.seed, again.info) == ("fake", result.seconds, 4, result.info)
    assert again.solves == result.solves
    for one, other in zip((again.best, *again.candidates), (result.best, *result.candidates), strict=True):
        assert one.test_error == other.test_error
        np.testing.assert_array_equal(one.poison.X, other.poison.X)
    later = credited(result, "kkt", 10.0)
    assert later.seconds == result.seconds + 10
    assert later.best in later.candidates
    assert [one.seconds - 10 for one in later.candidates] == pytest.approx([one.seconds for one in result.candidates])
    assert later.info["start"] == "kkt"


@pytest.fixture
def with_refined(monkeypatch, fake_attacks):
    """A refinement among the fake attacks that remembers where it started; the fake kkt takes half a minute."""
    from linpoison.attacks import Refined

    starts = []

    class Recorded(Refined):
        def _search(self, scenario, run):
            starts.append(self.start)
            run.started -= 1
            return audit_cases.FakeAttack()._search(scenario, run)

    class Slow(audit_cases.FakeAttack):
        def _search(self, scenario, run):
            run.started -= 30
            return super()._search(scenario, run)

    monkeypatch.setitem(audit_cases.REGISTRY, "refined", Recorded)
    monkeypatch.setitem(audit_cases.REGISTRY, "kkt", Slow)
    return starts


def test_a_refinement_starts_from_the_strongest_on_rows_that_it_sees(with_refined):
    report = small_audit(attacks="all", target="split:0.5")
    assert report.attacks[-1].name == "refined"
    seen = {entry.name: min(entry.seen_error[name] for name in ("l2", "loss")) for entry in report.attacks[:-1]}
    start = max(seen, key=seen.get)
    assert report.attacks[-1].info["start"] == start
    np.testing.assert_array_equal(
        with_refined[0].X, report.poisons[next(e.file for e in report.attacks if e.name == start)].X
    )
    assert f"refined started from the poison of {start}" in " ".join(report.to_text().split())


def test_a_refinement_counts_the_seconds_of_its_start(with_refined):
    entry = small_audit(attacks="kkt,refined").attacks[-1]
    assert 31 <= entry.seconds < 60  # counted once, however slow the machine
    assert entry.timeline[0][0] >= 30
    assert min(entry.seconds_to["all"].values()) >= 30
    alone = small_audit(attacks="refined").attacks[0]
    assert alone.seconds == pytest.approx(1, abs=0.5)
    assert with_refined[-1] is None
    assert "start" not in alone.info


def test_a_refinement_goes_on_alone_where_its_start_fails(with_refined, monkeypatch):
    for name in ("kkt", "fake", "one-class"):
        monkeypatch.setitem(audit_cases.REGISTRY, name, Failing)
    report = small_audit(attacks="all")
    assert [entry.name for entry in report.attacks] == ["refined"]
    assert with_refined == [None]
    assert len(report.failures) == 3


def test_progress_names_the_attack(fake_attacks):
    seen = []
    small_audit(attacks="kkt,fake", progress=lambda done, total, what: seen.append(what))
    assert {what.partition(":")[0].partition(",")[0] for what in seen} == {"kkt", "fake", "scoring", "report"}


def test_an_infeasible_start_is_a_failure_too(monkeypatch, fake_attacks):
    fake_attacks.fail_with = InfeasibleSet("no row passes")
    with pytest.raises(SolverFailed, match="kkt: no row passes"):
        small_audit(attacks="all")
