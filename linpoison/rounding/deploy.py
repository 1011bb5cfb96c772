"""The whole step: rows, copies and integrality at once; rows of the unit ball become rows of length 1."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..core import Array, Domain, Matrix, Poison, check_integer
from ..core.parts import dense
from ..sets import ByLabel, FeasibleSet
from .integers import Law, copies_of, largest_remainder, round_point

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


DRAWN_ENTRIES = 400_000
"""Entries that are drawn at once for a row that fell outside its set: fewer draws where rows are long."""


def deploy(
    relaxed: Poison,
    limit: int,
    domain: Domain,
    rng: np.random.Generator,
    *,
    repeats: int = 1,
    law: Law = "stratified",
    sets: ByLabel | None = None,
    sparse: bool = False,
) -> Poison:
    """Turn a relaxed poison into one with whole copies and, in a domain of counts or of unit rows, such rows.

    Parameters
    ----------
    relaxed : Poison
        Real rows; `count` holds their weights in rows, whose sum (rounded, but at least one row) is
        what is spent.
    limit : int
        The most copies that may be spent.
    domain : Domain
    rng : numpy.random.Generator
    repeats : int, default 1
        Copies of each rounded row (``r`` in Koh et al., section 3.3). Without integrality all
        copies of a class share one row anyway.
    law : {"stratified", "independent"}
    sets : ByLabel, optional
        Rounded rows outside are drawn again; rows of unit length are taken from inside (`on_sphere`).
    sparse : bool, default False
        Return CSR rows.

    Returns
    -------
    Poison
        Equal rows merged.
    """
    check_integer(repeats, "repeats", at_least=1)
    total = min(limit, max(round(relaxed.total), 1)) if relaxed.total > 0 else 0
    counts = largest_remainder(relaxed.count, total) if total else np.zeros(relaxed.y.size, dtype=int)
    rows: list[Matrix] = []
    labels, copies = [], []
    for index in np.flatnonzero(counts):
        label, count = relaxed.y[index], counts[index]
        point, inside = _row(relaxed, int(index)), None if sets is None else sets[label]
        if domain.integral:
            point = domain.clip(point)  # a solver's count of -1e-5 must not be rounded down to -1
            number = copies_of(int(count), repeats)
            attempts = int(np.clip(DRAWN_ENTRIES // point.size, 4, 64))
            rows.append(round_point(point, number.size, rng, law=law, inside=inside, attempts=attempts, sparse=sparse))
        else:
            placed, number = _placed(point, int(count), domain, rng, inside)
            rows.append(sp.csr_array(placed) if sparse else placed)
        copies.append(number)
        labels.append(np.full(number.size, label))
    none = np.zeros((0, relaxed.X.shape[1]))
    X = sp.csr_array(sp.vstack([sp.csr_array(none), *rows])) if sparse else np.vstack([none, *rows])
    return Poison(X, np.concatenate([*labels, []]), np.concatenate([*copies, []]), relaxed.n_classes).merged()


def _placed(
    point: Array, count: int, domain: Domain, rng: np.random.Generator, inside: FeasibleSet | None
) -> tuple[Array, np.ndarray]:
    """Rows of a domain without whole numbers in the place of a row, and the copies of each."""
    if domain.on_sphere:
        return on_sphere(point, count, rng, inside)
    return domain.clip(point)[None, :], np.array([count])


def _row(poison: Poison, index: int) -> Array:
    return dense(poison.X[[index]])[0]
