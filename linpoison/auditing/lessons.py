"""What the numbers of a report say together, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.results import worst_case
from .group_words import sentences
from .report import AttackEntry, AuditReport

NOISE = 0.01
"""About how far another seed, or another rounding, moves the worst case of an attack."""
SMALL_GAP = 1e-4
"""A relative duality gap up to which a program counts as solved: where min-max-basic stops."""
LARGE_GAP = 1e-2
"""One up to which it counts as roughly solved: where min-max stops, since less changes its error less than rounding."""


def lessons(report: AuditReport) -> list[str]:
    """Who did most and by how much, what carries over to other rows, which defence holds, and what is proved."""
    best = report.strongest
    lines = _winner(report)
    lines += [_refinement(report, entry) for entry in report.attacks if _start_of(report, entry) is not None]
    lines += _collateral(report) if report.target_rows else _carried_over(report)
    lines += _defences(report, best)
    lines += sentences(report.subpopulations) if report.subpopulations else []
    lines += [line for entry in report.ranked for line in _proofs(entry)]
    return lines + [f"{item['name']} failed: {item['reason']}" for item in report.failures]


def _winner(report: AuditReport) -> list[str]:
    if len(report.attacks) < 2:
        return []
    best, *others = report.ranked
    ahead = best.worst_case_test_error - others[0].worst_case_test_error
    line = f"{best.name} does the most damage ({best.worst_case_test_error:.1%})"
    row = 1 / max(1, report.n_scored)
    noise, spread = NOISE + 1e-9, "the point or so by which seeds and rounding move an attack"
    if row > NOISE:
        noise, spread = 1.5 * row, f"a single row of {report.n_scored}, which seeds and rounding can move"
    if ahead > noise:
        return [f"{line}, {_points(ahead)} more than {others[0].name}: beyond {spread}."]
    near = [entry.name for entry in others if best.worst_case_test_error - entry.worst_case_test_error <= noise]
    verb = "is" if len(near) == 1 else "are"
    return [f"{line}, but {_and(near)} {verb} within {spread}: there is no order among them."]


def _start_of(report: AuditReport, entry: AttackEntry) -> AttackEntry | None:
    return next((other for other in report.attacks if other.name == entry.info.get("start")), None)


def _refinement(report: AuditReport, entry: AttackEntry) -> str:
    """How far an attack came from where it began, on the rows that it saw and on the others."""
    start = _start_of(report, entry)
    if start is None:
        return ""
    line = (
        f"{entry.name} started from the poison of {start.name}, whose seconds it counts as its own, and moved the "
        f"worst case on rows that it sees from {_seen(start):.1%} to {_seen(entry):.1%}"
    )
    before, after = start.worst_case_unseen_test_error, entry.worst_case_unseen_test_error
    if before is not None and after is not None and not report.target_rows:
        line += f", on unseen rows from {before:.1%} to {after:.1%}"
    if entry.info.get("cross_fitted"):
        line += "; it did not climb the former but the damage to training rows by models trained without them"
    return line + "."


def _carried_over(report: AuditReport) -> list[str]:
    """The gap between rows that the attacker saw and rows that it did not."""
    entries = [entry for entry in report.attacks if entry.worst_case_unseen_test_error is not None]
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


def _collateral(report: AuditReport) -> list[str]:
    """What a targeted attack did to the rows that it wanted, and to the others."""
    best, number = report.strongest, report.n_scored
    hit, before = (round(worst_case(error) * number) for error in (best.test_error, report.clean["by_defense"]))
    rows = "the one chosen row" if number == 1 else f"the {number} chosen rows"
    line = f"Of {rows} {best.name} has {hit} misclassified behind the best defence ({before} without it)"
    if best.unseen_test_error is None:
        return [line + "."]
    old, new = (worst_case(error) for error in (report.clean["unseen_by_defense"], best.unseen_test_error))
    return [f"{line}. Collateral damage: the error on the other test rows goes from {old:.1%} to {new:.1%}."]


def _defences(report: AuditReport, best: AttackEntry) -> list[str]:
    """Which defence holds best and worst, against the strongest poison and against any."""
    names = [name for name in best.test_error if name != "none"]
    if len(names) < 2:
        return []
    lines = [f"Against {best.name} {_extremes({name: best.test_error[name] for name in names})}."]
    if len(report.attacks) > 1:
        most = {name: max(entry.test_error[name] for entry in report.attacks) for name in names}
        lines.append(
            f"Over all attacks {_extremes(most)}. Every poison here had to pass all the defences; one made for a "
            "single defence may do more to it."
        )
    return lines


def _extremes(errors: Mapping[str, float]) -> str:
    low, high = (pick(errors, key=lambda name: errors[name]) for pick in (min, max))
    if errors[low] == errors[high]:
        return f"no defence does better than another ({errors[low]:.1%})"
    return f"{low} is the strongest defence ({errors[low]:.1%}) and {high} the weakest ({errors[high]:.1%})"


def _proofs(entry: AttackEntry) -> list[str]:
    """What bounds in `AttackEntry.info` prove, and what they do not."""
    lines = []
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
    return float(entry.worst_case_unseen_test_error or 0.0)


def _points(share: float) -> str:
    number = f"{100 * share:.1f}".removesuffix(".0")
    return f"{number} point{'' if number == '1' else 's'}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
