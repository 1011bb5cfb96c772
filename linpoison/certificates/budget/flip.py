"""The least budget found that makes the learner misclassify one row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...convex import solve
from ...core.dataset import Dataset
from ...core.errors import InfeasibleSet, InputError, SolverFailed
from ...core.model import LinearModel
from ...core.poison import Poison
from ...core.validation import check_number
from ...learners import Learner, make_learner
from ...losses import Problem
from ...sets import ByLabel
from ..certificate import Certificate
from .least import budget_poison, min_budget

_WEIGHTS = 24
_HALVINGS = 20


@dataclass(frozen=True, eq=False)
class Flip:
    """A poison that flips a row, and how it was found.

    Parameters
    ----------
    epsilon : float
        Mass of the poison, per clean row: an upper bound on the least budget that flips the row. Zero
        if the row is misclassified without any, infinite if none was found.
    margin : float
        The row's margin after retraining on clean rows and `poison`.
    model : LinearModel
        The target.
    certificate : Certificate
        Of `min_budget` for `model`. It bounds what this target costs, not what a flip costs.
    poison : Poison or None
    tried : dict of str to float
        The budget of each candidate.
    """

    epsilon: float
    margin: float
    model: LinearModel
    certificate: Certificate
    poison: Poison | None
    tried: dict[str, float] = field(default_factory=dict)


def budget_to_flip(
    train: Dataset,
    problem: Problem,
    sets: ByLabel,
    row: Dataset,
    *,
    margin: float = 1e-4,
    growths: Any = (0.0, 0.1, 0.5),
    kink_tolerance: float = 1e-3,
    method: Literal["auto", "conic", "structured"] = "auto",
) -> Flip:
    """Search for the model that misclassifies a row and costs least, and confirm it by retraining.

    Target and poison are not jointly convex, so that this is a search over candidates, each
    priced by `min_budget`:

    * the models of least clean loss among those with ``k (z . theta + b) <= -margin``, one for each `growth` of the
      regulariser (which poison strengthens under mean scaling);
    * the models learned from clean rows and the flipped row itself, at the least weight that suffices;
    * the mixtures of these with each other.

    What it returns is an attack: an upper bound beside which a pointwise certificate stands as the lower one.

    Parameters
    ----------
    train : Dataset
    problem : Problem
    sets : ByLabel
    row : Dataset
        One row with its true label.
    margin : float, default 1e-4
        How far beyond the boundary the targets put the row, relative to the greater of 1 and its clean margin.
    growths : sequence of float
    kink_tolerance, method
        As in `min_budget`.

    Raises
    ------
    InputError
        If there is not one row, or it does not fit.
    SolverFailed
        If no candidate could be priced.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> from linpoison.sets import Ball
    >>> train = Dataset([[1.0], [-1.0]], [1, -1])
    >>> sets = ByLabel({1: Ball([0.0], 2.0), -1: Ball([0.0], 2.0)})
    >>> found = budget_to_flip(train, Problem(Hinge(), 0.1, fit_intercept=False), sets, Dataset([[0.5]], [1]))
    >>> round(found.epsilon, 3), found.margin < 0  # a mass of 1 at 1 undoes the clean rows
    (0.5, True)
    """
    if row.n != 1 or row.d != train.d:
        raise InputError(f"one row of {train.d} features", f"{row.n} of {row.d}")
    margin = check_number(margin, "margin", above=0)
    exact = make_learner(problem, method="reference" if problem.loss.kink is not None else "auto")
    clean = exact.fit(train)
    now = float(clean.margins(row)[0])
    if now <= 0:
        proof = min_budget(train, problem, sets, clean, kink_tolerance=kink_tolerance, method=method)
        return Flip(0.0, now, clean, proof, Poison(np.zeros((0, train.d)), np.zeros(0), np.zeros(0)), {"clean": 0.0})
    depth = margin * max(1.0, now)
    found: list[tuple[float, str, LinearModel, Certificate]] = []
    for name, model in _mixed(list(_candidates(train, problem, row, clean, depth, growths))):
        try:
            proof = min_budget(train, problem, sets, model, kink_tolerance=kink_tolerance, method=method)
        except SolverFailed:
            continue
        found.append((float(proof.info["primal"]), name, model, proof))
    if not found:
        raise SolverFailed("expected a candidate that can be priced, got none.")
    return _confirmed(sorted(found, key=lambda item: item[0]), train, row, exact)


def _confirmed(
    found: list[tuple[float, str, LinearModel, Certificate]], train: Dataset, row: Dataset, learner: Learner
) -> Flip:
    """The cheapest candidate whose poison flips the row when the learner is trained on it."""
    tried = {name: price for price, name, _, _ in found}
    for price, _, model, proof in found:
        poison = budget_poison(proof)
        if not np.isfinite(price) or poison is None or poison.total == 0:
            continue
        after = float(learner.fit(train.mix(poison.as_dataset())).margins(row)[0])
        if after <= 0:
            return Flip(poison.total / train.total, after, model, proof, poison, tried)
    _, _, model, proof = found[0]
    return Flip(np.inf, float("nan"), model, proof, None, tried)


def _candidates(
    train: Dataset, problem: Problem, row: Dataset, clean: LinearModel, depth: float, growths: Any
) -> Iterator[tuple[str, LinearModel]]:
    for growth in growths:
        stronger = 1 + check_number(growth, "a growth", at_least=0)
        try:
            yield f"constrained {growth:g}", _constrained(train, problem, row, depth, stronger)
        except (InfeasibleSet, SolverFailed):
            continue
    flipped = _flipped(train, problem, row, depth)
    if flipped is not None:
        yield "flipped", flipped
    z = np.append(_dense(row), float(problem.fit_intercept))
    step = (float(clean.margins(row)[0]) + depth) / float(z @ z)
    yield "straight", LinearModel.from_vector(clean.vector - float(row.y[0]) * step * z)


def _mixed(models: list[tuple[str, LinearModel]]) -> Iterator[tuple[str, LinearModel]]:
    """The models and the middles of each pair: the row stays misclassified on all of them."""
    yield from models
    for i, (name, model) in enumerate(models):
        for other, second in models[:i]:
            yield f"{name} + {other}", LinearModel.from_vector((model.vector + second.vector) / 2)


def _constrained(train: Dataset, problem: Problem, row: Dataset, depth: float, stronger: float) -> LinearModel:
    """The least regularised loss on the clean rows with the row misclassified."""
    import cvxpy as cp

    theta = cp.Variable(train.d)
    intercept: Any = cp.Variable() if problem.fit_intercept else 0.0
    loss = (train.weight / train.total) @ problem.loss.expression(cp.multiply(train.y, train.X @ theta + intercept))
    penalty = cp.sum_squares(theta)
    if problem.fit_intercept and problem.penalize_intercept:
        penalty += cp.square(intercept)
    reg = stronger * problem.reg_at(train.total)
    wrong = float(row.y[0]) * (_dense(row) @ theta + intercept) <= -depth
    solve(cp.Problem(cp.Minimize(reg / 2 * penalty + loss), [wrong]))
    return LinearModel(theta.value, float(intercept.value) if problem.fit_intercept else 0.0)


def _flipped(train: Dataset, problem: Problem, row: Dataset, depth: float) -> LinearModel | None:
    """Learned with copies of the row under the other label, at the least weight that puts it beyond `depth`."""
    learner = make_learner(problem)

    def learned(weight: float) -> LinearModel:
        return learner.fit(train.mix(Dataset(row.X, -row.y, np.array([weight]))))

    high = train.total / 2**10
    for _ in range(_WEIGHTS):
        model = learned(high)
        if float(model.margins(row)[0]) <= -depth:
            break
        high *= 2
    else:
        return None
    low = high / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        at = learned(middle)
        if float(at.margins(row)[0]) <= -depth:
            high, model = middle, at
        else:
            low = middle
    return model


def _dense(row: Dataset) -> Any:
    return row.X.toarray().ravel() if row.is_sparse else np.asarray(row.X).ravel()
