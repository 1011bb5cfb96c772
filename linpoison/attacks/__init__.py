"""Attacks: each builds the strongest poison it can for a scenario."""

from collections.abc import Callable
from typing import Any

from ..core.errors import InputError
from ..optimality.stationarity import KKTSolution, Stationarity
from .alfa import ALFA
from .base import Attack, Journal, Progress, Scenario
from .decoys import Decoy, LabelFlipDecoys, pareto_front
from .feasible import FeasibleRegion, SetPolicy
from .gradient_canceling import Canceler, GradientCanceling
from .influence import Influence, InfluenceBasic
from .iterative import Iterative
from .kkt import KKT, IterativeKKT
from .kkt_grid import KKTGrid
from .kkt_program import KKTProgram
from .loss_gap import GapOracle
from .minmax import MinMax, MinMaxBasic
from .model_targeted import ModelTargeted, rows_needed
from .random_flips import RandomFlips
from .refined import Refined
from .saddle import SaddleProgram

ATTACKS: dict[str, Callable[..., Attack]] = {
    attack.name: attack
    for attack in (
        RandomFlips,
        ALFA,
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


def make_attack(name: str, **options: Any) -> Attack:
    """The attack of a name; options are those of its class."""
    if name not in ATTACKS:
        raise InputError(f"an attack among {', '.join(ATTACKS)}", repr(name))
    return ATTACKS[name](**options)


__all__ = [
    "ALFA",
    "ATTACKS",
    "KKT",
    "Attack",
    "Canceler",
    "Decoy",
    "FeasibleRegion",
    "GapOracle",
    "GradientCanceling",
    "Influence",
    "InfluenceBasic",
    "Iterative",
    "IterativeKKT",
    "Journal",
    "KKTGrid",
    "KKTProgram",
    "KKTSolution",
    "LabelFlipDecoys",
    "MinMax",
    "MinMaxBasic",
    "ModelTargeted",
    "Progress",
    "RandomFlips",
    "Refined",
    "SaddleProgram",
    "Scenario",
    "SetPolicy",
    "Stationarity",
    "make_attack",
    "pareto_front",
    "rows_needed",
]
