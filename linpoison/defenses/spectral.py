"""Spectral signatures and activation clustering: poison shows in the representation of its class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core.errors import CapabilityError
from ..core.validation import Array, Matrix, check_integer, check_number
from ..sets import FeasibleSet, Slab
from .base import Codes, Defense


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


class RepresentationDefense(Defense):
    """A defence that looks at a representation of the rows.

    Parameters
    ----------
    remove : float
    representation : callable, optional
        From rows X, shape (n, d), to an array of shape (n, h): activations of a network, say. X itself by default.
    """

    def __init__(self, remove: float = 0.05, representation: Callable[[Any], Any] | None = None) -> None:
        super().__init__(remove)
        self.representation = representation

    def _represented(self, X: Matrix) -> Array:
        values = X if self.representation is None else self.representation(X)
        values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
        values = values.toarray() if sp.issparse(values) else values
        return np.asarray(values, dtype=np.float64).reshape(X.shape[0], -1)

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        raise CapabilityError("a defence with a convex feasible set", type(self).__name__, "Meet it by evaluation.")


class SpectralSignatures(RepresentationDefense):
    """Score ``(v . (r - mean))^2`` along the top singular direction v of the centred representations of a class.

    Parameters
    ----------
    remove : float, default 0.15
    representation : callable, optional

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

    def __init__(self, remove: float = 0.15, representation: Callable[[Any], Any] | None = None) -> None:
        super().__init__(remove, representation)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        rows = self._represented(X)
        self.directions_ = [top_direction(rows[codes == code]) for code in range(self.classes_.size)]

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        rows, scores = self._represented(X), np.zeros(X.shape[0])
        for code, (mean, direction, _) in enumerate(self.directions_):
            scores[codes == code] = ((rows[codes == code] - mean) @ direction) ** 2
        return scores

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        if self.representation is not None:
            return super()._set_of(code, threshold)
        mean, direction, _ = self.directions_[code]
        return Slab(direction, float(direction @ mean), float(np.sqrt(threshold)))


class ActivationClustering(RepresentationDefense):
    """Two clusters in the representation of each class; the smaller is dropped if they are far enough apart.

    Independent components, then 2-means. The score of a row is 1 in a smaller cluster that is dropped, else 0;
    how many rows go is for the clusters to say, not for `remove`.

    Parameters
    ----------
    representation : callable, optional
    n_components : int, default 15
    silhouette : float, default 0.1
        Least silhouette at which the smaller cluster is dropped.
    random_state : int, default 0

    Attributes
    ----------
    silhouettes_ : list of float
        Of each class.

    References
    ----------
    Chen et al., "Detecting backdoor attacks on deep neural networks by activation clustering", 2018.

    Examples
    --------
    >>> X = np.array([[0.0], [0.1], [0.2], [0.1], [5.0], [5.1]])
    >>> ActivationClustering(n_components=1).fit(X, [1] * 6).sample_indices_
    array([0, 1, 2, 3])
    """

    def __init__(
        self,
        representation: Callable[[Any], Any] | None = None,
        n_components: int = 15,
        silhouette: float = 0.1,
        random_state: int = 0,
    ) -> None:
        super().__init__(0.0, representation)
        self.n_components = n_components
        self.silhouette = silhouette
        self.random_state = random_state

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        check_integer(self.n_components, "n_components", at_least=1)
        check_number(self.silhouette, "silhouette", at_least=-1, at_most=1)
        rows = self._represented(X)
        self.silhouettes_: list[float] = []
        self._parts = [self._split(rows[codes == code]) for code in range(self.classes_.size)]

    def _split(self, rows: Array) -> tuple[Any, Any, int]:
        """Components, clusters, and the number of the cluster to drop (-1: none)."""
        from sklearn.cluster import KMeans
        from sklearn.decomposition import FastICA
        from sklearn.metrics import silhouette_score

        rank = int(np.linalg.matrix_rank(rows - rows.mean(axis=0))) if len(rows) > 2 else 0
        if rank == 0:
            self.silhouettes_.append(float("nan"))
            return None, None, -1
        ica = FastICA(min(self.n_components, rank), whiten="unit-variance", max_iter=1000, tol=1e-2,
                      random_state=self.random_state).fit(rows)  # fmt: skip
        points = ica.transform(rows)
        clusters = KMeans(2, n_init=10, random_state=self.random_state).fit(points)
        separate = np.unique(clusters.labels_).size == 2
        value = float(silhouette_score(points, clusters.labels_, sample_size=min(len(points), 2000),
                                       random_state=self.random_state)) if separate else -1.0  # fmt: skip
        self.silhouettes_.append(value)
        smaller = int(np.argmin(np.bincount(clusters.labels_, minlength=2)))
        return ica, clusters, smaller if value >= self.silhouette else -1

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        rows, scores = self._represented(X), np.zeros(X.shape[0])
        for code, (ica, clusters, smaller) in enumerate(self._parts):
            mine = codes == code
            if smaller >= 0 and mine.any():
                scores[mine] = clusters.predict(ica.transform(rows[mine])) == smaller
        return scores

    def _finish(self, X: Matrix, codes: Codes) -> Any:
        self.decision_scores_ = self._scores(X, codes)
        self.sample_indices_ = np.flatnonzero(self.decision_scores_ == 0)
        self.thresholds_ = dict.fromkeys(self.classes_.tolist(), 0.0)
        return self
