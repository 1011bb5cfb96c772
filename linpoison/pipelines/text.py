"""Texts that a vectorizer counts the words of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import Array
from ..core.parts import Words
from .origins import Text
from .table import RawTable

LONG = 100_000
"""Words of a text at most where its length is not scaled to one."""
_BLOCK = 1000  # words that are tried at once


class NotRaw(Exception):
    """Why rows of features have no raw rows, in words."""


def vectorizers(estimator: Any, column: str | None) -> Iterator[tuple[str, Any]]:
    """Fitted steps that turn a text into features, each with the column that it reads.

    Parameters
    ----------
    column : str, optional
        The only raw column, where there is one alone.
    """
    inner = getattr(estimator, "best_estimator_", estimator)
    if hasattr(inner, "build_analyzer"):
        if column is not None:
            yield column, inner
        return
    for step in getattr(inner, "steps", None) or []:
        yield from vectorizers(step[1], column)
    for part in getattr(inner, "transformer_list", None) or []:
        yield from vectorizers(part[1], column)
    for _, part, columns in getattr(inner, "transformers_", None) or []:
        one = columns if isinstance(columns, str) else None
        if hasattr(part, "fit"):
            yield from vectorizers(part, one)


def read_text(table: RawTable, name: str, vectorizer: Any) -> Text:
    """The words of one column, and what features each of them makes.

    Raises
    ------
    NotRaw
        If a text cannot be given word by word.
    """
    kind = type(vectorizer).__name__
    if not hasattr(vectorizer, "vocabulary_"):
        raise NotRaw(f"{kind} does not keep the words of {name!r}")
    if vectorizer.analyzer != "word" or tuple(vectorizer.ngram_range) != (1, 1):
        raise NotRaw(f"{kind} counts other things than single words in {name!r}")
    words = np.array(sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get), dtype=object)
    columns = _columns_of(table, name, words, kind)
    known = columns >= 0
    idf = getattr(vectorizer, "idf_", None) if getattr(vectorizer, "use_idf", False) else None
    scale = np.ones(words.size) if idf is None else np.asarray(idf, dtype=np.float64)
    analyze = vectorizer.build_analyzer()
    longest = max((len(analyze(text)) for text in table.frame[name] if isinstance(text, str)), default=1)
    norm = getattr(vectorizer, "norm", None)
    words, columns, scale = words[known], columns[known], scale[known]
    part = Words(
        columns, scale, np.ones(words.size, dtype=bool), longest=max(longest, 1) if norm else LONG, norm=norm,
        sublinear=bool(getattr(vectorizer, "sublinear_tf", False)), binary=bool(vectorizer.binary),
    )  # fmt: skip
    return Text(part, name, tuple(map(str, words)))


def _columns_of(table: RawTable, name: str, words: Array, kind: str) -> np.ndarray:
    """The feature that each word moves when a text consists of it; -1 where it moves none."""
    columns = np.full(words.size, -1)
    for start in range(0, words.size, _BLOCK):
        some = words[start : start + _BLOCK]
        rows = table.copies(some.size + 1)
        table.put(rows, name, ["", *some])
        X = sp.csr_array(table.features(rows))
        off = sp.csr_array(abs(X[1:] - X[np.zeros(some.size, dtype=int)]))
        off.eliminate_zeros()
        moved = np.diff(off.indptr)
        if moved.max(initial=0) > 1:
            raise NotRaw(f"the steps behind {kind} mix the words of {name!r}")
        columns[start : start + _BLOCK][moved == 1] = off.indices
    used = columns[columns >= 0]
    if not used.size or np.unique(used).size < used.size:
        raise NotRaw(f"the steps behind {kind} do not tell the words of {name!r} apart")
    return columns
