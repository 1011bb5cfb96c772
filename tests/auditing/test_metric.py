"""Audits by another metric than the error, on a table of which one row in fifty is fraud."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

import linpoison
from linpoison.attacks import Breakdown
from linpoison.attacks.aim import Aim
from linpoison.attacks.groups import GroupFlips
from linpoison.attacks.scenario import Scenario
from linpoison.auditing import AuditOptions
from linpoison.auditing.damage import compared
from linpoison.auditing.target import TargetRows
from linpoison.core import ERROR, Budget, CapabilityError, Dataset, Domain, InputError, Split, parse_measure
from linpoison.defenses import make_defense
from linpoison.learners import make_learner
from linpoison.losses import Logistic, Problem
from linpoison.reporting.gates import Gates

QUICK = Breakdown(directions=8, ascents=30, kept=2, chains=1, steps=10, remade=1, radii=(20.0, 100.0), inside=False)
PROBLEM = Problem(Logistic(), 0.01, penalize_intercept=False)


def part(n, rng):
    """One row in fifty is fraud."""
    y = np.where(np.arange(n) % 50 == 0, 1.0, -1.0)
    return Dataset(rng.normal(size=(n, 3)) + 2.0 * (y[:, None] > 0), y, classes=("ham", "fraud"))


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(8)
    return Split(part(600, rng), part(500, rng))


def audited(split, **options):
    asked = {"model": "logistic", "defenses": "l2,slab", "attacks": "random-flips", "domain": "real", "jobs": 1}
    return linpoison.audit(split, **asked | options)


def of_scikit_learn(metric, y, scores):
    said = np.where(scores > 0, 1.0, -1.0)
    return {
        "balanced": lambda: 1 - balanced_accuracy_score(y, said),
        "recall:fraud": lambda: 1 - recall_score(y, said),
        "fpr:fraud": lambda: 1 - recall_score(y, said, pos_label=-1),
        "auc": lambda: 1 - roc_auc_score(y, scores),
    }[metric]()


@pytest.mark.parametrize("metric", ["balanced", "recall:fraud", "fpr:fraud", "auc"])
def test_figures_are_those_of_scikit_learn_on_the_poisoned_model(split, metric):
    report = audited(split, metric=metric, defenses="none")
    damage = report.damage("none")
    poisoned = make_learner(PROBLEM).fit(split.train.mix(report.poisons[damage.file].expanded()))
    for model, figure in ((make_learner(PROBLEM).fit(split.train), damage.clean_error), (poisoned, damage.test_error)):
        scores = model.decision_function(split.test.X)
        assert figure == pytest.approx(of_scikit_learn(metric, split.test.y, scores), abs=2e-3)
    assert report.metric == metric
    assert linpoison.AuditReport.from_json(report.to_json()).metric == metric
    assert damage.low <= damage.test_error - damage.clean_error <= damage.high


def crowded(n, rng):
    """On a line, 2 % fraud, and between it and the rest 3 % ham: whoever turns that errs more and catches all fraud."""
    kind = np.arange(n) % 100
    place = np.where(kind < 2, 2.0, np.where(kind < 5, 0.0, -3.0)) + 0.4 * rng.normal(size=n)
    box = Domain.of("box", np.array([[-5.0], [4.0]]))
    return Dataset(place[:, None], np.where(kind < 2, 1.0, -1.0), classes=("ham", "fraud"), domain=box)


def test_what_attacks_recall_does_more_to_it_than_what_attacks_the_error():
    rng = np.random.default_rng(8)
    train, test = crowded(600, rng), crowded(500, rng)
    problem = Problem(Logistic(), 0.001, penalize_intercept=False)
    missed = parse_measure("recall:fraud").bound(test)

    def models(measure):
        scenario = Scenario(train, problem, Budget(0.05), {"l2": make_defense("l2")}, Aim(test, measure=measure))
        return scenario.defender.score(QUICK.run(scenario, seed=0).poison, {"test": test}).models.values()

    by_error, by_recall = models(ERROR), models(missed)
    assert min(model.error(test) for model in by_error) > 0.01
    assert max(missed.of(model, test) for model in by_error) == 0.0
    assert min(missed.of(model, test) for model in by_recall) > 0.9


def test_words_and_gates_name_the_metric(split):
    report = audited(split, metric="recall:fraud").judged(Gates({"error": 0.01}))
    assert "the missed share of class fraud" in " ".join(report.to_text().split())
    assert report.broken[0].startswith("missed share of class fraud behind every filter at once: ")
    assert any("Damage is measured by the missed share of class fraud" in line for line in report.reading)
    assert report.threat["goal"].startswith("indiscriminate: raise the missed share of class fraud of the deployed")
    assert "--metric recall:fraud" in report.command
    with pytest.raises(InputError, match="a baseline of the same metric, error, got recall:fraud"):
        Gates({}, report).judge(audited(split))


def test_the_error_of_a_rare_class_is_warned_of(split):
    report = audited(split)
    told = [line for line in report.reading if "misleads" in line]
    assert told == [
        "Only 2.0 % of the training rows are of class fraud, so that the error misleads: it is small for a learner "
        "that misses all of them. Measure by --metric recall:fraud, balanced or auc."
    ]
    assert report.advice[0].startswith("Measure by --metric recall:fraud: of class fraud (2.0 % of the training rows)")
    assert not any(line.startswith("Measure by") for line in replace(report, metric="recall:fraud").advice)


def test_recall_is_certified_on_the_rows_of_the_class():
    split = linpoison.load("gaussians")
    options = {"model": "ridge", "reg": 0.3, "defenses": "l2", "epsilon": 0.01}
    report = linpoison.certify(split, metric="recall:-1", **options)
    of_class = linpoison.certify(Split(split.train, split.test.of_class(-1.0)), **options)
    assert report.rungs == of_class.rungs
    assert 0 < report.rungs[0]["bound"] < 1
    assert "\nmissed share of class -1\n" in report.to_text()


@pytest.mark.parametrize("metric", ["balanced", "auc", "cost:costs.toml"])
def test_metrics_without_a_certificate_are_refused(metric):
    expected = "a metric that a certificate bounds: error, recall:CLASS or fpr:CLASS, got '"
    with pytest.raises(CapabilityError, match=expected):
        AuditOptions(metric=metric, certify=True)
    with pytest.raises(CapabilityError, match=expected):
        linpoison.certify("gaussians", metric=metric)


def test_chosen_rows_are_for_the_error_alone():
    with pytest.raises(InputError, match="the metric error with the target rows:..., got 'balanced'"):
        AuditOptions(metric="balanced", target="rows:1,2")


def test_attacks_on_groups_are_for_the_error_alone(split):
    inside = split.test.X[:, 0] > 0
    aim = replace(Aim.of_group(split.test, inside), measure=parse_measure("balanced"))
    scenario = Scenario(split.train, PROBLEM, Budget(0.03), {}, aim)
    with pytest.raises(CapabilityError, match="the error as the measure of group-flips, got balanced"):
        GroupFlips().run(scenario)


def test_more_than_two_classes_and_files_of_costs_beside_a_suite(tmp_path):
    rng = np.random.default_rng(2)
    y = rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    X = rng.normal(size=(400, 2)) + 3 * np.array([[0, 0], [1, 0], [0, 1]])[y]
    lines = [f"{a:.4f},{b:.4f},{'abc'[label]}" for (a, b), label in zip(X, y, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["u,v,label", *lines]))
    (tmp_path / "costs.csv").write_text("true,a,b,c\na,0,1,1\nb,1,0,1\nc,20,20,0\n")
    shared = 'data = "rows.csv"\nmodel = "logistic"\nepsilon = 0.3\n'
    shared += 'attacks = "random-flips"\ndefenses = "none"\ndomain = "real"\n'
    metrics = [f'[audits.{name}]\nmetric = "{metric}"\n' for name, metric in METRICS.items()]
    (tmp_path / "linpoison.toml").write_text(f"[defaults]\n{shared}" + "".join(metrics))
    entries = linpoison.check(tmp_path / "linpoison.toml", jobs=1).entries
    assert [entry.failure for entry in entries] == [""] * 3
    found = {entry.name: entry.report for entry in entries}
    assert found["missed"].model.get("costs") is None
    assert found["costs"].model["costs"] == [[0.0, 0.05, 0.05], [0.05, 0.0, 0.05], [1.0, 1.0, 0.0]]
    for report in found.values():
        assert report.damage().test_error > report.damage().clean_error


METRICS = {"missed": "recall:c", "called": "fpr:c", "costs": "cost:costs.csv"}


def test_unknown_classes_are_refused_before_any_work(split):
    with pytest.raises(InputError, match="a class of the metric recall among ham, fraud, got 'spam'"):
        audited(split, metric="recall:spam")


def test_costs_stand_in_the_report_and_another_file_is_another_question(split, tmp_path):
    file = tmp_path / "costs.toml"
    file.write_text("[ham]\nfraud = 1\n[fraud]\nham = 10\n")
    report = audited(split, metric=f"cost:{file}")
    assert report.model["costs"] == [[0.0, 0.1], [1.0, 0.0]]
    asked = {"attacks": ("random-flips",), "defenses": ("none",), "out": tmp_path / "out", "metric": f"cost:{file}"}
    one = linpoison.sweep(split, **asked)
    file.write_text("[ham]\nfraud = 10\n[fraud]\nham = 1\n")
    other = linpoison.sweep(split, **asked)
    assert one.records()[0]["metric"] == f"cost:{file}"
    assert one.records()[0]["clean_test_error"] != other.records()[0]["clean_test_error"]


@pytest.mark.parametrize("metric", ["balanced", "auc", "recall:fraud"])
def test_intervals_have_the_width_of_a_bootstrap(metric):
    rng = np.random.default_rng(5)
    rows = part(3000, rng)
    measure = parse_measure(metric).bound(rows)
    one, other = (make_learner(PROBLEM).fit(part(n, rng)) for n in (100, 1500))
    found = compared(measure.losses(one, rows), measure.losses(other, rows), TargetRows(rows, rows, None, (), measure))
    drawn = [rows.take(rng.integers(0, rows.n, rows.n)) for _ in range(400)]
    growth = [measure.of(other, some) - measure.of(one, some) for some in drawn]
    ends = np.quantile(growth, [0.025, 0.975])
    assert found[0] < measure.of(other, rows) - measure.of(one, rows) < found[1]
    assert found[1] - found[0] == pytest.approx(ends[1] - ends[0], rel=0.3)
