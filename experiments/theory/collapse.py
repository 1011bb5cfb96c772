"""Any poison as at most two points that plant the same model."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import lsq_linear

from linpoison.certificates.budget.target import Group
from linpoison.convex import solve
from linpoison.core.dataset import Dataset
from linpoison.core.errors import InputError, SolverFailed
from linpoison.core.model import LinearModel
from linpoison.core.poison import Poison
from linpoison.core.validation import LABELS, Array, as_matrix, as_weights, check_number
from linpoison.learners import make_learner
from linpoison.losses import Problem
from linpoison.optimality.stationarity import VANISHING, Stationarity

_LIGHT = 1e-9


def collapse(
    poison: Poison, train: Dataset, problem: Problem, model: LinearModel | None = None, *, kink_tolerance: float = 1e-5
) -> Poison:
    """The points of each class merged into one that pulls as they do.

    With ``psi = |phi'|`` at the margins under the learned model, poison of one class enters the condition of
    optimality as ``w = sum_i c_i psi_i`` and ``u = sum_i c_i psi_i x_i``, and so does the point ``u / w`` of weight
    ``w / psi(m)``, which is at most ``sum_i c_i`` since ``1 / psi`` is convex (Jensen). It is a mean of the points
    and hence in every convex set that holds them. Points of the squared loss are merged on either side of margin 1.

    Under mean scaling the weight that was saved would weaken the regulariser. For the hinge the poison keeps it,
    as one point of each class that does not pull (a mean of rows of margin at least 1, or of parts of rows on
    the kink; there are such rows whenever weight is saved). Other losses pull everywhere: there the points
    are those of the least weight in the hull of the rows that meets the condition with the weaker regulariser,
    by a conic program.

    Parameters
    ----------
    poison : Poison
        Any weights.
    train : Dataset
        Clean rows.
    problem : Problem
    model : LinearModel, optional
        What is learned from clean rows and poison; trained if left out.
    kink_tolerance : float, default 1e-5
        Rows this close to the kink may have any multiplier in [0, 1]; those that fit best are found.

    Returns
    -------
    Poison
        Dense, at most one row of each class (and side, for the squared loss), for the hinge under mean scaling
        at most one more of each class that pads the weight. Relaxed: weights are not whole.

    Raises
    ------
    CapabilityError
        If one over the pull of the loss is not known to be convex.
    SolverFailed
        If the merged points would not plant the model as the poison does.

    References
    ----------
    Koh, Steinhardt, Liang (2022), Theorem 1 and Propositions 7 and 8, where the padding is overlooked.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> train = Dataset([[1.0], [-1.0]], [1, -1])
    >>> poison = Poison([[2.0], [2.5], [-0.5]], [-1, -1, 1], [0.5, 0.5, 0.2])
    >>> collapse(poison, train, Problem(Hinge(), reg=2.0)).X.ravel().round(6)
    array([-0.5 ,  2.25])
    """
    problem.loss.require("pull_constraints")
    if poison.X.shape[1] != train.d:
        raise InputError(f"poison of {train.d} features", f"{poison.X.shape[1]}")
    poison = Poison(poison.X.toarray() if sp.issparse(poison.X) else poison.X, poison.y, poison.count)
    if model is None:
        rows = train.mix(poison.as_dataset()) if poison.total > 0 else train
        model = make_learner(problem, method="reference" if problem.loss.kink is not None else "auto").fit(rows)
    condition = Stationarity(train, problem, model, kink_tolerance)
    pull, multipliers = _pulls(condition, poison)
    before = _residual(condition, poison, pull, multipliers)
    if problem.loss.kink is None and problem.scaling == "mean" and poison.total > 0:
        return _least(condition, poison, pull, before)
    points, strengths = _merged(condition, poison, pull)
    after = _residual(condition, points, strengths, multipliers)
    if float(np.linalg.norm(after - before)) > VANISHING * condition.size:
        raise SolverFailed("expected merged points that pull like the poison, got others: there is a defect.")
    return points


def collapse_classes(
    X: Any, y: Any, count: Any, coef: Any, intercept: Any, *, kink_tolerance: float = 1e-5
) -> tuple[Array, Any, Array]:
    """The multi-class form for the hinge of Crammer and Singer: a point for each pair of label and strongest rival.

    Rows of label `i` whose loss is positive and whose strongest rival is `j` pull by ``(x, 1)`` on scores `j` and `i`
    alike. Their mean has the same rival and a positive loss, and carries their whole weight; rows without loss are
    merged into one for each label, which only weighs. Nothing is lost under either scaling.

    Parameters
    ----------
    X : array_like, shape (m, d)
    y : array_like of int, shape (m,)
        Labels 0 to k - 1.
    count : array_like, shape (m,)
    coef : array_like, shape (k, d)
        Of the model that is learned.
    intercept : array_like, shape (k,)
    kink_tolerance : float, default 1e-5
        Rows whose loss is this close to zero, or that have two rivals whose scores are this close, are kept as they
        are: the learner may weigh them in any way, and a model that was learned to some accuracy does not tell.

    Returns
    -------
    X, y, count : ndarray
        `y` whole numbers. At most ``k (k - 1)`` rows that pull and k that do not, beside those that are kept.

    Raises
    ------
    InputError
        If the parts do not fit each other, or the tolerance is negative.

    References
    ----------
    Koh, Steinhardt, Liang (2022), Proposition 10.
    """
    check_number(kink_tolerance, "kink_tolerance", at_least=0)
    rows = np.asarray(as_matrix(X, allow_empty=True))
    labels, weight = np.asarray(y, dtype=np.intp), as_weights(count, rows.shape[0], "count")
    matrix, shift = np.asarray(coef, dtype=np.float64), np.asarray(intercept, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != rows.shape[1] or shift.shape != matrix.shape[:1] or len(matrix) < 2:
        raise InputError(f"coef of shape (k, {rows.shape[1]}) and k intercepts", f"{matrix.shape} and {shift.shape}")
    if labels.shape != rows.shape[:1] or (labels.size and not 0 <= labels.min() <= labels.max() < len(matrix)):
        raise InputError(f"a label from 0 to {len(matrix) - 1} of each row", f"shape {labels.shape}")
    scores = rows @ matrix.T + shift
    own = scores[np.arange(labels.size), labels].copy()
    scores[np.arange(labels.size), labels] = -np.inf
    ordered = np.sort(scores, axis=1)
    excess = 1 + ordered[:, -1] - own
    loose = np.abs(excess) <= kink_tolerance
    if len(matrix) > 2:
        loose |= (ordered[:, -1] - ordered[:, -2] <= kink_tolerance) & (excess > 0)
    rival = np.where(excess > 0, scores.argmax(axis=1), -1)
    keys = np.column_stack([labels, rival, np.where(loose, np.arange(labels.size), -1)])[weight > 0]
    used, amount = rows[weight > 0], weight[weight > 0]
    kinds, place = np.unique(keys, axis=0, return_inverse=True)
    total = np.bincount(place.ravel(), weights=amount, minlength=len(kinds))
    means = np.zeros((len(kinds), rows.shape[1]))
    np.add.at(means, place.ravel(), amount[:, None] * used)
    return means / total[:, None], kinds[:, 0], np.asarray(total, dtype=np.float64)


def _pulls(condition: Stationarity, poison: Poison) -> tuple[Array, Array]:
    """``|phi'|`` with the side's sign at each poison row, and multipliers of the clean rows on the kink.

    At a kink any numbers in [0, 1] will do that meet the condition of optimality; least squares finds them.
    """
    loss = condition.problem.loss
    margins = poison.y * condition.decoy.decision_function(poison.X)
    pull = np.asarray(-loss.derivative(margins))
    multipliers = np.zeros(int(condition.on_kink.sum()))
    if loss.kink is None:
        return pull, multipliers
    near = np.abs(margins - loss.kink) <= condition.kink_tolerance
    pull[near] = 0.0
    rows = poison.X[near] * (poison.y * poison.count)[near, None] / condition.train.total
    own = -np.column_stack([rows, (poison.y * poison.count)[near] / condition.train.total]).T
    matrix = np.hstack([condition.kink_matrix.toarray(), own])
    if not condition.problem.fit_intercept:
        matrix[-1] = 0.0
    if matrix.shape[1]:
        found = lsq_linear(matrix, -_residual(condition, poison, pull, multipliers), bounds=(0, 1), tol=1e-14)
        multipliers, pull[near] = found.x[: multipliers.size], found.x[multipliers.size :]
    return pull, multipliers


def _residual(condition: Stationarity, poison: Poison, pull: Array, multipliers: Array) -> Array:
    """The condition of optimality with given pulls."""
    weight = poison.count * poison.y * pull / condition.train.total
    value = condition.residual({}, poison.total / condition.train.total, multipliers)
    value[:-1] -= poison.X.T @ weight
    value[-1] -= weight.sum() * condition.problem.fit_intercept
    return np.asarray(value)


def _merged(condition: Stationarity, poison: Poison, pull: Array) -> tuple[Poison, Array]:
    """One row for each class and side, and for the hinge under mean scaling the rest as padding; with their pulls."""
    loss, model = condition.problem.loss, condition.decoy
    rows, labels, counts, pulls = [], [], [], []
    for label in LABELS:
        of_class = (poison.y == label) & (poison.count > 0)
        for side in (1.0, -1.0):
            weight = np.where(of_class, poison.count * np.maximum(side * pull, 0.0), 0.0)
            total = float(weight.sum())
            if total <= _LIGHT * max(poison.total, _LIGHT):
                continue
            x = weight @ poison.X / total
            strength = 1.0
            if loss.kink is None:
                strength = abs(float(loss.derivative(np.array(label * (x @ model.coef + model.intercept)))))
            rows.append(x)
            labels.append(label)
            counts.append(total / strength)
            pulls.append(side * strength)
        spare = np.where(of_class, poison.count * (1 - np.clip(pull, 0.0, 1.0)), 0.0)
        left = float(spare.sum())
        if loss.kink is not None and condition.problem.scaling == "mean" and left > _LIGHT * poison.total:
            rows.append(spare @ poison.X / left)
            labels.append(label)
            counts.append(left)
            pulls.append(0.0)
    X = np.array(rows).reshape(-1, poison.X.shape[1])
    return Poison(X, np.array(labels), np.array(counts)), np.array(pulls)


def _least(condition: Stationarity, poison: Poison, pull: Array, before: Array) -> Poison:
    """The least weight in the hull of the rows that meets the condition as nearly as the poison does."""
    import cvxpy as cp

    loss, model, total = condition.problem.loss, condition.decoy, condition.train.total
    groups = [Group(label, side) for label in LABELS for side in loss.sides]
    groups = [g for g in groups if ((poison.y == g.label) & (g.side * pull > 0) & (poison.count > 0)).any()]
    share = poison.total / total
    c0, c1 = condition.penalty
    mass, value, rules, held = cp.Variable(nonneg=True), (condition.constant + c0 - before) / share, [], []
    value = value + mass * c1
    for g in groups:
        X = poison.X[(poison.y == g.label) & (g.side * pull > 0) & (poison.count > 0)]
        E = np.column_stack([X, np.ones(len(X))])
        alpha, weight = cp.Variable(len(X), nonneg=True), cp.Variable(nonneg=True)
        margin, sum_ = alpha @ (g.label * (E @ model.vector)), cp.sum(alpha)
        rules += loss.pull_constraints(sum_, loss.on_branch(g.side, margin, sum_), weight)
        value = value - g.sign * (E.T @ alpha)
        held.append((g, X, alpha, weight))
    value = value if condition.problem.fit_intercept else value[:-1]
    rules.append(sum(weight for *_, weight in held) <= mass)
    solve(cp.Problem(cp.Minimize(mass), [value == 0, *rules]))
    rows, labels, counts = [], [], []
    for g, X, alpha, _ in held:
        amount = np.maximum(alpha.value, 0.0)
        if amount.sum() > 1e-7 * max(float(mass.value), _LIGHT):
            x = amount @ X / amount.sum()
            strength = abs(float(loss.derivative(np.array(g.label * (x @ model.coef + model.intercept)))))
            rows.append(x)
            labels.append(g.label)
            counts.append(poison.total * float(amount.sum()) / strength)
    points = Poison(np.array(rows).reshape(-1, poison.X.shape[1]), np.array(labels), np.array(counts))
    after = _residual(condition, points, _pulls(condition, points)[0], np.zeros(0))
    if float(np.linalg.norm(after - before)) > VANISHING * condition.size:
        raise SolverFailed(
            "expected points that plant the model, got ones that weigh too little: every row pulls, and the "
            "regulariser follows the weight. State the problem with scaling 'sum'."
        )
    return points
