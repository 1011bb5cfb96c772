"""Pictures of one poison: its scores, the plane that it moves the boundary in, its rows as images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from ..core import Array, Dataset, LinearModel, Matrix, Poison
from ..core.parts import dense
from ..core.wording import drawable
from .material import LABELS, Figure, Material, class_mean, mean_rows
from .plots import BLUE, GREEN, GREY, INK, ORANGE, STYLE, axes_of, png, svg

N_SAMPLE = 300
CAPTION = (
    "The plane runs through the middle of the two class means and the poison point of each class (the mean of its "
    "copies; with one class of poison, through the two class means and its point). Rows are projected onto it, so a "
    "row can appear on the other side of a boundary than the one it is on. At most 300 rows of each class are drawn, "
    "and a few outlying ones lie beyond the edges; larger poison marks stand for more copies."
)


@dataclass(frozen=True, eq=False)
class Plane:
    """``origin + a basis[:, 0] + b basis[:, 1]`` with orthonormal columns."""

    origin: Array
    basis: Array
    names: tuple[str, str]

    def project(self, X: Matrix) -> Array:
        """Coordinates of rows in the plane, shape (n, 2)."""
        return np.asarray(X @ self.basis) - self.origin @ self.basis

    def limits(self, material: Material) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges that hold the poison points and all but a few outlying clean rows."""
        clean = np.vstack([self.project(sample(material.train, label)) for label in (1.0, -1.0)])
        points = np.stack([self.project(row[None, :])[0] for row in mean_rows(material.poison).values()])
        inner = np.vstack([np.quantile(clean, [0.01, 0.99], axis=0), points])
        low, high = inner.min(axis=0), inner.max(axis=0)
        edge = 0.08 * (high - low)
        low, high = low - edge, high + edge
        return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))

    def boundary(self, model: LinearModel, x: tuple[float, float], y: tuple[float, float]) -> Array | None:
        """Two ends of the model's boundary in the plane, across the box `x` by `y`; None if it misses."""
        slope = self.basis.T @ model.coef
        level = float(self.origin @ model.coef + model.intercept)
        length = float(slope @ slope)
        if length <= 1e-24:
            return None
        foot = -level * slope / length
        along = np.array([-slope[1], slope[0]]) / np.sqrt(length)
        centre = np.array([np.mean(x), np.mean(y)])
        middle = foot + along * float(along @ (centre - foot))
        reach = np.hypot(x[1] - x[0], y[1] - y[0])
        if np.linalg.norm(middle - centre) > reach:
            return None
        return np.stack([middle - reach * along, middle + reach * along])


def poison_plane(material: Material) -> Plane | None:
    """The plane of a poison, or None where the points lie on a line."""
    means = {label: class_mean(material.train, label) for label in (1.0, -1.0)}
    points = mean_rows(material.relaxed or material.poison)
    if len(points) == 2:
        origin = (means[1.0] + means[-1.0]) / 2
        first, second = points[1.0] - origin, points[-1.0] - origin
        names = ("towards the poison point of class +1", "at right angles, towards that of class -1")
    elif len(points) == 1:
        origin = (means[1.0] + means[-1.0]) / 2
        first, second = means[1.0] - means[-1.0], next(iter(points.values())) - origin
        names = ("from the mean of class -1 to that of class +1", "at right angles, towards the poison")
    else:
        return None
    basis = _orthonormal(first, second)
    return None if basis is None else Plane(origin, basis, names)


def sample(train: Dataset, label: float, size: int = N_SAMPLE) -> Matrix:
    """Rows of a label, evenly thinned to at most `size`."""
    rows = np.flatnonzero(train.y == label)
    return train.X[rows[np.linspace(0, rows.size - 1, min(size, rows.size)).astype(int)]]


def _orthonormal(first: Array, second: Array) -> Array | None:
    length = float(np.linalg.norm(first))
    if length <= 1e-12:
        return None
    one = first / length
    rest = second - one * float(one @ second)
    size = float(np.linalg.norm(rest))
    return None if size <= 1e-9 * max(1.0, length) else np.column_stack([one, rest / size])


CLASS_COLOUR = {1.0: BLUE, -1.0: ORANGE}
CLASS_MARKER = {1.0: "o", -1.0: "s"}


def score_histograms(material: Material) -> Figure | None:
    """Scores of clean and poison rows under each defence, by class, with the threshold."""
    if not material.scores:
        return None
    labels = np.concatenate([material.train.y, material.poison.expanded().y])
    is_poison = np.arange(labels.size) >= material.train.n
    with mpl.rc_context(STYLE):
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
        uri = svg(canvas)
    kept = ", ".join(f"{name} {100 * (material.kept_fraction[name] or 0):.0f} %" for name in names)
    caption = (
        "Rows to the right of the line are removed, and of equal rows on it the later ones. Clean and poison rows are "
        "each scaled to the height of their tallest bar; the last bin holds everything beyond it."
    )
    return Figure("Anomaly scores", f"Histograms of anomaly scores. Poison kept: {kept}.", caption, uri)


def plane(material: Material) -> Figure | None:
    """Clean rows, poison rows and both decision boundaries in the plane of the poison points."""
    flat = poison_plane(material)
    if flat is None:
        return None
    with mpl.rc_context(STYLE):
        canvas, axes = axes_of(8, 5)
        for label, text in LABELS:
            at = flat.project(sample(material.train, label))
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
        uri = svg(canvas)
    alt = (
        "Scatter plot of clean rows by class, poison rows with black edges, and the decision boundary before and after "
        "poisoning."
    )
    return Figure("Decision boundary in the plane of the poison", alt, CAPTION, uri)


def images(material: Material, per_class: int = 8) -> Figure | None:
    """The most frequent poison rows of each class as images, below a clean example."""
    shape = material.train.image_shape
    if shape is None:
        return None
    rows = _image_rows(material, per_class)
    with mpl.rc_context(STYLE):
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
        uri = png(canvas)
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


def _poison_points(flat: Plane, poison: Poison, label: float) -> tuple[Array, Array]:
    mine = np.flatnonzero((poison.y == label) & (poison.count > 0))
    most = mine[np.argsort(-poison.count[mine], kind="stable")[:N_SAMPLE]]
    return flat.project(poison.X[most]), poison.count[most]


def _image_rows(material: Material, per_class: int) -> list[tuple[str, list[tuple[str, Array]]]]:
    rows: list[tuple[str, list[tuple[str, Array]]]] = []
    poison = material.poison
    for label, text in LABELS:
        mine = np.flatnonzero((poison.y == label) & (poison.count > 0))
        if not mine.size:
            continue
        order = mine[np.argsort(-poison.count[mine], kind="stable")[:per_class]]
        rows.append((f"poison {text}", [(f"{int(poison.count[i])} copies", dense(poison.X[[i]])[0]) for i in order]))
        clean = dense(sample(material.train, label, per_class))
        rows.append((f"clean {text}", [("", row) for row in clean]))
    return rows
