"""Hardening: every setting is attacked anew, the best within its cost is recommended, and what is built is that."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from linpoison import Dataset, InputError, Split, audit, harden, load
from linpoison.attacks.deadline import Deadline
from linpoison.attacks.random_flips import RandomFlips
from linpoison.auditing import contest, hardening, measures
from linpoison.auditing.plain import plain_poisons
from linpoison.auditing.trusted_rows import TrustedRows
from linpoison.cli import main
from linpoison.cli.parser import build_parser
from linpoison.core import Domain, SolverFailed
from linpoison.defender import Defender
from linpoison.reporting.trial import Trial


@pytest.fixture
def quick(monkeypatch):
    """Few settings, and one attack."""
    monkeypatch.setattr(contest, "FEW", ("random-flips",))
    monkeypatch.setattr(hardening, "measures", lambda *given: measures.measures(*given)[:10])


def blobs(seed=0, n=80):
    rng = np.random.default_rng(seed)
    y = np.tile([1.0, -1.0], n // 2)
    return Dataset(rng.normal(size=(n, 3)) + 1.5 * y[:, None], y, name="blobs")


SPLIT = Split(blobs(0), blobs(1))


def test_settings_are_attacked_and_the_best_within_its_cost_is_built(quick, tmp_path, monkeypatch):
    options = {"model": "ridge", "defenses": "l2", "finalists": 0, "jobs": 1, "trusted": 0.2, "out": tmp_path}
    short = harden(SPLIT, time_limit=1e-3, **options)
    alone = [f"trusted-alone, reg {reg}" for reg in (0.03, 0.1)]
    assert [trial.name for trial in short.trials] == ["as it is", "trusted-alone", "parts-9", "parts-17", *alone]
    assert {"medians", "trusted-range-5-heavy"} < set(short.unfinished)
    assert any("medians" in line for line in short.notes())
    report = harden(SPLIT, time_limit=600, **options)
    names = [trial.name for trial in report.trials]
    assert names[6:] == ["medians", "trusted-5", "trusted-range-5", "trusted-range-5-heavy"]
    assert not report.unfinished
    now, best = report.trials[0], report.recommended
    assert (now.cost, now.met) == (0, "few")
    assert best.met != "plain"
    assert best.no_worse_than(now)
    allowed = [trial for trial in report.trials if trial.cost <= 0.01]
    assert best.attacked == min(trial.attacked for trial in allowed)
    told = json.loads((tmp_path / "harden.json").read_text())
    assert (told["chosen"], told["verdict"]) == (report.chosen, report.verdict)
    assert told["trusted"] == report.trusted != []
    assert report.to_frame().shape[0] == len(names)
    assert "data:image/svg" in (tmp_path / "harden.html").read_text()
    assert in_a_fresh_process(tmp_path) == best.clean_error
    monkeypatch.setattr(RandomFlips, "_search", None)  # what has ended is read, not done again
    again = harden(SPLIT, **options)
    assert [trial.attacked for trial in again.trials] == [trial.attacked for trial in report.trials]


def in_a_fresh_process(folder):
    """The error on the test rows of the classifier in ``hardened.skops``."""
    np.save(folder / "X.npy", SPLIT.test.X)
    read = (
        "import sys, numpy as np, skops.io as io; f = sys.argv[1] + '/hardened.skops'; "
        "model = io.load(f, trusted=io.get_untrusted_types(file=f)); "
        "print(model.predict(np.load(sys.argv[1] + '/X.npy')).tolist())"
    )
    said = subprocess.run([sys.executable, "-c", read, str(folder)], capture_output=True, text=True, check=True)
    return np.mean(np.array(json.loads(said.stdout)) != SPLIT.test.y)


def built(code, train, trusted, **more):
    place = {}
    exec(code, place)
    names = place["build"].__code__.co_varnames[: place["build"].__code__.co_argcount]
    given = {"X": train.X, "y": train.label_values(train.y), **more}
    given |= {"X_trusted": trusted.X, "y_trusted": trusted.label_values(trusted.y)}
    return place["build"](**{name: given[name] for name in names})


WEIGHTED = replace(blobs(2), weight=np.random.default_rng(0).uniform(0.5, 1.5, 80))


def test_the_settings_that_are_tried():
    names = list(hardening._Search(SPLIT, hardening.HardenOptions(trusted=0.2), None, None).measures)
    trusted = [f"trusted{kind}-{share}" for share in (5, 10) for kind in ("", "-range")]
    alone = [f"trusted-alone, reg {reg}" for reg in (0.03, 0.1)]
    assert names[:6] == ["as it is", "trusted-alone", "parts-9", "parts-17", *alone]
    assert [name for name in names[6:13] if "heavy" not in name] == ["medians", *trusted]
    assert names[13:] == [f"{name}, reg 0.1" for name in names[6:13]]
    assert list(hardening._Search(SPLIT, hardening.HardenOptions(trusted=0), None, None).measures) == [
        "as it is", "parts-9", "parts-17", "medians", "medians, reg 0.1"
    ]  # fmt: skip


def test_a_budget_that_outnumbers_a_class_leaves_medians_out():
    rare = np.flatnonzero((SPLIT.train.y > 0) | (np.arange(80) < 30))
    search = hardening._Search(
        Split(SPLIT.train.take(rare), SPLIT.test), hardening.HardenOptions(epsilon=0.5), None, None
    )
    assert [name for name in search.measures if "medians" in name] == []


def test_one_test_row_of_a_class_is_refused_before_any_work():
    few = SPLIT.test.take(np.flatnonzero((SPLIT.test.y > 0) | (np.arange(80) == 1)))
    with pytest.raises(InputError, match="two test rows of each class at least, got 1"):
        harden(Split(SPLIT.train, few))


def test_of_equal_damage_what_is_proved_is_taken_and_no_change_first():
    now = Trial(name="a", words="b", clean_error=0.1, cost=0.0, low=0.0, high=0.0, seen_error=0.2, unseen_error=0.3,
                attack="x")  # fmt: skip
    found = replace(now, name="found", cost=-0.05, clean_error=0.05)
    proved = replace(now, name="proved", cost=0.01, clean_error=0.11, bound=0.25)
    assert [one.name for one in sorted([found, proved, now], key=lambda one: one.preference)] == [
        "a",
        "proved",
        "found",
    ]


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (SPLIT, {"model": "logistic", "reg": 0.0123456789}),
        (SPLIT, {"model": "svm", "class_weight": {"1": 3.0}, "trusted": 0.2}),
        (Split(WEIGHTED, SPLIT.test), {"model": "ridge", "penalize_intercept": True, "trusted": 0.2}),
    ],
)
def test_every_setting_is_attacked_written_and_built_as_the_same_classifier(rows, options):
    search = hardening._Search(rows, hardening.HardenOptions(defenses="l2,loss", jobs=1, **options), None, None)
    train, test, problem = search.setting.split.train, rows.test, search.setting.problem
    for measure in search.measures.values():
        name = "loss" if measure.name == measures.AS_IS else ""
        model = measure.build(problem, train, name)
        code = measures.code_of(measure, problem, train, name)
        weights = {"sample_weight": train.weight, "sample_weight_trusted": search.trusted.weight}
        again = built(code, train, search.trusted, **weights)
        assert np.allclose(model.decision_function(test.X), again.decision_function(test.X), atol=1e-6), measure.name
        if not measure.proved:
            setting = replace(search.setting, problem=measure.problem(problem), defenses=measure.defenses)
            setting = replace(setting, split=replace(setting.split, train=measure.rows(train)))
            audited = setting.defender.score(None, {}).models[name or next(iter(measure.defenses))]
            scores = model.decision_function(test.X) * (1 if model.classes_[1] == 1 else -1)
            assert np.allclose(scores, audited.decision_function(test.X), atol=1e-6), measure.name


def test_what_is_proved_no_flip_and_no_row_exceeds():
    search = hardening._Search(SPLIT, hardening.HardenOptions(model="ridge", jobs=1, epsilon=0.05), None, None)
    train, rng, seen = search.setting.split.train, np.random.default_rng(0), []
    measure = search.measures["parts-17"]
    parts = measure.build(search.setting.problem, train)
    wrong = measure.worst_wrong(parts, 4, SPLIT.test)
    assert wrong.tolist() == (parts.certificate(SPLIT.test.X, SPLIT.test.y, most=0).bound < 4).tolist()
    for number in range(20):
        poison = Dataset(rng.normal(size=(4, 3)) * 10.0 ** (number % 5), rng.choice([-1.0, 1.0], 4))
        model = measures.parted(search.setting.problem, 17).fit(*vars_of(train.mix(poison)))
        seen.append(model.predict(SPLIT.test.X) != SPLIT.test.y)
    assert 0 < np.any(seen, axis=0).sum() <= wrong.sum()
    assert not (np.any(seen, axis=0) & ~wrong).any()
    alone = search.measures["trusted-alone"]
    assert alone.build(search.setting.problem, train).coef_.shape == (1, 3)
    trial = search._proved(alone)
    assert trial.clean_error == trial.bound == (trial.seen_error + trial.unseen_error) / 2


def vars_of(rows):
    return rows.X, rows.y


def test_an_interrupted_search_leaves_what_it_knows(quick, tmp_path, monkeypatch):
    calls = []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain_poisons(*arguments)

    monkeypatch.setattr(hardening, "plain_poisons", stop)
    with pytest.raises(KeyboardInterrupt, match=r"harden\.html"):
        harden(SPLIT, model="ridge", defenses="l2", finalists=0, jobs=1, out=tmp_path)
    told = json.loads((tmp_path / "harden.json").read_text())
    assert [trial["name"] for trial in told["trials"]][-1] == "medians"
    assert told["unfinished"][0] == "trusted-5"


@pytest.mark.parametrize("filters", ["l2", "l2,loss"])
def test_a_run_in_which_no_attack_ends_tells_what_plain_poisons_do(filters, quick, tmp_path, monkeypatch):
    def late(*arguments, **more):
        raise SolverFailed("expected a poison, got no time")

    monkeypatch.setattr(RandomFlips, "_search", late)
    report = harden(SPLIT, model="ridge", defenses=filters, finalists=1, jobs=1, out=tmp_path, trusted=0.2)
    now = report.trials[0]
    assert (now.name, now.met) == ("as it is", "plain")
    assert now.attacked > now.clean_error
    assert report.recommended.thorough or "no attack on the present setting has ended" in report.verdict
    assert "got no time" in report.failures["as it is"]
    assert "as it is could not be searched" in (tmp_path / "harden.html").read_text()


def test_several_filters_meet_plain_poisons_where_their_attacks_are_cut(quick, monkeypatch):
    search, told = search_of(SPLIT, model="ridge", defenses="l2,loss", time_limit=600.0), []
    monkeypatch.setattr(hardening, "plain_poisons", lambda *given: (told.append(1), plain_poisons(*given))[1])
    search._try("as it is", "few")
    assert told == []
    cut = search_of(SPLIT, model="ridge", defenses="l2,loss", time_limit=600.0)
    cut._contest(cut.measures["as it is"]).cut = True
    cut._try("as it is", "few")
    assert (told, cut.unfinished) == ([1], ["as it is"])
    assert cut.tried["as it is"].attacked >= search.tried["as it is"].attacked


def test_plain_poisons_end_with_the_time_limit(quick, monkeypatch):
    search, scored = search_of(SPLIT, model="ridge", defenses="l2", finalists=0, time_limit=600.0), []
    count = contest.Contest._count
    monkeypatch.setattr(contest.Contest, "_count", lambda *given: (scored.append(given[1]), count(*given)))
    monkeypatch.setattr(hardening._Search, "_until", lambda *given: Deadline.after(0.0))
    search._try("medians", "plain")
    assert (len(scored), search.tried["medians"].met, search.hurried) == (1, "plain", ["medians"])


def trial(name, loss, met, cost=0.0, unseen=None):
    return Trial(name=name, words="b", clean_error=0.1, cost=cost, low=0.0, high=0.0, seen_error=loss,
                 unseen_error=loss if unseen is None else unseen, attack="x", met=met)  # fmt: skip


def test_the_setting_that_seems_best_is_attacked_until_it_has_met_everything(monkeypatch):
    """What each setting loses to harder attacks is made up: the search has to end with the true order."""
    losses = {"as it is": (0.4, 0.4, 0.4), "a": (0.1, 0.3, 0.3), "b": (0.2, 0.2, 0.25), "c": (0.35, 0.1, 0.1),
              "fails": (0.05, None, None)}  # fmt: skip
    levels, done = ("plain", "few", "all"), []

    def attacked(search, measure, met):
        done.append((measure.name, met))
        if losses[measure.name][levels.index(met)] is None:
            raise SolverFailed("expected an attack, got none")
        return trial(measure.name, losses[measure.name][levels.index(met)], met, 1e-3 * (measure.name != "as it is"))

    made = [measures.Measure(name, name, {"l2": None}) for name in losses]
    monkeypatch.setattr(hardening, "measures", lambda *given: made)
    monkeypatch.setattr(hardening._Search, "_attacked", attacked)
    monkeypatch.setattr(hardening._Search, "report", hardening._Search._chosen)
    search = hardening._Search(SPLIT, hardening.HardenOptions(finalists=1, jobs=1), None, None)
    assert search.run() == "b"
    assert done[5:] == [("fails", "few"), ("a", "few"), ("b", "few"), ("b", "all")]
    assert (search.tried["fails"].met, list(search.failures), search.unfinished) == ("plain", ["fails"], ["fails"])


def test_a_setting_that_loses_more_on_one_half_is_not_recommended():
    search = hardening._Search(SPLIT, hardening.HardenOptions(jobs=1), None, None)
    search.tried = {"as it is": trial("as it is", 0.2, "all", unseen=0.3), "a": trial("a", 0.25, "all", unseen=0.25)}
    assert search._chosen() == "as it is"
    search.tried["b"] = trial("b", 0.19, "all", unseen=0.29)
    assert search._chosen() == "b"


def test_trusted_rows_are_a_share_of_each_class_and_none_for_zero():
    half, said = TrustedRows.parse(0.25).of(None, SPLIT, None, 0)
    assert [(half.y == label).sum() for label in (1, -1)] == [10, 10]
    rows = {row.tobytes() for row in SPLIT.train.X}
    assert all(row.tobytes() in rows for row in half.X)
    assert "The 20 trusted rows were drawn" in said[0]
    assert TrustedRows.parse(0).of(None, SPLIT, None, 0) == (None, [])


def csv_of(tmp_path, **more):
    """The blobs as a table with more columns, and as it is split."""
    rows, path = SPLIT.train, tmp_path / "rows.csv"
    header = ",".join(["a", "b", "c", "label", *more])
    table = np.column_stack([rows.X, rows.y, *more.values()])
    np.savetxt(path, table, delimiter=",", header=header, comments="", fmt="%.17g")
    return path, load(path, label="label", index=",".join(more))


def search_of(data, **options):
    return hardening._Search(data, hardening.HardenOptions(jobs=1, **options), None, None)


def test_trusted_rows_are_named_by_the_numbers_of_the_file_or_by_a_column(tmp_path):
    marks = np.zeros(80)
    marks[10:40] = 1
    path, split = csv_of(tmp_path, checked=marks)
    mine = sorted(set(range(10, 40)) & set(split.train.row_numbers.tolist()))
    (tmp_path / "n.txt").write_text("\n".join(map(str, range(10, 40))))
    of_column = search_of(path, trusted="column:checked", label="label")
    named = [f"rows:{tmp_path / 'n.txt'}", np.arange(10, 40), [*range(10, 40)]]
    for search in (of_column, *(search_of(path, trusted=one, label="label", index="checked") for one in named)):
        assert search.setting.split.train.feature_names == ("a", "b", "c")
        assert search.trusted.numbers.tolist() == mine
        np.testing.assert_array_equal(search.trusted.X, SPLIT.train.X[mine])
        filters = search.measures["trusted-5"].defenses["trusted-5"]
        np.testing.assert_array_equal(filters.trusted[0], SPLIT.train.X[mine])
        assert search.cautions[0].startswith(f"{30 - len(mine)} of the rows named as trusted are held out")
    assert "--trusted column:checked" in hardening.command_line("harden", path, of_column.options)


def test_rows_of_an_archive_or_a_frame_are_trusted_by_a_mark(tmp_path):
    pd = pytest.importorskip("pandas")
    marks = np.arange(80) % 3 == 0
    frame = pd.DataFrame(SPLIT.train.X, columns=["a", "b", "c"]).assign(label=SPLIT.train.y, checked=marks)
    np.savez(tmp_path / "rows.npz", X=SPLIT.train.X, y=SPLIT.train.y, checked=marks)
    for data in (frame, tmp_path / "rows.npz"):
        search = search_of(data, trusted="column:checked")
        mine = set(np.flatnonzero(marks)) & set(search.setting.split.train.numbers)
        assert search.trusted.numbers.tolist() == sorted(mine)
        np.testing.assert_array_equal(search.trusted.X, SPLIT.train.X[search.trusted.numbers])


@pytest.mark.parametrize("kind", ["csv", "npz", "frame"])
def test_a_gap_among_the_marks_is_neither_trusted_nor_not(kind, tmp_path):
    marks = np.where(np.arange(80) % 3 == 0, 1.0, 0.0)
    marks[5] = np.nan
    data = tmp_path / f"rows.{kind}"
    if kind == "csv":
        csv_of(tmp_path, checked=marks)
    elif kind == "npz":
        np.savez(data, X=SPLIT.train.X, y=SPLIT.train.y, checked=marks)
    else:
        pd = pytest.importorskip("pandas")
        data = pd.DataFrame(SPLIT.train.X, columns=["a", "b", "c"]).assign(label=SPLIT.train.y, checked=marks)
    with pytest.raises(InputError, match="checked.* got NaN or an empty field. It is 0 in all rows but the trusted"):
        search_of(data, trusted="column:checked")


@pytest.mark.parametrize("values", [np.arange(80), np.where(np.arange(80) < 40, 1, -1), np.arange(80) % 3])
def test_a_column_that_was_not_made_to_mark_rows_is_refused(values, tmp_path):
    np.savez(tmp_path / "rows.npz", X=SPLIT.train.X, y=SPLIT.train.y, a=values)
    with pytest.raises(InputError, match=r"0 and one other number in .*'a'.* the same number in these"):
        search_of(tmp_path / "rows.npz", trusted="column:a")


def test_trusted_rows_that_others_contradict_or_that_are_tested_are_told():
    X, y = np.vstack([SPLIT.train.X, SPLIT.train.X[:3]]), np.append(SPLIT.train.y, -SPLIT.train.y[:3])
    test = Dataset(np.vstack([SPLIT.test.X, SPLIT.train.X[4:6]]), np.append(SPLIT.test.y, [1.0, -1.0]))
    search = search_of(Split(Dataset(X, y), test), trusted=list(range(20)), defenses="l2", time_limit=1e-3)
    assert [line.split()[0] for line in search.cautions] == ["2", "3"]
    assert set(search.cautions) < set(search.run().notes())


@pytest.mark.parametrize(
    ("trusted", "words"),
    [
        ("rows:3,900", "training rows below 80, got 900"),
        ("rows:0,2,4", "2 trusted rows of each class at least, got 0"),
        ("rows:1,1", "trusted rows each once, got row 1 twice"),
        ([True, False], "whole numbers of trusted rows"),
        ([[1], [2, 3]], "trusted as a share"),
        ({"a": 1}, "whole numbers of trusted rows"),
        ("column:marks", "a file or a frame"),
        ("rows", "trusted as a share, rows:3,17,42"),
        ("2", "It is the share of the training rows that was checked"),
        ("rows:nowhere.txt", "numbers of trusted rows, or a file of them"),
    ],
)
def test_trusted_rows_that_are_not_there_are_refused(trusted, words):
    with pytest.raises(InputError, match=words):
        search_of(SPLIT, trusted=trusted)


def test_plain_poisons_keep_budget_and_domain_and_hurt_who_has_no_filter():
    train = replace(SPLIT.train, domain=Domain.range(SPLIT.train.X))
    defender = Defender(train, hardening.HardenOptions(jobs=1).problem(train), {})
    found = list(plain_poisons(defender, train.domain, 6, train.take(np.arange(10))))
    assert {poison.total for _, poison in found} == {6.0}
    assert max(train.domain.violation(poison.X).max() for _, poison in found) == 0
    assert len({name for name, _ in found}) > 10
    wide = plain_poisons(defender, Domain.real(), 6)
    assert max(defender.score(poison, {"test": SPLIT.test}).worst() for _, poison in wide) > 0.4


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


def test_an_audit_names_the_command_that_hardens_and_that_the_one_that_certifies():
    rows = SPLIT.train
    far = Dataset(np.vstack([rows.X, [[90.0, 0.0, 0.0]]]), np.append(rows.y, -1.0))
    report = audit(Split(far, SPLIT.test), model="ridge", reg=0.3, defenses="l2", attacks="random-flips", jobs=1)
    words = shlex.split(report.onward.replace("<data>", "gaussians"))
    asked = build_parser().parse_args(words[1:])
    assert (asked.command, asked.model, asked.reg, asked.defenses, asked.epsilon) == (
        "harden",
        "ridge",
        0.3,
        "l2",
        0.03,
    )
    hurt = replace(report, damages=[replace(item, test_error=0.9) for item in report.damages])
    assert report.onward in hurt.advice[-1]
    assert audit(SPLIT, metric="auc", defenses="l2", attacks="random-flips", jobs=1).onward == ""


def test_who_has_no_trusted_rows_is_told_what_is_left(quick):
    report = harden(SPLIT, defenses="l2", finalists=0, jobs=1, time_limit=1e-3, max_cost=1.0)
    names = {one.name for one in report.trials if one.trusted}
    assert names == {one.name for one in report.trials if "trusted" in one.name} != set()
    alone = next(name for name in names if name == "trusted-alone")
    free = min((one for one in report.trials[1:] if "parts" in one.name), key=lambda one: one.preference)
    low = [replace(one, seen_error=0.9, unseen_error=0.9) if one.name == "as it is" else one for one in report.trials]
    said = [line for line in replace(report, chosen=alone, trials=low).notes() if line.startswith("Without trusted")]
    assert said[0].startswith(f"Without trusted rows {free.name} takes the error to {100 * free.attacked:.1f} %")
    safe = [replace(one, seen_error=0.0, unseen_error=0.0) if one.name == "as it is" else one for one in report.trials]
    told = [line for line in replace(report, chosen=alone, trials=safe).notes() if line.startswith("Without trusted")]
    assert "does better than the present one" in told[0]
    assert not any("Without" in line for line in replace(report, chosen=free.name).notes())
    stays = replace(report, chosen="as it is", trials=low)
    assert stays.verdict.startswith("No setting that was tried")
    assert "its attacks had no time to end." in replace(stays, unfinished=["as it is"]).verdict
    assert "no time" not in replace(stays, unfinished=[]).verdict
    hurried = [*low, replace(low[0], name="medians", met="plain", seen_error=0.1, unseen_error=0.1)]
    assert replace(stays, trials=[replace(low[0], met="few"), *hurried[1:]]).verdict.endswith(
        "more than plain poisons."
    )


def test_what_can_be_bounded_and_was_not_is_said(quick):
    report = harden(SPLIT, defenses="l2", finalists=0, jobs=1, time_limit=1e-3)
    said = replace(report, trials=[replace(trial, fixed=True, bound=None) for trial in report.trials]).notes()
    assert any(f"{report.command} --certify" in line for line in said)
