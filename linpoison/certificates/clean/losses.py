"""What the outer set needs of a loss: its conjugate, and the most that poison of one mass can gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, wrightomega, xlogy

from ...core.errors import CapabilityError
from ...core.validation import Array
from ...losses import MarginLoss


@dataclass(frozen=True)
class SoftHinge:
    """``phi(m) = width log(1 + exp((kink - m) / width))``, the hinge itself at width 0.

    The logistic loss has kink 0 and width 1.

    Examples
    --------
    >>> SoftHinge(1.0, 0.0).price(np.array([-2.0, 0.5]), np.array([1.0, 1.0]))
    array([0. , 1.5])
    """

    kink: float
    width: float

    @property
    def sharp(self) -> bool:
        """Whether it is the hinge."""
        return self.width == 0

    def pull(self, m: Array) -> Array:
        """``psi(m) = -phi'(m)``; at the kink of the hinge 0."""
        return np.where(m < self.kink, 1.0, 0.0) if self.sharp else expit((self.kink - m) / self.width)

    def conjugate(self, a: Array) -> Array:
        """``phi*(-a)`` for a in [0, 1]: ``-kink a + width (a log a + (1 - a) log(1 - a))``."""
        line = -self.kink * a
        return line if self.sharp else line + self.width * (xlogy(a, a) + xlogy(1 - a, 1 - a))

    def gaps(self, m: Array, a: Array) -> Array:
        """``phi(m) + phi*(-a) + a m``, at least 0, without the cancellation of that sum."""
        if self.sharp:
            return (1 - a) * np.maximum(self.kink - m, 0) + a * np.maximum(m - self.kink, 0)
        x = (self.kink - m) / self.width
        entropy = xlogy(a, a) + xlogy(1 - a, 1 - a)
        return self.width * np.maximum(entropy + a * np.logaddexp(0, -x) + (1 - a) * np.logaddexp(0, x), 0)

    def price(self, height: Array, s: Array) -> Array:
        """``s G(height / s)``, ``G(t) = sup_m psi(m) (m + t)``; its limit ``height_+`` at ``s = 0``.

        The hinge gives ``(kink s + height)_+``, the others ``width s W(exp((kink + height / s) / width - 1))``.
        """
        # Where psi(m) (m + t) is greatest, psi = -psi' (m + t) = psi (1 - psi) (m + t) / width. With z = psi / (1 -
        # psi) = exp((kink - m) / width) the value is width z, and m + t = width (1 + z): z + log z = (kink + t) / width
        # - 1.
        level = self.kink * s + height
        if self.sharp:
            return np.maximum(level, 0)
        unit = self.width * s
        safe = np.where(unit > 0, unit, 1.0)
        with np.errstate(over="ignore"):
            z = level / safe - 1
        plain = np.maximum(level - unit, unit)  # from W(exp(z)) <= max(z, 1)
        exact = unit * wrightomega(np.clip(z, -700.0, 1e12)).real
        return np.where((unit > 0) & (np.abs(z) < 1e12), exact, np.maximum(plain, 0))


def soft_hinge(loss: MarginLoss) -> SoftHinge:
    """The loss in this form.

    Raises
    ------
    CapabilityError
        For losses that have another: those of unbounded slope.
    """
    if loss.soft_hinge is None:
        remedy = "Use certify_ridge for the squared loss." if loss.quadratic else ""
        raise CapabilityError("the hinge, smooth_hinge or logistic loss", loss.name, remedy)
    return SoftHinge(*loss.soft_hinge)
