"""Networks: derivatives of any torch module, attacks written once for modules and linear models, and the last layer.

Every attack here is one shape: a *parameter-space vector*, pushed through the *mixed derivative* of the loss, then a
*projection*. `RiskModel` (in `deep.protocols`) is what an attack knows of a model; two satisfy it:

`LinearRisk`
    a linear model in numpy, with a margin loss of the core or with cross-entropy;
`TorchRisk`
    any torch module, on any device, over arrays, tensors or a torch Dataset, in chunks of fixed memory.

On these stand, each written once for both:

`GradientCanceling`, `closed_form_gc`, `reachability`
    poison that makes given parameters stationary; for logistic regression, without an optimiser; the least mass needed.
`GradPC`, `Given`
    parameters to plant.
`total_gradient`, `FixedModelAttack`, `GradientMatching`
    the derivative of a validation loss through what is learned; gradient optimisation and influence; matched gradients.
`TGDA`, with `DirectRows` or a pretrained `LeaderNetwork`
    poison against what a learner becomes, in turns with it: a `Game`. `pretrain`: an attacker that returns the rows
    it is given, to start from. `flip_labels`: the baseline without any thought.
    `conflicting_rows`: long rows that no learner can fit.
`PoisonObjective` with the fields `Cancel`, `Align`, `Match`
    what the attacks above minimise: another attack is another field.
`ProjectedGradient`, `Adam`, `LBFGS`
    how rows move. `Everywhere`, `Box`, `L2Ball`, `L2AroundSeed`, `LinfAroundSeed`, `Sphere`, `Tied`, `Intersection`:
    where they may lie.
`CG`, `MINRES`, `Dense`, `Neumann`, `Identity`
    ``H x = b`` from products with H.
`LBFGSTrainer`, `SGDTrainer`
    learning from scratch: in evaluation mode to a certified gradient; as networks are trained in practice.
`RiskLearner`
    a risk and its trainer as the learner of the defences of `linpoison.defenses`: TRIM, SEVER and the others.
    `RiskRows`: what it has learned, as they look at it.
`Torchrun`
    poison rows spread over processes.
`make_model`
    the networks of the papers.

Data come as a `Sample`: rows, labels, copies. Parameters are flat float64 vectors (ndarray or tensor, as the risk is),
in the order in which the module names them. Attacks take derivatives in evaluation mode; trainers train in training
mode.

The audit of `linpoison` speaks of linear classifiers. A network whose last layer is linear is one, on the features of
the layers before it: `features` and `linear_model_of` make the two meet.

``python -m deep`` is the command line. Nothing here needs cvxpy, and what does not touch a torch module needs no torch.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in `typing`, which takes a while to load, when Ctrl-C would still be a traceback
if TYPE_CHECKING:
    from typing import Any

    from .canceling import Canceling, GradientCanceling, accuracy, relative_distance
    from .closed_form import OnePoint, closed_form_gc
    from .conflict import conflicting_rows
    from .defending import RiskLearner, RiskRows
    from .descent import LBFGS, Adam, Descent, ProjectedGradient
    from .fields import Align, Cancel, Match, PoisonObjective
    from .flips import flip_labels
    from .head import features, linear_model_of
    from .implicit import (
        Crafted,
        FixedModelAttack,
        GradientMatching,
        TotalGradient,
        hessian,
        sampled_hessian,
        total_gradient,
    )
    from .leaders import LeaderNetwork, pretrain
    from .linear_risk import LinearRisk
    from .models import make_model
    from .parallel import Torchrun
    from .parameters import DirectRows
    from .projections import Box, Everywhere, Intersection, L2AroundSeed, L2Ball, LinfAroundSeed, Sphere, Tied
    from .protocols import InverseHVP, PoisonParameters, Projection, RiskModel, Solution, TargetGenerator, Trainer
    from .ranks import Alone
    from .samples import Sample
    from .sgd import SGDTrainer
    from .solvers import CG, MINRES, Dense, Identity, Neumann
    from .targets import Given, GradPC
    from .tgda import TGDA, Game
    from .thresholds import Reachability, reachability
    from .torch_risk import TorchRisk
    from .training import LBFGSTrainer, Trained, objective

_WHERE = {
    "canceling": "Canceling GradientCanceling accuracy relative_distance",
    "closed_form": "OnePoint closed_form_gc",
    "conflict": "conflicting_rows",
    "defending": "RiskLearner RiskRows",
    "descent": "Adam Descent LBFGS ProjectedGradient",
    "fields": "Align Cancel Match PoisonObjective",
    "flips": "flip_labels",
    "head": "features linear_model_of",
    "implicit": "Crafted FixedModelAttack GradientMatching TotalGradient hessian sampled_hessian total_gradient",
    "leaders": "LeaderNetwork pretrain",
    "linear_risk": "LinearRisk",
    "models": "make_model",
    "parallel": "Torchrun",
    "parameters": "DirectRows",
    "projections": "Box Everywhere Intersection L2AroundSeed L2Ball LinfAroundSeed Sphere Tied",
    "protocols": "InverseHVP PoisonParameters Projection RiskModel Solution TargetGenerator Trainer",
    "ranks": "Alone",
    "samples": "Sample",
    "sgd": "SGDTrainer",
    "solvers": "CG Dense Identity MINRES Neumann",
    "targets": "Given GradPC",
    "tgda": "Game TGDA",
    "thresholds": "Reachability reachability",
    "torch_risk": "TorchRisk",
    "training": "LBFGSTrainer Trained objective",
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = [
    "CG",
    "LBFGS",
    "MINRES",
    "TGDA",
    "Adam",
    "Align",
    "Alone",
    "Box",
    "Cancel",
    "Canceling",
    "Crafted",
    "Dense",
    "Descent",
    "DirectRows",
    "Everywhere",
    "FixedModelAttack",
    "Game",
    "Given",
    "GradPC",
    "GradientCanceling",
    "GradientMatching",
    "Identity",
    "Intersection",
    "InverseHVP",
    "L2AroundSeed",
    "L2Ball",
    "LBFGSTrainer",
    "LeaderNetwork",
    "LinearRisk",
    "LinfAroundSeed",
    "Match",
    "Neumann",
    "OnePoint",
    "PoisonObjective",
    "PoisonParameters",
    "ProjectedGradient",
    "Projection",
    "Reachability",
    "RiskLearner",
    "RiskModel",
    "RiskRows",
    "SGDTrainer",
    "Sample",
    "Solution",
    "Sphere",
    "TargetGenerator",
    "Tied",
    "TorchRisk",
    "Torchrun",
    "TotalGradient",
    "Trained",
    "Trainer",
    "accuracy",
    "closed_form_gc",
    "conflicting_rows",
    "features",
    "flip_labels",
    "hessian",
    "linear_model_of",
    "make_model",
    "objective",
    "pretrain",
    "reachability",
    "relative_distance",
    "sampled_hessian",
    "total_gradient",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
