"""Which learner a problem gets."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ..core.errors import InputError
from ..losses import Hinge, Logistic, MarginLoss, Problem, Squared
from .base import Learner
from .library import LogisticLearner, RidgeLearner
from .multi import make_multi_learner
from .reference import ReferenceLearner
from .smooth import SmoothLearner
from .svm import HingeLearner

Method = Literal["auto", "quick", "rough", "follow", "reference"]

LEARNERS: dict[type[MarginLoss], type[Learner]] = {
    Hinge: HingeLearner,
    Logistic: LogisticLearner,
    Squared: RidgeLearner,
}
"""Losses with a faster learner than Newton's method or the conic reference, which any loss gets."""


def make_learner(problem: Problem, *, method: Method = "auto") -> Learner:
    """The learner of a problem.

    Parameters
    ----------
    problem : Problem
    method : {"auto", "quick", "rough", "follow", "reference"}, default "auto"
        ``auto``: the learner of the loss in `LEARNERS`, Newton's method for other losses of finite `smoothness`, and
        the conic reference for the rest. ``quick``, ``rough`` and ``follow``: the same with looser tolerances, where
        the learner has some (`Learner.tolerances`). ``quick`` is for searches that fit thousands of times (on Enron
        and IMDB test errors agree to a row or two, in a fraction of the time), ``rough`` for steps that are
        measured again, ``follow`` for ascents along derivatives. ``reference``: always the conic solver through cvxpy.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> learner = make_learner(Problem(Hinge(), reg=0.5))
    >>> learner.fit(Dataset([[-1.0], [1.0]], [-1, 1])).coef.round(6)
    array([1.])
    """
    if method not in get_args(Method):
        raise InputError(f"a method among {', '.join(get_args(Method))}", repr(method))
    if problem.many_classes:
        return make_multi_learner(problem, method)
    smooth = method != "reference" and np.isfinite(problem.loss.smoothness)
    kind = LEARNERS.get(type(problem.loss)) if method != "reference" else None
    learner = (kind or (SmoothLearner if smooth else ReferenceLearner))(problem)
    vars(learner).update(learner.tolerances.get(method, {}))
    return learner
