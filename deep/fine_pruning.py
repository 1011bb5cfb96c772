"""Fine-pruning: units that clean rows leave idle are taken out of a learned network, and the rest learns on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from linpoison.core import CapabilityError, InputError, check_integer, check_number
from linpoison.risk.arrays import to_numpy
from linpoison.risk.checkpoints import digest_of
from linpoison.risk.measuring import accuracy
from linpoison.risk.protocols import Trainer, Vector
from linpoison.risk.samples import Sample
from linpoison.risk.training import Trained

from .need_torch import torch
from .sgd import EpochTrainer
from .statistics import learned, plain, statistics_of
from .torch_modules import last_linear
from .torch_risk import TorchRisk

STEPS = 20
"""Shares of the units that are tried, one after the other."""


@dataclass(frozen=True)
class FinePruning:
    """A trainer that learns from all rows, then prunes what its last linear layer is given, and tunes on clean rows.

    ::

        activity of unit u  =  mean over clean rows of |h_u|,      h = features of `TorchRisk.features`
        taken out           =  the least active units, as many as cost at most `drop` of the accuracy on clean rows

    A unit is taken out by zeros in its columns of the last layer's weight, which stay zero while all other parameters
    are tuned on the clean rows, from where they are. Give it in the place of the trainer it holds: to `RiskTrainer`,
    `RiskLearner` or `NetworkLearner`.

    Parameters
    ----------
    trainer : Trainer
        Of the network that may be poisoned.
    clean : Sample
        Rows known to be clean, with labels as the risk is given them.
    tuning : EpochTrainer, optional
        How the clean rows are learned in the end: `trainer` by default. Its epochs start from the pruned network.
    drop : float, default 0.04
        Accuracy on the clean rows that pruning may cost.
    most : float, default 0.95
        Share of the units that may be taken out.
    width : int, default 1
        Features that form a unit: those of a channel, one after the other, where maps are flattened.

    References
    ----------
    Liu, Dolan-Gavitt, Garg, "Fine-pruning: defending against backdooring attacks on deep neural networks", 2018.
    """

    trainer: Trainer
    clean: Sample = field(repr=False)
    tuning: EpochTrainer | None = None
    drop: float = 0.04
    most: float = 0.95
    width: int = 1
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.clean, Sample):
            remedy = "Give Sample(X, y), of linpoison.risk."
            raise InputError("clean rows as a Sample", type(self.clean).__name__, remedy)
        check_number(self.drop, "drop", at_least=0, below=1)
        check_number(self.most, "most", at_least=0, below=1)
        check_integer(self.width, "width", at_least=1)
        if not isinstance(self.tuning or self.trainer, EpochTrainer):
            got = type(self.tuning or self.trainer).__name__
            raise InputError("an EpochTrainer to tune with", got, "Say tuning=SGDTrainer(epochs=5).")
        object.__setattr__(self, "digest", digest_of(self.clean))

    def fit(self, risk: TorchRisk, data: Sample, *, seed: int = 0) -> Trained:
        """Learn, prune and tune; see `Trained`.

        Raises
        ------
        InputError
            For features that are no whole number of units.
        CapabilityError
            If parts of the last linear layer are not learned.
        """
        found = self.trainer.fit(risk, data, seed=seed)
        w, kept = self.pruned(found.risk, found.w)
        name = _weight(found.risk)
        start = found.risk.on(found.risk.module_at(w), init=partial(_held, name=name, kept=kept))
        rule: Any = self.tuning or self.trainer
        return rule.fit(start, self.clean, seed=seed)  # type: ignore[no-any-return]

    def pruned(self, risk: TorchRisk, w: Vector) -> tuple[Vector, Any]:
        """The parameters without the least active units, and which features are left."""
        activity = np.average(np.abs(to_numpy(risk.features(w, self.clean.X))), axis=0, weights=self.clean.mass)
        inputs = last_linear(risk.module, risk.head_name)[1].in_features
        if activity.size != inputs:
            got = f"{activity.size} numbers for a layer of {inputs}"
            raise CapabilityError("a last linear layer that is given one vector of each row", got, "Name it as `head`.")
        if activity.size % self.width:
            raise InputError(f"a number of features that {self.width} divides", f"{activity.size}")
        units = activity.reshape(-1, self.width).mean(axis=1)
        order, best = np.argsort(units, kind="stable"), (w, np.ones(activity.size, dtype=bool))
        least = accuracy(risk, w, self.clean) - self.drop
        for count in np.unique(np.linspace(0, self.most * units.size, STEPS + 1).astype(int))[1:]:
            kept = np.repeat(~np.isin(np.arange(units.size), order[:count]), self.width)
            trial = _without(risk, w, kept)
            if accuracy(risk, trial, self.clean) < least:
                break
            best = trial, kept
        return best


def _weight(risk: TorchRisk) -> str:
    """Name of the last linear layer's weight."""
    prefix = last_linear(risk.module, risk.head_name)[0]
    return f"{prefix}.weight" if prefix else "weight"


def _without(risk: TorchRisk, w: Vector, kept: Any) -> Vector:
    """`w` with zeros in the last layer's columns of the features that are not kept."""
    _ = risk.head  # refuses a last layer that is not learned
    if not risk.layout.has_head(risk.head_name):
        remedy = "Take out what computes it, such as weight_norm."
        raise CapabilityError("a last linear layer with a weight of its own", "one that is computed", remedy)
    found, name = plain(w).clone(), _weight(risk)
    (part,) = risk.layout.slices(lambda other: other == name)
    found[part].view(-1, len(kept))[:, torch.as_tensor(~kept, device=found.device)] = 0.0
    return learned(found, statistics_of(w))


def _held(module: Any, name: str, kept: Any) -> None:
    """Start from what the module is, and let no gradient reach the columns that are taken out."""
    weight = module.get_parameter(name)
    mask = torch.as_tensor(kept, device=weight.device).to(weight.dtype)
    weight.requires_grad_().register_hook(lambda slope: slope * mask)
