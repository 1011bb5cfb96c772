"""Poison among given rows: a sequence of linear programs in their weights, with retraining in between."""

from __future__ import annotations

import numpy as np

from ..core.dataset import Dataset
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.validation import Array, check_integer, check_number
from ..influence import SoftError
from ..learners import Learner, make_learner
from ..learners.hessian import Hessian
from ..losses import Problem
from .decoys import Aim


def climb_rows(
    train: Dataset,
    problem: Problem,
    aim: Aim,
    rows: Dataset,
    count: int,
    *,
    shelter: float = 1.0,
    rounds: int = 10,
    learner: Learner | None = None,
) -> Poison:
    """Add the given rows that raise the error on the target most, a share of the budget at a time.

    ::

        maximise over c    sum_j c_j < -grad phi(theta; x_j, y_j),  H^(-1) grad J(theta) >
        subject to         0 <= c <= 1,  sum_j c_j <= count / rounds

        J(theta) = mean over the target of sigma(-margin)  -  shelter  mean over the others of sigma(-margin)

    at the model theta that is learned with the rows so far. Each linear program is solved by the rows of greatest
    gain. H is the Hessian of the clean objective; where the loss has no curvature, the regulariser alone.

    Parameters
    ----------
    train : Dataset
    problem : Problem
    aim : Aim
    rows : Dataset
        Candidates with the labels that they would get.
    count : int
    shelter : float, default 1.0
        What an error on the others costs, in errors on the target (both as shares).
    rounds : int, default 10
    learner : Learner, optional
        Of `problem`; the library's own by default.

    Returns
    -------
    Poison
        Whole copies, at most `count` and at most `rounds` of each row. None where no row has a positive gain.
    """
    check_integer(count, "count", at_least=1)
    check_integer(rounds, "rounds", at_least=1)
    check_number(shelter, "shelter", at_least=0)
    learner = learner or make_learner(problem)
    model, copies = learner.fit(train), np.zeros(rows.n)
    for size in np.diff(np.round(np.linspace(0, count, rounds + 1)).astype(int)):
        gain = row_gains(model, train, problem, aim, rows, shelter)
        best = np.argsort(-gain, kind="stable")[:size]
        best = best[gain[best] > 0]
        if not best.size:
            continue
        copies[best] += 1
        used = copies > 0
        model = learner.fit(train.mix(Dataset(rows.X[used], rows.y[used], copies[used])), start=model)
    used = copies > 0
    return Poison(rows.X[used], rows.y[used], copies[used])


def row_gains(model: LinearModel, train: Dataset, problem: Problem, aim: Aim, rows: Dataset, shelter: float) -> Array:
    """How fast J grows with the weight of each row, to first order; shape (n,)."""
    slope = SoftError(aim.target, 1.0).gradient(model) - shelter * SoftError(aim.others, 1.0).gradient(model)
    direction = _newton(model, train, problem, slope)
    pull = -problem.loss.derivative(model.margins(rows))
    return np.asarray(pull * rows.y * (rows.X @ direction[:-1] + direction[-1]))


def _newton(model: LinearModel, train: Dataset, problem: Problem, slope: Array) -> Array:
    reg = problem.reg_at(train.total)
    curvature = train.weight * problem.loss.second_derivative(model.margins(train)) / train.total
    if not curvature.any():
        return np.asarray(slope / reg * np.append(np.ones(train.d), float(problem.fit_intercept)))
    penalty = reg * problem.penalty_mask(train.d)
    return Hessian(train.X, curvature, penalty, fit_intercept=problem.fit_intercept, rtol=1e-6).solve(slope)
