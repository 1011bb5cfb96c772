"""Contracts: what every attack, defence, learner, loss and set keeps, as functions to run on one of your own."""

from .attacks import check_attack
from .defenses import check_defense
from .learners import check_learner
from .losses import check_loss
from .sets import check_set

__all__ = ["check_attack", "check_defense", "check_learner", "check_loss", "check_set"]
