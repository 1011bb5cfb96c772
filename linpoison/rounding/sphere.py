"""From rows of the unit ball to rows of length 1 with the same sum."""

from __future__ import annotations

import numpy as np

from ..core.validation import Array
from ..sets import FeasibleSet
from .integers import largest_remainder

_ON = 1e-12  # squared distance to length 1 below which a row is on the sphere
_LEFT = 1e-6  # share of a random direction that must be left after the projection


def on_sphere(
    point: Array, count: int, rng: np.random.Generator, inside: FeasibleSet | None = None
) -> tuple[Array, np.ndarray]:
    """Rows of length 1 that replace `count` copies of a row of the unit ball.

    With ``t^2 = 1 - |x|^2`` and directions ``z_j`` of length 1, orthogonal to x, the rows ``x + t z_j`` have length 1,
    and if the ``z_j`` weighted by their copies add up to zero, the sum of the rows is that of the copies. Two opposite
    directions do for an even number of copies; for an odd one a direction with w copies and two with v each, at an
    angle phi to the negative of the first with ``w = 2 v cos(phi)``. If the directions are also orthogonal to the
    normals of a set (`FeasibleSet.normals`), every new row is in the set where x is, with the same margins.

    Parameters
    ----------
    point : ndarray of shape (d,)
        Longer rows are scaled to length 1.
    count : int
        At least 1. A single copy moves in one direction, and the sum by t.
    rng : numpy.random.Generator
    inside : FeasibleSet, optional
        Set to stay in; where it leaves no direction free, it is left aside.

    Returns
    -------
    rows : ndarray of shape (k, d), k at most 3
    copies : ndarray of int, shape (k,)

    Examples
    --------
    >>> rows, copies = on_sphere(np.array([0.6, 0.0, 0.0]), 5, np.random.default_rng(0))
    >>> np.linalg.norm(rows, axis=1).round(12).tolist(), abs(copies @ rows / 5).round(12).tolist(), copies.tolist()
    ([1.0, 1.0, 1.0], [0.6, 0.0, 0.0], [1, 2, 2])
    """
    length = float(np.linalg.norm(point))
    if length**2 >= 1 - _ON:
        return (point / length)[None, :], np.array([count])
    normals = None if inside is None else inside.normals
    wanted = 1 if count % 2 == 0 or count == 1 else 2
    fixed = [np.zeros((0, point.size))] if normals is None else [normals, np.zeros((0, point.size))]
    found = (_directions(np.vstack([point[None, :], rows]), wanted, rng) for rows in fixed)
    z = next((part for part in found if part is not None), None)
    if z is None:  # fewer free directions than the rows take
        return (point / length if length > 0 else _axis(point.size))[None, :], np.array([count])
    sides, copies = _balanced(count, z)
    rows = point + np.sqrt(1 - length**2) * sides
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), copies


def _balanced(count: int, z: Array) -> tuple[Array, np.ndarray]:
    """Directions in the span of `z` with numbers of copies, whose weighted sum is zero."""
    if count == 1:
        return z[:1], np.array([1])
    if count % 2 == 0:
        return np.stack([z[0], -z[0]]), np.array([count // 2, count // 2])
    lone = int(largest_remainder(np.array([1.0, 2.0]), count)[0])
    lone -= 1 - lone % 2
    pair = (count - lone) // 2
    cosine = lone / (2 * pair)
    sine = np.sqrt(1 - cosine**2)
    return np.stack([z[0], -cosine * z[0] + sine * z[1], -cosine * z[0] - sine * z[1]]), np.array([lone, pair, pair])


def _directions(fixed: Array, number: int, rng: np.random.Generator) -> Array | None:
    """Random directions of length 1, orthogonal to the rows of `fixed` and to each other; None where there are none."""
    _, sizes, basis = np.linalg.svd(fixed, full_matrices=False)
    basis = basis[sizes > 1e-10 * max(sizes.max(initial=0.0), 1e-300)]
    found: list[Array] = []
    for _ in range(number):
        draw: Array = np.asarray(rng.normal(size=fixed.shape[1]))
        draw = np.asarray(draw / np.linalg.norm(draw))
        for _ in range(2):
            draw = draw - basis.T @ (basis @ draw)
            if (left := float(np.linalg.norm(draw))) < _LEFT:
                return None
            draw = draw / left
        found.append(draw)
        basis = np.vstack([basis, draw])
    return np.stack(found)


def _axis(d: int) -> Array:
    axis = np.zeros(d)
    axis[0] = 1.0
    return axis
