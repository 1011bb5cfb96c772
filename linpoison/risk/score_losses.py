"""Losses of the scores of a linear model, in numpy, with the derivatives that two orders need."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Protocol

import numpy as np
from scipy.special import lambertw, log_softmax

from ..core import InputError, as_signed_labels, check_integer
from ..core.validation import Array
from ..losses import MarginLoss, as_loss


def score_loss(loss: Any) -> ScoreLoss:
    """A margin loss or its name, or cross-entropy of a number of classes, as a loss of scores."""
    if isinstance(loss, Real):
        return SoftmaxScores(check_integer(loss, "the number of classes", at_least=2))
    return MarginScores(as_loss(loss))


def cross_entropy_reach(classes: int) -> float:
    """``sup <s, e_y - softmax(s)> = W((c - 1) / e)`` over all scores s of `classes` c classes, with Lambert's W.

    References
    ----------
    Lu, Kamath, Yu, Theorem 3 and Example 3 of chapter 3 of Lu's thesis.

    Examples
    --------
    >>> round(cross_entropy_reach(10), 6), round(cross_entropy_reach(2), 6)
    (1.101003, 0.278465)
    """
    return float(lambertw((classes - 1) / np.e).real)


class ScoreLoss(Protocol):
    """A loss ``l(s, y)`` of the scores s, shape (n, k)."""

    @property
    def loss(self) -> MarginLoss | None:
        """The margin loss that it is, if it is one."""

    @property
    def outputs(self) -> int: ...
    @property
    def reach(self) -> float: ...
    def labels(self, y: Any) -> Array:
        """Labels, checked."""

    def value(self, scores: Array, y: Array) -> Array:
        """``l(s_i, y_i)``, shape (n,)."""

    def pulls(self, scores: Array, y: Array) -> Array:
        """``dl/ds``, shape (n, k)."""

    def bend(self, scores: Array, y: Array, change: Array) -> Array:
        """``d2l/ds2 change``, shape (n, k)."""

    def predict(self, scores: Array) -> Array:
        """Labels of scores, shape (n,)."""


@dataclass(frozen=True)
class MarginScores:
    """One score, ``l = phi(y s)``, labels in {-1, +1}."""

    loss: MarginLoss
    outputs: int = field(default=1, init=False)

    @property
    def reach(self) -> float:
        return self.loss.reach

    def labels(self, y: Any) -> Array:
        return as_signed_labels(y)

    def value(self, scores: Array, y: Array) -> Array:
        return self.loss.value(y * scores[:, 0])

    def pulls(self, scores: Array, y: Array) -> Array:
        return (y * self.slopes(y * scores[:, 0]))[:, None]

    def bend(self, scores: Array, y: Array, change: Array) -> Array:
        return self.bends(y * scores[:, 0])[:, None] * change

    def predict(self, scores: Array) -> Array:
        return np.where(scores[:, 0] > 0, 1.0, -1.0)

    def slopes(self, margins: Array) -> Array:
        """``phi'``."""
        return self.loss.derivative(margins)

    def bends(self, margins: Array) -> Array:
        """``phi''``."""
        return self.loss.second_derivative(margins)


class ActiveScores(MarginScores):
    """A loss with a kink read as its line below the kink, for rows that are held there: on the kink they pull too."""

    def slopes(self, margins: Array) -> Array:
        return np.full(margins.shape, -self.loss.lipschitz)

    def bends(self, margins: Array) -> Array:
        return np.zeros(margins.shape)


@dataclass(frozen=True)
class BandScores(MarginScores):
    """A hinge with the derivatives of its mean over margins within `band`: curvature ``1 / (2 band)`` at the kink."""

    band: float

    def slopes(self, margins: Array) -> Array:
        return -np.clip((1.0 + self.band - margins) / (2 * self.band), 0.0, 1.0)

    def bends(self, margins: Array) -> Array:
        return (np.abs(margins - 1.0) < self.band) / (2 * self.band)


@dataclass(frozen=True)
class SoftmaxScores:
    """One score for each class, cross-entropy, labels 0 to `outputs` - 1."""

    outputs: int
    loss: None = None

    @property
    def reach(self) -> float:
        return cross_entropy_reach(self.outputs)

    def labels(self, y: Any) -> Any:
        labels = np.asarray(y)
        if labels.ndim != 1 or labels.dtype.kind not in "biuf" or (labels != np.round(labels)).any():
            raise InputError("whole labels of shape (n,)", f"{labels.dtype} of shape {labels.shape}")
        if labels.size and (labels.min() < 0 or labels.max() >= self.outputs):
            raise InputError(f"labels from 0 to {self.outputs - 1}", f"{labels.min()} to {labels.max()}")
        return labels.astype(np.intp)

    def value(self, scores: Array, y: Any) -> Array:
        return np.asarray(-log_softmax(scores, axis=1)[np.arange(len(y)), y])

    def pulls(self, scores: Array, y: Any) -> Array:
        pulls = self._chances(scores)
        pulls[np.arange(len(y)), y] -= 1.0
        return pulls

    def bend(self, scores: Array, y: Any, change: Array) -> Array:
        chances = self._chances(scores)
        return chances * (change - (chances * change).sum(axis=1, keepdims=True))

    def predict(self, scores: Array) -> Any:
        return scores.argmax(axis=1)

    def _chances(self, scores: Array) -> Array:
        return np.exp(log_softmax(scores, axis=1))
