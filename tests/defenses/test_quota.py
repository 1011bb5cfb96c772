"""Counts of what stays, against the filters themselves."""

import numpy as np
import pytest

from linpoison.defenses import make_defense
from linpoison.defenses.quota import drag_ratio, quota


def _class_of(n, rng):
    """Rows of two classes, n of the first and 60 of the second."""
    X = np.vstack([rng.normal(1.0, 1.0, size=(n, 3)), rng.normal(-1.0, 1.0, size=(60, 3))])
    return X, np.repeat([1, -1], [n, 60])


def _kept(name, X, y, rows):
    """How many of the poison rows of label +1, behind the clean ones, stay."""
    kept = make_defense(name).fit(np.vstack([X, rows]), np.r_[y, np.ones(len(rows))]).sample_indices_
    return int((kept >= len(y)).sum())


@pytest.mark.parametrize("name", ["l2", "slab"])
@pytest.mark.parametrize("m", [3, 4, 6, 11])
def test_overrun_leaves_what_is_over_the_quota(name, m):
    X, y = _class_of(70, np.random.default_rng(0))
    rows = np.tile([300.0, 200.0, 100.0], (m, 1))
    assert _kept(name, X, y, rows) == max(0, m - quota(0.05, 70 + m))


@pytest.mark.parametrize("name", ["l2", "slab"])
@pytest.mark.parametrize("working", [1, 6])
def test_one_row_drags_the_mean_and_the_others_stay(name, working):
    X, y = _class_of(70, np.random.default_rng(1))
    ratio, far = drag_ratio(70, working), np.array([600.0, 400.0, 0.0])
    counts = [_kept(name, X, y, np.vstack([np.tile(far, (working, 1)), part * ratio * far])) for part in (0.9, 1.1)]
    assert counts == [max(0, working + 1 - quota(0.05, 71 + working)), working]
