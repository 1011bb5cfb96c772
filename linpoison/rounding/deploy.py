"""The whole step: rows, copies and integrality at once."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..core import Array, Domain, Matrix, Poison, check_integer
from ..sets import ByLabel, FeasibleSet
from .integers import Law, copies_of, largest_remainder, round_point
from .sphere import on_sphere

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
    row = poison.X[[index]]
    return np.asarray(row.toarray() if sp.issparse(row) else row)[0]
