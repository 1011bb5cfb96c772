"""Rows of a network's input whose features are given ones: poison of the last layer, carried back to pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from linpoison.core import InputError, check_integer, check_number
from linpoison.core.validation import Array
from linpoison.risk.arrays import to_numpy
from linpoison.risk.descent import Adam, Optimiser, Progress, silent
from linpoison.risk.projections import Box
from linpoison.risk.protocols import Projection
from linpoison.risk.ranks import Alone

from .head import features, held_rows, last_layer
from .need_torch import torch
from .precision import derivable, evaluating, full_precision
from .torch_modules import features_of


@dataclass(frozen=True, eq=False)
class Collided:
    """What `FeatureCollision` found.

    Parameters
    ----------
    rows : ndarray, shape (n, ...)
        Of the network's input.
    features : ndarray, shape (n, h)
        Of these rows, as `features` gives them.
    distance, before : ndarray, shape (n,)
        Euclidean distances to the wanted features, at the end and of the rows to begin with.
    """

    rows: Array
    features: Array
    distance: Array
    before: Array


@dataclass(frozen=True)
class FeatureCollision:
    """Move rows until a network gives them wanted features.

    ::

        minimise_(x_1 .. x_n in Z)  sum_i |f(x_i) - h_i|^2 / 2 + closeness |x_i - b_i|^2 / 2

    with f what the last linear layer is given. Poison that an attack on the last layer made, `h`, is so carried
    back to inputs. No row of Z need have such features: what is left is `Collided.distance`.

    Parameters
    ----------
    optimiser : Optimiser, default Adam(step=0.02, steps=200)
    projection : Projection, default Box(0, 1)
        Z, such as the range of pixels.
    closeness : float, default 0
        How much it costs to move away from the rows `b` to begin with.
    batch_size : int, default 64
        Rows that are moved together.

    References
    ----------
    Shafahi et al., "Poison frogs! Targeted clean-label poisoning attacks on neural networks", 2018, equation (1).

    Examples
    --------
    >>> network = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> found = FeatureCollision().collide(network, [[0.25, 0.5]], [[0.75, 0.5]])
    >>> found.rows.round(3), found.before
    (array([[0.25, 0.5 ]]), array([0.5]))
    """

    optimiser: Optimiser = field(default_factory=lambda: Adam(step=0.02, steps=200))
    projection: Projection = field(default_factory=lambda: Box(0.0, 1.0))
    closeness: float = 0.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_number(self.closeness, "closeness", at_least=0)
        check_integer(self.batch_size, "batch_size", at_least=1)

    def collide(self, module: Any, wanted: Any, base: Any, *, progress: Progress = silent) -> Collided:
        """Move `base` towards features.

        Parameters
        ----------
        module : torch.nn.Linear or torch.nn.Sequential
            As for `features`.
        wanted : array_like, shape (n, h)
        base : array_like or tensor, shape (n, ...)
            Rows to begin with, such as the clean ones of the nearest features.
        progress : callable, optional
            Called with the step and the value of the objective, of each batch.

        Raises
        ------
        InputError, CapabilityError
            As for `features`; for features of another shape than the rows', or rows of whole numbers.
        """
        aim, before = np.asarray(wanted, dtype=np.float64), features(module, base, self.batch_size)
        if aim.shape != before.shape or not np.isfinite(aim).all():
            raise InputError(f"finite features of shape {before.shape}, one row for each of `base`", f"{aim.shape}")
        rows, found = held_rows(module, base, moved=True), []
        for start in range(0, len(rows), self.batch_size):
            part = np.arange(start, min(start + self.batch_size, len(rows)))
            sets = self.projection.take(part)
            first = sets.project(rows[part])
            of = _Collision(module, torch.as_tensor(aim[part]).to(first), rows[part], self.closeness)
            found.append(self.optimiser.minimise(of, first, sets, tol=0.0, ranks=Alone(), progress=progress).X)
        moved = torch.cat(found)
        after = features(module, moved, self.batch_size)
        distances = (np.linalg.norm(have - aim, axis=1) for have in (after, before))
        return Collided(to_numpy(moved), after, *distances)


@dataclass(frozen=True, eq=False)
class _Collision:
    """The objective of a batch, and its gradient."""

    module: Any
    wanted: Any
    base: Any
    closeness: float

    def __call__(self, X: Any) -> tuple[float, Any]:
        x = X.detach().requires_grad_()
        device = x.device
        with evaluating(self.module), derivable(self.module), full_precision(device), torch.enable_grad():
            with features_of(last_layer(self.module), None, output=False) as seen:
                self.module(x)
            gap = ((seen[-1] - self.wanted) ** 2).sum() + self.closeness * ((x - self.base) ** 2).sum()
            (slope,) = torch.autograd.grad(gap / 2, x)
        return float(gap.detach()) / 2, slope
