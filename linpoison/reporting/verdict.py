"""The first line of a report of an audit: what it found, in words that a manager understands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .cells import counted, joined, percent
from .findings import LATE, AuditFindings, Damage
from .words import measured

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def audit_verdict(report: AuditFindings) -> str:
    """By how much, with how many rows, past which filters, on which rows, and what is proved at most."""
    if not report.domains:
        return " ".join(["No attack had come to a poison when this was written.", *_unfinished(report)])
    told = [_targeted(report) if report.target_rows else _answer(report), *_chance(report), *_group(report)]
    return " ".join([*told, *_proved(report), *_unfinished(report)])


def filters_words(names: Sequence[str]) -> str:
    """What a poison has to pass.

    Examples
    --------
    >>> filters_words([]), filters_words(["l2"]), filters_words(["l2", "slab"])
    ('with no filter in its way', 'past the filter l2', 'past both filters')
    """
    if not names:
        return "with no filter in its way"
    if len(names) < 3:
        return f"past the filter {names[0]}" if len(names) == 1 else "past both filters"
    return f"past all {_NUMBERS[len(names)] if len(names) < len(_NUMBERS) else len(names)} filters"


def _subject(report: AuditFindings, item: Damage) -> str:
    """Who does it."""
    n, rows = int(report.dataset["n_train"]), counted(item.n_poison, "row")
    share = f"{100 * item.n_poison / n:.2g} %"
    if report.target != "given":
        return f"Whoever adds {rows} to the {n} training rows ({share}) can"
    entry, was = report.attacks[0], "was" if item.n_poison == 1 else "were"
    over = "" if entry.within_budget else f", where {entry.n_allowed} are allowed"
    return f"The {rows} that {was} handed in ({share} of the training rows{over})"


def _answer(report: AuditFindings) -> str:
    """The error behind every filter at once, in each domain, on rows that the attacker knew and on others."""
    item, past = report.damage(), filters_words(report.filters)
    given = report.target == "given"
    if item.test_error <= item.clean_error:
        return f"{_nothing(report, item)} damage {past}: the {_what(report)} {_stays(item)}."
    verb = ("raises" if item.n_poison == 1 else "raise") if given else "raise"
    line = f"{_subject(report, item)} {verb} the {_what(report)} {_moves(item)} {past}{_on(report)}"
    for domain in report.domains[1:]:
        other = report.damage(domain=domain)
        does = f"to {percent(other.test_error)}" if other.test_error > other.clean_error else "no attack raises it"
        line += f" (with a range check {does})"
    return f"{line}{_unknown(report, item)}."


def _nothing(report: AuditFindings, item: Damage) -> str:
    """Who does no damage."""
    if report.target == "given":
        return f"{_subject(report, item)} {'does' if item.n_poison == 1 else 'do'} no"
    return f"No attack that was run, with {_rows_of(report, item)}, does"


def _rows_of(report: AuditFindings, item: Damage) -> str:
    n = int(report.dataset["n_train"])
    return f"{counted(item.n_poison, 'row')} added to the {n} training rows ({100 * item.n_poison / n:.2g} %)"


def _what(report: AuditFindings) -> str:
    return measured(report.metric, "test error")


def _moves(item: Damage) -> str:
    return f"from {percent(item.clean_error)} to {percent(item.test_error)}"


def _stays(item: Damage) -> str:
    same = percent(item.clean_error) == percent(item.test_error)
    return f"stays at {percent(item.test_error)}" if same else f"goes {_moves(item)}"


def _on(report: AuditFindings) -> str:
    """Whether the attacker knew the rows that the error is measured on."""
    if report.target == "given":
        return ""
    return ", on test rows that the attacker " + ("never saw" if report.target == "train" else "knows")


def _unknown(report: AuditFindings, item: Damage) -> str:
    """The same on the other test rows, which have a clean error of their own."""
    if report.target in ("train", "given") or item.unseen_test_error is None:
        return ""
    clean = report.clean["unseen_by_defense"][item.filter]
    there = replace(item, clean_error=clean, test_error=item.unseen_test_error)
    if item.unseen_test_error > clean:
        return f", and {_moves(there)} on those it does not know"
    return f"; on those it does not know it {_stays(there)}"


def _targeted(report: AuditFindings) -> str:
    """How many of the chosen rows, and what the others suffer."""
    item, n = report.damage(), report.n_scored
    hit, before = round(item.test_error * n), round(item.clean_error * n)
    chosen = "the one chosen row" if n == 1 else f"{hit} of the {n} chosen rows"
    past = filters_words(report.filters)
    if hit <= before:
        what = "the chosen row" if n == 1 else "more of the chosen rows"
        return (
            f"No attack that was run, with {_rows_of(report, item)}, has {what} misclassified {past} "
            f"than without poison ({hit} of {n}, {before} without)."
        )
    line = f"{_subject(report, item)} have {chosen} misclassified {past} ({before} without poison)"
    if item.unseen_test_error is None:
        return f"{line}."
    clean = report.clean["unseen_by_defense"][item.filter]
    return f"{line}; the error on the other test rows goes from {percent(clean)} to {percent(item.unseen_test_error)}."


def _chance(report: AuditFindings) -> list[str]:
    item = report.damage()
    if item.low <= 0 < item.test_error - item.clean_error:
        return ["Of so few test rows this may be chance."]
    return []


def _group(report: AuditFindings) -> list[str]:
    """Who is hurt most, if that was asked for."""
    found = report.subpopulations
    if found is None or not found["groups"]:
        return []
    worst = found["groups"][0]
    part = worst["defenses"][found["defense"]]
    if part["damage"] <= 0:
        return ["No group of rows is hurt."]
    return [f"Hurt most are rows of {worst['name']}: from {percent(part['clean'])} to {percent(part['poisoned'])}."]


def _proved(report: AuditFindings) -> list[str]:
    if report.target == "given":
        return []
    if report.rungs:
        bound = float(report.rungs[-1]["bound"])
        if bound >= 1:
            return ["Nothing is proved: the bound behind filters held fixed is 100 %."]
        return [f"Proved: behind filters held fixed, no poison of the budget brings it above {percent(bound)}."]
    if len(report.dataset["train_by_class"]) > 2:
        return ["No upper bound is known: certificates take two classes."]
    return ["No upper bound was computed (--certify)."]


def not_tried(report: AuditFindings) -> int:
    """How many of the attacks that were planned a time limit left out."""
    return sum(entry["reason"] == LATE and entry["name"] != "certify" for entry in report.left_out)


def _unfinished(report: AuditFindings) -> list[str]:
    left = not_tried(report)
    lines = (
        [f"For want of time {counted(left, 'attack')} of the plan did not begin: it may get much worse."]
        if left
        else []
    )
    if report.unfinished:
        lines.append(f"{joined(report.unfinished)} had not ended when this was written: it may get worse.")
    return lines
