"""The losses of the core as torch functions of a module's outputs, one number for each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from linpoison.core import InputError
from linpoison.losses import LOSSES, MarginLoss, Squared, SquaredHinge, make_loss

from .need_torch import torch
from .outputs import scores_of

Loss = Callable[[Any, Any], Any]
"""From outputs of shape (n, ...) and labels (n,) to losses (n,)."""
FORMS: dict[type[MarginLoss], Callable[[Any], Any]] = {
    SquaredHinge: lambda m: torch.relu(1 - m) ** 2 / 2,
    Squared: lambda m: (1 - m) ** 2 / 2,
}
"""Losses of margins that are no soft hinge, in torch."""


def resolve(loss: str | MarginLoss | Loss) -> tuple[Loss, MarginLoss | None]:
    """The torch function of a loss, and the margin loss that it is, if it is one.

    Parameters
    ----------
    loss : str, MarginLoss or callable
        "cross_entropy", the name of a loss of `linpoison.losses`, one of those losses, or any function of
        outputs and labels that gives one number for each row and depends on no other row.
    """
    if loss == "cross_entropy":
        return cross_entropy, None
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise InputError(f"a loss among cross_entropy, {', '.join(LOSSES)}", repr(loss))
        loss = make_loss(loss)
    if isinstance(loss, MarginLoss):
        return _of_margins(loss), loss
    if not callable(loss):
        raise InputError("a loss: a name, a loss of linpoison.losses or a function", repr(loss))
    return loss, None


def cross_entropy(outputs: Any, y: Any) -> Any:
    """Cross-entropy of each row; outputs that are log-probabilities already are left as they are."""
    count_classes(outputs)
    return torch.nn.functional.cross_entropy(outputs, y, reduction="none")


def count_classes(outputs: Any) -> int:
    """Number of classes of outputs for cross-entropy, InputError for others."""
    if scores_of(outputs).ndim != 2:
        raise InputError("outputs of shape (n, classes) for cross-entropy", f"shape {tuple(outputs.shape)}")
    return int(outputs.shape[1])


def _of_margins(loss: MarginLoss) -> Loss:
    phi = _phi(loss)

    def of_rows(outputs: Any, y: Any) -> Any:
        if scores_of(outputs).numel() != len(y):
            raise InputError("one output for each row with a margin loss", f"outputs of shape {tuple(outputs.shape)}")
        return phi(y * outputs.reshape(-1))

    return of_rows


def _phi(loss: MarginLoss) -> Callable[[Any], Any]:
    if loss.soft_hinge is not None:
        kink, width = loss.soft_hinge
        return lambda m: torch.relu(kink - m) if width == 0 else width * _softplus((kink - m) / width)
    if type(loss) not in FORMS:
        raise InputError("a margin loss of linpoison.losses", repr(loss), "Give a torch function instead.")
    return FORMS[type(loss)]


def _softplus(t: Any) -> Any:
    """``log(1 + exp(t))``, smooth at 0, without the cut-off of torch.nn.functional.softplus, which costs 2e-9."""
    return -torch.nn.functional.logsigmoid(-t)
