"""The audit from data to report, with a fake attack."""

from __future__ import annotations

import json
import pathlib

import audit_cases
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.svm import LinearSVC

import linpoison
from linpoison.auditing import AuditOptions, AuditReport, plan
from linpoison.auditing.work import Work
from linpoison.core import Budget, Domain, InfeasibleSet, InputError, Poison, SolverFailed
from linpoison.defender import Defender
from linpoison.defenses import DEFAULTS
from linpoison.reporting.cells import domain_words
from linpoison.reporting.lessons import lessons
from linpoison.reporting.table import comparison

pytestmark = pytest.mark.usefixtures("fake_attacks")
FAST = ("l2", "loss")
ONE = {"attacks": "kkt", "domain": "real"}
"""One attack in one domain."""


def small_audit(**options) -> AuditReport:
    data = options.pop("data", None) or audit_cases.small_split()
    return linpoison.audit(data, **{"epsilon": 0.1, "defenses": FAST, "reg": 0.1, "jobs": 1, **ONE, **options})


def test_report_holds_the_schema_of_the_issue(tmp_path):
    small_audit(out=tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["schema"] == 2
    assert {"name", "n_train", "n_test", "n_features", "domain"} <= set(report["dataset"])
    assert report["model"]["loss"] == "hinge"
    assert report["model"]["reg"] == 0.1
    assert report["model"]["penalize_intercept"] is True
    assert report["certificates"] == []
    assert report["versions"]["numpy"] == np.__version__
    entry = report["attacks"][0]
    assert set(entry["test_error"]) == {"none", *FAST}
    assert entry["unseen_test_error"] is None
    assert entry["n_poison"] == Budget(0.1).count(60)
    assert entry["test_error_behind_all"] == min(entry["test_error"][name] for name in FAST)
    assert "NISTAML.013" in json.dumps(report["threat"])
    assert "AML.T0020" in json.dumps(report["threat"])


def test_numbers_are_those_of_an_evaluator_that_reads_the_poison_file(tmp_path):
    split = audit_cases.small_split()
    report = small_audit(data=split, out=tmp_path)
    options = AuditOptions(epsilon=0.1, defenses=FAST, reg=0.1)
    from linpoison.auditing.inputs import build_defenses

    defender = Defender(split.train, options.problem(), build_defenses(options, options.problem()))
    scores = defender.score(Poison.load(tmp_path / "poison.npz"), {"test": split.test})
    assert report.attacks[0].test_error == scores.error["test"]
    assert report.attacks[0].kept_fraction == scores.kept_fraction
    assert report.clean["by_defense"] == defender.score(None, {"test": split.test}).error["test"]


def test_clean_error_agrees_with_scikit_learn():
    split = audit_cases.small_split(200)
    report = linpoison.audit(split, epsilon=0.05, reg=0.1, defenses="none", **ONE)
    judge = LinearSVC(loss="hinge", C=1 / (0.1 * 200), tol=1e-8, max_iter=100000, random_state=0)
    error = (judge.fit(split.train.X, split.train.y).predict(split.test.X) != split.test.y).mean()
    assert report.clean["test_error"] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize(("model", "penalized", "loss"), [
    ("svm", True, "hinge"), ("logistic", False, "logistic"), ("ridge", False, "squared"),
])  # fmt: skip
def test_models_have_their_convention_and_it_can_be_overridden(model, penalized, loss, fake_attacks):
    assert (
        small_audit(model=model).model | {"penalize_intercept": penalized, "loss": loss}
        == small_audit(model=model).model
    )
    assert small_audit(model=model, penalize_intercept=not penalized).model["penalize_intercept"] is not penalized
    assert fake_attacks.scenarios[-1].problem.penalize_intercept is not penalized


def test_target_test_shows_the_attacker_the_scored_rows(fake_attacks):
    split = audit_cases.small_split()
    report = small_audit(data=split)
    assert np.array_equal(fake_attacks.scenarios[0].target.X, split.test.X)
    assert report.attacks[0].unseen_test_error is None
    assert report.attacks[0].seen_error == report.attacks[0].test_error
    assert "in-sample maximum" in report.reading[0]


def test_target_train_shows_no_test_row(fake_attacks):
    split = audit_cases.small_split()
    report = small_audit(data=split, target="train")
    assert np.array_equal(fake_attacks.scenarios[0].target.X, split.train.X)
    assert report.attacks[0].unseen_test_error == report.attacks[0].test_error
    assert report.attacks[0].seen_error != report.attacks[0].test_error


def test_target_split_is_stratified_disjoint_and_seeded(fake_attacks):
    split = audit_cases.small_split(200)
    first = small_audit(data=split, target="split:0.25")
    seen = fake_attacks.scenarios[0].target
    assert seen.n == 50
    assert abs((seen.y > 0).mean() - (split.test.y > 0).mean()) < 0.02
    known = {row.tobytes() for row in split.test.X}
    assert {row.tobytes() for row in seen.X} < known
    entry = first.attacks[0]
    whole = Defender(split.train, AuditOptions(reg=0.1).problem(), {}).score(None, {"test": split.test, "seen": seen})
    assert first.clean["test_error"] == whole.error["seen"]["none"]
    together = 50 * first.clean["test_error"] + 150 * first.clean["unseen_test_error"]
    assert together / 200 == pytest.approx(whole.error["test"]["none"])
    assert entry.unseen_test_error_behind_all == min(entry.unseen_test_error[name] for name in FAST)
    small_audit(data=split, target="split:0.25", seed=5)
    assert not np.array_equal(fake_attacks.scenarios[1].target.X, seen.X)


def test_strongest_poison_is_poison_npz(tmp_path):
    split = audit_cases.small_split()
    report = small_audit(data=split, attacks="fake,one-class", out=tmp_path)
    assert report.strongest.file == "poison.npz"
    assert report.test_error_behind_all == max(entry.test_error_behind_all for entry in report.attacks)
    other = next(entry for entry in report.attacks if entry is not report.strongest)
    assert Poison.load(tmp_path / str(other.file)).total == other.n_poison
    files = {item.file for item in report.damages} | {str(entry.file) for entry in report.attacks}
    assert {path.name for path in tmp_path.iterdir()} == {*files, "report.html", "report.json"}
    for item in report.damages:
        again = linpoison.evaluate(split, tmp_path / item.file, defenses=FAST, reg=0.1)
        assert again.damage(item.behind).test_error == item.test_error


def test_all_means_every_attack():
    """All but the baseline of kkt."""
    names = [entry.name for entry in small_audit(attacks="all").attacks]
    assert names == [name for name in audit_cases.REGISTRY if name != "kkt-grid"]


def test_under_all_one_failure_does_not_lose_the_others(monkeypatch):
    from linpoison.core import SolverFailed

    class Failing(audit_cases.FakeAttack):
        def _search(self, scenario, run):
            raise SolverFailed("expected a solution, got none.")

    monkeypatch.setitem(audit_cases.REGISTRY, "fake", Failing)
    report = small_audit(attacks="all")
    assert [entry.name for entry in report.attacks] == ["kkt", "one-class"]
    assert report.failures == [{"name": "fake", "reason": "expected a solution, got none."}]
    assert "fake failed: expected a solution" in report.to_text()
    assert "fake failed" in report.to_html()
    with pytest.raises(SolverFailed):
        small_audit(attacks="kkt,fake")
    monkeypatch.setitem(audit_cases.REGISTRY, "kkt", Failing)
    monkeypatch.setitem(audit_cases.REGISTRY, "one-class", Failing)
    with pytest.raises(SolverFailed):
        small_audit(attacks="all")


def test_refined_runs_last_and_starts_from_the_strongest(monkeypatch):
    from linpoison.attacks import Refined

    starts = []

    class Recorded(Refined):
        def _search(self, scenario, run):
            starts.append(self.start)
            return audit_cases.FakeAttack()._search(scenario, run)

    monkeypatch.setitem(audit_cases.REGISTRY, "refined", Recorded)
    report = small_audit(attacks="refined,one-class,kkt")
    assert [entry.name for entry in report.attacks] == ["one-class", "kkt", "refined"]
    strongest = max(report.attacks[:2], key=lambda entry: entry.test_error_behind_all)
    assert starts[0].as_dataset().digest() == report.poisons[strongest.file].as_dataset().digest()
    small_audit(attacks="refined")
    assert starts[1] is None


def test_goal_is_the_population_where_scored_rows_are_unseen(fake_attacks):
    for target, goal in (
        ("test", "target"),
        ("train", "population"),
        ("split:0.5", "population"),
        ("rows:1,2", "target"),
    ):
        small_audit(target=target)
        assert fake_attacks.scenarios[-1].goal == goal


def test_targeted_rows_are_scored_and_the_rest_is_collateral(tmp_path, fake_attacks):
    report = small_audit(target="rows:3,1,17")
    assert fake_attacks.scenarios[-1].target.n == 3
    entry = report.attacks[0]
    assert {round(3 * error) / 3 for error in entry.test_error.values()} == set(entry.test_error.values())
    assert entry.unseen_test_error_behind_all is not None
    assert any("collateral" in line for line in report.reading)
    (tmp_path / "rows.txt").write_text("3\n1\n17\n", encoding="utf-8")
    again = small_audit(target=f"rows:{tmp_path / 'rows.txt'}")
    assert again.attacks[0].test_error == entry.test_error


@pytest.mark.parametrize("text", ["", "1,1", "-1", "99999", "a,b", "nosuch.txt", "1.5", "1,,2", ","])
def test_bad_rows(text):
    with pytest.raises(InputError, match="row"):
        small_audit(target=f"rows:{text}")


@pytest.mark.usefixtures("pictures")
def test_several_attacks_are_compared_strongest_first():
    report = small_audit(attacks="kkt,one-class", target="split:0.5")
    rows = comparison(report)
    assert rows[0][:3] == ("attack", "behind all", "unseen rows")
    worst = [float(row[1].split()[0]) for row in rows[1:]]
    assert worst == sorted(worst, reverse=True)
    text, page = report.to_text(), report.to_html()
    assert "Attacks compared" in text
    assert "Error against time, attack by attack" in page
    assert any("does the most damage" in line for line in lessons(report))
    assert "Attacks compared" not in small_audit().to_text()
    assert report.peak_memory_mb > 10


def test_interrupted_run_resumes_to_the_identical_report(tmp_path, fake_attacks):
    options = {"target": "split:0.5", "attacks": "kkt,kkt-grid"}
    whole = small_audit(out=tmp_path / "whole", **options)
    fake_attacks.interrupt_before = 2
    fake_attacks.steps.clear()
    with pytest.raises(KeyboardInterrupt):
        small_audit(out=tmp_path / "cut", **options)
    early = AuditReport.load(tmp_path / "cut")
    assert (early.attacks, early.damages, early.unfinished) == ([], [], ["kkt", "kkt-grid"])
    assert early.clean == whole.clean
    fake_attacks.interrupt_before = None
    resumed = small_audit(out=tmp_path / "cut", **options)
    assert fake_attacks.steps == [0, 1, 2, 0, 1, 2]
    parts = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "cut")]
    assert audit_cases.without_times(parts[0]) == audit_cases.without_times(parts[1])
    assert whole.strongest.test_error == resumed.strongest.test_error
    assert not (tmp_path / "cut" / "journal").exists()


def test_another_question_does_not_read_the_journal(tmp_path, fake_attacks):
    fake_attacks.interrupt_before = 2
    with pytest.raises(KeyboardInterrupt):
        small_audit(out=tmp_path)
    fake_attacks.interrupt_before = None
    for change in ({"seed": 1}, {"epsilon": 0.2}, {"data": audit_cases.small_split(seed=1)}, {"model": "logistic"}):
        fake_attacks.steps.clear()
        small_audit(out=tmp_path, **change)
        assert fake_attacks.steps == [0, 1, 2]
    fake_attacks.steps.clear()
    small_audit(out=tmp_path, jobs=2)
    assert fake_attacks.steps == [2]


def test_without_filters_that_a_time_limit_leaves_out_it_is_another_question(tmp_path, fake_attacks, monkeypatch):
    monkeypatch.setattr(plan, "IN_TIME", 0.0)
    fake_attacks.interrupt_before = 2
    with pytest.raises(KeyboardInterrupt):
        small_audit(out=tmp_path, defenses=DEFAULTS, time_limit=600.0)
    fake_attacks.interrupt_before = None
    fake_attacks.steps.clear()
    report = small_audit(out=tmp_path, defenses=DEFAULTS)
    assert fake_attacks.steps == [0, 1, 2]
    assert {item.behind for item in report.damages} == {"all", "none", *DEFAULTS}


def test_failed_attack_leaves_nothing(tmp_path, fake_attacks):
    fake_attacks.fail_with = InfeasibleSet("no row passes")
    with pytest.raises(InfeasibleSet):
        small_audit(out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_attacks_that_finished_outlive_what_fails_after_them(tmp_path, fake_attacks, monkeypatch):
    def fails(*_):
        raise SolverFailed("no bound")

    with monkeypatch.context() as patched:
        patched.setattr(Work, "_bracket", fails)
        with pytest.raises(SolverFailed, match="no bound"):
            small_audit(out=tmp_path / "new", certify=True)
    assert fake_attacks.steps == [0, 1, 2]
    small_audit(out=tmp_path / "new")
    assert fake_attacks.steps == [0, 1, 2]
    assert not (tmp_path / "new" / "journal").exists()


def test_timeline_rises_and_times_levels():
    entry = small_audit().attacks[0]
    errors = [error for _, error in entry.timeline]
    assert errors == sorted(set(errors))
    for name, times in entry.seconds_to.items():
        line = entry.timeline if name == "all" else entry.timeline_by_defense[name]
        for level, seconds in times.items():
            assert seconds == min(at for at, error in line if error >= float(level))


def test_counts_stay_sparse_and_whole(fake_attacks):
    report = linpoison.audit("counts", defenses=("l2",), epsilon=0.05, attacks="kkt")
    assert report.dataset["domain"] == "counts"
    assert report.dataset["sparse"]
    assert sp.issparse(fake_attacks.scenarios[0].train.X)
    assert report.attacks[0].domain_violation == 0


def test_counts_are_answered_for_of_any_size_and_up_to_the_largest_of_each_column(fake_attacks):
    report = linpoison.audit("counts", defenses=("l2",), epsilon=0.05, attacks="kkt")
    assert list(report.domains) == ["counts:inf", "counts"]
    assert domain_words(report.domains[0]) == "no range check"
    wide, narrow = (scenario.train.domain for scenario in fake_attacks.scenarios)
    assert (wide.kind, narrow.kind, wide.integral) == ("counts", "counts", True)
    assert np.isinf(wide.upper).all()
    assert np.isfinite(narrow.upper).all()
    dragged = {(item["domain"], item["least_drag"] is not None) for item in report.exposures}
    assert dragged == {("counts:inf", True), ("counts", False)}
    asked = linpoison.audit("counts", defenses=("l2",), epsilon=0.05, attacks="kkt", domain="counts")
    assert list(asked.domains) == ["counts"]


def test_domain_option_gives_the_attacker_a_box(fake_attacks):
    small_audit(domain="box")
    assert fake_attacks.scenarios[0].train.domain.kind == "box"
    small_audit()
    assert fake_attacks.scenarios[1].train.domain.kind == "real"


def test_seed_reaches_the_attack(fake_attacks):
    small_audit(seed=7)
    assert fake_attacks.seeds == [7]


def test_behind_all_is_the_least_over_the_defences_alone():
    report = linpoison.audit("breast_cancer", target="split:0.5", **ONE)
    error = dict(report.attacks[0].test_error)
    assert error.pop("none") < min(error.values())
    assert len(set(error.values())) > 1
    assert report.test_error_behind_all == min(error.values())
    alone = linpoison.audit("breast_cancer", defenses="none", **ONE)
    assert alone.test_error_behind_all == alone.attacks[0].test_error["none"]


def test_progress_reaches_the_caller():
    seen = []
    small_audit(progress=lambda done, total, what: seen.append((done, total, what)))
    assert {total for _, total, _ in seen} == {100}
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1] == (100, 100, "report")


def test_arrays_with_string_labels_are_data():
    split = audit_cases.small_split()
    words = [np.where(part.y > 0, "spam", "ham") for part in (split.train, split.test)]
    arrays = (split.train.X, words[0], split.test.X, words[1])
    assert small_audit(data=arrays).attacks[0].test_error == small_audit(data=split).attacks[0].test_error


def test_remove_and_variant_reach_the_defences(fake_attacks):
    small_audit(remove=0.2, variant="reference")
    defence = fake_attacks.scenarios[0].defenses["l2"]
    assert (defence.remove, defence.variant) == (0.2, "reference")


def test_one_file_read_by_path(tmp_path):
    split = audit_cases.small_split(80)
    path = tmp_path / "rows.csv"
    lines = ["a,b,c,kind"] + [
        ",".join([*map(repr, row.tolist()), "yes" if label > 0 else "no"])
        for row, label in zip(split.train.X, split.train.y, strict=True)
    ]
    path.write_text("\n".join(lines))
    report = small_audit(data=pathlib.Path(path), label="kind", test_fraction=0.25)
    assert (report.dataset["n_train"], report.dataset["n_test"]) == (60, 20)
    assert "--label kind" in report.command
    with pytest.raises(InputError, match="label"):
        small_audit(data=path, label="nothing")


def test_out_of_memory_or_bug_is_not_hidden(fake_attacks):
    fake_attacks.fail_with = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        small_audit()


def test_box_poison_of_the_audit_is_inside():
    split = audit_cases.small_split(domain=Domain.box(-9.0, 9.0, d=3))
    report = linpoison.audit(split, AuditOptions(epsilon=0.1, defenses=FAST, attacks="kkt"))
    assert report.attacks[0].domain_violation == 0
