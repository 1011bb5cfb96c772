"""Which learner a problem gets."""

from __future__ import annotations

from typing import Literal

from ..core.errors import InputError
from ..losses import Hinge, Logistic, Problem, Squared
from .base import Learner
from .logistic import LogisticLearner
from .reference import ReferenceLearner
from .ridge import RidgeLearner
from .smooth import SmoothLearner
from .svm import HingeLearner

Method = Literal["auto", "quick", "reference"]

LOOSE = (1e-2, 1e-3)
"""liblinear's tolerances of ``quick``."""
LOOSE_PASSES, LOOSE_GAP = 200, 1e-5
"""liblinear's passes of ``quick`` (some 60 are usual), and the relative duality gap that it allows beyond them."""

_FAST: dict[type, type[Learner]] = {Hinge: HingeLearner, Logistic: LogisticLearner, Squared: RidgeLearner}


def make_learner(problem: Problem, *, method: Method = "auto") -> Learner:
    """The learner of a problem.

    Parameters
    ----------
    problem : Problem
    method : {"auto", "quick", "reference"}, default "auto"
        ``auto``: scikit-learn's solver for the loss, scipy's for other smooth losses, and the
        conic reference for any other loss. ``quick``: the same with loose tolerances for the hinge,
        for searches that fit thousands of times (on Enron and IMDB test errors agree to a row or
        two, in a fraction of the time). ``reference``: always the conic solver through cvxpy.

    Returns
    -------
    Learner

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> learner = make_learner(Problem(Hinge(), reg=0.5))
    >>> learner.fit(Dataset([[-1.0], [1.0]], [-1, 1])).coef.round(6)
    array([1.])
    """
    if method not in ("auto", "quick", "reference"):
        raise InputError("the method 'auto', 'quick' or 'reference'", repr(method))
    if method == "reference":
        return ReferenceLearner(problem)
    fast = _FAST.get(type(problem.loss))
    if fast is not None:
        learner = fast(problem)
        if method == "quick" and isinstance(learner, HingeLearner):
            learner.tols, learner.warm_gap, learner.first_passes = LOOSE, LOOSE_GAP, LOOSE_PASSES
        return learner
    return SmoothLearner(problem) if problem.loss.kink is None else ReferenceLearner(problem)
