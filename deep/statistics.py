"""Parameters that bring the statistics they were learned with, so that the two cannot be taken apart."""

from __future__ import annotations

from typing import Any

from .need_torch import torch


class Learned(torch.Tensor):  # type: ignore[misc]
    """A flat vector of parameters with the buffers of the module that training changed, such as batch statistics.

    A `deep.TorchRisk` computes with these buffers, whichever module it was made of. Sums, multiples and copies of the
    vector bring the same, so that parameters to plant near the learned ones do too.
    """

    statistics: dict[str, Any]

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001
            result = function(*args, **(kwargs or {}))
        source = next((value for value in args if isinstance(value, cls)), None)
        if source is None or type(result) is not torch.Tensor or result.shape != source.shape:
            return result
        return learned(result, source.statistics) if result.is_floating_point() else result


def learned(vector: Any, statistics: dict[str, Any] | None) -> Any:
    """`vector` with these statistics; as it is without any."""
    if not statistics:
        return plain(vector)
    found = plain(vector).as_subclass(Learned)
    found.statistics = statistics
    return found


def plain(vector: Any) -> Any:
    """The vector by itself, as a tensor."""
    return torch.as_tensor(vector).as_subclass(torch.Tensor)


def statistics_of(vector: Any) -> dict[str, Any] | None:
    """What a vector brings; None if it brings nothing."""
    return vector.statistics if isinstance(vector, Learned) else None


def changed(module: Any, before: Any) -> dict[str, Any]:
    """Copies of the buffers of floating point in which a module differs from another of its shape."""
    old = dict(before.named_buffers())
    return {
        name: buffer.detach().clone()
        for name, buffer in module.named_buffers()
        if buffer.is_floating_point() and not (name in old and torch.equal(buffer, old[name].to(buffer)))
    }
