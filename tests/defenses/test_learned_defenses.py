"""Defences that train or look at representations: planted poison is found where the papers say it is."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from linpoison.core import CapabilityError, Dataset, InputError
from linpoison.defenses import (
    RONI,
    SEVER,
    TRIM,
    ActivationClustering,
    InfluenceDefense,
    LinearRowLearner,
    MaxUp,
    SanitizedClassifier,
    SpectralSignatures,
)
from linpoison.defenses.spectral import top_direction
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared


def planted(n=100, m=12, seed=0):
    """Two blobs in five dimensions, and `m` poison rows of class 1 far out along one axis of the other class."""
    rng = np.random.default_rng(seed)
    y = np.repeat([1.0, -1.0], n)
    X = rng.normal(size=(2 * n, 5))
    X[:, 0] += 2.5 * y
    poison = rng.normal(size=(m, 5)) * 0.1 + np.array([-6.0, 6.0, 0, 0, 0])
    return np.vstack([X, poison]), np.append(y, np.ones(m)), np.arange(2 * n, 2 * n + m)


def flipped(n=100, m=12, seed=0):
    """The same blobs, and `m` rows of either under the wrong label."""
    X, y, _ = planted(n, 0, seed)
    rows = np.random.default_rng(seed + 1).choice(2 * n, m, replace=False)
    return np.vstack([X, X[rows]]), np.append(y, -y[rows]), np.arange(2 * n, 2 * n + m)


ALL = [
    SEVER(remove=0.1),
    TRIM(remove=12 / 212),
    SpectralSignatures(remove=0.15),
    ActivationClustering(n_components=2, silhouette=0.5),
    InfluenceDefense(remove=0.15),
]


@pytest.mark.parametrize("defense", ALL, ids=lambda d: type(d).__name__)
def test_planted_poison_is_found(defense):
    X, y, poison = flipped() if isinstance(defense, (TRIM, InfluenceDefense)) else planted()
    fitted = clone(defense).fit(X, y)
    dropped = np.setdiff1d(np.arange(len(y)), fitted.sample_indices_)
    assert np.isin(poison, dropped).mean() >= 0.75
    assert dropped.size <= 0.25 * len(y)


@pytest.mark.parametrize("defense", ALL, ids=lambda d: type(d).__name__)
def test_scores_follow_the_order_of_the_rows(defense):
    X, y, _ = planted()
    order = np.random.default_rng(3).permutation(len(y))
    first, second = clone(defense).fit(X, y), clone(defense).fit(X[order], y[order])
    finite = np.isfinite(first.decision_scores_[order]) & np.isfinite(second.decision_scores_)
    assert finite.mean() > 0.8
    assert np.allclose(first.decision_scores_[order][finite], second.decision_scores_[finite], atol=1e-5)


@pytest.mark.parametrize("defense", [*ALL, RONI()], ids=lambda d: type(d).__name__)
def test_one_interface_with_the_linear_sanitisers(defense):
    X, y, _ = planted(20, 3)
    names = np.where(y > 0, "yes", "no")
    options = {"trusted": (X[:6:2].tolist() + X[20:26:2].tolist(), ["yes"] * 3 + ["no"] * 3), "share": 0.7}
    defense = clone(defense).set_params(**(options if isinstance(defense, RONI) else {}))
    if isinstance(defense, RONI):
        defense.set_params(draws=1, trusted=(X[[0, 20, 1, 21, 2, 22]], names[[0, 20, 1, 21, 2, 22]]), random_state=1)
    kept, labels = defense.fit_resample(X, names)
    assert kept.shape == (labels.size, 5)
    assert defense.decision_scores_.shape == y.shape
    assert set(defense.thresholds_) == {"yes", "no"}
    assert defense.decision_function(X[:4], names[:4]).shape == (4,)
    if not isinstance(defense, SpectralSignatures):
        with pytest.raises(CapabilityError, match="convex"):
            defense.feasible_set("yes")
    model = SanitizedClassifier(defense).fit(X, names)
    assert set(model.predict(X)) <= {"yes", "no"}


def test_sever_scores_are_the_singular_vector_of_the_gradients():
    X, y, _ = planted()
    learner = LinearRowLearner(Problem(Logistic(), 0.05))
    sever = SEVER(remove=0.02, learner=learner, rounds=1, per_class=False).fit(X, y)
    gradients = learner.fit(X, y).gradients(X, y)
    left, sizes, _ = np.linalg.svd(gradients - gradients.mean(axis=0), full_matrices=False)
    assert np.allclose(sever.decision_scores_, (left[:, 0] * sizes[0]) ** 2, rtol=1e-8)
    per_class = SEVER(remove=0.02, learner=learner, rounds=1).fit(X, y)
    mine = gradients[y > 0]
    left, sizes, _ = np.linalg.svd(mine - mine.mean(axis=0), full_matrices=False)
    assert np.allclose(per_class.decision_scores_[y > 0], (left[:, 0] * sizes[0]) ** 2, rtol=1e-8)


def test_sever_recovers_a_planted_direction():
    rng = np.random.default_rng(0)
    direction = np.array([0.6, 0.8, 0.0])
    rows = 0.1 * rng.normal(size=(200, 3)) + np.outer(rng.normal(size=200), 3 * direction)
    _, found, size = top_direction(rows)
    assert abs(found @ direction) > 0.999
    assert size == pytest.approx(np.linalg.svd(rows - rows.mean(axis=0))[1][0])


def test_gradients_and_hessian_are_those_of_the_problem():
    X, y, _ = planted(30, 2)
    problem = Problem(Logistic(), 0.05)
    rows = LinearRowLearner(problem).fit(X, y)
    data = Dataset(X, y)
    assert np.allclose(rows.gradients(X, y).mean(axis=0), problem.data_gradient(rows.model, data))
    v, step = np.random.default_rng(0).normal(size=6), 1e-5
    shifted = [type(rows.model).from_vector(rows.model.vector + s * step * v) for s in (1, -1)]
    slope = (problem.gradient(shifted[0], data) - problem.gradient(shifted[1], data)) / (2 * step)
    assert np.allclose(rows.hessian(X, y) @ v, slope, atol=1e-7)


def test_self_influence_is_the_growth_of_the_own_loss_when_left_out():
    X, y, _ = planted(60, 4)
    problem = Problem(Logistic(), 0.1)
    defense = InfluenceDefense(learner=problem).fit(X, y)
    full = make_learner(problem).fit(Dataset(X, y))
    for i in (0, 30, 70):
        weight = np.ones(len(y))
        weight[i] = 0
        total, pinned = len(y), Problem(Logistic(), 0.1 * len(y) / (len(y) - 1))
        without = make_learner(pinned).fit(Dataset(X, y, weight))
        loss = [problem.loss.value(y[i] * m.decision_function(X[[i]]))[0] for m in (without, full)]
        assert defense.decision_scores_[i] == pytest.approx(total * (loss[0] - loss[1]), rel=0.2)


def test_influence_on_trusted_rows_is_the_fall_of_their_loss_when_a_row_is_left_out():
    X, y, _ = planted(60, 4)
    trusted, problem = planted(20, 0, seed=1)[:2], Problem(Logistic(), 0.1)
    defense = InfluenceDefense(learner=problem, trusted=trusted).fit(X, y)
    full = make_learner(problem).fit(Dataset(X, y))
    for i in (0, 30, 70, len(y) - 1):
        weight = np.ones(len(y))
        weight[i] = 0
        without = make_learner(problem).fit(Dataset(X, y, weight))
        loss = [problem.loss.value(trusted[1] * m.decision_function(trusted[0])).mean() for m in (full, without)]
        assert defense.decision_scores_[i] == pytest.approx(len(y) * (loss[0] - loss[1]), rel=0.2, abs=0.02)


def test_influence_needs_labels_of_the_trusted_rows_that_it_knows():
    X, y, _ = planted(20, 2)
    with pytest.raises(InputError, match="labels among"):
        InfluenceDefense(trusted=(X[:3], np.array([1, -1, 5]))).fit(X, y)


def test_trim_refits_on_the_kept_rows_and_lowers_its_objective():
    X, y, poison = planted()
    problem = Problem(Logistic(), 0.05)
    trim = TRIM(remove=len(poison) / len(y), learner=problem).fit(X, y)
    kept = trim.sample_indices_
    assert kept.size == len(y) - len(poison)
    by_hand = make_learner(problem).fit(Dataset(X[kept], y[kept]))
    assert trim.model_.model.distance(by_hand) < 1e-5
    one = TRIM(remove=len(poison) / len(y), learner=problem, rounds=1).fit(X, y)
    assert np.sort(trim.decision_scores_)[: kept.size].sum() <= np.sort(one.decision_scores_)[: kept.size].sum()


def test_trim_makes_a_subpopulation_attack_worse():
    """Figure 2 of Jagielski et al. (2021): three groups of 20, 30 poison rows on the second."""
    from figure2 import three_groups

    X, y, n_clean, second = three_groups(0)
    problem = Problem(Logistic(), 1e-3)
    poisoned = make_learner(problem).fit(Dataset(X, y))
    trim = TRIM(remove=30 / len(y), learner=problem).fit(X, y)
    kept = trim.sample_indices_
    after = make_learner(problem).fit(Dataset(X[kept], y[kept]))
    dropped = np.setdiff1d(np.arange(len(y)), kept)
    errors = [model.error(Dataset(X[second], y[second])) for model in (poisoned, after)]
    assert errors[1] >= errors[0]
    assert errors[1] == 1
    assert np.isin(second, dropped).mean() > 0.5
    losses = [problem.loss.value(model.margins(Dataset(X[second], y[second]))).mean() for model in (poisoned, after)]
    assert losses[1] > losses[0]
    assert n_clean == 60


def test_a_network_feeds_its_own_gradients_and_features():
    class Table:
        """Gradients from a table, as a network would compute them."""

        def fit(self, X, y):
            return self

        def losses(self, X, y):
            return np.abs(X[:, 0])

        def gradients(self, X, y):
            return X[:, :2]

    X = np.random.default_rng(0).normal(size=(50, 3))
    X[7] = [40.0, 0.0, 0.0]
    y = np.arange(50) % 3
    assert 7 not in SEVER(remove=0.1, learner=Table(), rounds=1, per_class=False).fit(X, y).sample_indices_
    assert TRIM(remove=0.02, learner=Table()).fit(X, y).sample_indices_.size == 49
    seen = SpectralSignatures(remove=0.1, representation=lambda rows: rows[:, :1]).fit(X, y)
    assert 7 not in seen.sample_indices_
    with pytest.raises(CapabilityError):
        seen.feasible_set(0)


def test_spectral_signatures_tell_their_set():
    X, y, _ = planted()
    fitted = SpectralSignatures().fit(X, y)
    for label in (-1.0, 1.0):
        rows = X[y == label]
        passed = fitted.decision_function(rows, np.full(len(rows), label)) <= fitted.thresholds_[label]
        assert np.array_equal(fitted.feasible_set(label).contains(rows), passed)


def test_activation_clustering_keeps_one_cloud():
    rows = np.random.default_rng(0).normal(size=(300, 12))
    fitted = ActivationClustering(silhouette=0.3).fit(rows, np.ones(300))
    assert fitted.sample_indices_.size == 300
    assert fitted.silhouettes_[0] < 0.3
    assert ActivationClustering().fit(np.zeros((5, 2)), np.ones(5)).sample_indices_.size == 5


def test_activation_clusters_are_those_of_independent_components_and_a_constant_column_changes_none():
    from sklearn.decomposition import FastICA
    from sklearn.metrics import silhouette_score

    rng = np.random.default_rng(1)
    rows = rng.laplace(size=(120, 6)) @ rng.normal(size=(6, 6)) + np.repeat([0.0, 9.0], [100, 20])[:, None]
    fitted = ActivationClustering(n_components=4).fit(rows, np.ones(120))
    points = FastICA(4, whiten="unit-variance", random_state=0, tol=1e-2).fit_transform(rows)
    found = fitted.decision_scores_
    assert 15 <= found.sum() <= 25
    assert fitted.silhouettes_[0] == pytest.approx(silhouette_score(points, found))
    with_constant = np.column_stack([np.zeros(120), rows])
    again = ActivationClustering(n_components=4).fit(with_constant, np.ones(120))
    assert np.array_equal(again.decision_scores_, found)


def backdoored(seed):
    """Digits with threes under the label five, a corner lit: a tenth of the fives; and what a network's units say."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    X, y = load_digits(return_X_y=True)
    fives, threes = np.flatnonzero(y == 5), np.flatnonzero(y == 3)
    m = round(fives.size / 9)
    marked = X[np.random.default_rng(seed).choice(threes, m, replace=False)].reshape(-1, 8, 8) / 16
    marked[:, [7, 7, 6], [7, 6, 7]] = 2.0
    X, y = np.vstack([X / 16, marked.reshape(m, -1)]), np.append(y, np.full(m, 5))
    net = MLPClassifier((64,), max_iter=30, random_state=seed).fit(X, y)
    return X, y, np.arange(len(y) - m, len(y)), lambda rows: np.maximum(rows @ net.coefs_[0] + net.intercepts_[0], 0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of the network
def test_activation_clustering_finds_a_backdoor_at_its_published_setting():
    """15 components, a silhouette of 0.10 and the criterion of relative size: in two trainings of three."""
    found, clean = [], []
    for seed in range(3):
        X, y, poison, units = backdoored(seed)
        defense = ActivationClustering(units, n_components=15, silhouette=0.1, largest_share=0.35)
        kept = defense.fit(X, y).sample_indices_
        found.append(1 - np.isin(poison, kept).mean())
        clean.append(1 - (kept.size - np.isin(poison, kept).sum()) / (len(y) - len(poison)))
    assert np.median(found) == 1.0
    assert max(clean) < 0.05


def test_a_cloud_in_few_components_is_cut_in_two_unless_its_share_is_bounded():
    rows = np.random.default_rng(0).normal(size=(300, 3))
    cut = ActivationClustering(n_components=3).fit(rows, np.ones(300))
    assert cut.silhouettes_[0] > 0.15
    assert cut.sample_indices_.size < 200
    assert ActivationClustering(n_components=3, largest_share=0.35).fit(rows, np.ones(300)).sample_indices_.size == 300


def test_roni_rejects_what_hurts_held_out_rows():
    X, y, poison = planted(40, 4)
    trusted = np.r_[0:20, 40:60]
    roni = RONI((X[trusted], y[trusted]), remove=0.1, draws=2).fit(X, y)
    assert np.isin(poison, roni.sample_indices_).sum() == 0
    assert roni.decision_scores_[poison].min() > np.median(roni.decision_scores_)


def test_maxup_minimises_the_worst_of_its_copies():
    X, y, _ = planted(50, 0)
    problem = Problem(Logistic(), 0.01)
    model = MaxUp(problem, copies=6, sigma=0.8).fit(X, y)
    plain = MaxUp(problem, copies=6, sigma=0.8, rounds=1).fit(X, y)
    assert model.objective_ <= plain.objective_
    assert np.linalg.norm(model.model_.model.coef) < np.linalg.norm(make_learner(problem).fit(Dataset(X, y)).coef)
    still = MaxUp(problem, sigma=0.0).fit(X, y)
    assert still.model_.model.distance(make_learner(problem).fit(Dataset(X, y))) < 1e-6
    assert (model.predict(X) == y).mean() > 0.9


@pytest.mark.parametrize(
    ("defense", "text"),
    [
        (TRIM(rounds=0), "rounds"),
        (SEVER(learner=3), "a Problem, or"),
        (RONI(), "trusted"),
        (ActivationClustering(silhouette=2), "silhouette"),
        (ActivationClustering(largest_share=0), "largest_share"),
        (MaxUp(copies=0), "copies"),
        (TRIM(remove=0.95), "every class|at least one row"),
    ],
)
def test_options_out_of_range(defense, text):
    X = np.array([[-1.0], [-2.0], [1.0], [50.0]])
    with pytest.raises(InputError, match=text):
        defense.fit(X, np.array([0, 0, 1, 1]))


def test_influence_needs_the_linear_core_and_three_classes_need_a_learner():
    X = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(InputError, match="two classes"):
        TRIM().fit(X, np.arange(9) % 3)
    with pytest.raises(InputError, match="two classes"):
        MaxUp().fit(X, np.arange(9) % 3)


@pytest.mark.parametrize("loss", [Hinge(), Squared()], ids=["hinge", "squared"])
def test_trim_for_other_losses(loss):
    X, y, poison = flipped()
    kept = TRIM(remove=len(poison) / len(y), learner=Problem(loss, 0.05)).fit(X, y).sample_indices_
    assert np.isin(poison, kept).sum() <= 3
