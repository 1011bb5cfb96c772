"""Defences and attacks of someone else in every command, as objects and by entry point."""

from dataclasses import replace

import numpy as np
import pytest
from audit_cases import small_split
from foreign import EveryOther, LargestEntry, Means, Silent, register
from sklearn.ensemble import IsolationForest

import linpoison
from linpoison.attacks import RandomFlips
from linpoison.attacks.scenario import Scenario
from linpoison.auditing.options import AuditOptions, LearnerOptions, influences
from linpoison.cli import main
from linpoison.core import Budget, InputError, Poison
from linpoison.defenses import L2Defense, as_defense, make_defense
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Problem, SmoothHinge, Squared

FOREST = IsolationForest(n_estimators=5)
QUICK = {"model": "ridge", "attacks": "random-flips"}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package of someone else is installed."""
    register(
        tmp_path / "site",
        defenses={"largest": "foreign:LargestEntry", "other": "foreign:EveryOther"},
        attacks={"means": "foreign:Means"},
        losses={"smooth": "linpoison.losses:SmoothHinge"},
    )
    monkeypatch.syspath_prepend(tmp_path / "site")


def test_an_audit_takes_objects_and_names_alike():
    report = linpoison.audit(small_split(), defenses=[LargestEntry(0.1), "l2", FOREST, EveryOther()], jobs=1, **QUICK)
    assert list(report.attacks[0].test_error) == ["none", "LargestEntry", "l2", "IsolationForest", "EveryOther"]
    assert report.clean["kept_clean_fraction"]["LargestEntry"] == pytest.approx(0.9)
    assert report.clean["kept_clean_fraction"]["EveryOther"] == pytest.approx(0.5, abs=0.02)
    assert "'<LargestEntry>,l2,<IsolationForest>,<EveryOther>'" in report.command
    assert report.options["defenses"][0].startswith("LargestEntry: LargestEntry(remove=0.1) [foreign, ")
    assert report.options["defenses"][1] == "l2"


def test_an_object_does_what_the_name_does():
    data = small_split()
    by_name = linpoison.audit(data, defenses="l2", jobs=1, **QUICK)
    mapped = linpoison.audit(data, defenses={"l2": L2Defense()}, jobs=1, **QUICK)
    assert [item.test_error for item in mapped.attacks] == [item.test_error for item in by_name.attacks]
    assert mapped.poisons.keys() == by_name.poisons.keys()


def scenario_of(**defenses):
    data = small_split(200)
    return Scenario(data.train, Problem(Squared(), 0.1), Budget(0.03), defenses, data.test)


def test_workers_do_not_change_an_attack_behind_objects():
    scenario = scenario_of(box=LargestEntry(0.1), forest=as_defense(FOREST))
    one, two = (RandomFlips(draws=2).run(scenario, n_jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.best.poison.X, two.best.poison.X)
    assert one.best.test_error == two.best.test_error


def test_an_attack_works_inside_the_set_of_another_defence():
    """The flips that lie outside of the box are not drawn."""
    scenario = scenario_of(box=LargestEntry(0.2))
    pool = RandomFlips().pool(scenario)
    assert 0 < pool.n < 200
    assert abs(pool.X).max() < np.quantile(abs(scenario.train.X).max(axis=1), 0.9)


def test_an_attack_of_someone_else_runs_beside_the_own():
    report = linpoison.audit(small_split(), attacks=["random-flips", Means()], defenses="l2", model="ridge", jobs=1)
    assert sorted({item.name for item in report.attacks}) == ["means", "random-flips"]
    assert [name.split(" ")[0] for name in report.options["attacks"]] == ["random-flips", "means:"]
    with pytest.raises(InputError, match="an attack: an object of a subclass of linpoison.attacks.Attack"):
        AuditOptions(attacks=[FOREST])


def test_names_of_entry_points_work_in_every_command(installed, tmp_path):
    data, more = small_split(), {"defenses": "largest,l2", "model": "ridge"}
    report = linpoison.audit(data, attacks="means", jobs=1, **more)
    assert report.attacks[0].test_error.keys() == {"none", "largest", "l2"}
    assert report.options["defenses"] == ["largest (foreign 1.5)", "l2"]
    assert report.options["attacks"] == ["means (foreign 1.5)"]
    assert "--defenses largest,l2" in report.command
    scored = linpoison.evaluate(data, Poison([[9.0, 9.0, 9.0]], [-1], [3]), **more)
    assert scored.attacks[0].kept_fraction["largest"] == pytest.approx(1 / 3)  # a quota of 2
    assert linpoison.sanitize(data, defenses="largest,other").defenses == ("largest", "other")
    rows = linpoison.sweep(data, defenses=["largest", FOREST], attacks=["means"], jobs=1, model="ridge").records()
    assert [row["defenses"] for row in rows] == ["largest", "largest", "IsolationForest", "IsolationForest"]
    proved = linpoison.certify(data, epsilon=0.01, reg=0.3, certificates="average-loss", attacks="means", **more)
    assert proved.defenses == ["largest", "l2"]
    assert np.isfinite(proved.rungs[0]["bound"])
    spent = linpoison.budget(data, linpoison.LinearModel(np.array([0.1, 0.1, 0.1])), **more)
    assert 0 < spent.entries[0]["bound"] < 10


def test_a_loss_of_someone_else_is_learned(installed):
    data = small_split()
    by_object = linpoison.audit(
        data, defenses="loss", attacks="random-flips", model=SmoothHinge(), domain="real", jobs=1
    )
    by_name = linpoison.audit(data, defenses="loss", attacks="random-flips", model="smooth", domain="real", jobs=1)
    assert by_object.model["loss"] == by_name.model["loss"] == "smooth_hinge"
    assert by_object.attacks[0].test_error == by_name.attacks[0].test_error
    assert by_object.options["model"].startswith("smooth_hinge: SmoothHinge(")
    assert by_name.options["model"] == "smooth (foreign 1.5)"
    assert "--model '<smooth_hinge>'" in by_object.command
    assert "--model smooth" in by_name.command
    with pytest.raises(InputError, match="model among svm, .*, or a loss or a learner as an object, got 'nobody'"):
        AuditOptions(model="nobody")


def test_share_and_class_of_a_registered_defence(installed):
    assert make_defense("largest", remove=0.2).get_params() == {"remove": 0.2, "scale": 1.0}
    assert make_defense("other").title == "EveryOther"


def test_a_set_is_missed_before_any_work(caplog):
    with pytest.raises(InputError, match="a defence or a domain that bounds the rows"):
        linpoison.certify(small_split(), epsilon=0.01, defenses={"trees": FOREST}, model="ridge", attacks="kkt")
    assert [line for line in caplog.messages if "trees has no convex set: nothing is certified" in line]


def test_what_a_sampler_lacks_is_told_before_any_attack(fake_attacks):
    with pytest.raises(InputError, match="sample_indices_ which rows it keeps, got Silent, which does not"):
        linpoison.audit(small_split(), defenses=[Silent()], attacks=["fake"], model="ridge", jobs=1)
    assert fake_attacks.steps == []


def test_journals_know_objects_by_their_parameters():
    def told(*defenses):
        return influences(AuditOptions(defenses=list(defenses)))["defenses"]

    assert told(LargestEntry(scale=2.0)) == told(LargestEntry(scale=2.0)) != told(LargestEntry(scale=2.5))


@pytest.mark.parametrize(
    ("defenses", "words"),
    [
        ([3], "a defence: an object of linpoison.defenses.Defense"),
        (3, "defenses as names among l2, .* or as objects, got 3"),
        (["none", FOREST], "'none' alone"),
        ({"mine": "l2"}, "an outlier detector, or a sampler, got 'l2'"),
        ({"../x": FOREST}, "safe in the name of a file"),
        ([LargestEntry(scale=lambda: 1)], "that can be pickled"),
    ],
)
def test_other_things_are_refused(defenses, words):
    with pytest.raises(InputError, match=words):
        AuditOptions(defenses=defenses)


def test_the_command_line_takes_registered_names(installed, tmp_path, capsys):
    out = str(tmp_path / "kept.csv")
    assert main(["sanitize", "gaussians", "--defense", "largest,other", "--out", out]) == 0
    assert "largest 20, other 190" in capsys.readouterr().out
    assert main(["sanitize", "gaussians", "--defense", "nobody", "--out", out]) == 2
    assert "or of an entry point linpoison.defenses, got 'nobody'" in capsys.readouterr().err


def test_options_of_a_learner_can_be_taken_over_by_a_command_without_defences():
    asked = LearnerOptions(model=make_learner(Problem(Hinge(), 0.1)))
    assert asked.reg is None
    assert replace(asked, defenses="none").learner is asked.learner
