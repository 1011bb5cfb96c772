"""Options, journal, estimators, evaluate and sanitize."""

from __future__ import annotations

import json
import pickle
import shlex

import audit_cases
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import LinearSVC

import linpoison
from linpoison.auditing import AuditOptions, CertifyOptions, EvaluateOptions, LearnerOptions
from linpoison.auditing.assemble import command_line
from linpoison.auditing.inputs import prepare
from linpoison.auditing.journal import run_digest
from linpoison.auditing.target import Target
from linpoison.cli.parser import ATTACKS, DEFENSES, KNOWN_DEFENSES, MODELS, build_parser
from linpoison.core import CapabilityError, Dataset, Domain, InputError, Poison, Split
from linpoison.core.journal import FolderJournal, code_digest

pytestmark = pytest.mark.usefixtures("fake_attacks")


def test_journal_returns_what_was_put(tmp_path):
    journal = FolderJournal(tmp_path / "j")
    assert journal.get("a") is None
    assert not (tmp_path / "j").exists()
    journal.put("a/b c", {"x": np.arange(3), "word": np.array("optimal")})
    stored = journal.get("a/b c")
    assert stored["x"].tolist() == [0, 1, 2]
    assert str(stored["word"]) == "optimal"
    assert journal.scoped("other").get("a/b c") is None
    journal.discard()
    assert not (tmp_path / "j").exists()


def test_damaged_step_is_done_again(tmp_path):
    journal = FolderJournal(tmp_path)
    journal.put("a", {"x": np.arange(300)})
    file = next(tmp_path.iterdir())
    for content in (file.read_bytes()[:100], b"", b"not a zip", pickle.dumps({"x": 1})):
        file.write_bytes(content)
        assert journal.get("a") is None


def test_step_that_cannot_be_stored_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="Object arrays"):
        FolderJournal(tmp_path).put("a", {"x": np.array([{}], dtype=object)})
    assert list(tmp_path.iterdir()) == []


def test_digest_tells_questions_apart():
    assert run_digest(a=1) == run_digest(a=1) != run_digest(a=2)


def test_steps_of_other_code_are_not_read(tmp_path, monkeypatch):
    file = tmp_path / "a_package_of_steps" / "inner" / "part.py"
    file.parent.mkdir(parents=True)
    file.parents[1].joinpath("__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for text in ("a = 1", "a = 2", "a = 1"):
        file.write_text(text)
        code_digest.cache_clear()
        found.append(code_digest("a_package_of_steps"))
    assert found[0] == found[2] != found[1]
    before = run_digest(a=1)
    monkeypatch.setattr("linpoison.auditing.journal.code_digest", lambda *packages: found[0])
    assert run_digest(a=1) != before


def test_target_words():
    assert Target.parse("train").kind == "train"
    for text in ("split", "split:", "split:0", "split:1", "split:nan", "split:x", "rows", "", None, "test:0.5"):
        with pytest.raises(InputError, match="target"):
            Target.parse(text)


def test_split_of_too_few_rows_is_refused():
    split = audit_cases.small_split()
    few = Split(split.train, split.test.take([0, 1, 2]))
    with pytest.raises(InputError, match="stratified"):
        linpoison.audit(few, target="split:0.5", epsilon=0.1, defenses="none")


def test_command_of_the_report_repeats_the_run():
    options = AuditOptions(epsilon=0.1, penalize_intercept=False, defenses="none", target="split:0.5", seed=3)
    words = command_line("audit", "some file.csv", options)
    assert "'some file.csv'" in words
    arguments = build_parser().parse_args(shlex.split(words)[1:])
    assert (arguments.data, arguments.epsilon, arguments.target, arguments.seed) == (
        "some file.csv",
        0.1,
        "split:0.5",
        3,
    )
    assert arguments.penalize_intercept is False
    assert arguments.defenses == "none"


def known_attacks(kind):
    """Attack classes of the library, at any depth."""
    import linpoison.attacks  # noqa: F401

    for child in kind.__subclasses__():
        if child.__module__.startswith(
            ("linpoison.attacks.gradient.", "linpoison.attacks.groups.")
        ):  # of other commands
            continue
        if child.__module__.startswith("linpoison.") and hasattr(child, "name") and child.__name__ != "Iterative":
            yield child
        yield from known_attacks(child)


def test_names_in_the_help_are_the_registered_ones():
    from linpoison.auditing.models import MODELS as known
    from linpoison.defenses import DEFAULTS
    from linpoison.defenses import DEFENSES as registered

    assert MODELS.split(", ") == list(known)
    assert tuple(DEFENSES.split(",")) == DEFAULTS
    assert KNOWN_DEFENSES.split(", ") == list(registered)
    from linpoison.attacks.base import Attack

    assert set(ATTACKS.split(", ")) == {kind.name for kind in known_attacks(Attack)}


def test_estimator_replaces_model_and_reg():
    with pytest.raises(InputError, match="estimator alone"):
        LearnerOptions(estimator="x.skops", reg=0.1)


def fitted(split: Split):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=2.0, tol=1e-8))
    return pipeline.fit(split.train.X, np.where(split.train.y > 0, "yes", "no"))


def test_estimator_file_is_translated_and_its_scaler_applied(tmp_path, fake_attacks):
    io = pytest.importorskip("skops.io")
    split, path = audit_cases.small_split(), tmp_path / "model.skops"
    estimator = fitted(split)
    io.dump(estimator, path)
    for source in (path, estimator):
        report = linpoison.audit(split, estimator=source, epsilon=0.1, defenses=("l2",), attacks="kkt")
        assert report.model["loss"] == "logistic"
        assert report.model["scaling"] == "sum"
        assert np.allclose(fake_attacks.scenarios[-1].train.X.mean(axis=0), 0)
        expected = (estimator.predict(split.test.X) != np.where(split.test.y > 0, "yes", "no")).mean()
        assert report.clean["test_error"] == pytest.approx(expected)


def test_estimator_without_preprocessing_keeps_names_and_domain(fake_attacks):
    split = audit_cases.small_split(domain=Domain.box(-9.0, 9.0, d=3))
    estimator = LinearSVC(loss="hinge").fit(split.train.X, split.train.y)
    linpoison.audit(split, estimator=estimator, epsilon=0.1, defenses=(), attacks="kkt")
    assert fake_attacks.scenarios[-1].train is split.train


def test_estimator_files_that_could_run_code_are_refused(tmp_path):
    io = pytest.importorskip("skops.io")
    split = audit_cases.small_split()
    for name in ("model.pkl", "model.joblib"):
        (tmp_path / name).write_bytes(pickle.dumps(fitted(split)))
        with pytest.raises(InputError, match="can run any code"):
            linpoison.audit(split, estimator=tmp_path / name)
    (tmp_path / "hidden.skops").write_bytes(pickle.dumps(fitted(split)))
    with pytest.raises(InputError, match="not one"):
        linpoison.audit(split, estimator=tmp_path / "hidden.skops")
    io.dump(FunctionTransformer(audit_cases.small_split), tmp_path / "own.skops")
    with pytest.raises(InputError, match="with trusted types only"):
        linpoison.audit(split, estimator=tmp_path / "own.skops")


def test_estimator_of_another_width_or_kind_is_refused():
    split = audit_cases.small_split()
    with pytest.raises(InputError, match="can transform"):
        linpoison.audit(split, estimator=fitted(audit_cases.small_split(d=4)))
    with pytest.raises(CapabilityError):
        linpoison.audit(split, estimator=StandardScaler().fit(split.train.X))


def poison_for(split: Split, copies: int = 6) -> Poison:
    return Poison(split.train.of_class(-1.0).X[:1], [1.0], [copies])


def test_evaluate_agrees_with_the_audit_that_made_the_poison(tmp_path):
    split = audit_cases.small_split()
    audited = linpoison.audit(split, epsilon=0.1, defenses=("l2", "slab"), attacks="kkt", domain="real", out=tmp_path)
    scored = linpoison.evaluate(split, tmp_path / "poison.npz", epsilon=0.1, defenses=("l2", "slab"))
    assert scored.attacks[0].test_error == audited.attacks[0].test_error
    assert scored.clean == audited.clean
    assert scored.epsilon == pytest.approx(6 / 60)
    assert scored.target == "given"
    assert scored.attacks[0].seen_error is None
    assert linpoison.AuditReport.from_json(scored.to_json()) == scored


def test_evaluate_states_what_is_over_budget_or_outside():
    split = audit_cases.small_split(domain=Domain.box(-9.0, 9.0, d=3))
    report = linpoison.evaluate(split, Poison([[20.0, 0, 0]], [1], [10]), epsilon=0.1, defenses=("l2",))
    assert report.attacks[0].within_budget is False
    assert report.attacks[0].domain_violation == pytest.approx(11)
    text = report.to_text()
    assert "over budget, 10 rows where 6 are allowed" in text
    assert "leave the domain" in text
    assert report.epsilon == pytest.approx(10 / 60)


@pytest.mark.parametrize(("poison", "words"), [
    (Poison([[1.0, 2.0]], [1], [1]), "3 features"),
    (Poison([[1.0, 2.0, 3.0]], [1], [0.5]), "whole copies"),
    (Poison([[1.0, 2.0, 3.0]], [1], [0]), "at least one"),
])  # fmt: skip
def test_evaluate_refuses_poison_that_cannot_be_planted(poison, words):
    with pytest.raises(InputError, match=words):
        linpoison.evaluate(audit_cases.small_split(), poison)


def test_training_rows_outside_of_their_own_domain_are_refused():
    narrow = audit_cases.small_split(domain=Domain.box(-0.5, 0.5, d=3))
    with pytest.raises(InputError, match="training rows inside its box, got [0-9]+ rows outside"):
        linpoison.sanitize(narrow, defenses="l2")


def test_a_domain_is_that_of_the_rows_behind_a_preprocessing():
    split = audit_cases.small_split()
    estimator = make_pipeline(Normalizer(), LinearSVC(C=1.0, loss="hinge")).fit(split.train.X, split.train.y)
    setting = prepare(split, LearnerOptions(estimator=estimator, domain="unit"))
    np.testing.assert_allclose(np.linalg.norm(setting.split.train.X, axis=1), 1.0)
    assert setting.split.train.domain.kind == "unit"


@pytest.mark.parametrize("value", [-1.0, 0.5])
def test_evaluate_refuses_counts_that_are_none(value):
    row = np.zeros((1, 200))
    row[0, 0] = value
    with pytest.raises(InputError, match="counts"):
        linpoison.evaluate("counts", Poison(sp.csr_array(row), [1], [1]))


def test_sanitize_agrees_with_fit_resample():
    split = audit_cases.small_split()
    from linpoison.defenses import L2Defense

    result = linpoison.sanitize(split, defenses="l2", remove=0.1)
    judge = L2Defense(0.1).fit(split.train.X, split.train.y)
    assert result.kept.tolist() == judge.sample_indices_.tolist()
    assert np.allclose(result.scores[:, 0], judge.decision_scores_)


def test_defences_run_one_after_another():
    split = audit_cases.small_split()
    result = linpoison.sanitize(split, defenses="slab,l2", remove=0.1)
    assert sorted([*result.kept, *result.removed]) == list(range(60))
    assert set(result.removed_by) == {"slab", "l2"}
    gone = result.removed[result.removed_by == "slab"]
    assert np.isnan(result.scores[gone, 1]).all()
    assert not np.isnan(result.scores[result.kept]).any()
    second = linpoison.sanitize(
        Split(split.train.take(np.setdiff1d(np.arange(60), gone)), split.test), defenses="l2", remove=0.1
    )
    assert second.kept.size == result.kept.size


@pytest.mark.parametrize("sparse", [False, True])
def test_sanitized_rows_are_read_back(tmp_path, sparse):
    split = audit_cases.small_split()
    if sparse:
        split = Split(*(Dataset(sp.csr_array(part.X), part.y) for part in (split.train, split.test)))
    result = linpoison.sanitize(split, defenses="l2,loss", out=tmp_path / "kept.npz")
    with np.load(tmp_path / "kept.npz", allow_pickle=False) as stored:
        rows = (
            sp.csr_array((stored["data"], stored["indices"], stored["indptr"]), shape=stored["shape"]).toarray()
            if sparse
            else stored["X"]
        )
        expected = split.train.X[result.kept]
        assert np.array_equal(rows, expected.toarray() if sparse else expected)
        assert stored["removed"].tolist() == result.removed.tolist()
        assert stored["defenses"].tolist() == ["l2", "loss"]
        assert np.array_equal(stored["scores"], result.scores, equal_nan=True)


def test_sanitized_csv_is_a_data_file(tmp_path):
    split = audit_cases.small_split(feature_names=("a", "b", "c"))
    result = linpoison.sanitize(split, defenses="l2", out=tmp_path / "kept.csv")
    again = linpoison.load(str(tmp_path / "kept.csv"), test_fraction=0.5)
    assert again.train.n + again.test.n == result.kept.size
    assert again.train.feature_names == ("a", "b", "c")
    lines = (tmp_path / "kept.removed.csv").read_text().splitlines()
    assert lines[0] == "row,label,removed_by,score_l2"
    assert [int(line.split(",")[0]) for line in lines[1:]] == result.removed.tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.csv", "kept.removed.csv"]


def test_every_option_that_influences_is_in_the_report():
    report = linpoison.audit(
        audit_cases.small_split(), epsilon=0.1, defenses=("l2",), attacks="kkt", remove=0.1, variant="reference"
    )
    assert report.options["remove"] == 0.1
    assert report.options["variant"] == "reference"
    assert "jobs" not in report.options
    assert json.loads(report.to_json())["options"]["attacks"] == ["kkt"]


ONE_ROW = linpoison.Poison([[3.0] * 10], [-1], [12])
COMMANDS = {
    "audit": linpoison.audit,
    "budget": lambda data, *options, **keywords: linpoison.budget(data, "decoys", *options, **keywords),
    "certify": linpoison.certify,
    "evaluate": lambda data, *options, **keywords: linpoison.evaluate(data, ONE_ROW, *options, **keywords),
    "sanitize": linpoison.sanitize,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_an_object_or_keywords(name):
    command = COMMANDS[name]
    kinds = {"audit": AuditOptions, "certify": CertifyOptions, "evaluate": EvaluateOptions}
    options = kinds.get(name, LearnerOptions)()
    with pytest.raises(InputError, match="an object or as keywords, got both, with reg, model"):
        command("gaussians", options, reg=0.1, model="ridge")
    with pytest.raises(InputError, match=f"options as {type(options).__name__}, or as keywords, got a str"):
        command("gaussians", "svm")


def test_an_object_of_options_asks_what_its_keywords_ask():
    rows = linpoison.load("gaussians")
    split = linpoison.Split(rows.train.take(range(80)), rows.test.take(range(20)))
    told = {"model": "ridge", "reg": 0.3, "defenses": "l2", "remove": 0.1}
    reports = [
        linpoison.evaluate(split, ONE_ROW, EvaluateOptions(**told), epsilon=0.05),
        linpoison.evaluate(split, ONE_ROW, epsilon=0.05, **told),
    ]
    assert [report.model["reg"] for report in reports] == [0.3, 0.3]
    assert reports[0].command == reports[1].command
    assert reports[0].damages == reports[1].damages
    proofs = [
        linpoison.certify(split, CertifyOptions(epsilons=0.05, certificates="test-error", attacks="none", **told)),
        linpoison.certify(split, epsilon=0.05, certificates="test-error", attacks="none", **told),
    ]
    assert proofs[0].rungs == proofs[1].rungs
    assert proofs[0].command == proofs[1].command


@pytest.mark.parametrize("name", ["target", "model", "domain", "variant", "solver", "header", "label", "seed"])
def test_an_array_in_the_place_of_a_word_is_refused(name):
    with pytest.raises(InputError):
        linpoison.audit("gaussians", attacks="random-flips", defenses="l2", jobs=1, **{name: np.arange(3)})


def test_numbers_too_great_for_a_budget_are_refused():
    with pytest.raises(InputError, match="epsilon as numbers such as"):
        linpoison.certify("gaussians", epsilon=10**400)
