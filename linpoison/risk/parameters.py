"""The simplest way in which poison comes from parameters: it is the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .arrays import like
from .projections import Everywhere
from .protocols import PoisonParameters, Projection


@dataclass(frozen=True)
class DirectRows(PoisonParameters):
    """`PoisonParameters` whose vector is the poison rows themselves, of a given shape.

    Parameters
    ----------
    shape : tuple of int
        Of the poison, (m, ...).
    projection : Projection, default Everywhere()
        Where the rows may lie.

    Examples
    --------
    >>> import numpy as np
    >>> DirectRows((1, 2)).points(np.arange(2.0))
    array([[0., 1.]])
    """

    shape: tuple[int, ...]
    projection: Projection = field(default_factory=Everywhere)

    def points(self, phi: Any, index: Any = None) -> Any:
        rows = phi.reshape(self.shape)
        return rows if index is None else rows[index]

    def vjp(self, phi: Any, index: Any = None) -> tuple[Any, Callable[[Any], Any]]:
        def pull(rows: Any) -> Any:
            if index is None:
                return like(rows, phi).reshape(-1)
            whole = (0.0 * phi).reshape(self.shape)
            whole[index] = like(rows, phi)
            return whole.reshape(-1)

        return self.points(phi, index), pull

    def restrict(self, phi: Any) -> Any:
        return self.projection.project(phi.reshape(self.shape)).reshape(-1)


@dataclass(frozen=True, eq=False)
class Allowed(Projection):
    """The parameters whose rows are feasible.

    Parameters
    ----------
    generator : PoisonParameters
    """

    generator: PoisonParameters

    def project(self, X: Any) -> Any:
        return self.generator.restrict(X)
