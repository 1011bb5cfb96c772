"""Who else computes on the same poison: nobody. `deep.parallel.Torchrun` is the other answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Ranks(Protocol):
    """Processes that share the rows; each calls the same functions in the same order."""

    @property
    def size(self) -> int: ...
    @property
    def rank(self) -> int:
        """Number of this process; only process 0 writes files."""

    def shard(self, n: int) -> Any:
        """The rows, among n, that are this process's."""

    def sum(self, vector: Any) -> Any:
        """The sum of a parameter-space vector over the processes."""

    def max(self, number: float) -> float:
        """The greatest of the processes' numbers."""

    def gather(self, rows: Any) -> Any:
        """All rows in their order, from the shards."""


@dataclass(frozen=True)
class Alone(Ranks):
    """One process."""

    size: int = 1
    rank: int = 0

    def shard(self, n: int) -> Any:
        return np.arange(n)

    def sum(self, vector: Any) -> Any:
        return vector

    def max(self, number: float) -> float:
        return number

    def gather(self, rows: Any) -> Any:
        return rows
