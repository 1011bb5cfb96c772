"""The report as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from functools import partial

from ..core import UNDEFENDED
from .advice import advice, remedies_table
from .base import Table
from .cells import aligned, domain_words, listed, loss_table, own_words, percent, points, rungs_table, wrapped
from .curve import bracket_words
from .findings import ALL, AttackEntry, AuditFindings
from .gates import failed
from .group_tables import groups_text
from .lessons import lessons
from .words import cautions, finding, measured

DEFENDERS = {ALL: "every filter at once", UNDEFENDED: "no filter"}
"""Defenders that are no filter, in words."""
FEW = 4
"""Attacks up to which each has a part of its own in the text."""
MEASURES = "What measures do to this poison, made without regard to them; an attacker who knows may do more"
"""Caption of the table of remedies."""
PAPERS_LEVEL = "0.17"
"""The error on Enron to which Koh et al. time their attacks."""


def report_text(report: AuditFindings, verdict: str) -> str:
    """The verdict, what to do, the tables behind it, then the evidence and how to read it."""
    blocks = [wrapped(verdict, ""), *_gates(report), _heading(report)]
    blocks.append(listed(bracket_words(report), "What was found and what is proved"))
    blocks.append(listed(advice(report), "What to do"))
    tables = [f"{caption}\n{textwrap.indent(aligned(rows), '  ')}" for caption, rows in damage_tables(report)]
    blocks += [*tables, wrapped(damage_words(report), "")] if tables else []
    blocks += (
        [f"{MEASURES}\n{textwrap.indent(aligned(remedies_table(report, words=False)), '  ')}"]
        if report.remedies
        else []
    )
    said = lessons(report)
    blocks += [listed(said, "What else was seen")] if said else []
    blocks += [_bracket_block(report)] if report.rungs else []
    blocks += [groups_text(report.subpopulations)] if report.subpopulations else []
    several = len(report.attacks) > 1 or bool(report.failures)
    blocks += [_comparison_block(report)] if several else []
    blocks += [_entry_block(report, entry) for entry in shown(report)]
    rest = [note for entry in report.attacks if entry not in shown(report) for note in cautions(entry)]
    blocks += ["\n".join(wrapped(note, "note: ") for note in rest)] if rest else []
    blocks.append(listed(report.reading, "How to read this"))
    return "\n\n".join(blocks) + "\n"


def _gates(report: AuditFindings) -> list[str]:
    """The gates, those that are not met first."""
    if not report.gate:
        return []
    kept = [f"met: {item['reason']}" for item in report.gate if item["met"]]
    return [listed([*(f"NOT MET: {reason}" for reason in failed(report.gate)), *kept], "Gates")]


def damage_tables(report: AuditFindings) -> list[Table]:
    """How bad it gets in each domain."""
    return [(f"How bad it gets, {domain_words(domain)}", damage_rows(report, domain)) for domain in report.domains]


def damage_words(report: AuditFindings) -> str:
    """What the columns of these tables are."""
    words = (
        f"{measured(report.metric, 'test error')} of each defender. Clean: without poison. Own poison: with the worst "
        "poison found for this very defender; adds: by how much, a 95 % interval; by: the attack that made it."
    )
    if report.damage().unseen_test_error is not None and report.target != "train":
        words += (
            " Other rows: the test rows that were not chosen."
            if report.target_rows
            else " Unseen rows: with that poison, on test rows that the attacker did not see."
        )
    if len(report.filters) > 1:
        words += " Common poison: with the worst one that has to pass every filter; of it kept: the share that stays."
    return words[:1].upper() + words[1:]


def _bracket_block(report: AuditFindings) -> str:
    words = dict.fromkeys(word for item in report.certificates for word in item["assumptions"])
    tables = [aligned(table) for table in (rungs_table(report.rungs), loss_table(report.rungs)) if table]
    return "Behind fixed filters: attack and certificate\n" + "\n\n".join([*tables, listed(list(words))])


def damage_rows(report: AuditFindings, domain: str) -> list[tuple[str, ...]]:
    """Header and one row for each defender in one domain.

    The error without poison, with the worst poison found for this very defender, what that one adds (interval), who
    made it; with the one poison that passes every filter, and how much of that stays.
    """
    common = report.damage(ALL, domain)
    unseen = common.unseen_test_error is not None and report.target != "train"
    header = [
        "defence",
        "clean",
        "own poison",
        *(["other rows" if report.target_rows else "unseen rows"] if unseen else []),
        "adds (points)",
        "by",
    ]
    several = len(report.filters) > 1
    header += ["common poison", "of it kept"] if several else []
    rows = []
    for item in (one for one in report.damages if one.domain == domain):
        if item.behind == ALL and len(report.filters) < 2:
            continue
        row = [DEFENDERS.get(item.behind, item.behind), percent(item.clean_error), percent(item.test_error)]
        row += [percent(item.unseen_test_error)] if unseen else []
        row += [points(item.low, item.high), item.attack]
        row += [percent(common.test_errors[item.filter]), percent(common.kept[item.filter])] if several else []
        rows.append(tuple(row))
    return [tuple(header), *rows]


def shown(report: AuditFindings) -> list[AttackEntry]:
    """The entries that are told one by one: all if they are few, else those behind the figures for every filter."""
    if len(report.attacks) <= FEW:
        return report.ranked
    files = {report.damage(ALL, domain).file for domain in report.domains}
    found = [entry for entry in report.ranked if entry.file in files] or report.ranked[:1]
    return [entry for place, entry in enumerate(found) if entry.file not in {one.file for one in found[:place]}]


def comparison(report: AuditFindings) -> list[tuple[str, ...]]:
    """Header and one row for each attack, the strongest first: errors, times, and how well it was solved."""
    names = attack_names(report)
    columns: list[tuple[str, Callable[[AttackEntry], str]]] = [("attack", lambda entry: names[id(entry)])]
    if len(report.domains) > 1:
        columns.append(("domain", lambda entry: domain_words(entry.domain)))
    if any(entry.against != ALL for entry in report.attacks):
        columns.append(("made for", lambda entry: DEFENDERS.get(entry.against, entry.against)))
    columns.append(("behind all", lambda entry: percent(entry.test_error_behind_all)))
    if any(entry.unseen_test_error_behind_all is not None for entry in report.attacks):
        title = "other rows" if report.target_rows else "unseen rows"
        columns.append((title, lambda entry: percent(entry.unseen_test_error_behind_all)))
    columns.append(("seconds", lambda entry: f"{entry.seconds:.1f}"))
    columns += [(f"seconds to {100 * float(mark):.0f} %", partial(_seconds_to, mark)) for mark in marks(report)]
    columns.append(("distinct rows", lambda entry: str(entry.n_distinct)))
    for name, title in (("gap", "duality gap"), ("residual", "KKT residual")):
        if any(getattr(entry, name) is not None for entry in report.attacks):
            columns.append((title, partial(_number, name)))
    header = tuple(title for title, _ in columns)
    return [header, *(tuple(cell(entry) for _, cell in columns) for entry in report.ranked)]


def attack_names(report: AuditFindings) -> dict[int, str]:
    """What the tables of attacks call each, by its `id`: numbered where several entries have one name."""
    named: dict[str, list[AttackEntry]] = {}
    for entry in report.ranked:
        named.setdefault(entry.name, []).append(entry)
    return {
        id(entry): name if len(mine) == 1 else f"{name} {place}"
        for name, mine in named.items()
        for place, entry in enumerate(mine, start=1)
    }


def by_defense(report: AuditFindings) -> list[tuple[str, ...]]:
    """Header, the errors without poison, and those of each attack, by defence."""
    names, attacks = list(report.attacks[0].test_error), attack_names(report)
    rows = [("no poison", report.clean["by_defense"])]
    rows += [(attacks[id(entry)], entry.test_error) for entry in report.ranked]
    return [("error behind", *names), *((who, *(percent(error.get(name)) for name in names)) for who, error in rows)]


def marks(report: AuditFindings) -> list[str]:
    """The error levels to time attacks by: that of Koh et al. if one reached it, and the greatest that one reached."""
    reached = {level for entry in report.attacks for level in entry.seconds_to.get(ALL, {})}
    chosen = [PAPERS_LEVEL] if PAPERS_LEVEL in reached else []
    return list(dict.fromkeys([*chosen, *sorted(reached, key=float)[-1:]]))


def _seconds_to(mark: str, entry: AttackEntry) -> str:
    seconds = entry.seconds_to.get(ALL, {}).get(mark)
    return "-" if seconds is None else f"{seconds:.1f}"


def _number(name: str, entry: AttackEntry) -> str:
    value = getattr(entry, name)
    return "-" if value is None else f"{value:.1e}"


def error_rows(report: AuditFindings, entry: AttackEntry) -> list[tuple[str, ...]]:
    """Header and one row for each defence: errors, then the share of poison and clean rows kept."""
    columns: list[tuple[str, Mapping[str, float]]] = [
        ("clean", report.clean["by_defense"]),
        ("poisoned", entry.test_error),
    ]
    if report.target == "train":
        columns.append(("poisoned, train", entry.seen_error or {}))
    elif entry.unseen_test_error:
        which = "other rows" if report.target_rows else "unseen"
        columns.append((f"clean, {which}", report.clean["unseen_by_defense"]))
        columns.append((f"poisoned, {which}", entry.unseen_test_error))
    columns += [("poison kept", entry.kept_fraction), ("clean kept", entry.kept_clean_fraction)]
    header = ("defence", *(title for title, _ in columns))
    return [header, *((name, *(percent(part.get(name)) for _, part in columns)) for name in entry.test_error)]


def headline(report: AuditFindings, entry: AttackEntry) -> str:
    """What one poison did, in a sentence."""
    return finding(entry, report.clean["by_defense"], report.epsilon, len(report.target_rows or ()), report.metric)


def _by_class(copies: Mapping[str, int]) -> str:
    """Copies of each class: of two both, of more those that have any."""
    shown = {label: count for label, count in copies.items() if count or len(copies) == 2}
    return ", ".join(f"{count} of class {label}" for label, count in shown.items())


def facts(entry: AttackEntry) -> list[tuple[str, str]]:
    """Names and values of what else is known about one poison."""
    pairs: list[tuple[str, str]] = [
        ("rows", f"{entry.n_poison} ({entry.n_distinct} distinct; {_by_class(entry.poison_by_class)})"),
        ("seconds", f"{entry.seconds:.1f}"),
    ]
    if entry.residual is not None:
        pairs.append(("KKT residual before rounding", f"{entry.residual:.2e}"))
    if entry.gap is not None:
        pairs.append(("relative duality gap of its program", f"{entry.gap:.1e}"))
    if entry.violation is not None:
        pairs.append(("violation of the sets before rounding", f"{entry.violation:.2e}"))
    if entry.distance_to_decoy is not None:
        pairs.append(("distance to the decoy after retraining", f"{entry.distance_to_decoy:.2e}"))
    if entry.decoy:
        pairs.append(("how it was made", entry.decoy))
    if entry.n_solves:
        pairs.append(("conic solves", f"{entry.n_solves} ({entry.n_failed_solves} failed)"))
    if entry.n_candidates:
        pairs.append(("candidates scored", str(entry.n_candidates)))
    return pairs


def _heading(report: AuditFindings) -> str:
    data, model = report.dataset, report.model
    intercept = "penalised" if model["penalize_intercept"] else "free"
    return (
        f"linpoison {report.versions.get('linpoison', '')}: {data['name']} ({data['n_train']} training and "
        f"{data['n_test']} test rows, {data['n_features']} features, domain {data['domain']})\n"
        f"learner: {model['loss']} loss, reg {model['reg']:g}, {intercept} intercept; epsilon {report.epsilon:.4g}; "
        f"target {report.target}; seed {report.seed}"
        + (f"; damage: {measured(report.metric)}" if report.metric != "error" else "")
        + own_words(data)
    )


def _comparison_block(report: AuditFindings) -> str:
    tables = [textwrap.indent(aligned(table), "  ") for table in (comparison(report), by_defense(report))]
    return "Attacks compared\n" + "\n\n".join(tables)


def _entry_block(report: AuditFindings, entry: AttackEntry) -> str:
    lines = [
        entry.name if len(report.domains) < 2 else f"{entry.name}, {domain_words(entry.domain)}",
        wrapped(headline(report, entry), "  "),
        textwrap.indent(aligned(error_rows(report, entry)), "  "),
        f"  behind every filter at once: {percent(entry.test_error_behind_all)}",
    ]
    if entry.unseen_test_error_behind_all is not None and report.target != "train":
        lines[-1] += (
            f" ({'other' if report.target_rows else 'unseen'} rows: {percent(entry.unseen_test_error_behind_all)})"
        )
    lines += [f"  {name}: {value}" for name, value in facts(entry)]
    lines += [wrapped(note, "  note: ") for note in cautions(entry)]
    return "\n".join(lines)
