"""Rows of embeddings that stand for padding: used as any other row, and constants of what is differentiated."""

from __future__ import annotations

from typing import Any

from .need_torch import torch


def padding_rows(module: Any) -> dict[str, int]:
    """The row for padding of each embedding that has one, by the name of its weight, where no other layer has it.

    ``torch.nn.Embedding(padding_idx=...)`` gives that row no gradient, so that learning leaves it as it is: it has no
    part in a direction to differentiate in.
    """
    held = [id(tensor) for part in module.modules() for tensor in part._parameters.values()]
    return {
        f"{prefix}.weight" if prefix else "weight": part.padding_idx
        for prefix, part in module.named_modules()
        if isinstance(part, torch.nn.Embedding) and part.padding_idx is not None and held.count(id(part.weight)) == 1
    }


def zeroed(tensors: dict[str, Any], rows: dict[str, int]) -> dict[str, Any]:
    """Tensors by name, with zeros in a row of each that is named."""
    own = {name: tensors[name].clone() for name in rows}
    for name, row in rows.items():
        own[name][row] = 0.0
    return {**tensors, **own}
