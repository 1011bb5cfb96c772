"""How much an attacker may add."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError
from .validation import check_number


@dataclass(frozen=True)
class Budget:
    """Poison rows as a fraction of the clean training rows: ``|D_p| = round(epsilon n)``.

    Examples
    --------
    >>> Budget(0.03).count(4137)
    124
    """

    epsilon: float

    def __post_init__(self) -> None:
        epsilon = check_number(
            self.epsilon, "epsilon", above=0, at_most=1,
            remedy="It is the poison as a fraction of the clean rows: 0.03 means 3 %.",
        )  # fmt: skip
        object.__setattr__(self, "epsilon", epsilon)

    def count(self, n: int) -> int:
        """Whole number of poison rows against `n` clean ones."""
        rows = round(self.epsilon * n)
        if rows == 0:
            raise InputError(
                "a budget of at least one poison row",
                f"epsilon {self.epsilon:g} of {n} rows, which rounds to 0",
                f"Use epsilon of at least {1 / max(n, 1):.2g}.",
            )
        return rows
