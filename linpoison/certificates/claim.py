"""What a certificate speaks of: clean rows, learner, trusted sets, budget, and the rows it bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..core.dataset import Dataset
from ..core.errors import CapabilityError, InputError
from ..core.parts import dense
from ..core.validation import Array, check_number
from ..losses import Problem
from ..sets import ByLabel
from .rounding import gamma

ROW_BY_ROW = "what is done to a row before training depends on that row alone"
"""What has to hold where certificates of changed rows are read backwards, about data in hand."""

_SMALL = 1e-100
"""Size below which squares of numbers, times others of the size, are lost."""


def exactly(value: float) -> str:
    """A number in words, in six digits if these are all of it.

    Examples
    --------
    >>> exactly(0.3), exactly(1 / 3)
    ('0.3', '0.3333333333333333')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def at_most(value: float) -> str:
    """A budget in words, in six digits unless these say more than is proved.

    Examples
    --------
    >>> at_most(0.03), at_most(1 / 3), at_most(2 / 3)
    ('0.03', '0.333333', '0.6666666666666666')
    """
    short = f"{value:g}"
    return short if float(short) <= value * (1 + gamma(4)) else repr(float(value))


@dataclass(frozen=True, eq=False)
class Claim:
    """An attacker adds rows of ``F_+`` and ``F_-``, of mass at most ``epsilon``, to known clean rows.

    The learner then minimises, per clean row and with ``v = (theta, b)``, ``n = sum_i c_i``,

    ::

        (1/n) sum_i c_i phi(y_i (x_i, 1) . v) + reg/2 <v, P v> + integral phi(y (x, 1) . v) d nu(x, y)

    where ``nu`` is the poison, of mass at most ``epsilon``, and `reg` is `Claim.reg`.

    Parameters
    ----------
    train : Dataset
        Clean rows, one for each copy or weighted.
    problem : Problem
    sets : ByLabel
        Sets that poison must lie in, fixed beforehand. None may be an inner approximation.
    epsilon : float
        Mass of the poison as a fraction of the clean rows, at least 0.
    rows : Dataset, optional
        Rows that the bound speaks of, such as test rows.
    """

    train: Dataset
    problem: Problem
    sets: ByLabel
    epsilon: float
    rows: Dataset | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_number(self.epsilon, "epsilon", at_least=0))
        self.train.require_both_classes()
        if self.problem.class_weight is not None:
            raise CapabilityError(
                "a claim on a problem without class weights", f"class_weight={self.problem.class_weight!r}",
                "Write fixed ones out as weights of the rows, with the mass of poison times the greater of the two.",
            )  # fmt: skip
        for what, d in (("sets", self.sets.d), ("rows", self.train.d if self.rows is None else self.rows.d)):
            if d != self.train.d:
                raise InputError(f"{what} of {self.train.d} features", f"{d}")
        if self.rows is not None and not self.problem.fit_intercept:
            self._check_size(self.rows)
        if any(part.relation == "inner" for part in self.sets.values()):
            raise InputError(
                "sets that hold every row that may be planted",
                "an inner approximation",
                "Leave that set out: the bound then holds for a stronger attacker.",
            )

    def _check_size(self, rows: Dataset) -> None:
        """Refuse rows of which nothing is left in squares: that of a score relies on its relative size alone."""
        size = dense(np.abs(rows.X).max(axis=1)).ravel()
        small = (size > 0) & (size < _SMALL)
        if small.any():
            raise InputError(
                f"rows to certify with an entry of {_SMALL:g} or more", f"one of {size[small][0]:g} at most",
                "Their label is that of their multiples.",
            )  # fmt: skip

    @cached_property
    def mass(self) -> float:
        """``n``, the clean rows counted with their weights, rounded once."""
        return math.fsum(self.train.weight)

    @property
    def share(self) -> Array:
        """``c_i / n``, shape (n,)."""
        return np.asarray(self.train.weight / self.mass)

    @property
    def reg(self) -> float:
        """Weight of the regulariser per clean row with all of the budget spent.

        ``(1 + epsilon) reg`` under mean scaling, ``reg`` at the clean size under sum scaling. Less poison comes with
        less of it under mean scaling; see `filled` for why bounds at this weight speak of that, too.
        """
        grown = 1 + self.epsilon if self.problem.scaling == "mean" else 1.0
        return grown * self.problem.reg_at(self.mass)

    @cached_property
    def filled(self) -> bool:
        """Whether copies of the clean rows have to be reckoned with as poison.

        Under mean scaling poison `nu` of mass ``e < epsilon`` leaves the same model as mass `epsilon` made of
        ``(1 + epsilon) / (1 + e) nu`` and, for the rest, all clean rows in proportion. Where clean rows lie in their
        sets, that is poison of the claim. Where some do not, every bound takes the greater of two prices for each
        unit of mass: that of the sets, and the mean over the clean rows. So it holds for **every** mass up to
        `epsilon` in either case.
        """
        return self.problem.scaling == "mean" and self.epsilon > 0 and not bool(self.inside(0.0).all())

    def filled_by(self, flips: bool) -> bool:
        """The same where labels of clean rows may be flipped besides.

        The rows in proportion are then those that are trained on, flipped ones with their new label. That those lie in
        the set of this label does not follow from where the clean rows lie.
        """
        return self.filled or (flips and self.problem.scaling == "mean" and self.epsilon > 0)

    @cached_property
    def mask(self) -> Array:
        """``P``: which entries of ``(theta, b)`` are penalised, as 0 / 1, shape (d + 1,)."""
        return self.problem.penalty_mask(self.train.d)

    @property
    def strongly_convex(self) -> bool:
        """Whether every entry that is learned is penalised."""
        return bool(self.problem.penalize_intercept or not self.problem.fit_intercept)

    def at(self, epsilon: float) -> Claim:
        """The same with another budget."""
        return replace(self, epsilon=epsilon)

    def about(self, rows: Dataset) -> Claim:
        """The same about other rows."""
        return replace(self, rows=rows)

    def demand_rows(self) -> Dataset:
        """The rows that the bound speaks of.

        Raises
        ------
        InputError
            If there are none.
        """
        if self.rows is None or not self.rows.n:
            raise InputError("rows to certify", "none", "Give them as Claim(..., rows=...).")
        return self.rows

    def inside(self, tol: float = 1e-7) -> np.ndarray:
        """Which clean rows lie in the set of their class, shape (n,), boolean."""
        return np.asarray(self.sets.contains(self.train.X, self.train.y, tol))

    def assumptions(self) -> tuple[str, ...]:
        """What holds of every bound on this claim, in words."""
        problem = self.problem
        if not problem.fit_intercept:
            intercept = "no intercept"
        else:
            intercept = "a penalised intercept" if problem.penalize_intercept else "a free intercept"
        stays = "all of them inside these sets" if self.inside().all() else "though not all lie inside these sets"
        return (
            "the feasible sets are fixed beforehand, from data that the attacker does not touch",
            f"the clean rows are as given and none of them is removed, {stays}",
            f"the attacker only inserts rows of the sets, with mass at most {at_most(self.epsilon)} of the clean rows",
            f"the learner finds the exact minimiser: {problem.loss.name} loss, reg {exactly(problem.reg)}, {intercept}",
            f"the regulariser scales with the rows as '{problem.scaling}' says",
        )

    def changed_assumptions(self, count: int, flips: bool) -> tuple[str, ...]:
        """What holds where besides `count` clean rows lose their place, or their labels are flipped, in words."""
        kept = [word for word in self.assumptions() if "removed" not in word and "only inserts" not in word]
        done = f"{count} of the clean rows lose their place at most"
        if flips:
            done = f"the labels of {count} clean rows are flipped at most"
        added = f"besides, rows of the sets are inserted, with mass at most {at_most(self.epsilon)} of the clean rows"
        return (*kept, done, added if self.epsilon else "no row is inserted")
