"""Derivatives of a function of parameters and rows, held against differences at points without kinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .need_torch import torch
from .torch_padding import zeroed
from .torch_second import MISSING, Way, gradient, hessian_product, kept, mixed_product, slopes, ways_for

tree_leaves = torch.utils._pytree.tree_leaves

Params = dict[str, Any]
OPERATIONS: dict[str, Any] = {
    "slopes": slopes, "hessian_product": hessian_product, "mixed_product": mixed_product,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Function:
    """Numbers of each row from parameters and rows; `x` is None where there are no rows, or none that move.

    `still` tells rows of parameters that are constants (`deep.torch_padding.padding_rows`).
    """

    rows: Callable[[Params, Any], Any]
    params: Params
    x: Any
    still: dict[str, int] = field(default_factory=dict)

    def directions(self, seed: int) -> Params:
        return zeroed(_directions(self.params, seed), self.still)

    def total(self, params: Params) -> Any:
        return self.rows(params, self.x).sum()

    def at(self, draw: int) -> Function:
        """The same at a point nearby, where no kink lies but by chance: rows of zeros often start on one."""
        if draw == 0:
            return self
        shaken = _moved(self.params, self.directions(7 * draw), 0.05)
        x = self.x
        if self.moves:
            x = x + 0.05 * _directions({"x": x}, 7 * draw + 1)["x"]
        return replace(self, params=shaken, x=x)

    def elsewhere(self) -> Iterator[Function]:
        """The same here, and with other parameters at rows nearer to zero: layers may be dead here, or saturated."""
        yield self
        for draw in range(1, 13):
            near = replace(self, x=self.x * 10.0 ** -(1 + draw % 6)).at(draw)
            yield replace(near, params=self.directions(draw))

    @property
    def moves(self) -> bool:
        return self.x is not None and bool(self.x.is_floating_point())

    def row_gradient(self, params: Params) -> Any:
        return gradient(lambda rows: self.rows(params, rows["x"]).sum(), {"x": self.x})["x"]


@dataclass(frozen=True, eq=False)
class Found:
    """Ways that agree; errors of those that do not; what was raised."""

    ways: dict[str, Way]
    off: dict[str, float]
    missing: dict[str, Exception]


def ways_of(function: Function, ways: tuple[Way, ...], tol: float) -> Found | None:
    """For each second derivative the first way that agrees with differences at one of some points; the gradient too.

    A difference that crosses a kink says nothing, one that agrees does: a wrong derivative agrees nowhere. Steps
    become shorter, so that even millions of rectified units leave a point without any kink.

    None if there is no point with finite numbers.
    """
    found, steps = Found({}, {}, {}), (1e-6, 1e-7, 1e-8, 1e-8) if tol < 0.01 else (1e-2, 3e-3, 1e-2, 3e-3)
    looked = False
    for draw, step in enumerate(steps):
        here = function.at(draw)
        if not bool(torch.isfinite(here.total(here.params))):
            continue
        looked = True
        for name, numeric, noise in _numeric(here, draw, step):
            if name not in found.ways:
                _try(name, here, here.directions(draw), ways, (numeric, noise, tol), found)
        if set(found.ways) >= _asked(function):
            break
    return found if looked else None


def _asked(function: Function) -> set[str]:
    rows = {"gradient", "slopes", "hessian_product"}
    return rows | {"mixed_product"} if function.moves else rows


def _numeric(here: Function, draw: int, step: float) -> list[tuple[str, Params, float]]:
    """Differences along a direction in the parameters, and what rounding may add to each."""
    v, params, x = here.directions(draw), here.params, here.x
    unit = 100 * torch.finfo(next(iter(params.values())).dtype).eps / step
    ahead, behind = _moved(params, v, step), _moved(params, v, -step)

    def slope(function: Callable[[Params], Params]) -> Params:
        one, other = function(ahead), function(behind)
        return {name: (one[name] - other[name]) / (2 * step) for name in one}

    value = abs(here.rows(params, x)).max()
    found = [("slopes", slope(lambda p: {"losses": here.rows(p, x)}), unit * float(value))]
    slant = gradient(here.total, params)
    found.append(("hessian_product", slope(lambda p: gradient(here.total, p)), unit * _size(slant)))
    change, pull = 0.0, 0.0
    if here.moves:
        row_slant = here.row_gradient(params)
        found.append(("mixed_product", slope(lambda p: {"x": here.row_gradient(p)}), unit * _size({"x": row_slant})))
        along = _directions({"x": x}, draw + 50)["x"]
        pull = float((row_slant * along).sum())
        change = float((here.rows(params, x + step * along) - here.rows(params, x - step * along)).sum()) / (2 * step)
    whole = sum(float((slant[name] * v[name]).sum()) for name in params) + pull
    moved = float(found[0][1]["losses"].sum()) + change
    exact = {"gradient": torch.tensor([whole]), "numeric": torch.tensor([moved])}
    return [("gradient", exact, unit * len(here.rows(params, x)) * float(value)), *found]


def _try(
    name: str, here: Function, v: Params, ways: tuple[Way, ...], judge: tuple[Params, float, float], found: Found
) -> None:
    numeric, noise, tol = judge
    if name == "gradient":
        error = _off({"g": numeric["gradient"]}, {"g": numeric["numeric"]}, noise / tol)
        _sort(name, ways[0], error, tol, found)
        return
    given = {"slopes": (lambda p: here.rows(p, here.x), here.params, v),
             "hessian_product": (here.total, here.params, v),
             "mixed_product": (here.rows, here.params, v, here.x)}  # fmt: skip
    for way in ways_for(name, ways):
        try:
            exact = way.by(OPERATIONS[name], *given[name])
        except MISSING as error:
            if not way.forward or name not in found.missing:
                found.missing[name] = kept(error)
            continue
        exact = exact if isinstance(exact, dict) else {next(iter(numeric)): exact}
        if _sort(name, way, _off(exact, numeric, noise / tol), tol, found):
            return


def _sort(name: str, way: Way, error: float, tol: float, found: Found) -> bool:
    if error <= tol:
        found.ways[name] = way
    else:
        found.off[name] = min(error, found.off.get(name, error))
    return error <= tol


def _off(exact: Params, numeric: Params, noise: float) -> float:
    """The greatest relative error of a tensor; what is a hundredth of the whole, or of rounding, counts as that."""
    floor = 0.01 * _size(numeric) + noise + 1e-300
    errors = [_length(exact[k] - numeric[k]) / (max(_length(exact[k]), _length(numeric[k])) + floor) for k in numeric]
    return max(error if error == error else 1.0 for error in errors)


def bend_of(outputs: Any, n: int) -> Callable[[Any], Any]:
    """A smooth function of outputs, one number for each of n rows, that is nowhere flat at the outputs given."""
    scales = [float(abs(t).max()) or 1.0 for t in tensors_of(outputs)]
    weights = [random_like(t, 11 + i) for i, t in enumerate(tensors_of(outputs))]

    def of(found: Any) -> Any:
        total: Any = 0.0
        for t, scale, weight in zip(tensors_of(found), scales, weights, strict=False):
            if t.numel() and t.shape == weight.shape and t.numel() % n == 0:
                total = total + (weight * torch.tanh(t / scale)).reshape(n, -1).sum(dim=1)
        return total

    return of


def _directions(params: Params, seed: int) -> Params:
    """Of each tensor a random one of its size."""
    found = {}
    for place, (name, value) in enumerate(params.items()):
        size = float((value.detach() ** 2).mean()) ** 0.5 if value.numel() else 0.0
        found[name] = (size or 0.1) * random_like(value, 1000 * seed + place)
    return found


def random_like(like: Any, seed: int) -> Any:
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(like.device, like.dtype)


def _moved(params: Params, v: Params, step: float) -> Params:
    return {name: value.detach() + step * v[name] for name, value in params.items()}


def _size(tensors: Params) -> float:
    return sum(_length(tensor) ** 2 for tensor in tensors.values()) ** 0.5


def _length(tensor: Any) -> float:
    return float(torch.linalg.vector_norm(tensor.detach()))


def tensors_of(outputs: Any) -> list[Any]:
    values = outputs.values() if hasattr(outputs, "values") and not isinstance(outputs, torch.Tensor) else outputs
    return [leaf for leaf in tree_leaves(list(values) if values is not outputs else values) if is_floating(leaf)]


def is_floating(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()
