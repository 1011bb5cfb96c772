"""The last linear layer of a network as a `LinearModel`, and the rows that it sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from linpoison.core import CapabilityError, InputError, LinearModel, check_integer
from linpoison.core.validation import Array
from linpoison.risk.arrays import movable

from .need_torch import torch
from .precision import evaluating
from .torch_calls import Calls
from .torch_check import ROWS, Checked
from .torch_modules import Layout, check_module


def linear_model_of(module: torch.nn.Module) -> LinearModel:
    """The linear classifier at the end of a network, on the features of `features`.

    ::

        one output:   score(h) = w . h + b
        two outputs:  score(h) = (w_1 - w_0) . h + b_1 - b_0,  the difference of the logits

    A score above zero is the label +1: of two outputs, the second.

    Parameters
    ----------
    module : torch.nn.Linear or torch.nn.Sequential
        The layer itself, or layers that end in one, with one or two outputs.

    Returns
    -------
    LinearModel
        In float64, whatever the layer's precision.

    Raises
    ------
    InputError
        For another kind of module, more than two outputs, or weights that are not finite.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> _ = torch.nn.init.constant_(layer.weight, 0.5)
    >>> linear_model_of(torch.nn.Sequential(torch.nn.ReLU(), layer))
    LinearModel(coef=array([0.5, 0.5]), intercept=0.0)
    """
    layer = last_layer(module)
    weight = _as_numpy(layer.weight)
    bias = np.zeros(len(weight)) if layer.bias is None else _as_numpy(layer.bias)
    if len(weight) == 1:
        return LinearModel(weight[0], float(bias[0]))
    if len(weight) == 2:
        return LinearModel(weight[1] - weight[0], float(bias[1] - bias[0]))
    raise InputError("a last layer of one or two outputs", f"{len(weight)} outputs", "An audit is of two classes.")


def features(module: torch.nn.Module, X: Any, batch_size: int = 256) -> Array:
    """What the last linear layer of a network is given for each input row.

    The network runs in evaluation mode (no dropout, stored batch statistics) and without gradients;
    afterwards every layer is in the mode that it was in.

    Parameters
    ----------
    module : torch.nn.Linear or torch.nn.Sequential
        As for `linear_model_of`. The features of a bare layer are the rows themselves.
    X : array_like or tensor, shape (n, ...)
        Input rows, moved to the device of the last layer and cast to its precision; whole numbers, such as tokens, stay
        whole where the network takes them.
    batch_size : int, default 256
        Rows for each forward pass. Has no influence on the result but rounding.

    Returns
    -------
    ndarray of shape (n, d)
        In float64, to hand to `linpoison.audit` as rows. Scores agree with the network's:
        ``linear_model_of(module).decision_function(features(module, X))``.

    Raises
    ------
    InputError
        For another kind of module, rows that it cannot take, or features that are not a matrix.
    CapabilityError
        For a network that couples the rows of a batch, or gives other answers to the same rows.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> features(network, [[-1.0, 3.0]])
    array([[0., 3.]])
    """
    size = check_integer(batch_size, "batch_size", at_least=1)
    layer, rows = last_layer(module), held_rows(module, X)
    seen: list[Any] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with evaluating(module), torch.no_grad():
            parts = [_forward(module, rows[start : start + size], seen) for start in range(0, len(rows), size)]
    finally:
        handle.remove()
    return np.concatenate(parts)


def held_rows(module: Any, X: Any, *, moved: bool = False) -> Any:
    """Rows as the network takes them, once it is known to look at each by itself; if they are `moved`, along slopes."""
    like = last_layer(module).weight
    rows = _as_rows(X, like)
    check_module(module)
    if like.dtype not in (torch.float32, torch.float64):  # too coarse to compare in
        return rows.to(like.dtype)
    calls = Calls(Layout(module, lambda _: True), None)
    try:
        with calls.state():
            rows = calls.kind(rows)
            probe, checked = calls.fair_probe(rows[:ROWS], None, None), Checked(True, "auto")
            checked.look(probe)
            if moved:
                movable(rows)
                checked.look_for_slopes(probe)
    except CapabilityError:
        raise
    except InputError as error:
        raise InputError("rows X that the network takes", error.got) from None
    return rows


def last_layer(module: Any) -> Any:
    """The linear layer that a network is, or ends in."""
    layer = module
    while isinstance(layer, torch.nn.Sequential) and len(layer):
        layer = layer[-1]
    if not isinstance(layer, torch.nn.Linear):
        raise InputError(
            "a torch.nn.Linear, or a torch.nn.Sequential that ends in one",
            f"{type(module).__name__}" + ("" if layer is module else f" that ends in {type(layer).__name__}"),
            "Put the layers before the last one and the last one into a Sequential.",
        )
    return layer


def _as_rows(X: Any, like: Any) -> Any:
    try:
        rows = torch.as_tensor(X if isinstance(X, torch.Tensor) else np.asarray(X)).to(like.device)
        rows = rows.to(like.dtype) if rows.is_floating_point() else rows
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError("rows X as an array of numbers", f"a {type(X).__name__} ({_line(error)})") from None
    if rows.ndim < 2 or not len(rows):
        raise InputError("at least one row X of shape (n, ...)", f"shape {tuple(rows.shape)}")
    lost = torch.isnan(rows).flatten(1).any(dim=1).nonzero()
    if len(lost):
        raise InputError("rows X without NaN", f"such values in row {int(lost[0, 0])}")
    return rows


def _forward(module: Any, rows: Any, seen: list[Any]) -> Array:
    seen.clear()
    try:
        module(rows)
    except Exception as error:  # a user's network may raise anything
        raise InputError("rows X that the network takes", f"shape {tuple(rows.shape)} ({_line(error)})") from None
    part = _as_numpy(seen[-1])
    if part.ndim != 2 or not np.isfinite(part).all():
        raise InputError(
            "one finite vector of features for each row", f"shape {part.shape}", "Flatten before the last layer."
        )
    return part


def _as_numpy(tensor: Any) -> Array:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
