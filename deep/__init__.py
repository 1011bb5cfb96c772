"""Networks: any torch module as a `Risk`, its trainers, and the last layer. The room of torch.

`TorchRisk`
    any torch module, on any device, over arrays, tensors or a torch Dataset, in chunks of fixed memory: what
    `linpoison.risk` and the attacks of `linpoison.attacks.gradient` work on, as on a linear model.
`NetworkLearner`
    a module and its trainer as the learner of a `Scenario`: what `Attack.run` then attacks, behind any defence.
`SGDTrainer`
    learning from scratch as networks are trained in practice.
`FunctionTrainer`
    learning by a function of one's own, ``train(module, dataset, seed) -> module``.
`poison_dataset`, `save_images`, `load_images`, `save_tensors`, `load_tensors`
    poison as a torch Dataset and as pictures; networks as safetensors.
`LeaderNetwork`, `pretrain`
    poison rows as the output of a network, for TGDA; an attacker that returns the rows it is given, to start from.
`FeatureCollision`, `Collided`
    rows of a network's input with given features: poison of the last layer carried back.
`RiskLearner`, `RiskRows`
    a risk and its trainer as the learner of the defences of `linpoison.defenses`: TRIM, SEVER and the others; what it
    has learned, as they look at it.
`PGAN`, `Recoloring`
    poison of a generator; for `MetaPoison`, pictures within a bound on pixels and another on colours.
`FinePruning`
    a trainer that takes out of what it learned the units that clean rows leave idle, and tunes the rest on these.
`Torchrun`
    poison rows spread over processes.
`make_model`
    the networks of the papers.

Attacks take derivatives in evaluation mode; trainers train in training mode. Parameters are flat float64 tensors, in
the order in which the module names them.

The audit of `linpoison` speaks of linear classifiers. A network whose last layer is linear is one, on the features of
the layers before it: `features` and `linear_model_of` make the two meet.

Along come, from `linpoison.risk` and `linpoison.attacks.gradient`, `Sample`, `Adam`, `LBFGS`, `LBFGSTrainer`,
`accuracy`, and the attacks `Canceler`, `FixedModelAttack`, `GradPC`, `GradientMatching`, `TGDA`, `BackGradient`,
`MetaPoison` and `AlternatingMinMax`.

``python -m deep`` is the command line. Nothing here needs cvxpy.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in `typing`, which takes a while to load, when Ctrl-C would still be a traceback
if TYPE_CHECKING:
    from typing import Any

    from linpoison.attacks.gradient import (
        TGDA,
        AlternatingMinMax,
        BackGradient,
        Canceler,
        FixedModelAttack,
        GradientMatching,
        GradPC,
        MetaPoison,
    )
    from linpoison.risk import LBFGS, Adam, LBFGSTrainer, Sample, accuracy

    from .collision import Collided, FeatureCollision
    from .defending import RiskLearner, RiskRows
    from .fine_pruning import FinePruning
    from .function_trainer import FunctionTrainer
    from .head import features, linear_model_of
    from .interchange import load_images, poison_dataset, save_images
    from .leaders import LeaderNetwork, pretrain
    from .learner import NetworkLearner
    from .models import make_model
    from .parallel import Torchrun
    from .pgan import PGAN
    from .recolor import Recoloring
    from .sgd import SGDTrainer
    from .tensors import load_tensors, save_tensors
    from .torch_risk import TorchRisk

_WHERE = {
    ".collision": "Collided FeatureCollision",
    ".defending": "RiskLearner RiskRows",
    ".fine_pruning": "FinePruning",
    ".function_trainer": "FunctionTrainer",
    ".head": "features linear_model_of",
    ".interchange": "load_images poison_dataset save_images",
    ".leaders": "LeaderNetwork pretrain",
    ".learner": "NetworkLearner",
    ".models": "make_model",
    ".parallel": "Torchrun",
    ".pgan": "PGAN",
    ".recolor": "Recoloring",
    ".sgd": "SGDTrainer",
    ".tensors": "load_tensors save_tensors",
    ".torch_risk": "TorchRisk",
    "linpoison.attacks.gradient": (
        "AlternatingMinMax BackGradient Canceler FixedModelAttack GradPC GradientMatching MetaPoison TGDA"
    ),
    "linpoison.risk": "Adam LBFGS LBFGSTrainer Sample accuracy",
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = [
    "Adam",
    "AlternatingMinMax",
    "BackGradient",
    "Canceler",
    "Collided",
    "FeatureCollision",
    "FinePruning",
    "FixedModelAttack",
    "FunctionTrainer",
    "GradPC",
    "GradientMatching",
    "LBFGS",
    "LBFGSTrainer",
    "LeaderNetwork",
    "MetaPoison",
    "NetworkLearner",
    "PGAN",
    "Recoloring",
    "RiskLearner",
    "RiskRows",
    "SGDTrainer",
    "Sample",
    "TGDA",
    "TorchRisk",
    "Torchrun",
    "accuracy",
    "features",
    "linear_model_of",
    "load_images",
    "load_tensors",
    "make_model",
    "poison_dataset",
    "pretrain",
    "save_images",
    "save_tensors",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
