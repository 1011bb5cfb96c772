"""Between dataclasses and what JSON holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any


def plain(value: Any) -> Any:
    """Numbers, text, lists and dicts only; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def serial(item: Any, leave: Sequence[str] = ()) -> dict[str, Any]:
    return {entry.name: getattr(item, entry.name) for entry in fields(item) if entry.name not in leave}


_KINDS: dict[str, Any] = {"dict": dict, "list": list, "str": str, "int": int, "float": (int, float), "bool": bool}


def typed(item: Any) -> Any:
    """`item` itself, if each field holds what it is annotated with.

    Raises
    ------
    TypeError
        For the first that does not.
    """
    for entry in fields(item):
        words = [word.partition("[")[0].strip() for word in str(entry.type).split("|")]
        kinds = [_KINDS[word] for word in words if word in _KINDS]
        value = getattr(item, entry.name)
        if not kinds or (value is None and "None" in words):
            continue
        if not any(isinstance(value, kind) for kind in kinds):
            raise TypeError(f"{entry.name} as {entry.type}, got a {type(value).__name__}")
    return item


def known(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    names = {entry.name for entry in fields(kind)}
    return {name: value for name, value in values.items() if name in names}
