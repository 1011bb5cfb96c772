"""The report as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from .report import AttackEntry, AuditReport
from .words import cautions, finding, lessons


def report_text(report: AuditReport) -> str:
    """Heading, one table for each poison, and how to read them."""
    blocks = [_heading(report)]
    if len(report.attacks) > 1 or report.failures:
        blocks.append(_comparison_block(report))
    blocks += [_entry_block(report, entry) for entry in ranked(report)]
    blocks.append("How to read this\n" + "\n".join(_wrap(line, "- ") for line in report.reading))
    return "\n\n".join(blocks) + "\n"


def ranked(report: AuditReport) -> list[AttackEntry]:
    """Entries, the strongest first."""
    return sorted(report.attacks, key=lambda entry: -entry.worst_case_test_error)


def comparison(report: AuditReport) -> list[tuple[str, ...]]:
    """Header and one row for each attack, the strongest first."""
    unseen = any(entry.worst_case_unseen_test_error is not None for entry in report.attacks)
    header = ("attack", "worst case", *(("unseen rows",) if unseen else ()), "seconds", "distinct rows", "gap")
    rows = [header]
    for entry in ranked(report):
        beside = (percent(entry.worst_case_unseen_test_error),) if unseen else ()
        gap = "-" if entry.gap is None else f"{entry.gap:.1e}"
        worst = percent(entry.worst_case_test_error)
        rows.append((entry.name, worst, *beside, f"{entry.seconds:.1f}", str(entry.n_distinct), gap))
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width: the first to the left, the rest to the right.

    Examples
    --------
    >>> print(aligned([("a", "1"), ("long", "20")]))
    a      1
    long  20
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def error_rows(report: AuditReport, entry: AttackEntry) -> list[tuple[str, ...]]:
    """Header and one row for each defence: errors, then the share of poison and clean rows kept."""
    columns: list[tuple[str, Mapping[str, float]]] = [
        ("clean", report.clean["by_defense"]),
        ("poisoned", entry.test_error),
    ]
    if report.target == "train":
        columns.append(("poisoned, train", entry.seen_error or {}))
    elif entry.unseen_test_error:
        columns.append(("clean, unseen", report.clean["unseen_by_defense"]))
        columns.append(("poisoned, unseen", entry.unseen_test_error))
    columns += [("poison kept", entry.kept_fraction), ("clean kept", entry.kept_clean_fraction)]
    header = ("defence", *(title for title, _ in columns))
    return [header, *((name, *(percent(part.get(name)) for _, part in columns)) for name in entry.test_error)]


def percent(value: float | None) -> str:
    """A share in per cent, a dash if there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def facts(entry: AttackEntry) -> list[tuple[str, str]]:
    """Names and values of what else is known about one poison."""
    pairs: list[tuple[str, str]] = [
        ("rows", f"{entry.n_poison} ({entry.n_distinct} distinct; "
                 f"{entry.poison_by_class['+1']} of class +1, {entry.poison_by_class['-1']} of class -1)"),
        ("seconds", f"{entry.seconds:.1f}"),
    ]  # fmt: skip
    if entry.residual is not None:
        pairs.append(("KKT residual before rounding", f"{entry.residual:.2e}"))
    if entry.gap is not None:
        pairs.append(("relative duality gap of its program", f"{entry.gap:.1e}"))
    if entry.violation is not None:
        pairs.append(("violation of the sets before rounding", f"{entry.violation:.2e}"))
    if entry.distance_to_decoy is not None:
        pairs.append(("distance to the decoy after retraining", f"{entry.distance_to_decoy:.2e}"))
    if entry.decoy:
        pairs.append(("decoy", entry.decoy))
    if entry.n_solves:
        pairs.append(("conic solves", f"{entry.n_solves} ({entry.n_failed_solves} failed)"))
    if entry.n_candidates:
        pairs.append(("candidates scored", str(entry.n_candidates)))
    return pairs


def _heading(report: AuditReport) -> str:
    data, model = report.dataset, report.model
    intercept = "penalised" if model["penalize_intercept"] else "free"
    return (
        f"linpoison {report.versions.get('linpoison', '')}: {data['name']} ({data['n_train']} training and "
        f"{data['n_test']} test rows, {data['n_features']} features, domain {data['domain']})\n"
        f"learner: {model['loss']} loss, reg {model['reg']:g}, {intercept} intercept; epsilon {report.epsilon:.4g}; "
        f"target {report.target}; seed {report.seed}"
    )


def _comparison_block(report: AuditReport) -> str:
    lines = ["Attacks compared", textwrap.indent(aligned(comparison(report)), "  ")]
    lines += [_wrap(line, "  ") for line in lessons(report)]
    return "\n".join(lines)


def _entry_block(report: AuditReport, entry: AttackEntry) -> str:
    lines = [
        entry.name,
        _wrap(finding(entry, report.clean["by_defense"], report.epsilon), "  "),
        textwrap.indent(aligned(error_rows(report, entry)), "  "),
        f"  worst case: {percent(entry.worst_case_test_error)}",
    ]
    if entry.worst_case_unseen_test_error is not None and report.target != "train":
        lines[-1] += f" (unseen rows: {percent(entry.worst_case_unseen_test_error)})"
    lines += [f"  {name}: {value}" for name, value in facts(entry)]
    lines += [_wrap(note, "  note: ") for note in cautions(entry)]
    return "\n".join(lines)


def _wrap(text: str, lead: str) -> str:
    return textwrap.fill(text, width=100, initial_indent=lead, subsequent_indent=" " * len(lead))
