"""Defences that train, drop rows and train again: TRIM and SEVER; and influence, RONI, which train and look."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse.linalg import ArpackError, LinearOperator, svds

from ..core import Array, CapabilityError, InputError, Matrix, SolverFailed, check_integer, check_number
from ..core.parts import dense
from .base import Codes, Defense, keep_least
from .learned import learner_of
from .rows import ShapedRows
from .spectral import top_direction

_TIGHT, _LOOSE = 1e-12, 1e-5
"""Relative residual of the squared singular value, for models in double and in single precision."""
_ROUNDING, _COARSE = 1e-13, 1e-5
"""Variation in units of the mean gradient that is taken for rounding, in double and in single precision."""


@dataclass(frozen=True, eq=False)
class GradientFrame:
    """Mean and top right singular vector of the gradients of some rows.

    Parameters
    ----------
    direction : ndarray of shape (p,)
        Of length 1, or zero where the gradients do not vary by more than rounding: by 1e-13 of the mean gradient's
        length, root mean square, or 1e-5 for a model in single precision.
    centre : float
        The mean gradient along it.
    size : float
        The singular value.
    """

    direction: Array
    centre: float
    size: float

    @classmethod
    def of(cls, model: Any, X: Any, y: Any) -> GradientFrame:
        """The frame of the gradients of a `RowModel`, without their matrix if it is a `ProductModel`."""
        if hasattr(model, "gradient_products") and len(y) > 1:
            return _from_products(model, X, y)
        mean, direction, size = top_direction(np.asarray(model.gradients(X, y), dtype=np.float64))
        return _flat(mean) if size <= _noise(model, mean, len(y)) else cls(direction, float(mean @ direction), size)

    def scores(self, model: Any, X: Any, y: Any) -> Array:
        """``((g_i - mean g) . v)^2`` of rows, shape (n,)."""
        if hasattr(model, "gradient_products"):
            along = model.gradient_products(X, y, self.direction)
        else:
            along = np.asarray(model.gradients(X, y), dtype=np.float64) @ self.direction
        return np.asarray((along - self.centre) ** 2)


def _from_products(model: Any, X: Any, y: Any) -> GradientFrame:
    """By Lanczos iteration (ARPACK) on ``v -> J v`` and ``u -> J' u``, both centred: memory for vectors alone."""
    n = len(y)
    mean = model.gradient_sum(X, y, np.full(n, 1.0 / n))

    def along(v: Array) -> Array:
        values = model.gradient_products(X, y, np.ravel(v))
        return np.asarray(values - values.mean())

    def back(u: Array) -> Array:
        weights = np.ravel(u)
        return np.asarray(model.gradient_sum(X, y, weights - weights.mean()))

    start = np.random.default_rng(0).normal(size=n)
    first = back(start)
    length = float(np.linalg.norm(first))
    if length <= _noise(model, mean, n):
        return _flat(mean)
    if mean.size == 1:
        direction = first / length
        return GradientFrame(direction, float(mean @ direction), float(np.linalg.norm(along(direction))))
    operator = LinearOperator((n, mean.size), matvec=along, rmatvec=back, dtype=np.float64)
    tol = _LOOSE if getattr(model, "single_precision", False) else _TIGHT
    begin = first if mean.size <= n else start
    try:
        _, sizes, rows = svds(operator, k=1, tol=tol, v0=begin, return_singular_vectors="vh")
    except ArpackError as error:
        raise SolverFailed(f"the singular vector of the gradients was not found: {error}. Use float64.") from None
    direction = np.asarray(rows[0], dtype=np.float64)
    return GradientFrame(direction, float(mean @ direction), float(sizes[0]))


def _flat(mean: Array) -> GradientFrame:
    """Of gradients that do not vary."""
    return GradientFrame(np.zeros(mean.size), 0.0, 0.0)


def _noise(model: Any, mean: Array, n: int) -> float:
    """The singular value, or the length of a product with n standard normal numbers, that rounding alone gives."""
    rounding = _COARSE if getattr(model, "single_precision", False) else _ROUNDING
    return rounding * float(np.linalg.norm(mean)) * float(np.sqrt(n))


class TrainingDefense(ShapedRows, Defense):
    """A defence around a learner. Rows may have any shape that the learner takes, images of a network say.

    Parameters
    ----------
    learner : Problem or RowLearner, optional
        How models are trained and what a row's loss and gradient are; logistic regression by default.
    """

    def __init__(self, remove: float = 0.05, learner: Any = None) -> None:
        super().__init__(remove)
        self.learner = learner

    many_classes = False  # of the learner that it has by default

    @classmethod
    def made(cls, remove: float, variant: str, problem: Any) -> Self:
        return cls(remove=remove, learner=problem)

    @abstractmethod
    def _scores_of(self, model: Any, X: Matrix, y: Any) -> Array: ...

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self.model_ = learner_of(self.learner, self.classes_).fit(X, self.classes_[codes])

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        return self._scores_of(self.model_, X, self.classes_[codes])


class TRIM(TrainingDefense):
    """Train, keep the rows of least loss, train on these only, and so on (TRIM, ILTM).

    ::

        minimise over theta and S with |S| = round((1 - remove) n)   sum_(i in S) loss(theta; x_i, y_i)

    by turns. The rows that are kept are chosen over both classes together.

    Parameters
    ----------
    remove : float, default 0.05
        Fraction of all rows that is dropped; the number of poison rows in the papers.
    learner : Problem or RowLearner, optional
    rounds : int, default 5
        At most; it ends when the kept rows no longer change.

    Attributes
    ----------
    model_ : RowModel
        Learned from the kept rows of the round before the last choice.
    n_rounds_ : int

    References
    ----------
    Jagielski et al. (2018), Algorithm 2; Shen, Sanghavi (2019); Jagielski et al. (2021), Algorithm 4.

    Examples
    --------
    >>> X, y = np.array([[-3.0], [-2.0], [2.0], [3.0], [2.5]]), np.array([-1, -1, 1, 1, -1])
    >>> TRIM(remove=0.2).fit(X, y).sample_indices_
    array([0, 1, 2, 3])
    """

    drops_share = False  # of each class

    def __init__(self, remove: float = 0.05, learner: Any = None, rounds: int = 5) -> None:
        super().__init__(remove, learner)
        self.rounds = rounds

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        learner, y = learner_of(self.learner, self.classes_), self.classes_[codes]
        everyone = np.arange(codes.size)
        kept = everyone
        for number in range(check_integer(self.rounds, "rounds", at_least=1)):
            if np.unique(codes[kept]).size < self.classes_.size:
                raise InputError("kept rows of every class", "a class that is dropped whole", "Remove fewer rows.")
            self.model_ = learner.fit(X[kept], y[kept])
            chosen = np.sort(keep_least(self.model_.losses(X, y), everyone, self.remove, "all"))
            self.n_rounds_ = number + 1
            if np.array_equal(chosen, kept):
                break
            kept = chosen
        self._kept = kept

    def _scores_of(self, model: Any, X: Matrix, y: Any) -> Array:
        return np.asarray(model.losses(X, y), dtype=np.float64)

    def _finish(self, X: Matrix, codes: Codes) -> Any:
        self.decision_scores_ = self._fitted_scores(X, codes)
        return self._keep(codes, self._kept)


class SEVER(TrainingDefense):
    """Train, project the centred gradients of the rows on their top singular direction, drop the farthest, repeat.

    ::

        score_i = ( (g_i - mean g) . v )^2,     v the top right singular vector of the centred gradients

    The matrix of gradients is never written out for a model that multiplies with it (`ProductModel`): a linear one,
    or a network of any size by `deep.RiskLearner`, of all parameters or, with ``parameters="head"``, of the last layer.

    Parameters
    ----------
    remove : float, default 0.05
        Fraction dropped in each round.
    learner : Problem or RowLearner, optional
    rounds : int, default 2
    per_class : bool, default True
        Centre and decompose each class on its own.

    Attributes
    ----------
    model_ : RowModel
        Of the last round.
    decision_scores_ : ndarray
        Scores of the last round, infinite for rows that were dropped before.

    References
    ----------
    Diakonikolas et al., "Sever", 2019, Algorithm 2; per class as in their classification experiments.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = np.vstack([rng.normal(size=(60, 2)), rng.normal(size=(3, 2)) / 9 + [-9, 9]])
    >>> y = np.where(np.arange(63) < 60, np.where(X[:, 0] > 0, 1, -1), 1)
    >>> set(range(63)) - set(SEVER(remove=0.1, rounds=1).fit(X, y).sample_indices_.tolist()) >= {60, 61, 62}
    True
    """

    drops_share = False

    def __init__(self, remove: float = 0.05, learner: Any = None, rounds: int = 2, per_class: bool = True) -> None:
        super().__init__(remove, learner)
        self.rounds = rounds
        self.per_class = per_class

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        learner, y = learner_of(self.learner, self.classes_), self.classes_[codes]
        kept = np.arange(codes.size)
        self._last = np.full(codes.size, np.inf)
        for _ in range(check_integer(self.rounds, "rounds", at_least=1)):
            self.model_ = learner.fit(X[kept], y[kept])
            groups = [kept[codes[kept] == code] for code in range(self.classes_.size)] if self.per_class else [kept]
            self._frames: list[GradientFrame] = []
            remaining = []
            self._last[:] = np.inf
            for members in groups:
                self._frames.append(GradientFrame.of(self.model_, X[members], y[members]))
                self._last[members] = self._frames[-1].scores(self.model_, X[members], y[members])
                remaining.append(keep_least(self._last, members, self.remove, "a round"))
            kept = np.sort(np.concatenate(remaining))
        self._kept = kept

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        y, scores = self.classes_[codes], np.zeros(codes.size)
        for code, frame in enumerate(self._frames):
            mine = np.flatnonzero(codes == code if self.per_class else codes >= 0)
            if mine.size:
                scores[mine] = frame.scores(self.model_, X[mine], y[mine])
        return scores

    def _scores_of(self, model: Any, X: Matrix, y: Any) -> Array:
        return self._scores(X, self._codes_of(y, X.shape[0]))

    def _fitted_scores(self, X: Matrix, codes: Codes) -> Array:
        return self._last

    def _finish(self, X: Matrix, codes: Codes) -> Any:
        self.decision_scores_ = self._fitted_scores(X, codes)
        return self._keep(codes, self._kept)


class InfluenceDefense(TrainingDefense):
    """Score how much a row pulls on what is learned, in the metric of the objective: by its influence.

    ::

        without trusted rows   score_i = g_i' H^(-1) g_i
        with trusted rows T    score_i = (mean g - g_i)' u,     u = H^(-1) grad L_T

    The first is the self-influence of a row: to first order n times the growth of its own loss if it is left out. The
    second is n times what the mean loss of the trusted rows falls by if it is left out. It takes one linear system for
    all rows, solved by products with H: a network may have any size.

    Parameters
    ----------
    remove : float, default 0.05
    learner : Problem or RowLearner, optional
        A problem of the linear core with a second derivative (logistic, the default, squared, squared hinge or smooth
        hinge), or a learner whose models tell ``self_influence`` and ``influence_vector``, such as `deep.RiskLearner`.
    trusted : pair of array_like, optional
        Rows and labels known to be clean, whose loss is looked at: a sample of all, or a group to be protected.

    References
    ----------
    Koh, Liang, "Understanding black-box predictions via influence functions", 2017, equation (2) and section 5.3.

    Examples
    --------
    >>> X, y = np.array([[-3.0], [-2.0], [2.0], [3.0], [2.5]]), np.array([-1, -1, 1, 1, -1])
    >>> int(InfluenceDefense(remove=0.4, trusted=(X[:4], y[:4])).fit(X, y).decision_scores_.argmax())
    4
    """

    def __init__(self, remove: float = 0.05, learner: Any = None, trusted: Any = None) -> None:
        super().__init__(remove, learner)
        self.trusted = trusted

    def _scores_of(self, model: Any, X: Matrix, y: Any) -> Array:
        if self.trusted is None:
            return np.asarray(model.self_influence(X, y, self._train), dtype=np.float64)
        # Leaving row i out of a mean over n moves the minimiser by H^(-1) (g_i + grad R) / n, R the regulariser, and
        # L_T by (g_i + grad R)' u / n; where the objective is stationary, grad R = -mean g.
        return self._centre - np.asarray(model.gradient_products(X, y, self._vector), dtype=np.float64)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        super()._fit_detector(X, codes)
        needed = "self_influence" if self.trusted is None else "influence_vector"
        if not hasattr(self.model_, needed):
            raise CapabilityError(f"a learner whose models tell {needed}", type(self.model_).__name__)
        self._train = (X, self.classes_[codes])
        if self.trusted is not None:
            rows, labels = self._rows(self.trusted[0], reset=False), np.asarray(self.trusted[1])
            known = self.classes_[self._codes_of(labels, rows.shape[0])]
            self._vector = self.model_.influence_vector((rows, known), self._train)
            self._centre = float(self.model_.gradient_products(*self._train, self._vector).mean())


class RONI(TrainingDefense):
    """Reject on negative impact: score how much a row, added to a small trusted set, raises its held-out loss.

    ::

        score_i = mean over draws of  [ L_V(T + i) - L_V(T) ],     T, V drawn disjoint from the trusted rows

    Parameters
    ----------
    trusted : pair of array_like
        Rows and labels known to be clean.
    remove : float, default 0.05
    learner : Problem or RowLearner, optional
    draws : int, default 3
    share : float, default 0.5
        Part of the trusted rows in T.
    random_state : int, default 0

    References
    ----------
    Nelson et al., "Exploiting machine learning to subvert your spam filter", 2008, section 5.1.
    """

    def __init__(
        self,
        trusted: Any = None,
        remove: float = 0.05,
        learner: Any = None,
        draws: int = 3,
        share: float = 0.5,
        random_state: int = 0,
    ) -> None:
        super().__init__(remove, learner)
        self.trusted = trusted
        self.draws = draws
        self.share = share
        self.random_state = random_state

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        if self.trusted is None:
            raise InputError("trusted=(X, y), rows known to be clean", "none")
        check_number(self.share, "share", above=0, below=1)
        rows, labels = np.asarray(self.trusted[0], dtype=np.float64), np.asarray(self.trusted[1])
        self._codes_of(labels, len(rows))
        rng, learner = np.random.default_rng(self.random_state), learner_of(self.learner, self.classes_)
        self._trials = []
        for _ in range(check_integer(self.draws, "draws", at_least=1)):
            order = rng.permutation(len(rows))
            cut = round(self.share * len(rows))
            train, held = (rows[order[:cut]], labels[order[:cut]]), (rows[order[cut:]], labels[order[cut:]])
            base = float(learner.fit(*train).losses(*held).mean())
            self._trials.append((train, held, base))

    def _scores_of(self, model: Any, X: Matrix, y: Any) -> Array:
        raise CapabilityError("scores of rows one by one", "a model")

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        learner, scores = learner_of(self.learner, self.classes_), np.zeros(codes.size)
        X = dense(X)
        for i, label in enumerate(self.classes_[codes]):
            for (rows, labels), held, base in self._trials:
                model = learner.fit(np.concatenate([rows, X[i : i + 1]]), np.append(labels, label))
                scores[i] += (float(model.losses(*held).mean()) - base) / len(self._trials)
        return scores
