"""Which layer of a module does what, as hooks on the calls of all layers tell: of a `deep.torch_check.Probe`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from linpoison.core import InputError

from .need_torch import torch
from .torch_differences import random_like, tensors_of


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a layer: its name, and the tensors that it took and gave."""

    name: str
    taken: list[Any]
    given: list[Any]


def record(probe: Any, x: Any, params: Any) -> list[Call]:
    """What each layer takes and gives, in the order in which they finish; the whole module at the end."""
    seen: list[Call] = []
    names = {id(part): name for name, part in probe.module.named_modules()}

    def note(part: Any, taken: Any, given: Any) -> None:
        copies = [[t.detach().clone() for t in tensors_of(values)] for values in (taken, given)]
        seen.append(Call(names[id(part)], *copies))

    with _hooked(probe.module, after=note):
        outputs = probe.call(params, x)
    return [*seen, Call("", [], tensors_of(outputs))]


def writer(probe: Any, rows: Any) -> str:
    """The first layer that leaves the rows other than they came; the one around it where they were so before it."""
    x = rows.clone()
    found: list[str] = []
    names = {id(part): name for name, part in probe.module.named_modules()}

    def note(part: Any, *given: Any) -> None:
        if not found and not torch.equal(x, rows):
            name = names[id(part)]
            found.append(name if len(given) > 1 else name.rpartition(".")[0])

    with _hooked(probe.module, before=note, after=note):
        probe.call(probe.params, x)
    return found[0] if found else ""


def last_slope(probe: Any) -> str:
    """The first layer to finish whose outputs have no slopes in the rows; the one around if its inputs have none."""
    x = probe.x.detach().requires_grad_()
    found: list[str] = []
    names = {id(part): name for name, part in probe.module.named_modules()}

    def sloped(values: Any) -> bool:
        ends = [t for t in tensors_of(values) if t.requires_grad]
        if not ends:
            return False
        total = sum((random_like(t, 3) * t).sum() for t in ends)
        return bool(torch.autograd.grad(total, x, retain_graph=True, materialize_grads=True)[0].any())

    def note(part: Any, taken: Any, given: Any) -> None:
        if not found and not sloped(given):
            name = names[id(part)]
            found.append(name if sloped(taken) else name.rpartition(".")[0])

    with torch.enable_grad(), _hooked(probe.module, after=note):
        probe.call(probe.params, x)
    return found[0] if found else ""


@contextmanager
def _hooked(module: Any, *, before: Any = None, after: Any = None) -> Iterator[None]:
    """Functions that are told of the calls of all layers."""
    hooks = [part.register_forward_pre_hook(before) for part in module.modules() if before is not None]
    hooks += [part.register_forward_hook(after) for part in module.modules() if after is not None]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def deepest(probe: Any, x: Any) -> str:
    """The layer in which a call ends in an error: the last that began and did not finish."""
    begun: list[str] = []
    names = {id(part): name for name, part in probe.module.named_modules()}
    try:
        with _hooked(probe.module, before=lambda part, _: begun.append(names[id(part)]), after=lambda *_: begun.pop()):
            probe.call(probe.params, x)
    except InputError:
        return begun[-1] if begun else ""
    return ""


def place_of(module: Any, name: str) -> str:
    """A layer in words."""
    parts = dict(module.named_modules())
    part = parts.get(name, module)
    return f"the layer {name} ({type(part).__name__})" if name else f"{type(module).__name__} itself"
