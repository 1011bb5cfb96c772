"""Tables of the subpopulations of a report, and sentences on them."""

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


def sentences(found: Mapping[str, Any]) -> list[str]:
    """Who is hurt most, how many are hurt at all, and how far apart the subpopulations are."""
    best, groups = found["defense"], found["groups"]
    behind = "without any defence" if best == "none" else f"behind {best}, the best defence"
    first, overall = groups[0], found["overall"][best]
    worst = first["defenses"][best]
    lines = [
        f"{found['attack']} {behind}: the error on {first['name']} ({first['n_rows']} rows) goes from "
        f"{percent(worst['clean'])} to {percent(worst['poisoned'])}, on all rows from {percent(overall['clean'])} to "
        f"{percent(overall['poisoned'])}."
    ]
    sure = [group for group in groups if group["defenses"][best]["low"] > 0]
    spared = [group for group in groups if group["defenses"][best]["damage"] <= 0]
    unhurt = f"{len(spared) or 'none'} {'is' if len(spared) == 1 else 'are'} not damaged at all"
    lines.append(f"{len(sure)} of {len(groups)} subpopulations are damaged beyond chance; {unhurt}.")
    apart = _gap(groups, best, "poisoned"), _gap(groups, best, "clean")
    lines.append(
        f"Between the subpopulation with the least error and the one with the greatest lie {100 * apart[1]:.1f} points "
        f"without poison and {100 * apart[0]:.1f} with it."
    )
    return lines


def caution(found: Mapping[str, Any]) -> str:
    """For the page's 'how to read this'."""
    small = f" {found['left_out']} test rows are in none that is large enough to report." if found["left_out"] else ""
    return (
        "Subpopulations were found among the clean training rows and measured on test rows; the poison was not made "
        f"against any of them. Their intervals hold for all of them together with {found['level']:.0%} (Bonferroni), "
        f"for test rows drawn anew and these models, not for another poison or training set.{small}"
    )


def _gap(groups: Any, best: str, which: str) -> float:
    errors = [group["defenses"][best][which] for group in groups]
    return float(max(errors) - min(errors))
