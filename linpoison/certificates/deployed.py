"""A classifier to deploy: what stands before the learner is fixed on trusted rows, and answers are certified."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ..core.dataset import Dataset
from ..core.errors import CapabilityError, CertificateInvalid, InputError
from ..core.validation import Array, check_integer
from ..defenses import TrustedDefense, make_defense
from ..learners import make_learner
from ..learners.checked import validate_data
from ..learners.classifier import TwoClassClassifier, two_classes
from ..losses import MarginLoss, Problem, as_loss
from ..sets import Box, ByLabel, pack_sets, sets_digest, unpack_sets
from .certificate import Certificate
from .changed import Proof, by_bisection, change_certifier, changes_withstood, inserting
from .claim import Claim
from .clean.scaled import is_scaled
from .partition.hashing import parts_of
from .ridge.flips import flips_withstood, label_flips_ridge
from .smooth import deletions_smooth
from .test_error import score_certifier

THREATS = ("planted", "replaced", "flipped", "inserted")


class CertifiedClassifier(TwoClassClassifier):
    """A linear classifier behind a scaler and filters of trusted rows, whose answers come with certificates.

    ::

        x -> (x - center) / scale  ->  dropped, or clipped, outside of the set of its label  ->  learner

    Center, scale and sets come from the trusted rows alone, so that what happens to a row depends on that row and on
    constants. Then `certify` says of each answer how many rows may be ::

        planted    of those in hand, unknown which: training without them gives the same answer
        replaced   of those in hand, unknown which, by others: training on the originals gives the same answer
        flipped    of the labels in hand: training on the true ones gives the same answer (only without sets)
        inserted   from now on: training with them gives the same answer

    The first three speak of the rows in hand as they are, poisoned or not: the rows as they should be are among all
    that are so many changes away, and none of these changes the answer. Nothing is random, and the numbers may be read
    off afterwards, row by row.

    Parameters
    ----------
    loss : str or MarginLoss, default "squared"
        Squared, logistic or smooth hinge; the hinge with slower and looser certificates.
    reg : float, default 0.1
        The regulariser, beside the mean of the losses.
    penalize_intercept, fit_intercept : bool, default True
    trusted : pair of array_like, optional
        Rows and labels known to be clean, which are not among those that `fit` is given. Without them nothing is scaled
        or left out, and only planted and flipped rows are answered for.
    learn_trusted : bool, default False
        Whether the trusted rows are trained on besides, all of them: with tight sets, clean rows outside of these
        then still count.
    scale : bool, default True
        Whether columns are moved to the mean of the trusted rows and divided by their deviation times ``sqrt(d)``,
        which makes typical rows of length 1. Without it rows are taken as they come.
    defense : Defense or str, optional
        Whose sets, fitted on the trusted rows, bound the rows that are trained on; balls around the
        means of the classes by default.
    outside : {"drop", "clip"}, default "drop"
        Whether a row outside of its set is left out or moved to the nearest point.
    n_parts : int, default 1
        Above 1, for the squared loss: a model is trained on each part of the rows, which a hash of their features
        divides, and the models are averaged. That withstands more flipped labels, and answers for nothing else.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    coef_ : ndarray of shape (1, d)
        For rows after scaling.
    intercept_ : ndarray of shape (1,)
    center_, scale_ : ndarray of shape (d,)
    kept_ : ndarray of int
        Rows that were trained on.
    digests_ : dict of str to str
        SHA-256 of trusted rows, scaler, sets, training rows and model; `certify` refuses where they are others now.
    n_features_in_ : int

    Examples
    --------
    >>> trusted = [[-2.0], [-1.0], [1.0], [2.0]], ["ham", "ham", "spam", "spam"]
    >>> X, y = [[-1.8], [-1.5], [-1.4], [-1.2], [1.2], [1.4], [1.5], [1.8]], ["ham"] * 4 + ["spam"] * 4
    >>> model = CertifiedClassifier(trusted=trusted).fit(X, y)
    >>> model.predict([[0.5], [2.0]]), model.certify([[0.5], [2.0]])
    (array(['spam', 'spam'], dtype='<U4'), array([3, 3]))
    """

    _takes_sparse = False

    def __init__(
        self,
        loss: str | MarginLoss = "squared",
        reg: float = 0.1,
        *,
        penalize_intercept: bool = True,
        fit_intercept: bool = True,
        trusted: Any = None,
        scale: bool = True,
        defense: Any = None,
        outside: str = "drop",
        n_parts: int = 1,
        learn_trusted: bool = False,
    ) -> None:
        self.loss = loss
        self.reg = reg
        self.penalize_intercept = penalize_intercept
        self.fit_intercept = fit_intercept
        self.trusted = trusted
        self.scale = scale
        self.defense = defense
        self.outside = outside
        self.n_parts = n_parts
        self.learn_trusted = learn_trusted

    def fit(self, X: Any, y: Any) -> Self:
        """Fix scaler and sets on the trusted rows, and train on what they leave of these.

        Parameters
        ----------
        X : array_like, shape (n, d)
        y : array_like, shape (n,)
            Labels of two values. Weights of rows or classes are not taken, as nothing is proved with them.

        Raises
        ------
        InputError
            If trusted rows are trained on, or the rows were scaled by a scaler that was fitted on them.
        """
        if self.outside not in ("drop", "clip"):
            raise InputError("outside as 'drop' or 'clip'", repr(self.outside))
        given = X
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_, signs = two_classes(y)
        self.center_, self.scale_ = np.zeros(X.shape[1]), np.ones(X.shape[1])
        self._sets: Any = None
        known = None
        self._centred = is_scaled(X)
        if self.trusted is not None:
            self._check_scaler()
            known = self._trust(X, y, _coarser(given, self.trusted))
        rows, self.kept_ = self._filtered(Dataset(self._scaled(X), signs))
        if known is not None and self.learn_trusted:
            rows = Dataset(np.vstack([rows.X, known.X]), np.append(rows.y, known.y))
        rows.require_both_classes("the rows inside the sets")
        vector = self._learned(rows)
        self._rows, self._labels = rows.X, rows.y
        self.coef_, self.intercept_ = vector[None, :-1], vector[-1:]
        self.digests_ = self._digests()
        return self

    def _learned(self, rows: Dataset) -> Array:
        """The parameters, the average over the parts."""
        learner, n_parts = make_learner(self._problem()), check_integer(self.n_parts, "n_parts", at_least=1)
        if n_parts == 1:
            return np.array(learner.fit(rows).vector)
        if not as_loss(self.loss).quadratic:
            raise CapabilityError("the squared loss for an average over parts", as_loss(self.loss).name)
        part = parts_of(rows.X, n_parts)
        parts = [rows.take(part == number) for number in range(n_parts)]
        if not all(len(set(data.y)) == 2 for data in parts):
            raise InputError("rows of both classes in every part", f"{n_parts} parts of {rows.n} rows", "Take fewer.")
        return np.asarray(np.mean([learner.fit(data).vector for data in parts], axis=0))

    def decision_function(self, X: Any) -> Array:
        """Scores, positive for ``classes_[1]``, shape (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(self._scaled(X) @ self.coef_[0] + self.intercept_[0])

    def certify(self, X: Any, threat: str = "planted", *, most: int = 100) -> NDArray[np.intp]:
        """For each row the greatest number of changed training rows that provably leave its answer as it is.

        Parameters
        ----------
        X : array_like, shape (m, d)
        threat : {"planted", "replaced", "flipped", "inserted"}, default "planted"
            What is done to training rows.
        most : int, default 100
            No more than so many are looked at.

        Returns
        -------
        ndarray of int, shape (m,)
            -1 where not even the answer without changes is proved, next to a score of zero.

        Raises
        ------
        CapabilityError
            If nothing is proved against the threat for this loss, or without sets.
        CertificateInvalid
            If scaler, sets, rows or model are others than those that were fitted.
        """
        check_integer(most, "most", at_least=0)
        claim, prove = self._asked(X, None, threat)
        if self.n_parts > 1:
            return flips_withstood(claim, most, n_parts=self.n_parts)
        if threat in ("planted", "flipped"):
            return changes_withstood(claim, most, "deletions" if threat == "planted" else "flips")
        return by_bisection(claim, prove, min(most, claim.train.n - 1))

    def certificate(self, X: Any, count: int, threat: str = "planted", y: Any = None) -> Certificate:
        """The certificate that `count` changed training rows leave these answers; its bounds below 0 are proofs.

        Parameters
        ----------
        X : array_like, shape (m, d)
        count : int
        threat : str, default "planted"
            As in `certify`.
        y : array_like, shape (m,), optional
            Labels to certify, such as the true ones; the answers by default.
        """
        claim, prove = self._asked(X, y, threat)
        return prove(claim, check_integer(count, "count", at_least=0))

    def _asked(self, X: Any, y: Any, threat: str) -> tuple[Claim, Proof]:
        """The claim about rows, without inserted poison, and what proves the threat."""
        check_is_fitted(self)
        self._check_scaler()
        self._check_digests()
        if threat not in THREATS:
            raise InputError(f"a threat among {', '.join(THREATS)}", repr(threat))
        if self._sets is None and threat in ("replaced", "inserted"):
            raise CapabilityError(f"trusted rows, to bound rows that are {threat}", "none", "Give trusted=(X, y).")
        if self._sets is not None and threat == "flipped":
            raise CapabilityError(
                "a classifier without sets for flipped labels", "sets of each label",
                "A flipped label is a replaced row: ask for threat='replaced'.",
            )  # fmt: skip
        if self.n_parts > 1 and threat != "flipped":
            raise CapabilityError("the threat 'flipped' for an average over parts", repr(threat), "Take n_parts=1.")
        labels = self.predict(X) if y is None else np.asarray(y)
        unknown = np.setdiff1d(labels, self.classes_)
        if unknown.size:
            raise InputError(f"labels among {self.classes_.tolist()}", f"{unknown.tolist()}")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        rows = Dataset(self._scaled(X), np.where(labels == self.classes_[1], 1.0, -1.0))
        claim = Claim(Dataset(self._rows, self._labels), self._problem(), self._found_sets(), 0.0, rows)
        if self.n_parts > 1:
            return claim, partial(label_flips_ridge, n_parts=self.n_parts)
        return claim, proof_of(claim.problem.loss, threat)

    def _trust(self, X: Array, y: Array, dtype: Any) -> Dataset:
        """Scaler and sets of the trusted rows, which must not be among those in hand; the trusted rows, scaled.

        Rows are compared at the precision of `dtype`: a copy in single precision is the same row.
        """
        try:
            given, labels = self.trusted
        except (TypeError, ValueError):
            raise InputError("trusted=(X, y), rows known to be clean", f"a {type(self.trusted).__name__}") from None
        known, labels = validate_data(self, given, labels, dtype=np.float64, reset=False)
        shared = len(_fingerprints(known, dtype) & _fingerprints(X, dtype))
        if shared or np.shares_memory(known, X):
            raise InputError("trusted rows that are not among the others", f"{shared} that are", "Hold them apart.")
        if self.scale:
            self.center_, spread = known.mean(axis=0), known.std(axis=0) * np.sqrt(known.shape[1])
            self.scale_ = np.where(spread > 0, spread, 1.0)
        chosen = make_defense(self.defense) if isinstance(self.defense, str) else self.defense
        detector = TrustedDefense(chosen, (self._scaled(known), labels)).fit(self._scaled(X), y)
        sets = ByLabel({sign: detector.feasible_set(label) for sign, label in zip((-1, 1), self.classes_, strict=True)})
        self._sets = pack_sets(sets)
        signs = np.where(labels == self.classes_[1], 1.0, -1.0)
        self._trusted_digest = Dataset(known, signs).digest()
        return Dataset(self._scaled(known), signs)

    def _filtered(self, rows: Dataset) -> tuple[Dataset, NDArray[np.intp]]:
        """The rows that are trained on, and their places."""
        if self._sets is None:
            return rows, np.arange(rows.n)
        sets = self._found_sets()
        outside = ~np.asarray(sets.contains(rows.X, rows.y, 0.0))
        if self.outside == "drop":
            return rows.take(~outside), np.flatnonzero(~outside)
        X = np.array(rows.X)
        for label, part in sets.items():
            moved = outside & (rows.y == label)
            X[moved] = part.project(X[moved]) if moved.any() else X[moved]
        return Dataset(X, rows.y), np.arange(rows.n)

    def _found_sets(self) -> ByLabel:
        if self._sets is not None:
            return unpack_sets(*self._sets)
        ends = np.full(len(self.center_), np.inf)
        return ByLabel(dict.fromkeys((1, -1), Box(-ends, ends)))

    def _scaled(self, X: Array) -> Array:
        return np.asarray((X - self.center_) / self.scale_)

    def _problem(self) -> Problem:
        loss, penalized = as_loss(self.loss), self.penalize_intercept
        return Problem(loss, self.reg, penalize_intercept=penalized, fit_intercept=self.fit_intercept)

    def _digests(self) -> dict[str, str]:
        """What must stay as it was fitted."""
        return {
            "trusted": getattr(self, "_trusted_digest", ""),
            "scaler": _hash(self.center_, self.scale_),
            "sets": sets_digest(self._found_sets()),
            "rows": _hash(self._rows, self._labels),
            "model": _hash(self.coef_, self.intercept_),
            "learner": f"{self._problem()!r}, {self.n_parts} parts, labels {self.classes_.tolist()}",
        }

    def _check_scaler(self) -> None:
        if self._centred:
            raise InputError(
                "rows that no scaler was fitted on", "columns that one has left",
                "Such a scaler moves with planted rows: leave it out, trusted rows scale here.",
            )  # fmt: skip

    def _check_digests(self) -> None:
        for what, found in self._digests().items():
            if self.digests_.get(what) != found:
                raise CertificateInvalid(f"expected the {what} that was fitted, got another: fit the classifier again.")


def _coarser(X: Any, trusted: Any) -> Any:
    """The kind of floats, of those in which the rows and the trusted rows came, that tells rows apart the least."""
    parts = (X, *(trusted if isinstance(trusted, tuple | list) else ())[:1])
    found: list[Any] = []
    for part in parts:  # a frame has a type for each column, a nullable one behind a wrapper
        found += [
            getattr(part, "dtype", None),
            *(getattr(kind, "numpy_dtype", kind) for kind in getattr(part, "dtypes", ())),
        ]
    floats = (dtype for dtype in found if isinstance(dtype, np.dtype) and dtype.kind == "f")
    return min(floats, key=lambda it: it.itemsize, default=np.dtype(float))


def _fingerprints(X: Array, dtype: Any) -> set[bytes]:
    """The bytes of each row, with one zero."""
    with np.errstate(over="ignore"):
        return {row.tobytes() for row in X.astype(dtype) + 0.0}


def proof_of(loss: MarginLoss, threat: str) -> Proof:
    """``prove(claim, count)``: the certificate of a loss against a threat.

    Raises
    ------
    CapabilityError
        If there is none.
    """
    if threat == "inserted":
        if loss.soft_hinge is not None and loss.kink is None:
            return lambda claim, count: deletions_smooth(claim.at(count / claim.train.n), 0)
        score = score_certifier(loss)
        return lambda claim, count: score(claim.at(count / claim.train.n))
    prove = change_certifier(loss, "flips" if threat == "flipped" else "deletions")
    return inserting(prove) if threat == "replaced" else prove


def _hash(*arrays: Array) -> str:
    code = hashlib.sha256()
    for array in arrays:
        code.update(f"{array.shape}".encode())
        code.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return code.hexdigest()
