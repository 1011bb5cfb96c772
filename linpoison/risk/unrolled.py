"""The derivative of what follows some steps of training, in the poison rows that they saw: reverse mode, by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import numpy as np

from ..core import SolverFailed
from .arrays import per_row, places, to_numpy
from .protocols import Risk, Rows, Vector
from .ranks import Alone
from .samples import Held

Outer = Callable[[Vector], tuple[Any, Vector]]
"""A function of the parameters after training, with its gradient."""


@dataclass(frozen=True, eq=False)
class Unrolled:
    """Steps of gradient descent on clean rows and poison.

    ::

        w_(t+1) = w_t - length [ (1 / N) ( sum_i c_i d/dw l(x_i; w_t) + sum_j c_j d/dw l(z_j; w_t) ) + reg P w_t ]

    with N the copies of all clean and all poison rows. A step on a batch takes its clean rows in the place of all of
    them, as heavy as these, and every poison row: the expected step of a learner that draws its batches from all.

    Parameters
    ----------
    risk : Risk
    clean : Held
        Clean rows that are learned from.
    labels, mass : vector, shape (m,)
        Of the poison, as `Risk.held` gives them.
    total : float
        Copies of the poison.
    length : float
        Of a step.
    """

    risk: Risk
    clean: Held
    labels: Any
    mass: Any
    total: float
    length: float

    def batches(self, size: int | None, count: int, rng: np.random.Generator) -> Iterator[Held]:
        """The clean rows of so many steps: all, or at most `size` at a time in orders that are drawn anew."""
        n = len(self.clean.mass)
        if size is None or size >= n:
            yield from (self.clean for _ in range(count))
            return
        copies, left = to_numpy(self.clean.mass), count
        while left:
            order = rng.permutation(n)
            for start in range(0, n - size + 1, size)[:left]:
                index = order[start : start + size]
                part = self.clean.take(places(index, self.clean.mass), self.clean.total)
                yield replace(part, mass=part.mass * (self.clean.total / float(copies[index].sum())))
                left -= 1

    def step(self, w: Vector, X: Rows, batch: Held) -> Vector:
        """Parameters after a step with the poison rows `X`."""
        both = self._joined(X, batch)
        share = both.mass / both.total
        return self.risk.descended(w, both.X, both.y, share, steps=1, length=self.length, ranks=Alone())

    def after(self, w: Vector, X: Rows, batches: Sequence[Held], outer: Outer) -> tuple[Any, Rows, Vector]:
        """What `outer` gives after a step on each batch, its gradient in `X`, and the parameters there.

        Exact reverse mode. With ``v_T`` the gradient of `outer` at ``w_T``, going back over the steps::

            d/dz_j  gains  - length (c_j / N) C(z_j; w_t)' v_(t+1),      v_t = v_(t+1) - length H(w_t) v_(t+1)

        with C the mixed derivative and H the Hessian of the objective on the step's rows. Every ``isqrt(T)``-th of the
        parameters is kept and those between are computed again, so that memory holds ``2 sqrt(T)`` vectors of them, for
        one more pass of training. (Munoz-Gonzalez et al. go back by ``w_t = w_(t+1) + length g(w_(t+1))``, which needs
        no memory and is not where training came by.)

        Raises
        ------
        SolverFailed
            If the numbers stop being finite.
        """
        with self.risk.steady():
            every = max(isqrt(len(batches)), 1)
            kept = self._kept(w, X, batches, every)
            last = kept.pop()
            value, v = outer(last)
            slope = 0.0 * X
            for start in range((len(kept) - 1) * every, -1, -every):
                part = batches[start : start + every]
                points = [kept.pop()]
                for batch in part[:-1]:
                    points.append(self.step(points[-1], X, batch))
                for batch in reversed(part):
                    v = self._back(points.pop(), X, batch, v, slope)
        if not np.isfinite(float(value)) or not bool(abs(slope).sum() < np.inf):
            raise SolverFailed("training diverges while it is unrolled. Take fewer or shorter steps.")
        return value, slope, last

    def _kept(self, w: Vector, X: Rows, batches: Sequence[Held], every: int) -> list[Vector]:
        """The parameters before each `every`-th step, and after the last."""
        found = []
        for number, batch in enumerate(batches):
            if number % every == 0:
                found.append(w)
            w = self.step(w, X, batch)
        return [*found, w]

    def _back(self, w: Vector, X: Rows, batch: Held, v: Vector, slope: Rows) -> Vector:
        """``v`` before the step that left `w`; the rows' part is added to `slope`."""
        both = self._joined(X, batch)
        share, m = both.mass / both.total, len(X)
        bent = self.risk.curvature(w, both.X, both.y, share)(v) + self.risk.penalty_grad(v)
        mixed = self.risk.mixed_product(w, X, self.labels, v)
        slope -= self.length * per_row(share[len(share) - m :], X) * mixed
        return v - self.length * bent

    def _joined(self, X: Rows, batch: Held) -> Held:
        return batch.joined(Held(X, self.labels, self.mass, self.total))


def loss_on(risk: Risk, data: Held, sign: float) -> Outer:
    """``sign`` times the mean loss of some rows, as a function of the parameters."""
    share = data.mass / data.total

    def outer(w: Vector) -> tuple[Any, Vector]:
        return sign * (risk.loss(w, data.X, data.y) @ share), risk.loss_vjp(w, data.X, data.y, sign * share)

    return outer
