"""Attacks on more than two classes: the min-max attack, and the influence attack on the poison measure."""

from .attack import MultiInfluence, MultiLabelFlips, MultiMinMax
from .far import FarPlan, MultiBreakdown
from .influence import MeasureInfluence
from .minmax_program import MinMaxProgram, MinMaxSolution
from .paper_loop import MultiPaperLoop
from .regions import ball_regions, capped_regions, refitted_regions
from .supports import SupportBatch, Supports

__all__ = [
    "FarPlan",
    "MeasureInfluence",
    "MinMaxProgram",
    "MinMaxSolution",
    "MultiBreakdown",
    "MultiInfluence",
    "MultiLabelFlips",
    "MultiMinMax",
    "MultiPaperLoop",
    "SupportBatch",
    "Supports",
    "ball_regions",
    "capped_regions",
    "refitted_regions",
]
