"""Parameters with their statistics as safetensors files: learned models, targets to plant, attackers' networks."""

from __future__ import annotations

import os
from typing import Any

from linpoison._version import __version__
from linpoison.core import InputError, MissingDependency
from linpoison.core.archives import check_file
from linpoison.core.writing import write_file

from .statistics import changed, learned, plain, statistics_of
from .torch_modules import Layout, copied, named_tensors, write_tensors

_KIND = "a safetensors file of this module"


def save_tensors(path: str | os.PathLike[str], holder: Any, w: Any, **words: str) -> None:
    """Write all parameters and buffers of a module at `w`, by the names that the module gives them.

    Parameters
    ----------
    path : path
        Such as ``learned.safetensors``; written whole or not at all.
    holder : TorchRisk or LeaderNetwork
        Whose module it is: of a learned network ``found.trained.risk``.
    w : Vector
        What was learned, a target of `GradPC`, or the weights of a leader.
    **words : str
        More entries of the file's metadata, beside ``format`` and the version of linpoison.

    Raises
    ------
    MissingDependency
        Without the package safetensors.
    """
    module = holder.layout.module_at(plain(w), statistics_of(w))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named_tensors(module).items()}
    content = _safetensors().save(tensors, {"format": "pt", "linpoison": __version__, **words})
    write_file(path, lambda stream: stream.write(content))


def load_tensors(path: str | os.PathLike[str], holder: Any) -> Any:
    """The vector in the file of `save_tensors`, with its statistics, for a module of the same structure.

    Raises
    ------
    MissingDependency
        Without the package safetensors.
    InputError
        For a file that is none, or of other names or shapes.
    """
    reader, file = _safetensors(), check_file(path, _KIND)
    try:
        found = reader.load(file.read_bytes())
    except Exception as error:  # safetensors has errors of its own, and no common base
        raise InputError(_KIND, f"{file.name} ({' '.join(str(error).split())[:80]})") from None
    module = copied(holder.module)
    kinds = [{name: tuple(t.shape) for name, t in tensors.items()} for tensors in (named_tensors(module), found)]
    for name in [*kinds[0], *kinds[1]]:
        wanted, got = (str(kind.get(name, "none")) for kind in kinds)
        if wanted != got:
            raise InputError(f"{_KIND}, with {name} of shape {wanted}", got)
    write_tensors(module, found)
    return learned(Layout(module, holder.layout.names).current(), changed(module, holder.module))


def _safetensors() -> Any:
    try:
        from safetensors import torch as reader
    except ImportError:
        raise MissingDependency("safetensors", "to keep networks in files", "safetensors") from None
    return reader
