"""Maps of subpopulations have the coordinates of scikit-learn, and show what was planted."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from linpoison.attacks.groups import LabelFlip
from linpoison.core import InputError
from linpoison.risk import Sample
from linpoison.subpopulations import ClusterMatch, group_map
from linpoison.subpopulations.mapping import Recording
from linpoison.subpopulations.pictures import map_figure


def rows(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 6 * np.eye(d)[np.arange(n) % 3]
    return Sample(X, np.where(np.arange(n) % 2, 1.0, -1.0))


MATCH = ClusterMatch(n_components=4, n_clusters=3).fit(rows())


def test_t_sne_is_that_of_scikit_learn():
    test, poison = rows(30, seed=1), rows(6, seed=2)
    found = group_map(MATCH, rows(), test, {1: poison}, method="tsne", random_state=3)
    both = np.concatenate([MATCH.embed(test), MATCH.embed(poison)])
    theirs = TSNE(perplexity=30 if len(both) > 91 else (len(both) - 1) / 3, random_state=3).fit_transform(both)
    np.testing.assert_allclose(found.points, theirs[:30], rtol=1e-5)
    np.testing.assert_allclose(found.poison, theirs[30:], rtol=1e-5)


def test_components_are_fitted_on_the_auxiliary_rows_and_sparse_rows_agree():
    test = rows(30, seed=1)
    found = group_map(MATCH, rows(), test, {})
    theirs = PCA(2).fit(MATCH.embed(rows())).transform(MATCH.embed(test))
    np.testing.assert_allclose(np.abs(found.points), np.abs(theirs), atol=1e-9)
    assert found.poison.shape == (0, 2)
    match = ClusterMatch(n_components=None, n_clusters=3).fit(rows())
    thin = Sample(sp.csr_array(test.X), test.y)
    np.testing.assert_allclose(group_map(match, rows(), thin, {}).points, group_map(match, rows(), test, {}).points)


def test_no_more_rows_than_asked_for():
    found = group_map(MATCH, rows(), rows(50, seed=1), {0: rows(40, seed=2)}, most=20)
    assert found.points.shape == found.poison.shape == (20, 2)
    assert np.array_equal(found.codes, MATCH.assign(rows(50, seed=1))[found.index])


def test_one_column_is_a_line():
    thin = Sample(np.arange(6.0)[:, None], np.ones(6))
    found = group_map(ClusterMatch(n_components=1, n_clusters=2).fit(thin), thin, thin, {})
    assert (found.points[:, 1] == 0).all()
    with pytest.raises(InputError, match="at least 4 rows"):
        group_map(MATCH, rows(), rows(3), {}, method="tsne")


def test_the_picture_marks_the_attacked_and_the_poison():
    recorded = Recording(LabelFlip("rarest"))
    group = MATCH.subpopulations()[0]
    made = recorded.poison(rows(), group, 7, None, 0)
    assert recorded.made == {group.code: made}
    figure = map_figure(group_map(MATCH, rows(), rows(seed=1), recorded.made), MATCH.names_, {group.code: 0.25})
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == [f"{group.name}: +0.25"]
    sizes = [len(drawn.get_offsets()) for drawn in axes.collections]
    inside = int((MATCH.assign(rows(seed=1)) == group.code).sum())
    assert sizes[:4] == [60 - inside, inside, 7, 1]
