"""Hardening: every setting is attacked anew, the best within its cost is recommended, and what is built is that."""

from __future__ import annotations

import json

import numpy as np
import pytest

from linpoison import Dataset, InputError, Split, harden
from linpoison.auditing import hardening
from linpoison.cli import main
from linpoison.reporting.trial import Trial


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(hardening, "SEARCH", ("random-flips",))


def blobs(seed=0, n=80):
    rng = np.random.default_rng(seed)
    y = np.tile([1.0, -1.0], n // 2)
    return Dataset(rng.normal(size=(n, 3)) + 1.5 * y[:, None], y, name="blobs")


SPLIT = Split(blobs(0), blobs(1))


def test_settings_are_attacked_and_the_best_within_its_cost_is_built(quick, tmp_path):
    report = harden(SPLIT, model="ridge", defenses="l2", finalists=0, jobs=1, out=tmp_path)
    names = [trial.name for trial in report.trials]
    assert names[:6] == ["as it is", "medians", "trusted-5", "trusted-range-5", "trusted-10", "trusted-range-10"]
    assert names[6:] == [f"{name}, reg 0.1" for name in names[1:6]]
    assert report.trials[0].cost == 0
    allowed = [trial for trial in report.trials if trial.cost <= 0.01]
    assert report.recommended.attacked == min(trial.attacked for trial in allowed)
    again = harden(SPLIT, model="ridge", defenses="l2", finalists=0, jobs=1, out=tmp_path)
    assert [trial.attacked for trial in again.trials] == [trial.attacked for trial in report.trials]
    told = json.loads((tmp_path / "harden.json").read_text())
    assert (told["chosen"], told["verdict"]) == (report.chosen, report.verdict)
    wrong = report.estimator.predict(SPLIT.test.X) != SPLIT.test.y
    assert wrong.mean() == pytest.approx(report.recommended.clean_error)
    assert report.to_frame().shape[0] == len(names)
    assert "data:image/svg" in (tmp_path / "harden.html").read_text()


def test_the_code_builds_the_classifier_that_is_recommended(quick):
    report = harden(SPLIT, model="logistic", defenses="l2", finalists=0, jobs=1, max_cost=1.0)
    half = hardening.trusted_rows(SPLIT.train, 0.5, 0)
    place = {"X": SPLIT.train.X, "y": SPLIT.train.y, "X_trusted": half.X, "y_trusted": half.y}
    exec(report.code, place)
    assert np.allclose(
        place["model"].decision_function(SPLIT.test.X), report.estimator.decision_function(SPLIT.test.X), atol=1e-7
    )


def test_the_thorough_attack_counts_where_it_does_more():
    first = Trial(name="a", words="b", clean_error=0.1, cost=0.0, low=0.0, high=0.0, seen_error=0.2, unseen_error=0.3,
                  attack="x")  # fmt: skip
    second = Trial(**{**vars(first), "seen_error": 0.1, "unseen_error": 0.4, "attack": "y", "bound": 0.5})
    both = first.with_more(second)
    assert (both.attacked, both.attack, both.thorough, both.bound) == (0.4, "y", True, 0.5)
    weaker = second.with_more(first)
    assert (weaker.attacked, weaker.attack, weaker.thorough) == (0.4, "y", True)


def test_trusted_rows_are_a_share_of_each_class_and_none_for_zero():
    half = hardening.trusted_rows(SPLIT.train, 0.25, 0)
    assert [(half.y == label).sum() for label in (1, -1)] == [10, 10]
    rows = {row.tobytes() for row in SPLIT.train.X}
    assert all(row.tobytes() in rows for row in half.X)
    assert hardening.trusted_rows(SPLIT.train, 0.0, 0) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [({"trusted": 2}, "trusted"), ({"max_cost": -1}, "max_cost"), ({"epsilon": 0}, "epsilon"), ({"jobs": 0}, "jobs")],
)
def test_options_that_cannot_be_used_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        harden(SPLIT, **options)


def test_the_command_refuses_in_one_line(capsys, tmp_path):
    assert main(["harden", "gaussians", "--trusted", "2", "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
