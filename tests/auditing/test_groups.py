"""Who would be hurt: `audit --subpopulation` divides, measures and reports."""

from __future__ import annotations

import json

import numpy as np
import pytest

from linpoison import AuditReport, audit
from linpoison.auditing.groups import Grouping, damage_by_group
from linpoison.cli import main
from linpoison.core import Dataset, InputError, LinearModel, Split
from linpoison.datasets import gaussians

FAST = {"epsilon": 0.1, "attacks": "random-flips", "defenses": "l2,slab", "jobs": 1}


def people(n, seed):
    """Two columns: a group 0 or 1, and an age; only the group decides which model is wrong."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.integers(2, size=n), rng.uniform(20, 80, size=n)])
    return Dataset(X, np.where(rng.uniform(size=n) > 0.5, 1.0, -1.0), feature_names=("group", "age"))


def test_damage_is_the_difference_of_errors_in_each_group():
    train, rows = people(200, 0), people(100, 1)
    models = LinearModel([0.0, 0.0], 1.0), LinearModel([-2.0, 0.0], 1.0)  # the second says -1 to group 1
    division = Grouping.parse("columns:group").divide(train, rows, 0)
    found = damage_by_group(division, rows, {"none": models[0]}, {"none": models[1]})
    by_name = {group["name"]: group for group in found["groups"]}
    assert set(by_name) == {"group=0", "group=1"}
    inside = rows.X[:, 0] == 1
    part = by_name["group=1"]["defenses"]["none"]
    assert part["clean"] == pytest.approx((rows.y[inside] < 0).mean())
    assert part["damage"] == pytest.approx((rows.y[inside] > 0).mean() - (rows.y[inside] < 0).mean())
    assert part["low"] <= part["damage"] <= part["high"]
    assert by_name["group=0"]["defenses"]["none"]["damage"] == 0
    assert sum(group["n_rows"] for group in found["groups"]) == 100
    assert by_name["group=1"]["n_train"] == (train.X[:, 0] == 1).sum()
    assert found["overall"]["none"]["damage"] == pytest.approx(inside.mean() * part["damage"])


def test_a_numeric_column_is_cut_at_the_quartiles_of_the_training_rows():
    train, rows = people(200, 0), people(100, 1)
    found = Grouping.parse("columns:age").divide(train, rows, 0)
    assert len(found.names) == 4
    assert np.abs(found.sizes - 50).max() <= 1
    cuts = np.quantile(train.X[:, 1], [0.25, 0.5, 0.75])
    lowest = found.names.index(f"age=below {cuts[0]:.3g}")
    assert np.array_equal(found.codes == lowest, rows.X[:, 1] < cuts[0])


def test_clusters_are_fitted_on_training_rows_alone():
    train, rows = people(200, 0), people(100, 1)
    grouping = Grouping.parse("clusters:3")
    first = grouping.divide(train, rows, 0)
    fewer = grouping.divide(train, rows.take(np.arange(40)), 0)
    assert np.array_equal(first.codes[:40], fewer.codes)
    assert np.array_equal(first.sizes, fewer.sizes)


@pytest.mark.parametrize(("words", "rows"), [("clusters:3", "scored"), ("columns:x0", "unseen")])
def test_the_report_tells_who_is_hurt(words, rows, tmp_path, fake_attacks, pictures):
    split = gaussians(seed=0)
    named = Split(*(Dataset(part.X, part.y, feature_names=tuple(f"x{i}" for i in range(part.d)))
                    for part in (split.train, split.test)))  # fmt: skip
    target = "split:0.5" if rows == "unseen" else "test"
    report = audit(named, **{**FAST, "attacks": "kkt"}, subpopulation=words, target=target, out=tmp_path / "r")
    found = report.subpopulations
    assert (found["by"], found["rows"], found["attack"]) == (words, rows, report.strongest.name)
    best = found["defense"]
    assert report.strongest.test_error[best] == report.test_error_behind_all
    damages = [group["defenses"][best]["damage"] for group in found["groups"]]
    assert damages == sorted(damages, reverse=True)
    assert set(found["overall"]) == {"none", "l2", "slab"}
    error = report.strongest.test_error if rows == "scored" else report.strongest.unseen_test_error
    for name, part in found["overall"].items():
        assert part["poisoned"] == pytest.approx(error[name])
    weighted = sum(group["n_rows"] * group["defenses"][best]["damage"] for group in found["groups"])
    if not found["left_out"]:
        assert weighted / found["n_rows"] == pytest.approx(found["overall"][best]["damage"])
    again = AuditReport.from_json((tmp_path / "r" / "report.json").read_text())
    assert again.subpopulations == json.loads(json.dumps(found))
    page, text = (tmp_path / "r" / "report.html").read_text(), report.to_text()
    for output in (page, text):
        assert "Who would be hurt" in output
        assert found["groups"][0]["name"] in output
    assert 'alt="Error by subpopulation.' in page
    assert "Bonferroni" in text
    assert f"--subpopulation {words}" in report.command


def test_without_the_option_nothing_is_told(fake_attacks):
    report = audit(gaussians(seed=0), **{**FAST, "attacks": "kkt"})
    assert report.subpopulations is None
    assert "Who would be hurt" not in report.to_text() + report.to_html()


def test_the_command_line(tmp_path, capsys):
    given = ["audit", "gaussians", "--attack", "random-flips", "--defenses", "none", "--jobs", "1", "--quiet"]
    assert main([*given, "--subpopulation", "clusters:4", "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["subpopulations"]
    assert len(found["groups"]) <= 4
    assert found["defense"] == "none"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("height", "'clusters', 'clusters:K'"),
        ("clusters:0", "'clusters', 'clusters:K'"),
        ("clusters:many", "whole number"),
        ("clusters:99999", "one for each training row"),
        ("columns:", "'columns:' with names"),
        ("columns:0,0", "named once"),
        ("columns:0,00", "named once"),
        ("columns:height", "by number below"),
        ("columns:99999", "by number below"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(words, told, tmp_path, capsys):
    out = tmp_path / "r"
    assert main(["audit", "gaussians", "--subpopulation", words, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_groups_that_are_all_too_small_are_told():
    train, rows = people(50, 0), people(4, 1)
    with pytest.raises(InputError, match="at least 5 test rows"):
        Grouping.parse("columns:group").divide(train, rows, 0)


def test_rows_are_divided_once(fake_attacks, monkeypatch):
    real, calls = Grouping.divide, []
    monkeypatch.setattr(Grouping, "divide", lambda *given: calls.append(given) or real(*given))
    report = audit(gaussians(seed=0), **{**FAST, "attacks": "kkt"}, subpopulation="clusters:3")
    assert len(calls) == 1
    assert report.subpopulations["by"] == "clusters:3"


def test_too_many_groups_are_refused_before_any_attack(monkeypatch):
    def never(name):
        raise AssertionError(f"{name} was made")

    monkeypatch.setattr("linpoison.attacks.make_attack", never)
    with pytest.raises(InputError, match="at least 5 test rows"):
        audit(gaussians(n=80, n_test=40), attacks="random-flips", defenses="l2", subpopulation="clusters:80", jobs=1)
