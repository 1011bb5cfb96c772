"""Losses by the names that commands take, losses and learners of someone else, and class weights in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import InputError, as_number, check_number, check_once
from ..core.plugins import Named, named, offered
from ..learners import Learner, is_learner
from ..losses import LOSSES, CrammerSinger, Hinge, Logistic, MarginLoss, MultiLoss, Softmax, Squared, as_loss, make_loss

MODELS: dict[str, type[MarginLoss]] = {"svm": Hinge, "logistic": Logistic, "ridge": Squared}
"""Loss of each model name."""
MANY_MODELS: dict[str, type[MultiLoss]] = {"svm": CrammerSinger, "logistic": Softmax}
"""The same of more than two classes."""


def checked_model(model: Any) -> str:
    """A name that stands for a loss or a learner; where it is one itself, that of the loss or of its class."""
    if is_learner(model):
        return named([model], "learners", lambda learner: type(learner).__name__)[0]
    if hasattr(model, "margin_at_loss") and not isinstance(model, type):
        return named([model], "losses", lambda loss: str(loss.name))[0]
    known = isinstance(model, str) and (isinstance(model, Named) or model in {*MODELS, *LOSSES})
    if not known and not (isinstance(model, str) and (offered("losses", model) or offered("learners", model))):
        expected = (
            f"model among {', '.join(MODELS)}, of an entry point linpoison.losses or linpoison.learners, or a loss or "
            "a learner as an object"
        )
        raise InputError(expected, repr(model))
    return str(model) if not isinstance(model, Named) else model


def loss_of(model: str) -> MarginLoss:
    """The loss that a name stands for."""
    if isinstance(model, Named):
        return as_loss(model.thing)
    return MODELS[model]() if model in MODELS else make_loss(model)


def learner_of(model: Any) -> Learner | None:
    """The learner of someone else that a name stands for; None where it stands for a loss.

    Raises
    ------
    InputError
        If what a package registers as a learner is none.
    """
    if isinstance(model, Named):
        return model.thing if is_learner(model.thing) else None
    if model is None or model in {*MODELS, *LOSSES}:
        return None
    thing = offered("learners", model)
    made = thing() if isinstance(thing, type) else thing
    if made is not None and not is_learner(made):
        raise InputError(f"a learner behind {model}: an object of a subclass of linpoison.learners.Learner", repr(made))
    return made


REMEDY = "Such as balanced, or spam=4,ham=1; by rows with sample_weight."


def class_weight_text(given: Any) -> str | None:
    """Class weights as a command line has them."""
    if isinstance(given, Mapping):
        given = ",".join(f"{label}={weight}" for label, weight in given.items())
    if given is None or isinstance(given, str):
        return given
    raise InputError("class weights as 'balanced' or by label value", repr(given), REMEDY)


def class_weight_of(text: str | None, labels: list[Any]) -> Any:
    """Weights of the classes -1 and +1, "balanced", or None."""
    if text is None or text == "balanced":
        return text
    found = dict.fromkeys(map(str, labels), 1.0)
    parts = [part.rpartition("=") for part in text.split(",")]
    names = [label.strip() for label, _, _ in parts]
    check_once(names, "labels of class weights")
    for name, (label, sign, weight) in zip(names, parts, strict=True):
        if name not in found:
            got = repr(f"{label}{sign}{weight}")
            raise InputError(f"class weights of {' and '.join(map(repr, found))}", got, REMEDY)
        found[name] = check_number(as_number(weight), "class weight", above=0)
    return tuple(found.values())
