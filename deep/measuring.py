"""What a run costs."""

from __future__ import annotations

import sys
from typing import Any


def peak_memory(rows: Any) -> float:
    """Greatest memory in use so far, in MiB: of the device of a CUDA tensor, else of the process.

    NaN on a system that does not say.
    """
    if getattr(rows, "is_cuda", False):
        import torch

        return float(torch.cuda.max_memory_allocated(rows.device)) / 2**20
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)
