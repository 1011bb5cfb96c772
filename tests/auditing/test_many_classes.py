"""Audits of more than two classes: the same report, and one line where something takes two."""

from __future__ import annotations

import json

import numpy as np
import pytest

import linpoison
from linpoison.attacks import Scenario
from linpoison.auditing import AuditOptions, plan
from linpoison.auditing.domains import settings_of
from linpoison.auditing.inputs import prepare
from linpoison.auditing.plan import make_plan
from linpoison.core import Budget, CapabilityError, Dataset, InputError, Poison, Split

CHEAP = {"attacks": "random-flips,breakdown", "epsilon": 0.1, "jobs": 1}


def rows(n: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = rng.normal(size=(n, 4)) + 3.0 * np.eye(3, 4)[y]
    return Dataset.coded(X, y, classes=("cat", "dog", "owl"), label_name="kind", name="animals")


@pytest.fixture(scope="module")
def split() -> Split:
    return Split(rows(120, 0), rows(90, 1))


@pytest.fixture(scope="module")
def audited(split, tmp_path_factory):
    out = tmp_path_factory.mktemp("audit")
    return linpoison.audit(split, out=out, **CHEAP), out


def test_the_report_speaks_of_every_class(audited):
    report, out = audited
    assert report.dataset["train_by_class"] == {"0": 40, "1": 40, "2": 40}
    assert report.dataset["labels"] == "the label is the column 'kind': 'cat' is 0, 'dog' is 1, 'owl' is 2"
    assert report.model["loss"] == "crammer_singer"
    assert set(report.clean["by_defense"]) == {"none", "l2", "loss", "svd", "knn"}
    assert [item["label"] for item in report.exposures if item["domain"] == report.domains[0]] == [2.0, 1.0, 0.0]
    assert json.loads((out / "report.json").read_text())["schema"] == 2
    assert "local search" in " ".join(report.to_text().split())
    assert "of class " in report.to_text()
    assert "<svg" not in report.to_html() or "class +1" not in report.to_html()


def test_far_rows_are_in_the_headline(audited):
    report, _ = audited
    wide, narrow = (
        next(item for item in report.damages if item.domain == domain and item.behind == "all")
        for domain in report.domains
    )
    assert wide.attack == "breakdown"
    assert wide.test_error >= narrow.test_error > 0
    assert wide.test_error > report.clean["by_defense"][wide.filter] + 0.05


def test_each_filter_alone_and_none_has_a_search_of_its_own(split, monkeypatch):
    setting = prepare(split, AuditOptions(defenses="l2,svd"), many=True)
    scenarios = {
        domain: Scenario(one.split.train, one.problem, Budget(0.1), one.defenses, split.test)
        for domain, one in settings_of(setting, None).items()
    }
    found = make_plan(AuditOptions(), scenarios)
    alone = [(task.domain, task.against) for task in found.tasks if task.alone]
    assert alone == [(domain, behind) for domain in scenarios for behind in ("none", "l2", "svd")]
    assert all(task.attack.needs_start for task in found.tasks if task.alone)
    monkeypatch.setattr(plan, "LIMIT", 0.0)
    left = make_plan(AuditOptions(), scenarios)
    assert not any(task.alone for task in left.tasks)
    assert "breakdown on svd, within the range of each column" in [item["name"] for item in left.left_out]


def test_a_poison_file_carries_the_users_labels_and_is_evaluated_alike(audited, split):
    report, out = audited
    stored = np.load(out / "poison.npz")
    assert set(stored["label"]) <= {"cat", "dog", "owl"}
    poison = Poison.load(out / "poison.npz")
    assert poison.n_classes == 3
    again = linpoison.evaluate(split, poison, epsilon=0.1)
    assert again.attacks[0].test_error == report.damages[0].test_errors


def test_sanitize_and_sweep_take_them(split, tmp_path):
    kept = linpoison.sanitize(split, defenses="l2", remove=0.1)
    assert (kept.kept.size, kept.removed.size) == (108, 12)
    swept = linpoison.sweep(split, epsilons=(0.05, 0.1), attacks=("random-flips",), defenses=("l2",), jobs=1)
    assert len(swept.reports) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "ridge"}, "svm or logistic, got ridge"),
        ({"attacks": "kkt"}, "attacks on more than two classes, among random-flips"),
        ({"defenses": "slab,l2"}, "got slab. Leave it out: l2"),
        ({"class_weight": "balanced"}, "no class weights with more than two classes"),
        ({"certify": True}, "rows to certify of two classes, got 3"),
    ],
)
def test_what_takes_two_classes_says_so(split, options, words):
    with pytest.raises(CapabilityError, match=words):
        linpoison.audit(split, **{**CHEAP, **options})


@pytest.mark.parametrize("command", [linpoison.certify, linpoison.budget])
def test_proofs_take_two_classes(split, command):
    with pytest.raises(InputError, match="two classes, got 3"):
        command(split, **({"target": "flip:0"} if command is linpoison.budget else {}))


def test_arrays_of_any_labels(split):
    names = np.array(["cat", "dog", "owl"])
    arrays = (split.train.X, names[split.train.codes], split.test.X, names[split.test.codes])
    report = linpoison.audit(arrays, attacks="random-flips", model="logistic", epsilon=0.1, defenses="l2", jobs=1)
    assert report.dataset["classes"] == {"0": "cat", "1": "dog", "2": "owl"}
    assert report.model["loss"] == "softmax"
