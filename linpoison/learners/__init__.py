"""Learners: what the defender does with the rows, exactly, fast or as a conic reference."""

from .base import Learner, LearnerWarning, ProvenFit, is_learner
from .classifier import LinearClassifier
from .factory import make_learner
from .library import LogisticLearner, RidgeLearner
from .multi import AdaGradLearner, LibraryLearner, MultiLearner, MultiReferenceLearner, NewtonLearner
from .multi_newton import newton_multi
from .reference import ReferenceLearner
from .smooth import SmoothLearner
from .svm import HingeLearner
from .svm_warm import WarmFit, warm_hinge
from .translate import TranslatedModel, translate_estimator

__all__ = [
    "AdaGradLearner",
    "HingeLearner",
    "Learner",
    "LearnerWarning",
    "LibraryLearner",
    "LinearClassifier",
    "LogisticLearner",
    "MultiLearner",
    "MultiReferenceLearner",
    "NewtonLearner",
    "ProvenFit",
    "ReferenceLearner",
    "RidgeLearner",
    "SmoothLearner",
    "TranslatedModel",
    "WarmFit",
    "is_learner",
    "make_learner",
    "newton_multi",
    "translate_estimator",
    "warm_hinge",
]
