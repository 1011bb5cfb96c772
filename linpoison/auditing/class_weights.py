"""Class weights as a user writes them, by label value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import InputError, as_number, check_number, check_once

REMEDY = "Such as balanced, or spam=4,ham=1; by rows with sample_weight."


def class_weight_text(given: Any) -> str | None:
    """Class weights as a command line has them."""
    if isinstance(given, Mapping):
        given = ",".join(f"{label}={weight}" for label, weight in given.items())
    if given is None or isinstance(given, str):
        return given
    raise InputError("class weights as 'balanced' or by label value", repr(given), REMEDY)


def class_weight_of(text: str | None, labels: list[Any]) -> Any:
    """Weights of the classes -1 and +1, "balanced", or None."""
    if text is None or text == "balanced":
        return text
    found = dict.fromkeys(map(str, labels), 1.0)
    parts = [part.rpartition("=") for part in text.split(",")]
    names = [label.strip() for label, _, _ in parts]
    check_once(names, "labels of class weights")
    for name, (label, sign, weight) in zip(names, parts, strict=True):
        if name not in found:
            got = repr(f"{label}{sign}{weight}")
            raise InputError(f"class weights of {' and '.join(map(repr, found))}", got, REMEDY)
        found[name] = check_number(as_number(weight), "class weight", above=0)
    return tuple(found.values())
