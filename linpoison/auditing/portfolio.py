"""The attacks of the portfolio, from cheap to dear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Item:
    """An attack of the portfolio.

    Parameters
    ----------
    work : float
        About the seconds that it takes where data and defences are of the size of `UNIT`.
    options : tuple of pairs
        Of the attack, where they differ from its own defaults.
    onward : bool
        Whether it goes on from the strongest poison of those before it.
    fewer : tuple of pairs
        More such options, where it searches on a sample: what a long search gains there is of the sample.
    """

    name: str
    work: float
    options: tuple[tuple[str, Any], ...] = ()
    onward: bool = False
    fewer: tuple[tuple[str, Any], ...] = ()


FIRST = (Item("random-flips", 0.4), Item("alfa", 0.4))
"""Rows of the data with their labels flipped: in every domain, and a first figure at once."""
LIBRARY = "library"
PUBLISHED = ("alfa", "min-max", "kkt", "influence")
"""Those of the portfolio that there are as published, too."""
_FEW_RAYS = (("directions", 12), ("ascents", 80))
FAR = Item(
    "breakdown",
    14.0,
    (("steps", 180),),
    fewer=(("kept", 2), ("remade", 1), ("steps", 40), ("chains", 1), ("on_all", 30), ("each", True), *_FEW_RAYS),
)
"""Rows that filters fitted on the poison itself let through from afar; in the widest domain."""
FAR_ALONE = Item(
    "breakdown",
    2.0,
    (("kept", 4), ("remade", 0), ("steps", 60), ("chains", 1)),
    fewer=(("sample", False), ("on_all", 40)),
)
"""The same made for one filter alone, and for no filter. Of many rows what `FAR` has found goes on, on all rows."""
IN_TABLE = Item("exchange", 4.0)
"""Rows that the steps of an estimator can make, in the narrowest domain of a table."""
_FEW_DECOYS = (("decoys.many_entries", 0), ("finalists", 3))
INSIDE = (
    Item("min-max", 4.0, (("generations", 1), ("tries", 3)), fewer=(("generations", 0), *_FEW_DECOYS)),
    Item("kkt", 9.0, fewer=(("generations", 1), ("refits", 1), ("regrown.many_entries", 0), *_FEW_DECOYS)),
    Item("influence", 6.0, fewer=(("starts", 1), ("steps", 40), ("finalists", 3))),
)
"""Attacks inside the sets of the filters."""
ON_TOP = Item(
    "breakdown",
    9.0,
    (("inside", False), ("kept", 2), ("remade", 0), ("steps", 400)),
    onward=True,
    fewer=(("steps", 80), ("chains", 1), ("each", True), *_FEW_RAYS),
)
WORDS_ON_TOP = Item("refined", 10.0, (("rounds", 2), ("chains", 1), ("steps", 100)))
"""A local search from the strongest of them, in the narrowest domain: rows are moved, or words exchanged in sparse rows
and in counts."""
NEAR_ALONE = Item(
    "breakdown",
    1.5,
    (("inside", False), ("kept", 2), ("remade", 0), ("steps", 40), ("chains", 1)),
    onward=True,
    fewer=(("sample", False),),
)
"""The same made for one filter alone, and for no filter."""


OF_MANY = (
    Item("random-flips", 0.4),
    Item("breakdown", 10.0),
    Item("influence", 9.0, (("walk.steps", 40),)),
    Item("min-max", 20.0, (("program.tol", 3e-2), ("program.max_iter", 20), ("most", 2))),
)
"""Those of more than two classes; the options of a part stand behind its name and a dot."""
ALONE_OF_MANY = Item("breakdown", 2.0, (("only_on", True), ("steps", 60)), onward=True)
"""From the strongest of them on, made for one filter alone, and for no filter."""


def portfolio_names() -> tuple[str, ...]:
    """Names of the attacks of the portfolio, from cheap to dear."""
    return tuple(item.name for item in (*FIRST, FAR, IN_TABLE, *INSIDE, WORDS_ON_TOP))
