"""Spectral signatures and activation clustering: poison shows in the representation of its class."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.parts import dense
from ..core.validation import Array, Matrix, check_integer, check_number
from ..sets import FeasibleSet, Slab
from .base import Codes, Defense
from .learned import learner_of
from .rows import ShapedRows


def top_direction(rows: Array) -> tuple[Array, Array, float]:
    """Mean, top right singular vector of the centred rows, and its singular value.

    Examples
    --------
    >>> mean, direction, size = top_direction(np.array([[0.0, 3.0], [0.0, -3.0]]))
    >>> bool(np.isclose(size, 18**0.5)), np.abs(direction).round(9)
    (True, array([0., 1.]))
    """
    mean = rows.mean(axis=0)
    _, sizes, directions = np.linalg.svd(rows - mean, full_matrices=False)
    return mean, directions[0], float(sizes[0])


class RepresentationDefense(ShapedRows, Defense):
    """A defence that looks at a representation of the rows, which may have any shape that this takes.

    Parameters
    ----------
    representation : callable or RowLearner, optional
        From rows X, shape (n, ...), to an array of shape (n, h): activations of a network, say; or a learner that is
        trained on the rows and labels first, and whose model has such a function: `deep.RiskLearner`. X itself by
        default.
    """

    def __init__(self, remove: float = 0.05, representation: Any = None) -> None:
        super().__init__(remove)
        self.representation = representation

    def _begin(self, X: Any, y: Any) -> tuple[Matrix, Codes]:
        rows, codes = super()._begin(X, y)
        self._map = self.representation
        if hasattr(self.representation, "fit"):
            self.model_ = learner_of(self.representation, self.classes_).fit(rows, self.classes_[codes])
            self._map = self.model_.representation
        return rows, codes

    def _represented(self, X: Matrix) -> Array:
        values = X if self._map is None else self._map(X)
        values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
        return dense(values).reshape(X.shape[0], -1)


class SpectralSignatures(RepresentationDefense):
    """Score ``(v . (r - mean))^2`` along the top singular direction v of the centred representations of a class.

    References
    ----------
    Tran, Li, Madry, "Spectral signatures in backdoor attacks", 2018, Algorithm 1 (which removes 1.5 times the
    poison expected; 15 % in Jagielski et al. 2021).

    Examples
    --------
    >>> X = np.array([[0.0, 0.1], [0.1, 0.0], [0.0, 0.0], [0.1, 0.1], [5.0, 5.0]])
    >>> SpectralSignatures(remove=0.2).fit(X, [1] * 5).sample_indices_
    array([0, 1, 2, 3])
    """

    def __init__(self, remove: float = 0.15, representation: Any = None) -> None:
        super().__init__(remove, representation)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        rows = self._represented(X)
        self.directions_ = [top_direction(rows[codes == code]) for code in range(self.classes_.size)]

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        rows, scores = self._represented(X), np.zeros(X.shape[0])
        for code, (mean, direction, _) in enumerate(self.directions_):
            scores[codes == code] = ((rows[codes == code] - mean) @ direction) ** 2
        return scores

    @property
    def has_convex_set(self) -> bool:
        return self.representation is None

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        if not self.has_convex_set:
            return super()._set_of(code, threshold)
        mean, direction, _ = self.directions_[code]
        return Slab(direction, float(direction @ mean), float(np.sqrt(threshold)))


class ActivationClustering(RepresentationDefense):
    """Two clusters in the representation of each class; the smaller is dropped if they are far enough apart.

    The published independent components are the whitened principal ones, rotated, and 2-means sees no rotation: here
    it is given the latter. The score of a row is 1 in a smaller cluster that is dropped, else 0; how many rows go is
    for the clusters to say, not for `remove`.

    The published threshold on the silhouette, 0.10 to 0.15, speaks of 10 components or more: the two halves of one
    Gaussian cloud reach 0.21 in 3 components, 0.07 in 10 and 0.05 in 15. With fewer components raise it, or bound the
    share of the smaller cluster, which is near a half for a cloud that is cut in two. Nor does the published setting
    find everything: of digits with a network of 64 units it found a backdoor of a tenth of its class in two trainings
    of three (with up to 3 % of the clean rows), and none of a third of its class.

    Parameters
    ----------
    representation : callable or RowLearner, optional
    n_components : int, default 15
    silhouette : float, default 0.1
        Least silhouette at which the smaller cluster is dropped.
    largest_share : float, default 0.5
        Greatest share of its class at which it is: 0.35, say, for the criterion of relative size.
    random_state : int, default 0

    Attributes
    ----------
    silhouettes_ : list of float
        Of each class.

    References
    ----------
    Chen et al., "Detecting backdoor attacks on deep neural networks by activation clustering", 2018; 15 components
    and 0.1 as in Jagielski et al. (2021).

    Examples
    --------
    >>> X = np.array([[0.0], [0.1], [0.2], [0.1], [5.0], [5.1]])
    >>> ActivationClustering(n_components=1).fit(X, [1] * 6).sample_indices_
    array([0, 1, 2, 3])
    """

    drops_share = False

    def __init__(
        self,
        representation: Any = None,
        n_components: int = 15,
        silhouette: float = 0.1,
        largest_share: float = 0.5,
        random_state: int = 0,
    ) -> None:
        super().__init__(0.0, representation)
        self.n_components = n_components
        self.silhouette = silhouette
        self.largest_share = largest_share
        self.random_state = random_state

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        check_integer(self.n_components, "n_components", at_least=1)
        check_number(self.silhouette, "silhouette", at_least=-1, at_most=1)
        check_number(self.largest_share, "largest_share", above=0, at_most=0.5)
        rows = self._represented(X)
        self.silhouettes_: list[float] = []
        self._parts = [self._split(rows[codes == code]) for code in range(self.classes_.size)]

    def _split(self, rows: Array) -> tuple[Any, Any, int]:
        """Components, clusters, and the number of the cluster to drop (-1: none)."""
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.metrics import silhouette_score

        rank = int(np.linalg.matrix_rank(rows - rows.mean(axis=0))) if len(rows) > 2 else 0
        if rank == 0:
            self.silhouettes_.append(float("nan"))
            return None, None, -1
        # FastICA rotates the whitened principal components P to S = P W with W'W = I. Then |S_i - S_j| = |P_i - P_j|:
        # 2-means and the silhouette see distances alone, and find the same in P, without the search for W.
        components = PCA(min(self.n_components, rank), whiten=True, svd_solver="full")
        points = components.fit_transform(rows)
        clusters = KMeans(2, n_init=10, random_state=self.random_state).fit(points)
        separate = np.unique(clusters.labels_).size == 2
        value = float(silhouette_score(points, clusters.labels_, sample_size=min(len(points), 2000),
                                       random_state=self.random_state)) if separate else -1.0  # fmt: skip
        self.silhouettes_.append(value)
        sizes = np.bincount(clusters.labels_, minlength=2)
        found = value >= self.silhouette and sizes.min() <= self.largest_share * len(rows)
        return components, clusters, int(np.argmin(sizes)) if found else -1

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        rows, scores = self._represented(X), np.zeros(X.shape[0])
        for code, (components, clusters, smaller) in enumerate(self._parts):
            mine = codes == code
            if smaller >= 0 and mine.any():
                scores[mine] = clusters.predict(components.transform(rows[mine])) == smaller
        return scores

    def _finish(self, X: Matrix, codes: Codes) -> Any:
        self.decision_scores_ = self._scores(X, codes)
        return self._keep(codes, np.flatnonzero(self.decision_scores_ == 0))
