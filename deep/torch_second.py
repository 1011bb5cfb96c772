"""Derivatives of a torch function: second ones by a forward sweep through a backward one, or by two backward ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from linpoison.core import CapabilityError

from .need_torch import torch

grad, jvp = torch.func.grad, torch.func.jvp

Params = dict[str, Any]


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
"""What may be tried, the cheapest first, by the name that `deep.TorchRisk` has for it."""


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


def slopes(losses: Callable[[Params], Any], params: Params, tangent: Params, *, forward: bool) -> Any:
    """``d/dt losses(params + t tangent)`` at t = 0, one for each row."""
    if forward:
        return jvp(losses, (params,), (tangent,))[1]
    leaves = _leaves(params)
    with torch.enable_grad():
        values = losses(leaves)
        shares = torch.zeros_like(values, requires_grad=True)
        return _gradient(_backward_slope((shares * values).sum(), leaves, tangent), [shares])[0]


def hessian_product(value: Callable[[Params], Any], params: Params, tangent: Params, *, forward: bool) -> Params:
    """``d/dt grad value(params + t tangent)`` at t = 0."""
    if forward:
        return dict(jvp(grad(value), (params,), (tangent,))[1])
    leaves = _leaves(params)
    with torch.enable_grad():
        along = _backward_slope(value(leaves), leaves, tangent)
        found = _gradient(along, list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


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
    leaves, rows = _leaves(params), x.detach().requires_grad_()
    with torch.enable_grad():
        along = _backward_slope(losses(leaves, rows).sum(), leaves, tangent)
        return _gradient(along, [rows])[0]


def _leaves(params: Params) -> Params:
    return {name: value.detach().requires_grad_() for name, value in params.items()}


def _backward_slope(value: Any, leaves: Params, tangent: Params) -> Any:
    slopes = torch.autograd.grad(value, list(leaves.values()), create_graph=True, materialize_grads=True)
    return sum((slope * tangent[name]).sum() for name, slope in zip(leaves, slopes, strict=True))


def _gradient(value: Any, of: list[Any]) -> Any:
    if not value.requires_grad:
        return [torch.zeros_like(item) for item in of]
    try:
        found = torch.autograd.grad(value, of, materialize_grads=True)
        return [slope.to_dense() if slope.is_sparse else slope for slope in found]
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a user's own function or hook may raise anything
        why = " ".join(f"{type(error).__name__}: {error}".split())[:160].rstrip(".")
        raise CapabilityError("operations that can be differentiated", why) from error
