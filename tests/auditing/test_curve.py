"""Damage against the number of rows: fewer rows are searched for, not only cut from the poison of the budget."""

from types import SimpleNamespace

import numpy as np
import pytest

import linpoison
from linpoison.attacks import Breakdown
from linpoison.auditing.curve import cut, find_curve, levels
from linpoison.core import Poison

QUICK = Breakdown(directions=8, ascents=30, kept=2, chains=1, steps=10, remade=1, radii=(20.0, 100.0), inside=False)


@pytest.fixture(scope="module")
def curve():
    """Of far rows on two Gaussians, by domain and number of rows."""
    rows = linpoison.load("gaussians")
    split = linpoison.Split(rows.train.take(range(200)), rows.test.take(range(200)))
    report = linpoison.audit(split, epsilon=0.03, attacks=[QUICK], defenses="l2", jobs=1)
    assert report.test_error_behind_all > 0.4
    return {(point["domain"], point["rows"]): point["test_error"] for point in report.curve}


def test_two_rows_that_drag_the_mean_do_what_ten_do(curve):
    """One row drags the mean of its class after it, so that the other stays, however far out it lies."""
    assert curve["real", 2] > 0.4
    assert curve["real", 1] < 0.2


def test_more_rows_and_a_wider_domain_never_do_less(curve):
    for domain in ("real", "range"):
        errors = [curve[key] for key in sorted(curve) if key[0] == domain]
        assert np.all(np.diff(errors) >= 0)
    assert all(curve["real", m] >= error for (domain, m), error in curve.items() if domain == "range")


@pytest.mark.parametrize("hurried", [False, True])
def test_no_search_for_fewer_rows_begins_without_time(hurried, monkeypatch):
    asked = []
    monkeypatch.setattr("linpoison.auditing.curve._searched", lambda scenario, m, seed: asked.append(scenario) or [])
    pool = SimpleNamespace(hurried=lambda: hurried, score=lambda poison: None)
    whole = SimpleNamespace(poison=Poison(np.eye(2), [1, -1], [2, 1]))
    find_curve(pool, [(SimpleNamespace(domain="real", behind="all"), whole)], {"real": "searched"}, 3)
    assert asked == [None if hurried else "searched"] * len(levels(3))


def test_numbers_of_rows_rise_to_the_budget_and_a_poison_is_cut_in_proportion():
    assert levels(20) == [1, 2, 3, 4, 7, 12]
    poison = Poison(np.eye(2), [1, -1], [15, 5])
    assert [cut(poison, m).count.tolist() for m in (4, 10)] == [[3, 1], [7, 3]]
