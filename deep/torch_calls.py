"""How a module is called for its scores: with other parameters, in one state; what it raises, in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from linpoison.core import InputError, LinpoisonError

from .need_torch import torch
from .outputs import Output, check_output, picked
from .precision import derivable, evaluating, full_precision
from .torch_check import ROWS, Probe, said
from .torch_modules import Layout, called_with
from .torch_rows import whole_kinds


class Calls:
    """Calls of a module.

    Parameters
    ----------
    layout : Layout
    output : str, int, callable or None
        The part of what it returns that is wanted.

    Attributes
    ----------
    here : dict or None
        Buffers to compute with in the place of the module's own.
    whole : int or None
        Which of `deep.torch_rows.whole_kinds` rows of whole numbers are handed over as, once some came.
    """

    def __init__(self, layout: Layout, output: Output | None) -> None:
        self.module, self.layout, self.output = layout.module, layout, check_output(output)
        self.here: dict[str, Any] | None = None
        self.whole: int | None = None

    @contextmanager
    def state(self, *, twice: bool = False) -> Iterator[None]:
        """Evaluation mode, full precision, kernels that have the derivatives, and the module left as it was."""
        device = self.layout.first.device
        with evaluating(self.module), derivable(self.module, twice=twice), full_precision(device), torch.no_grad():
            yield

    def kind(self, x: Any) -> Any:
        """Rows of whole numbers as the module takes them; others as they are."""
        if x.is_floating_point() or not len(x):
            return x if x.is_floating_point() else x.to(self.layout.first.dtype)
        if self.whole is None:
            self.whole = self._taken(x[:ROWS])
        return whole_kinds(x, self.layout.first)[self.whole]

    def _taken(self, x: Any) -> int:
        failed: InputError | None = None
        with self.state():
            for place, rows in enumerate(whole_kinds(x, self.layout.first)):
                try:
                    self.outputs(self.copies(), rows.clone())
                    return place
                except InputError as error:
                    failed = failed or error
        raise failed or InputError("rows X that the module takes", "none")

    def copies(self) -> dict[str, Any]:
        """The parameters for a first call, which is not known to leave them alone."""
        return {name: parameter.clone() for name, parameter in self.layout.own.items()}

    def fair_probe(self, x: Any, t: Any, loss: Any) -> Probe:
        """The module on rows and labels, in float64 where it can be run in it."""
        own = self.layout.first.dtype
        for kind in (torch.float64, own):
            try:
                tried = self.probe(x, t, kind, loss)
                tried.call(tried.params, tried.x)
            except (InputError, TypeError):
                if kind == own:
                    raise
            else:
                break
        return self.probe(x, t, kind, loss)

    def probe(self, x: Any, t: Any, kind: Any, loss: Any) -> Probe:
        """The module on rows and labels, in a precision."""

        def cast(value: Any) -> Any:
            return value.to(kind, copy=True) if value.is_floating_point() else value.clone()

        params = self.layout.own
        own = {name: cast(params[name]) for name in self.layout.names}
        frozen = {name: cast(value) for name, value in params.items() if name not in own}

        def call(values: Any, rows: Any) -> Any:
            buffers = {name: cast(value) for name, value in self.buffers().items()}
            return self._called({**buffers, **frozen, **values}, rows)

        labels = cast(t) if t is not None else None
        of = None if t is None else lambda outputs: loss(outputs, labels)
        return Probe(self.module, call, of, own, frozen, cast(x), 1e-3 if kind == torch.float64 else 5e-2)

    def buffers(self) -> dict[str, Any]:
        """Copies of the module's buffers, those that the parameters bring among them."""
        brought = {name: value.clone() for name, value in (self.here or {}).items()}
        return {**self.layout.buffers, **brought}

    def outputs(self, params: dict[str, Any], x: Any) -> Any:
        """What the module gives for rows at parameters by name, of which some may be left out."""
        return self._called({**self.layout.own, **self.buffers(), **params}, x)

    def _called(self, tensors: dict[str, Any], x: Any) -> Any:
        """What the module gives for rows, with these tensors for its own."""
        return self.returned(partial(called_with, self.module, tensors, places=self.layout.places), (x,))

    def returned(self, call: Callable[[Any], Any], x: Any) -> Any:
        """The part of a call's result that is wanted; what the call raises, in one line."""
        try:
            found = call(x)
        except (LinpoisonError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a user's module may raise anything
            row = x[0] if isinstance(x, tuple) else x
            got = f"rows of shape {tuple(row.shape[1:])} and {row.dtype} ({type(error).__name__}: {said(error)})"
            raise InputError("rows X that the module takes", got) from error
        return picked(found, self.output)
