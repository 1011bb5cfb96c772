"""Pictures changed by little in each pixel, and by little in what each colour becomes: the two bounds of MetaPoison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from linpoison.core import CapabilityError, Domain, InputError, check_integer, check_number
from linpoison.core.validation import Array
from linpoison.risk.samples import Sample

from .need_torch import torch


@dataclass(frozen=True)
class Recoloring:
    """A `Source` of pictures near the clean ones: of `deep` for `linpoison.attacks.gradient.MetaPoison` and `TGDA`.

    ::

        x'  =  clip( x + c(x) + delta ),     |delta| <= near,   |c| <= colour

    where c gives each colour (each intensity, of one channel) a change that is the same for all pixels of a picture
    that have it: multilinear between the points of a grid over the range of pixels. So a picture may become darker or
    redder by more than a pixel may by itself, which is hard to see.

    Parameters
    ----------
    near : float, default 8 / 255
        Bound on delta in each entry, in units of its range, which the domain says: channels may differ.
    colour : float, default 0.04
        Bound on c, in the same units.
    grid : int, default 8
        Points of the grid along each channel.

    References
    ----------
    Huang, Geiping, Fowl, Taylor, Goldstein, "MetaPoison", 2020, section 2.6, there with the grid in CIELUV and a
    penalty on its differences; Laidlaw, Feizi, "Functional adversarial attacks", 2019.

    Examples
    --------
    >>> Recoloring(colour=0.1)
    Recoloring(near=0.03137254901960784, colour=0.1, grid=8)
    """

    near: float = 8 / 255
    colour: float = 0.04
    grid: int = 8

    def __post_init__(self) -> None:
        for name in ("near", "colour"):
            check_number(getattr(self, name), name, at_least=0)
        check_integer(self.grid, "grid", at_least=2)

    def begin(self, view: Any, domain: Domain, seeds: Sample, train: Sample, seed: int, middle: Any) -> Any:
        """The parameters' meaning, and zeros: pictures as they are."""
        low, high = bounds_of(domain, "to recolour")
        if (low == high).all():
            raise InputError("pixels of a range to recolour", "one number for each of them")
        generator = Recolored(view.risk.rows(seeds.X), (low, high), self)
        return generator, generator.first


def bounds_of(domain: Domain, what: str) -> tuple[Array, Array]:
    """The least and the greatest of each feature, shape (d,).

    Raises
    ------
    InputError
        For a domain without, or with infinite ones.
    """
    if domain.lower is None or domain.upper is None:
        raise InputError(f"rows of a bounded domain {what}", repr(domain))
    for bounds in (domain.lower, domain.upper):
        if not np.isfinite(bounds).all():
            raise InputError(f"rows of a bounded domain {what}", f"a bound of {bounds[~np.isfinite(bounds)][0]:g}")
    return domain.lower, domain.upper


class Recolored:
    """`PoisonParameters` whose vector holds delta and then the grids of c, both in units of the range of pixels.

    Parameters
    ----------
    seeds : tensor, shape (m, channels, height, width)
    bounds : pair of array_like, shape (channels * height * width,), or of float
        The range of each pixel, or of all.
    rule : Recoloring

    Raises
    ------
    CapabilityError
        For rows that are no pictures of one or three channels.
    """

    def __init__(self, seeds: Any, bounds: tuple[Any, Any], rule: Recoloring) -> None:
        if seeds.ndim != 4 or seeds.shape[1] not in (1, 3):
            raise CapabilityError("pictures of one or three channels", f"rows of shape {tuple(seeds.shape[1:])}")
        self.seeds, self.rule, shape = seeds, rule, tuple(seeds.shape[1:])
        ends = (torch.as_tensor(end, dtype=torch.float64, device=seeds.device) for end in bounds)
        self.low, self.high = (end.expand(prod(shape)).reshape(shape) for end in ends)
        self.channels = int(seeds.shape[1])
        self.cells = (rule.grid,) * self.channels + (self.channels,)

    @property
    def first(self) -> Any:
        """No change."""
        size = self.seeds.numel() + len(self.seeds) * self.rule.grid**self.channels * self.channels
        return torch.zeros(size, dtype=torch.float64, device=self.seeds.device)

    def points(self, phi: Any, index: Any = None) -> Any:
        with torch.no_grad():
            return self._made(*self._parts(phi), index)

    def vjp(self, phi: Any, index: Any = None) -> tuple[Any, Callable[[Any], Any]]:
        leaf = phi.detach().requires_grad_()
        with torch.enable_grad():
            made = self._made(*self._parts(leaf), index)

        def pull(rows: Any) -> Any:
            return torch.autograd.grad(made, leaf, rows.to(made), retain_graph=True)[0]

        return made.detach(), pull

    def restrict(self, phi: Any) -> Any:
        cut = self.seeds.numel()
        low, high = phi[:cut], phi[cut:]
        near, colour = self.rule.near, self.rule.colour
        return torch.cat([low.clip(-near, near), high.clip(-colour, colour)])

    def _parts(self, phi: Any) -> tuple[Any, Any]:
        cut = self.seeds.numel()
        return phi[:cut].reshape(self.seeds.shape), phi[cut:].reshape(len(self.seeds), *self.cells)

    def _made(self, delta: Any, grids: Any, index: Any) -> Any:
        low, span = self.low, self.high - self.low
        x = (self.seeds if index is None else self.seeds[index]).double()
        delta, grids = (part if index is None else part[index] for part in (delta, grids))
        unit = (x - low) / span.where(span > 0, 1.0)  # what has no range stays where it is
        # so many pictures at a time, whose weights at the points of the grid fit into memory
        shifts = torch.cat([self._shifts(u, g) for u, g in zip(unit.split(32), grids.split(32), strict=True)])
        changed = unit + shifts + delta
        return (low + span * changed.clip(0.0, 1.0)).to(self.seeds)

    def _shifts(self, unit: Any, grids: Any) -> Any:
        """The change of each pixel's colour: its weights at the points of the grid times what they become."""
        points = torch.arange(self.rule.grid, dtype=unit.dtype, device=unit.device)
        place = unit.flatten(2) * (self.rule.grid - 1)
        weights = (1 - (place[..., None] - points).abs()).clip(min=0)  # (rows, channels, pixels, points)
        found = torch.einsum("mpa,ma...->mp...", weights[:, 0], grids)
        for channel in range(1, self.channels):
            found = torch.einsum("mpa,mpa...->mp...", weights[:, channel], found)
        return found.transpose(1, 2).reshape(unit.shape)
