"""Feasible sets as plain numbers and arrays, to be written to files and to be told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.validation import Array
from .ball import Ball
from .base import FeasibleSet
from .box import Box
from .by_label import ByLabel
from .count_ball import CountBall
from .halfspace import Halfspace
from .intersection import Intersection
from .slab import Slab
from .subspace import SubspaceTube

_KINDS: dict[str, type[FeasibleSet]] = {
    kind.__name__: kind for kind in (Ball, Box, CountBall, Halfspace, Slab, SubspaceTube)
}


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
        If a set is of a class that the library does not know.

    Examples
    --------
    >>> sets = ByLabel({1: Ball([0.0], 1.0), -1: Ball([0.5], 2.0)})
    >>> specification, arrays = pack_sets(sets)
    >>> specification["1"]
    {'set': 'Ball', 'relation': 'exact', 'center': {'array': 'sets.1.center'}, 'radius': 1.0}
    >>> unpack_sets(specification, arrays)[-1].radius
    2.0
    """
    arrays: dict[str, Array] = {}
    return {str(label): _pack(part, f"sets.{label}", arrays) for label, part in sets.items()}, arrays


def _pack(part: FeasibleSet, name: str, arrays: dict[str, Array]) -> dict[str, Any]:
    if isinstance(part, Intersection):
        return {"set": "Intersection", "sets": [_pack(s, f"{name}.{i}", arrays) for i, s in enumerate(part.sets)]}
    kind = "Box" if isinstance(part, Box) else type(part).__name__
    if kind not in _KINDS:
        raise InputError(f"sets among {', '.join([*_KINDS, 'Intersection'])}", kind)
    packed: dict[str, Any] = {"set": kind}
    for item in fields(part):
        value = getattr(part, item.name)
        if isinstance(value, np.ndarray):
            key = f"{name}.{item.name}"
            arrays[key] = np.asarray(value, dtype=np.float64)
            packed[item.name] = {"array": key}
        else:
            packed[item.name] = value
    return packed


def unpack_sets(specification: Mapping[str, Any], arrays: Mapping[str, Array]) -> ByLabel:
    """The inverse of `pack_sets`.

    Raises
    ------
    InputError
        If the specification is none, or names an array that is not there.
    """
    try:
        return ByLabel({int(label): _unpack(part, arrays) for label, part in specification.items()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("a specification of two sets", f"one that cannot be read ({error})") from None


def _unpack(packed: Mapping[str, Any], arrays: Mapping[str, Array]) -> FeasibleSet:
    if packed["set"] == "Intersection":
        return Intersection(tuple(_unpack(part, arrays) for part in packed["sets"]))
    values = {
        name: arrays[value["array"]] if isinstance(value, Mapping) else value
        for name, value in packed.items()
        if name != "set"
    }
    make: Any = _KINDS[packed["set"]]
    return make(**values)  # type: ignore[no-any-return]


def sets_digest(sets: ByLabel) -> str:
    """SHA-256 of the sets of both classes, equal for equal sets."""
    specification, arrays = pack_sets(sets)
    code = hashlib.sha256(json.dumps(specification, sort_keys=True).encode())
    for name in sorted(arrays):
        code.update(f"{name} {arrays[name].shape}".encode())
        code.update(np.ascontiguousarray(arrays[name]).tobytes())
    return code.hexdigest()
