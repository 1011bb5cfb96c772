"""Tables of the subpopulations of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .cells import aligned, percent

SHOWN = 5
"""Subpopulations in the text of a terminal; the page and the JSON have all."""


def heading(found: Mapping[str, Any]) -> str:
    """What was divided, and how."""
    rows = "rows that the attacker did not see" if found["rows"] == "unseen" else "scored rows"
    return f"Who would be hurt: {len(found['groups'])} subpopulations by {found['by']}, {found['n_rows']} {rows}"


def worst_groups(found: Mapping[str, Any], most: int | None = None) -> list[tuple[str, ...]]:
    """Header and one row for each subpopulation behind the best defence, the most damaged first; then all rows."""
    best = found["defense"]
    header = ("subpopulation", "test rows", "class +1", "clean", "poisoned", "damage", "interval")
    table = [header]
    for group in found["groups"][:most]:
        counts = (group["name"], str(group["n_rows"]), percent(group["positive"]))
        table.append((*counts, *_cells(group["defenses"][best])))
    return [*table, ("all rows", str(found["n_rows"]), "", *_cells(found["overall"][best]))]


def group_by_defense(found: Mapping[str, Any], most: int | None = None) -> list[tuple[str, ...]]:
    """Header and the damage to each subpopulation behind each defence."""
    names = list(found["overall"])
    rows = [(group["name"], group["defenses"]) for group in found["groups"][:most]] + [("all rows", found["overall"])]
    return [
        ("damage behind", *names),
        *((who, *(percent(each[name]["damage"]) for name in names)) for who, each in rows),
    ]


def groups_text(found: Mapping[str, Any]) -> str:
    """The block for a terminal."""
    shown = f"\n(the {SHOWN} most damaged; all of them in report.json)" if len(found["groups"]) > SHOWN else ""
    tables = "\n\n".join(aligned(table(found, SHOWN)) for table in (worst_groups, group_by_defense))
    return f"{heading(found)}\n{tables}{shown}"


def _cells(part: Mapping[str, float]) -> tuple[str, ...]:
    shares = (percent(part["clean"]), percent(part["poisoned"]), percent(part["damage"]))
    return (*shares, f"{percent(part['low'])} to {percent(part['high'])}")
