"""Where the poison of a game comes from: what is optimised, and where it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from ...core import Domain, check_number
from ...risk.arrays import doubled
from ...risk.parameters import DirectRows
from ...risk.projections import Everywhere, Intersection, LinfAroundSeed
from ...risk.protocols import PoisonParameters, Projection
from ...risk.samples import Sample
from ...risk.views import View
from ..run import Middle


class Source(Protocol):
    """Makes `PoisonParameters` for a scenario."""

    def begin(
        self, view: View, domain: Domain, seeds: Sample, train: Sample, seed: int, middle: Middle
    ) -> tuple[PoisonParameters, Any]:
        """The parameters' meaning, and their start: from clean rows of the poison's labels and the training rows."""


@dataclass(frozen=True)
class Pixels(Source):
    """The rows themselves.

    Parameters
    ----------
    projection : Projection, default Everywhere()
        Where they may lie, beside the domain.
    near : float, optional
        How far each entry may be from where it starts.
    """

    projection: Projection = field(default_factory=Everywhere)
    near: float | None = None

    def __post_init__(self) -> None:
        if self.near is not None:
            check_number(self.near, "near", above=0)

    def begin(
        self, view: View, domain: Domain, seeds: Sample, train: Sample, seed: int, middle: Middle
    ) -> tuple[PoisonParameters, Any]:
        rows = view.risk.rows(seeds.X)
        place = view.within(domain, self.projection)
        if self.near is not None:
            place = Intersection(LinfAroundSeed(doubled(rows), self.near), place)
        return DirectRows(tuple(rows.shape), place), doubled(rows).reshape(-1)
