"""The default audit: what is run, and that no poison of the run does more than its figures say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import audit_cases
import numpy as np
import pytest
from raw_cases import people, people_pipeline

import linpoison
from linpoison.attacks import Scenario, make_attack
from linpoison.auditing import AuditOptions, AuditReport, plan
from linpoison.auditing.campaign import Campaign, Task, begun_from
from linpoison.auditing.domains import settings_of
from linpoison.auditing.inputs import build_defenses, prepare
from linpoison.core import Budget, InputError, Poison, worst_case
from linpoison.defender import Defender
from linpoison.defenses import SVDDefense

OPTIONS = AuditOptions(epsilon=0.1, reg=0.1, defenses=("l2", "loss"))


def scenarios():
    split, defenses = audit_cases.small_split(), build_defenses(OPTIONS, OPTIONS.problem())
    return {
        kind: Scenario((part := split.in_domain(kind)).train, OPTIONS.problem(), Budget(0.1), defenses, part.test)
        for kind in ("real", "range")
    }


def test_far_rows_have_the_widest_domain_and_each_defender_an_attack_of_its_own():
    found = plan.make_plan(OPTIONS, scenarios())
    assert not found.left_out
    runs = [(task.name, task.domain, task.against) for task in found.tasks]
    assert runs[:2] == [("random-flips", "range", "all"), ("alfa", "range", "all")]
    assert runs[2:6] == [("breakdown", "real", behind) for behind in ("all", "none", "l2", "loss")]
    assert [list(task.scenario.defenses) for task in found.tasks[3:6]] == [[], ["l2"], ["loss"]]
    assert runs[6:10] == [(name, "range", "all") for name in ("min-max", "kkt", "influence", "breakdown")]
    assert runs[10:] == [("breakdown", "range", behind) for behind in ("none", "l2", "loss")]
    assert [task.onward for task in found.tasks] == [False] * 9 + [True] * 4
    assert len({task.key for task in found.tasks}) == len(runs)


def test_of_a_raw_table_under_a_time_limit_the_local_search_comes_before_relaxed_points():
    train = people(120)
    asked = {"label": "rich", "test": people(60, seed=1), "estimator": people_pipeline(train), "defenses": "l2"}
    setting = prepare(train, AuditOptions(**asked))
    of = {
        domain: Scenario(one.split.train, one.problem, Budget(0.1), one.defenses, one.split.test)
        for domain, one in settings_of(setting, None).items()
    }
    free, limited = ([t.key for t in plan.make_plan(AuditOptions(**asked, time_limit=s), of).tasks] for s in (None, 60))
    inside = ["min-max/range", "kkt/range", "influence/range"]
    assert free[-5:-2] == inside == limited[-3:]
    assert free[-2:] == ["breakdown/range", "breakdown/range/none"] == limited[-5:-3]
    assert free[:-5] == limited[:-5]


def test_what_the_work_does_not_allow_is_left_out_and_named(monkeypatch):
    monkeypatch.setattr(plan, "LIMIT", 22.0)
    found = plan.make_plan(OPTIONS, scenarios())
    names = [item["name"] for item in found.left_out]
    assert names[:3] == ["min-max", "kkt", "influence"]
    assert "--attacks kkt runs it" in found.left_out[1]["reason"]
    assert names[3] == "breakdown, within the range of each column, from the strongest poison on"
    assert all(name.startswith("breakdown ") for name in names[4:])
    assert len(names) + len(found.tasks) == 13
    monkeypatch.setattr(plan, "LIMIT", 0.0)
    assert {task.name for task in plan.make_plan(OPTIONS, scenarios()).tasks} == {"random-flips", "alfa"}


def test_default_filters_that_take_too_long_to_fit_are_left_out_and_named(monkeypatch):
    monkeypatch.setattr(plan, "FIT", 0.0)
    split = audit_cases.small_split()
    options = {"attacks": "random-flips", "epsilon": 0.1, "jobs": 1}
    report = linpoison.audit(split, **options)
    assert [item["name"] for item in report.left_out] == ["the filter svd", "the filter knn"]
    assert report.left_out[1]["reason"].endswith("--defenses knn,l2,slab,loss has it")
    assert {item.behind for item in report.damages} == {"all", "none", "l2", "slab", "loss"}
    assert "the filter svd was left out: one fit of it takes" in " ".join(report.to_text().split())
    assert not linpoison.audit(split, defenses="l2,svd", **options).left_out


def test_a_time_limit_allows_a_filter_a_tenth_of_it():
    setting = prepare(audit_cases.small_split(), AuditOptions())
    X = setting.split.train.X
    seconds = 10 * setting.defenses["knn"].fit_work(X) / plan.SPEED
    found = [plan.affordable(setting, AuditOptions(time_limit=limit)) for limit in (1.01 * seconds, 0.99 * seconds)]
    assert ["knn" in each.defenses for each, _ in found] == [True, False]


def test_the_list_that_is_said_to_have_a_filter_has_it(monkeypatch):
    """Also of the last filter alone, whose list is that of all in their order if it stands at the end."""
    monkeypatch.setattr(plan, "FIT", 1.0)
    monkeypatch.setattr(SVDDefense, "fit_work", lambda self, X: 0.0)
    setting = prepare(audit_cases.small_split(), AuditOptions())
    (told,) = plan.affordable(setting, AuditOptions())[1]
    names = told["reason"].split("--defenses ")[1].removesuffix(" has it")
    assert sorted(names.split(",")) == sorted(setting.defenses)
    assert plan.affordable(setting, AuditOptions(defenses=names))[0] is setting


def test_named_attacks_are_not_left_out(monkeypatch):
    monkeypatch.setattr(plan, "LIMIT", 0.0)
    found = plan.make_plan(replace(OPTIONS, attacks="kkt,min-max"), scenarios())
    assert [task.key for task in found.tasks] == ["kkt/real", "min-max/real", "kkt/range", "min-max/range"]


def test_a_refinement_starts_inside_its_domain():
    real, narrow = scenarios().values()
    results = {
        name: audit_cases.FakeAttack().run(one, seed=0) for name, one in (("far", real), ("near", narrow))
    }  # the fake attack goes on from the class means, out of the range of the rows
    far = results["far"]
    outside = replace(far.best, poison=replace(far.best.poison, X=100 * far.best.poison.X))
    results["far"] = replace(far, best=outside, candidates=(outside,))
    for task in (
        Task("refined", make_attack("refined"), narrow, "range"),
        Task("breakdown", make_attack("breakdown"), narrow, "range", against="l2", onward=True),
    ):
        begun, start = begun_from(task, results)
        assert start == "near"
        assert begun.start is results["near"].poison
    attack = make_attack("breakdown")
    assert begun_from(Task("breakdown", attack, narrow, "range"), results) == (attack, None)


def test_of_many_rows_each_filter_alone_is_searched_on_all_of_them():
    train = audit_cases.small_split().train
    times = int(np.ceil(16_000 / train.d * 3 / train.n)) + 1
    many = train.take(np.tile(np.arange(train.n), times))
    wide, narrow = (replace(one, train=replace(many, domain=one.train.domain)) for one in scenarios().values())
    tasks = plan.make_plan(AuditOptions(), {"real": wide, "range": narrow}).tasks
    alone = [task for task in tasks if task.alone]
    assert {task.domain for task in alone} == {"real", "range"}
    assert all(task.rows for task in alone)
    assert all(task.attack.only_goes_on and task.attack.needs_start for task in alone)
    assert not any(task.attack.only_goes_on for task in tasks if not task.alone)


@dataclass(frozen=True)
class Onward(audit_cases.FakeAttack):
    """Goes on from poisons that are known."""

    start: Poison | None = None
    others: Sequence[Poison] = ()
    told: ClassVar[list[Sequence[Poison]]] = []
    only_goes_on = True

    def _on_all_rows(self, scenario, run, found):
        self.told.append(self.others)
        return [replace(self._search(scenario, run)[0], poison=self.start)]


def test_an_attack_on_one_filter_goes_on_from_those_on_others_inside_its_domain():
    real, narrow = scenarios().values()
    campaign = Campaign(seed=0, jobs=1, tolerant=False)
    inside = Poison(narrow.train.X[:2], -narrow.train.y[:2], np.ones(2))
    tasks = [Task("fake", audit_cases.FakeAttack(), narrow, "range")] + [
        Task(name, Onward(), one, domain, against=name, onward=True, rows=20)
        for name, one, domain in (("l2", real, "real"), ("loss", narrow, "range"), ("l2", narrow, "range"))
    ]
    Onward.told.clear()
    campaign.run(tasks[:1])
    far = replace(inside, X=100 * inside.X)
    best = campaign.results["fake/range"]
    campaign.results["svd"] = replace(best, best=replace(best.best, poison=far))  # of an attack on one filter
    campaign.run(tasks[1:])
    begun = best.best.poison  # which each of them gives back
    assert [list(map(id, others)) for others in Onward.told] == [[id(far)], [id(begun)], [id(begun), id(begun)]]


NAMES = ("random-flips", "alfa", "min-max-basic")


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return linpoison.audit(
        audit_cases.small_split(), attacks=NAMES, epsilon=0.1, reg=0.1, defenses=("l2", "loss"), jobs=1
    )


def test_no_candidate_of_the_run_does_more_than_the_report_says(report):
    for domain, scenario in scenarios().items():
        judge = Defender(scenario.train, scenario.problem, scenario.defenses)
        for name in NAMES:
            for item in make_attack(name).run(scenario, seed=0).candidates:
                error = judge.score(item.poison, {"test": scenario.target}).error["test"]
                assert worst_case(error) <= report.damage("all", domain).test_error
                assert all(value <= report.damage(behind, domain).test_error for behind, value in error.items())


def test_a_wider_domain_is_never_safer_nor_is_a_filter_alone(report):
    for behind in ("all", "none", "l2", "loss"):
        assert report.damage(behind, "real").test_error >= report.damage(behind, "range").test_error
    for domain in report.domains:
        alone = [report.damage(behind, domain).test_error for behind in report.filters]
        assert report.damage("all", domain).test_error <= min(alone)


def test_intervals_hold_what_the_poison_adds(report):
    for item in report.damages:
        assert item.low <= item.test_error - item.clean_error <= item.high
        assert item.test_error == item.test_errors[item.filter]


def test_both_answers_are_told_and_the_first_is_the_headline(report):
    text, page = " ".join(report.to_text().split()), report.to_html()
    for words in ("no range check", "within the range of each column", "every filter at once", "no filter"):
        assert words in text
        assert words in page
    assert report.domains == ["real", "range"]
    assert report.test_error_behind_all == report.damage("all", "real").test_error
    assert AuditReport.from_json(report.to_json()) == report
    with pytest.raises(InputError, match="a defender among all, none, l2, loss"):
        report.damage("svd")


def test_poisons_within_the_range_are(report):
    train = audit_cases.small_split().in_domain("range").train
    for item in report.damages:
        if item.domain == "range":
            assert np.all(train.domain.violation(report.poisons[item.file].X) <= 1e-9)


def test_figures_are_told_as_they_are_found():
    said: list[str] = []
    linpoison.audit(
        audit_cases.small_split(), attacks=NAMES[:2], epsilon=0.1, reg=0.1, defenses=("l2",), domain="real", jobs=1,
        found=said.append,
    )  # fmt: skip
    assert [line.partition(":")[0] for line in said] == list(NAMES[:2])
    assert all("behind every filter at once" in line and "best so far" in line for line in said)


def test_an_interrupted_run_reports_what_had_ended_and_resumes(tmp_path, fake_attacks, monkeypatch):
    class Interrupted(audit_cases.OneClassAttack):
        stop = True

        def _search(self, scenario, run):
            if self.stop:
                raise KeyboardInterrupt
            return super()._search(scenario, run)

    monkeypatch.setitem(audit_cases.REGISTRY, "one-class", Interrupted)
    options = {"attacks": "fake,one-class", "epsilon": 0.1, "defenses": ("l2",), "domain": "real", "jobs": 1}
    with pytest.raises(KeyboardInterrupt, match="have found is in"):
        linpoison.audit(audit_cases.small_split(), out=tmp_path, **options)
    partial = AuditReport.from_json((tmp_path / "report.json").read_text())
    assert partial.unfinished == ["one-class"]
    assert "one-class had not ended" in " ".join(partial.to_text().split())
    assert (tmp_path / "journal").is_dir()
    Interrupted.stop = False
    whole = linpoison.audit(audit_cases.small_split(), out=tmp_path, **options)
    assert fake_attacks.steps == [0, 1, 2, 0, 1, 2]
    assert not whole.unfinished


def test_a_run_that_was_interrupted_within_one_domain_reports_that_one(tmp_path, fake_attacks, monkeypatch):
    class InterruptedInside(audit_cases.OneClassAttack):
        stop = True

        def _search(self, scenario, run):
            if self.stop and scenario.train.domain.kind == "range":
                raise KeyboardInterrupt
            return super()._search(scenario, run)

    monkeypatch.setitem(audit_cases.REGISTRY, "one-class", InterruptedInside)
    options = {"attacks": "one-class", "epsilon": 0.1, "defenses": ("l2",), "jobs": 1}
    with pytest.raises(KeyboardInterrupt, match="have found is in"):
        linpoison.audit(audit_cases.small_split(), out=tmp_path, **options)
    partial = AuditReport.from_json((tmp_path / "report.json").read_text())
    assert partial.domains == ["real"]
    assert {item["domain"] for item in partial.exposures} == {"real"}
    assert "one-class, within the range of each column had not ended" in " ".join(partial.to_text().split())
    InterruptedInside.stop = False
    whole = linpoison.audit(audit_cases.small_split(), out=tmp_path, **options)
    assert whole.domains == ["real", "range"]
