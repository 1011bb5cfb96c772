"""What an attack is judged by: distance to the target, accuracy, memory."""

from __future__ import annotations

import sys
from math import inf
from typing import Any

import numpy as np

from ..core import InputError
from .arrays import norm, take_rows
from .protocols import Vector
from .samples import Sample
from .training import Trained


def peak_memory(rows: Any) -> float:
    """Greatest memory in use so far, in MiB: of the device of a CUDA tensor, else of the process.

    NaN on a system that does not say.
    """
    if getattr(rows, "is_cuda", False):
        return float(sys.modules["torch"].cuda.max_memory_allocated(rows.device)) / 2**20
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)


def relative_distance(found: Vector, target: Vector, clean: Vector) -> float:
    """``|found - target| / |clean - target|``: 0 at the target, 1 where the clean parameters are.

    Where the clean parameters are the target, infinite for any others.

    Parameters
    ----------
    found, target, clean : vector
        Parameters that were learned, that were aimed at, and that the clean rows give.

    Examples
    --------
    >>> relative_distance(np.array([1.0]), np.array([3.0]), np.array([-1.0]))
    0.5
    """
    left, way = norm(found - target), norm(clean - target)
    return left / way if way else inf if left else 0.0


def accuracy(model: Any, *where: Any) -> float:
    """Share of the rows, copies counted, that are predicted rightly.

    Parameters
    ----------
    model : Trained or Risk
        What was learned, as ``accuracy(learned, data)``; or a risk, as ``accuracy(risk, w, data)``, for parameters that
        were not learned.
    where : Sample, or Vector and Sample
        The parameters after a risk, and the rows.

    Raises
    ------
    InputError
        For other arguments, or labels that are not among those of the risk.
    """
    risk, w, data = _model(model, *where)
    X, y = (data.X, data.y) if data.y is not None else take_rows(data.X, None, range(data.n))
    if hasattr(risk, "codes"):
        risk.codes(y, X)
    predicted = np.asarray(_host(risk.predict(w, X)))
    return float(np.average(predicted == np.asarray(_host(y)), weights=data.mass))


def _model(model: Any, *where: Any) -> tuple[Any, Any, Sample]:
    parts = (model.risk, model.w, *where) if isinstance(model, Trained) else (model, *where)
    if len(parts) != 3 or not isinstance(parts[2], Sample):
        raise InputError("accuracy(learned, data) or accuracy(risk, w, data)", f"{len(where) + 1} arguments")
    return parts  # type: ignore[return-value]


def _host(values: Any) -> Any:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values
