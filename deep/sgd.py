"""Training a network from scratch, as practice does: batches, momentum, training mode."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Any, Literal

import numpy as np

from linpoison.core import InputError, SolverFailed, check_integer, check_number
from linpoison.risk.arrays import norm
from linpoison.risk.descent import Progress, silent
from linpoison.risk.samples import Sample
from linpoison.risk.training import Trained, objective

from .need_torch import torch
from .torch_modules import untouched
from .torch_risk import TorchRisk

_DIVERGED = "the training loss is no longer a number. Take a smaller step."


@dataclass(frozen=True)
class SGDTrainer:
    """Stochastic gradient descent on the objective of a `TorchRisk`, from parameters drawn anew.

    In training mode: dropout is on, batch statistics are learned, and the result's risk has them. The regulariser is
    the risk's. Rows are held on the module's device; the order of batches comes from a generator of its own, so that
    a seed gives the same model again on the same device and build.

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

    def __post_init__(self) -> None:
        check_integer(self.epochs, "epochs", at_least=1)
        check_integer(self.batch_size, "batch_size", at_least=1)
        check_number(self.step, "step", above=0)
        check_number(self.momentum, "momentum", at_least=0, below=1)
        check_number(self.tol, "tol", at_least=0)
        if self.schedule not in ("cosine", "constant"):
            raise InputError("the schedule 'cosine' or 'constant'", repr(self.schedule))

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
            Of the parameters to start from, dropout and the order of rows.
        progress : callable, optional
            Called with the epoch and the loss of its last batch.

        Raises
        ------
        InputError
            For copies that are not whole.
        SolverFailed
            If the loss stops being a number.
        """
        began, index = time.perf_counter(), _copies(data)
        learner = risk.on(risk.fresh_module(seed))
        X, y = batches_of(learner, data)
        with deterministic(self.deterministic), torch.random.fork_rng(devices=_devices(X)):
            torch.manual_seed(seed)
            self._train(learner, (X, y), index, torch.Generator().manual_seed(seed), progress)
        learner = risk.learned(learner.module)
        w = learner.current
        size = norm(learner.grad(w, data.X, data.y, data.weights))
        loss = objective(learner, w, data)
        if not isfinite(loss):
            raise SolverFailed(_DIVERGED)
        return Trained(learner, w, loss, size, size <= self.tol, time.perf_counter() - began)

    def _train(self, learner: TorchRisk, rows: Any, index: Any, generator: Any, progress: Progress) -> None:
        module, (X, y) = learner.module.train(), rows
        for part in untouched(module, learner.layout.names):
            part.training = False
        if self.channels_last and X.ndim == 4:
            module, X = module.to(memory_format=torch.channels_last), X.to(memory_format=torch.channels_last)
        own = dict(module.named_parameters())
        chosen = [own[name] for name in learner.layout.names]
        rule = torch.optim.SGD(chosen, lr=self.step, momentum=self.momentum)
        batches, done = -(-len(index) // self.batch_size), 0
        for epoch in range(self.epochs):
            order = index[torch.randperm(len(index), generator=generator)].to(X.device)
            for part in order.split(self.batch_size):
                if self.schedule == "cosine":
                    rule.param_groups[0]["lr"] = self.step * (1 + cos(pi * done / (batches * self.epochs))) / 2
                rule.zero_grad(set_to_none=True)
                with torch.autocast(X.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                    outputs = learner.training_outputs(module, X[part])
                loss = learner.training_loss(outputs, y[part])
                (loss + learner.penalty(own)).backward()
                rule.step()
                done += 1
            if not bool(torch.isfinite(loss)):
                raise SolverFailed(_DIVERGED)
            progress(epoch + 1, float(loss.detach()))
        module.eval()


@contextmanager
def deterministic(enabled: bool = True) -> Iterator[None]:
    """Deterministic algorithms of torch; afterwards the settings are what they were.

    On CUDA it sets CUBLAS_WORKSPACE_CONFIG where it is unset, which has to be done before the first product.
    """
    before = torch.get_deterministic_debug_mode()
    benchmark = torch.backends.cudnn.benchmark
    if enabled:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        if enabled:
            torch.set_deterministic_debug_mode("error")
            torch.backends.cudnn.benchmark = False
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.backends.cudnn.benchmark = benchmark


def batches_of(learner: TorchRisk, data: Sample) -> tuple[Any, Any]:
    """All rows and labels as the module and the loss take them, held to what training needs."""
    learner.look(data.X, data.y)
    rows = data.take(range(data.n))
    return learner.rows(rows.X), learner.targets(rows.y, rows.X)


def _copies(data: Sample) -> Any:
    copies = np.round(data.mass)
    if np.abs(copies - data.mass).max() > 1e-9:
        raise InputError("whole numbers of copies", "fractions", "Round the poison, or train with LBFGSTrainer.")
    return torch.as_tensor(np.repeat(np.arange(data.n), copies.astype(np.intp)))


def _devices(X: Any) -> list[int]:
    return [X.device.index or 0] if X.is_cuda else []
