"""Blobs in a plane, each a subpopulation of one class."""

from __future__ import annotations

import numpy as np

from linpoison.risk import Sample
from linpoison.subpopulations import ClusterMatch, three_parts

CENTRES = np.array([[3.0, 0.0], [3.0, 4.0], [-3.0, 0.0], [-3.0, 4.0]])


def blobs(n=60, seed=0, spread=0.5):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(4), n)
    X = CENTRES[group] + spread * rng.normal(size=(4 * n, 2))
    return Sample(X, np.where(group < 2, 1.0, -1.0), annotations={"group": group, "age": rng.integers(18, 80, 4 * n)})


def blob_parts(n=60, seed=0):
    return three_parts(blobs(n, seed), (0.4, 0.3, 0.3), seed)


def clusters():
    return ClusterMatch(n_components=2, n_clusters=4)
