"""A learner as attacks by derivatives see it: a risk, and how the rows of a `Dataset` are written for it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..core import Dataset, Domain, Poison
from .arrays import to_numpy
from .projections import Box, Intersection, Sphere
from .protocols import Projection, Risk, Vector
from .samples import Sample


@dataclass(frozen=True, eq=False)
class View:
    """What attacks by derivatives know of a learner, whatever it learns.

    Parameters
    ----------
    risk : Risk
    labels : tuple of float
        Of the rows of the core, in the order of the classes.
    n_classes : int or None
        See `Dataset`.
    shape : tuple of int
        Of a row, as the risk takes it.
    size : int
        Number of parameters.
    """

    risk: Risk
    labels: tuple[float, ...]
    n_classes: int | None
    shape: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, risk: Risk, data: Dataset, size: int, shape: tuple[int, ...] | None = None) -> View:
        """The view of a risk on rows like those of `data`."""
        return cls(risk, data.labels, data.n_classes, shape or (data.d,), size)

    def sample(self, data: Dataset) -> Sample:
        """Rows of the core with their weights."""
        codes = data.codes
        y = codes if self.risk.margin_loss is None else np.where(codes > 0, 1.0, -1.0)
        return Sample(data.X if len(self.shape) == 1 else data.X.reshape(-1, *self.shape), y, data.weight)

    def vector(self, model: Any) -> Vector:
        """The parameters of a model that the learner has learned."""
        return self.risk.vector(model.flat[: self.size])

    def poison(self, found: Sample, domain: Domain) -> Poison:
        """Rows of an attack as rows of the core, cut to the domain: a module's precision may have rounded them out."""
        y = to_numpy(found.y)
        codes = (y if self.risk.margin_loss is None else y > 0).astype(int)
        X = domain.clip(to_numpy(found.X).reshape(-1, prod(self.shape)))
        return Poison(X, np.asarray(self.labels)[codes], found.mass, self.n_classes)

    def within(self, domain: Domain, projection: Projection) -> Projection:
        """The rows of a projection that lie in the convex hull of a domain, or on its sphere."""
        if domain.on_sphere:
            return Sphere(1.0)
        if domain.lower is None or domain.upper is None:
            return projection
        hull = Box(domain.lower.reshape(self.shape), domain.upper.reshape(self.shape))
        bounds = projection.bounds()
        if bounds is None:
            return Intersection(projection, hull)
        low, high = np.maximum(hull.lower, to_numpy(bounds[0])), np.minimum(hull.upper, to_numpy(bounds[1]))
        return Box(low, high)
