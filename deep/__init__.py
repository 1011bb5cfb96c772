"""Networks: the linear layer at the end of a torch module, and the features that it sees.

The audit of `linpoison` speaks of linear classifiers. A network whose last layer is linear is one,
on the features of the layers before it; this room makes the two meet. It needs no cvxpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .head import features, linear_model_of

__all__ = ["features", "linear_model_of"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(".head", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
