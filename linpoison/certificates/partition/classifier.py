"""A classifier by majority over parts of the data that says how many inserted rows each prediction withstands."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ...core.dataset import Dataset
from ...core.errors import InputError
from ...core.validation import Array
from ...learners.checked import validate_data
from ...learners.classifier import TwoClassClassifier, two_classes
from ...losses import MarginLoss, Problem, as_loss
from ...sets import Box, ByLabel
from ..certificate import Certificate
from ..claim import Claim
from .bases import BaseCertifier, fit_base
from .certify import certify_partition, recompute_partition
from .hashing import parts_of, split_rows

__all__ = ["PartitionClassifier", "certify_partition", "parts_of", "recompute_partition"]


class PartitionClassifier(TwoClassClassifier):
    """A majority of linear classifiers, each trained on its own part of the rows.

    ::

        part(x) = hash(x) mod n_parts,       prediction(z) = majority of sign(z . theta_j + b_j),
        theta_j, b_j = argmin (reg / 2) |theta|^2 [+ (reg / 2) b^2] + mean over part j of phi(y_i (x_i . theta + b))

    A row belongs to a part by its features alone (`parts_of`), so that whoever inserts a row changes one
    model. `certify` tells how many insertions each prediction withstands: with feasible `sets`, outside of
    which rows are dropped, by what each model provably withstands (`certify_partition`), without them by
    counting votes (Levine and Feizi, 2021).

    Preprocessing must be fixed: a scaler fitted to the same rows moves with an inserted one, and the
    guarantee is void.

    Parameters
    ----------
    n_parts : int, default 5
    loss : str or MarginLoss, default "squared"
    reg : float, default 0.1
        The regulariser of each model, under mean scaling.
    penalize_intercept : bool, default True
        Certificates of hinge and logistic models are much better with it.
    fit_intercept : bool, default True
    sets : ByLabel, optional
        Trusted sets of the first class (-1) and the second (+1) in sorted order; rows outside are dropped.
    seed : int, default 0
        Key of the hash.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Sorted; a tie of the votes goes to the first.
    coef_ : ndarray of shape (n_parts, d)
    intercept_ : ndarray of shape (n_parts,)
        A part without rows of both classes has a constant model: for the class that it has, or the first.
    parts_ : ndarray of int, shape (n,)
        Part of each training row, -1 if it was dropped.
    n_features_in_ : int

    References
    ----------
    Levine, Feizi, "Deep partition aggregation: provable defenses against general poisoning attacks", ICLR 2021.

    Examples
    --------
    >>> X = [[-2.0], [-1.5], [-1.2], [-1.0], [1.0], [1.2], [1.5], [2.0]]
    >>> model = PartitionClassifier(n_parts=1).fit(X, ["ham"] * 4 + ["spam"] * 4)
    >>> model.predict([[0.5]])
    array(['spam'], dtype='<U4')
    """

    def __init__(
        self,
        n_parts: int = 5,
        loss: str | MarginLoss = "squared",
        reg: float = 0.1,
        *,
        penalize_intercept: bool = True,
        fit_intercept: bool = True,
        sets: ByLabel | None = None,
        seed: int = 0,
    ) -> None:
        self.n_parts = n_parts
        self.loss = loss
        self.reg = reg
        self.penalize_intercept = penalize_intercept
        self.fit_intercept = fit_intercept
        self.sets = sets
        self.seed = seed

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows `X` (dense or sparse), labels of two values, and optional copies of each row."""
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        self.classes_, signs = two_classes(y)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        self._train = Dataset(X, signs, weight)
        self._train.require_both_classes()
        self._sets = _everything(X.shape[1]) if self.sets is None else self.sets
        self.parts_, parts = split_rows(self._train, self._sets, self.n_parts, self.seed)
        models = [fit_base(self._problem(), part) for part in parts]
        self.coef_ = np.stack([model.coef for model in models])
        self.intercept_ = np.array([model.intercept for model in models])
        return self

    def votes(self, X: Any) -> Array:
        """Votes of the models for each class, shape (n, 2)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        second = (np.asarray(X @ self.coef_.T) + self.intercept_ > 0).sum(axis=1)
        return np.column_stack([len(self.intercept_) - second, second]).astype(np.float64)

    def decision_function(self, X: Any) -> Array:
        """Votes for ``classes_[1]`` less votes for ``classes_[0]``, shape (n,)."""
        votes = self.votes(X)
        return np.asarray(votes[:, 1] - votes[:, 0])

    def certificate(
        self,
        X: Any,
        y: Any = None,
        *,
        base: BaseCertifier | str = "auto",
        most: int | None = None,
        deletions: int = 0,
        precision: float = 0.0,
    ) -> Certificate:
        """The certificate that these rows keep their labels.

        Parameters
        ----------
        X : array_like or sparse, shape (n, d)
        y : array_like, shape (n,), optional
            Labels to certify, such as the true ones; the predictions by default.
        base, most, deletions, precision
            See `certify_partition`. Without `sets` nothing beyond ``most=0`` is tried.

        Returns
        -------
        Certificate
            Of kind "insertions", -1 where a label is not provably predicted.
        """
        labels = self.predict(X) if y is None else np.asarray(y)
        unknown = np.setdiff1d(labels, self.classes_)
        if unknown.size:
            raise InputError(f"labels among {self.classes_.tolist()}", f"{unknown.tolist()}")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        rows = Dataset(X, np.where(labels == self.classes_[1], 1.0, -1.0))
        claim = Claim(self._train, self._problem(), self._sets, 0.0, rows)
        return certify_partition(
            claim,
            n_parts=self.n_parts,
            seed=self.seed,
            base=base,
            most=0 if self.sets is None else most,
            deletions=deletions,
            precision=precision,
        )

    def certify(
        self,
        X: Any,
        *,
        base: BaseCertifier | str = "auto",
        most: int | None = None,
        deletions: int = 0,
        precision: float = 0.0,
    ) -> Any:
        """Rows whose insertion provably leaves each prediction as it is, shape (n,), int.

        Parameters
        ----------
        X, base, most, deletions, precision
            See `certificate`. With `deletions`, -1 where these alone may be enough.
        """
        certificate = self.certificate(X, base=base, most=most, deletions=deletions, precision=precision)
        found = np.asarray(certificate.bound).astype(int)
        return found if deletions else np.maximum(found, 0)

    def _problem(self) -> Problem:
        return Problem(
            as_loss(self.loss), self.reg, penalize_intercept=self.penalize_intercept, fit_intercept=self.fit_intercept
        )


def _everything(d: int) -> ByLabel:
    box = Box(np.full(d, -np.inf), np.full(d, np.inf))
    return ByLabel({1: box, -1: box})
