"""What a result depends on, as the key under which finished steps are kept."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import metadata
from typing import Any

from .._version import __version__
from ..core.journal import code_digest


def run_digest(**influences: Any) -> str:
    """A short hash of everything that a result depends on: the code of the library and what computes, too."""
    told = {"linpoison": (__version__, code_digest("linpoison")), "packages": _packages(), **influences}
    text = json.dumps(told, sort_keys=True, default=_stated)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stated(value: Any) -> str:
    """An array by its bytes, anything else in words."""
    if not hasattr(value, "tobytes"):
        return str(value)
    return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"


@cache
def _packages() -> dict[str, str]:
    """Versions of what computes results."""
    return {name: metadata.version(name) for name in ("numpy", "scipy", "scikit-learn")}
