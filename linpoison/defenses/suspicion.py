"""How suspicious each row is: tails of the scores of many detectors, combined, with detectors fitted on a core."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..core import Array
from .base import Codes

Mask = NDArray[np.bool_]
ROUNDS = 3
HEAVY = 0.25
"""Shape of tails: moments below the fourth exist."""
PICKANDS = 3.6
"""Standard error of the shape that quartiles of an exponential tail show, times the root of the number of excesses."""
TAIL = 0.2
"""Share of a class whose scores tell how its tail falls off."""
FALSE_SHARE = 0.1
"""Share of the alarms that may be false, in the mean."""


@dataclass(frozen=True, eq=False)
class Suspicion:
    """What detectors say of rows.

    Parameters
    ----------
    scores : dict of ndarray of shape (n,)
        By detector, greater for stranger rows.
    surprises : dict of ndarray of shape (n,)
        ``-log p``, of each score in the tail of its class.
    evidence : ndarray of shape (n,)
        All detectors together, see `combined`: what alarms follow from.
    greatest : ndarray of shape (n,)
        The greatest surprise of a few detectors, see `foremost`: what rows are ranked by.
    alarms : ndarray of bool, shape (n,)
        Rows that stand out of the evidence on the others, see `standing_out`.
    """

    scores: Mapping[str, Array]
    surprises: Mapping[str, Array]
    evidence: Array
    greatest: Array
    alarms: Mask

    @property
    def ranking(self) -> Array:
        """Rows that stand out before all others, and by their greatest surprise: greater for more suspicious ones."""
        return np.asarray(self.greatest + self.alarms * (1.0 + self.greatest.max(initial=0.0)))


def suspicion(
    detect: Callable[[Mask], Mapping[str, Array]],
    codes: Codes,
    *,
    known: Mapping[str, Array],
    ranking: Collection[str],
    drop: float = 0.05,
) -> Suspicion:
    """Fit detectors on a core, and the core on what the detectors say, by turns.

    Far rows and copies carry off what they are measured by. So after each round the `drop` most suspicious rows of each
    class are left out of what the detectors, and the tails of their scores, are fitted on; all rows are scored again.
    The last core has all rows but those that stand out (the second step of robust estimators: reweighting).

    Parameters
    ----------
    detect : callable
        From a mask of the core to the scores of all rows by detector.
    codes : ndarray of int, shape (n,)
        Class of each row.
    known : dict of str to ndarray
        Surprises that do not follow from the tail of the scores.
    ranking : collection of str
        Detectors that rows are ranked by; alarms follow from all of them.
    drop : float
        Share of each class.
    """

    def judged(core: Mask) -> Suspicion:
        scores = detect(core)
        surprises = {name: known.get(name, surprise(values, codes, core)) for name, values in scores.items()}
        evidence = combined(surprises)
        return Suspicion(scores, surprises, evidence, foremost(surprises, ranking), standing_out(evidence, core))

    core = np.ones(codes.size, dtype=bool)
    for _ in range(ROUNDS - 1):
        core = ~worst_of_each(judged(core).evidence, codes, drop)
    return judged(~judged(core).alarms)


def worst_of_each(evidence: Array, codes: Codes, share: float) -> Mask:
    """The rows of greatest evidence, a share of each class."""
    out = np.zeros(codes.size, dtype=bool)
    for code in np.unique(codes):
        mine = np.flatnonzero(codes == code)
        out[mine[np.argsort(-evidence[mine], kind="stable")[: round(share * mine.size)]]] = True
    return out


def surprise(scores: Array, codes: Codes, core: Mask) -> Array:
    """``-log P(S >= s)`` of each score among those of the core of its class.

    By ranks up to the quantile u above which a share `TAIL` lies; beyond it by a generalised Pareto tail of the shape
    xi, ``P(S >= u + e | S >= u) = (1 + xi e / sigma)^(-1 / xi)``. Of m excesses the greatest quarter counts as censored
    where the others end, so that poison there does not tell what is usual. To a shape of `HEAVY` comes ``1 / m``: with
    it an exponential tail is the predictive one, of a scale that m excesses tell.

    Examples
    --------
    >>> flat = np.arange(100.0)
    >>> surprise(flat, np.zeros(100, dtype=int), flat >= 0)[[0, 50]].round(3)
    array([0.   , 0.693])
    """
    out = np.zeros(scores.size)
    for code in np.unique(codes):
        mine = np.flatnonzero(codes == code)
        known = np.sort(scores[mine[core[mine]]])
        out[mine] = _tail(scores[mine], known)
    return out


def _tail(scores: Array, known: Array) -> Array:
    from_above = known.size - np.searchsorted(known, scores, side="left")
    by_rank = np.log(known.size / np.maximum(from_above, 1))
    border = float(np.quantile(known, 1 - TAIL))
    excess = known[known > border] - border
    if excess.size < 4:
        return np.where(scores > known[-1], np.log(known.size), by_rank)
    shape, scale = _pareto(excess)
    beyond = np.maximum(scores - border, 0.0)
    tail = np.log1p(shape * beyond / scale) / shape - np.log(excess.size / known.size)
    return np.where(scores > border, tail, by_rank)


def _pareto(excess: Array) -> tuple[float, float]:
    """Shape and scale of sorted excesses, of which the last quarter may be poison and counts as no less than the rest.

    The likeliest scale for the shape 0 with so many censored. Where most scores are about zero (losses of separable
    classes) the others go through many orders of magnitude: a tail whose quartiles show, beyond their error, that it
    has no mean, ``log2(Q3 / Q2 - 1) > 1`` (Pickands), has the shape that they show, and the scale of its median.
    """
    seen = excess[: -(excess.size // 4)]
    scale = float(seen.sum() + (excess.size - seen.size) * seen[-1]) / seen.size
    middle = float(excess[excess.size // 2])
    shown = (
        float(np.log2(max(seen[-1] / middle - 1.0, 1e-9))) - PICKANDS / np.sqrt(excess.size) if middle > 0 else HEAVY
    )
    if shown > 1:
        return shown + 1 / seen.size, shown * middle / (2.0**shown - 1.0)
    return HEAVY + 1 / seen.size, scale


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


def foremost(surprises: Mapping[str, Array], names: Collection[str]) -> Array:
    """The greatest surprise of a few detectors: ``-log min p``, Tippett's combination.

    A row that one side gives away is put as far forward as by the detector of that side alone, whichever side it is.
    A sum over detectors (Fisher's) lets rows that are a little strange on every side, as rare clean rows are, pass a
    single poison row that is very strange on one; and every further detector that only tells rare rows adds rows that
    come before it.

    Parameters
    ----------
    surprises : dict of ndarray
    names : collection of str
        Of the detectors; those that did not run are passed over.

    References
    ----------
    Tippett, "The methods of statistics", 1931; Heard, Rubin-Delanchy, "Choosing between methods of
    combining p-values", 2018.

    Examples
    --------
    >>> said = {"near": np.array([9.0, 4.0]), "far": np.array([8.0, 20.0]), "copies": np.array([0.0, 6.0])}
    >>> foremost(said, ["near", "copies", "absent"])
    array([9., 6.])
    """
    return np.asarray(np.max([surprises[name] for name in names if name in surprises], axis=0))


def standing_out(evidence: Array, core: Mask) -> Mask:
    """Rows of such evidence that, of all that have as much, a share `FALSE_SHARE` at most is expected by chance.

    What is expected follows from the tail of the evidence on the core (detectors depend on each other, so the evidence
    is no probability by itself); then the rule of Benjamini and Hochberg.
    """
    everyone = np.zeros(evidence.size, dtype=np.intp)
    log_p = -surprise(evidence, everyone, core)
    order = np.argsort(log_p, kind="stable")
    limits = np.log(FALSE_SHARE * np.arange(1, order.size + 1) / order.size)
    below = np.flatnonzero(log_p[order] <= limits)
    out = np.zeros(evidence.size, dtype=bool)
    out[order[: below[-1] + 1 if below.size else 0]] = True
    return out
