"""Training a network with Adam, as the subpopulation paper does: moved pictures, a penalty on the last layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from linpoison.core import InputError, check_number

from .need_torch import torch
from .sgd import EpochTrainer
from .torch_modules import last_linear
from .torch_risk import TorchRisk


@dataclass(frozen=True)
class AdamTrainer(EpochTrainer):
    """Adam on the objective of a `TorchRisk`, in training mode, from parameters drawn anew.

    ::

        minimise   reg/2 |P w|^2 + mean_i l(module(move(x_i); w), y_i) + head_l2 |W|^2

    with W the weight of the last linear layer, and pictures moved at random, anew in each epoch (and in each of
    several `copies`, of which the one of greatest loss is learned).

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
    copies : int, default 1
    noise : float, default 0
        As for `SGDTrainer`.

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
    copies: int = 1
    noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.head_l2, "head_l2", at_least=0)
        check_number(self.shift, "shift", at_least=0, below=1)

    def _rule(self, parameters: list[Any]) -> Any:
        return torch.optim.Adam(parameters, lr=self.step)

    def _placed(self, module: Any, X: Any) -> Any:
        if (self.shift or self.mirror) and X.ndim != 4:
            raise InputError("rows of shape (channels, height, width) to move", f"shape {tuple(X.shape[1:])}")
        return X

    def _order(self, n: int, generator: Any) -> Any:
        return torch.randperm(n)

    def _outputs(self, learner: TorchRisk, module: Any, x: Any) -> Any:
        return learner.training_outputs(module, self._moved(x))

    def _penalty(self, module: Any) -> Any:
        return self.head_l2 * (last_linear(module)[1].weight ** 2).sum() if self.head_l2 else None

    @property
    def _perturbs(self) -> bool:
        return bool(self.noise or self.shift or self.mirror)

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
