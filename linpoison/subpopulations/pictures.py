"""Pictures of a study: damage against strength, and a map of the clusters. No global state of matplotlib is used."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..core.validation import Array
from .population import Index
from .study import Study

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


def map_figure(points: Array, codes: Index, damage: dict[int, float]) -> Figure:
    """Rows in a plane, coloured by the damage of their subpopulation; grey where none was attacked.

    Parameters
    ----------
    points : ndarray of shape (n, k)
        The first two columns are drawn.
    codes : ndarray of int, shape (n,)
        The subpopulation of each row.
    damage : dict of int to float
    """
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    across = points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
    attacked = np.isin(codes, list(damage))
    axes.scatter(points[~attacked, 0], across[~attacked], s=5, color=GREY, alpha=0.4)
    values = [damage[int(code)] for code in codes[attacked]]
    drawn = axes.scatter(points[attacked, 0], across[attacked], s=8, c=values, cmap="viridis", vmin=0)
    figure.colorbar(drawn, label="target damage")
    axes.set(xlabel="first component", ylabel="second component")
    return figure
