"""Training a network with Adam, as the subpopulation paper does: moved pictures, a penalty on the last layer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import isfinite
from typing import Any

from linpoison.core import InputError, SolverFailed, check_integer, check_number
from linpoison.risk.arrays import norm
from linpoison.risk.descent import Progress, silent
from linpoison.risk.samples import Sample
from linpoison.risk.training import Trained, objective

from .need_torch import torch
from .sgd import _DIVERGED, _copies, _devices, batches_of, deterministic
from .torch_modules import last_linear, untouched
from .torch_risk import TorchRisk


@dataclass(frozen=True)
class AdamTrainer:
    """Adam on the objective of a `TorchRisk`, in training mode, from parameters drawn anew.

    ::

        minimise   reg/2 |P w|^2 + mean_i l(module(move(x_i); w), y_i) + head_l2 |W|^2

    with W the weight of the last linear layer, and pictures moved at random, anew in each epoch.

    Parameters
    ----------
    epochs : int, default 12
    batch_size : int, default 32
    step : float, default 1e-3
        The learning rate.
    head_l2 : float, default 0
        0.01 for the VGG-16 of the paper. `Trained.loss` does not contain it.
    shift : float, default 0
        Rows of shape (channels, height, width) are shifted by up to this part of their size, their borders
        repeated: 0.125 for the Conv of the paper.
    mirror : bool, default False
        Half of the rows have left and right exchanged.
    deterministic : bool, default True
        Refuse operations that are not.

    References
    ----------
    Jagielski et al., "Subpopulation data poisoning attacks", 2021, section 5.1.
    """

    epochs: int = 12
    batch_size: int = 32
    step: float = 1e-3
    head_l2: float = 0.0
    shift: float = 0.0
    mirror: bool = False
    deterministic: bool = True

    def __post_init__(self) -> None:
        check_integer(self.epochs, "epochs", at_least=1)
        check_integer(self.batch_size, "batch_size", at_least=1)
        check_number(self.step, "step", above=0)
        check_number(self.head_l2, "head_l2", at_least=0)
        check_number(self.shift, "shift", at_least=0, below=1)

    def fit(self, risk: TorchRisk, data: Sample, *, seed: int = 0, progress: Progress = silent) -> Trained:
        """Learn from scratch; the risk's module is left as it is.

        Parameters
        ----------
        risk : TorchRisk
            Parameters outside `params` stay frozen, and layers that have no others stay in evaluation mode.
        data : Sample
            Rows with whole numbers of copies.
        seed : int, default 0
            Of the parameters to start from, dropout, the order of rows and how they are moved.
        progress : callable, optional
            Called with the epoch and the loss of its last batch.

        Raises
        ------
        InputError
            For copies that are not whole, or rows to move that are no pictures.
        SolverFailed
            If the loss stops being a number.
        """
        began, index = time.perf_counter(), _copies(data)
        learner = risk.on(risk.fresh_module(seed))
        X, y = batches_of(learner, data)
        if (self.shift or self.mirror) and X.ndim != 4:
            raise InputError("rows of shape (channels, height, width) to move", f"shape {tuple(X.shape[1:])}")
        with deterministic(self.deterministic), torch.random.fork_rng(devices=_devices(X)):
            torch.manual_seed(seed)
            self._train(learner, (X, y), index, progress)
        learner = risk.learned(learner.module)
        w = learner.current
        size, loss = norm(learner.grad(w, data.X, data.y, data.weights)), objective(learner, w, data)
        if not isfinite(loss):
            raise SolverFailed(_DIVERGED)
        return Trained(learner, w, loss, size, False, time.perf_counter() - began)

    def _train(self, learner: TorchRisk, rows: Any, index: Any, progress: Progress) -> None:
        module, (X, y) = learner.module.train(), rows
        for part in untouched(module, learner.layout.names):
            part.training = False
        own = dict(module.named_parameters())
        for name, tensor in own.items():
            tensor.requires_grad_(name in learner.layout.names)
        rule = torch.optim.Adam([own[name] for name in learner.layout.names], lr=self.step)
        for epoch in range(self.epochs):
            order = index[torch.randperm(len(index))].to(X.device)
            for part in order.split(self.batch_size):
                rule.zero_grad(set_to_none=True)
                loss = learner.training_loss(learner.training_outputs(module, self._moved(X[part])), y[part])
                (loss + learner.penalty(own) + self._head_penalty(module)).backward()
                rule.step()
            if not bool(torch.isfinite(loss)):
                raise SolverFailed(_DIVERGED)
            progress(epoch + 1, float(loss.detach()))
        module.eval()

    def _head_penalty(self, module: Any) -> Any:
        return self.head_l2 * (last_linear(module)[1].weight ** 2).sum() if self.head_l2 else 0.0

    def _moved(self, x: Any) -> Any:
        if self.shift:
            x = shifted(x, round(self.shift * min(x.shape[2:])))
        if self.mirror:
            turned = (torch.rand(len(x)) < 0.5).to(x.device)
            x = torch.where(turned[:, None, None, None], x.flip(-1), x)
        return x


def shifted(x: Any, most: int) -> Any:
    """Each picture moved by up to `most` pixels in both directions, its border repeated.

    Examples
    --------
    >>> flat = torch.ones(2, 1, 4, 4)
    >>> bool((shifted(flat, 1) == flat).all())
    True
    """
    n, _, height, width = x.shape
    down, right = torch.randint(0, 2 * most + 1, (2, n)).to(x.device)
    padded = torch.nn.functional.pad(x, (most, most, most, most), mode="replicate")
    rows = down[:, None] + torch.arange(height, device=x.device)
    columns = right[:, None] + torch.arange(width, device=x.device)
    which = torch.arange(n, device=x.device)[:, None, None]
    return padded[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
