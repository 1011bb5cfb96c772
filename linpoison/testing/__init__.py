"""Contracts: what every attack and every defence keeps, as functions to run on one of your own."""

from .attacks import check_attack
from .defenses import check_defense

__all__ = ["check_attack", "check_defense"]
