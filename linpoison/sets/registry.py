"""Which class of sets a name in a file stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from ..core.plugins import offered
from ..core.validation import Array

if TYPE_CHECKING:
    from .base import FeasibleSet

_KINDS: dict[str, type[FeasibleSet]] = {}


def register(kind: str, made: type[FeasibleSet]) -> None:
    """Let files call a class by a name; a class that is defined anew takes its own place."""
    known = _KINDS.setdefault(kind, made)
    if (known.__module__, known.__qualname__) == (made.__module__, made.__qualname__):
        _KINDS[kind] = made
    elif not issubclass(made, known):
        raise InputError("a class of sets with a name of its own", f"{kind}, which {known.__module__} has")


def unpack_set(packed: Mapping[str, Any], arrays: Mapping[str, Array]) -> FeasibleSet:
    """The set that `FeasibleSet.packed` described; a class that is not known is looked for among entry points."""
    kind = packed["set"]
    made = _KINDS.get(kind) or offered("sets", kind)
    if made is None:
        raise InputError(f"sets among {', '.join(_KINDS)}", repr(kind), "Install the package that brings it.")
    return made.unpacked(packed, arrays)  # type: ignore[no-any-return]
