"""BERT as the subpopulation paper uses it: an encoder from a folder of the package transformers, and a linear layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from linpoison.core import InputError, MissingDependency, check_among, check_integer
from linpoison.core.validation import Array

from .need_torch import torch
from .torch_risk import TorchRisk


class TextClassifier(torch.nn.Module):  # type: ignore[misc]
    """An encoder of tokens, and a linear layer on what it says of the whole text.

    Takes rows of tokens, shape (n, length), as integers or as floats without a fraction, which `TorchRisk` hands
    over; `pad` fills a text's end and is not attended to.

    Parameters
    ----------
    encoder : torch.nn.Module
        Called as ``encoder(input_ids=..., attention_mask=...)``, it returns an object with ``pooler_output``, shape
        (n, h), or with ``last_hidden_state``, shape (n, length, h), of which the first token is taken.
    hidden : int
        The number h.
    classes : int
    pad : int, default 0
    dropout : float, default 0.1
        Before the last layer.
    """

    def __init__(self, encoder: Any, hidden: int, classes: int, pad: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.pad = encoder, pad
        self.dropout = torch.nn.Dropout(dropout)
        self.classifier = torch.nn.Linear(hidden, classes)

    def forward(self, rows: Any) -> Any:
        return self.classifier(self.dropout(self._whole(rows.long())))

    def _whole(self, tokens: Any) -> Any:
        seen = self.encoder(input_ids=tokens, attention_mask=(tokens != self.pad).long())
        pooled = getattr(seen, "pooler_output", None)
        return seen.last_hidden_state[:, 0] if pooled is None else pooled

    def states(self, X: Any, block: int = -1, batch_size: int = 32) -> Array:
        """Hidden states of all tokens after a block, flattened: what the published code clusters.

        Parameters
        ----------
        X : array_like, shape (n, length)
        block : int, default -1
            Number of the transformer block, from 0; 10 for the paper's layer 11, -1 for the last.
        batch_size : int, default 32

        Returns
        -------
        ndarray of float32, shape (n, length * h)
        """
        place = self.classifier.weight.device
        tokens, found, was = torch.as_tensor(np.asarray(X)).long(), [], self.training
        self.eval()
        with torch.no_grad():
            for part in tokens.split(batch_size):
                ids = part.to(place)
                mask = (ids != self.pad).long()
                every = self.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
                # the first entry is the embeddings
                found.append(every[block if block < 0 else block + 1].flatten(1).float().cpu().numpy())
        self.train(was)
        return np.concatenate(found)


def load_bert(folder: str | Path, classes: int) -> TextClassifier:
    """A BERT of the package transformers, from a folder that its ``save_pretrained`` wrote; nothing is downloaded.

    Raises
    ------
    MissingDependency
        Without transformers.
    InputError
        If the folder holds no such model.
    """
    transformers = _transformers()
    encoder = _loaded(transformers.AutoModel, folder, "a model")
    config = encoder.config
    return TextClassifier(encoder, config.hidden_size, classes, config.pad_token_id or 0, config.hidden_dropout_prob)


def tokenise(folder: str | Path, texts: list[str], length: int = 256) -> Any:
    """Tokens of texts, cut or filled to a length, by the tokeniser in the folder of a model.

    Returns
    -------
    ndarray of int64, shape (n, length)

    Raises
    ------
    MissingDependency, InputError
        As for `load_bert`.
    """
    check_integer(length, "length", at_least=2)
    tokeniser = _loaded(_transformers().AutoTokenizer, folder, "a tokeniser")
    coded = tokeniser(list(texts), padding="max_length", truncation=True, max_length=length)
    return np.asarray(coded["input_ids"], dtype=np.int64)


def text_risk(module: TextClassifier, mode: Literal["ll", "ft"], chunk: int = 32) -> TorchRisk:
    """A text classifier as the paper trains it: 4 epochs in batches of 8 with ``AdamTrainer(4, 8, 1e-5)``.

    Parameters
    ----------
    module : TextClassifier
    mode : {"ll", "ft"}
        "ll" learns the last transformer block, what follows it and the last layer; "ft" learns all. Every training
        starts from the module's parameters, but for the last layer.
    chunk : int, default 32
        Rows at a time where nothing is learned.

    Raises
    ------
    InputError
        For another mode, or an encoder without blocks called ``layer.0``, ``layer.1`` and so on.
    """
    check_among(mode, "the mode", "ll", "ft")
    names = None if mode == "ft" else _last_block(module)
    return TorchRisk(module, params=names, chunk=chunk, head="classifier", init=_new_classifier)


def _last_block(module: TextClassifier) -> list[str]:
    names = [name for name, _ in module.named_parameters()]
    blocks = {name: int(part) for name in names if (part := name.partition("layer.")[2].partition(".")[0]).isdigit()}
    if not blocks:
        raise InputError("an encoder with blocks called layer.0, layer.1, ...", type(module.encoder).__name__)
    last = max(blocks.values())
    return [name for name in names if blocks.get(name) == last or "pooler" in name or name.startswith("classifier.")]


def _new_classifier(module: Any) -> None:
    module.classifier.reset_parameters()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingDependency("transformers", "to read BERT", "text") from None
    return transformers


def _loaded(kind: Any, folder: str | Path, what: str) -> Any:
    if not Path(folder).is_dir():
        raise InputError(f"a folder {folder} with {what} of transformers", "none there")
    try:
        return kind.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(f"{what} of transformers in {folder}", f"files that cannot be read ({why})") from None
