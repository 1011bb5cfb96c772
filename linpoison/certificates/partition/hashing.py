"""Which part a row belongs to: a function of its features alone."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import scipy.sparse as sp

from ...core.dataset import Dataset
from ...core.errors import InputError
from ...core.validation import as_matrix
from ...sets import ByLabel


def parts_of(X: Any, n_parts: int, seed: int = 0) -> np.ndarray:
    """The part of each row, by a keyed hash of its features.

    It depends on nothing else: not on the label (so that a changed label stays in its part), not on other
    rows or their order, not on whether the matrix is sparse, and not on the sign of a zero. Equal rows
    share a part. A planted row therefore changes one part, whatever it holds.

    Parameters
    ----------
    X : array_like or sparse, shape (n, d)
    n_parts : int
        At least 1.
    seed : int
        Key of the hash.

    Returns
    -------
    ndarray of int, shape (n,), in ``0 .. n_parts - 1``

    Examples
    --------
    >>> bool((parts_of([[1.0, 0.0], [0.0, 2.0]], 7) == parts_of([[0.0, 2.0], [1.0, -0.0]], 7)[::-1]).all())
    True
    """
    n_parts, seed = whole(n_parts, "n_parts", 1), whole(seed, "seed", 0)
    rows = sp.csr_array(as_matrix(X, allow_empty=True), copy=True)
    rows.eliminate_zeros()
    rows.sort_indices()
    indices, values, starts = rows.indices.astype("<i8"), rows.data.astype("<f8"), rows.indptr
    key = seed.to_bytes(16, "little")
    found = np.empty(rows.shape[0], dtype=np.intp)
    for i, (start, stop) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        code = blake2b(indices[start:stop].tobytes(), digest_size=16, key=key)
        code.update(values[start:stop].tobytes())
        found[i] = int.from_bytes(code.digest(), "little") % n_parts
    return found


def split_rows(train: Dataset, sets: ByLabel, n_parts: int, seed: int = 0) -> tuple[np.ndarray, list[Dataset]]:
    """Drop the rows outside the set of their label, and divide the others.

    Returns
    -------
    parts : ndarray of int, shape (n,)
        Part of each row, -1 if it was dropped or weighs nothing.
    bases : list of Dataset
        The rows of each part; some may hold one class or none.
    """
    kept = sets.contains(train.X, train.y, 0.0) & (train.weight > 0)
    parts = np.where(kept, parts_of(train.X, n_parts, seed), -1)
    return parts, [train.take(parts == part) for part in range(n_parts)]


def whole(value: Any, name: str, least: int) -> int:
    """A whole number of at least `least`.

    Raises
    ------
    InputError
        If it is not one.
    """
    array = np.asarray(value)
    usable = array.ndim == 0 and np.issubdtype(array.dtype, np.integer) and least <= int(array) < 2**63
    if not usable:
        raise InputError(f"{name} as a whole number of at least {least}", repr(value))
    return int(array)
