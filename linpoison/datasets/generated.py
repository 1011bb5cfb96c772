"""Generators of synthetic data: a pair of Gaussians, and word counts."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..core import Array, Dataset, Domain, Split, as_generator, check_integer, check_number


def gaussians(n: int = 400, d: int = 10, separation: float = 3.0, *, n_test: int | None = None, seed: int = 0) -> Split:
    """Two unit Gaussians: ``x | y ~ N(y s/2 * 1/sqrt(d), I)`` with ``s`` the distance of the means.

    The best possible classifier errs with probability ``Phi(-s/2)``.

    Parameters
    ----------
    n, d : int
        Training rows (half of them +1, rounded down) and features.
    separation : float
        Distance ``s`` of the two means, at least 0.
    n_test : int, optional
        Test rows; as many as training rows by default.
    seed : int

    Examples
    --------
    >>> split = gaussians(n=20, d=3, seed=1)
    >>> split.train.X.shape, float(split.train.y.sum())
    ((20, 3), 0.0)
    """
    check_integer(n, "n", at_least=2)
    check_integer(d, "d", at_least=1)
    distance = check_number(separation, "separation", at_least=0)
    rng = as_generator(seed)

    def draw(rows: int) -> Dataset:
        y = _labels(rows, rng)
        X = rng.standard_normal((rows, d)) + np.outer(y, np.full(d, distance / (2 * np.sqrt(d))))
        return Dataset(X, y, name="gaussians")

    return Split(draw(n), draw(n if n_test is None else check_integer(n_test, "n_test", at_least=1)))


def counts(
    n: int = 400, d: int = 200, contrast: float = 1.0, *, length: float = 40.0, n_test: int | None = None, seed: int = 0
) -> Split:
    """Word counts: ``x_j | y ~ Poisson(length * p_j(y))``, independent, as CSR rows.

    ``p_j(y)`` is proportional to ``exp(y contrast z_j / 2) / j`` with ``z_j ~ N(0, 1)``: words are
    as unevenly frequent as in text, and each leans towards one class.

    Parameters
    ----------
    n, d : int
        Training rows (half of them +1, rounded down) and words.
    contrast : float
        Standard deviation of a word's log odds between the classes, at least 0.
    length : float
        Mean number of words in a row.
    n_test : int, optional
        Test rows; as many as training rows by default.
    seed : int

    Examples
    --------
    >>> split = counts(n=10, d=5, seed=1)
    >>> split.train.is_sparse, split.train.domain
    (True, Domain(kind='counts', d=5))
    """
    check_integer(n, "n", at_least=2)
    check_integer(d, "d", at_least=1)
    lean = check_number(contrast, "contrast", at_least=0)
    words = check_number(length, "length", above=0)
    rng = as_generator(seed)
    tilt = lean * rng.standard_normal(d) / 2
    rate = {label: words * _share(np.exp(label * tilt) / np.arange(1, d + 1)) for label in (-1.0, 1.0)}

    def draw(rows: int) -> tuple[sp.csr_array, Array]:
        y = _labels(rows, rng)
        return sp.csr_array(np.stack([rng.poisson(rate[label]) for label in y.tolist()]).astype(np.float64)), y

    train, test = draw(n), draw(n if n_test is None else check_integer(n_test, "n_test", at_least=1))
    domain = Domain.of("counts", train[0])
    return Split(Dataset(*train, domain=domain, name="counts"), Dataset(*test, domain=domain, name="counts"))


def _labels(n: int, rng: np.random.Generator) -> Array:
    y = np.where(np.arange(n) < n // 2, 1.0, -1.0)
    return rng.permutation(y)


def _share(weights: Array) -> Array:
    return np.asarray(weights / weights.sum(), dtype=np.float64)
