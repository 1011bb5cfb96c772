"""Parameters for the attacker to plant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core import InputError, SolverFailed, check_integer, check_integers, check_number, check_seed
from ...core.validation import Array
from ...risk.arrays import norm, to_numpy
from ...risk.protocols import Risk, Vector
from ...risk.ranks import Alone
from ...risk.samples import Sample


@dataclass(frozen=True, eq=False)
class Given:
    """Parameters that are known already."""

    w: Any

    def target(self, risk: Risk, w: Vector, data: Sample) -> Vector:
        """The parameters themselves."""
        return risk.vector(self.w)


@dataclass(frozen=True)
class GradPC:
    """Parameters near the clean ones at which the training loss is high.

    ::

        maximise  (1 / sum c) sum_i c_i l(x_i, y_i; w + delta)   over   |delta| <= radius

    by steps along the normalised gradient, each followed by a projection onto the ball.

    Parameters
    ----------
    radius : float, optional
        In absolute units, as in published code.
    relative_radius : float, optional
        As a multiple of ``|w|``, as the thesis says. Give exactly one of the two.
    steps : int, default 30
        Gradient steps.
    step : float, optional
        Length of a step; by default the radius, with which every step ends on the sphere.
    batch_size : int, optional
        Rows of each step, in an order drawn with `seed`; by default all, which is deterministic.
    seed : int, default 0

    References
    ----------
    Sun, Zhang, Ren, Luo, Li, "Exploring the vulnerability of deep neural networks: a study of parameter corruption",
    AAAI 2021, as used in Lu, Kamath, Yu (2023), section 5.

    Examples
    --------
    >>> from linpoison.risk import LinearRisk
    >>> from linpoison.losses import Logistic
    >>> rows = Sample([[1.0], [-1.0]], [1.0, -1.0])
    >>> GradPC(relative_radius=2.0).target(LinearRisk(Logistic(), fit_intercept=False), np.array([1.5]), rows)
    array([-1.5])
    """

    radius: float | None = None
    relative_radius: float | None = None
    steps: int = 30
    step: float | None = None
    batch_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.radius is None) == (self.relative_radius is None):
            raise InputError("radius or relative_radius", "both" if self.radius is not None else "neither")
        for name in ("radius", "relative_radius", "step"):
            if getattr(self, name) is not None:
                check_number(getattr(self, name), name, above=0)
        check_integer(self.steps, "steps", at_least=1)
        check_seed(self.seed)
        if self.batch_size is not None:
            check_integer(self.batch_size, "batch_size", at_least=1)

    def target(self, risk: Risk, w: Vector, data: Sample) -> Vector:
        """``w + delta``.

        Raises
        ------
        SolverFailed
            If the gradient vanishes at the start, so that there is no way up.
        """
        start = risk.vector(w)
        radius = self.radius if self.radius is not None else norm(start) * float(self.relative_radius or 0)
        if radius == 0:
            raise InputError("parameters that are not zero with relative_radius", "zero", "Give `radius`.")
        delta, length = 0.0 * start, self.step or radius
        for batch in self._batches(data):
            slope = risk.data_grad(start + delta, batch.X, batch.y, batch.weights)
            size = norm(slope)
            if size == 0:
                raise SolverFailed("the gradient of the training loss vanishes. Start from other parameters.")
            delta = delta + (length / size) * slope
            delta = delta * min(1.0, radius / norm(delta))
        return start + delta

    def _batches(self, data: Sample) -> Iterator[Sample]:
        if self.batch_size is None:
            yield from (data for _ in range(self.steps))
            return
        rng, left = np.random.default_rng(self.seed), self.steps
        while left:
            order = rng.permutation(data.n)
            for start in range(0, data.n, self.batch_size)[:left]:
                yield data.take(order[start : start + self.batch_size])
                left -= 1


@dataclass(frozen=True)
class Relabeled:
    """Parameters of a model that learned many copies of clean rows with another label: the decoys of Koh et al.

    The rows are those of least margin, each with the next best label, and descent goes on from `w`, at which the model
    of the clean rows is, over these and all clean rows.

    Parameters
    ----------
    share : float, default 0.1
        Of the clean rows that are relabeled.
    copies : int, default 4
        Of each.
    steps : int, default 100
    step : float, default 0.1
        Of gradient descent over all rows.

    References
    ----------
    Koh, Steinhardt, Liang, section 4.2.

    Examples
    --------
    >>> from linpoison.risk import LinearRisk
    >>> from linpoison.losses import Logistic
    >>> rows = Sample([[2.0], [1.0], [-2.0], [-2.0]], [1.0, 1.0, -1.0, -1.0])
    >>> risk = LinearRisk(Logistic(), fit_intercept=False)
    >>> float(Relabeled(0.25, copies=8, steps=400).target(risk, np.array([1.0]), rows)[0]) < 0.2
    True
    """

    share: float = 0.1
    copies: int = 4
    steps: int = 100
    step: float = 0.1

    def __post_init__(self) -> None:
        check_number(self.share, "share", above=0, at_most=1)
        check_number(self.step, "step", above=0)
        check_integers(self, "copies", "steps", at_least=1)

    def target(self, risk: Risk, w: Vector, data: Sample) -> Vector:
        """Where descent ends."""
        held = risk.held(data)
        with risk.steady():
            scores = to_numpy(risk.scores(w, held.X))
        labels = to_numpy(held.y)
        margins, other = _margins(scores, labels, margin_loss=risk.margin_loss is not None)
        least = np.argsort(margins, kind="stable")[: max(1, round(self.share * data.n))]
        rows = data.take(least)
        wrong = other[least] if risk.margin_loss is not None else other[least].astype(int)
        both = risk.held(data.joined(Sample(rows.X, wrong, self.copies * rows.mass), risk))
        options: Any = {"steps": self.steps, "length": self.step, "ranks": Alone()}
        with risk.steady():
            return risk.descended(risk.vector(w), both.X, both.y, both.mass / both.total, **options)


def _margins(scores: Array, labels: Array, *, margin_loss: bool) -> tuple[Array, Array]:
    """How far the score of a row's label is above the next best, and the label of that."""
    if margin_loss:
        return labels * scores[:, 0], -labels
    place = np.arange(len(labels)), labels.astype(int)
    own, rest = scores[place], scores.copy()
    rest[place] = -np.inf
    return own - rest.max(axis=1), rest.argmax(axis=1)
