"""A constraint on the gradients of poison rows: no farther along the top singular vector than clean rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core import check_integer, check_number
from ...risk.arrays import length, like, per_row, places, to_numpy, where
from ...risk.protocols import Risk, Rows, Vector
from ...risk.samples import Held


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the gradients of a class vary most.

    Parameters
    ----------
    label : float
        As the loss takes it.
    direction : Vector
        Top right singular vector of the centred gradients, of length 1.
    centre : number
        Their mean along it.
    limit : number
        The squared distance from it that a row may have.
    """

    label: float
    direction: Vector
    centre: Any
    limit: Any


@dataclass(frozen=True)
class SpectralCap:
    """Takes from what an attacker gains by a poison row what SEVER would see of it.

    ::

        P = weight * sum_j (c_j / N) max(0, s_j / q - 1),      s_j = ((g_j - mean g)' v)^2

    with v the top right singular vector of the centred gradients g of the rows of a class, poison included, and q the
    score that a share `remove` of its clean rows exceed. A row below q passes SEVER with that share, and the poison
    adds no more to the squared singular value ``sum_i s_i`` than as many clean rows at q. Parameters, v, the mean and q
    are those of the beginning of an epoch of the game.

    Parameters
    ----------
    weight : float, default 1
        Of a row that is as far beyond q as q, in units of the validation loss.
    remove : float, default 0.05
        The share that the defender is expected to drop.
    iterations : int, default 15
        Of the power method.

    References
    ----------
    Lu, thesis, section 2.6.6 (b): "an explicit constraint on the singular value" is proposed there and not tried.
    Diakonikolas et al., "Sever", 2019, Algorithm 2.
    """

    weight: float = 1.0
    remove: float = 0.05
    iterations: int = 15

    def __post_init__(self) -> None:
        check_number(self.weight, "weight", above=0)
        check_number(self.remove, "the fraction remove", above=0, below=1)
        check_integer(self.iterations, "iterations", at_least=1)

    def frames(self, risk: Risk, w: Vector, clean: Held, poison: Held) -> list[Frame]:
        """One for each class of the poison, copies not counted: SEVER scores rows.

        Parameters
        ----------
        risk : Risk
        w : Vector
            Parameters in which the losses of rows are differentiated.
        clean, poison : Held
            Of a class of the poison without a clean row there is no frame.
        """
        found, codes, theirs = [], to_numpy(clean.y), to_numpy(poison.y)
        for label in np.unique(theirs):
            mine, also = np.flatnonzero(codes == label), np.flatnonzero(theirs == label)
            if not mine.size:
                continue
            part, bad = clean.take(places(mine, clean.mass), 0.0), poison.take(places(also, poison.mass), 0.0)
            found.append(self._frame(risk, w, float(label), part, part.joined(bad)))
        return found

    def _frame(self, risk: Risk, w: Vector, label: float, clean: Held, both: Held) -> Frame:
        n, start = len(both.X), np.random.default_rng(0).normal(size=len(both.X))
        share = like(np.ones(n), both.mass)
        direction = _unit(risk.loss_vjp(w, both.X, both.y, like(start - start.mean(), both.mass)))
        for _ in range(self.iterations):
            along = risk.loss_jvp(w, both.X, both.y, direction)
            # J' (J v - mean) is the centred product: what is summed adds up to zero over the rows
            direction = _unit(risk.loss_vjp(w, both.X, both.y, along - share * along.mean()))
        along = risk.loss_jvp(w, both.X, both.y, direction)
        centre = along.mean()
        scores = to_numpy((along[: len(clean.X)] - centre) ** 2)
        limit = max(float(np.quantile(scores, 1 - self.remove)), float(np.finfo(np.float64).tiny))
        return Frame(label, direction, centre, limit)

    def slope(self, risk: Risk, w: Vector, X: Rows, y: Any, frames: Sequence[Frame]) -> Rows:
        """``N / c_j`` times dP / dx_j for rows of the poison, in the shape of these.

        Parameters
        ----------
        risk : Risk
        w : Vector
        X, y : Rows and labels
            Of the poison.
        frames : sequence of Frame
            Of its classes.
        """
        total = 0.0 * X
        for frame in frames:
            apart = risk.loss_jvp(w, X, y, frame.direction) - frame.centre
            beyond = (apart * apart > frame.limit) & (y == frame.label)
            # d s_j / d x_j = 2 ((g_j - mean g)' v) C(x_j)' v with v held: of the singular value itself v is the
            # maximiser, whose own motion counts for nothing to first order
            pushed = where(beyond, (2 * self.weight / frame.limit) * apart, 0.0)
            mixed = risk.mixed_product(w, X, y, frame.direction)
            total = total + per_row(pushed, mixed) * mixed
        return total


def _unit(v: Vector) -> Vector:
    size = length(v)
    return v / where(size > 0, size, 1.0)
