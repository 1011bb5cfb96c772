"""Poison rows spread over the processes of ``torchrun``: one all_reduce of a parameter-space vector for each step."""

from __future__ import annotations

from typing import Any

import numpy as np

from linpoison.core import InputError

from .need_torch import torch

dist = torch.distributed


class Torchrun:
    """The processes of the default group of torch.distributed, as `Ranks`.

    Every process calls the attack with the same arguments, and all return the whole. In gradient canceling each keeps
    and moves its own contiguous part of the poison rows; in TGDA, whose poison changes owners with each batch, each
    takes the derivatives of its part of a batch's training, poison and validation rows. No wrapper around the module
    is needed, nor would DistributedDataParallel do: it has no gradients of gradients.

    Raises
    ------
    InputError
        If the group is not initialised.
    """

    def __init__(self) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise InputError("a process group", "none", "Call torch.distributed.init_process_group under torchrun.")
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        self._device = "cuda" if dist.get_backend() == "nccl" else "cpu"

    @property
    def size(self) -> int:
        return self._size

    @property
    def rank(self) -> int:
        return self._rank

    def shard(self, n: int) -> Any:
        return np.array_split(np.arange(n), self._size)[self._rank]

    def sum(self, vector: Any) -> Any:
        total = torch.as_tensor(vector).detach().clone()
        moved = total.to(self._device)
        dist.all_reduce(moved)
        return moved.numpy() if isinstance(vector, np.ndarray) else moved.to(total.device)

    def max(self, number: float) -> float:
        value = torch.tensor([number], dtype=torch.float64, device=self._device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return float(value)

    def gather(self, rows: Any) -> Any:
        own = torch.as_tensor(rows).detach()
        parts: list[Any] = [None] * self._size
        dist.all_gather_object(parts, own.cpu())
        joined = torch.cat(parts)
        return joined.numpy() if isinstance(rows, np.ndarray) else joined.to(own.device)
