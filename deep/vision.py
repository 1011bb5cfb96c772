"""The networks for pictures of the subpopulation paper: its Conv, and VGG-16 with weights from a file."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

from linpoison.core import InputError

from .models import Shape, _image
from .need_torch import torch
from .torch_risk import TorchRisk

nn = torch.nn

CONV_LAYERS = ("first", "block1", "block2", "block3", "last")
"""Layers of `paper_conv` that `ClusterMatch` can look at, from the rows to the outputs."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of the channels that torchvision's weights were trained with."""

_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


class Standardise(torch.nn.Module):  # type: ignore[misc]
    """``(x - mean) / sd`` of each channel."""

    def __init__(self, mean: Any, sd: Any) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("sd", torch.tensor(sd)[:, None, None])

    def forward(self, x: Any) -> Any:
        return (x - self.mean) / self.sd


class MeanPool(torch.nn.Module):  # type: ignore[misc]
    """The mean over height and width."""

    def forward(self, x: Any) -> Any:
        return x.mean(dim=(2, 3))


class GlorotConv(torch.nn.Conv2d):  # type: ignore[misc]
    """A convolution that starts as Keras starts one: uniform weights of Glorot's range, no bias.

    torch's own start shrinks what passes: the nine layers of `paper_conv` then hardly learn at first.
    """

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)


class GlorotLinear(torch.nn.Linear):  # type: ignore[misc]
    """A linear layer that starts as Keras starts one."""

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)


def paper_conv(shape: Shape, classes: int, width: int = 32) -> Any:
    """The Conv of the subpopulation paper: 606836 parameters on CIFAR-10.

    A convolution to `width` channels, three blocks of two convolutions and an average pooling, a convolution to 10
    channels, and a linear layer (as published; the paper's text says mean pooling), with leaky ReLU 0.1. Takes
    pixels in [0, 1], from which one half is subtracted; weights start as Keras starts them.

    Parameters
    ----------
    shape : (channels, height, width)
        At least 8 pixels each way.
    classes : int
    width : int, default 32
        Less for a smaller network of the same kind.

    References
    ----------
    Jagielski et al. (2021), section 5.1, and the published code.

    Examples
    --------
    >>> sum(p.numel() for p in paper_conv((3, 32, 32), 10).parameters())
    606836
    """
    channels, height, across = _image(shape)
    if min(height, across) < 8:
        raise InputError("pictures of at least 8 x 8 pixels", f"{height} x {across}")
    layers: Any = OrderedDict(pixels=Standardise([0.5] * channels, [1.0] * channels))
    layers["first"] = nn.Sequential(GlorotConv(channels, width, 3, padding=1), nn.LeakyReLU(0.1))
    for number in (1, 2, 3):
        c = width * 2 ** (number - 1)
        layers[f"block{number}"] = nn.Sequential(
            GlorotConv(c, c, 3, padding=1), nn.LeakyReLU(0.1),
            GlorotConv(c, 2 * c, 3, padding=1), nn.LeakyReLU(0.1), nn.AvgPool2d(2),
        )  # fmt: skip
    layers["last"] = nn.Sequential(GlorotConv(8 * width, 10, 3, padding=1), nn.LeakyReLU(0.1))
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = GlorotLinear(10 * (height // 8) * (across // 8), classes)
    return nn.Sequential(layers)


def vgg16(classes: int) -> Any:
    """VGG-16 without its top: 13 convolutions, the mean over the picture, and a linear layer.

    14715714 parameters for two classes, 1026 of them in the last layer. Takes pixels in [0, 1] of any size from
    32 x 32.

    References
    ----------
    Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015, configuration D.
    """
    layers: list[Any] = []
    channels = 3
    for width in _VGG16:
        if width:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    parts: Any = OrderedDict(pixels=Standardise(*IMAGENET), features=nn.Sequential(*layers), pool=MeanPool())
    parts["classifier"] = nn.Linear(channels, classes)
    return nn.Sequential(parts)


def load_vgg16(path: str | Path, classes: int) -> Any:
    """`vgg16` with the convolutions of a state dict of torchvision's ``vgg16``, the last layer new.

    Parameters
    ----------
    path : path
        A file that ``torch.save`` wrote, read without running code in it. Entries that do not begin with
        ``features.`` are not used.
    classes : int

    Raises
    ------
    InputError
        If the file cannot be read, or tensors are missing or of another shape.
    """
    state = _state_dict(Path(path))
    module = vgg16(classes)
    own = {f"features.{k}": v for k, v in module.features.state_dict().items()}
    for name, tensor in own.items():
        shape = tuple(getattr(state.get(name), "shape", ()))
        if shape != tuple(tensor.shape):
            got = f"shape {shape}" if name in state else "no such entry"
            raise InputError(
                f"{name} of shape {tuple(tensor.shape)} in {Path(path).name}", got,
                "Save the state dict of torchvision's vgg16, without batch normalisation.",
            )  # fmt: skip
    with torch.no_grad():
        for name, parameter in module.features.named_parameters():
            parameter.copy_(state[f"features.{name}"])
    return module


def _state_dict(path: Path) -> Any:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(f"a state dict in the file {path}", f"a file that cannot be read ({why})") from None
    if not isinstance(state, dict):
        raise InputError(f"a state dict in the file {path}", type(state).__name__)
    return state


def transfer_risk(module: Any, mode: Literal["ll", "ft"], l2: float = 0.01) -> TorchRisk:
    """A pretrained module whose layer ``classifier`` is new, as the paper learns it.

    Parameters
    ----------
    module : torch.nn.Module
        `load_vgg16`, say.
    mode : {"ll", "ft"}
        "ll" learns the last layer alone, with ``l2 |W|^2`` on its weight. "ft" learns all parameters and starts
        every training from the module's, but for the last layer; give `l2` as ``AdamTrainer(head_l2=...)``.
    l2 : float, default 0.01
        Of "ll".

    Examples
    --------
    >>> transfer_risk(vgg16(2), "ll").size, transfer_risk(vgg16(2), "ft").size
    (1026, 14715714)
    """
    if mode == "ll":
        return TorchRisk(module, reg=2 * l2, penalize_intercept=False, params=_in_classifier)
    if mode != "ft":
        raise InputError("the mode 'll' or 'ft'", repr(mode))
    return TorchRisk(module, init=_new_classifier)


def _in_classifier(name: str) -> bool:
    return name.startswith("classifier.")


def _new_classifier(module: Any) -> None:
    module.classifier.reset_parameters()
