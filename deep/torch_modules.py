"""A torch module taken apart: which parameters form the flat vector, where its last layer lies, how it starts anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from linpoison.core import CapabilityError, InputError

from .need_torch import torch
from .statistics import plain
from .torch_padding import padding_rows, zeroed
from .torch_sharing import sharing

parametrize = torch.nn.utils.parametrize


class Layout:
    """How the parameters of a module lie in a flat vector, in the order in which the module names them.

    Parameters
    ----------
    module : torch.nn.Module
    params : callable or sequence of str, optional
        Which parameters are in it; by default those that require a gradient.

    Attributes
    ----------
    names : list of str
    size : int
    places : list or None
        See `places_of`; within `fixed`.
    still : dict
        See `padding_rows`.
    """

    def __init__(self, module: Any, params: Callable[[str], bool] | Any = None) -> None:
        named = dict(module.named_parameters())
        self.module, self.names = module, _chosen(named, params)
        self._found: tuple[dict[str, Any], dict[str, Any]] | None = None
        self.places: Places | None = None
        self.shapes = [named[name].shape for name in self.names]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.size = sum(self.sizes)
        self.still = {name: row for name, row in padding_rows(module).items() if name in self.names}
        kinds = {named[name].dtype for name in self.names}
        if not (kinds == {torch.float32} or kinds == {torch.float64}):
            got = ", ".join(sorted(map(str, kinds)))
            raise CapabilityError("parameters in float32 or all in float64", got, "Use `module.float()`.")

    @contextmanager
    def fixed(self) -> Iterator[None]:
        """Tensors of the module are looked up once within."""
        before = self._found, self.places
        self._found, self.places = (self.own, dict(self.module.named_buffers())), places_of(self.module)
        try:
            yield
        finally:
            self._found, self.places = before

    @property
    def first(self) -> Any:
        """A tensor of the device and precision in which the module computes."""
        return self.own[self.names[0]]

    @property
    def own(self) -> dict[str, Any]:
        """All parameters as they are, those of the vector and others, without gradients."""
        if self._found is not None:
            return self._found[0]
        return {name: parameter.detach() for name, parameter in self.module.named_parameters()}

    @property
    def buffers(self) -> dict[str, Any]:
        """Copies of all buffers, for a call may write in them."""
        found = dict(self.module.named_buffers()) if self._found is None else self._found[1]
        return {name: buffer.detach().clone() for name, buffer in found.items()}

    def split(self, vector: Any) -> dict[str, Any]:
        """The tensors of a flat vector, by name, in the module's precision."""
        try:
            vector = plain(vector)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"a flat vector of {self.size} parameters", f"a {type(vector).__name__}") from None
        if tuple(vector.shape) != (self.size,) or vector.layout is not torch.strided:
            got = f"shape {tuple(vector.shape)}" + ("" if vector.layout is torch.strided else f", {vector.layout}")
            raise InputError(f"a flat vector of {self.size} parameters", got)
        parts = torch.split(vector.to(self.first), self.sizes)
        return {k: part.reshape(shape) for k, part, shape in zip(self.names, parts, self.shapes, strict=True)}

    def tangent(self, vector: Any, tied: Set[str]) -> dict[str, Any]:
        """As `split`, of a direction to differentiate in: zero in `padding_rows`, but for those that are `tied`."""
        return zeroed(self.split(vector), {name: row for name, row in self.still.items() if name not in tied})

    def flat(self, tensors: dict[str, Any], rows: int | None = None) -> Any:
        """The float64 vector of tensors by name; with `rows`, a matrix of that many vectors."""
        lead = () if rows is None else (rows,)
        found = torch.empty(*lead, self.size, dtype=torch.float64, device=tensors[self.names[0]].device)
        parts = torch.split(found, self.sizes, dim=-1)
        for part, name, shape in zip(parts, self.names, self.shapes, strict=True):
            part.view(*lead, *shape).copy_(tensors[name].detach())
        return found

    def current(self) -> Any:
        """The vector of the module's own parameters."""
        return self.flat(self.own)

    def module_at(self, vector: Any, buffers: dict[str, Any] | None = None) -> Any:
        """A copy of the module with the parameters of a vector, and these buffers."""
        copy, values = copied(self.module), {**self.split(torch.as_tensor(vector)), **(buffers or {})}
        with torch.no_grad():
            for name, tensor in [*copy.named_parameters(), *copy.named_buffers()]:
                if name in values:
                    tensor.copy_(values[name])
        return copy

    def slices(self, test: Callable[[str], bool]) -> list[slice]:
        """Where the parameters with some kind of name lie."""
        ends = [sum(self.sizes[: i + 1]) for i in range(len(self.sizes))]
        return [slice(end - k, end) for name, end, k in zip(self.names, ends, self.sizes, strict=True) if test(name)]

    @property
    def biases(self) -> list[slice]:
        """Where the parameters called "bias" lie."""
        return self.slices(lambda name: name.rsplit(".", 1)[-1] == "bias")

    def head(self, name: str | None) -> Any:
        """Indices of weight and bias of the last linear layer.

        Raises
        ------
        CapabilityError
            If parts of it are not among the parameters.
        """
        prefix = last_linear(self.module, name)[0]
        own = [f"{prefix}.{k}" if prefix else k for k, _ in last_linear(self.module, name)[1].named_parameters()]
        found = self.slices(lambda name: name in own)
        if len(found) != len(own):
            raise CapabilityError("all parameters of the last linear layer in `params`", f"{len(found)} of {len(own)}")
        return torch.cat([torch.arange(part.start, part.stop, device=self.first.device) for part in found])

    def has_head(self, name: str | None) -> bool:
        """Whether there is a last linear layer of a weight and a bias alone, and all of it is among the parameters."""
        try:
            self.head(name)
        except InputError:
            return False
        return "weight" in last_linear(self.module, name)[1]._parameters  # or it is computed, as by spectral_norm

    def head_outputs(self, name: str | None) -> int:
        """Number of outputs of the last linear layer."""
        return int(last_linear(self.module, name)[1].out_features)


def check_module(module: Any) -> None:
    """Refuse what is no module, or one that cannot be called with other parameters.

    Raises
    ------
    InputError, CapabilityError
    """
    if not isinstance(module, torch.nn.Module):
        raise InputError("a torch.nn.Module", type(module).__name__)
    if isinstance(module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        raise CapabilityError("a module by itself", type(module).__name__, "Give `module.module`.")
    if isinstance(module, torch.jit.ScriptModule):
        raise CapabilityError("a module of Python", type(module).__name__, "Give the one that was scripted.")
    tensors = [*module.named_parameters(), *module.named_buffers()]
    lazy = [name for name, tensor in tensors if torch.nn.parameter.is_lazy(tensor)]
    if lazy:
        raise CapabilityError("parameters that have shapes", f"lazy ones: {', '.join(lazy[:3])}", "Call it once first.")
    if any(tensor.is_meta for _, tensor in tensors):
        raise CapabilityError(
            "parameters with values", "some on the meta device", "Use `module.to_empty` and load them."
        )
    if shared := sharing(tensors, {name for name, _ in module.named_parameters()}):
        remedy = "Tie layers by one parameter, as in `second.weight = first.weight`, or clone one of the two."
        raise CapabilityError(
            "parameters with numbers of their own", f"{shared[0]} and {shared[1]} in one place", remedy
        )


Places = list[tuple[dict[str, Any], str, str]]
"""Where a module holds its tensors: a dictionary of one of its parts, the key there, and the tensor's first name."""


def places_of(module: Any) -> Places:
    """Each place that holds a parameter or a buffer; one that several share has one name."""
    first: dict[int, str] = {}
    return [
        (held, key, first.setdefault(id(tensor), f"{prefix}.{key}" if prefix else key))
        for prefix, part in module.named_modules()
        for held in (part._parameters, part._buffers)
        for key, tensor in held.items()
        if tensor is not None
    ]


def called_with(
    module: Any, tensors: dict[str, Any], args: tuple[Any, ...], kwargs: Any = None, places: Places | None = None
) -> Any:
    """What a module gives with these tensors, by their first names, for its own parameters and buffers.

    ``torch.func.functional_call`` does this too, but where a layer has two names, its search for ties puts the new
    tensors back into the module instead of the old ones; and it takes a tenth of the time of a small module.
    """
    own = [(held, key, held[key], name) for held, key, name in places or places_of(module) if name in tensors]
    try:
        for held, key, _, name in own:
            held[key] = tensors[name]
        return module(*args, **(kwargs or {}))
    finally:
        for held, key, tensor, _ in own:
            held[key] = tensor


def _chosen(named: dict[str, Any], params: Callable[[str], bool] | Any) -> list[str]:
    if params is None:
        names = [name for name, value in named.items() if value.requires_grad]
    elif callable(params):
        names = [name for name in named if params(name)]
    else:
        wanted = [params] if isinstance(params, str) else list(params)
        unknown = sorted(set(wanted) - set(named))
        if unknown:
            raise InputError(f"names among {', '.join(named)}", ", ".join(map(repr, unknown)))
        names = [name for name in named if name in wanted]
    if not names:
        raise InputError("a module with parameters to differentiate in", "none")
    return names


def last_linear(module: Any, name: str | None = None) -> tuple[str, Any]:
    """Name and layer of a module's last ``torch.nn.Linear``, or of the one of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    layers = {key: part for key, part in module.named_modules() if isinstance(part, torch.nn.Linear)}
    if name is not None:
        layers = {key: part for key, part in layers.items() if key == name}
    if not layers:
        raise InputError("a module with a torch.nn.Linear" + (f" named {name}" if name else ""), type(module).__name__)
    return list(layers.items())[-1]


@contextmanager
def features_of(module: Any, name: str | None, *, output: bool) -> Iterator[list[Any]]:
    """Collects, at each call of the module, the input of its last linear layer or the output of a layer by name."""
    parts = dict(module.named_modules())
    if output and name not in parts:
        raise InputError(f"a layer among {', '.join(filter(None, parts))}", repr(name))
    layer = parts[name] if output else last_linear(module, name)[1]
    seen: list[Any] = []
    handle = layer.register_forward_hook(lambda _, inputs, outputs: seen.append(outputs if output else inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


def untouched(module: Any, names: list[str]) -> list[Any]:
    """The parts of a module that have parameters or statistics of their own, but none that is named."""
    found = []
    for prefix, part in module.named_modules():
        own = [f"{prefix}.{k}" if prefix else k for k, _ in part.named_parameters(recurse=False)]
        if own and not set(own) & set(names):
            found.append(part)
    return found


def copied(module: Any) -> Any:
    """A copy, of layers too that keep a tensor from a call, as those of the old ``weight_norm`` do.

    Raises
    ------
    CapabilityError
        If the module holds what cannot be copied.
    """
    kept = [v for part in module.modules() for v in part.__dict__.values() if isinstance(v, torch.Tensor)]
    try:
        return deepcopy(module, {id(tensor): tensor.detach().clone() for tensor in kept})
    except (TypeError, RuntimeError, AttributeError, NotImplementedError) as error:
        why = f"{type(module).__name__} ({str(error).splitlines()[0][:100]})"
        raise CapabilityError("a module that copy.deepcopy copies", why, "Take out what it holds.") from None


def named_tensors(module: Any) -> dict[str, Any]:
    """Parameters and buffers by their names, tied ones once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def write_tensors(module: Any, tensors: dict[str, Any]) -> None:
    """Put tensors into a module, by its names."""
    with torch.no_grad():
        for name, tensor in named_tensors(module).items():
            tensor.copy_(tensors[name])


def fresh(module: Any, seed: int, names: list[str], init: Callable[[Any], None] | None = None) -> Any:
    """A copy of a module with its parameters of these names, and their layers' statistics, drawn anew.

    Raises
    ------
    CapabilityError
        If a layer has parameters of its own that no ``reset_parameters`` draws, and no `init` is given.
    """
    copy = copied(module)
    devices = {p.device for p in copy.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted({d.index or 0 for d in devices})):
        torch.manual_seed(seed)
        if init is not None:
            init(copy)
        else:
            _reset_all(copy, {id(part) for part in untouched(copy, names)}, names)
    before = dict(module.named_parameters())
    with torch.no_grad():
        for name, parameter in copy.named_parameters():
            if name not in names:
                parameter.copy_(before[name])
        for new, old in zip(untouched(copy, names), untouched(module, names), strict=True):
            for buffer, value in zip(new.buffers(recurse=False), old.buffers(recurse=False), strict=True):
                buffer.copy_(value)
    return copy


def _reset_all(module: Any, kept: set[int], names: list[str]) -> None:
    """Every layer by its ``reset_parameters``; then what torch's own layers set above those within them.

    Parameters are NaN before, so that one that nothing draws is found.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in names:
                parameter.fill_(torch.nan)
    parts = [part for part in module.modules() if id(part) not in kept]
    for part in parts:
        if hasattr(part, "reset_parameters"):
            _reset(part)
    for part in reversed(parts):
        if not hasattr(part, "reset_parameters") and hasattr(part, "_reset_parameters"):
            part._reset_parameters()
    for name, parameter in module.named_parameters():
        if name in names and bool(torch.isnan(parameter).any()):
            owner = type(module.get_submodule(name.rpartition(".")[0])).__name__
            raise CapabilityError(
                "layers with reset_parameters that draw all they have", f"{name} of {owner}",
                "Give TorchRisk `init`, which sets them anew.",
            )  # fmt: skip


def _reset(layer: Any) -> None:
    """The layer's own draw; of a parametrised tensor, of what stands behind it."""
    if not parametrize.is_parametrized(layer):
        layer.reset_parameters()
        return
    names = list(layer.parametrizations)
    drawn = {}
    for name in names:  # a plain tensor in the place of the parametrised one, for the draw
        shape = getattr(layer.parametrizations[name], "original", None)
        with torch.no_grad():
            value = getattr(layer, name) if shape is None else shape
        drawn[name] = torch.nn.Parameter(torch.empty_like(value))
    kind, layer.__class__ = layer.__class__, type(layer).__mro__[1]
    try:
        for name, value in drawn.items():
            layer.register_parameter(name, value)
        layer.reset_parameters()
    finally:
        for name in names:
            layer._parameters.pop(name, None)
        layer.__class__ = kind
    for name, value in drawn.items():
        _assign(layer, name, value.detach())


def _assign(layer: Any, name: str, value: Any) -> None:
    mode = layer.training
    try:
        setattr(layer, name, value)
    except (NotImplementedError, RuntimeError):
        return  # no inverse: what stands behind it stays undrawn, and is found
    finally:
        layer.train(mode)
    if any(True for part in layer.parametrizations[name] for _ in part.buffers()):
        layer.train()  # vectors of a power iteration, which moves in training mode
        for _ in range(15):
            getattr(layer, name)
        layer.train(mode)
