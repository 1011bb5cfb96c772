"""The attacks by name: the library's own, or as Koh et al. describe them, with a solver of choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from ..convex import chosen_solver
from ..core.errors import CapabilityError, InputError
from ..core.plugins import find
from .alfa import ALFA
from .ascent import Ascent
from .base import Attack
from .breakdown import Breakdown
from .exchange import Exchange
from .feasible import SetPolicy
from .gradient_canceling import GradientCanceling
from .influence import Influence, InfluenceBasic
from .kkt import KKT, IterativeKKT, KKTGrid
from .many import MultiBreakdown, MultiInfluence, MultiMinMax
from .minmax import MinMax, MinMaxBasic
from .model_targeted import ModelTargeted
from .random_flips import RandomFlips
from .refined import Refined

ATTACKS: dict[str, Callable[..., Attack]] = {
    attack.name: attack
    for attack in (
        RandomFlips,
        ALFA,
        Breakdown,
        Exchange,
        KKT,
        KKTGrid,
        IterativeKKT,
        MinMaxBasic,
        MinMax,
        InfluenceBasic,
        Influence,
        ModelTargeted,
        GradientCanceling,
        Refined,
    )
}
"""Every attack by name, the cheapest baselines first; `Refined` starts from another one."""

MANY: dict[str, Callable[..., Attack]] = {
    kind.name: kind for kind in (RandomFlips, MultiBreakdown, MultiInfluence, MultiMinMax)
}
"""The attacks of more than two classes by name."""

LIBRARY, PAPER = "library", "paper"
VARIANTS = (LIBRARY, PAPER)
"""Whose version of an attack runs."""


TENTH = SetPolicy(assumed_removal=0.1)
"""Thresholds as the authors' program has them: the 90th percentile of the clean scores."""
AS_PUBLISHED: dict[str, tuple[Callable[..., Attack], dict[str, Any]]] = {
    "random-flips": (RandomFlips, {}),
    "alfa": (ALFA, {"most": "budget"}),
    "kkt": (KKTGrid, {"policy": TENTH}),
    "kkt-grid": (KKTGrid, {"policy": TENTH}),
    "min-max-basic": (MinMaxBasic, {"method": "paper", "refits": 0, "policy": TENTH}),
    "min-max": (MinMax, {"method": "paper", "cap": 0.25, "generations": 0, "policy": TENTH}),
    "influence-basic": (InfluenceBasic, {}),
    "influence": (
        Influence,
        {"behind": False, "refit": False, "adapt_split": False, "ascent": Ascent(objective="loss"), "policy": TENTH},
    ),
}
"""Class and options of each attack as Koh, Steinhardt and Liang describe it (sections 4 and 5, appendices B and D)."""
MANY_AS_PUBLISHED: dict[str, tuple[Callable[..., Attack], dict[str, Any]]] = {
    "random-flips": (RandomFlips, {}),
    "min-max": (MultiMinMax, {"method": "paper"}),
}
"""The same of more than two classes (section 5.7)."""


def make_attack(name: str, variant: str = LIBRARY, *, many: bool = False, **options: Any) -> Attack:
    """The attack of a name; options are those of its class.

    Parameters
    ----------
    name : str
        One of `ATTACKS`, one that another package registers under the entry points ``linpoison.attacks`` (a class, or
        an object), or a `Named` object, which comes as it is.
    variant : {"library", "paper"}
        The library's own attack, or the one of Koh et al.: for ``influence`` the mean loss as objective and no
        defence in it, sets of the clean rows and a fixed class balance; for ``min-max`` and ``min-max-basic`` their
        Algorithm 5 (with a cap of 0.25 on the decoy's loss, or none); for ``kkt`` the grid over the split of the
        budget (`KKTGrid`); for ``alfa`` all copies on one row.
    many : bool
        Whether there are more than two classes: then one of `MANY`, or of `MANY_AS_PUBLISHED`.
    **options
        Such as ``solver``.

    Examples
    --------
    >>> make_attack("min-max", "paper").method
    'paper'
    """
    known = _known(name, many)
    if variant not in VARIANTS:
        raise InputError(f"a variant of an attack among {', '.join(VARIANTS)}", repr(variant))
    if not isinstance(known, type):
        return as_attack(known)
    if variant == LIBRARY:
        return as_attack(known(**options))
    as_published = MANY_AS_PUBLISHED if many else AS_PUBLISHED
    if name not in as_published:
        raise InputError(
            f"an attack of the paper for the variant {PAPER!r}, among {', '.join(as_published)}", repr(name)
        )
    kind, published = as_published[name]
    return kind(**{**published, **options})


def find_attack(name: str) -> Any:
    """What stands behind a name: a class, or an object; see `linpoison.core.plugins.find`."""
    return find("attacks", name, ATTACKS, "attacks")


def _known(name: str, many: bool) -> Any:
    """What stands behind a name; of more than two classes the library's own attacks are those of `MANY`.

    Raises
    ------
    CapabilityError
        If there is none of that name for so many.
    """
    known = find_attack(name)
    if not many or known is not ATTACKS.get(name):
        return known
    if name not in MANY:
        raise CapabilityError(f"attacks on more than two classes, among {', '.join(MANY)}", name)
    return MANY[name]


def as_attack(thing: Any) -> Attack:
    """An attack of someone else as it is.

    Raises
    ------
    InputError
        If it is none.
    """
    if not isinstance(thing, Attack) or not isinstance(getattr(thing, "name", None), str):
        got = f"the class {thing.__name__}" if isinstance(thing, type) else repr(thing)[:80]
        raise InputError("an attack: an object of a subclass of linpoison.attacks.Attack, with a name", got)
    return thing


def make_attacks(
    names: Iterable[str], *, variant: str = LIBRARY, solver: str | None = None, many: bool = False
) -> dict[str, Attack]:
    """Several attacks by name, of more than two classes if there are `many`; a solver goes to those that take one.

    Parameters
    ----------
    names : iterable of str
    variant : str
        A key of `VARIANTS`.
    solver : str, optional
    many : bool

    Raises
    ------
    InputError
        If a name or the solver is unknown, or if a solver is named and no attack takes one.
    """
    names = tuple(names)
    solver = chosen_solver(solver)
    given: dict[str, dict[str, Any]] = {
        name: {"solver": solver} if solver is not None and takes_solver(name, many) else {} for name in names
    }
    if solver is not None and not any(given.values()):
        able = ", ".join(name for name in (MANY if many else ATTACKS) if takes_solver(name, many)) or "none"
        raise InputError(f"an attack that takes a solver, among {able}", ", ".join(names))
    chosen: dict[str, Any] = {} if variant == LIBRARY else {"variant": variant}
    if many:
        chosen["many"] = True
    return {name: make_attack(name, **chosen, **given[name]) for name in names}


def takes_solver(name: str, many: bool = False) -> bool:
    """Whether the attack of a name states programs that a solver of choice can answer."""
    kind = _known(name, many)
    return is_dataclass(kind) and isinstance(kind, type) and any(item.name == "solver" for item in fields(kind))
