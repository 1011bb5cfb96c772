"""Damage, its interval, the null damage, and the study around them."""

from __future__ import annotations

import numpy as np
import pytest
from group_cases import blob_parts, clusters
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from linpoison.attacks.groups import LabelFlip
from linpoison.core import InputError
from linpoison.subpopulations import EstimatorTrainer, correctness, measure_damage, paired_interval, study


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
    drops = np.append(a.mean(0) - b.mean(0), [0.5, -0.5, 0.5, -0.5])  # squares of a pair of halves: one half row each
    middle = drops.sum() / 14
    rows = ((drops**2).sum() / 14 - middle**2) / 14
    spread = 1.6448536 * np.sqrt(rows + a.mean(1).var(ddof=1) / 3 + b.mean(1).var(ddof=1) / 4)
    assert (found.low, found.high) == (pytest.approx(middle - spread), pytest.approx(middle + spread))
    assert found.value == pytest.approx(drops[:12].mean())


@pytest.mark.parametrize("rows", [5, 10, 20, 50])
@pytest.mark.parametrize(("lost", "won"), [(0.02, 0.01), (0.1, 0.02), (0.3, 0.1), (0.6, 0.05), (0.95, 0.0)])
def test_interval_of_a_small_group_covers_the_truth(rows, lost, won):
    rng, hits, mask = np.random.default_rng([rows, round(100 * lost)]), 0, np.arange(rows + 2) < rows
    for _ in range(400):
        draw = rng.random((1, rows + 2))
        before, after = 1.0 * (draw < 1 - won), 1.0 * (draw >= lost)
        found = measure_damage(before, after, mask).target
        assert -1 <= found.low <= found.value <= found.high <= 1
        hits += found.low <= lost - won <= found.high
    assert hits >= 0.88 * 400  # the plain interval covers as little as 0.14


@pytest.mark.parametrize("drop", [0.0, 1.0])
def test_interval_has_a_width_where_all_rows_drop_alike(drop):
    found = measure_damage(np.ones((1, 8)), np.full((1, 8), 1 - drop), np.arange(8) < 7).target
    assert found.value == drop
    assert found.low <= drop <= found.high
    assert found.high - found.low > 0.3


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    mask = np.arange(200) < 100
    for _ in range(300):
        before, after = rng.random((5, 200)) < 0.9, rng.random((5, 200)) < 0.7
        found = measure_damage(before, after, mask).target
        hits += found.low <= 0.2 <= found.high
    assert hits >= 0.93 * 300


def test_interval_of_a_paired_difference():
    z = norm.ppf(0.975)
    low, high = paired_interval(np.repeat([1.0, -1.0, 0.0], [12, 2, 84]), z)
    assert (low + high) / 2 == pytest.approx(10 / 100)
    assert (high - low) / 2 == pytest.approx(z * np.sqrt(15 - 1) / 100)
    assert paired_interval(np.ones(5), z)[1] <= 1
    assert paired_interval(np.zeros(10), z)[0] < 0 < paired_interval(np.zeros(10), z)[1]


@pytest.mark.parametrize("truth", [0.0, 0.1])
def test_intervals_cover_what_they_should(truth):
    rng, z, covered = np.random.default_rng(0), norm.ppf(0.975), []
    for _ in range(400):
        change = rng.choice([1.0, -1.0, 0.0], p=[0.05 + truth, 0.05, 0.9 - truth], size=40)
        low, high = paired_interval(change, z)
        covered.append(low <= truth <= high)
    assert np.mean(covered) >= 0.93


def test_interval_of_any_level_holds_the_mean():
    for z in (0.1, 0.7, 1.2, 1.96):
        for drops in (np.ones(1), np.ones(9), -np.ones(40), np.zeros(3), np.array([1.0, 1.0, -1.0])):
            low, high = paired_interval(drops, z)
            assert -1 <= low <= drops.mean() <= high <= 1


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


def test_the_rate_is_that_of_the_poisons_class_in_the_group():
    parts, trainer = blob_parts(), EstimatorTrainer(KNeighborsClassifier(3))
    match = clusters().fit(parts.auxiliary)
    group, surrogate = match.subpopulations()[0], trainer.fit(parts.auxiliary, 0)
    found = study(parts, match, LabelFlip(), trainer, alphas=(2.0,), seeds=2, groups=[group]).groups[0]
    poison = [LabelFlip().poison(parts.auxiliary, group, found.n_poison, surrogate, seed) for seed in (0, 1)]
    assert {found.poison_class} == {label for rows in poison for label in rows.y}
    own = parts.test.take(group.mask(parts.test))
    models = [[trainer.fit(parts.train, 0)], [trainer.fit(parts.train.mix(rows), 0) for rows in poison]]
    rates = [np.mean([model.predict(own.X) == found.poison_class for model in some]) for some in models]
    assert found.rates == pytest.approx(tuple(rates))
    assert found.rates[1] > 0.35 > found.rates[0]


def test_a_prediction_that_is_no_class_is_wrong():
    class Odd:
        def fit(self, rows, seed):
            return type("Model", (), {"predict": lambda self, X: np.full(len(X), 0.3)})()

    found = study(blob_parts(), clusters(), LabelFlip(label=1.0), Odd(), alphas=(1.0,), seeds=1)
    assert found.clean_accuracy == 0
    assert all(group.rates == (0, 0) for group in found.groups)


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
