import itertools
import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from small_attacks import SMALL

from linpoison import CertificateViolated, Dataset, InputError, LinearModel, Poison, Split, audit, budget, certify
from linpoison.attacks.aimed import Aimed
from linpoison.auditing import bracket as bracket_room
from linpoison.auditing import certifying
from linpoison.auditing.bracket import build_bracket
from linpoison.auditing.inputs import prepare
from linpoison.auditing.options import LearnerOptions
from linpoison.auditing.trusted import trusted
from linpoison.certificates import Certificate, PartitionClassifier, certify_average_loss, deletions_ridge
from linpoison.certificates.outer.known import OuterSet
from linpoison.cli.main import main
from linpoison.core import LinpoisonError
from linpoison.learners import make_learner
from linpoison.reporting import CertifyReport


def rows(n, seed):
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    return rng.normal(size=(n, 3)) * 0.5 + 0.5 * y[:, None], y


@pytest.fixture(scope="module")
def data():
    return Split(Dataset(*rows(80, 0), name="three"), Dataset(*rows(30, 1)))


RIDGE = {"model": "ridge", "reg": 0.3, "defenses": "l2"}


def test_attack_and_certificate_bracket_the_damage(data, tmp_path):
    report = certify(data, epsilon=(0.025, 0.1), attacks=[SMALL["kkt"]], jobs=1, out=tmp_path, **RIDGE)
    for rung in report.rungs:
        assert rung["clean_error"] <= rung["bound"]
        assert rung["attack_error"] <= rung["bound"]
        assert rung["clean_loss"] <= rung["attack_loss"] + 1e-9 <= rung["loss_bound"] + 2e-9
        assert rung["certified_fraction"] >= 1 - rung["bound"] - 1e-12 or rung["bound"] < 1 - rung["certified_fraction"]
    bounds = [rung["bound"] for rung in report.rungs]
    assert bounds == sorted(bounds)
    stored = json.loads((tmp_path / "certify.json").read_text())
    assert [item["name"] for item in stored["certificates"][:3]] == ["ridge", "test-error", "average-loss"]
    assert all(item["verified"] and item["assumptions"] for item in stored["certificates"])
    assert CertifyReport.from_json(report.to_json()).to_text() == report.to_text()
    earlier = [{name: rung[name] for name in rung if name not in ("count", "aimed_error")} for rung in stored["rungs"]]
    assert CertifyReport.from_json(json.dumps(stored | {"rungs": earlier})).verdict == report.verdict
    for damaged in ([], [{}], [{"bound": 0.5}], [1], 3):
        with pytest.raises(InputError, match="report of certify"):
            CertifyReport.from_json(json.dumps(stored | {"rungs": damaged}))
    page = (tmp_path / "certify.html").read_text()
    assert "certified (at most)" in page
    assert "data:image/svg+xml" in page
    for word in ("fixed beforehand", "free intercept", "mean"):
        assert word in report.to_text()


@pytest.mark.parametrize("model", ["ridge", "svm"])
def test_rows_are_turned_open_or_certified(data, model):
    few = Split(data.train, data.test.take(np.arange(20)))
    report = certify(few, epsilon=0.06, **{**RIDGE, "model": model})
    [rung] = report.rungs
    assert rung["clean_error"] < rung["aimed_error"] <= 1 - rung["certified_fraction"] + 1e-12
    assert rung["clean_error"] <= rung["attack_error"] <= rung["aimed_error"]
    assert rung["attack_error"] <= rung["bound"]
    assert "Row by row" in report.to_text()
    if model == "ridge":  # single points attain the bound
        assert rung["aimed_error"] == pytest.approx(1 - rung["certified_fraction"])


def test_a_rerun_checks_what_is_there_and_proves_the_rest(data, tmp_path, monkeypatch):
    certify(data, epsilon=0.05, out=tmp_path, **RIDGE)
    asked = []
    real = bracket_room.certificates_of

    def counted(claim, names, *kept):
        asked.append(claim.epsilon)
        return real(claim, names, *kept)

    monkeypatch.setattr(bracket_room, "certificates_of", counted)
    certify(data, epsilon=(0.05, 0.1), out=tmp_path, **RIDGE)
    assert len(asked) == 1
    certify(data, epsilon=0.05, out=tmp_path, **{**RIDGE, "reg": 0.31})
    assert len(asked) == 2


def test_a_stored_certificate_of_something_else_is_not_taken(tmp_path):
    """It holds, of the same rows, learner and budget, but it is no proof of what is asked."""
    data, store = few(10, 3), certifying._Store(tmp_path)
    claim = trusted(prepare(data, LearnerOptions(**RIDGE))).claim(0.1, data.test)
    says, changed = claim.assumptions(), partial(claim.changed_assumptions, flips=False)
    store.put("loss", certify_average_loss(claim))
    store.put("lost", deletions_ridge(claim, 1))
    assert store.get("loss", claim, "loss", says) is not None
    assert store.get("lost", claim, "score", changed(1)) is not None
    assert store.get("loss", claim, "error", says) is None
    assert store.get("lost", claim, "score", changed(2)) is None
    assert store.get("lost", claim, "score", says) is None


def test_an_attack_beyond_its_certificate_is_an_error(data, monkeypatch):
    setting = prepare(data, LearnerOptions(**RIDGE))
    defender = trusted(setting)
    real = bracket_room.certificates_of

    def halved(claim, names, *kept):
        found = real(claim, names, *kept)
        score = found["score"]
        found["score"] = Certificate("ridge", "score", claim, score.bound - 10.0, False, (), score.witness)
        return found

    monkeypatch.setattr(bracket_room, "certificates_of", halved)
    poison = Poison(data.train.X[:1], -data.train.y[:1], [1])
    with pytest.raises(CertificateViolated, match="mine"):
        build_bracket(defender, data.test, [0.05], {0.05: {"mine": poison}})


def test_poison_outside_the_filters_does_not_count(data):
    defender = trusted(prepare(data, LearnerOptions(**RIDGE)))
    model, mass = defender.learn(Poison([[50.0, 50.0, 50.0]], [-1.0], [4]))
    clean, _ = defender.learn(Poison(np.zeros((0, 3)), [], []))
    assert mass == 0
    np.testing.assert_allclose(model.vector, clean.vector)


def test_filters_drop_clean_rows_and_the_budget_grows_to_match(data):
    defender = trusted(prepare(data, LearnerOptions(**RIDGE)))
    assert 0 < defender.n_dropped < 10
    claim = defender.claim(0.1, data.test)
    assert claim.epsilon * claim.mass == pytest.approx(0.1 * data.train.n)
    assert claim.inside().all()


def test_nothing_is_certified_without_a_filter(data):
    with pytest.raises(InputError, match="bounds the rows"):
        certify(data, epsilon=0.05, model="ridge", defenses="none")
    with pytest.raises(InputError, match="bounds the rows"):
        certify(data, epsilon=0.05, model="ridge", defenses="knn")


def test_equal_rows_are_certified_behind_the_filters_that_can_tell_them_apart():
    X, y = np.zeros((20, 3)), np.repeat([-1.0, 1.0], 10)
    report = certify((X, y, X, y), epsilon=0.1, attacks="random-flips", defenses="l2,slab,loss", model="svm")
    assert report.rungs[0]["bound"] == 1.0  # already the clean model scores every row zero, which counts as an error
    proofs = budget((X, y, X, y), "flip:0", defenses="l2,slab,loss", model="svm")
    assert proofs.entries[0]["bound"] == pytest.approx(0, abs=1e-5)  # to the tolerance of the learner


@pytest.mark.parametrize(
    "options", [{"epsilon": "many"}, {"epsilon": 2.0}, {"epsilon": ()}, {"certificates": "all"}, {"attacks": "nope"}]
)
def test_bad_options_are_refused(data, options):
    with pytest.raises(InputError):
        certify(data, **{**RIDGE, **options})


def test_an_audit_can_carry_the_bracket(data, tmp_path, pictures):
    report = audit(data, epsilon=0.05, attacks="random-flips", certify=True, jobs=1, out=tmp_path, **RIDGE)
    rung = report.rungs[-1]
    assert rung["attack"] == "random-flips"
    assert rung["attack_error"] <= rung["bound"]
    assert {item["kind"] for item in report.certificates} == {"score", "error", "loss"}
    assert "Behind fixed filters" in report.to_text()
    assert "Attack and certificate" in report.to_html()
    assert "--certify" in report.command


def test_an_audit_certifies_all_the_rows_that_it_plants(data):
    """0.02 of 80 rows are 1.6: an audit plants two, and the bound has to hold for them."""
    report = audit(data, epsilon=0.02, attacks="random-flips", certify=True, jobs=1, **RIDGE)
    rung = report.rungs[-1]
    assert report.attacks[0].n_poison == 2
    assert (rung["epsilon"], rung["attack"]) == (2 / 80, "random-flips")
    assert rung["attack_error"] <= rung["bound"]
    assert rung["bound"] == certify(data, epsilon=2 / 80, jobs=1, **RIDGE).rungs[0]["bound"]


def test_budget_of_a_model_is_certified_and_bought(data, tmp_path):
    goal = LinearModel([-0.1, 0.2, 0.1], 0.0)
    report = budget(data, goal, model="svm", reg=0.3, defenses="l2", out=tmp_path)
    [entry] = report.entries
    assert entry["bound"] <= entry["primal"] * (1 + 1e-6)
    if entry["exact"]:
        assert entry["distance"] < 1e-4
    assert report.certificates[0]["kind"] == "budget"
    np.savez(tmp_path / "goal.npz", coef=goal.coef, intercept=goal.intercept)
    again = budget(data, str(tmp_path / "goal.npz"), model="svm", reg=0.3, defenses="l2")
    assert again.entries[0]["bound"] == pytest.approx(entry["bound"])
    assert "at least" in report.to_text()


@pytest.mark.parametrize("target", ["flip:x", "flip:900", "missing.npz"])
def test_bad_targets_are_refused(data, target):
    with pytest.raises(InputError):
        budget(data, target, model="svm", defenses="l2")


@pytest.mark.parametrize(
    ("attack", "options"),
    [("kkt", RIDGE), ("min-max", RIDGE), ("kkt", {"model": "svm", "reg": 0.3, "defenses": "l2,slab"})],
)
def test_attacks_are_made_against_the_filters_that_are_certified(data, attack, options):
    """Fixed filters hold all rows that are aimed at them; filters fitted again on the poison lie elsewhere."""
    seen = []

    def spy(defender, rows, epsilons, poisons, **more):
        seen.append((defender, poisons[epsilons[0]][attack]))
        return build_bracket(defender, rows, epsilons, poisons, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("linpoison.auditing.certifying.build_bracket", spy)
        few = Split(data.train, data.test.take(np.arange(10)))  # each row has a bound of its own
        [rung] = certify(few, epsilon=0.1, attacks=[SMALL[attack]], jobs=1, certificates="test-error", **options).rungs
    [(defender, poison)] = seen
    assert poison.total == 8
    assert defender.learn(poison)[1] == pytest.approx(poison.total / defender.train.total)
    assert rung["clean_error"] < rung["attack_error"] <= rung["bound"]


def test_attacks_insert_no_more_than_is_certified(data):
    """1.9 rows are one, though an audit rounds them to two, and 0.6 rows are none: that is told."""
    report = certify(data, epsilon=(0.0075, 1.9 / 80), attacks="random-flips", jobs=1, **RIDGE)
    assert [rung["attack"] for rung in report.rungs] == ["", "random-flips"]
    [left] = report.failures
    assert left["epsilon"] == "0.0075"
    line = "every attack at epsilon 0.0075 was left out: an attack needs a whole row, and epsilon of 80 rows is 0.6."
    assert line in " ".join(report.to_text().split())
    assert line in re.sub("<[^>]*>", "", report.to_html())


def test_a_poison_that_weighs_too_much_is_told(data):
    defender = trusted(prepare(data, LearnerOptions(**RIDGE)))
    poison = Poison(defender.train.X[:2], defender.train.y[:2], [1, 1])
    found = build_bracket(defender, data.test, [0.02], {0.02: {"mine": poison}}, names=("average-loss",))
    assert found.rungs[0].attack_loss is None
    assert found.left_out == [
        {"name": "mine", "epsilon": "0.02", "reason": "its poison weighs 2 rows, more than the 1.6 of the budget"}
    ]


@pytest.mark.parametrize("name", ["svm", "ridge"])
def test_sparse_rows_are_certified_as_dense_ones(data, name):
    few = Split(data.train, data.test.take(np.arange(8)))
    parts = [Dataset(sp.csr_array(part.X), part.y) for part in (few.train, few.test)]
    options = {**RIDGE, "model": name, "epsilon": 0.03}
    dense, sparse = certify(few, **options), certify(Split(*parts), **options)
    assert sparse.rungs[0]["bound"] == dense.rungs[0]["bound"]
    assert sparse.rungs[0]["loss_bound"] == pytest.approx(dense.rungs[0]["loss_bound"], rel=1e-2)


def test_a_folder_of_other_sets_is_not_reused(data, tmp_path):
    """Same rows, same learner: only the sets tell the two claims apart."""
    low, high = (
        certify(data, epsilon=0.05, out=tmp_path, attacks="none", certificates="average-loss", domain=domain, **RIDGE)
        for domain in ("box", "real")
    )
    fresh = certify(data, epsilon=0.05, attacks="none", certificates="average-loss", domain="real", **RIDGE)
    bounds = [report.certificates[0]["bound"] for report in (low, high, fresh)]
    assert bounds[1] == pytest.approx(bounds[2])
    assert bounds[0] < bounds[1]


def few(n=14, m=12):
    return Split(Dataset(*rows(n, 3)), Dataset(*rows(m, 4)))


def right_after(data, model, change):
    """Which test rows are classified rightly after each change of the training rows, shape (changes, rows)."""
    train, found = data.train, []
    for chosen in change:
        sign = np.ones(train.n)
        sign[list(chosen)] = -1.0
        left = replace(train, y=train.y * sign) if model == "ridge" else train.take(sign > 0)
        problem = prepare(data, LearnerOptions(model=model, reg=0.3, defenses="none")).problem
        found.append(make_learner(problem).fit(left).margins(data.test) > 0)
    return np.array(found)


def test_an_interrupted_budget_goes_on_within_it(tmp_path, monkeypatch):
    """Ctrl-C at several moments: the same answer after it, and no row is asked twice."""
    options = {"model": "svm", "reg": 0.3, "defenses": "l2", "epsilon": 0.15, "certificates": "test-error"}
    data, steps, asked, aimed = few(20, 6), [], [], []
    solved, at = OuterSet._solved, Aimed.at
    monkeypatch.setattr(
        OuterSet, "_solved", lambda it, row, goal, brisk: asked.append(tuple(goal)) or solved(it, row, goal, brisk)
    )
    monkeypatch.setattr(Aimed, "at", lambda it, z, k: aimed.append((it.mass, *z)) or at(it, z, k))
    whole = certify(data, progress=lambda done, total, what: steps.append(what), **options)
    once, aims = list(asked), list(aimed)
    moments = [steps.index("rows bounded") + 4, len(steps) // 2, len(steps) - 1 - steps[::-1].index("rows aimed at")]
    for number, moment in enumerate(moments):
        asked.clear(), aimed.clear()
        left = iter(range(moment))

        def stop(done, total, what, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            certify(data, progress=stop, out=tmp_path / str(number), **options)
        assert asked
        assert (tmp_path / str(number) / "journal").is_dir()
        resumed = certify(data, out=tmp_path / str(number), **options)
        old, new = ({key: value for key, value in it.rungs[0].items() if value is not None} for it in (whole, resumed))
        assert new.pop("attack") == old.pop("attack")
        assert new == pytest.approx(old, rel=1e-4)
        assert len(asked) <= len(once) + 1
        assert len(aimed) <= len(aims) + 1
        assert not (tmp_path / str(number) / "journal").exists()


def test_flips_of_ridge_turn_exactly_the_rows_that_are_not_certified():
    data = few()
    report = certify(data, kind="flips", model="ridge", reg=0.3, count="1,3")
    assert report.rungs[0]["attack_error"] < report.rungs[1]["attack_error"] < 1
    for rung in report.rungs:
        any_right = right_after(data, "ridge", itertools.combinations(range(data.train.n), rung["count"]))
        assert rung["certified_fraction"] == pytest.approx(any_right.all(axis=0).mean())
        assert rung["attack_error"] == pytest.approx(rung["bound"]) == pytest.approx(1 - any_right.all(axis=0).mean())
    assert "l2" in report.left_out
    assert "labels flipped" in report.to_text()


@pytest.mark.parametrize("model", ["ridge", "logistic"])
def test_deletions_in_closed_form_are_bracketed(model):
    data = few(20, 30)
    asked = {"model": model, "reg": 0.3, "defenses": "none", "domain": "range"}
    report = certify(data, kind="deletions", count="1,2", **asked)
    problem = prepare(data, LearnerOptions(**asked)).problem
    for rung in report.rungs:
        lost = itertools.combinations(range(20), rung["count"])
        kept = [make_learner(problem).fit(data.train.take(np.setdiff1d(np.arange(20), gone))) for gone in lost]
        right = np.all([model.margins(data.test) > 0 for model in kept], axis=0)
        assert rung["clean_error"] < rung["attack_error"] == pytest.approx(1 - right.mean())
        assert rung["attack_error"] <= rung["bound"] < rung["attack_error"] + 0.1
    assert report.rungs[0]["bound"] == report.rungs[0]["attack_error"]  # one row is bounded exactly


def test_deletions_of_an_svm_are_bracketed(tmp_path):
    data = few(12, 6)
    asked = {"kind": "deletions", "model": "svm", "reg": 0.3, "count": 1, "defenses": "none", "domain": "range"}
    report = certify(data, out=tmp_path, penalize_intercept=True, **asked)
    (rung,) = report.rungs
    setting = prepare(data, LearnerOptions(model="svm", reg=0.3, penalize_intercept=True))
    kept = [make_learner(setting.problem).fit(data.train.take(np.arange(12) != i)) for i in range(12)]
    right = np.array([model.margins(data.test) > 0 for model in kept])
    assert rung["attack_error"] <= (~right.all(axis=0)).mean() <= rung["bound"] < 1
    again = certify(data, out=tmp_path, penalize_intercept=True, **asked)
    assert again.rungs == report.rungs
    assert [item["seconds"] for item in again.certificates] == [item["seconds"] for item in report.certificates]


def test_a_row_is_certified_up_to_its_radius(data):
    report = certify(data, kind="radius", epsilon=(0.02, 0.1, 0.3), **RIDGE)
    points = certify(data, epsilon=(0.02, 0.1, 0.3), certificates="test-error", **RIDGE)
    for rung, other in zip(report.rungs, points.rungs, strict=True):
        assert rung["clean_error"] <= rung["attack_error"] <= rung["bound"]
        assert rung["certified_fraction"] <= other["certified_fraction"]
    assert report.rungs[-1]["attack_error"] > report.rungs[0]["clean_error"]
    assert report.rungs[-1]["certified_fraction"] == pytest.approx(points.rungs[-1]["certified_fraction"], abs=0.04)
    assert len(report.certificates[0]["bound"]) == data.test.n


def test_votes_withstand_what_the_classifier_says(data):
    report = certify(data, kind="partition", count=(1, 4), parts=3, **RIDGE)
    defender = trusted(prepare(data, LearnerOptions(**RIDGE)))
    model = PartitionClassifier(3, reg=0.3, penalize_intercept=False, sets=defender.sets)
    model.fit(defender.train.X, defender.train.y)
    known = np.where(model.predict(data.test.X) == data.test.y, model.certify(data.test.X, precision=0.1), -1)
    assert [rung["certified_fraction"] for rung in report.rungs] == [np.mean(known >= 1), np.mean(known >= 4)]
    assert report.rungs[0]["attack_error"] is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"kind": "deletions", "model": "squared_hinge"},
            "squared, hinge, smooth hinge or logistic loss for deletions",
        ),
        ({"kind": "flips", "model": "squared_hinge"}, "logistic loss for flips"),
        ({"kind": "radius", "model": "squared_hinge"}, "hinge"),
        ({"kind": "partition", "model": "squared_hinge"}, "squared, hinge"),
        ({"kind": "flips", "model": "ridge", "count": 80}, "fewer rows than the 80"),
        ({"kind": "flips", "model": "ridge", "count": "1,x"}, "count as a whole number"),
        ({"kind": "flips", "model": "ridge", "attacks": "kkt"}, "neither attacks nor certificates"),
        ({"kind": "flips", "model": "ridge", "parts": 3}, "kind partition"),
        ({"kind": "radius", "model": "ridge", "count": 1}, "kinds deletions, flips and partition"),
        ({"kind": "inversions"}, "a kind among error, deletions, flips, radius, partition"),
    ],
)
def test_what_a_kind_does_not_take_is_said_before_any_work(data, asked, words):
    with pytest.raises(LinpoisonError, match=words):
        certify(data, **asked)


def test_the_kinds_are_reached_from_the_command_line(tmp_path, capsys):
    command = ["certify", "gaussians", "--model", "ridge", "--reg", "0.3", "--kind", "flips", "--count", "1,2"]
    assert main([*command, "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [rung["count"] for rung in told["rungs"]] == [1, 2]
    assert (tmp_path / "certificates" / "flips-2.npz").is_file()
    assert "labels flipped" in (tmp_path / "certify.html").read_text()
