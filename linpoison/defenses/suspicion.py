"""How suspicious each row is: tails of the scores of many detectors, combined, with detectors fitted on a core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core import Array
from .base import Codes
from .ranking import combined, foremost, ranked

Mask = NDArray[np.bool_]
ROUNDS = 3
HEAVY, EXPONENTIAL = 0.25, 0.0
"""Shape of the tails of scores: moments below the fourth exist. And of sums and means that are made of logs of p."""
PICKANDS = 3.6
"""Standard error of the shape that quartiles of an exponential tail show, times the root of the number of excesses."""
TAIL = 0.2
"""Share of a class whose scores tell how its tail falls off."""
LIKE = 2.0
"""Of two classes, up to which their scores have one tail: ratio of the distances from the median to that border."""
FALSE_SHARE = 0.05
"""Share of the alarms that may be false, in the mean."""


@dataclass(frozen=True, eq=False)
class Suspicion:
    """What detectors say of rows.

    Parameters
    ----------
    scores : dict of ndarray of shape (n,)
        By detector, greater for stranger rows.
    surprises : dict of ndarray of shape (n,)
        ``-log p`` of each score, see `surprise`.
    evidence : ndarray of shape (n,)
        ``-log p`` of all detectors together, see `together`: what alarms follow from.
    alarms : ndarray of bool, shape (n,)
        Rows that stand out by the evidence, see `standing_out`.
    """

    scores: Mapping[str, Array]
    surprises: Mapping[str, Array]
    evidence: Array
    alarms: Mask

    @property
    def score(self) -> Array:
        """What rows are ranked by, see `foremost`."""
        return foremost(self.surprises)

    @property
    def ranking(self) -> Array:
        """Greater for more suspicious rows, see `ranked`."""
        return ranked(self.surprises, self.alarms)


def suspicion(
    detect: Callable[[Mask], Mapping[str, Array]],
    codes: Codes,
    *,
    known: Mapping[str, Array],
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
    drop : float
        Share of each class.
    """

    def judged(core: Mask) -> Suspicion:
        scores = detect(core)
        surprises = {name: known.get(name, surprise(values, codes, core)) for name, values in scores.items()}
        evidence = together(surprises, core)
        return Suspicion(scores, surprises, evidence, standing_out(evidence))

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


def together(surprises: Mapping[str, Array], core: Mask) -> Array:
    """``-log p`` of what detectors say together: that one of all says much, or that the foremost do in sum.

    Poison may be the strangest row by one detector (a far row, a copy), or by none and yet strange by all of the few
    that tell poison: the mean of ``1 / p`` sees the first, the product of p the second. Detectors depend on each
    other, so neither is a p by itself. Both are made of logs of p, and so have an exponential tail, whose scale the
    core tells. Of the two p that follow it is the mean of ``1 / p`` again.
    """
    everyone = np.zeros(core.size, dtype=np.intp)
    said = {put.__name__: put(surprises) for put in (combined, foremost)}
    return combined({name: surprise(one, everyone, core, EXPONENTIAL) for name, one in said.items()})


def surprise(scores: Array, codes: Codes, core: Mask, shape: float = HEAVY) -> Array:
    """``-log P(S >= s)`` of each score among those of the core.

    By ranks up to the quantile u above which a share `TAIL` lies; beyond it by a generalised Pareto tail of the shape
    xi, ``P(S >= u + e | S >= u) = (1 + xi e / sigma)^(-1 / xi)``. Of m excesses the greatest quarter counts as censored
    where the others end, so that poison there does not tell what is usual. To the `shape` comes ``1 / m``: with
    it an exponential tail is the predictive one, of a scale that m excesses tell.

    Each score is counted from the median of its class. Classes whose scores spread alike, by a factor of `LIKE` at
    most, share one tail: poison that is all in one class is then a smaller share of what it is measured by, and a row
    of either class has to be as strange. Others have a tail each, or a rare class of wide scores would be strange as a
    whole.

    Examples
    --------
    >>> flat = np.arange(100.0)
    >>> surprise(flat, np.zeros(100, dtype=int), flat >= 0)[[0, 50]].round(3)
    array([0.   , 0.693])
    """
    of_class = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    usual = [np.quantile(scores[mine[core[mine]]], (0.5, 1 - TAIL)) for mine in of_class]
    from_middle, out = scores.copy(), np.zeros(scores.size)
    for mine, (middle, _) in zip(of_class, usual, strict=True):
        from_middle[mine] -= middle
    spreads = [border - middle for middle, border in usual]
    alike = max(spreads) <= LIKE * min(spreads)
    for mine in [np.arange(scores.size)] if alike else of_class:
        out[mine] = _tail(from_middle[mine], np.sort(from_middle[mine[core[mine]]]), shape)
    return out


def _tail(scores: Array, known: Array, heavy: float) -> Array:
    from_above = known.size - np.searchsorted(known, scores, side="left")
    by_rank = np.log(known.size / np.maximum(from_above, 1))
    border = float(np.quantile(known, 1 - TAIL))
    excess = known[known > border] - border
    if excess.size < 4:
        return np.where(scores > known[-1], np.log(known.size), by_rank)
    shape, scale = _pareto(excess, heavy)
    beyond = np.maximum(scores - border, 0.0)
    tail = np.log1p(shape * beyond / scale) / shape - np.log(excess.size / known.size)
    return np.where(scores > border, tail, by_rank)


def _pareto(excess: Array, heavy: float) -> tuple[float, float]:
    """Shape and scale of sorted excesses, of which the last quarter may be poison and counts as no less than the rest.

    The likeliest scale for the shape 0 with so many censored. Where most scores are about zero (losses of separable
    classes) the others go through many orders of magnitude: a tail whose quartiles show, beyond their error, that it
    has no mean, ``log2(Q3 / Q2 - 1) > 1`` (Pickands), has the shape that they show, and the scale of its median.
    """
    seen = excess[: -(excess.size // 4)]
    scale = float(seen.sum() + (excess.size - seen.size) * seen[-1]) / seen.size
    middle = float(excess[excess.size // 2])
    shown = (
        float(np.log2(max(seen[-1] / middle - 1.0, 1e-9))) - PICKANDS / np.sqrt(excess.size) if middle > 0 else heavy
    )
    if shown > 1:
        return shown + 1 / seen.size, shown * middle / (2.0**shown - 1.0)
    return heavy + 1 / seen.size, scale


def standing_out(evidence: Array) -> Mask:
    """Rows of such evidence that, of all that have as much, a share `FALSE_SHARE` at most is expected by chance.

    The rule of Benjamini and Hochberg.

    Parameters
    ----------
    evidence : ndarray of shape (n,)
        ``-log p``.

    Examples
    --------
    >>> standing_out(np.array([9.0, 0.1, 0.7, 2.0]))
    array([ True, False, False, False])
    """
    order = np.argsort(-evidence, kind="stable")
    limits = np.log(FALSE_SHARE * np.arange(1, order.size + 1) / order.size)
    below = np.flatnonzero(-evidence[order] <= limits)
    out = np.zeros(evidence.size, dtype=bool)
    out[order[: below[-1] + 1 if below.size else 0]] = True
    return out
