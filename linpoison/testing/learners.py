"""The contract of a learner: it minimises its problem, on weighted rows of any storage, from any start."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from ..core import Dataset, InputError, LinearModel, model_of
from ..learners import Learner, make_learner
from .holding import hold


def check_learner(learner: Learner, tol: float | None = 1e-4) -> None:
    """Hold a learner to what every attack, defence and report takes for granted.

    It minimises `Learner.problem` (the objective, on rows with weights, is at most `tol` above that of the conic
    reference), gives the same model for the same rows, takes sparse rows, lets a weight of 2 stand for two copies and 0
    for none, reaches the optimum from any start, and refuses rows of one class.

    Parameters
    ----------
    learner : Learner
    tol : float or None
        Largest excess of the objective; None for a learner that stops early on purpose.

    Raises
    ------
    AssertionError
        In one sentence, for the first thing that is not so.

    Examples
    --------
    >>> from linpoison.losses import Logistic, Problem
    >>> check_learner(make_learner(Problem(Logistic(), 0.1)))
    """
    data = _rows(learner)
    model = learner.fit(data)
    hold(np.shape(model.parameters) == _shape(learner, data), "a model of the shape of the rows", learner)
    hold(np.array_equal(model.parameters, learner.fit(data).parameters), "the same model of the same rows", learner)
    _refuses(learner, data)
    sparse = learner.fit(replace(data, X=sp.csr_array(data.X)))
    if tol is None:
        hold(np.allclose(sparse.parameters, model.parameters), "the same model of dense and of sparse rows", learner)
    else:
        _minimises(learner, data, {"dense rows": model, "sparse rows": sparse}, tol)
    again = pickle.loads(pickle.dumps(learner)).fit(data)
    hold(np.array_equal(model.parameters, again.parameters), "a copy by pickle that learns the same", learner)


def _minimises(learner: Learner, data: Dataset, models: dict[str, LinearModel], tol: float) -> None:
    """Every way to say the same rows, and every start, ends at the value of the reference."""
    copies = data.take(np.repeat(np.arange(data.n), data.weight.astype(int)))
    rng = np.random.default_rng(1)
    start = model_of(rng.normal(size=_shape(learner, data)))
    models = {
        **models,
        "copies in place of weights": learner.fit(replace(copies, weight=np.ones(copies.n))),
        "rows without those of weight 0": learner.fit(data.take(data.weight > 0)),
        "another start": learner.fit(data, start=start),
    }
    problem = learner.problem
    least = problem.value(make_learner(problem, method="reference").fit(data), data)
    for what, model in models.items():
        excess = problem.value(model, data) - least
        hold(
            excess <= tol * max(1.0, least), f"the least objective of its problem ({what}; {excess:.2g} above)", learner
        )


def _refuses(learner: Learner, data: Dataset) -> None:
    try:
        learner.fit(data.take(data.codes == 0))
    except InputError:
        return
    hold(False, "InputError for rows of one class", learner)


def _shape(learner: Learner, data: Dataset) -> tuple[int, ...]:
    return (data.k, data.d + 1) if learner.problem.many_classes else (data.d + 1,)


def _rows(learner: Learner) -> Dataset:
    """Overlapping classes of unequal sizes, off the origin, with weights 0 to 3."""
    rng = np.random.default_rng(0)
    many = learner.problem.many_classes
    codes = np.array([0, 0, 0, 1, 2, 2] if many else [0, 0, 1])[np.arange(48) % (6 if many else 3)]
    X = rng.normal(size=(48, 3)) + 1.2 * np.eye(3)[codes] + 0.7
    weight = (np.arange(48) * 5 % 4).astype(float)
    return Dataset.coded(X, codes, weight) if many else Dataset(X, 2.0 * codes - 1.0, weight)
