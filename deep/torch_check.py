"""Whether a module has what attacks need, seen on its first rows: one answer, rows apart, derivatives that are right.

torch differentiates what it is given without a word where an operation's second derivative has a fault, where a layer
couples the rows of a batch, or where evaluation draws noise. So the first rows that a `deep.TorchRisk` sees are used to
hold all that it will compute against differences, in float64 where the module can be run in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from linpoison.core import CapabilityError, InputError

from .need_torch import torch
from .precision import derivable
from .torch_differences import OPERATIONS, Found, Function, bend_of, is_floating, ways_of
from .torch_layers import Call, deepest, last_slope, place_of, record, writer
from .torch_modules import called_with
from .torch_padding import padding_rows
from .torch_second import MISSING, WAYS, Way, gradient, kept, ways_for

Params = dict[str, Any]
ROWS = 4
"""Rows that are looked at."""
_NAMES = {"slopes": "derivative of the losses", "hessian_product": "Hessian product", "mixed_product": "mixed product"}
_USE = "Write that layer in plain torch operations, or take it as it is with TorchRisk(check=False)."


class Checked:
    """What is known of a module: which looks it has passed, and the way in which each second derivative is right.

    Parameters
    ----------
    wanted : bool
        Whether to look at all.
    derivative : str
        A key of `WAYS`.

    Attributes
    ----------
    outputs : int or None
        Number of scores of a row, once it is known.
    slopes : bool
        Whether outputs have slopes in the rows, or nobody wants to know.
    tied : set of str
        Embeddings whose row for padding has a slope, since another place uses their weight as well.
    """

    def __init__(self, wanted: bool, derivative: str) -> None:
        self.derivative = derivative
        self.answers = self.apart = self.derivatives = self.slopes = not wanted
        self.ways: dict[str, Way | str] = {}
        self.outputs: int | None = None
        self.tied: set[str] = set()

    def look(self, probe: Probe) -> None:
        """Look at what the rows of a probe allow and no earlier ones did.

        Raises
        ------
        CapabilityError
            For a module that fails, with the layer that does.
        """
        with torch.random.fork_rng(devices=_devices(probe.x)), derivable(probe.module, twice=True):
            if not self.answers:
                _check_answers(probe)
                self.answers = True
            if not self.apart and len(probe.x) > 1:
                _check_apart(probe)
                self.apart = True
            if not self.derivatives and probe.loss is not None:
                function = probe.function()
                found = ways_of(function, WAYS[self.derivative], probe.tol)
                if found is not None:
                    self._note(found, probe)
                    self.tied = padding_rows(probe.module).keys() - function.still.keys()
                    self.derivatives = True

    def look_for_slopes(self, probe: Probe) -> None:
        """Refuse a module that gives the same for rows nearby, wherever: nothing moves along such slopes.

        Raises
        ------
        CapabilityError
            With the layer from which on there are none.
        """
        with torch.random.fork_rng(devices=_devices(probe.x)), derivable(probe.module, twice=True):
            if not any(bool(here.row_gradient(here.params).any()) for here in probe.function().elsewhere()):
                got = f"none behind {place_of(probe.module, last_slope(probe))}"
                remedy = "Attack what it makes of the rows, such as embeddings, or take an attack that flips labels."
                raise CapabilityError("outputs that have slopes in the rows", got, remedy)
        self.slopes = True

    def misses(self, labelled: bool, rows: int) -> bool:
        """Whether there is anything left to look at."""
        return not (self.answers and (self.apart or rows < 2) and (self.derivatives or not labelled))

    def second(self, name: str, *arguments: Any) -> Any:
        """A second derivative, by the way that is known to be right; untried, by the first that there is."""
        operation, way = OPERATIONS[name], self.ways.get(name)
        if isinstance(way, str):
            raise CapabilityError("operations that have second derivatives", way)
        if way is not None:
            return way.by(operation, *arguments)
        failed: Exception | None = None
        for untried in ways_for(name, WAYS[self.derivative]):
            try:
                return untried.by(operation, *arguments)
            except MISSING as error:
                failed = failed if failed is not None and untried.forward else kept(error)
        raise CapabilityError("operations that have second derivatives", said(failed))

    def _note(self, found: Found, probe: Probe) -> None:
        for name, error in found.off.items():
            if name not in found.ways:
                what = _NAMES.get(name, name)
                got = f"a {what} that is off by {error:.1g} of its size in {_culprit(probe, self.derivative)}"
                raise CapabilityError("a module whose derivatives agree with differences", got, _USE)
        missing = {name: said(error) for name, error in found.missing.items() if name not in found.ways}
        self.ways = {**missing, **found.ways}


@dataclass(frozen=True, eq=False)
class Probe:
    """A module on a few rows, in float64 where it can be.

    Parameters
    ----------
    module : torch.nn.Module
    call : callable
        From parameters by name and rows to outputs of any structure.
    loss : callable or None
        From outputs to losses; None without labels.
    params, frozen : dict
        The parameters of `w`, and the others; copies.
    x : tensor
    tol : float
        Relative.
    """

    module: Any
    call: Callable[[Params, Any], Any]
    loss: Callable[[Any], Any] | None
    params: Params
    frozen: Params
    x: Any
    tol: float = 1e-3

    @property
    def double(self) -> bool:
        """Whether it is in float64."""
        return self.tol < 0.01

    def function(self) -> Function:
        """A loss of each row that no confident output flattens: the risk's own, and a bent sum of the outputs."""
        loss = self.loss
        bend = bend_of(self.call(self.params, self.x), len(self.x))

        def rows(params: Params, x: Any) -> Any:
            outputs = self.call(params, x)
            return (loss(outputs) if loss is not None else 0.0) + bend(outputs)

        free = Function(rows, self.params, self.x)
        still = {name: row for name, row in padding_rows(self.module).items() if name in self.params}
        slant = gradient(free.total, self.params) if still else {}
        # one that has a slope after all is used in another place, too, and held to differences as all others are
        return replace(free, still={name: row for name, row in still.items() if not slant[name][row].any()})


def _check_answers(probe: Probe) -> None:
    """One answer for the same rows, and parameters that a call leaves alone."""
    before, rows = {name: value.clone() for name, value in {**probe.params, **probe.frozen}.items()}, probe.x.clone()
    first = record(probe, probe.x, probe.params)
    if not torch.equal(rows, probe.x):
        got = f"a call that writes in them, in {place_of(probe.module, writer(probe, rows))}"
        remedy = "Leave out `inplace=True`, or begin with x.clone()."
        raise CapabilityError("a module that leaves its rows alone", got, remedy)
    second = record(probe, probe.x, probe.params)
    written = [k for k, value in before.items() if not torch.equal(value, {**probe.params, **probe.frozen}[k])]
    if written:
        got = f"a call that writes in {written[0]}, of {place_of(probe.module, written[0].rpartition('.')[0])}"
        raise CapabilityError("a module that leaves its parameters alone in evaluation mode", got, "Such as max_norm.")
    layer = _first_difference(first, second, len(probe.x), 1e-9 if probe.double else 1e-5)
    if layer is not None:
        raise CapabilityError(
            "a module that gives one answer for the same rows in evaluation mode",
            f"two answers from {place_of(probe.module, layer)}",
            "Tie its noise to the mode, as in dropout(x, training=self.training).",
        )
    lost = next((call.name for call in first if _lost(call.given) and not _lost(call.taken)), None)
    if lost is not None and _lost(first[-1].given):
        got = f"NaN from {place_of(probe.module, lost)}"
        raise CapabilityError("a module that gives numbers for the first rows", got, "Look at what it is given there.")


def _lost(tensors: list[Any]) -> bool:
    return any(bool(torch.isnan(t).any()) for t in tensors)


def _check_apart(probe: Probe) -> None:
    """Rows that do not depend on which others are in the batch: the last ones alone, for an order may couple them."""
    whole = record(probe, probe.x, probe.params)
    for count in (min(2, len(probe.x) - 1), 1):
        layer: str | None
        try:
            part = record(probe, probe.x[-count:], probe.params)
            layer = _first_difference(whole, part, count, 1e-7 if probe.double else 1e-3)
            got = "another output of a row beside other rows"
        except InputError as error:
            layer, got = deepest(probe, probe.x[-count:]), f"no output for {count} of the rows ({error.got})"
        if layer is not None:
            raise CapabilityError(
                "rows that do not depend on each other in evaluation mode",
                f"{got}, in {place_of(probe.module, layer)}",
                "Batch statistics need track_running_stats=True, sequences batch_first=True.",
            )


def _first_difference(first: list[Call], second: list[Call], count: int, tol: float) -> str | None:
    """Where the last `count` rows of two calls differ first; None if they are the same at the end.

    That is a layer that gives something else for the same, or the one around a layer that is given something else.
    """
    if not _differ(first[-1].given, second[-1].given, count, tol):
        return None
    for one, two in zip(first, second, strict=False):
        if one.name != two.name:
            return ""
        if _differ(one.given, two.given, count, tol):
            return one.name.rpartition(".")[0] if _differ(one.taken, two.taken, count, tol) else one.name
    return ""


def _differ(one: list[Any], two: list[Any], count: int, tol: float) -> bool:
    """Whether tensors differ in their last rows, as far as they have some."""
    return len(one) != len(two) or any(_apart(a, b, count, tol) for a, b in zip(one, two, strict=True))


def _apart(a: Any, b: Any, count: int, tol: float) -> bool:
    if a.shape == b.shape:
        pass
    elif b.ndim == 0:
        a = a[-1:]
    elif a.ndim and a.shape[1:] == b.shape[1:] and min(len(a), len(b)) >= count:
        a, b = a[-count:], b[-count:]
    else:  # a layer that works across the rows, or has none
        return False
    if a.numel() != b.numel():
        return True
    slack = tol * float(torch.nan_to_num(abs(a)).max()) if a.numel() else 0.0
    return not bool(torch.isclose(a.reshape(-1), b.reshape(-1), rtol=tol, atol=slack, equal_nan=True).all())


def _culprit(probe: Probe, derivative: str) -> str:
    """The first layer to finish whose own derivatives disagree with differences."""
    calls: list[tuple[Any, Any, Any]] = []
    hooks = [
        part.register_forward_hook(lambda part, args, kwargs, _: calls.append((part, args, kwargs)), with_kwargs=True)
        for part in probe.module.modules()
    ]
    try:
        probe.call(probe.params, probe.x)
    finally:
        for hook in hooks:
            hook.remove()
    names = {id(part): name for name, part in probe.module.named_modules()}
    for part, args, kwargs in calls:
        name = names[id(part)]
        if not name or (own := _layer(part, name, args, kwargs, probe.params)) is None:
            continue
        try:
            found = ways_of(own, WAYS[derivative], probe.tol)
        except MISSING:
            continue
        if found is not None and set(found.off) - set(found.ways):
            return place_of(probe.module, name)
    return place_of(probe.module, "")


def _layer(part: Any, name: str, args: Any, kwargs: Any, params: Params) -> Function | None:
    """One layer as a function of its parameters and of what it was given."""
    prefix = f"{name}."
    own = {k[len(prefix) :]: v for k, v in params.items() if k.startswith(prefix)}
    given = {f"input {i}": a.detach() for i, a in enumerate(args) if is_floating(a)}
    variables = {**own, **given}
    if not variables:
        return None
    like = next(iter(variables.values()))
    fixed = {k: v.detach().to(like.dtype) if v.is_floating_point() else v.detach()
             for k, v in [*part.named_parameters(), *part.named_buffers()]}  # fmt: skip

    def call(values: Params) -> Any:
        places = [values.get(f"input {i}", a) for i, a in enumerate(args)]
        tensors = {**{k: v.clone() for k, v in fixed.items()}, **{k: values[k] for k in own}}
        return called_with(part, tensors, tuple(places), kwargs)

    try:
        bend = bend_of(call(variables), 1)
    except MISSING:
        return None
    still = {k: row for k, row in padding_rows(part).items() if k in own}
    return Function(lambda values, _: bend(call(values)), variables, None, still)


def _devices(x: Any) -> list[int]:
    return [x.device.index or 0] if x.is_cuda else []


def said(error: Exception | None) -> str:
    """The beginning of what an error says, on one line."""
    words = " ".join(str(getattr(error, "got", error)).split())
    return words[:160] or type(error).__name__
