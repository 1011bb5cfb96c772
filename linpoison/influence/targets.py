"""What the attacker wants to grow: a smooth function of the model, with its gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from ..core import Array, Dataset, InputError, LinearModel, check_number
from ..losses import MarginLoss


class Target(ABC):
    """``T(theta, b) = sum_i c_i h(m_i) / sum_i c_i`` with the margins ``m_i`` of some rows.

    Attributes
    ----------
    rows : Dataset
    """

    rows: Dataset

    @abstractmethod
    def _values(self, margins: Array) -> Array:
        """``h(m)``."""

    @abstractmethod
    def _slopes(self, margins: Array) -> Array:
        """``h'(m)``."""

    def value(self, model: LinearModel) -> float:
        """``T`` at a model."""
        return float(np.average(self._values(model.margins(self.rows)), weights=self.rows.weight))

    def gradient(self, model: LinearModel) -> Array:
        """Gradient of ``T`` in ``(theta, b)``, shape (d + 1,)."""
        rows = self.rows
        pull = rows.weight * rows.y * self._slopes(model.margins(rows)) / rows.total
        return np.append(np.asarray(rows.X.T @ pull).ravel(), pull.sum())


@dataclass(frozen=True, eq=False)
class MeanLoss(Target):
    """The mean loss on `rows`, ``h = phi``: what the influence attack of Koh et al. raises.

    Parameters
    ----------
    rows : Dataset
    loss : MarginLoss
        With a derivative everywhere.
    """

    rows: Dataset
    loss: MarginLoss

    def __post_init__(self) -> None:
        if self.loss.kink is not None:
            raise InputError("a loss without a kink", repr(self.loss), "Use SmoothHinge in place of Hinge.")

    def _values(self, margins: Array) -> Array:
        return self.loss.value(margins)

    def _slopes(self, margins: Array) -> Array:
        return self.loss.derivative(margins)


@dataclass(frozen=True, eq=False)
class SoftError(Target):
    """A smooth stand-in for the share of misclassified `rows`, ``h(m) = 1 / (1 + exp(m / temperature))``.

    Parameters
    ----------
    rows : Dataset
    temperature : float, default 0.2
        Towards zero the share itself.

    Examples
    --------
    >>> rows = Dataset([[1.0], [-1.0]], [1, -1])
    >>> SoftError(rows, 0.1).value(LinearModel([-1.0])).__round__(3)
    1.0
    """

    rows: Dataset
    temperature: float = 0.2

    def __post_init__(self) -> None:
        check_number(self.temperature, "temperature", above=0)

    def _values(self, margins: Array) -> Array:
        return np.asarray(expit(-margins / self.temperature))

    def _slopes(self, margins: Array) -> Array:
        share = self._values(margins)
        return -share * (1.0 - share) / self.temperature
