"""Which rows belong to which subpopulation: the filter functions."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..core import InputError, Mask, check_integer
from ..core.parts import dense
from ..risk import Sample
from .parts import Index


class Matcher(BaseEstimator, ABC):  # type: ignore[misc]
    """Numbers the subpopulations that it finds among the auxiliary rows, and says which one any row is in.

    Attributes
    ----------
    names_ : list of str
        One for each subpopulation.
    sizes_ : ndarray of int
        Auxiliary rows of each.
    """

    names_: list[str]
    sizes_: Index

    @abstractmethod
    def fit(self, auxiliary: Sample) -> Self:
        """Find the subpopulations; no other rows are ever looked at to define them."""

    @abstractmethod
    def _assign(self, rows: Sample) -> Index: ...

    def assign(self, rows: Sample) -> Index:
        """The number of each row's subpopulation, or -1, shape (n,)."""
        check_is_fitted(self, "names_")
        return self._assign(rows)

    def subpopulations(self) -> list[Subpopulation]:
        """All of them, the largest first."""
        check_is_fitted(self, "names_")
        order = np.argsort(-self.sizes_, kind="stable")
        return [Subpopulation(self, int(code), self.names_[code], int(self.sizes_[code])) for code in order]


@dataclass(frozen=True, eq=False)
class Subpopulation:
    """One filter function ``F(x) in {0, 1}``, or, for one class, ``F(x, y)``.

    Parameters
    ----------
    matcher : Matcher
    code : int
        Its number.
    name : str
    size : int
        Auxiliary rows in it, whatever their class.
    label : object, optional
        Only rows of this class (see `of_class`).
    """

    matcher: Matcher
    code: int
    name: str
    size: int
    label: Any = None

    def mask(self, rows: Sample) -> Mask:
        """Which rows are in it, shape (n,)."""
        inside = self.matcher.assign(rows) == self.code
        return inside if self.label is None else inside & (rows.y == self.label)

    def of_class(self, label: Any) -> Subpopulation:
        """The class-targeted variant: its rows of one class are the target, all others are collateral."""
        return replace(self, name=f"{self.name}, class {label}", label=label)


class FeatureMatch(Matcher):
    """All rows that agree in some annotations or columns.

    Parameters
    ----------
    by : sequence of str or int
        Annotations by name, columns of X by number or by a name among its `feature_names` that is no annotation's.
    bins : mapping, optional
        For a numeric annotation or column the ascending borders of its ranges: ``{"age": (30, 45, 60)}``
        gives below 30, 30 to 44, 45 to 59, and 60 and above.
    least, most : int
        Only subpopulations of so many auxiliary rows.

    References
    ----------
    Jagielski et al. (2021), Algorithm 1; section 5.1 for UCI Adult: education, race and gender, 10 to 100 rows.

    Examples
    --------
    >>> rows = Sample(np.zeros((4, 1)), np.ones(4), annotations={"sex": ["f", "f", "m", "m"], "age": [20, 70, 30, 44]})
    >>> match = FeatureMatch(["sex", "age"], bins={"age": (30, 45, 60)}).fit(rows)
    >>> match.names_
    ['sex=f, age<30', 'sex=f, age>=60', 'sex=m, 30<=age<45']
    >>> match.assign(rows)
    array([0, 1, 2, 2])
    """

    def __init__(
        self,
        by: Sequence[Any],
        bins: Mapping[Any, Sequence[float]] | None = None,
        least: int = 1,
        most: int | None = None,
    ) -> None:
        self.by = by
        self.bins = bins
        self.least = least
        self.most = most

    def fit(self, auxiliary: Sample) -> Self:
        """List the combinations of values among the auxiliary rows."""
        if not len(self.by):
            raise InputError("at least one annotation or column", "none")
        strange = set(self.bins or {}) - set(self.by)
        if strange:
            raise InputError("bins of annotations in `by`", f"bins of {sorted(map(str, strange))}")
        keys = self._keys(auxiliary)
        found, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        most = auxiliary.n if self.most is None else self.most
        kept = np.flatnonzero((counts >= check_integer(self.least, "least", at_least=1)) & (counts <= most))
        if not kept.size:
            raise InputError(f"a group of {self.least} to {most} auxiliary rows", f"sizes {np.sort(counts)[-3:]}")
        firsts = [int(np.flatnonzero(inverse.ravel() == code)[0]) for code in kept]
        self.codes_ = {tuple(found[code].tolist()): number for number, code in enumerate(kept)}
        self.names_ = [self._name(tuple(keys[first].tolist())) for first in firsts]
        self.sizes_ = counts[kept]
        return self

    def _assign(self, rows: Sample) -> Index:
        return np.array([self.codes_.get(tuple(key), -1) for key in self._keys(rows).tolist()], dtype=np.intp)

    def _keys(self, rows: Sample) -> NDArray[Any]:
        return np.stack([self._values(rows, name) for name in self.by], axis=1)

    def _values(self, rows: Sample, name: Any) -> NDArray[Any]:
        if isinstance(name, str) and name in rows.annotations:
            values = rows.annotations[name]
        else:
            column = rows.X[:, [_place(rows, name)]]
            values = np.asarray(column.toarray() if sp.issparse(column) else column).ravel()
        borders = (self.bins or {}).get(name)
        return np.digitize(values, borders).astype(str) if borders is not None else values.astype(str)

    def _name(self, key: tuple[str, ...]) -> str:
        return ", ".join(self._word(name, value) for name, value in zip(self.by, key, strict=True))

    def _word(self, name: Any, value: str) -> str:
        what = name if isinstance(name, str) else f"x{name}"
        borders = (self.bins or {}).get(name)
        if borders is None:
            return f"{what}={value}"
        place = int(value)
        low = f"{borders[place - 1]:g}" if place else ""
        high = f"{borders[place]:g}" if place < len(borders) else ""
        if not low:
            return f"{what}<{high}"
        return f"{low}<={what}<{high}" if high else f"{what}>={low}"


def _place(rows: Sample, name: Any) -> int:
    """The column of a name or a number."""
    names = list(rows.feature_names or ())
    if isinstance(name, str):
        if names.count(name) > 1:
            raise InputError("a column by a name that no other has", repr(name), "Give its number.")
        if name not in names:
            columns = f" or a column among {names[:5]}" if names else ""
            raise InputError(f"an annotation among {sorted(rows.annotations)}{columns}", repr(name))
        return names.index(name)
    return known_column(name, rows.X.shape[1])


def known_column(place: int, d: int) -> int:
    """The number of a column, one of `d`."""
    if check_integer(place, "a column", at_least=0) >= d:
        raise InputError(f"columns below {d}", f"{place}")
    return int(place)


class ClusterMatch(Matcher):
    """Clusters of a representation: standardise, principal components, k-means, nearest centroid.

    Everything is fitted on the auxiliary rows alone.

    Parameters
    ----------
    representation : callable, optional
        From rows X to an array of shape (n, ...): the activations of a layer of a surrogate trained on the
        auxiliary rows, say. X itself by default.
    standardize : bool, default False
        Divide each feature by its standard deviation, and centre it unless it is sparse.
    n_components : int or None, default 10
        Principal components before clustering; None for none.
    n_clusters : int, default 100
    random_state : int, default 0

    Attributes
    ----------
    pca_, kmeans_
        The fitted scikit-learn objects (`pca_` is None without components).

    References
    ----------
    Jagielski et al. (2021), Algorithm 2; 10 components and 100 clusters in section 5.1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]], 20, axis=0) + 0.1 * rng.normal(size=(60, 2))
    >>> match = ClusterMatch(n_components=2, n_clusters=3).fit(Sample(X, np.ones(60)))
    >>> match.sizes_, np.unique(match.assign(Sample(X[:20], np.ones(20)))).size
    (array([20, 20, 20]), 1)
    """

    def __init__(
        self,
        representation: Callable[[Any], Any] | None = None,
        standardize: bool = False,
        n_components: int | None = 10,
        n_clusters: int = 100,
        random_state: int = 0,
    ) -> None:
        self.representation = representation
        self.standardize = standardize
        self.n_components = n_components
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, auxiliary: Sample) -> Self:
        """Fit scaler, components and centroids on the auxiliary rows."""
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.preprocessing import StandardScaler

        k = check_integer(self.n_clusters, "n_clusters", at_least=1)
        if k > auxiliary.n:
            raise InputError(f"at most {auxiliary.n} clusters, one for each auxiliary row", f"{k}")
        values = self._represented(auxiliary)
        self.scaler_ = StandardScaler(with_mean=not sp.issparse(values)).fit(values) if self.standardize else None
        values = values if self.scaler_ is None else self.scaler_.transform(values)
        self.pca_ = None
        if self.n_components is not None:
            most = check_integer(self.n_components, "n_components", at_least=1)
            solver = "arpack" if sp.issparse(values) else "auto"
            most = min(most, *(n - sp.issparse(values) for n in values.shape))
            with np.errstate(divide="ignore", invalid="ignore"):  # shares of the variance of rows that are all equal
                self.pca_ = PCA(most, svd_solver=solver, random_state=self.random_state).fit(values)
            values = self.pca_.transform(values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer rows that differ than clusters
            self.kmeans_ = KMeans(k, n_init=4, random_state=self.random_state).fit(values)
        if (there := np.unique(self.kmeans_.labels_).size) < k:
            raise InputError(f"rows that differ for {k} clusters", f"such rows for {there}", "Ask for fewer clusters.")
        self.sizes_ = np.bincount(self.kmeans_.labels_, minlength=k)
        self.names_ = [f"cluster {code}" for code in range(k)]
        return self

    def embed(self, rows: Sample) -> NDArray[np.float64]:
        """What is clustered, shape (n, n_components): for a map of the clusters."""
        check_is_fitted(self, "names_")
        values = self._represented(rows)
        values = values if self.scaler_ is None else self.scaler_.transform(values)
        values = values if self.pca_ is None else self.pca_.transform(values)
        return dense(values)

    def _assign(self, rows: Sample) -> Index:
        return np.asarray(self.kmeans_.predict(self.embed(rows)), dtype=np.intp)

    def _represented(self, rows: Sample) -> Any:
        values = rows.X if self.representation is None else self.representation(rows.X)
        if sp.issparse(values):
            return values
        values = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
        return values.reshape(len(values), -1)
