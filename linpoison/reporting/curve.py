"""How many rows do how much: what was found and what is proved, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .cells import counted, difference, domain_words, percent
from .findings import AuditFindings

GOALS = (0.1, 0.05, 0.02, 0.01)
"""Growths of the error that rows are counted for: the first that the poison of the budget reaches."""

Row = dict[str, Any]


def of_domain(report: AuditFindings, domain: str) -> list[Row]:
    """The curve of one domain, by number of rows."""
    return [row for row in report.curve if row["domain"] == domain]


def bracket_words(report: AuditFindings) -> list[str]:
    """At least, at most, the grey between, and how few rows suffice."""
    return [*_bracket(report), *_suffice(report)] if report.domains else []


def _bracket(report: AuditFindings) -> list[str]:
    item = report.damage()
    who = "Filters fitted on clean rows and poison" if report.filters else "Without a filter"
    if not report.rungs:
        held = " (--certify bounds filters that are held fixed)" if report.filters else " (--certify computes one)"
        more = "" if report.target == "given" else f"; no upper bound is known{held}"
        return [f"{who}: at least {percent(item.test_error)}, found by {item.attack}{more}."]
    rung = report.rungs[-1]
    low = max(rung["clean_error"], rung["attack_error"] or 0.0)
    grey = f"the {difference(rung['bound'] - low)} between are not known" if rung["bound"] > low else "exact"
    return [
        f"{who}: at least {percent(item.test_error)}, found by {item.attack}; no upper bound is known.",
        f"Filters held fixed: at least {percent(low)}, found, and at most {percent(rung['bound'])}, proved; {grey}.",
    ]


def _suffice(report: AuditFindings) -> list[str]:
    """The least number of rows that was seen to reach a goal, and the greatest that is proved not to."""
    rows = of_domain(report, report.domains[0])
    if not rows:
        return []
    clean, most = rows[0]["test_error"], rows[-1]["test_error"]
    goal = next((goal for goal in GOALS if most - clean >= goal - 1e-9), None)
    if goal is None:
        return [f"No number of rows up to {rows[-1]['rows']} was found that adds a point."]
    line = f"For {difference(goal)} of error {_least(rows, goal)} ({domain_words(report.domains[0])})"
    for domain in report.domains[1:]:
        mine = of_domain(report, domain)
        found = mine and mine[-1]["test_error"] - mine[0]["test_error"] >= goal - 1e-9
        line += f"; {domain_words(domain)} {_least(mine, goal) if found else 'no number up to the budget was found to'}"
    return [f"{line}.", *_cannot(report, goal)]


def _least(rows: Sequence[Row], goal: float) -> str:
    number = next(row["rows"] for row in rows if row["test_error"] - rows[0]["test_error"] >= goal - 1e-9)
    return f"{counted(number, 'row')} {'suffices' if number == 1 else 'suffice'}"


def _cannot(report: AuditFindings, goal: float) -> list[str]:
    """How many rows provably do not reach it, behind fixed filters."""
    if not report.rungs:
        return []
    start = report.rungs[0]["clean_error"]
    bounds = [row for row in of_domain(report, report.domains[0]) if row["rows"] and row["bound"] is not None]
    safe = max((row["rows"] for row in bounds if row["bound"] - start < goal - 1e-9), default=0)
    if not safe:
        return ["Of no number of rows it is proved that they do not, not even behind filters held fixed."]
    return [f"Up to {counted(safe, 'row')} provably cannot, behind filters held fixed."]
