"""More than two classes: learners, defences, the min-max attack and the influence attack."""

from .attacks import MultiInfluence, MultiMinMax
from .decoys import MultiDecoy, MultiLabelFlips
from .evaluation import MultiEvaluation, MultiEvaluator, MultiLossDefense
from .influence import MeasureInfluence
from .learners import AdaGradLearner, LibraryLearner, MultiLearner, ReferenceLearner, make_multi_learner
from .losses import CrammerSinger, MultiLoss, Softmax
from .minmax_program import MinMaxProgram, MinMaxSolution
from .paper_loop import MultiPaperLoop
from .problem import MultiProblem
from .regions import ball_regions, capped_regions, loss_halfspaces, refitted_regions
from .results import MultiResult, MultiScenario
from .supports import SupportBatch, Supports

__all__ = [
    "AdaGradLearner",
    "CrammerSinger",
    "LibraryLearner",
    "MeasureInfluence",
    "MinMaxProgram",
    "MinMaxSolution",
    "MultiDecoy",
    "MultiEvaluation",
    "MultiEvaluator",
    "MultiInfluence",
    "MultiLabelFlips",
    "MultiLearner",
    "MultiLoss",
    "MultiLossDefense",
    "MultiMinMax",
    "MultiPaperLoop",
    "MultiProblem",
    "MultiResult",
    "MultiScenario",
    "ReferenceLearner",
    "Softmax",
    "SupportBatch",
    "Supports",
    "ball_regions",
    "capped_regions",
    "loss_halfspaces",
    "make_multi_learner",
    "refitted_regions",
]
