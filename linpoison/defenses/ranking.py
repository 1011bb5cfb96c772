"""In which order rows are suspicious: what detectors say of them, put together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..core import Array

RANKING = ("neighbours", "twins", "loss", "pull", "copies")
"""What rows are ranked by: whether its label is that of the rows beside it, and that of models learned without it, what
it does to the model, and how often it stands there. Poison that moves a model shows one of these; the other detectors,
those of distance above all, tell rare clean rows as well, and only add to the evidence that alarms follow from."""


def combined(surprises: Mapping[str, Array]) -> Array:
    """The logarithm of the mean of ``1 / p`` over detectors: few great ones decide, and many that are blind hide none.

    It holds whatever the dependence of the detectors is, as does the combination of Cauchy variables, to which it is
    the same in the tail.

    References
    ----------
    Liu, Xie, "Cauchy combination test", 2020; Wilson, "The harmonic mean p-value", 2019.

    Examples
    --------
    >>> combined({"a": np.log([1.0, 100.0]), "b": np.log([1.0, 2.0])}).round(3)
    array([0.   , 3.932])
    """
    values = [surprises[name] for name in surprises]
    return np.asarray(logsumexp(values, axis=0) - np.log(len(values)))


def foremost(surprises: Mapping[str, Array]) -> Array:
    """The sum of what few detectors say, those of `RANKING` that did run: minus the log of the product of their p.

    Fisher's combination. The five ask different questions, and poison that moves a model is strange by several; a row
    that one side gives away comes first as well, where that says much. Of all detectors the sum is worse: each one that
    only tells rare rows adds rows that come before poison.

    References
    ----------
    Fisher, "Statistical methods for research workers", 1932; Heard, Rubin-Delanchy, "Choosing between methods of
    combining p-values", 2018.
    """
    return np.asarray(np.sum([surprises[name] for name in RANKING if name in surprises], axis=0))


def ranked(surprises: Mapping[str, Array], alarms: NDArray[np.bool_]) -> Array:
    """Greater for more suspicious rows: those that stand out before all others, and by what few detectors say.

    Parameters
    ----------
    surprises : dict of ndarray of shape (n,)
    alarms : ndarray of bool, shape (n,)
        Rows that stand out.

    Examples
    --------
    >>> said = {"neighbours": np.array([9.0, 4.0, 0.0]), "pull": np.array([8.0, 4.0, 9.2])}
    >>> np.argsort(-ranked(said, np.array([False, True, False])))
    array([1, 0, 2])
    """
    score = foremost(surprises)
    return np.asarray(score + alarms * (1.0 + np.ptp(score)))
