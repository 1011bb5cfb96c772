"""Derivatives of a torch function: second ones by a forward sweep through a backward one, or by two backward ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from linpoison.core import CapabilityError, InputError

from .need_torch import torch

grad, jvp, vmap = torch.func.grad, torch.func.jvp, torch.func.vmap

Params = dict[str, Any]
MISSING = (RuntimeError, NotImplementedError, InputError, TypeError, ValueError)
"""What torch raises for a derivative that it does not have, and a module in a precision that it does not take."""


@dataclass(frozen=True)
class Way:
    """How a second derivative is taken.

    Parameters
    ----------
    forward : bool
        By a forward sweep through a backward one; otherwise by two backward ones.
    written_out : bool, default False
        With the weights of ``weight_norm`` by their formula: torch's own kernel has a first derivative that is right
        and a second one that is not.
    """

    forward: bool
    written_out: bool = False

    def by(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """The operation, one of this file, taken in this way."""
        with _WrittenOut() if self.written_out else nullcontext():
            return operation(*arguments, forward=self.forward)


WAYS = {
    "auto": (Way(True), Way(False), Way(True, True), Way(False, True)),
    "forward": (Way(True), Way(True, True)),
    "double_backward": (Way(False), Way(False, True)),
}
"""What may be tried, by the name that `deep.TorchRisk` has for it."""


def ways_for(name: str, ways: tuple[Way, ...]) -> list[Way]:
    """The cheapest first: two backward sweeps of which the first is kept, but for `slopes` a forward one alone."""
    return sorted(ways, key=lambda way: (way.written_out, way.forward != (name == "slopes")))


class _WrittenOut(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
    """Calls of torch's kernel of ``weight_norm`` become ``v g / |v|``."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch._weight_norm:  # noqa: SLF001
            return _normed(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _normed(v: Any, g: Any, dim: int = 0) -> Any:
    return v * (g / torch.norm_except_dim(v, 2, dim))


def gradient(value: Callable[[Params], Any], params: Params) -> Params:
    """``grad value(params)``, by the plain backward sweep that every differentiable operation has."""
    leaves = _leaves(params)
    with torch.enable_grad():
        found = _gradient(value(leaves), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


def row_gradients(losses: Callable[[Params, Any, Any], Any], params: Params, x: Any, y: Any) -> Params:
    """Gradients of the losses of rows, along a first axis: of all at once, or one by one where vmap has no rule."""
    one = grad(lambda p, row, label: losses(p, row[None], label[None]).sum())
    try:
        return dict(vmap(one, in_dims=(None, 0, 0))(params, x, y))
    except MISSING as error:
        kept(error)
    pairs = zip(x.split(1), y.split(1), strict=True)
    found = [gradient(lambda p, pair=pair: losses(p, *pair).sum(), params) for pair in pairs]  # type: ignore[misc]
    return {name: torch.stack([row[name] for row in found]) for name in params}


def slopes(losses: Callable[[Params], Any], params: Params, tangent: Params, *, forward: bool) -> Any:
    """``d/dt losses(params + t tangent)`` at t = 0, one for each row."""
    if forward:
        return jvp(losses, (params,), (tangent,))[1]
    leaves = _leaves(params)
    with torch.enable_grad():
        values = losses(leaves)
        shares = torch.zeros_like(values, requires_grad=True)
        return _along(_slopes((shares * values).sum(), leaves), tangent, [shares])[0]


def hessian_product(value: Callable[[Params], Any], params: Params, tangent: Params, *, forward: bool) -> Params:
    """``d/dt grad value(params + t tangent)`` at t = 0."""
    if forward:
        return dict(jvp(grad(value), (params,), (tangent,))[1])
    return linearised(value, params)(tangent)


def linearised(value: Callable[[Params], Any], params: Params, *, forward: bool = False) -> Callable[[Params], Params]:
    """``tangent -> d/dt grad value(params + t tangent)`` at t = 0, by one graph that is kept for all tangents."""
    leaves = _leaves(params)
    with torch.enable_grad():
        slopes = _slopes(value(leaves), leaves)
    return lambda tangent: dict(zip(leaves, _along(slopes, tangent, list(leaves.values())), strict=True))


def gauss_newton_products(
    outputs: Callable[[Params], Any], loss: Callable[[Any], Any], params: Params, *, forward: bool = False
) -> Callable[[Params], Params]:
    """``tangent -> J' loss''(z) J tangent`` with ``z = outputs(params)`` and J its Jacobian, by graphs that are kept.

    ``J' u`` is linear in u, so that its derivative in u along a tangent, backwards, is ``J tangent``.
    """
    leaves = _leaves(params)
    with torch.enable_grad():
        z = outputs(leaves)
        u = torch.zeros_like(z, requires_grad=True)
        pulled = _slopes((z * u).sum(), leaves)
        here = {"z": z.detach().requires_grad_()}
        bent = _slopes(loss(here["z"]), here)

    def product(tangent: Params) -> Params:
        moved = _along(pulled, tangent, [u])[0]
        change = _along(bent, {"z": moved}, [here["z"]])[0]
        found = torch.autograd.grad(z, list(leaves.values()), change, retain_graph=True, materialize_grads=True)
        return dict(zip(leaves, found, strict=True))

    return product


def pulled_rows(
    value: Callable[[Params, Any], Any], params: Params, x: Any, *, forward: bool = False
) -> tuple[Params, Callable[[Params], Any]]:
    """The slope of a value in the parameters, and ``tangent -> d/dx`` of it along a tangent, by the same graph."""
    leaves, rows = _leaves(params), x.detach().requires_grad_()
    with torch.enable_grad():
        slopes = _slopes(value(leaves, rows), leaves)
    found = {name: slope.detach() for name, slope in slopes.items()}
    return found, lambda tangent: _along(slopes, tangent, [rows])[0]


def mixed_product(
    losses: Callable[[Params, Any], Any], params: Params, tangent: Params, x: Any, *, forward: bool
) -> Any:
    """``d/dx_i`` of the derivative of ``losses_i`` in the parameters along `tangent`, shaped like `x`.

    The loss of a row depends on no other row, so one gradient of the sum holds every row's own.
    """
    if (
        forward
    ):  # a derivative along parameters of a gradient in the rows: torch errs in the gradient of such a derivative
        return jvp(lambda p: grad(lambda z: losses(p, z).sum())(x), (params,), (tangent,))[1]
    return pulled_rows(lambda p, rows: losses(p, rows).sum(), params, x)[1](tangent)


def _leaves(params: Params) -> Params:
    return {name: value.detach().requires_grad_() for name, value in params.items()}


def _slopes(value: Any, leaves: Params) -> Params:
    """The gradient with its graph."""
    found = torch.autograd.grad(value, list(leaves.values()), create_graph=True, materialize_grads=True)
    return {name: _dense(slope) for name, slope in zip(leaves, found, strict=True)}


def _along(slopes: Params, tangent: Params, of: list[Any]) -> list[Any]:
    """The gradient in `of` of ``sum <slope, tangent>``; the graph stays."""
    bent = {name: slope for name, slope in slopes.items() if slope.requires_grad}
    if not bent:
        return [torch.zeros_like(item) for item in of]
    along = [tangent[name] for name in bent]
    return _differentiated(list(bent.values()), of, grad_outputs=along, retain_graph=True)


def _gradient(value: Any, of: list[Any]) -> list[Any]:
    return _differentiated(value, of) if value.requires_grad else [torch.zeros_like(item) for item in of]


def _differentiated(values: Any, of: list[Any], **options: Any) -> list[Any]:
    try:
        return [_dense(slope) for slope in torch.autograd.grad(values, of, materialize_grads=True, **options)]
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a user's own function or hook may raise anything
        why = " ".join(f"{type(error).__name__}: {error}".split())[:160].rstrip(".")
        raise CapabilityError("operations that can be differentiated", why) from error


def _dense(slope: Any) -> Any:
    return slope.to_dense() if slope.is_sparse else slope


def kept(error: Exception) -> Exception:
    """An error to go on after."""
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    return error
