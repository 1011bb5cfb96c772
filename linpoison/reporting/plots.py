"""The pictures of a report that are drawn from its numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogFormatter

from ..core.wording import drawable, quiet_fonts
from .cells import domain_words
from .curve import of_domain
from .findings import ALL, AttackEntry, AuditFindings
from .material import Figure
from .trial import Trial

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8A8F98", "#1B1F24"
"""Okabe and Ito's palette, told apart by colour-blind readers too."""

STYLE: Any = {
    "svg.hashsalt": "linpoison", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "legend.frameon": False, "axes.titlesize": 10,
}  # fmt: skip


def axes_of(width: float, height: float) -> tuple[Canvas, Any]:
    """A picture of so many inches with one pair of axes."""
    canvas = Canvas(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas, canvas.subplots()


def logarithmic(axis: Any) -> None:
    """An axis in powers of ten, labelled 0.1 and 100: setting exponents is half of a picture's cost."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def svg(canvas: Canvas) -> str:
    """The picture as a data URI."""
    return _uri(canvas, "svg", "image/svg+xml", metadata={"Date": None})


def png(canvas: Canvas) -> str:
    """The same in pixels, for pictures of rows."""
    return _uri(canvas, "png", "image/png", dpi=110)


def _uri(canvas: Canvas, kind: str, mime: str, **options: Any) -> str:
    stream = io.BytesIO()
    with quiet_fonts():
        canvas.savefig(stream, format=kind, **options)
    return f"data:{mime};base64,{base64.b64encode(stream.getvalue()).decode()}"


_LINES: Any = (
    {"color": GREY, "linestyle": ":"},
    {"color": BLUE, "linestyle": "-"},
    {"color": ORANGE, "linestyle": "--"},
    {"color": GREEN, "linestyle": "-."},
    {"color": "#CC79A7", "linestyle": "-"},
    {"color": "#E69F00", "linestyle": "--"},
)
_THIN_LINE: Any = {"linewidth": 1.4}
_WORST_LINE: Any = {"color": INK, "linewidth": 2.6, "linestyle": "-", "marker": "o", "markersize": 4}

_RACE_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY)
FIRST_SECOND = 0.01
"""Where a logarithmic axis of seconds begins."""
RACED = 7
"""Attacks in one picture: more lines cover each other."""


def errors(report: AuditFindings, entry: AttackEntry) -> Figure:
    """Bars of test error by defence, with the clean error as a line across each."""
    names = list(entry.test_error)
    series = [("poisoned, scored rows", entry.test_error, ORANGE, "")]
    if entry.unseen_test_error is not None and report.target != "train":
        mine = "poisoned, chosen rows" if report.target_rows else "poisoned, rows the attacker saw"
        series = [(mine, entry.test_error, ORANGE, "")]
        series.append(
            (
                "poisoned, other rows" if report.target_rows else "poisoned, unseen rows",
                entry.unseen_test_error,
                BLUE,
                "//",
            )
        )
    with mpl.rc_context(STYLE):
        canvas, axes = axes_of(8, 3.6)
        width = 0.72 / len(series)
        for place, (label, values, colour, hatch) in enumerate(series):
            left = np.arange(len(names)) + (place - (len(series) - 1) / 2) * width
            heights = [100 * values[name] for name in names]
            bars = axes.bar(left, heights, width, color=colour, label=label, hatch=hatch, edgecolor="white")
            axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=9)
        clean = [100 * report.clean["by_defense"][name] for name in names]
        at = np.arange(len(names))
        axes.hlines(clean, at - 0.42, at + 0.42, color=INK, linewidth=2, label="clean training data")
        axes.set_xticks(at, ["no defence" if name == "none" else name for name in names])
        axes.set_ylabel("error (%)")
        axes.set_ylim(0, max(5.0, 1.28 * max(max(clean), *(100 * v for s in series for v in s[1].values()))))
        axes.legend(loc="upper center", ncols=3, fontsize=9)
        uri = svg(canvas)
    alt = "; ".join(
        f"{name}: {100 * entry.test_error[name]:.1f} % poisoned, {level:.1f} % clean"
        for name, level in zip(names, clean, strict=True)
    )
    caption = (
        "This one poison has to pass every filter, so the lowest bar among the filters is its error behind all of them."
    )
    return Figure(f"Test error by defence: {entry.name}", f"Bars of test error. {alt}.", caption, uri)


def race(report: AuditFindings) -> Figure | None:
    """Best error against seconds, one line for each of several attacks, the strongest last and thick."""
    mine = [entry for entry in report.ranked if entry.against == ALL and entry.timeline]
    lines = {
        entry.name if len(report.domains) < 2 else f"{entry.name}, {domain_words(entry.domain)}": entry
        for entry in reversed(mine[:RACED])
    }
    if len(lines) < 2:
        return None
    with mpl.rc_context(STYLE):
        canvas, axes = axes_of(8, 4.2)
        for place, (name, entry) in enumerate(lines.items()):
            steps = np.asarray([*entry.timeline, [max(entry.seconds, entry.timeline[-1][0]), entry.timeline[-1][1]]])
            style = _WORST_LINE if place == len(lines) - 1 else {**_THIN_LINE, **_race_style(place)}
            axes.step(steps[:, 0].clip(min=FIRST_SECOND), 100 * steps[:, 1], where="post", label=name, **style)
        logarithmic(axes.xaxis)
        axes.set(
            xlabel="seconds since the attack began (log scale)",
            ylabel="best error behind all so far (%)",
            ylim=(0, None),
        )
        handles, names = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
        uri = svg(canvas)
    ends = "; ".join(
        f"{name}: {100 * entry.timeline[-1][1]:.1f} % at {entry.timeline[-1][0]:.1f} s" for name, entry in lines.items()
    )
    caption = (
        "Least error over the defences on the rows that the attacker looked at, of candidates scored behind all of "
        "them; a line ends where its attack does. The clock of an attack that started from another's poison counts the "
        "seconds of that one too." + (f" The {RACED} strongest of {len(mine)}." if len(mine) > RACED else "")
    )
    return Figure("Error against time, attack by attack", f"Rising lines of the best error. {ends}.", caption, uri)


def bracket(rungs: Sequence[Mapping[str, Any]], kind: str = "error") -> Figure:
    """Error against budget: what attacks did, and what no attack exceeds."""
    unit = {"deletions": "deleted rows", "flips": "flipped labels"}.get(kind, "poison rows")
    budgets = [100 * rung["epsilon"] for rung in rungs]
    bounds = [100 * rung["bound"] for rung in rungs]
    lower = [100 * max(rung["clean_error"], rung["attack_error"] or 0.0) for rung in rungs]
    attacked = any(rung["attack_error"] is not None for rung in rungs)
    with mpl.rc_context(STYLE):
        canvas, axes = axes_of(8, 4.0)
        axes.fill_between(budgets, lower, bounds, color=GREY, alpha=0.18, linewidth=0, label="not known")
        axes.plot(budgets, bounds, color=BLUE, marker="s", linewidth=2, label="certified: at most")
        what = "attacks: at least" if attacked else "clean training data"
        axes.plot(budgets, lower, color=ORANGE, marker="o", linewidth=2, linestyle="--", label=what)
        axes.axhline(100 * rungs[0]["clean_error"], color=INK, linewidth=1, linestyle=":")
        if len(budgets) > 1:
            axes.set_xscale("log")
        axes.set_xticks(budgets, [f"{value:g}" for value in budgets])
        axes.set(xlabel=f"{unit} (% of the clean ones)", ylabel="error on the test rows (%)", ylim=(0, None))
        axes.minorticks_off()
        axes.legend(loc="upper left", fontsize=9)
        uri = svg(canvas)
    alt = "; ".join(
        f"epsilon {rung['epsilon']:g}: at least {low:.1f} %, at most {high:.1f} %"
        for rung, low, high in zip(rungs, lower, bounds, strict=True)
    )
    worst = "worst poison" if kind == "error" else "worst change for each row"
    caption = f"The {worst} of each budget lies between the lines. The dotted line is the error without it."
    return Figure("Attack and certificate", f"Lines of test error. {alt}.", caption, uri)


def front(trials: Sequence[Trial], chosen: str) -> Figure:
    """Clean error against attacked error of the settings that were tried, the chosen one marked."""
    with mpl.rc_context(STYLE):
        canvas, axes = axes_of(8, 4.5)
        for number, trial in enumerate(trials):
            color = ORANGE if trial.name == chosen else INK if number == 0 else BLUE
            place = (100 * trial.clean_error, 100 * trial.attacked)
            axes.plot(*place, marker="o" if trial.thorough else "s", color=color, markersize=9 if trial.thorough else 6)
            axes.annotate(str(number + 1), place, textcoords="offset points", xytext=(7, 3), fontsize=9, color=color)
        axes.set(xlabel="clean error (%)", ylabel="attacked error (%)", ylim=(0, None))
        uri = svg(canvas)
    names = "; ".join(
        f"{number} {trial.name}: {100 * trial.clean_error:.1f} % clean, {100 * trial.attacked:.1f} % attacked"
        for number, trial in enumerate(trials, 1)
    )
    caption = f"Lower and further left is better. Circles met the portfolio of attacks. {names}."
    return Figure("Clean error against attacked error", f"Points. {names}.", caption, uri)


def groups(found: Mapping[str, Any], most: int = 25) -> Figure:
    """Error on each subpopulation without and with poison behind the best defence, and the interval of the damage."""
    best, shown = found["defense"], found["groups"][:most]
    parts = [group["defenses"][best] for group in shown]
    low, high = ([100 * min(max(part["clean"] + part[end], 0.0), 1.0) for part in parts] for end in ("low", "high"))
    with mpl.rc_context(STYLE):
        canvas, axes = axes_of(8, 1.4 + 0.32 * len(shown))
        at = np.arange(len(shown))
        axes.hlines(at, low, high, color=ORANGE, linewidth=5, alpha=0.35, label="interval of the damage")
        axes.plot([100 * part["poisoned"] for part in parts], at, "o", color=ORANGE, label="poisoned")
        axes.plot([100 * part["clean"] for part in parts], at, "|", color=INK, ms=13, mew=2, label="clean")
        axes.axvline(100 * found["overall"][best]["poisoned"], color=ORANGE, linestyle="--", linewidth=1)
        axes.set_yticks(at, [f"{drawable(group['name'])} ({group['n_rows']})" for group in shown])
        axes.set(xlabel="error (%)", xlim=(-2, 102), ylim=(len(shown) - 0.5, -0.5))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9)
        uri = svg(canvas)
    alt = "; ".join(
        f"{group['name']}: {100 * part['clean']:.1f} % clean, {100 * part['poisoned']:.1f} % poisoned"
        for group, part in zip(shown, parts, strict=True)
    )
    behind = "Without any defence" if best == "none" else f"Behind {best}, the best defence"
    caption = (
        f"{behind}; the number of measured rows in brackets. The dashed line is the poisoned error on all rows."
        + (f" The {most} most damaged of {len(found['groups'])}." if len(found["groups"]) > most else "")
    )
    return Figure("Who would be hurt", f"Error by subpopulation. {alt}.", caption, uri)


def _race_style(place: int) -> dict[str, Any]:
    """Colour and dash: two colours of the palette differ, or the dashes do."""
    return {
        "color": _RACE_COLOURS[place % 7],
        "linestyle": ("-", "--", ":")[place // 7 % 3],
        "marker": ".",
        "markersize": 5,
    }


def _together(lines: Mapping[str, Any]) -> dict[str, Any]:
    """Lines by name; those that are the same are one, with all their names."""
    names: dict[str, list[str]] = {}
    for name, line in lines.items():
        names.setdefault(repr(line), []).append("no defence" if name == "none" else name)
    same = {repr(line): line for line in lines.values()}
    return {", ".join(mine): same[key] for key, mine in names.items()}


def curve(report: AuditFindings) -> Figure | None:
    """Error against the number of poison rows in each domain."""
    if not report.curve:
        return None
    alt = []
    with mpl.rc_context(STYLE):
        canvas, axes = axes_of(8, 3.6)
        for domain, colour, dash in zip(report.domains, (ORANGE, GREEN), ("-", "--"), strict=False):
            rows = of_domain(report, domain)
            at, errors = [row["rows"] for row in rows], [100 * row["test_error"] for row in rows]
            label = f"at least, {domain_words(domain)}"
            axes.step(at, errors, where="post", color=colour, linestyle=dash, marker="o", linewidth=2, label=label)
            alt.append(
                f"{domain_words(domain)}: " + ", ".join(f"{m} rows {e:.1f} %" for m, e in zip(at, errors, strict=True))
            )
        axes.set(xlabel="poison rows", ylabel="error behind every filter (%)", ylim=(0, None), xlim=(0, None))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9)
        uri = svg(canvas)
    caption = "The best that was found with at most so many rows, filters fitted with them; more may be possible."
    return Figure("Damage against number of rows", f"Rising steps of the error. {'; '.join(alt)}.", caption, uri)


def timeline(report: AuditFindings) -> Figure | None:
    """Best error against seconds: behind all defences at once, and behind each alone, of the strongest attack."""
    entry = report.strongest
    lines = {**entry.timeline_by_defense, "all at once": entry.timeline}
    lines = _together({name: line for name, line in lines.items() if line})
    if not lines:
        return None
    with mpl.rc_context(STYLE):
        canvas, axes = axes_of(8, 3.4)
        end = max(entry.seconds, *(line[-1][0] for line in lines.values()))
        for place, (name, line) in enumerate(lines.items()):
            steps = np.asarray([*line, [end, line[-1][1]]])
            style = _WORST_LINE if "all at once" in name else {**_THIN_LINE, **_LINES[place % len(_LINES)]}
            axes.step(steps[:, 0].clip(min=FIRST_SECOND), 100 * steps[:, 1], where="post", label=name, **style)
        logarithmic(axes.xaxis)
        axes.set(xlabel="seconds since the attack began (log scale)", ylabel="best error so far (%)", ylim=(0, None))
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
        uri = svg(canvas)
    ends = "; ".join(f"{name}: {100 * line[-1][1]:.1f} % at {line[-1][0]:.1f} s" for name, line in lines.items())
    caption = (
        "Error on the rows that the attacker looked at, of the best candidate scored so far: behind each defence "
        "alone, and behind all of them for candidates that were scored behind all."
    )
    return Figure(f"How the attack progressed: {entry.name}", f"Rising lines of the best error. {ends}.", caption, uri)


def suspicious(scores: Sequence[float], named: Sequence[bool]) -> Figure:
    """Evidence against each row, from the most suspicious on."""
    ranks, values, marked = np.arange(1, len(scores) + 1), np.asarray(scores), np.asarray(named)
    with mpl.rc_context(STYLE):
        canvas, axes = axes_of(8, 3.6)
        for mine, colour, marker, label in ((~marked, GREY, ".", "other rows"), (marked, ORANGE, "o", "named")):
            axes.scatter(ranks[mine], values[mine] + 1, s=14, color=colour, marker=marker, label=label)
        logarithmic(axes.xaxis)
        logarithmic(axes.yaxis)
        axes.set(xlabel="rank (log scale)", ylabel="score + 1 (log scale)")
        axes.legend(loc="upper right", fontsize=9)
        uri = svg(canvas)
    alt = f"Falling points: {int(marked.sum())} of {len(scores)} rows are named."
    return Figure("Evidence against each row", alt, "Rows that stand out lie above where the others line up.", uri)
