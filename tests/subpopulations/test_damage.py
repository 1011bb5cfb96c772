"""Damage, its interval, the null damage, and the study around them."""

from __future__ import annotations

import numpy as np
import pytest
from group_cases import blob_parts, clusters
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from linpoison.core import InputError
from linpoison.subpopulations import EstimatorTrainer, LabelFlip, correctness, measure_damage, study


def test_damage_is_the_drop_in_accuracy_inside_and_outside():
    mask = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    before = np.array([[1, 1, 1, 0, 1, 1, 1, 1, 0]], dtype=bool)
    after = np.array([[0, 0, 1, 0, 1, 1, 1, 1, 1]], dtype=bool)
    damage = measure_damage(before, after, mask)
    assert (damage.target.value, damage.collateral.value, damage.n_target) == (0.5, pytest.approx(-0.2), 4)


def test_interval_is_the_stated_formula():
    rng = np.random.default_rng(0)
    mask = np.arange(30) < 12
    before, after = rng.random((3, 30)) < 0.9, rng.random((4, 30)) < 0.6
    found = measure_damage(before, after, mask, level=0.9).target
    a, b = before[:, mask].astype(float), after[:, mask].astype(float)
    drops = a.mean(0) - b.mean(0)
    variance = drops.var(ddof=1) / 12 + a.mean(1).var(ddof=1) / 3 + b.mean(1).var(ddof=1) / 4
    assert found.high - found.low == pytest.approx(2 * 1.6448536 * np.sqrt(variance))
    assert found.value == pytest.approx((found.low + found.high) / 2)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    mask = np.arange(200) < 100
    for _ in range(300):
        before, after = rng.random((5, 200)) < 0.9, rng.random((5, 200)) < 0.7
        found = measure_damage(before, after, mask).target
        hits += found.low <= 0.2 <= found.high
    assert hits >= 0.93 * 300


@pytest.mark.parametrize("mask", [np.zeros(3, bool), np.ones(3, bool)])
def test_damage_needs_rows_on_both_sides(mask):
    with pytest.raises(InputError, match="inside|subpopulation"):
        measure_damage(np.ones((1, 3)), np.ones((1, 3)), mask)


def test_study_of_a_local_learner_hurts_the_group_alone():
    parts = blob_parts()
    trainer = EstimatorTrainer(KNeighborsClassifier(3))
    found = study(parts, clusters(), LabelFlip(), trainer, alphas=(0.5, 2.0), seeds=2)
    assert found.clean_accuracy == 1
    assert found.alphas == [0.5, 2.0]
    for group in found.at(2.0):
        assert group.damage.target.value > 0.35
        assert abs(group.damage.collateral.value) < 0.02
        assert group.n_poison == round(2.0 * group.n_auxiliary)
        assert group.null.target.value == 0
    assert found.worst(2, 2.0).damage > found.worst(2, 0.5).damage


def test_null_worst_of_a_random_learner_is_above_zero_and_unseen_is_not():
    class Coin:
        def fit(self, rows, seed):
            rng = np.random.default_rng([seed, rows.n])
            return type("Model", (), {"predict": lambda self, X: np.where(rng.random(len(X)) < 0.5, 1.0, -1.0)})()

    parts = blob_parts(400)
    found = study(parts, clusters().set_params(n_clusters=40), LabelFlip(label=1.0), Coin(), alphas=(1.0,), seeds=1)
    worst = found.worst(5, 1.0)
    assert worst.null > 0.1
    assert worst.damage > 0.1
    assert abs(worst.null_unseen) < worst.null
    assert abs(worst.unseen) < worst.damage


def test_halves_average_to_the_damage():
    found = study(blob_parts(), clusters(), LabelFlip(), EstimatorTrainer(LogisticRegression()), alphas=(2.0,), seeds=1)
    for group in found.groups:
        odd = group.damage.n_target // 2
        even = group.damage.n_target - odd
        total = (group.halves[0] * even + group.halves[1] * odd) / group.damage.n_target
        assert total == pytest.approx(group.damage.target.value)


def test_study_resumes_from_its_store():
    class Store(dict):
        def put(self, key, arrays):
            self[key] = arrays

    class Counting(EstimatorTrainer):
        fits = 0

        def fit(self, rows, seed):
            type(self).fits += 1
            return super().fit(rows, seed)

    store, steps = Store(), []
    trainer = Counting(MLPClassifier((4,), max_iter=20))
    options = {"alphas": (1.0,), "seeds": 1, "store": store, "progress": lambda *step: steps.append(step)}
    with pytest.warns(ConvergenceWarning):
        first = study(blob_parts(), clusters(), LabelFlip(), trainer, **options)
    fits = Counting.fits
    second = study(blob_parts(), clusters(), LabelFlip(), trainer, **options)
    assert Counting.fits == fits == 2 + 1 + 4  # clean and null, surrogate, four groups
    assert first == second
    assert steps[-1][:2] == (6, 6)


def test_study_leaves_out_groups_without_test_rows():
    with pytest.raises(InputError, match="at least 1000 test rows"):
        study(blob_parts(), clusters(), LabelFlip(), EstimatorTrainer(LogisticRegression()), least_test=1000)
    everyone = clusters().set_params(n_clusters=1)
    with pytest.raises(InputError, match="test rows outside it"):
        study(blob_parts(), everyone, LabelFlip(), EstimatorTrainer(LogisticRegression()))


def test_class_targeted_study_measures_that_class():
    parts = blob_parts()
    match = clusters().set_params(n_clusters=1).fit(parts.auxiliary)
    groups = [group.of_class(1.0) for group in match.subpopulations()]
    trainer = EstimatorTrainer(LogisticRegression(C=1e-3))
    found = study(parts, match, LabelFlip(), trainer, alphas=(2.0,), seeds=1, groups=groups)
    assert found.groups[0].damage.n_target == (parts.test.y == 1).sum()
    assert found.groups[0].damage.target.value > 0.9
    assert found.groups[0].damage.collateral.value <= 0


def test_correctness_of_every_model():
    parts = blob_parts()
    model = LogisticRegression().fit(parts.train.X, parts.train.y)
    assert correctness([model, model], parts.test).shape == (2, parts.test.n)
    assert correctness([model], parts.test).mean() == model.score(parts.test.X, parts.test.y)
