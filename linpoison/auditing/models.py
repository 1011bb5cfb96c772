"""Losses by the names that commands take, and losses of someone else."""

from __future__ import annotations

from typing import Any

from ..core import InputError
from ..core.plugins import Named, named, offered
from ..losses import LOSSES, CrammerSinger, Hinge, Logistic, MarginLoss, MultiLoss, Softmax, Squared, as_loss, make_loss

MODELS: dict[str, type[MarginLoss]] = {"svm": Hinge, "logistic": Logistic, "ridge": Squared}
"""Loss of each model name."""
MANY_MODELS: dict[str, type[MultiLoss]] = {"svm": CrammerSinger, "logistic": Softmax}
"""The same of more than two classes."""


def checked_model(model: Any) -> str:
    """A name that stands for a loss; where it is a loss itself, that of the loss."""
    if hasattr(model, "margin_at_loss") and not isinstance(model, type):
        return named([model], "losses", lambda loss: str(loss.name))[0]
    known = isinstance(model, str) and (isinstance(model, Named) or model in {*MODELS, *LOSSES})
    if not known and not (isinstance(model, str) and offered("losses", model)):
        expected = f"model among {', '.join(MODELS)}, of an entry point linpoison.losses, or a loss as an object"
        raise InputError(expected, repr(model))
    return str(model) if not isinstance(model, Named) else model


def loss_of(model: str) -> MarginLoss:
    """The loss that a name stands for."""
    if isinstance(model, Named):
        return as_loss(model.thing)
    return MODELS[model]() if model in MODELS else make_loss(model)
