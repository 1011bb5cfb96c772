"""Pictures of a study: damage against strength, and a map of the clusters. No global state of matplotlib is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..core.wording import drawable
from .mapping import GroupMap
from .study import Study

_STRONG_FIRST = np.r_[0:20:2, 1:20:2]
"""Colours of the palette tab20, the pale ones last."""
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8A8F98"


def damage_figure(found: Study, k: int = 5) -> Figure:
    """Target damage of every subpopulation against alpha, the mean of the worst `k`, and that of the null."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    alphas = found.alphas
    for name in {group.name for group in found.groups}:
        values = [group.damage.target.value for a in alphas for group in found.at(a) if group.name == name]
        axes.plot(alphas, values, color=GREY, linewidth=0.8, alpha=0.6)
    worst = [found.worst(k, alpha) for alpha in alphas]
    axes.plot(alphas, [each.damage for each in worst], color=ORANGE, marker="o", label=f"worst {k}")
    axes.plot(alphas, [each.null for each in worst], color=BLUE, linestyle="--", marker="s", label="null")
    axes.set(xlabel="poison rows for each auxiliary row of the subpopulation", ylabel="target damage")
    axes.legend()
    return figure


def map_figure(found: GroupMap, names: Sequence[str], damage: Mapping[int, float]) -> Figure:
    """Rows in a plane, each subpopulation in a colour; those attacked with their damage, and the poison as crosses.

    Parameters
    ----------
    found : GroupMap
    names : sequence of str
        Of all subpopulations.
    damage : mapping of int to float
        Target damage of those attacked, by code.
    """
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = np.where(found.codes >= 0, _STRONG_FIRST[found.codes % 20], 15)
    attacked = np.isin(found.codes, list(damage))
    for chosen, size, alpha in ((~attacked, 8, 0.6), (attacked, 14, 0.8)):
        x, y = found.points[chosen].T
        axes.scatter(x, y, s=size, alpha=alpha, c=colours[chosen], cmap="tab20", vmin=0, vmax=19, linewidths=0)
    x, y = found.poison.T
    axes.scatter(x, y, s=22, marker="x", color="black", linewidths=0.8, label="poison rows")
    for code, value in damage.items():
        mine = found.points[found.codes == code]
        if len(mine):
            middle = np.median(mine, axis=0)
            axes.scatter([middle[0]], [middle[1]], s=190, facecolor="none", edgecolor=ORANGE, linewidth=2)
            axes.annotate(
                f"{drawable(names[code])}: {value:+.2f}",
                (middle[0], middle[1]),
                xytext=(8, 8),
                textcoords="offset points",
                fontsize=7,
            )
    axes.scatter([], [], s=60, facecolor="none", edgecolor=ORANGE, linewidth=2, label="attacked, with its damage")
    kind = "principal component" if found.method == "pca" else "t-SNE coordinate"
    axes.set(xlabel=f"first {kind}", ylabel=f"second {kind}")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2, frameon=False)
    return figure
