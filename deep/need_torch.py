"""torch, or one line that says what to install."""

from __future__ import annotations

from linpoison.core import MissingDependency

try:
    import torch
    import torch.distributed
    import torch.nn.attention
    import torch.nn.utils.parametrize
    import torch.overrides
    import torch.utils._pytree
except ImportError:
    raise MissingDependency("torch", "to work with networks", "deep") from None

__all__ = ["torch"]
