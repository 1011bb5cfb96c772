"""Clean rows with wrong labels: the baseline of every attack on networks."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ...core import InputError, check_integer, check_number, check_seed
from ...core.validation import Array
from ...risk.samples import Sample


def flip_labels(
    clean: Sample,
    epsilon: float,
    *,
    classes: int | None = None,
    rule: Literal["reverse", "random"] = "reverse",
    seed: int = 0,
) -> Sample:
    """``round(epsilon n)`` clean rows, drawn with `seed`, with wrong labels.

    Parameters
    ----------
    clean : Sample
    epsilon : float
        Mass of the poison as a fraction of the clean rows.
    classes : int, optional
        Number c of classes, labels from 0; None for labels in {-1, +1}, which are negated.
    rule : {"reverse", "random"}, default "reverse"
        ``c - 1 - y``, or another class at random. The thesis says ``10 - y`` for ten digits, which has no meaning for
        the digit 0 and is no flip of 5. Reversing leaves the middle one of an odd number of classes as it is; such
        rows are not drawn.

    Raises
    ------
    InputError
        If the budget is of no row, or labels are not of the classes.

    Examples
    --------
    >>> rows = Sample(np.arange(4.0)[:, None], [0, 9, 3, 5])
    >>> poison = flip_labels(rows, 1.0, classes=10)
    >>> sorted(zip(poison.X[:, 0].tolist(), poison.y.tolist()))
    [(0.0, 9), (1.0, 0), (2.0, 6), (3.0, 4)]
    """
    m = round(check_number(epsilon, "epsilon", above=0, at_most=1000) * clean.total)
    if m == 0:
        raise InputError("a budget of at least one row", f"{epsilon:g} of {clean.total:g} rows")
    if rule not in ("reverse", "random"):
        raise InputError("the rule 'reverse' or 'random'", repr(rule))
    rng = np.random.default_rng(check_seed(seed))
    labels = checked_labels(clean, classes)
    wrong = -labels if classes is None else _wrong(labels, classes, rule, rng)
    pool = np.flatnonzero(wrong != labels)
    if not pool.size:
        raise InputError("rows whose label the rule changes", "none")
    index = rng.choice(pool, size=m, replace=m > pool.size)
    return Sample(clean.take(index).X, wrong[index])


def checked_labels(clean: Sample, classes: int | None) -> Array:
    """All labels; InputError unless they are from 0 to `classes`, or in {-1, +1} if that is None."""
    y = clean.take(range(clean.n)).y if clean.y is None else clean.y
    labels = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    allowed = (-1, 1) if classes is None else range(check_integer(classes, "classes", at_least=2))
    if not np.isin(labels, list(allowed)).all():
        known = "labels in {-1, +1}" if classes is None else f"labels from 0 to {classes - 1}"
        raise InputError(known, f"the values {np.unique(labels)[:5].tolist()}")
    return labels


def _wrong(labels: Any, classes: int, rule: str, rng: np.random.Generator) -> Any:
    if rule == "reverse":
        return classes - 1 - labels
    return (labels + rng.integers(1, classes, size=labels.shape)) % classes
