"""The state in which derivatives are taken: evaluation mode, full precision, no autocast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from linpoison.core import MissingDependency

try:
    import torch
except ImportError:
    raise MissingDependency("torch", "to differentiate networks", "deep") from None


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """No dropout and stored batch statistics; afterwards every layer is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def full_precision(device: Any) -> Iterator[None]:
    """No TF32 in products and convolutions and no autocast; afterwards the settings are what they were.

    A residual is a difference of vectors that nearly cancel: the 10 bits of a TF32 mantissa end at about 1e-3 of it.
    """
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        with torch.autocast(torch.device(device).type, enabled=False):
            yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
