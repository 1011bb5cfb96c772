"""The contract of a defence: all keep it, and one that breaks a part of it is caught."""

from dataclasses import replace

import numpy as np
import pytest
from foreign import EveryOther, LargestEntry
from imblearn.under_sampling import EditedNearestNeighbours
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from linpoison.core import InputError
from linpoison.defenses import (
    DEFAULTS,
    DEFENSES,
    AllOf,
    KNNDefense,
    L2Defense,
    LossDefense,
    RangeDefense,
    SlabDefense,
    SpectralSignatures,
    SVDDefense,
    TrustedDefense,
    make_defense,
)
from linpoison.losses import Hinge, Logistic, Problem, Squared
from linpoison.sets import Ball
from linpoison.testing import check_defense

PROBLEM = Problem(Hinge(), 0.05)
NAMED = [(name, variant) for name in DEFAULTS for variant in ("paper", "reference")]
OTHERS = [(name, "paper") for name in DEFENSES if name not in DEFAULTS]
FOREIGN = [
    LargestEntry(0.1), EveryOther(), EditedNearestNeighbours(), IsolationForest(n_estimators=10), OneClassSVM(),
    LossDefense(estimator=Problem(Logistic(), 0.05)), LossDefense(0.1, estimator=Problem(Squared(), 0.05)),
    SVDDefense(0.1, energy=0.8), SpectralSignatures(0.1), L2Defense(0.2, center="median"),
    AllOf([L2Defense(), SlabDefense(0.1)]), AllOf([KNNDefense(), L2Defense()]), RangeDefense(),
]  # fmt: skip


@pytest.mark.parametrize(("name", "variant"), [*NAMED, *OTHERS])
@pytest.mark.parametrize("remove", [0.0, 0.05, 0.5])
def test_every_defence_of_a_name_keeps_it(name, variant, remove):
    problem = PROBLEM if name in DEFAULTS else replace(PROBLEM, loss=Logistic())  # no gradient jumps at a kink
    check_defense(make_defense(name, remove=remove, variant=variant, problem=problem))


@pytest.mark.parametrize("defense", FOREIGN, ids=lambda each: type(each).__name__)
def test_others_keep_it(defense):
    check_defense(defense)


def test_local_outlier_factors_keep_it_where_no_distances_are_equal():
    rng = np.random.default_rng(0)
    y = np.tile([1.0, -1.0], 30)
    check_defense(LocalOutlierFactor(novelty=True), rng.normal(size=(60, 4)) + y[:, None], y)


def test_a_defence_fitted_on_trusted_rows_keeps_it():
    rng = np.random.default_rng(0)
    rows = rng.poisson(2, (40, 6)) * 1.0, np.tile([1.0, -1.0], 20)
    check_defense(TrustedDefense(LargestEntry(0.1), rows))
    check_defense(TrustedDefense(AllOf([L2Defense(0.1), RangeDefense()]), rows))


class Wide(LargestEntry):
    """Its set is not what its threshold says."""

    def _set_of(self, code, threshold):
        return Ball(np.zeros(self.width_), threshold)


class Stuck(LargestEntry):
    """Its set is always that of its own threshold."""

    def _set_of(self, code, threshold):
        return super()._set_of(code, self.thresholds_[self.classes_[code]])


class Crowd(LargestEntry):
    """The score of a row depends on the rows it is asked with."""

    has_convex_set = False

    def _scores(self, X, codes):
        return super()._scores(X, codes) - X.mean()


class Greedy(LargestEntry):
    """Drops more than its quota says."""

    def n_dropped(self, n):
        return super().n_dropped(n) - 1


class Moody(LargestEntry):
    """Fit changes a parameter, and with it the next fit."""

    def _fit_detector(self, X, codes):
        super()._fit_detector(X, codes)
        self.scale = self.scale + 1


class Upside(LargestEntry):
    """Keeps the greatest scores."""

    def _finish(self, X, codes):
        super()._finish(X, codes)
        order = np.argsort(-self.decision_scores_)[: self.sample_indices_.size]
        self.sample_indices_ = np.sort(order)
        return self


class Dense(LargestEntry):
    """Scores CSR rows otherwise."""

    def _scores(self, X, codes):
        return super()._scores(X, codes) + 5.0 * hasattr(X, "nnz")


class Forgetful(LargestEntry):
    """Keeps other rows beside a defender."""

    def fit_beside(self, X, y, known, undefended):
        return self.set_params(remove=0.3).fit(X, y)


class Boastful(LargestEntry):
    """Has a set by its word alone."""

    has_convex_set = False


@pytest.mark.parametrize(
    ("defense", "words"),
    [
        (Crowd(0.1), "scores of a row that no other row moves"),
        (Greedy(0.1), r"4 rows of the class -1 dropped \(5 are\)"),
        (Moody(0.1), "parameters that fit leaves as they are"),
        (Upside(0.1), "kept rows of at most the threshold|dropped rows of at least"),
        (Dense(0.1), "the scores of CSR rows that dense ones have"),
        (Forgetful(0.1), "the same rows kept beside what a defender knows"),
        (Boastful(0.1), "a CapabilityError for a set that is not there"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_breach_is_caught(defense, words):
    with pytest.raises(AssertionError, match=f"expected .*({words})"):
        check_defense(defense)


def test_a_set_that_says_otherwise_is_caught_at_the_trial():
    with pytest.raises(InputError, match="a feasible_set of Wide that holds the rows below its threshold"):
        check_defense(Wide(0.1))


def test_a_set_that_is_wrong_at_other_thresholds_only_is_caught():
    with pytest.raises(AssertionError, match=r"a set of the rows that score no more than the threshold \(\d+ astray\)"):
        check_defense(Stuck(0.1))


def test_what_is_none_is_refused():
    with pytest.raises(InputError, match="got LocalOutlierFactor without score_samples"):
        check_defense(LocalOutlierFactor())
