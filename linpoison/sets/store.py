"""Feasible sets as plain numbers and arrays, to be written to files and to be told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core import Array, InputError
from .base import unpack_set
from .by_label import ByLabel

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
