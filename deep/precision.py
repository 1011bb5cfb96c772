"""The state in which derivatives are taken: evaluation mode, full precision, kernels that can be differentiated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from .need_torch import torch

SDPBackend, sdpa_kernel = torch.nn.attention.SDPBackend, torch.nn.attention.sdpa_kernel


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """No dropout and stored batch statistics; afterwards every layer has the mode and the attributes that it had.

    Layers keep things from a call, attention weights or a weight of the old ``weight_norm``: of a call within a
    derivative they would be tensors that are of no use outside.
    """
    before = [(part, dict(part.__dict__)) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, attributes in before:
            part.__dict__.clear()
            part.__dict__.update(attributes)


@contextmanager
def derivable(module: Any, *, twice: bool = False) -> Iterator[None]:
    """Kernels that have the derivatives; afterwards the settings are what they were.

    Transformer layers have a fast path without any, recurrent layers of cuDNN have none in evaluation mode, and what
    ``torch.compile`` made has no second ones. With `twice`, attention goes by its formula: flash attention and its
    like have no second derivative either.
    """
    fast, cudnn = torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.enabled
    recurrent = any(isinstance(part, torch.nn.RNNBase) for part in module.modules())
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        torch.backends.cudnn.enabled = cudnn and not recurrent
        with _uncompiled(), sdpa_kernel(SDPBackend.MATH) if twice else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.cudnn.enabled = cudnn


def _uncompiled() -> Any:
    """What was compiled runs as it was written, where anything has been compiled in this process."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def full_precision(device: Any) -> Iterator[None]:
    """No TF32 in products and convolutions and no autocast; afterwards the settings are what they were.

    A residual is a difference of vectors that nearly cancel: the 10 bits of a TF32 mantissa end at about 1e-3 of it.
    """
    with _products_in("ieee"), torch.autocast(torch.device(device).type, enabled=False):
        yield


@contextmanager
def step_precision(device: Any, precision: str) -> Iterator[Any]:
    """Within `full_precision`, a learner's step in one of `PRECISIONS`; gives the context of its forward sweep.

    Autocast would keep its copies of parameters until the outermost one ends, over steps that move them.
    """
    if precision == "ieee":
        yield nullcontext()
        return
    half = {"dtype": torch.bfloat16, "enabled": precision == "bf16", "cache_enabled": False}
    with _products_in("tf32"):
        yield torch.autocast(torch.device(device).type, **half)


PRECISIONS = ("ieee", "tf32", "bf16")
"""Of products in a learner's steps: as the module has it; with TF32 on a GPU that has it; in bfloat16 by autocast."""


@contextmanager
def _products_in(kind: str) -> Iterator[None]:
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = kind
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
