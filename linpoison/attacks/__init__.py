"""Attacks: each builds the strongest poison it can for a scenario."""

from collections.abc import Callable
from typing import Any

from ..core.errors import InputError
from .base import Attack, Journal, Progress, Scenario
from .decoys import Decoy, LabelFlipDecoys, pareto_front
from .feasible import FeasibleRegion, SetPolicy
from .kkt import KKT
from .kkt_grid import KKTGrid
from .kkt_program import KKTProgram, KKTSolution, Stationarity

ATTACKS: dict[str, Callable[..., Attack]] = {attack.name: attack for attack in (KKT, KKTGrid)}


def make_attack(name: str, **options: Any) -> Attack:
    """The attack of a name; options are those of its class."""
    if name not in ATTACKS:
        raise InputError(f"an attack among {', '.join(ATTACKS)}", repr(name))
    return ATTACKS[name](**options)


__all__ = [
    "ATTACKS",
    "KKT",
    "Attack",
    "Decoy",
    "FeasibleRegion",
    "Journal",
    "KKTGrid",
    "KKTProgram",
    "KKTSolution",
    "LabelFlipDecoys",
    "Progress",
    "Scenario",
    "SetPolicy",
    "Stationarity",
    "make_attack",
    "pareto_front",
]
