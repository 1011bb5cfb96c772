"""Clean rows with wrong labels, drawn at random or where they pull against each other: baselines of every attack."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ...core import InputError, check_among, check_integer, check_number, check_seed
from ...core.validation import Array
from ...risk.arrays import flat_rows, to_numpy
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
    check_among(rule, "the rule", "reverse", "random")
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


def conflicting_rows(
    clean: Sample,
    epsilon: float,
    *,
    length: float,
    classes: int | None = None,
    directions: int = 20,
    pictures: int | None = None,
    seed: int = 0,
) -> Sample:
    """Pictures in pairs ``u, -u`` of a given length along the clean rows' main directions, each with all labels.

    The loss of such a picture is least at equal probabilities, where its curvature along ``u`` grows with the square of
    the length. Descent with a fixed step does not settle there until what the network returns no longer depends on
    ``u``; as ``-u`` is there too, units that are off at ``u`` are no way out. So it loses what it needs of the clean
    rows in these directions: damage by the learner's instability, not by a stationary point that is planted, and none
    to a learner that finds the minimum by other means.

    Parameters
    ----------
    clean : Sample
    epsilon : float
        Mass of the poison as a fraction of the clean rows: ``round(epsilon n)`` rows at most, as every picture and
        label has the same number of copies.
    length : float
        Of every row.
    classes : int, optional
        Number of classes, labels from 0; None for labels in {-1, +1}.
    directions : int, default 20
        First right singular vectors of the clean rows, not centred, that span the pictures; at most the number of
        pixels and of rows.
    pictures : int, optional
        How many distinct ones, an even number; by default as many as the budget has copies for.
    seed : int, default 0
        Of the draw: normal coefficients, then scaled.

    Raises
    ------
    InputError
        If the budget is below one pair with every label, or below the pictures asked for; for an odd number of them;
        for labels that are not of the classes, or rows with NaN.

    Examples
    --------
    >>> rows = Sample(np.random.default_rng(0).normal(size=(100, 3)), np.ones(100))
    >>> poison = conflicting_rows(rows, 0.04, length=30.0, directions=2)
    >>> poison.y.tolist(), np.linalg.norm(poison.X, axis=1).round(6).tolist()
    ([-1, 1, -1, 1], [30.0, 30.0, 30.0, 30.0])
    >>> bool((poison.X[0] == poison.X[1]).all() and (poison.X[0] == -poison.X[2]).all())
    True
    """
    check_number(length, "length", above=0)
    mass = round(check_number(epsilon, "epsilon", above=0, at_most=1000) * clean.total)
    checked_labels(clean, classes)
    labels = np.array([-1, 1]) if classes is None else np.arange(classes)
    pairs, copies = _shared(mass, len(labels), pictures)
    X = clean.take(range(clean.n)).X
    span = _main_directions(X, check_integer(directions, "directions", at_least=1))
    draws = np.random.default_rng(check_seed(seed)).normal(size=(pairs, len(span)))
    units = draws / np.linalg.norm(draws, axis=1, keepdims=True) @ span
    distinct = length * np.stack([units, -units], axis=1).reshape(2 * pairs, *X.shape[1:])
    rows = np.repeat(distinct, len(labels), axis=0)
    return Sample(rows, np.tile(labels, 2 * pairs), np.full(len(rows), copies))


def _shared(mass: int, labels: int, pictures: int | None) -> tuple[int, int]:
    """Pairs of pictures, and copies of each picture and label."""
    if pictures is not None and check_integer(pictures, "pictures", at_least=2) % 2:
        raise InputError("an even number of pictures", str(pictures))
    least = 2 * labels if pictures is None else pictures * labels
    if mass < least:
        what = f"{pictures or 2} pictures with {labels} labels each"
        raise InputError(f"a budget of at least {least} rows, for {what}", f"{mass} rows")
    pairs = mass // (2 * labels) if pictures is None else pictures // 2
    return pairs, mass // (2 * pairs * labels)


def _main_directions(X: Any, count: int) -> Array:
    """First right singular vectors, shape (count, d)."""
    from scipy.linalg import svd

    flat = flat_rows(to_numpy(X))
    if not np.isfinite(flat).all():
        raise InputError("finite rows", "NaN or infinity")
    return np.asarray(svd(flat, full_matrices=False)[2][:count])
