"""Margin losses (value, derivatives, cvxpy expression, constants) and the learning problem built on them."""

from ..core.plugins import find
from .base import MarginLoss
from .hinge import Hinge, SquaredHinge
from .multi import CrammerSinger, MultiLoss, Softmax
from .multi_problem import MultiProblem
from .problem import Problem
from .smooth import Logistic, SmoothHinge
from .squared import Squared

LOSSES: dict[str, type[MarginLoss]] = {
    loss.name: loss for loss in (Hinge, SquaredHinge, SmoothHinge, Logistic, Squared)
}


def make_loss(name: str, **parameters: float) -> MarginLoss:
    """The loss of a name, with its default parameters or with others (see `MarginLoss.parameters`).

    A loss of someone else is a class registered under the entry points ``linpoison.losses``.
    """
    loss: MarginLoss = find("losses", name, LOSSES, "a loss")(**parameters)
    return loss


def as_loss(loss: str | MarginLoss) -> MarginLoss:
    """A loss, or the one of a name."""
    return loss if isinstance(loss, MarginLoss) else make_loss(loss)


__all__ = [
    "LOSSES",
    "CrammerSinger",
    "Hinge",
    "Logistic",
    "MarginLoss",
    "MultiLoss",
    "MultiProblem",
    "Problem",
    "SmoothHinge",
    "Softmax",
    "Squared",
    "SquaredHinge",
    "as_loss",
    "make_loss",
]
