"""What stops far rows, measured: each remedy brings the error back, and costs what a fresh run says."""

from __future__ import annotations

import numpy as np
import pytest

from linpoison import AuditReport, audit
from linpoison.auditing.inputs import prepare
from linpoison.auditing.options import AuditOptions
from linpoison.auditing.remedies import enough, find_remedies
from linpoison.core import Dataset, InputError, Poison, Split
from linpoison.defenses.quota import quota
from linpoison.reporting.advice import remedies_table
from linpoison.reporting.lessons import lessons


@pytest.fixture(scope="module")
def setting():
    rng = np.random.default_rng(0)
    y = np.where(np.arange(300) % 5 < 2, 1.0, -1.0)
    X = rng.normal(size=(300, 4)) + y[:, None]
    rows = Dataset(X, y)
    return prepare(Split(rows.take(np.arange(200)), rows.take(np.arange(200, 300))), AuditOptions(defenses="l2,knn"))


def dragged(setting, m=6):
    """One row that drags and copies behind it, against the difference of the class means."""
    train = setting.split.train
    center = train.of_class(1.0).X.mean(axis=0)
    return Poison(center - np.array([[100.0], [100.0 * 300]]) * np.full(4, 0.5), [1, 1], [m, 1])


def test_every_remedy_stops_a_drag_behind_l2(setting):
    poison, test = dragged(setting), setting.split.test
    defender = setting.defender
    clean = defender.score(None, {"test": test}).error["test"]
    assert defender.score(poison, {"test": test}).error["test"]["l2"] > clean["l2"] + 0.2
    found = {one.name: one for one in find_remedies(setting, test, 7, poison)}
    assert list(found) == ["range", "clip", "median", "trusted", "duplicates"]
    for one in found.values():
        assert one.clean_error["l2"] <= clean["l2"] + 0.05
        assert one.poisoned_error["l2"] <= one.clean_error["l2"] + 0.05
    assert found["range"].clean_error == found["range"].poisoned_error == clean
    assert 0 < found["range"].touched < 0.3
    assert found["clip"].touched == pytest.approx(0.05, abs=0.01)
    assert found["median"].poisoned_error["none"] == pytest.approx(
        defender.score(poison, {"t": test}).error["t"]["none"]
    )


def test_without_poison_only_the_cost_is_measured(setting):
    assert all(one.poisoned_error is None for one in find_remedies(setting, setting.split.test, 7))


def test_enough_is_the_least_share_in_thousandths(setting):
    train = setting.split.train
    share = enough(train, 7, 0.05)
    sizes = [train.of_class(label).n + 7 for label in (1.0, -1.0)]
    assert min(quota(share, n) for n in sizes) >= 7 > min(quota(share - 0.001, n) for n in sizes)
    assert enough(train, 1, 0.3) == 0.3
    with pytest.raises(InputError, match="budget"):
        enough(train, 10**6, 0.05)


def test_the_report_says_what_can_be_overrun_and_what_stops_it(setting):
    report = audit(setting.split, defenses="l2,knn", attacks="random-flips", epsilon=0.06)
    said = lessons(report)
    assert [(item["domain"], item["label"]) for item in report.exposures] == [
        (domain, label) for domain in ("real", "range") for label in (1.0, -1.0)
    ]
    item = report.exposures[0]
    first = f"no range check: class +1, 12 rows against {item['n_dropped']} dropped, so it can be overrun, by"
    assert sum(first in line and "7 drag its mean" in line for line in said) == 1
    assert sum(line.count("its mean cannot be dragged") for line in said) == 2
    fresh = find_remedies(setting, setting.split.test, 12, next(iter(report.poisons.values())))
    assert [(one["name"], one["poisoned_error"]) for one in report.remedies] == [
        (one.name, one.poisoned_error) for one in fresh
    ]
    assert len(remedies_table(report, words=True)) == 2 + 5
    assert AuditReport.from_json(report.to_json()).remedies == report.remedies
    bare = audit(setting.split, defenses="none", attacks="random-flips")
    assert bare.exposures == bare.remedies == []
