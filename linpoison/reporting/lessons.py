"""What the numbers of a report say together, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.results import UNDEFENDED, worst_case
from .cells import domain_words, points
from .findings import ALL, AttackEntry, AuditFindings
from .group_tables import sentences
from .words import measured

NOISE = 0.01
"""About how far another seed, or another rounding, moves the error of an attack behind every filter."""
SMALL_GAP = 1e-4
"""A relative duality gap up to which a program counts as solved: where min-max-basic stops."""
LARGE_GAP = 1e-2
"""One up to which it counts as roughly solved: where min-max stops, since less changes its error less than rounding."""


def lessons(report: AuditFindings) -> list[str]:
    """How bad it gets, what a range check buys, which defence holds, who did most, and what is proved."""
    mine = [entry for entry in report.attacks if entry.against == ALL]
    lines = [_answer(report, domain) for domain in report.domains] + _range_check(report)
    lines += [line for domain in report.domains for line in _defences(report, domain)]
    lines += [exposure_words(item, report) for item in report.exposures] + remedy_words(report)
    lines += _winner(report, mine)
    lines += [_refinement(report, entry) for entry in report.attacks if _start_of(report, entry) is not None]
    if report.attacks:  # of a run that was interrupted early there may be none
        lines += _collateral(report) if report.target_rows else _carried_over(report, mine)
    lines += sentences(report.subpopulations) if report.subpopulations else []
    lines += [line for entry in report.ranked for line in _proofs(entry)]
    lines += _left_out(report)
    lines += [f"{name} had not ended when this report was written." for name in report.unfinished]
    return lines + [f"{item['name']} failed: {item['reason']}" for item in report.failures]


def _left_out(report: AuditFindings) -> list[str]:
    """What was not run, those of one reason in one sentence."""
    names: dict[str, list[str]] = {}
    for item in report.left_out:
        names.setdefault(item["reason"], []).append(item["name"])
    verb = {True: "was", False: "were"}
    return [f"{'; '.join(some)} {verb[len(some) == 1]} left out: {reason}." for reason, some in names.items()]


def exposure_words(item: Mapping[str, Any], report: AuditFindings) -> str:
    """Whether a class can be overrun and its mean dragged, and by how few rows."""
    where = f", {domain_words(item['domain'])}" if len(report.domains) > 1 else ""
    stays = "so it can be overrun" if item["n_surviving"] else "so it cannot be overrun"
    least = f", by {item['least_overrun']} rows or more" if item["least_overrun"] else ""
    drag = "its mean cannot be dragged" if item["least_drag"] is None else f"{item['least_drag']} drag its mean"
    return (
        f"Class {item['label']:+.0f}{where}: {item['n_poison']} rows against {item['n_dropped']} dropped, "
        f"{stays}{least}; {drag}."
    )


def remedy_words(report: AuditFindings) -> list[str]:
    """What each measure does to the poison that passes every filter, and what it costs without poison."""
    before = [error for name, error in report.clean["by_defense"].items() if name != UNDEFENDED]
    lines = []
    for item in report.remedies:
        clean = [error for name, error in item["clean_error"].items() if name != UNDEFENDED]
        line = f"To {item['words']} leaves an error of {min(clean):.1%} to {max(clean):.1%} behind the filters without"
        line += f" poison ({min(before):.1%} to {max(before):.1%} as it is)"
        if item["poisoned_error"] is not None:
            line += f", and {worst_case(item['poisoned_error']):.1%} behind all of them with this poison"
        lines.append(f"{line}." if not item["touched"] else f"{line}; it touches {item['touched']:.1%} of clean rows.")
    told = "The poison was not made against these measures: an attacker who knows them may do more."
    return [*lines, told] if lines else []


def _answer(report: AuditFindings, domain: str) -> str:
    """The figures of one domain in a sentence: every filter at once, the weakest alone, and none."""
    item, bare = report.damage(ALL, domain), report.damage(UNDEFENDED, domain)
    rows = f"{item.n_poison} poison row{'' if item.n_poison == 1 else 's'}"
    what = f"the {measured(report.metric)}" + (" on the chosen rows" if report.target_rows else "")
    where = (
        f"behind every filter at once (best against it: {item.filter})"
        if len(report.filters) > 1
        else "behind " + (item.filter if report.filters else "no filter")
    )
    verb = "takes" if item.n_poison == 1 else "take"
    line = (
        f"{domain_words(domain).capitalize()}: {rows} of {item.attack} {verb} {what} {where} from "
        f"{item.clean_error:.1%} to {item.test_error:.1%} ({points(item.low, item.high)} points)"
    )
    if item.unseen_test_error is not None and not report.target_rows and report.target != "train":
        line += f", on rows that the attacker did not see to {item.unseen_test_error:.1%}"
    alone = [report.damage(name, domain) for name in report.filters]
    if len(alone) > 1:
        worst = max(alone, key=lambda one: one.test_error)
        line += f". Behind one filter alone it gets up to {worst.test_error:.1%} ({worst.behind})"
    return line + (f"; without a filter {bare.test_error:.1%}." if report.filters else ".")


def _range_check(report: AuditFindings) -> list[str]:
    """What a range check would buy: the difference between the two answers."""
    if len(report.domains) < 2:
        return []
    wide, narrow = (report.damage(ALL, domain) for domain in (report.domains[0], report.domains[-1]))
    saved = wide.test_error - narrow.test_error
    first = "The first figure holds unless something before the learner refuses rows outside of what each column shows"
    if saved <= 0:
        return [f"{first}; such a check buys nothing against the poisons found here."]
    return [
        f"{first}. Such a range check takes {_points(saved)} of error off the attacker (from {wide.test_error:.1%} to "
        f"{narrow.test_error:.1%}); it does not stop a poison inside the range."
    ]


def _defences(report: AuditFindings, domain: str) -> list[str]:
    """Which defence holds best, none of them counted too, against a poison made for it; ties are ties."""
    items = [item for item in report.damages if item.domain == domain and item.behind != ALL]
    if len(items) < 2:
        return []
    where = f" ({domain_words(domain)})" if len(report.domains) > 1 else ""
    said = {item.behind: "no filter" if item.behind == UNDEFENDED else item.behind for item in items}
    holding = sorted((item for item in items if item.holds_best), key=lambda item: item.test_error)
    others = sorted((item for item in items if not item.holds_best), key=lambda item: -item.test_error)
    line = f"Each against a poison of its own{where}: "
    if not others:
        low, high = holding[0].test_error, holding[-1].test_error
        return [f"{line}no defence, and none at all, does better than another beyond chance ({low:.1%} to {high:.1%})."]
    names = _and([said[item.behind] for item in holding])
    verb = "holds" if len(holding) == 1 else "hold"
    line += f"{names} {verb} best ({holding[0].test_error:.1%}{'' if len(holding) == 1 else ', alike within chance'})"
    return [f"{line}; {said[others[0].behind]} is the weakest ({others[0].test_error:.1%})."]


def _titled(report: AuditFindings, entry: AttackEntry) -> str:
    return entry.name if len(report.domains) < 2 else f"{entry.name} ({domain_words(entry.domain)})"


def _winner(report: AuditFindings, mine: Sequence[AttackEntry]) -> list[str]:
    if len(mine) < 2:
        return []
    best, *others = sorted(mine, key=lambda entry: -entry.test_error_behind_all)
    ahead = best.test_error_behind_all - others[0].test_error_behind_all
    line = f"{_titled(report, best)} does the most damage ({best.test_error_behind_all:.1%})"
    row = 1 / max(1, report.n_scored)
    noise, spread = NOISE + 1e-9, "the point or so by which seeds and rounding move an attack"
    if row > NOISE:
        noise, spread = 1.5 * row, f"a single row of {report.n_scored}, which seeds and rounding can move"
    if ahead > noise:
        return [f"{line}, {_points(ahead)} more than {_titled(report, others[0])}: beyond {spread}."]
    near = [
        _titled(report, entry) for entry in others if best.test_error_behind_all - entry.test_error_behind_all <= noise
    ]
    verb = "is" if len(near) == 1 else "are"
    return [f"{line}, but {_and(near)} {verb} within {spread}: there is no order among them."]


def _start_of(report: AuditFindings, entry: AttackEntry) -> AttackEntry | None:
    return next((other for other in report.attacks if other.name == entry.info.get("start") != entry.name), None)


def _refinement(report: AuditFindings, entry: AttackEntry) -> str:
    """How far an attack came from where it began, on the rows that it saw and on the others."""
    start = _start_of(report, entry)
    if start is None:
        return ""
    line = (
        f"{entry.name} started from the poison of {start.name}, whose seconds it counts as its own, and moved the "
        f"least error over the filters on rows that it sees from {_seen(start):.1%} to {_seen(entry):.1%}"
    )
    before, after = start.unseen_test_error_behind_all, entry.unseen_test_error_behind_all
    if before is not None and after is not None and not report.target_rows:
        line += f", on unseen rows from {before:.1%} to {after:.1%}"
    if entry.info.get("cross_fitted"):
        line += "; it did not climb the former but the damage to training rows by models trained without them"
    return line + "."


def _carried_over(report: AuditFindings, mine: Sequence[AttackEntry]) -> list[str]:
    """The gap between rows that the attacker saw and rows that it did not."""
    entries = [entry for entry in mine if entry.unseen_test_error_behind_all is not None]
    if not entries:
        return []
    chosen = max(entries, key=_seen)
    seen, unseen = _seen(chosen), _unseen(chosen)
    what = "training rows, to which the model is fitted too" if report.target == "train" else "rows that it saw"
    more = "less" if unseen <= seen else "more"
    line = (
        f"{chosen.name} reaches {seen:.1%} on the {what}, and {unseen:.1%} on unseen rows, "
        f"{_points(abs(seen - unseen))} {more}."
    )
    lines = [line]
    hindsight = max(entries, key=_unseen)
    if _unseen(hindsight) > unseen:
        lines.append(
            f"An attacker can only choose by rows that it sees, and those speak for {chosen.name}; that "
            f"{hindsight.name} does more to unseen rows ({_unseen(hindsight):.1%}) shows in hindsight only."
        )
    return lines


def _collateral(report: AuditFindings) -> list[str]:
    """What a targeted attack did to the rows that it wanted, and to the others."""
    best, number = report.strongest, report.n_scored
    hit, before = (round(worst_case(error) * number) for error in (best.test_error, report.clean["by_defense"]))
    rows = "the one chosen row" if number == 1 else f"the {number} chosen rows"
    line = f"Of {rows} {best.name} has {hit} misclassified behind the best defence ({before} without it)"
    if best.unseen_test_error is None:
        return [line + "."]
    old, new = (worst_case(error) for error in (report.clean["unseen_by_defense"], best.unseen_test_error))
    return [f"{line}. Collateral damage: the error on the other test rows goes from {old:.1%} to {new:.1%}."]


def _proofs(entry: AttackEntry) -> list[str]:
    """What `AttackEntry.info` says of the rows that were searched, and what bounds there prove and do not."""
    lines = []
    if (rows := entry.info.get("rows")) is not None:
        lines.append(
            f"{entry.name} searched on a sample of {rows} training rows, each class in proportion; the errors of what "
            "it found are those on all of them."
        )
    upper, gap, needed = (entry.info.get(name) for name in ("upper", "gap", "rows_needed"))
    if isinstance(upper, (int, float)) and isinstance(gap, (int, float)):
        how = "solved" if gap <= SMALL_GAP else "roughly solved" if gap <= LARGE_GAP else "not solved to the end"
        lines.append(
            f"{entry.name}: its first program is {how} (relative duality gap {gap:.1e}). No poison of this budget in "
            f"the sets of that program brings the undefended training objective above {upper:.4g}. This bounds the "
            "objective, not the error."
        )
    if isinstance(needed, (int, float)) and needed > 0:
        reach = ", so that model is out of reach" if needed > entry.n_allowed else ""
        lines.append(
            f"{entry.name}: the learner learns exactly the hardest of its target models only from {needed:.0f} poison "
            f"rows on (a lower bound under the sets of the clean rows); the budget allows {entry.n_allowed}{reach}."
        )
    return lines


def _seen(entry: AttackEntry) -> float:
    return worst_case(entry.seen_error or entry.test_error)


def _unseen(entry: AttackEntry) -> float:
    return float(entry.unseen_test_error_behind_all or 0.0)


def _points(share: float) -> str:
    number = f"{100 * share:.1f}".removesuffix(".0")
    return f"{number} point{'' if number == '1' else 's'}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
