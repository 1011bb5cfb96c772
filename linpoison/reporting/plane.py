"""The plane that shows what the poison does: through its points and between the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core import Array, Dataset, LinearModel, Matrix
from .material import Material, class_mean, mean_rows

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


def dense(X: Matrix) -> Array:
    """A few rows as a dense array."""
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X)


def _orthonormal(first: Array, second: Array) -> Array | None:
    length = float(np.linalg.norm(first))
    if length <= 1e-12:
        return None
    one = first / length
    rest = second - one * float(one @ second)
    size = float(np.linalg.norm(rest))
    return None if size <= 1e-9 * max(1.0, length) else np.column_stack([one, rest / size])
