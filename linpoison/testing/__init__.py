"""Contracts: what every attack, defence and loss keeps, as functions to run on one of your own."""

from .attacks import check_attack
from .defenses import check_defense
from .losses import check_loss

__all__ = ["check_attack", "check_defense", "check_loss"]
