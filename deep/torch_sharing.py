"""Parameters that are views of the same numbers, as `second.weight.data = first.weight.data` makes them."""

from __future__ import annotations

from typing import Any

from .need_torch import torch


def sharing(tensors: list[tuple[str, Any]], parameters: set[str]) -> tuple[str, str] | None:
    """A parameter, and another parameter or a buffer, that are views of the same numbers: a step in one moves both."""
    spans = [(t.device, t.data_ptr(), t.data_ptr() + _reach(t), name, t) for name, t in tensors if t.numel()]
    spans.sort(key=lambda span: (str(span[0]), span[1]))
    for place, (device, _, end, name, t) in enumerate(spans):
        for other, start, _, second, u in spans[place + 1 :]:
            if other != device or start >= end:
                break
            if parameters & {name, second} and _overlap(t, u):
                return name, second
    return None


def _reach(tensor: Any) -> int:
    """Bytes from the first to behind the last number."""
    steps = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return int((steps + 1) * tensor.element_size())


def _overlap(one: Any, other: Any) -> bool:
    """Whether two tensors of one storage have a number in common; of other types they count as if they had."""
    if one.dtype != other.dtype or one.is_contiguous() and other.is_contiguous():
        return True
    marks = torch.zeros(one.untyped_storage().nbytes() // one.element_size(), dtype=torch.bool)
    marks.as_strided(one.shape, one.stride(), one.storage_offset()).fill_(True)
    return bool(marks.as_strided(other.shape, other.stride(), other.storage_offset()).any())
