"""What the numbers of a report say together, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.results import worst_case
from .cells import class_words, difference, domain_words, joined, percent
from .findings import ALL, AttackEntry, AuditFindings
from .group_tables import sentences

NOISE = 0.01
"""About how far another seed, or another rounding, moves the error of an attack behind every filter."""
SMALL_GAP = 1e-4
"""A relative duality gap up to which a program counts as solved: where min-max-basic stops."""
LARGE_GAP = 1e-2
"""One up to which it counts as roughly solved: where min-max stops, since less changes its error less than rounding."""


def lessons(report: AuditFindings) -> list[str]:
    """Who did most, what carried over to other rows, what filters let through, and what attacks proved on the way."""
    mine = [entry for entry in report.attacks if entry.against == ALL]
    lines = _winner(report, mine)
    lines += [_refinement(report, entry) for entry in mine if _start_of(report, entry) is not None]
    if report.attacks:  # of a run that was interrupted early there may be none
        lines += _collateral(report) if report.target_rows else _carried_over(report, mine)
    lines += [exposures_words(report, domain) for domain in report.domains if report.exposures]
    lines += sentences(report.subpopulations) if report.subpopulations else []
    lines += [line for entry in report.ranked for line in _proofs(entry)]
    lines += _left_out(report)
    return lines + [f"{item['name']} failed: {item['reason']}" for item in report.failures]


def _left_out(report: AuditFindings) -> list[str]:
    """What was not run, those of one reason in one sentence."""
    names: dict[str, list[str]] = {}
    for item in report.left_out:
        names.setdefault(item["reason"], []).append(item["name"])
    verb = {True: "was", False: "were"}
    return [f"{'; '.join(some)} {verb[len(some) == 1]} left out: {reason}." for reason, some in names.items()]


def exposures_words(report: AuditFindings, domain: str) -> str:
    """Whether the classes can be overrun and their means dragged in one domain, and by how few rows."""
    told = "; ".join(_exposure(report.dataset, item) for item in report.exposures if item["domain"] == domain)
    return f"What the budget can do to filters fitted with it, {domain_words(domain)}: {told}."


def _exposure(data: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    stays = "so it can be overrun" if item["n_surviving"] else "so it cannot be overrun"
    least = f", by {item['least_overrun']} rows or more" if item["least_overrun"] else ""
    drag = "its mean cannot be dragged" if item["least_drag"] is None else f"{item['least_drag']} drag its mean"
    return (
        f"{class_words(data, item['label'])}, {item['n_poison']} rows against {item['n_dropped']} dropped, {stays}"
        f"{least}, and {drag}"
    )


def _titled(report: AuditFindings, entry: AttackEntry) -> str:
    return entry.name if len(report.domains) < 2 else f"{entry.name} ({domain_words(entry.domain)})"


def _winner(report: AuditFindings, mine: Sequence[AttackEntry]) -> list[str]:
    if not mine:
        return []
    best, *rest = sorted(mine, key=lambda entry: -entry.test_error_behind_all)
    others = [entry for entry in rest if entry.name != best.name]  # not the same in another domain
    if not others:
        return []
    ahead = best.test_error_behind_all - others[0].test_error_behind_all
    line = f"{_titled(report, best)} does the most damage ({percent(best.test_error_behind_all)})"
    row = 1 / max(1, report.n_scored)
    noise, spread = NOISE + 1e-9, "the point or so by which seeds and rounding move an attack"
    if row > NOISE:
        noise, spread = 1.5 * row, f"a single row of {report.n_scored}, which seeds and rounding can move"
    if ahead > noise:
        return [f"{line}, {difference(ahead)} more than {_titled(report, others[0])}: beyond {spread}."]
    near = [
        _titled(report, entry) for entry in others if best.test_error_behind_all - entry.test_error_behind_all <= noise
    ]
    verb = "is" if len(near) == 1 else "are"
    return [f"{line}, but {joined(near)} {verb} within {spread}: there is no order among them."]


def _start_of(report: AuditFindings, entry: AttackEntry) -> AttackEntry | None:
    return next((other for other in report.attacks if other.name == entry.info.get("start") != entry.name), None)


def _refinement(report: AuditFindings, entry: AttackEntry) -> str:
    """How far an attack came from where it began, on the rows that it saw and on the others."""
    start = _start_of(report, entry)
    if start is None:
        return ""
    line = (
        f"{_titled(report, entry)} started from the poison of {start.name}, whose seconds it counts as its own, and "
        f"moved the least error over the filters on rows that it sees from {percent(_seen(start))} to "
        f"{percent(_seen(entry))}"
    )
    before, after = start.unseen_test_error_behind_all, entry.unseen_test_error_behind_all
    if before is not None and after is not None and not report.target_rows:
        line += f", on unseen rows from {percent(before)} to {percent(after)}"
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
        f"{chosen.name} reaches {percent(seen)} on the {what}, and {percent(unseen)} on unseen rows, "
        f"{difference(abs(seen - unseen))} {more}."
    )
    lines = [line]
    hindsight = max(entries, key=_unseen)
    if _unseen(hindsight) > unseen:
        lines.append(
            f"An attacker can only choose by rows that it sees, and those speak for {chosen.name}; that "
            f"{hindsight.name} does more to unseen rows ({percent(_unseen(hindsight))}) shows in hindsight only."
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
    return [f"{line}. Collateral damage: the error on the other test rows goes from {percent(old)} to {percent(new)}."]


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
