"""`inspect` finds what was planted by its row numbers, says why, and leaves clean rows alone."""

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import linpoison
from linpoison import InputError
from linpoison.auditing import LearnerOptions
from linpoison.auditing.suspecting import DETECTORS, reasons_of, suspect
from linpoison.cli.main import main
from linpoison.cli.parser import build_parser
from linpoison.core import Dataset
from linpoison.defenses.detectors import (
    MILDER,
    REASONS,
    TABLE,
    copies_surprise,
    copy_groups,
    usable,
    votes,
)
from linpoison.defenses.ranking import RANKING, combined, foremost, ranked
from linpoison.defenses.suspicion import standing_out, surprise, together

PLANTED = [3, 20, 50, 51, 90, 100, 101, 102, 120, 159]


def planted(n):
    """The first n rows of two gaussians, and ten copies of a row on the wrong side at chosen places of the file."""
    train = linpoison.load("gaussians").train
    own = np.setdiff1d(np.arange(n + len(PLANTED)), PLANTED)
    X, y = np.empty((n + len(PLANTED), train.d)), np.full(n + len(PLANTED), "bad")
    X[own], y[own] = train.X[:n], np.where(train.y[:n] > 0, "good", "bad")
    X[PLANTED] = 1.5 * train.X[train.y > 0].mean(axis=0)
    return pd.DataFrame(X, columns=[f"c{column}" for column in range(train.d)]).assign(label=y)


@pytest.fixture(scope="module")
def table():
    """Of 160 rows: enough for copies to be told, and cheap."""
    return planted(150)


def test_planted_copies_are_named_by_the_rows_of_the_file(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table.to_csv("rows.csv", index=False)
    assert main(["inspect", "rows.csv", "--out", "found"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("10 of 160 rows stand out, 10 of them in one group of rows that act together")
    frame = pd.read_csv("found/suspects.csv")
    assert sorted(frame.row[frame.named].tolist()) == PLANTED
    assert sorted(frame.row[:10].tolist()) == PLANTED
    assert sorted(frame.row.tolist()) == list(range(160))
    assert frame.label[:10].tolist() == ["bad"] * 10
    assert frame.reasons.str.startswith("10 copies of one row")[:10].all()
    stored = json.loads((tmp_path / "found" / "inspect.json").read_text())
    assert [sorted(group["rows"]) for group in stored["groups"]] == [PLANTED]
    assert (stored["effect"]["n_named"], stored["effect"]["n_rows"]) == (10, 150)
    assert stored["effect"]["low"] < stored["effect"]["error_without"] - stored["effect"]["error_with"] < 0.03
    page = (tmp_path / "found" / "inspect.html").read_text()
    assert page.count("10 copies of one row") == 10
    assert 'class="verdict">10 of 160 rows stand out' in page


def test_as_many_are_named_as_are_asked_for(table):
    report = linpoison.inspect(table, top=4)
    again = linpoison.inspect(table, share=0.025)
    assert {entry["row"] for entry in report.suspects} < set(PLANTED)
    assert report.to_frame().equals(again.to_frame())


def test_rows_that_are_close_but_not_equal_are_called_near_copies(table):
    near = linpoison.inspect(table.drop(PLANTED[5:]).assign(c0=lambda frame: frame.c0 + 1e-5 * frame.index))
    assert near.suspects[0]["reasons"][0] == "5 near-copies of one row"


def test_of_clean_rows_few_stand_out():
    report = linpoison.inspect("gaussians")
    assert build_parser().parse_args(report.command.split()[1:]).data == "gaussians"
    assert len(report.suspects) <= 2
    assert abs(report.effect["change"]) <= 0.005


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top": 3, "share": 0.1}, "a number of rows to name, or a share of them, got both"),
        ({"top": 0}, "top"),
        ({"share": 0.9}, "share"),
        ({"top": 300}, "at most 200 of 400 rows"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        linpoison.inspect("gaussians", **options)


def test_few_rows_are_refused():
    X = np.arange(30.0)[:, None]
    with pytest.raises(InputError, match="20 rows of each class at least, near-copies counted once, got 15"):
        linpoison.inspect((X, np.arange(30) % 2))
    with pytest.raises(InputError, match="near-copies counted once, got 1[.]"):
        linpoison.inspect((np.ones((60, 2)), np.arange(60) % 2))


def test_groups_are_copies_of_one_class_and_no_chains():
    X = np.array([[0.0], [8.0], [0.0], [3.0], [0.0], [11.0], [3.01], [20.0]])
    rows = Dataset(X, [1, 1, 1, 1, -1, -1, 1, -1])
    assert copy_groups(rows).tolist() == [0, 1, 0, 2, 3, 4, 2, 5]
    line = Dataset(np.linspace(0, 1, 60)[:, None], np.where(np.arange(60) % 2, 1, -1))
    assert copy_groups(line).tolist() == list(range(60))


def test_copies_are_the_less_a_surprise_the_more_there_are():
    alone = copies_surprise(np.array([4.0] + [1.0] * 96))[0]
    assert alone == pytest.approx(3 * np.log(101))
    pairs = copies_surprise(np.array([4.0] + [2.0] * 12 + [1.0] * 84))[0]
    fours = copies_surprise(np.array([4.0] * 13 + [1.0] * 84))[0]
    assert alone > pairs > fours > np.log(97 / 13)
    assert copies_surprise(np.array([8.0] + [2.0] * 96))[0] == pytest.approx(alone)
    assert not copies_surprise(np.array([4.0] * 25)).any()


def test_the_largest_group_of_a_table_of_groups_is_no_surprise_and_of_poison_in_few_is():
    """As many groups of c rows as a power of c tells; and two groups of poison, which tell of each other."""
    natural = np.repeat([1.0, 2.0, 3.0, 5.0, 8.0, 12.0], [760, 60, 24, 12, 6, 3])
    assert copies_surprise(natural)[-1] < np.log(natural.size)
    assert copies_surprise(np.append(np.ones(400), [4.0, 8.0]))[-2:].min() > np.log(402)


def test_units_and_a_file_that_was_appended_to_itself_hide_nothing():
    table = planted(400)
    wide = table.assign(c0=1e7 + 1e6 * table.c0, c1=1e-4 * table.c1, c9=0.0)
    twice = pd.concat([wide, wide.drop(PLANTED)], ignore_index=True)
    with np.errstate(all="raise"):
        found = {entry["row"] for entry in linpoison.inspect(wide).suspects}
        assert {entry["row"] for entry in linpoison.inspect(twice).suspects} == found == set(PLANTED)


def test_votes_count_other_labels_among_the_nearest():
    x = np.append(np.arange(30.0), 100 + np.arange(30.0))
    y = np.repeat([-1, 1], 30)
    y[5] = 1
    counted = votes(Dataset(x[:, None], y))
    assert (counted[5], counted[20], counted[40]) == (10, 0, 0)


def test_a_tail_is_exponential_in_the_quantile_and_poison_in_it_does_not_hide_itself():
    rng = np.random.default_rng(0)
    clean, codes = rng.exponential(size=2000), np.zeros(2000, dtype=int)
    told = surprise(clean, codes, codes == 0)
    assert np.interp(0.5, np.sort(clean), np.sort(told)) == pytest.approx(0.5, abs=0.1)
    hidden = np.append(clean, np.full(80, 60.0))
    alone = surprise(hidden, np.zeros(2080, dtype=int), np.arange(2080) < 2000)[-1]
    among = surprise(hidden, np.zeros(2080, dtype=int), np.ones(2080, dtype=bool))[-1]
    assert among > 0.8 * alone > 8


def test_scores_of_many_orders_of_magnitude_surprise_no_more_than_others():
    rng, codes = np.random.default_rng(0), np.zeros(500, dtype=int)
    losses = np.where(rng.random(500) < 0.7, 0.0, np.exp(4 * rng.normal(size=500)))
    assert surprise(losses, codes, codes == 0).max() < np.log(500) + 3


def test_one_strong_detector_among_blind_ones_decides():
    blind = {str(number): np.zeros(2) for number in range(9)}
    both = combined({**blind, "sees": np.array([0.0, 50.0])})
    assert both == pytest.approx([0.0, 50 - np.log(10)])


def test_what_one_detector_says_stands_out_and_what_the_foremost_say_in_sum_and_no_clean_row():
    rng, everyone = np.random.default_rng(0), np.ones(400, dtype=bool)
    said = {name: rng.exponential(size=400) for name in DETECTORS}
    assert not standing_out(together(said, everyone)).any()
    said["svd"][7] = 40.0
    for name in RANKING:
        said[name][[3, 300]] = 6.0
    assert np.flatnonzero(standing_out(together(said, everyone))).tolist() == [3, 7, 300]


def test_both_of_two_rows_that_are_equal_but_for_their_label_are_named():
    """The copies of rows that lie on the other side: models agree with the copies, and not with the clean rows."""
    train = linpoison.load("gaussians").train
    rows = LearnerOptions(model="svm").problem(train)
    wrong = np.flatnonzero(suspect(train, rows).found.scores["loss"] > 0)[:4]
    planted = Dataset(np.vstack([train.X, train.X[wrong]]), np.append(train.y, -train.y[wrong]))
    found = suspect(planted, rows)
    pairs = {*wrong.tolist(), *range(train.n, planted.n)}
    assert pairs <= set(np.flatnonzero(found.by_row(found.found.alarms)))
    assert pairs <= set(found.order[:12].tolist())


def test_rows_that_stand_out_are_ranked_first_and_then_by_what_a_few_detectors_say_together():
    surprises = {"pull": np.array([0.0, 4.0, 1.0, 5.0, 4.0]), "twins": np.array([2.0, 4.0, 0.0, 0.0, 0.0])}
    surprises["svd"] = np.full(5, 9.0)
    assert foremost(surprises).tolist() == [2, 8, 1, 5, 4]
    alarms = np.array([True, False, False, False, False])
    assert np.argsort(-ranked(surprises, alarms)).tolist() == [0, 1, 3, 4, 2]
    assert set(RANKING) <= set(DETECTORS)
    assert set(MILDER) <= set(REASONS)


def test_a_single_flipped_row_comes_before_rare_rows_that_are_a_little_strange_on_every_side():
    rng, y = np.random.default_rng(3), np.repeat([-1.0, 1.0], 60)
    X = rng.standard_t(3, size=(120, 3)) + 2 * y[:, None]
    flipped = np.abs(X[:60] + 2).max(axis=1).argmin()
    y[flipped] = 1.0
    rows = Dataset(X, y)
    assert suspect(rows, LearnerOptions(model="svm").problem(rows)).order[0] == flipped


def test_a_row_on_its_own_side_is_not_said_to_be_on_the_other():
    """Clean rows 20 apart, one that is near the border, but right, and one that is wrong."""
    rng, y = np.random.default_rng(0), np.repeat([-1.0, 1.0], 60)
    X = 10 * y[:, None] + rng.normal(size=(120, 2))
    X[0], X[119] = -1.5, -9.0
    rows = Dataset(X, y)
    found = suspect(rows, LearnerOptions(model="svm").problem(rows))
    assert found.found.scores["loss"][found.groups[0]] < 0
    told = {}
    for name in ("loss", "neighbours", "influence"):
        alone = replace(found, found=replace(found.found, surprises={name: found.found.surprises[name]}))
        told[name] = [reasons_of(alone, int(found.groups[row]))[0] for row in (0, 119)]
    assert told["loss"][0].startswith("nearer to the border of models learned without it than its class (margin 0.")
    assert told["loss"][1].startswith("on the wrong side of models learned without it (margin -")
    assert told["neighbours"][1] == "its label differs from 10 of its 10 nearest neighbours"
    assert "not as near as to its own" in told["neighbours"][0]
    assert told["influence"][1] == "raises the error on held-out rows"


def test_a_package_that_cannot_be_imported_leaves_its_detector_out(tmp_path, monkeypatch):
    """It is found, but what it imports is missing."""
    (tmp_path / "cleanlab").mkdir()
    (tmp_path / "cleanlab" / "__init__.py").write_text("import a_package_that_there_is_not\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "cleanlab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    detectors, left = usable(linpoison.load("gaussians").train, TABLE)
    assert "confident" not in detectors
    assert "a_package_that_there_is_not" in left["confident"]
