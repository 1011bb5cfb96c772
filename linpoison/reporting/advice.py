"""What to do about what an audit found: measures ranked by the error that they leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import ERROR
from ..core.results import UNDEFENDED, worst_case
from .cells import class_words, counted, difference, domain_words, joined, percent
from .findings import ALL, AuditFindings
from .verdict import not_tried
from .words import rare_class

WORTH = 0.01
"""Growth of the error that calls for a measure, and what one must take off it to be told."""
MOST = 4
"""Measures that are told."""


def advice(report: AuditFindings) -> list[str]:
    """Measures, the one that leaves the least error first; then which filter is worth having, and which is overrun."""
    if not report.domains:
        return ["Run the same command again: it goes on from here."]
    return [*_by_another_measure(report), *_measured(report)]


def _by_another_measure(report: AuditFindings) -> list[str]:
    """The error is no measure of what happens to a rare class."""
    if report.metric != ERROR.name or report.target_rows:
        return []
    rare = rare_class(report.dataset["train_by_class"])
    if rare is None:
        return []
    words = class_words(report.dataset, float(rare[0]))
    metric, share = f"--metric recall:{words.removeprefix('class ')}", f"{percent(rare[1])} of the training rows"
    return [f"Measure by {metric}: of {words} ({share}) the error hardly speaks."]


def _measured(report: AuditFindings) -> list[str]:
    """By the measure that was asked for."""
    item = report.damage()
    if item.test_error - item.clean_error < WORTH:
        if not_tried(report):
            return ["Too little was tried to say that nothing needs to change: allow more time (--time-limit)."]
        against = "this poison" if report.target == "given" else "the attacks that were run"
        return [f"Against {against} nothing needs to change.", *_filters(report)]
    if not report.filters:
        return ["Put filters before the learner (--defenses) and audit again: none was run."]
    told = sorted(_measures(report), key=lambda measure: measure[:2])
    lines = [line for _, left, line in told if item.test_error - left >= WORTH][:MOST]
    first = [] if lines or not report.remedies else ["None of the measures that were tried takes a point off it."]
    search = [f"Look for a setting that suffers less, each attacked anew: {report.onward}"] if report.onward else []
    return [*first, *lines, *_filters(report), *_overrun(report), *search]


def _measures(report: AuditFindings) -> list[tuple[bool, float, str]]:
    """Of each measure whether attackers did not know of it, the error that it leaves, and a sentence."""
    before, found = percent(report.damage().test_error), []
    for item in report.remedies:
        if item["poisoned_error"] is None or (item["name"] == "range" and len(report.domains) > 1):
            continue
        left = worst_case(item["poisoned_error"])
        line = f"{_upper(item['words'])}: {percent(left)} instead of {before} against this poison, which was made"
        found.append((True, left, f"{line} without regard to it ({_cost(report, item)})."))
    if len(report.domains) > 1:
        left = report.damage(domain=report.domains[-1]).test_error
        price = "".join(f" ({_cost(report, item)})" for item in report.remedies if item["name"] == "range")
        line = f"Refuse rows that are not {domain_words(report.domains[-1])}: {percent(left)} instead of {before}"
        found.append((False, left, f"{line}, also against attackers who know of it{price}."))
    return found


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cost(report: AuditFindings, item: Mapping[str, Any]) -> str:
    """What a measure costs without poison."""
    more = worst_case(item["clean_error"]) - worst_case(report.clean["by_defense"])
    price = "costs nothing" if abs(more) < 0.0005 else f"{'costs' if more > 0 else 'saves'} {difference(abs(more))}"
    touched = f" and touches {percent(item['touched'])} of clean rows" if item["touched"] else ""
    return f"without poison it {price}{touched}"


def remedies_table(report: AuditFindings, *, words: bool) -> list[tuple[str, ...]]:
    """Header and one row for each measure: least error over the filters with and without poison, and its price.

    With `words` the measures are described, without they are named.
    """
    header = ("measure", "with this poison", "without poison", "clean rows touched")
    as_it_is = ("none", percent(report.damage().test_error), percent(worst_case(report.clean["by_defense"])), "-")
    return [header, as_it_is] + [
        (
            item["words"] if words else item["name"],
            percent(None if item["poisoned_error"] is None else worst_case(item["poisoned_error"])),
            percent(worst_case(item["clean_error"])),
            percent(item["touched"]),
        )
        for item in report.remedies
    ]


def _filters(report: AuditFindings) -> list[str]:
    """Which filter holds best in each domain, none of them counted too; domains in which that is the same are one."""
    said: dict[str, list[str]] = {}
    for domain in report.domains:
        if line := _holding(report, domain):
            said.setdefault(line, []).append(domain_words(domain))
    several = len(report.domains) > 1 and len(said) > 1
    return [f"{_upper(f'{joined(where)}: {line}' if several else line)}" for line, where in said.items()]


def _holding(report: AuditFindings, domain: str) -> str:
    """Which defence holds best against a poison made for it; ties are ties."""
    items = [item for item in report.damages if item.domain == domain and item.behind != ALL]
    if len(items) < 2:
        return ""
    name = {item.behind: "none at all" if item.behind == UNDEFENDED else item.behind for item in items}
    holding = sorted((item for item in items if item.holds_best), key=lambda item: item.test_error)
    others = sorted((item for item in items if not item.holds_best), key=lambda item: -item.test_error)
    each = "all against this poison" if report.target == "given" else "each against a poison of its own"
    if not others:
        low, high = percent(holding[0].test_error), percent(holding[-1].test_error)
        return f"no filter does better than none beyond chance, {each} ({low} to {high})."
    verb, tie = ("is", "") if len(holding) == 1 else ("are", ", alike within chance")
    best = f"{verb} {joined([name[item.behind] for item in holding])} ({percent(holding[0].test_error)}{tie})"
    worst = f"{name[others[0].behind]} ({percent(others[0].test_error)})"
    return f"of the filters, {each}, best {best}, worst is {worst}."


def _overrun(report: AuditFindings) -> list[str]:
    """From how many rows on a filter lets one through wherever it lies, of the class where that is least."""
    found = [item for item in report.exposures if item["least_overrun"] and item["domain"] == report.domains[0]]
    if not found:
        return []
    item = min(found, key=lambda one: one["least_overrun"])
    return [
        f"The knob is the share that a filter removes (--remove): of {class_words(report.dataset, item['label'])} it "
        f"drops {counted(item['n_dropped'], 'row')}, and {counted(item['least_overrun'], 'poison row')} overrun it."
    ]
