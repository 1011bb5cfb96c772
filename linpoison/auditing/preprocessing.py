"""What stands before the classifier of an estimator, and the raw rows that pass it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import Array, Dataset, InputError, Matrix, as_matrix
from ..core.parts import dense
from ..datasets.layout import is_text
from ..learners.translate import fitted_classifier
from ..learners.unwrap import same_rows, unwrap
from ..pipelines import RawTable

_FILLED, _ENTRIES = 0.05, 50_000_000  # share of stored entries from which rows are dense, and entries up to which


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The fixed steps of an estimator before its classifier, from rows of any kind to numbers.

    Parameters
    ----------
    seen : list
        The raw rows that have passed, in the order in which they came.
    dense : list of bool
        Whether sparse features are stored dense; empty before any have come.
    """

    transform: Callable[[Any], Any]
    columns: Any = None
    names_out: Callable[[Any], Any] | None = None
    seen: list[Any] = field(default_factory=list, repr=False)
    dense: list[bool] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, estimator: Any) -> Preprocessing | None:
        """That of a fitted estimator, None if its classifier sees the rows as they come."""
        _, transform = fitted_classifier(estimator)
        if transform is same_rows:
            return None
        inner = getattr(estimator, "best_estimator_", estimator)
        names_out = getattr(inner[:-1], "get_feature_names_out", None) if hasattr(inner, "steps") else None
        return cls(transform, getattr(estimator, "feature_names_in_", None), names_out)

    def __call__(self, X: Any, names: tuple[str, ...] | None) -> tuple[Any, tuple[str, ...] | None]:
        """Numbers, and the names of their columns if they are known."""
        framed = self._framed(X, names)
        self.seen.append(framed)
        rows = as_matrix(self._apply(framed), "transformed X")
        if sp.issparse(rows) and self._few_columns(rows):
            rows = rows.toarray()
        return rows, self._named(names, rows.shape[1])

    def _few_columns(self, X: Matrix) -> bool:
        """Whether rows, sparse because categories are, are learned faster dense; all that come as the first of them."""
        if not self.dense:
            self.dense.append(X.shape[0] * X.shape[1] <= min(_ENTRIES, X.nnz / _FILLED))
        return self.dense[0]

    def table(self, train: Dataset) -> RawTable | None:
        """The raw training rows, which are the first that came, or stand at their row numbers among these."""
        table = RawTable.of(self.seen[0], self._apply, train.feature_names if self.names_out is None else None)
        return table if table is None or len(table.frame) == train.n else table.take(train.numbers)

    def _apply(self, X: Any) -> Any:
        try:
            return self.transform(X)
        except InputError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                "data that the estimator's preprocessing can transform", f"rows that it refuses ({reason})",
                "Hand in rows as they were when it was fitted, or pipeline[:-1].transform(X) with pipeline[-1].",
            ) from None  # fmt: skip

    def _framed(self, X: Any, names: tuple[str, ...] | None) -> Any:
        """Rows as the estimator was fitted on: a frame of its columns, an array, or one column of texts."""
        import pandas as pd

        if isinstance(X, pd.DataFrame):
            if self.columns is not None:
                return X[list(self.columns)] if set(self.columns) <= set(map(str, X.columns)) else X
            return X.iloc[:, 0] if X.shape[1] == 1 and is_text(X.iloc[:, 0]) else X.to_numpy()
        dense = isinstance(X, np.ndarray) and X.ndim == 2
        if self.columns is None or names is None or not dense or set(names) != set(self.columns):
            return X
        return pd.DataFrame(X, columns=list(names))[list(self.columns)]

    def _named(self, names: tuple[str, ...] | None, d: int) -> tuple[str, ...] | None:
        if self.names_out is None or (names is None and self.columns is None):
            return None
        try:
            found = tuple(str(name) for name in self.names_out(self.columns if self.columns is not None else names))
        except (ValueError, TypeError, AttributeError):  # a step that does not know its columns
            return None
        return found if len(found) == d else None


def learns_from(estimator: Any, table: RawTable, labels: Any, asked: Any) -> bool:
    """Whether the steps before a classifier would be others if they were fitted on some of these raw rows.

    Fitted anew on a half of the rows, or on one of each class, such steps do something else to them. Steps that look at
    one row at a time do the same, as do those in a `FrozenEstimator`. On which rows others were fitted nothing tells:
    more rows than these, or another draw of a random step, leave other steps as well.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    table : RawTable
    labels : array_like, shape (n,)
    asked : rows as the steps take them
        Looked at too: they may have gaps where no training row has one.
    """
    from sklearn.base import clone

    def features(transform: Callable[[Any], Any]) -> list[Array]:
        return [dense(as_matrix(transform(rows), "transformed X")) for rows in (table.back(table.frame), asked)]

    given, y = features(table.transform), np.asarray(labels)
    order = np.argsort(y, kind="stable")
    halves = (np.sort(order[::2]), np.sort(order[1::2]))  # one of them lacks an extreme row, unless there are copies
    few = (np.sort([np.flatnonzero(y == label)[place] for label in np.unique(y)]) for place in (0, -1))

    def made(part: Any) -> Any:
        """What steps make of all rows that were fitted on some; None where these are too few for them."""
        some = table.take(part)
        try:
            anew = clone(getattr(estimator, "best_estimator_", estimator)).fit(some.back(some.frame), y[part])
            return features(unwrap(anew)[1])
        except Exception:  # of steps of any kind
            return None

    def same(found: Any) -> bool:
        return found is not None and all(
            one.shape == other.shape and np.allclose(one, other, rtol=1e-6, atol=1e-9)
            for one, other in zip(found, given, strict=True)
        )

    return not all(same(made(part)) for part in (*halves, *few))
