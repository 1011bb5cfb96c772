"""What would wait for a GPU, or be sent to it, counted while everything runs on the CPU."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim")
"""Operations whose results the host needs: ``item``, ``bool``, ``float``, indices by a mask, ``torch.equal``."""
METHODS = ("tolist", "cpu", "numpy", "__array__")
"""Of a tensor, done without an operation where it is on the CPU already."""


class HostSync(TorchDispatchMode):  # type: ignore[misc]
    """Counts within it, by the line of the library that asked: `waits` for numbers, and `uploads` of arrays.

    Parameters
    ----------
    forbidden : bool
        Raise instead of counting the first wait.
    """

    def __init__(self, forbidden: bool = False) -> None:
        super().__init__()
        self.forbidden, self.waits, self.uploads = forbidden, Counter(), Counter()

    def wait(self, what: str) -> None:
        if self.forbidden:
            raise AssertionError(f"{what} waits for the device")
        self.waits[f"{what} at {_place()}"] += 1

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in WAITS or (name == "index" and any(t is not None and t.dtype == torch.bool for t in args[1])):
            self.wait(name)
        return function(*args, **(kwargs or {}))


@contextmanager
def counted(*, forbidden: bool = False) -> Iterator[HostSync]:
    """A `HostSync` in force, methods of tensors included."""
    mode, before = HostSync(forbidden), {name: getattr(torch.Tensor, name) for name in METHODS}
    makers = {name: getattr(torch, name) for name in ("as_tensor", "tensor", "from_numpy")}

    def asking(name: str) -> Any:
        def method(tensor: Any, *args: Any, **options: Any) -> Any:
            mode.wait(name)
            with torch.utils._python_dispatch._disable_current_modes():
                return before[name](tensor, *args, **options)

        return method

    def making(name: str) -> Any:
        def function(data: Any, *args: Any, **options: Any) -> Any:
            if isinstance(data, (np.ndarray, list)):
                mode.uploads[f"{name} at {_place()}"] += 1
            return makers[name](data, *args, **options)

        return function

    fresh = torch.Tensor.new_tensor

    def new_tensor(tensor: Any, data: Any, *args: Any, **options: Any) -> Any:
        mode.uploads[f"new_tensor at {_place()}"] += 1
        return fresh(tensor, data, *args, **options)

    try:
        for name in METHODS:
            setattr(torch.Tensor, name, asking(name))
        for name in makers:
            setattr(torch, name, making(name))
        torch.Tensor.new_tensor = new_tensor
        with mode:
            yield mode
    finally:
        torch.Tensor.new_tensor = fresh
        for name, function in makers.items():
            setattr(torch, name, function)
        for name, method in before.items():
            setattr(torch.Tensor, name, method)


def _place() -> str:
    frames = [f for f in traceback.extract_stack() if "/linpoison/" in f.filename or "/deep/" in f.filename]
    own = [f for f in frames if "/tests/" not in f.filename]
    return f"{own[-1].filename.rsplit('/', 1)[-1]}:{own[-1].lineno}" if own else "the test"
