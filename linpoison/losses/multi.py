"""Losses of k scores: the multi-class hinge of Crammer and Singer, and cross-entropy with its soft hinge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..core import Array, CapabilityError, Codes, InputError, check_number


class MultiLoss(ABC):
    """A convex loss ``phi(s, y)`` of the scores s of one row, shape (k,), and its label.

    Attributes
    ----------
    name : str
    temperature : float or None
        ``t`` if the loss is ``t log sum_j exp((s_j - s_y + m [j != y]) / t)`` and states its `shares`; 0 for the limit
        ``max(0, max_{j != y} 1 + s_j - s_y)``.
    margin : float
        ``m`` of the same.
    """

    name: ClassVar[str]
    temperature: float | None = None
    margin: float = 0.0

    @abstractmethod
    def value(self, scores: Array, y: Codes) -> Array:
        """``phi(s_i, y_i)`` of each row, shape (n,)."""

    @abstractmethod
    def pulls(self, scores: Array, y: Codes) -> Array:
        """Derivative of `value` in the scores, shape (n, k); rows sum to zero."""

    @abstractmethod
    def rank(self, scores: Array, y: Codes) -> Array:
        """What the loss defence sorts by, shape (n,): increasing in the loss, without ties where it is flat."""

    def hinge_at_rank(self, rank: float) -> float:
        """The cap on the unclipped hinge that is the same as a cap on `rank`.

        Raises
        ------
        CapabilityError
            Where there is none.
        """
        raise CapabilityError(
            "Crammer and Singer's loss for a set made of half-spaces", self.name, "An attack meets it by retraining."
        )

    def shares(self, scores: Array, y: Codes) -> Array:
        """The weights of the k terms of the sum of a loss with a temperature, shape (n, k); rows sum to one."""
        raise CapabilityError("a loss with a temperature above 0", self.name, "Use Softmax.")

    @abstractmethod
    def expression(self, scores: Any, y: Codes) -> Any:
        """`value` as a cvxpy expression."""


@dataclass(frozen=True)
class CrammerSinger(MultiLoss):
    """``phi(s, y) = max(0, max_{j != y} 1 + s_j - s_y)``.

    References
    ----------
    Crammer, Singer, "On the learnability and design of output codes for multiclass problems", 2002;
    Koh, Steinhardt, Liang (2022), equation (34).

    Examples
    --------
    >>> CrammerSinger().value(np.array([[2.0, 0.5, 0.0], [2.0, 0.5, 0.0]]), np.array([0, 1]))
    array([0. , 2.5])
    """

    name = "crammer_singer"
    temperature = 0.0
    margin = 1.0

    def value(self, scores: Array, y: Codes) -> Array:
        return np.maximum(self.rank(scores, y), 0.0)

    def pulls(self, scores: Array, y: Codes) -> Array:
        rows = np.arange(y.size)
        rival = rivals(scores, y)
        active = 1.0 + scores[rows, rival] - scores[rows, y] > 0
        pull = np.zeros(scores.shape)
        pull[rows[active], rival[active]] = 1.0
        pull[rows[active], y[active]] = -1.0
        return pull

    def rank(self, scores: Array, y: Codes) -> Array:
        return 1.0 - margins(scores, y)

    def hinge_at_rank(self, rank: float) -> float:
        return rank

    def expression(self, scores: Any, y: Codes) -> Any:
        import cvxpy as cp

        hot = one_hot(y, scores.shape[1])
        return cp.max(scores + (1.0 - hot), axis=1) - cp.sum(cp.multiply(hot, scores), axis=1)


@dataclass(frozen=True)
class Softmax(MultiLoss):
    """``phi(s, y) = t log sum_j exp((s_j - s_y + m [j != y]) / t)``: cross-entropy at m = 0, t = 1.

    With a margin m = 1 it tends to `CrammerSinger` as the temperature t goes to 0.

    Examples
    --------
    >>> Softmax().value(np.zeros((1, 4)), np.array([2])).round(6) == np.log(4).round(6)
    array([ True])
    """

    margin: float = 0.0
    temperature: float = 1.0
    name = "softmax"

    def __post_init__(self) -> None:
        check_number(self.margin, "margin", at_least=0)
        check_number(self.temperature, "temperature", above=0)

    def value(self, scores: Array, y: Codes) -> Array:
        lifted, top = self._lifted(scores, y)
        total = np.exp(lifted - top[:, None]).sum(axis=1)
        return np.asarray(self.temperature * (np.log(total) + top))

    def pulls(self, scores: Array, y: Codes) -> Array:
        return self.shares(scores, y) - one_hot(y, scores.shape[1])

    def rank(self, scores: Array, y: Codes) -> Array:
        return self.value(scores, y)

    def shares(self, scores: Array, y: Codes) -> Array:
        lifted, top = self._lifted(scores, y)
        terms = np.exp(lifted - top[:, None])
        return np.asarray(terms / terms.sum(axis=1, keepdims=True))

    def expression(self, scores: Any, y: Codes) -> Any:
        import cvxpy as cp

        hot = one_hot(y, scores.shape[1])
        lifted = (scores + self.margin * (1.0 - hot)) / self.temperature
        return self.temperature * cp.log_sum_exp(lifted, axis=1) - cp.sum(cp.multiply(hot, scores), axis=1)

    def _lifted(self, scores: Array, y: Codes) -> tuple[Array, Array]:
        rows = np.arange(y.size)
        lifted = scores - scores[rows, y][:, None] + self.margin
        lifted[rows, y] = 0.0
        lifted /= self.temperature
        return lifted, lifted.max(axis=1)


LOSSES: dict[str, type[MultiLoss]] = {"crammer_singer": CrammerSinger, "softmax": Softmax}


def make_multi_loss(loss: MultiLoss | str) -> MultiLoss:
    """A loss, or the one of a name."""
    if isinstance(loss, MultiLoss):
        return loss
    if loss not in LOSSES:
        raise InputError(f"a multi-class loss among {', '.join(LOSSES)}", repr(loss))
    return LOSSES[loss]()


def rivals(scores: Array, y: Codes) -> Codes:
    """The best class other than the label, shape (n,)."""
    others = scores.copy()
    others[np.arange(y.size), y] = -np.inf
    return np.asarray(others.argmax(axis=1), dtype=np.intp)


def margins(scores: Array, y: Codes) -> Array:
    """``s_y - max_{j != y} s_j`` of each row; the row is misclassified where it is negative."""
    rows = np.arange(y.size)
    return np.asarray(scores[rows, y] - scores[rows, rivals(scores, y)])


def one_hot(y: Codes, k: int) -> Array:
    """Indicator of the labels, shape (n, k)."""
    return np.eye(k)[y]
