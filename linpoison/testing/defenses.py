"""The contract of a defence: scores, thresholds, sets and kept rows that agree, on rows of its own choice or yours."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone

from ..core import Array, CapabilityError, Dataset, InputError, Matrix
from ..defenses import Defense, as_defense, tried
from ..defenses.known import Known
from ..defenses.trial import rows_astray
from ..learners import make_learner
from ..losses import Hinge, Problem
from .holding import hold


def check_defense(defense: Any, X: Any = None, y: Any = None) -> Defense:
    """Hold what a defence promises.

    Parameters
    ----------
    defense : Defense or estimator
        As audits take it: see `linpoison.defenses.as_defense`.
    X : array_like, shape (n, d), optional
        Rows to fit it on; counts of 70 rows of 6 features by default.
    y : array_like, shape (n,), optional
        Labels -1 and 1.

    Returns
    -------
    Defense
        Fitted.

    Raises
    ------
    AssertionError
        In one sentence, for the first thing that is not so.

    Examples
    --------
    >>> from linpoison.defenses import L2Defense
    >>> check_defense(L2Defense(remove=0.1)).sample_indices_.size
    63
    """
    if X is None or y is None:
        X, y = _rows(0)
    X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    defense = as_defense(defense)
    fitted = tried(defense.title, defense, X, y)
    _estimator(defense, fitted, X, y)
    _kept(defense, fitted, y)
    if _scored(fitted, X, y):
        _sets(defense, fitted, X)
    _containers(defense, fitted, X, y)
    _beside(defense, fitted, X, y)
    _refusals(defense, X, y)
    return fitted


def _estimator(defense: Defense, fitted: Defense, X: Array, y: Array) -> None:
    """Parameters are those of the constructor; clones and pickles do the same again."""
    copy = clone(fitted)
    hold(not hasattr(copy, "decision_scores_"), "a clone that is not fitted", defense)
    names = set(defense.get_params(deep=False))
    hold(set(copy.get_params(deep=False)) == names, "a clone of the same parameters", defense)
    copy.set_params(**defense.get_params(deep=False))
    again = pickle.loads(pickle.dumps(copy)).fit(X, y)
    hold(np.array_equal(again.decision_scores_, fitted.decision_scores_), "the same scores of the same rows", defense)
    same = repr(fitted.get_params()) == repr(defense.get_params())
    hold(same, "parameters that fit leaves as they are", defense)
    after = pickle.loads(pickle.dumps(fitted))
    hold(np.array_equal(after.sample_indices_, fitted.sample_indices_), "a fitted state that can be pickled", defense)


def _kept(defense: Defense, fitted: Defense, y: Array) -> None:
    """Of each class the least scores stay, and as many go as the quota says."""
    stays = np.zeros(y.size, dtype=bool)
    stays[fitted.sample_indices_] = True
    for label in np.unique(y):
        mine, limit = y == label, fitted.thresholds_[label]
        scores = fitted.decision_scores_
        hold(bool((scores[mine & stays] <= limit).all()), "kept rows of at most the threshold", defense)
        if defense.drops_share:
            hold(bool((scores[mine & ~stays] >= limit).all()), "dropped rows of at least the threshold", defense)
            gone, quota = int((mine & ~stays).sum()), defense.n_dropped(int(mine.sum()))
            hold(gone == quota, f"{quota} rows of the class {label:g} dropped ({gone} are)", defense)


def _scored(fitted: Defense, X: Array, y: Array) -> bool:
    """Whether it scores rows that it was not fitted on; then alike, however they are asked about."""
    try:
        scores = fitted.decision_function(X, y)
    except CapabilityError as error:
        hold("\n" not in str(error), "one line on what it cannot do", fitted)
        return False
    one_by_one = [fitted.decision_function(X[[row]], y[[row]])[0] for row in range(0, y.size, 9)]
    hold(np.allclose(scores[::9], one_by_one, atol=1e-9), "scores of a row that no other row moves", fitted)
    return True


def _sets(defense: Defense, fitted: Defense, X: Array) -> None:
    """The set of a class holds the rows that score no more than the threshold, if there is a set."""
    if not defense.has_convex_set:
        try:
            fitted.feasible_set(1.0)
        except CapabilityError as error:
            return hold("\n" not in str(error), "one line on the set that is not there", defense)
        return hold(False, "a CapabilityError for a set that is not there", defense)
    fresh = np.vstack([X, X.mean(axis=0) + 1.7 * (X - X.mean(axis=0)), X[::-1] * 2.5])
    for label in (-1.0, 1.0):
        labels = np.full(len(fresh), label)
        scores = fitted.decision_function(fresh, labels)
        for threshold in (fitted.thresholds_[label], *np.quantile(scores, (0.2, 0.5, 0.8)).tolist()):
            astray = rows_astray(fitted, fresh, labels, {label: threshold})
            hold(not astray, f"a set of the rows that score no more than the threshold ({astray} astray)", defense)
    return None


def _containers(defense: Defense, fitted: Defense, X: Array, y: Array) -> None:
    """CSR rows score as dense ones, unless they are refused in one line."""
    rows: Matrix = sp.csr_array(X)
    try:
        sparse = clone(defense).fit(rows, y)
    except InputError as error:
        return hold("\n" not in str(error), "one line on sparse rows", defense)
    near = np.allclose(sparse.decision_scores_, fitted.decision_scores_, atol=1e-4)
    hold(near, "the scores of CSR rows that dense ones have", defense)
    kept, labels = clone(defense).fit_resample(rows, y)
    whole = sp.issparse(kept) and np.array_equal(labels, y[sparse.sample_indices_])
    return hold(whole, "kept rows in the container that they came in", defense)


def _beside(defense: Defense, fitted: Defense, X: Array, y: Array) -> None:
    """What a defender knows saves time and changes nothing, but for the model of the defender itself."""
    n, problem = y.size * 3 // 4, Problem(Hinge(), 0.05)
    known = Known(Dataset(X[:n], y[:n]), problem)
    model = make_learner(problem).fit(Dataset(X, y))
    for _ in range(2):
        beside = clone(defense).fit_beside(X, y, known, lambda: model)
        if not defense.caps_loss:
            same = np.array_equal(beside.sample_indices_, fitted.sample_indices_)
            hold(same, "the same rows kept beside what a defender knows", defense)


def _refusals(defense: Defense, X: Array, y: Array) -> None:
    for rows, labels in ((np.where(X.mean() < X, np.nan, X), y), (X, y[:-1]), (X[:, 0], y)):
        try:
            clone(defense).fit(rows, labels)
        except ValueError as error:
            hold("\n" not in str(error), "one line for rows that cannot be used", defense)
        else:
            hold(False, "an error for rows with NaN, of one axis, or without labels", defense)


def _rows(seed: int, n: int = 70, d: int = 6) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 3 == 0, 1.0, -1.0)
    return rng.poisson(1.5, (n, d)) + (y[:, None] > 0) * np.arange(d) / 3.0, y
