"""Sentences on the subpopulations of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sentences(found: Mapping[str, Any]) -> list[str]:
    """Who is hurt most, how many are hurt at all, and how far apart the subpopulations are."""
    best, groups = found["defense"], found["groups"]
    behind = "without any defence" if best == "none" else f"behind {best}, the best defence"
    first, overall = groups[0], found["overall"][best]
    worst = first["defenses"][best]
    lines = [
        f"{found['attack']} {behind}: the error on {first['name']} ({first['n_rows']} rows) goes from "
        f"{worst['clean']:.1%} to {worst['poisoned']:.1%}, on all rows from {overall['clean']:.1%} to "
        f"{overall['poisoned']:.1%}."
    ]
    sure = [group for group in groups if group["defenses"][best]["low"] > 0]
    spared = [group for group in groups if group["defenses"][best]["damage"] <= 0]
    lines.append(
        f"{len(sure)} of {len(groups)} subpopulations are damaged beyond chance; {len(spared)} are not damaged at all."
    )
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
