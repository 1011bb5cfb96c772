"""One setting of a defender, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

ANY = "any"
"""In place of an attack, where the error is what no poison exceeds."""
PLAIN, FEW, ALL = "plain", "few", "all"
"""What a setting was attacked by, see `Trial`."""


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
    met : str
        What it was attacked by: ``"plain"`` poisons that take no search, ``"few"`` attacks, or ``"all"``.
    fixed, trusted : bool
        Whether no poison moves its filters, so that what it does can be bounded; and whether it rests on trusted rows.
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
    met: str = PLAIN
    fixed: bool = False
    trusted: bool = False
    bound: float | None = None

    @property
    def attacked(self) -> float:
        """The greater of the errors on rows seen and unseen."""
        return max(self.seen_error, self.seen_error if self.unseen_error is None else self.unseen_error)

    @property
    def preference(self) -> tuple[float, bool, bool, float]:
        """What it is chosen by, the least first: damage, then no change at all, a proof, and the clean error."""
        return round(self.attacked, 6), self.cost != 0, self.bound is None, self.clean_error

    @property
    def thorough(self) -> bool:
        """Whether the portfolio of attacks was tried, or no attack is needed."""
        return self.met == ALL

    def no_worse_than(self, other: Trial) -> bool:
        """Whether it loses no more than another setting on the rows seen, nor on the rows unseen."""
        pairs = (self.seen_error, other.seen_error), (self.unseen_error, other.unseen_error)
        return all(mine is None or theirs is None or mine <= theirs + 1e-12 for mine, theirs in pairs)
