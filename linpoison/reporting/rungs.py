"""Tables of the budgets of a bracket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .cells import percent


def rungs_table(rungs: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Header and one row for each budget."""
    header = ("epsilon", "clean", "attack (at least)", "certified (at most)", "rows certified", "strongest attack")
    body = [
        (
            f"{rung['epsilon']:g}",
            percent(rung["clean_error"]),
            percent(rung["attack_error"]),
            percent(rung["bound"]),
            percent(rung["certified_fraction"]),
            rung["attack"] or "-",
        )
        for rung in rungs
    ]
    return [header, *body]


def loss_table(rungs: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The same for the mean loss of the clean rows."""
    known = [rung for rung in rungs if rung["loss_bound"] is not None]
    if not known:
        return []
    header = ("epsilon", "clean loss", "attack (at least)", "certified (at most)")
    cells = ("clean_loss", "attack_loss", "loss_bound")
    return [header, *((f"{rung['epsilon']:g}", *(_number(rung[name]) for name in cells)) for rung in known)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
