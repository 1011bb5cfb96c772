"""Whom an attack is to hurt, how that is measured, whether them or rows like them, and how much others may suffer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..core import ERROR, CapabilityError, Dataset, InputError, Mask, Measure, check_among, check_number

Goal = Literal["target", "population"]


@dataclass(frozen=True, eq=False)
class Aim:
    """What an attacker wants of the model that is learned.

    Parameters
    ----------
    target : Dataset
        Rows that the attacker may look at and wants misclassified: the test rows in the papers, the training rows of an
        attacker who has seen no others, a few rows of one's choice, or rows of one group.
    goal : {"target", "population"}, default "target"
        Whether damage is meant for the target rows themselves, or for unseen rows like them. Attacks
        that tune on measured errors (`Refined`) then guard against what would not carry over.
    others : Dataset, optional
        Rows outside of the group that the target is from, by which the attacker judges what becomes of everybody else.
    collateral : float, default 0.01
        Greatest growth of the error on `others`, behind the defence where it grows most. Of the poisons of an attack
        one within this limit is better than any beyond it.
    members : ndarray of bool, optional
        The training rows that are in the group; none by default.
    measure : Measure
        Of the damage: the error by default.

    Examples
    --------
    >>> rows = Dataset([[0.0], [1.0], [2.0]], [1, 1, -1])
    >>> aim = Aim.of_group(rows, np.array([True, False, False]))
    >>> aim.target.n, aim.others.n, aim.collateral
    (1, 2, 0.01)
    """

    target: Dataset
    goal: Goal = "target"
    others: Dataset | None = None
    collateral: float = 0.01
    members: Mask | None = None
    measure: Measure = ERROR

    def __post_init__(self) -> None:
        check_among(self.goal, "a goal", "target", "population")
        check_number(self.collateral, "collateral", at_least=0, at_most=1, remedy="It is a share: 0.01 means 1 %.")
        if self.others is not None and not (self.target.n and self.others.n):
            raise InputError("rows in the subpopulation and outside", f"{self.target.n} and {self.others.n}")

    @classmethod
    def of(cls, given: Any) -> Aim:
        """An aim as it is, or that of hurting some rows, whatever becomes of the others."""
        return given if isinstance(given, Aim) else cls(given)

    @classmethod
    def of_group(cls, rows: Dataset, inside: Mask, collateral: float = 0.01, members: Mask | None = None) -> Aim:
        """Rows, and which of them are in the group."""
        return cls(rows.take(inside), others=rows.take(~inside), collateral=collateral, members=members)

    @property
    def limited(self) -> bool:
        """Whether there are others who may not suffer at will."""
        return self.others is not None and self.collateral < 1

    def rest(self, attack: str) -> Dataset:
        """The other rows, for an attack that cannot do without.

        Raises
        ------
        CapabilityError
            If the aim has none.
        """
        if self.others is None:
            raise CapabilityError(
                f"a group as the aim of {attack}", "rows without any others",
                "Give the scenario Aim(target, others=...); in an audit, name the rows: --target rows:...",
            )  # fmt: skip
        return self.others

    def within(self, train: Dataset) -> np.ndarray:
        """Mask of the training rows that are in the group.

        Raises
        ------
        InputError
            If `members` is of other rows.
        """
        if self.members is None:
            return np.zeros(train.n, dtype=bool)
        if self.members.shape != (train.n,):
            raise InputError(f"members of {train.n} training rows", f"shape {self.members.shape}")
        return self.members
