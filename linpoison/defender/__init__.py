"""Learner and defences together, what they have computed once, and what a poison does to them."""

from .defender import Defender, Evaluation

__all__ = ["Defender", "Evaluation"]
