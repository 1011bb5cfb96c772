"""What an audit says at the border: rows and estimators that do not fit, sizes that no solver can take, no damage."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from linpoison import AuditReport, InputError, Poison, audit, evaluate, sweep
from linpoison.auditing.certifying import CertifyOptions
from linpoison.auditing.inputs import load_split, prepare
from linpoison.auditing.options import AuditOptions, LearnerOptions
from linpoison.core import SolverFailed
from linpoison.core.writing import alone_in
from linpoison.datasets import load
from linpoison.reporting.words import cautions, finding

NAMES = ["a", "b", "c"]


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = pd.DataFrame(rng.normal(size=(60, 3)) + y[:, None], columns=NAMES)
    return X[:40], y[:40], X[40:], y[40:]


def test_frames_with_columns_in_another_order_are_refused(frames):
    X, y, X_test, y_test = frames
    with pytest.raises(InputError, match="columns of X_train in X_test, in the same order"):
        load_split((X, y, X_test[["c", "b", "a"]], y_test), LearnerOptions())


def test_an_estimator_of_another_width_is_refused(frames):
    X, y, _, _ = frames
    estimator = LogisticRegression().fit(X.to_numpy()[:, :2], y)
    with pytest.raises(InputError, match="data of 2 features, as the estimator was fitted on, got 3"):
        prepare(frames, LearnerOptions(estimator=estimator))


@pytest.mark.filterwarnings("error::UserWarning")
def test_preprocessing_that_was_fitted_on_a_frame_gets_its_columns_by_name(frames):
    X, y, X_test, _ = frames
    scaler = make_column_transformer((StandardScaler(), ["c", "a"]))
    estimator = make_pipeline(scaler, LogisticRegression()).fit(X[["c", "b", "a"]], y)
    setting = prepare(frames, LearnerOptions(estimator=estimator))
    np.testing.assert_allclose(setting.split.test.X, estimator[:-1].transform(X_test[["c", "b", "a"]]))


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_arrays_of_a_size_without_squares_are_refused(frames, factor):
    X, y, X_test, y_test = frames
    with pytest.raises(InputError, match="Rescale the features"):
        audit((X * factor, y, X_test * factor, y_test), jobs=1)


def test_a_file_of_features_too_small_is_refused(tmp_path, frames):
    X, y, _, _ = frames
    (X * 1e-200).assign(label=y).to_csv(tmp_path / "small.csv", index=False)
    with pytest.raises(InputError, match="features of at least 1e-150 in size in X of small.csv"):
        load(tmp_path / "small.csv")


def test_poison_of_a_size_without_squares_is_refused():
    with pytest.raises(InputError, match="features of at most 1e.150 in size in poison X"):
        evaluate("gaussians", Poison([[1e200] * 10], [1], [3]), defenses="l2")


def test_a_failed_attack_on_features_of_an_extreme_size_says_to_rescale(frames, monkeypatch):
    def fail(*_, **__):
        raise SolverFailed("expected a poison, got none.")

    monkeypatch.setattr("linpoison.attacks.kkt.KKT.run", fail)
    X, y, X_test, y_test = frames
    with pytest.raises(SolverFailed, match="got none. Or rescale the features"):
        audit((X * 1e8, y, X_test * 1e8, y_test), attacks="kkt", jobs=1)
    with pytest.raises(SolverFailed, match="got none.$"):
        audit(frames, attacks="kkt", jobs=1)


def test_the_headline_compares_the_best_defence_with_and_without_poison():
    entry = evaluate("gaussians", Poison([[3.0] * 10], [-1], [12]), defenses="l2").attacks[0]
    worst = entry.test_error_behind_all
    assert f"from 5.0 % to {100 * worst:.1f} % behind every filter" in finding(entry, {"none": 0.5, "l2": 0.05}, 0.03)
    assert "do no damage" in finding(entry, {"none": 0.01, "l2": worst}, 0.03)


def test_one_row_is_one_row():
    report = evaluate("gaussians", Poison([[3.0] * 10], [-1], [1]), defenses="l2")
    text = " ".join(report.to_text().split())
    assert "gainst this poison" in text
    assert "of its own (" not in text
    assert "attacks that were run" not in " ".join(report.advice)
    entry = report.attacks[0]
    worst = entry.test_error_behind_all
    told = finding(entry, {"none": 0.5, "l2": worst - 0.01}, 0.005)
    assert told.startswith("1 poison row (0.005 of the training rows) takes the error from ")
    told = finding(entry, {"none": 0.5, "l2": worst}, 0.005)
    assert told.startswith("1 poison row (0.005 of the training rows) does no damage: the error was ")
    assert " without it and is " in told
    assert "the error on the chosen row " in finding(entry, {"none": 0.5}, 0.005, 1)
    assert "the error on the 2 chosen rows " in finding(entry, {"none": 0.5}, 0.005, 2)
    two = replace(entry, n_poison=2, n_allowed=1, within_budget=False)
    assert finding(two, {"none": 0.0}, 0.01).startswith("2 poison rows (0.01 of the training rows) take")
    assert "2 rows where 1 is allowed" in cautions(two)[0]


@pytest.mark.parametrize("words", ["none,l2", ["l2", "none"]])
def test_no_defence_stands_alone(words):
    with pytest.raises(InputError, match="named once, got none twice"):
        AuditOptions(defenses="none,none")
    with pytest.raises(InputError, match="defenses by name, or 'none' alone, got .*'none' stands for no defence"):
        AuditOptions(defenses=words)
    with pytest.raises(InputError, match="attacks by name, or 'none' alone"):
        CertifyOptions(attacks="none,kkt")


@pytest.mark.parametrize("words", ["none", ["none"], (), None])
def test_no_defence_at_all(words):
    assert AuditOptions(defenses=words).defenses == ()


def test_an_output_folder_without_a_name_is_refused(frames):
    with pytest.raises(InputError, match="an output folder, got an empty name"):
        audit(frames, out="", jobs=1)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"out": 3}, "an output folder, got 3"),
        ({"certify": "no"}, "certify as True or False, got 'no'"),
        ({"penalize_intercept": "no"}, "penalize_intercept as True or False, got 'no'"),
    ],
)
def test_what_is_neither_a_folder_nor_a_flag_is_refused(frames, option, words):
    with pytest.raises(InputError, match=words):
        audit(frames, jobs=1, defenses="l2", **option)


def test_the_recorded_command_keeps_every_digit():
    report = evaluate("gaussians", Poison([[3.0] * 10], [-1], [12]), defenses="l2", reg=0.0123456789)
    assert "--reg 0.0123456789 " in report.command


def test_a_defence_that_cannot_tell_rows_apart_is_named():
    def words(data):
        report = evaluate(data, Poison([[3.0] * 10], [-1], [12]), defenses="l2,svd")
        return [line for line in report.reading if "arbitrary" in line]

    assert [line.split()[3] for line in words("gaussians")] == ["svd"]
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 10)) * 2.0 ** -np.arange(10.0) + y[:, None]
    assert not words((X, y, X, y))


@pytest.mark.parametrize("verb", ["evaluate", "sweep"])
def test_a_folder_to_which_another_run_is_writing_is_refused(verb, tmp_path):
    poison = Poison([[3.0] * 10], [-1], [12])
    (tmp_path / "kept").touch()
    calls = {
        "evaluate": lambda: evaluate("gaussians", poison, defenses="l2", out=tmp_path),
        "sweep": lambda: sweep("gaussians", attacks=["random-flips"], jobs=1, out=tmp_path),
    }
    with alone_in(tmp_path), pytest.raises(InputError, match="another run is writing"):
        calls[verb]()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_folder_has_the_poison_of_its_report_alone(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    y = np.where(X[:, 0] + rng.normal(size=50) > 0, 1, -1)
    data, cheap = (X[:30], y[:30], X[30:], y[30:]), {"attacks": "random-flips", "jobs": 1, "epsilon": 0.2}
    audit(data, out=tmp_path, defenses="l2,knn", **cheap)
    first = AuditReport.load(tmp_path).files
    (tmp_path / "poison-mine.npz").write_bytes(b"of the user")
    (tmp_path / "poison-slab.npz").write_bytes(b"named by the report before")
    report = AuditReport.load(tmp_path)
    replace(report, damages=[*report.damages, replace(report.damages[0], file="poison-slab.npz")]).save(tmp_path)
    again = audit(data, out=tmp_path, defenses="none", **cheap)
    assert {path.name for path in tmp_path.glob("poison*")} == {*again.files, "poison-mine.npz"}
    assert first
