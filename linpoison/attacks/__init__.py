"""Attacks: each builds the strongest poison it can for a scenario."""

from ..core.journal import Journal
from ..optimality.stationarity import KKTSolution, Stationarity
from .aim import Aim
from .alfa import ALFA
from .base import Attack
from .breakdown import Breakdown
from .decoys import Decoy, LabelFlipDecoys, pareto_front
from .exchange import Exchange
from .feasible import FeasibleRegion, SetPolicy
from .gradient_canceling import DecoyCanceler, GradientCanceling
from .influence import Influence, InfluenceBasic
from .iterative import Iterative
from .kkt import KKT, IterativeKKT, KKTGrid
from .kkt_program import KKTProgram
from .loss_gap import GapOracle
from .minmax import MinMax, MinMaxBasic
from .model_targeted import ModelTargeted, rows_needed
from .random_flips import RandomFlips
from .refined import Refined
from .run import Progress, Run
from .saddle import SaddleProgram
from .scenario import Scenario
from .variants import ATTACKS, MANY, MANY_AS_PUBLISHED, VARIANTS, as_attack, find_attack, make_attack, make_attacks

__all__ = [
    "ALFA",
    "ATTACKS",
    "KKT",
    "MANY",
    "MANY_AS_PUBLISHED",
    "VARIANTS",
    "Aim",
    "Attack",
    "Breakdown",
    "Decoy",
    "DecoyCanceler",
    "Exchange",
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
    "Run",
    "SaddleProgram",
    "Scenario",
    "SetPolicy",
    "Stationarity",
    "as_attack",
    "find_attack",
    "make_attack",
    "make_attacks",
    "pareto_front",
    "rows_needed",
]
