"""Training a network from scratch, as practice does: batches, momentum, training mode."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Any, Literal

import numpy as np

from linpoison.core import InputError, SolverFailed, check_among, check_integer, check_number
from linpoison.risk.arrays import norm
from linpoison.risk.descent import Progress, silent
from linpoison.risk.samples import Sample
from linpoison.risk.training import Trained, objective

from .need_torch import torch
from .torch_modules import untouched
from .torch_risk import TorchRisk

_DIVERGED = "the training loss is no longer a number. Take a smaller step."


class ModuleTrainer(ABC):
    """Learns a module from scratch, in training mode, its random numbers those of a seed; a subclass says how."""

    deterministic: bool
    tol: float = 0.0

    def _fit(self, risk: TorchRisk, data: Sample, seed: int, progress: Progress) -> Trained:
        began, index = time.perf_counter(), _copies(data)
        learner, rows = risk.on(risk.fresh_module(seed)), data.take(range(data.n))
        learner.look(data.X, data.y)
        X, y = learner.rows(rows.X), learner.targets(rows.y, rows.X)
        _begin(learner.module, learner.layout.names)
        with deterministic(self.deterministic), torch.random.fork_rng(devices=_devices(X)):
            torch.manual_seed(seed)
            module = self._train(learner, (X, y, index), seed, progress)
        learner = risk.learned(module)
        w = learner.current
        size, loss = norm(learner.grad(w, data.X, data.y, data.weights)), objective(learner, w, data)
        if not isfinite(loss):
            raise SolverFailed(_DIVERGED)
        return Trained(learner, w, loss, size, self.tol > 0 and size <= self.tol, time.perf_counter() - began)

    @abstractmethod
    def _train(self, learner: TorchRisk, rows: Any, seed: int, progress: Progress) -> Any:
        """The learner's module after training on rows: X, y, and which of them, copies counted."""


class EpochTrainer(ModuleTrainer):
    """Learns the objective of a `TorchRisk` from scratch, batch by batch, in training mode.

    Dropout is on, batch statistics are learned, and the result's risk has them. A subclass says the rule that moves
    parameters, and what is done to a batch.
    """

    epochs: int
    batch_size: int
    step: float
    copies: int
    noise: float

    def __post_init__(self) -> None:
        check_integer(self.epochs, "epochs", at_least=1)
        check_integer(self.batch_size, "batch_size", at_least=1)
        check_number(self.step, "step", above=0)
        check_integer(self.copies, "copies", at_least=1)
        check_number(self.noise, "noise", at_least=0)
        if self.copies > 1 and not self._perturbs:
            raise InputError("copies of a row that differ", f"{self.copies} equal ones", "Say `noise` too.")
        check_number(self.tol, "tol", at_least=0)

    def fit(self, risk: TorchRisk, data: Sample, *, seed: int = 0, progress: Progress = silent) -> Trained:
        """Learn from scratch.

        Parameters
        ----------
        risk : TorchRisk
            Its module is left as it is. Parameters outside `params` stay frozen at the module's values, and layers
            of which all parameters are outside stay in evaluation mode.
        data : Sample
            Rows with whole numbers of copies.
        seed : int, default 0
            Of the parameters to start from, dropout, the order of rows and what is done to them.
        progress : callable, optional
            Called with the epoch and the loss of its last batch.

        Raises
        ------
        InputError
            For copies that are not whole.
        SolverFailed
            If the loss stops being a number.
        """
        return self._fit(risk, data, seed, progress)

    def _train(self, learner: TorchRisk, rows: Any, seed: int, progress: Progress) -> Any:
        module, (X, y, index), generator = learner.module, rows, torch.Generator().manual_seed(seed)
        X, own = self._placed(module, X), dict(module.named_parameters())
        rule = self._rule([own[name] for name in learner.layout.names])
        batches = -(-len(index) // self.batch_size)
        for epoch in range(self.epochs):
            order = index[self._order(len(index), generator)].to(X.device)
            for number, part in enumerate(order.split(self.batch_size)):
                rule.param_groups[0]["lr"] = self._length(epoch * batches + number, batches * self.epochs)
                rule.zero_grad(set_to_none=True)
                loss = self._loss(learner, module, X[part], y[part])
                whole = [part for part in (learner.penalty(own), self._penalty(module)) if part is not None]
                sum(whole, loss).backward()
                rule.step()
            if not bool(torch.isfinite(loss)):
                raise SolverFailed(_DIVERGED)
            progress(epoch + 1, float(loss.detach()))
        return module

    def _loss(self, learner: TorchRisk, module: Any, x: Any, y: Any) -> Any:
        """Mean loss of a batch, of each row that of its worst copy: MaxUp, whose slope is that of these copies."""
        if self.copies == 1:
            return learner.training_loss(self._outputs(learner, module, self._noisy(x)), y)
        many = torch.cat([self._noisy(x) for _ in range(self.copies)])
        losses = learner.loss_of(self._outputs(learner, module, many), torch.cat([y] * self.copies))
        return losses.reshape(self.copies, -1).amax(dim=0).mean()

    def _noisy(self, x: Any) -> Any:
        if self.noise and not x.is_floating_point():
            raise InputError("rows of real numbers, which noise moves", f"{x.dtype}", "Train without `noise`.")
        return x + self.noise * torch.randn_like(x) if self.noise else x

    @property
    def _perturbs(self) -> bool:
        """Whether copies of a row differ."""
        return self.noise > 0

    @abstractmethod
    def _rule(self, parameters: list[Any]) -> Any:
        """The optimiser of torch that moves these."""

    def _placed(self, module: Any, X: Any) -> Any:
        """The rows as batches are taken of them, and the module in the same layout."""
        return X

    def _order(self, n: int, generator: Any) -> Any:
        """In which rows come in an epoch."""
        return torch.randperm(n, generator=generator)

    def _length(self, done: int, total: int) -> float:
        """Of the step after so many batches."""
        return self.step

    def _outputs(self, learner: TorchRisk, module: Any, x: Any) -> Any:
        """Of a batch, with their graph."""
        return learner.training_outputs(module, x)

    def _penalty(self, module: Any) -> Any:
        """What is minimised beside the risk's objective, if anything."""
        return None


@dataclass(frozen=True)
class SGDTrainer(EpochTrainer):
    """Stochastic gradient descent on the objective of a `TorchRisk`, from parameters drawn anew.

    The regulariser is the risk's. Rows are held on the module's device; the order of batches comes from a generator of
    its own, so that a seed gives the same model again on the same device and build.

    Parameters
    ----------
    epochs : int, default 100
    batch_size : int, default 128
    step : float, default 0.1
    momentum : float, default 0
    schedule : {"cosine", "constant"}, default "constant"
        Of the step, over all batches.
    bf16, channels_last : bool, default False
        Faster on a GPU; for training and accuracy only, derivatives of attacks never use them.
    deterministic : bool, default True
        Refuse operations that are not.
    tol : float, default 0
        Length of the final gradient that counts as converged.
    copies : int, default 1
        MaxUp: of so many perturbed copies of a row, drawn anew for each batch, that of greatest loss is learned. A
        step takes as many times longer.
    noise : float, default 0
        Standard deviation of the normal numbers that each copy of a row has added, in units of the rows.

    References
    ----------
    Gong et al., "MaxUp: a simple way to improve generalization of neural network training", 2020, equation (2).

    Examples
    --------
    >>> X = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    >>> risk = TorchRisk(torch.nn.Linear(2, 2))
    >>> trainer = SGDTrainer(epochs=20, batch_size=20, copies=4, noise=0.5)
    >>> found = trainer.fit(risk, Sample(X, (X[:, 0] > 0).long()))
    >>> bool((found.predict(X) == (X[:, 0] > 0)).float().mean() > 0.9)
    True
    """

    epochs: int = 100
    batch_size: int = 128
    step: float = 0.1
    momentum: float = 0.0
    schedule: Literal["cosine", "constant"] = "constant"
    bf16: bool = False
    channels_last: bool = False
    deterministic: bool = True
    tol: float = 0.0
    copies: int = 1
    noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.momentum, "momentum", at_least=0, below=1)
        check_among(self.schedule, "the schedule", "cosine", "constant")

    def _rule(self, parameters: list[Any]) -> Any:
        return torch.optim.SGD(parameters, lr=self.step, momentum=self.momentum)

    def _placed(self, module: Any, X: Any) -> Any:
        if not self.channels_last or X.ndim != 4:
            return X
        module.to(memory_format=torch.channels_last)
        return X.to(memory_format=torch.channels_last)

    def _length(self, done: int, total: int) -> float:
        return self.step if self.schedule == "constant" else self.step * (1 + cos(pi * done / total)) / 2

    def _outputs(self, learner: TorchRisk, module: Any, x: Any) -> Any:
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return learner.training_outputs(module, x)


@contextmanager
def deterministic(enabled: bool = True) -> Iterator[None]:
    """Deterministic algorithms of torch; afterwards the settings are what they were.

    On CUDA it sets CUBLAS_WORKSPACE_CONFIG where it is unset, which has to be done before the first product.
    """
    before = torch.get_deterministic_debug_mode()
    benchmark, settings = torch.backends.cudnn.benchmark, torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    if enabled:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        if enabled:
            torch.set_deterministic_debug_mode("error")
            torch.backends.cudnn.benchmark = False
            # no operation reads such memory; filling it costs a network's step a quarter
            settings.fill_uninitialized_memory = False
        yield
    finally:
        settings.fill_uninitialized_memory = filled
        torch.set_deterministic_debug_mode(before)
        torch.backends.cudnn.benchmark = benchmark


def _begin(module: Any, names: list[str]) -> None:
    """Training mode, but in layers of which no parameter is named; gradients for those that are."""
    module.train()
    for part in untouched(module, names):
        part.training = False
    for name, tensor in module.named_parameters():
        tensor.requires_grad_(name in names)


def _copies(data: Sample) -> Any:
    copies = np.round(data.mass)
    if np.abs(copies - data.mass).max() > 1e-9:
        raise InputError("whole numbers of copies", "fractions", "Round the poison, or train with LBFGSTrainer.")
    return torch.as_tensor(np.repeat(np.arange(data.n), copies.astype(np.intp)))


def _devices(X: Any) -> list[int]:
    return [X.device.index or 0] if X.is_cuda else []
