"""A classifier with certificates: what it says of planted, replaced, flipped and inserted rows, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PowerTransformer, RobustScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from linpoison import CapabilityError, CertificateInvalid, CertifiedClassifier, InputError
from linpoison.certificates.clean.scaled import is_scaled
from linpoison.defenses import L2Defense, make_defense


def rows(n, seed):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2 == 0, 1, 0)
    return 3 + 0.8 * rng.normal(size=(n, 4)) * [1, 5, 0.2, 1] + 0.5 * (2 * y - 1)[:, None] * [1, 5, 0.2, 1], y


TRUSTED, (X, Y), (Z, _) = rows(40, 0), rows(60, 1), rows(30, 2)


SCALED = {
    "single precision": StandardScaler().fit_transform(X.astype(np.float32)),
    "beside dummies": np.column_stack([StandardScaler().fit_transform(X[:, :3]), X[:, 3] > 3]),
    "without means": StandardScaler(with_mean=False).fit_transform(X),
    "by n - 1": (X - X.mean(axis=0)) / X.std(axis=0, ddof=1),
    "quartiles": RobustScaler().fit_transform(X),
    "powers": PowerTransformer().fit_transform(X),
}
"""Rows that a scaler was fitted on."""


def fitted(**options):
    return CertifiedClassifier(trusted=TRUSTED, **options).fit(X, Y)


@parametrize_with_checks([CertifiedClassifier()])
def test_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize(("outside", "loss"), [("drop", "squared"), ("clip", "squared"), ("drop", "logistic")])
def test_answers_certified_at_the_number_of_planted_rows_are_those_of_clean_data(outside, loss):
    """Whatever is planted, wherever: retrained on the genuine rows, no certified answer is another one."""
    rng, clean, moved = np.random.default_rng(3), fitted(outside=outside, loss=loss), 0
    truth = clean.predict(Z)
    for count in (1, 2, 4) * 8:
        target = Z[rng.integers(len(Z))]
        planted = target + rng.choice([0.1, 1, 10]) * rng.normal(size=(count, 4))
        labels = np.full(count, rng.integers(2))
        place = rng.permutation(60 + count)
        dirty = CertifiedClassifier(loss, trusted=TRUSTED, outside=outside)
        dirty.fit(np.vstack([X, planted])[place], np.append(Y, labels)[place])
        held, answers = dirty.certify(Z, most=count), dirty.predict(Z)
        assert (answers == truth)[held >= count].all()
        assert (held >= count).mean() > 0.5
        moved += (answers != truth).sum()
    assert moved > 0


def test_answers_certified_against_replaced_rows_are_those_of_the_originals():
    rng, truth = np.random.default_rng(4), fitted().predict(Z)
    inside = fitted().kept_
    for count in (1, 2) * 6:
        gone = rng.choice(inside, size=count, replace=False)
        other_X, other_y = X.copy(), Y.copy()
        other_X[gone], other_y[gone] = Z[rng.integers(len(Z))] * rng.choice([1.0, 1.5]), rng.integers(2)
        dirty = CertifiedClassifier(trusted=TRUSTED).fit(other_X, other_y)
        held = dirty.certify(Z, "replaced", most=count)
        assert (dirty.predict(Z) == truth)[held >= count].all()
        assert (held >= count).any()


def test_inserted_rows_do_not_change_answers_certified_against_them():
    model = fitted()
    held = model.certify(Z, "inserted", most=6)
    assert held.max() == 6 > held.min()
    for row in np.flatnonzero((held > 0) & (held < 6))[:6]:
        worst = np.repeat(Z[row : row + 1], held[row], axis=0)
        label = 1 - model.predict(Z[row : row + 1])
        more = CertifiedClassifier(trusted=TRUSTED).fit(
            np.vstack([X, worst]), np.append(Y, np.repeat(label, held[row]))
        )
        assert more.predict(Z[row : row + 1]) == 1 - label


def test_flipped_labels_are_counted_exactly_without_sets():
    model = CertifiedClassifier().fit(X, Y)
    held = model.certify(Z, "flipped", most=59)
    assert held.min() < 5
    row = int(np.argmin(held))
    worst = model.certificate(Z[row : row + 1], held[row] + 1, "flipped")
    flipped = worst.witness["flipped"][0]
    for count, same in ((held[row], True), (held[row] + 1, False)):
        labels = Y.copy()
        labels[flipped[:count]] = 1 - labels[flipped[:count]]
        other = CertifiedClassifier().fit(X, labels)
        assert (other.predict(Z[row : row + 1]) == model.predict(Z[row : row + 1]))[0] == same


def test_an_average_over_parts_withstands_flips_and_nothing_else():
    model, whole = CertifiedClassifier(n_parts=3).fit(X, Y), CertifiedClassifier().fit(X, Y)
    held = model.certify(Z, "flipped", most=59)
    for count in (0, 3):
        np.testing.assert_array_equal(np.asarray(model.certificate(Z, count, "flipped").verify()) < 0, held >= count)
    assert (model.coef_ != whole.coef_).all()
    row = int(np.argmin(held))
    flips, labels = model.certificate(Z[[row]], held[row] + 1, "flipped").witness["flipped"][0], Y.copy()
    labels[flips] = 1 - labels[flips]
    assert CertifiedClassifier(n_parts=3).fit(X, labels).predict(Z[[row]]) != model.predict(Z[[row]])
    with pytest.raises(CapabilityError, match="n_parts=1"):
        model.certify(Z)
    with pytest.raises(CapabilityError, match="squared loss"):
        CertifiedClassifier("logistic", n_parts=3).fit(X, Y)
    with pytest.raises(InputError, match="both classes in every part"):
        CertifiedClassifier(n_parts=40).fit(X, Y)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("threat", ["planted", "replaced", "inserted"])
def test_certify_says_what_the_certificates_do(threat, loss):
    model = fitted(loss=loss)
    held = model.certify(Z, threat, most=4)
    for count in range(5):
        found = model.certificate(Z, count, threat)
        np.testing.assert_array_equal(np.asarray(found.verify()) < 0, held >= count)
    assert len(set(held)) > 1
    wrong = model.certificate(Z, 0, threat, y=1 - model.predict(Z))
    assert (np.asarray(wrong.bound) > 0).all()
    np.testing.assert_array_equal(model.certify(Z[::-1], threat, most=4), held[::-1])


def test_the_hinge_is_certified_by_programs():
    model = CertifiedClassifier("hinge").fit(*rows(8, 6))
    far = Z[np.argmax(np.abs(model.decision_function(Z)))][None]
    assert model.certify(far, most=1) == [1]
    assert model.certificate(far, 1).name == "deletions"


def test_scaler_and_sets_are_those_of_the_trusted_rows():
    model = fitted()
    np.testing.assert_allclose(model.center_, TRUSTED[0].mean(axis=0))
    np.testing.assert_allclose(model.scale_, 2 * TRUSTED[0].std(axis=0))
    scaled = (TRUSTED[0] - model.center_) / model.scale_
    detector = L2Defense().fit(scaled, TRUSTED[1])
    inside = [
        detector.feasible_set(y).contains(((x - model.center_) / model.scale_)[None])[0]
        for x, y in zip(X, Y, strict=True)
    ]
    np.testing.assert_array_equal(model.kept_, np.flatnonzero(inside))
    assert 0 < len(model.kept_) < 60
    far = CertifiedClassifier(trusted=TRUSTED).fit(np.vstack([X, 99 * Z[:5]]), np.append(Y, [0, 1, 0, 1, 0]))
    np.testing.assert_array_equal(far.coef_, model.coef_)


@pytest.mark.parametrize("name", ["slab", "l2"])
def test_a_defense_may_be_named(name):
    named, given = (fitted(defense=defense) for defense in (name, make_defense(name)))
    np.testing.assert_array_equal(named.coef_, given.coef_)


def test_rows_that_no_scaler_was_fitted_on_are_told_apart():
    rng = np.random.default_rng(0)
    counts, cents = rng.poisson(0.4, size=(40, 3)), np.round(rng.normal(size=(40, 3)), 2)
    for raw in (
        X,
        X.astype(np.float32),
        counts,
        cents,
        X - X.mean(axis=0),
        np.where(X > 3, 1.0, -1.0),
        X[:1],
        np.zeros((9, 2)),
    ):
        assert not is_scaled(np.asarray(raw, dtype=np.float64))


def test_trusted_rows_that_are_trained_on_all_count():
    tight = L2Defense(remove=0.5)
    model, plain = (fitted(defense=tight, learn_trusted=learn) for learn in (True, False))
    assert len(model._rows) == len(plain._rows) + 40
    np.testing.assert_array_equal(model._rows[-40:], (TRUSTED[0] - model.center_) / model.scale_)
    held = model.certify(Z, "inserted", most=4)
    assert (held >= plain.certify(Z, "inserted", most=4)).mean() > 0.8
    worst = np.repeat(Z[[np.argmin(held)]], 4, axis=0)
    for label in (0, 1):
        more = CertifiedClassifier(trusted=TRUSTED, defense=tight, learn_trusted=True)
        more.fit(np.vstack([X, worst]), np.append(Y, np.full(4, label)))
        assert (more.predict(Z) == model.predict(Z))[held == 4].all()


def test_it_is_cloned_and_stands_in_a_pipeline():
    pipe = Pipeline([("model", CertifiedClassifier(trusted=TRUSTED))])
    other = clone(pipe).fit(X, Y)
    np.testing.assert_array_equal(other.predict(Z), fitted().predict(Z))
    np.testing.assert_array_equal(other[-1].certify(Z, most=5), fitted().certify(Z, most=5))


def test_it_certifies_the_same_in_a_fresh_process(tmp_path):
    io = pytest.importorskip("skops.io")
    model = fitted()
    io.dump(model, tmp_path / "model.skops")
    np.save(tmp_path / "rows.npy", Z)
    code = (
        "import numpy as np, sys, skops.io as io; "
        "known = io.get_untrusted_types(file='model.skops'); "
        "model = io.load('model.skops', trusted=known); "
        "np.save('held.npy', model.certify(np.load('rows.npy'), most=5)); "
        "print(*known)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["linpoison.certificates.deployed.CertifiedClassifier"]
    np.testing.assert_array_equal(np.load(tmp_path / "held.npy"), model.certify(Z, most=5))


@pytest.mark.parametrize("part", ["center_", "scale_", "coef_", "_rows", "reg", "penalize_intercept"])
def test_whatever_was_changed_after_fitting_is_noticed(part):
    model = fitted()
    value = getattr(model, part)
    setattr(model, part, not value if isinstance(value, bool) else value * 1.001)
    with pytest.raises(CertificateInvalid, match="fit the classifier again"):
        model.certify(Z)


def test_answers_of_other_labels_are_noticed():
    model = fitted()
    model.classes_ = model.classes_[::-1]
    with pytest.raises(CertificateInvalid, match="fit the classifier again"):
        model.certify(Z)


@pytest.mark.parametrize(
    ("options", "data", "error", "words"),
    [
        ({"trusted": (X[:20], Y[:20])}, (X, Y), InputError, "20 that are"),
        ({"trusted": (X[:20].astype(np.float32), Y[:20])}, (X, Y), InputError, "20 that are"),
        ({"trusted": (X[:20], Y[:20])}, (X.astype(np.float32), Y), InputError, "20 that are"),
        ({"trusted": (X[:20], Y[:20])}, (pd.DataFrame(X, dtype=np.float32), Y), InputError, "20 that are"),
        ({"trusted": (pd.DataFrame(X[:20]).astype({0: np.float32}), Y[:20])}, (X, Y), InputError, "20 that are"),
        ({"trusted": (pd.DataFrame(X[:20]).astype({0: "Float32"}), Y[:20])}, (X, Y), InputError, "20 that are"),
        ({"trusted": (X[:20] * [1, 1, 1, -0.0], Y[:20])}, (X * [1, 1, 1, 0], Y), InputError, "20 that are"),
        ({"trusted": TRUSTED}, (StandardScaler().fit_transform(X * [1, 1, 1, 0]), Y), InputError, "no scaler"),
        ({"trusted": TRUSTED}, (StandardScaler().fit_transform(X), Y), InputError, "no scaler was fitted"),
        *(({"trusted": TRUSTED}, (rows, Y), InputError, "no scaler was fitted") for rows in SCALED.values()),
        ({"trusted": TRUSTED}, (1e300 * X, Y), InputError, "Rescale|kept of each class"),
        ({}, (1e300 * X, Y), InputError, "Rescale the features"),
        ({"trusted": TRUSTED, "defense": "slob"}, (X, Y), InputError, "slob"),
        ({"trusted": TRUSTED, "defense": 3}, (X, Y), CapabilityError, "got 3"),
        ({"trusted": TRUSTED[0]}, (X, Y), InputError, "trusted=.X, y."),
        ({"trusted": ([[1.0, 2.0], [3.0]], [0, 1])}, (X, Y), InputError, "inhomogeneous|sequence"),
        ({"trusted": (TRUSTED[0], np.zeros(40))}, (X, Y), InputError, "one label|2 classes|trusted rows of"),
        ({"outside": "keep"}, (X, Y), InputError, "drop"),
    ],
)
def test_what_would_void_the_guarantee_is_refused(options, data, error, words):
    with pytest.raises(error, match=words):
        CertifiedClassifier(**options).fit(*data)


@pytest.mark.parametrize(
    ("model", "threat", "error", "words"),
    [
        (fitted(), "flipped", CapabilityError, "threat='replaced'"),
        (fitted(), "moved", InputError, "a threat among planted"),
        (fitted(loss="squared_hinge"), "planted", CapabilityError, "hinge or logistic loss for deletions"),
        (
            CertifiedClassifier().fit(StandardScaler().fit_transform(X), Y),
            "planted",
            InputError,
            "no scaler was fitted",
        ),
        (CertifiedClassifier().fit(X, Y), "inserted", CapabilityError, "trusted="),
        (CertifiedClassifier().fit(X, Y), "replaced", CapabilityError, "trusted="),
    ],
)
def test_what_is_not_proved_is_refused(model, threat, error, words):
    with pytest.raises(error, match=words):
        model.certify(Z, threat)
