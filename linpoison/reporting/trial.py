"""One setting of a defender, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

ANY = "any"
"""In place of an attack, where the error is what no poison exceeds."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting and what became of it.

    Parameters
    ----------
    name, words : str
        The setting, and what to do for it.
    clean_error, cost, low, high : float
        Error on all test rows without poison, how much more that is than as it is, and the interval of that.
    seen_error, unseen_error : float
        With the strongest poison found, on the rows that the attacker saw and on those it did not.
    attack, filter : str
        Who made it (`ANY` where the errors are bounds), and which filter held best where there are several.
    thorough : bool
        Whether the portfolio of attacks was tried.
    fixed : bool
        Whether no poison moves its filters, so that what it does can be bounded.
    bound : float or None
        What no poison exceeds, on all test rows behind these filters, where that was asked for and proved.
    """

    name: str
    words: str
    clean_error: float
    cost: float
    low: float
    high: float
    seen_error: float
    unseen_error: float | None
    attack: str
    filter: str = ""
    thorough: bool = False
    fixed: bool = False
    bound: float | None = None

    @property
    def attacked(self) -> float:
        """The greater of the errors on rows seen and unseen."""
        return max(self.seen_error, self.seen_error if self.unseen_error is None else self.unseen_error)

    @property
    def preference(self) -> tuple[float, bool, bool, float]:
        """What it is chosen by, the least first: damage, then no change at all, a proof, and the clean error."""
        return round(self.attacked, 6), self.cost != 0, self.bound is None, self.clean_error

    def with_more(self, other: Trial) -> Trial:
        """The stronger of two attacks on the same setting, of which the second was the thorough one."""
        worst = max((self, other), key=lambda trial: trial.attacked)
        return replace(worst, thorough=True, bound=other.bound)
