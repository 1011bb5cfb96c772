"""Sweeps: every combination, one table, resumable, and the same on a Dask cluster."""

from __future__ import annotations

import csv
import json
import re

import audit_cases
import joblib
import numpy as np
import pytest

from linpoison.auditing import AuditReport, sweep
from linpoison.auditing.sweeping import combine
from linpoison.cli import main
from linpoison.core import InputError, SolverFailed
from linpoison.reporting.findings import LATE

QUICK = {
    "attacks": ["fake"],
    "defenses": ["l2", ["l2", "loss"]],
    "epsilons": [0.1, 0.2],
    "reg": 0.1,
    "jobs": 1,
    "domain": "real",
}

FEW = {**QUICK, "defenses": ["l2"]}


def same(one, other):
    """Whether two reports agree in all but the clock and the memory."""
    return audit_cases.without_times(json.loads(one.to_json())) == audit_cases.without_times(
        json.loads(other.to_json())
    )


def read(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_combination_is_audited_in_the_order_of_the_axes(fake_attacks):
    result = sweep(audit_cases.small_split(), seeds=[3, 4], targets=["test", "train"], **QUICK)
    axes = [(c.options.epsilon, c.options.seed, c.options.target, c.options.defenses) for c in result.cells]
    assert len(axes) == len(set(axes)) == 16
    assert axes[:3] == [(0.1, 3, "test", ("l2",)), (0.1, 3, "test", ("l2", "loss")), (0.1, 3, "train", ("l2",))]
    assert [report.epsilon for report in result.reports] == [0.1] * 8 + [0.2] * 8
    assert sorted(set(fake_attacks.seeds)) == [3, 4]
    assert not result.failures


def test_each_report_is_that_of_an_audit(fake_attacks):
    import linpoison

    split = audit_cases.small_split()
    result = sweep(split, **QUICK)
    alone = linpoison.audit(split, attacks="fake", defenses="l2,loss", epsilon=0.2, reg=0.1, jobs=1, domain="real")
    assert same(result.reports[-1], alone)
    assert result.reports[-1].poisons["poison.npz"].total == alone.poisons["poison.npz"].total
    assert result.reports[-1].material is None


def test_the_table_has_a_row_for_each_poison(tmp_path, fake_attacks):
    result = sweep(audit_cases.small_split(), out=tmp_path, **{**QUICK, "attacks": ["fake,one-class"]})
    table = read(tmp_path / "sweep.csv")
    assert len(table) == 8
    assert list(table[0]) == result.columns()
    entries = [entry for report in result.reports for entry in report.attacks]
    for row, entry in zip(table, entries, strict=True):
        assert row["attack"] == entry.name
        assert float(row["test_error_behind_all"]) == entry.test_error_behind_all
        assert float(row["test_error_l2"]) == entry.test_error["l2"]
        assert (row["test_error_loss"] == "") == ("loss" not in entry.test_error)
        assert row["failure"] == row["unseen_test_error_behind_all"] == ""
        report = AuditReport.from_json((tmp_path / row["folder"] / "report.json").read_text())
        assert report.epsilon == float(row["epsilon"])


def test_finished_audits_are_read_back_and_changed_questions_are_not(tmp_path, fake_attacks):
    split = audit_cases.small_split()
    first = sweep(split, out=tmp_path, **FEW)
    fake_attacks.steps.clear()
    again = sweep(split, out=tmp_path, **FEW)
    assert fake_attacks.steps == []
    assert again.records() == first.records()
    sweep(split, out=tmp_path, **{**FEW, "epsilons": [0.1, 0.3]})
    assert fake_attacks.steps == [0, 1, 2]
    for change in ({"data": audit_cases.small_split(seed=1)}, {"reg": 0.2}):
        fake_attacks.steps.clear()
        sweep(change.pop("data", split), out=tmp_path, **FEW | change)
        assert fake_attacks.steps == [0, 1, 2] * 2


def test_a_file_of_rows_that_changes_is_another_question(tmp_path, fake_attacks):
    split, rows = audit_cases.small_split(), tmp_path / "rows.txt"
    options = {"out": tmp_path / "out", "targets": [f"rows:{rows}"], "attacks": ["fake"], "defenses": ["l2"], "jobs": 1}
    options["domain"] = "real"
    for text, steps in (("1 2", 3), ("1 2", 0), ("1 3", 3)):
        rows.write_text(text)
        fake_attacks.steps.clear()
        sweep(split, epsilons=[0.1], **options)
        assert len(fake_attacks.steps) == steps


def test_an_interrupted_sweep_resumes(tmp_path, fake_attacks):
    split = audit_cases.small_split()
    whole = sweep(split, out=tmp_path / "whole", **QUICK)
    fake_attacks.steps.clear()

    def stop(done, total, what):
        if done == 2:
            fake_attacks.interrupt_before = 1

    with pytest.raises(KeyboardInterrupt):
        sweep(split, out=tmp_path / "cut", progress=stop, **QUICK)
    assert fake_attacks.steps == [0, 1, 2, 0, 1, 2, 0]
    assert not (tmp_path / "cut" / "sweep.csv").exists()
    fake_attacks.interrupt_before = None
    resumed = sweep(split, out=tmp_path / "cut", **QUICK)
    assert fake_attacks.steps == [0, 1, 2] * 4
    assert all(same(one, other) for one, other in zip(whole.reports, resumed.reports, strict=True))


def test_a_sweep_in_one_process_tells_what_each_audit_does_and_each_ends_by_its_limit(tmp_path, capsys):
    data = tmp_path / "rows.npz"
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    np.savez(data, X=X, y=np.where(X[:, 0] + 0.5 * rng.normal(size=40) > 0, 1, 0))
    words = ["sweep", str(data), "--attack=all", "--defenses", "l2", "--jobs", "1", "--time-limit", "0.01"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert re.search(r"audits, \d+ %: random-flips", capsys.readouterr().err)
    (report,) = (tmp_path / "out").rglob("report.json")
    late = {entry["name"] for entry in json.loads(report.read_text())["left_out"] if entry["reason"] == LATE}
    assert {"kkt, no range check", "influence, no range check"} <= late


def test_one_failure_does_not_lose_the_others(tmp_path, monkeypatch, fake_attacks):
    class Failing(audit_cases.FakeAttack):
        def _search(self, scenario, run):
            if scenario.n_poison > 6:
                raise SolverFailed("expected a solution, got none.")
            return super()._search(scenario, run)

    monkeypatch.setitem(audit_cases.REGISTRY, "fake", Failing)
    result = sweep(audit_cases.small_split(), out=tmp_path, **QUICK)
    assert [cell.options.epsilon for cell in result.failures] == [0.2, 0.2]
    assert len(result.reports) == 2
    table = read(tmp_path / "sweep.csv")
    assert [row["failure"] for row in table] == ["", "", *["expected a solution, got none."] * 2]
    assert table[-1]["attack"] == "fake"
    with pytest.raises(SolverFailed, match="got 2 that failed: expected a solution"):
        sweep(audit_cases.small_split(), out=tmp_path / "none", **{**QUICK, "epsilons": [0.2]})
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("change", "words"), [
    ({"epsilons": []}, "at least one value for epsilon"),
    ({"epsilons": 0.1}, "a list of values for epsilon"),
    ({"targets": "test"}, "a list of values for target"),
    ({"epsilons": [0.1, 0.1]}, "combinations that differ"),
    ({"epsilons": [0.1, 3]}, "epsilon"),
    ({"epsilons": [0.1, 0.001]}, "rounds to 0"),
    ({"targets": ["test", "rows:60"]}, "test rows below 60"),
    ({"attacks": ["fake", "magic"]}, "attacks among"),
    ({"jobs": 0}, "jobs"),
    ({"seed": 1}, "seeds as a list"),
])  # fmt: skip
def test_bad_lists_are_refused_before_anything_runs(change, words, tmp_path, fake_attacks):
    with pytest.raises(InputError, match=words):
        sweep(audit_cases.small_split(), out=tmp_path / "out", **{**QUICK, **change})
    assert fake_attacks.steps == []
    assert not (tmp_path / "out").exists()


def test_a_string_of_attacks_or_defences_is_shared_by_all_audits(fake_attacks):
    result = sweep(audit_cases.small_split(), **{**QUICK, "attacks": "fake,one-class", "defenses": "l2,loss"})
    assert [cell.options.epsilon for cell in result.cells] == [0.1, 0.2]
    assert {cell.options.attacks for cell in result.cells} == {("fake", "one-class")}
    assert {cell.options.defenses for cell in result.cells} == {("l2", "loss")}


def test_options_of_one_audit_keep_the_word_all():
    (options,) = combine(epsilons=[0.1], seeds=[0], attacks=["all"], defenses=["l2"], targets=["test"])
    assert options.every
    assert options.attacks == ("all",)


def test_a_dask_cluster_gives_the_same_reports(tmp_path):
    distributed = pytest.importorskip("distributed")
    split = audit_cases.small_split()
    options = {"epsilons": [0.05, 0.1], "attacks": ["random-flips"], "defenses": ["l2"], "domain": "real"}
    here = sweep(split, jobs=1, **options)
    with (
        distributed.LocalCluster(processes=True, n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        there = sweep(split, out=tmp_path, **options)
    assert len(there.reports) == 2
    assert all(same(one, other) for one, other in zip(here.reports, there.reports, strict=True))
    assert len(read(tmp_path / "sweep.csv")) == 2
