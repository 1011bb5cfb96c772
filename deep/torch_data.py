"""Rows of torch's own containers (datasets, loaders, streams, mappings) as arrays, read once, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from linpoison.core import InputError, check_integer

from .need_torch import torch

data = torch.utils.data
ROWS = 4
"""Items that are read twice, to see that they are the same again."""
MANY = 10_000_000
"""Items that a stream ends within, unless told."""
Key = str | int


def read_items(source: Any, row: Key = 0, label: Key = 1, most: int = MANY) -> tuple[Any, Any]:
    """All rows and labels of a container.

    Parameters
    ----------
    source : Dataset, IterableDataset or DataLoader of torch, or a sequence
        Of items that are a row and a label. Of a loader its `dataset` is read, in the order of that and with all rows.
    row, label : str or int, default 0 and 1
        Where they are in an item: places in a tuple, or keys of a mapping, such as "pixel_values" and "labels".
    most : int, default 10 million
        Items that a stream ends within.

    Returns
    -------
    X : tensor, shape (n, ...)
    y : ndarray, shape (n,)

    Raises
    ------
    InputError
        For items of another kind, rows of several shapes, rows that are others the second time, as random transforms
        make them, a stream without an end, or a loader that draws or joins rows in a way of its own.
    """
    found = _dataset(source)
    items = [_pair(item, row, label) for item in _all(found, check_integer(most, "most", at_least=1))]
    again = [_pair(item, row, label)[0] for item in islice(_all(found, most), ROWS)]
    if not items:
        raise InputError("at least one row", f"an empty {type(source).__name__}")
    X = _stacked([x for x, _ in items])
    if not torch.equal(X[:ROWS], _stacked(again)):
        remedy = "Leave random transforms to the training function, or draw them once and keep the rows."
        raise InputError("rows that are the same when they are read again", "others the second time", remedy)
    return X, np.asarray([t.item() if isinstance(t, torch.Tensor) and t.numel() == 1 else t for _, t in items])


def _dataset(source: Any) -> Any:
    """What a loader loads."""
    if not isinstance(source, data.DataLoader):
        return source
    got = None
    if source.collate_fn is not data.default_collate:
        got = "its own collate_fn"
    elif not isinstance(source.dataset, data.IterableDataset) and not _takes_all(source.sampler, len(source.dataset)):
        got = f"a {type(source.sampler).__name__}"
    if got is not None:
        remedy = "Give its `dataset`, and do the rest in the training function."
        raise InputError("a DataLoader that takes every row once, as it is", got, remedy)
    return source.dataset


def _takes_all(sampler: Any, n: int) -> bool:
    drawn = isinstance(sampler, data.RandomSampler) and not sampler.replacement and len(sampler) == n
    return drawn or isinstance(sampler, data.SequentialSampler)


def _all(source: Any, most: int) -> Iterator[Any]:
    if not isinstance(source, data.IterableDataset) and hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        yield from (source[i] for i in range(len(source)))
        return
    if not hasattr(source, "__iter__"):
        raise InputError("rows that can be read one after another", f"a {type(source).__name__}")
    items, end = iter(source), object()
    yield from islice(items, most)
    if next(items, end) is not end:
        raise InputError(f"a stream that ends within {most} items", f"a {type(source).__name__} that does not",
                         "Take a part of it, or raise `most`.")  # fmt: skip


def _pair(item: Any, row: Key, label: Key) -> tuple[Any, Any]:
    try:
        return item[row], item[label]
    except (KeyError, IndexError, TypeError):
        keys = f" with the keys {list(item)[:5]}" if isinstance(item, Mapping) else ""
        raise InputError(
            f"items with a row at {row!r} and a label at {label!r}", f"a {type(item).__name__}{keys}",
            "Name the two by `row` and `label`.",
        ) from None  # fmt: skip


def _stacked(rows: list[Any]) -> Any:
    try:
        return torch.stack(
            [x.detach() if isinstance(x, torch.Tensor) else torch.as_tensor(np.asarray(x)) for x in rows]
        )
    except (RuntimeError, TypeError, ValueError) as error:
        got = f"{type(rows[0]).__name__} ({str(error).splitlines()[0][:80]})"
        raise InputError("rows of numbers, of one shape", got, "Add a transform that gives tensors.") from None
