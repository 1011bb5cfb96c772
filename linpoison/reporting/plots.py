"""The pictures of a report. The only module that imports matplotlib; no global state of it is used."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from ..core import Array, Poison
from ..core.wording import drawable, quiet_fonts
from . import plane as geometry
from .cells import domain_words
from .findings import ALL, AttackEntry, AuditFindings
from .material import LABELS, Figure, Material

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8A8F98", "#1B1F24"
"""Okabe and Ito's palette, told apart by colour-blind readers too."""

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

CLASS_COLOUR = {1.0: BLUE, -1.0: ORANGE}
CLASS_MARKER = {1.0: "o", -1.0: "s"}
_STYLE: Any = {
    "svg.hashsalt": "linpoison", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "legend.frameon": False, "axes.titlesize": 10,
}  # fmt: skip


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
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(8, 3.6)
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
        uri = _svg(canvas)
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
        for entry in reversed(mine)
    }
    if len(lines) < 2:
        return None
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(8, 4.2)
        for place, (name, entry) in enumerate(lines.items()):
            steps = np.asarray([*entry.timeline, [max(entry.seconds, entry.timeline[-1][0]), entry.timeline[-1][1]]])
            style = _WORST_LINE if place == len(lines) - 1 else {**_THIN_LINE, **_race_style(place)}
            axes.step(steps[:, 0].clip(min=FIRST_SECOND), 100 * steps[:, 1], where="post", label=name, **style)
        axes.set_xscale("log")
        axes.set(
            xlabel="seconds since the attack began (log scale)",
            ylabel="best error behind all so far (%)",
            ylim=(0, None),
        )
        handles, names = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
        uri = _svg(canvas)
    ends = "; ".join(
        f"{name}: {100 * entry.timeline[-1][1]:.1f} % at {entry.timeline[-1][0]:.1f} s" for name, entry in lines.items()
    )
    caption = (
        "Least error over the defences on the rows that the attacker looked at, of candidates scored behind all of "
        "them; a line ends where its attack does. The clock of an attack that started from another's poison counts the "
        "seconds of that one too."
    )
    return Figure("Error against time, attack by attack", f"Rising lines of the best error. {ends}.", caption, uri)


def bracket(rungs: Sequence[Mapping[str, Any]], kind: str = "error") -> Figure:
    """Error against budget: what attacks did, and what no attack exceeds."""
    unit = {"deletions": "deleted rows", "flips": "flipped labels"}.get(kind, "poison rows")
    budgets = [100 * rung["epsilon"] for rung in rungs]
    bounds = [100 * rung["bound"] for rung in rungs]
    lower = [100 * max(rung["clean_error"], rung["attack_error"] or 0.0) for rung in rungs]
    attacked = any(rung["attack_error"] is not None for rung in rungs)
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(8, 4.0)
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
        uri = _svg(canvas)
    alt = "; ".join(
        f"epsilon {rung['epsilon']:g}: at least {low:.1f} %, at most {high:.1f} %"
        for rung, low, high in zip(rungs, lower, bounds, strict=True)
    )
    worst = "worst poison" if kind == "error" else "worst change for each row"
    caption = f"The {worst} of each budget lies between the lines. The dotted line is the error without it."
    return Figure("Attack and certificate", f"Lines of test error. {alt}.", caption, uri)


def groups(found: Mapping[str, Any], most: int = 25) -> Figure:
    """Error on each subpopulation without and with poison behind the best defence, and the interval of the damage."""
    best, shown = found["defense"], found["groups"][:most]
    parts = [group["defenses"][best] for group in shown]
    low, high = ([100 * min(max(part["clean"] + part[end], 0.0), 1.0) for part in parts] for end in ("low", "high"))
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(8, 1.4 + 0.32 * len(shown))
        at = np.arange(len(shown))
        axes.hlines(at, low, high, color=ORANGE, linewidth=5, alpha=0.35, label="interval of the damage")
        axes.plot([100 * part["poisoned"] for part in parts], at, "o", color=ORANGE, label="poisoned")
        axes.plot([100 * part["clean"] for part in parts], at, "|", color=INK, ms=13, mew=2, label="clean")
        axes.axvline(100 * found["overall"][best]["poisoned"], color=ORANGE, linestyle="--", linewidth=1)
        axes.set_yticks(at, [f"{drawable(group['name'])} ({group['n_rows']})" for group in shown])
        axes.set(xlabel="error (%)", xlim=(-2, 102), ylim=(len(shown) - 0.5, -0.5))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9)
        uri = _svg(canvas)
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


def timeline(report: AuditFindings) -> Figure | None:
    """Best error against seconds: behind all defences at once, and behind each alone, of the strongest attack."""
    entry = report.strongest
    lines = {**entry.timeline_by_defense, "all at once": entry.timeline}
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return None
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(8, 3.4)
        end = max(entry.seconds, *(line[-1][0] for line in lines.values()))
        for place, (name, line) in enumerate(lines.items()):
            steps = np.asarray([*line, [end, line[-1][1]]])
            style = _WORST_LINE if name == "all at once" else {**_THIN_LINE, **_LINES[place % len(_LINES)]}
            label = "no defence" if name == "none" else name
            axes.step(steps[:, 0], 100 * steps[:, 1], where="post", label=label, **style)
        axes.set(xlabel="seconds since the attack began", ylabel="best error so far (%)", ylim=(0, None))
        axes.set_xlim(0, end or 1.0)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
        uri = _svg(canvas)
    ends = "; ".join(f"{name}: {100 * line[-1][1]:.1f} % at {line[-1][0]:.1f} s" for name, line in lines.items())
    caption = (
        "Error on the rows that the attacker looked at, of the best candidate scored so far: behind each defence "
        "alone, and behind all of them for candidates that were scored behind all."
    )
    return Figure(f"How the attack progressed: {entry.name}", f"Rising lines of the best error. {ends}.", caption, uri)


def score_histograms(material: Material) -> Figure | None:
    """Scores of clean and poison rows under each defence, by class, with the threshold."""
    if not material.scores:
        return None
    labels = np.concatenate([material.train.y, material.poison.expanded().y])
    is_poison = np.arange(labels.size) >= material.train.n
    with mpl.rc_context(_STYLE):
        names = list(material.scores)
        canvas = Canvas(figsize=(8, 1.75 * len(names) + 0.6), layout="constrained")
        FigureCanvasAgg(canvas)
        grid = canvas.subplots(len(names), 2, squeeze=False)
        for row, name in zip(grid, names, strict=True):
            for axes, (label, text) in zip(row, LABELS, strict=True):
                mine = labels == label
                limit = material.thresholds[name].get(label, np.nan)
                _histogram(axes, material.scores[name][mine], is_poison[mine], limit)
                axes.set_title(f"{name}, class {text}", loc="left")
        handles, texts = grid[0][0].get_legend_handles_labels()
        canvas.legend(handles, texts, loc="outside upper center", ncols=3)
        uri = _svg(canvas)
    kept = ", ".join(f"{name} {100 * (material.kept_fraction[name] or 0):.0f} %" for name in names)
    caption = (
        "Rows to the right of the line are removed, and of equal rows on it the later ones. Clean and poison rows are "
        "each scaled to the height of their tallest bar; the last bin holds everything beyond it."
    )
    return Figure("Anomaly scores", f"Histograms of anomaly scores. Poison kept: {kept}.", caption, uri)


def plane(material: Material) -> Figure | None:
    """Clean rows, poison rows and both decision boundaries in the plane of the poison points."""
    flat = geometry.poison_plane(material)
    if flat is None:
        return None
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(8, 5)
        for label, text in LABELS:
            at = flat.project(geometry.sample(material.train, label))
            axes.scatter(*at.T, s=12, alpha=0.45, color=CLASS_COLOUR[label], marker=CLASS_MARKER[label],
                         linewidths=0, label=f"clean {text}")  # fmt: skip
        for label, text in LABELS:
            at, count = _poison_points(flat, material.poison, label)
            if len(at):
                axes.scatter(*at.T, s=25 + 250 * count / material.poison.total, facecolor=CLASS_COLOUR[label],
                             edgecolor="black", marker=CLASS_MARKER[label], linewidths=1.8, alpha=0.85,
                             label=f"poison {text}")  # fmt: skip
        limits = flat.limits(material)
        for model, colour, dash, text in (
            (material.clean_model, INK, "-", "clean boundary"),
            (material.poisoned_model, GREEN, "--", "poisoned boundary, no defence"),
        ):
            ends = flat.boundary(model, *limits)
            if ends is not None:
                axes.plot(*ends.T, color=colour, linestyle=dash, linewidth=2.2, label=text)
        axes.set(xlim=limits[0], ylim=limits[1], xlabel=drawable(flat.names[0]), ylabel=drawable(flat.names[1]))
        legend = axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
        for handle in legend.legend_handles:
            if hasattr(handle, "set_sizes"):
                handle.set_sizes([40.0])
        uri = _svg(canvas)
    alt = (
        "Scatter plot of clean rows by class, poison rows with black edges, and the decision boundary before and after "
        "poisoning."
    )
    return Figure("Decision boundary in the plane of the poison", alt, geometry.CAPTION, uri)


def images(material: Material, per_class: int = 8) -> Figure | None:
    """The most frequent poison rows of each class as images, below a clean example."""
    shape = material.train.image_shape
    if shape is None:
        return None
    rows = _image_rows(material, per_class)
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(8, 1.15 * len(rows)), layout="constrained")
        FigureCanvasAgg(canvas)
        grid = canvas.subplots(len(rows), per_class + 1, squeeze=False)
        for (name, items), line in zip(rows, grid, strict=True):
            for axes in line:
                axes.set_axis_off()
            line[0].text(1, 0.5, name, ha="right", va="center", fontsize=10)
            for axes, (text, pixels) in zip(line[1:], items, strict=False):
                axes.imshow(pixels.reshape(shape), cmap="gray", interpolation="nearest")
                axes.set_title(text, fontsize=9)
        uri = _png(canvas)
    alt = f"Grid of images: {'; '.join(name for name, _ in rows)}."
    caption = "The poison rows with most copies, above clean rows of the same label."
    return Figure("Poison rows as images", alt, caption, uri)


def _histogram(axes: Any, scores: Array, is_poison: Any, threshold: float) -> None:
    low, high = float(scores.min()), _upper_limit(scores, threshold)
    edges = np.linspace(low, high, 41) if high > low else np.linspace(low - 0.5, low + 0.5, 41)
    for mask, colour, label in ((~is_poison, GREY, "clean rows"), (is_poison, ORANGE, "poison rows")):
        if mask.any():
            values = scores[mask].clip(max=edges[-1])
            heights = np.histogram(values, edges)[0]
            axes.stairs(heights / heights.max(), edges, fill=True, color=colour, alpha=0.7, label=label)
        else:
            axes.plot([], [], color=colour, linewidth=6, alpha=0.7, label=label)
    if np.isfinite(threshold):
        axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.5, label="threshold")
    axes.set(ylim=(0, 1.05), yticks=[])


def _upper_limit(scores: Array, threshold: float) -> float:
    wide = float(np.quantile(scores, 0.99))
    if np.isfinite(threshold):
        wide = max(wide, threshold + 0.25 * (threshold - float(scores.min())))
    return min(float(scores.max()), wide)


def _poison_points(flat: geometry.Plane, poison: Poison, label: float) -> tuple[Array, Array]:
    mine = np.flatnonzero((poison.y == label) & (poison.count > 0))
    most = mine[np.argsort(-poison.count[mine], kind="stable")[: geometry.N_SAMPLE]]
    return flat.project(poison.X[most]), poison.count[most]


def _image_rows(material: Material, per_class: int) -> list[tuple[str, list[tuple[str, Array]]]]:
    rows: list[tuple[str, list[tuple[str, Array]]]] = []
    poison = material.poison
    for label, text in LABELS:
        mine = np.flatnonzero((poison.y == label) & (poison.count > 0))
        if not mine.size:
            continue
        order = mine[np.argsort(-poison.count[mine], kind="stable")[:per_class]]
        rows.append(
            (f"poison {text}", [(f"{int(poison.count[i])} copies", geometry.dense(poison.X[[i]])[0]) for i in order])
        )
        clean = geometry.dense(geometry.sample(material.train, label, per_class))
        rows.append((f"clean {text}", [("", row) for row in clean]))
    return rows


def _canvas(width: float, height: float) -> tuple[Canvas, Any]:
    canvas = Canvas(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas, canvas.subplots()


def _svg(canvas: Canvas) -> str:
    return _uri(canvas, "svg", "image/svg+xml", metadata={"Date": None})


def _png(canvas: Canvas) -> str:
    return _uri(canvas, "png", "image/png", dpi=110)


def _uri(canvas: Canvas, kind: str, mime: str, **options: Any) -> str:
    stream = io.BytesIO()
    with quiet_fonts():
        canvas.savefig(stream, format=kind, **options)
    return f"data:{mime};base64,{base64.b64encode(stream.getvalue()).decode()}"
