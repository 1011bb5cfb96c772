"""What a poison does after each defence."""

from .evaluator import Evaluation, Evaluator

__all__ = ["Evaluation", "Evaluator"]
