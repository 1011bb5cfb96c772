"""The part of what a module returns that is its scores: of a tuple, a mapping, an object with attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from linpoison.core import InputError

from .need_torch import torch
from .torch_differences import is_floating

tree_map = torch.utils._pytree.tree_map
Output = str | int | Callable[[Any], Any]
"""A key or an attribute, a place, or a function of what the module returns."""


def check_output(output: Any) -> Output | None:
    """`output`, or InputError if it picks nothing."""
    if output is None or callable(output) or (isinstance(output, (str, int)) and not isinstance(output, bool)):
        return output  # type: ignore[no-any-return]
    raise InputError("output as a key, a place or a function", repr(output))


def picked(returned: Any, output: Output | None) -> Any:
    """The part of what a module returned.

    Raises
    ------
    InputError
        If there is no such part.
    """
    if output is None:
        return returned
    try:
        if callable(output):
            return output(returned)
        if isinstance(output, str) and not isinstance(returned, Mapping):
            return getattr(returned, output)
        return returned[output]
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        why = f"{described(returned)} ({type(error).__name__})"
        raise InputError(f"something from the module with the output {output!r}", why) from None


def described(returned: Any) -> str:
    """What a module returned, in words."""
    if isinstance(returned, Mapping):
        return f"a {type(returned).__name__} with {', '.join(map(repr, list(returned)[:5]))}"
    if isinstance(returned, (tuple, list)):
        return f"a {type(returned).__name__} of {len(returned)}"
    return f"a {type(returned).__name__}"


def scores_of(outputs: Any) -> Any:
    """`outputs`, which have to be one tensor."""
    if not hasattr(outputs, "detach"):
        remedy = "Name the part by `output` (--output): a key such as logits, a place such as 0, or a function."
        raise InputError("one tensor of scores from the module", described(outputs), remedy)
    return outputs


def in_precision(outputs: Any, kind: Any) -> Any:
    """What a module returned, its tensors of floating point in a precision."""
    if getattr(outputs, "dtype", None) == kind:
        return outputs
    return tree_map(lambda item: item.to(kind) if is_floating(item) else item, outputs)
