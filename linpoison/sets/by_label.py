"""One feasible set for each class, and how sets are written to a file and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..core import Array, InputError, as_matrix, as_signed_labels
from .base import FeasibleSet, unpack_set
from .intersection import intersect
from .programs import SolvedBy


class ByLabel(Mapping[int, FeasibleSet]):
    """The sets of the classes -1 and +1: where a row may lie depends on its label.

    Parameters
    ----------
    sets : mapping
        ``{+1: F, -1: G}``, of one dimension.

    Examples
    --------
    >>> from linpoison.sets import Ball
    >>> sets = ByLabel({+1: Ball([1.0], 1.0), -1: Ball([-1.0], 1.0)})
    >>> sets.violation([[2.0], [2.0]], [1, -1])
    array([0., 2.])
    """

    def __init__(self, sets: Mapping[Any, FeasibleSet]) -> None:
        if set(sets) != {-1, 1} or not all(isinstance(part, FeasibleSet) for part in sets.values()):
            raise InputError("a mapping {+1: set, -1: set}", f"{dict(sets)!r}")
        self._sets = {label: sets[label] for label in (-1, 1)}
        if self._sets[-1].d != self._sets[1].d:
            raise InputError("two sets of one dimension", f"{self._sets[-1].d} and {self._sets[1].d}")

    def __getitem__(self, label: Any) -> FeasibleSet:
        return self._sets[label]

    def __iter__(self) -> Iterator[int]:
        return iter(self._sets)

    def __len__(self) -> int:
        return len(self._sets)

    @property
    def d(self) -> int:
        """Number of features."""
        return self._sets[1].d

    def violation(self, X: Any, y: Any = None) -> Array:
        """Violation of each row by the set of its label, shape (n,).

        Parameters
        ----------
        X : array_like or sparse, shape (n, d), or a Poison or Dataset
        y : array_like, shape (n,)
            Labels in {-1, +1}; left out if `X` carries them.
        """
        rows, labels = _labelled(X, y)
        worst = np.zeros(labels.size)
        for label, part in self._sets.items():
            chosen = np.flatnonzero(labels == label)
            worst[chosen] = part.violation(rows[chosen])
        return worst

    def contains(self, X: Any, y: Any = None, tol: float = 1e-8) -> Any:
        """Whether `violation` is at most `tol`, shape (n,), boolean."""
        return self.violation(X, y) <= tol

    def intersect(self, other: Mapping[Any, FeasibleSet] | FeasibleSet | None) -> ByLabel:
        """Each class intersected with its set in `other`, or both with the one set `other`."""
        if isinstance(other, Mapping):
            other = ByLabel(other)
            return ByLabel({label: intersect(part, other[label]) for label, part in self._sets.items()})
        return ByLabel({label: intersect(part, other) for label, part in self._sets.items()})

    def solved_by(self, solver: str | None) -> ByLabel:
        """The same sets, whose supports and projections the named conic solver computes; themselves for None."""
        if solver is None:
            return self
        return ByLabel({label: SolvedBy(part, solver) for label, part in self._sets.items()})

    def __repr__(self) -> str:
        return f"ByLabel({self._sets!r})"


def _labelled(X: Any, y: Any) -> tuple[Any, Array]:
    if y is None:
        if not (hasattr(X, "X") and hasattr(X, "y")):
            raise InputError("labels y with the rows X", "none", "Give y, or a Poison or Dataset in place of X.")
        X, y = X.X, X.y
    rows = as_matrix(X, allow_empty=True)
    return rows, as_signed_labels(y, rows.shape[0])


_DEPTH, _PARTS = 4, 64
"""Intersections within intersections, and sets in one, at most."""


def pack_sets(sets: ByLabel) -> tuple[dict[str, Any], dict[str, Array]]:
    """The sets of both classes as a JSON object and the arrays that it names.

    Returns
    -------
    specification : dict
        ``{"1": ..., "-1": ...}``; arrays stand in it as their names.
    arrays : dict of str to ndarray

    Raises
    ------
    InputError
        If a set has parameters other than numbers, words and arrays.

    Examples
    --------
    >>> from linpoison.sets import Ball
    >>> sets = ByLabel({1: Ball([0.0], 1.0), -1: Ball([0.5], 2.0)})
    >>> specification, arrays = pack_sets(sets)
    >>> specification["1"]
    {'set': 'Ball', 'relation': 'exact', 'center': {'array': 'sets.1.center'}, 'radius': 1.0}
    >>> unpack_sets(specification, arrays)[-1].radius
    2.0
    """
    arrays: dict[str, Array] = {}
    return {str(label): part.packed(f"sets.{label}", arrays) for label, part in sets.items()}, arrays


def unpack_sets(specification: Mapping[str, Any], arrays: Mapping[str, Array]) -> ByLabel:
    """The inverse of `pack_sets`.

    Raises
    ------
    InputError
        If the specification is none, has too many sets, or names a class or an array that is not there.
    """
    try:
        _check(list(specification.values()))
        return ByLabel({int(label): unpack_set(part, arrays) for label, part in specification.items()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("a specification of two sets", f"one that cannot be read ({error})") from None


def _check(parts: Any, depth: int = 0) -> None:
    """Neither too many sets nor too deep: before any is made."""
    if len(parts) > _PARTS or depth > _DEPTH:
        raise InputError(
            f"at most {_PARTS} sets in an intersection, {_DEPTH} deep", f"{len(parts)} at a depth of {depth}"
        )
    for part in parts:
        for value in part.values():
            if isinstance(value, list):
                _check(value, depth + 1)


def sets_digest(sets: ByLabel) -> str:
    """SHA-256 of the sets of both classes, equal for equal sets."""
    specification, arrays = pack_sets(sets)
    code = hashlib.sha256(json.dumps(specification, sort_keys=True).encode())
    for name in sorted(arrays):
        code.update(f"{name} {arrays[name].shape}".encode())
        code.update(np.ascontiguousarray(arrays[name]).tobytes())
    return code.hexdigest()
