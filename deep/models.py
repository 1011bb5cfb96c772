"""The networks of the papers, for rows of any size, and users' own by their name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from math import prod
from typing import Any

from linpoison.core import InputError

from .need_torch import torch

nn = torch.nn
Shape = tuple[int, ...]


def logistic(shape: Shape, classes: int) -> Any:
    """Logistic regression: 784-10, 7850 parameters on MNIST.

    Examples
    --------
    >>> sum(p.numel() for p in logistic((1, 28, 28), 10).parameters())
    7850
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), classes))


def wide(shape: Shape, classes: int) -> Any:
    """The network of the chapter on TGDA: 784-784-784-10 with leaky ReLU 0.2, 1238730 parameters on MNIST."""
    d = prod(shape)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(d, d), nn.LeakyReLU(0.2), nn.Linear(d, d), nn.LeakyReLU(0.2), nn.Linear(d, classes)
    )


def convolutional(shape: Shape, classes: int) -> Any:
    """The CNN of the chapter on TGDA: 16 and 32 channels of 5 x 5, pooled, 28938 parameters on MNIST."""
    channels, height, width = _image(shape)
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * (height // 4) * (width // 4), classes),
    )  # fmt: skip


def narrow(shape: Shape, classes: int) -> Any:
    """The network of gradient canceling's published code: 784-128-10 with ReLU, 101770 parameters on MNIST."""
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), 128), nn.ReLU(), nn.Linear(128, classes))


def lenet(shape: Shape, classes: int) -> Any:
    """The CNN of CIFAR-10 in the chapter on TGDA: 6 and 16 channels of 5 x 5, 120-84, 62006 parameters."""
    channels, height, width = _image(shape)
    left = [((side - 4) // 2 - 4) // 2 for side in (height, width)]
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * prod(left), 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes),
    )  # fmt: skip


def dropout_convolutional(shape: Shape, classes: int) -> Any:
    """The CNN of gradient canceling's published code: with dropout, 1199882 parameters on MNIST."""
    channels, height, width = _image(shape)
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(64 * ((height - 4) // 2) * ((width - 4) // 2), 128), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(128, classes),
    )  # fmt: skip


class Residual(torch.nn.Module):  # type: ignore[misc]
    """A block of a residual network: two convolutions of 3 x 3, and what went in added to what comes out.

    Parameters
    ----------
    channels, width : int
        In and out.
    stride : int
        Of the first convolution; what goes in is brought to the same shape by one of 1 x 1 where that differs.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        alike = stride == 1 and channels == width
        brought = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.around = nn.Identity() if alike else brought

    def forward(self, x: Any) -> Any:
        return torch.relu(self.inner(x) + self.around(x))


def residual(shape: Shape, classes: int, width: int = 64) -> Any:
    """ResNet-18 for small pictures: no pooling before the blocks; 11173962 parameters on CIFAR-10.

    Parameters
    ----------
    shape : tuple of int
        ``(channels, height, width)``.
    classes : int
    width : int, default 64
        Channels of the first blocks, of which the later ones have 2, 4 and 8 times as many.

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2016, Table 1; the stem of their CIFAR-10 networks.
    """
    channels, _, _ = _image(shape)
    blocks, before = [], width
    for stage in range(4):
        after = width * 2**stage
        blocks += [Residual(before, after, 1 if stage == 0 else 2), Residual(after, after, 1)]
        before = after
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes),
    )  # fmt: skip


def thin_residual(shape: Shape, classes: int) -> Any:
    """`residual` with an eighth of the channels: 176402 parameters on CIFAR-10, for CPUs.

    Examples
    --------
    >>> sum(p.numel() for p in thin_residual((3, 32, 32), 10).parameters())
    176402
    """
    return residual(shape, classes, 8)


MODELS: dict[str, Callable[[Shape, int], Any]] = {
    "lr": logistic, "nn": wide, "cnn": convolutional, "gc-nn": narrow, "gc-cnn": dropout_convolutional, "lenet": lenet,
    "resnet18": residual, "resnet18-thin": thin_residual,
}  # fmt: skip
"""Name -> function of the shape of a row and the number of classes."""


def make_model(name: str, shape: Shape, classes: int) -> Any:
    """A module by its name in `MODELS`, or by ``package.module:function`` with a function of shape and classes.

    Raises
    ------
    InputError
        For a name that is neither, or a function that gives no module.
    """
    if name in MODELS:
        return MODELS[name](shape, classes)
    build = imported(name, f"a model among {', '.join(MODELS)}, or package.module:function")
    try:
        module = build(shape, classes)
    except Exception as error:  # anybody's code, which may raise anything
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"a torch.nn.Module from {name}(shape, classes)", got) from error
    if not isinstance(module, nn.Module):
        raise InputError(f"a torch.nn.Module from {name}(shape, classes)", type(module).__name__)
    return module


def imported(name: str, what: str = "package.module:function") -> Any:
    """What ``package.module:function`` names.

    Raises
    ------
    InputError
        If it names nothing that can be imported.
    """
    place, _, attribute = name.partition(":")
    if not attribute:
        raise InputError(what, repr(name))
    try:
        return getattr(import_module(place), attribute)
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise InputError("a function that can be imported", f"{name!r} ({error})") from None


class DenseLeader(torch.nn.Module):  # type: ignore[misc]
    """The attacker of MNIST: row and label to a row, 785-784-784-784 with leaky ReLU 0.2 and tanh, 1847104 parameters.

    Parameters
    ----------
    shape : tuple of int
        Of a row.
    classes : int
        The label enters as one number, from 0 to 1 over the classes.
    low, high : float, default 0 and 1
        Range of a pixel: tanh is scaled to it.
    """

    def __init__(self, shape: Shape, classes: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        d = prod(shape)
        self.shape, self.top, self.low, self.high = tuple(shape), classes - 1, low, high
        self.layers = nn.Sequential(
            nn.Linear(d + 1, d), nn.LeakyReLU(0.2), nn.Linear(d, d), nn.LeakyReLU(0.2), nn.Linear(d, d)
        )

    def forward(self, x: Any, y: Any) -> Any:
        label = (y.to(x.dtype) / self.top)[:, None]
        squashed = torch.tanh(self.layers(torch.cat([x.flatten(1), label], dim=1)))
        return _scaled(squashed, self.low, self.high).reshape(-1, *self.shape)


class ConvLeader(torch.nn.Module):  # type: ignore[misc]
    """The attacker of CIFAR-10: three convolutions to 12, 24 and 48 channels and three back, with the label.

    The thesis gives the attacker the label; the published network for colour images lacks that input, and an end that
    keeps pixels in their range. Here the label is one more channel, and tanh is scaled to the range. Height and
    width are multiples of 8.

    Parameters
    ----------
    shape, classes, low, high
        As for `DenseLeader`.
    """

    def __init__(self, shape: Shape, classes: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        channels, height, width = _image(shape)
        if height % 8 or width % 8:
            raise InputError("images whose height and width are multiples of 8", f"{height} x {width}")
        self.top, self.low, self.high = classes - 1, low, high
        self.layers = nn.Sequential(
            nn.Conv2d(channels + 1, 12, 4, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(24, 48, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(48, 24, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(24, 12, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(12, channels, 4, 2, 1),
        )  # fmt: skip

    def forward(self, x: Any, y: Any) -> Any:
        label = (y.to(x.dtype) / self.top)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        return _scaled(torch.tanh(self.layers(torch.cat([x, label], dim=1))), self.low, self.high)


def _scaled(squashed: Any, low: float, high: float) -> Any:
    return low + (high - low) * (squashed + 1) / 2


def _image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise InputError("rows of shape (channels, height, width)", f"shape {shape}")
    return shape[0], shape[1], shape[2]
