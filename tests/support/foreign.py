"""A defence, an attack and a sampler of someone else, and a way to register such things by entry points."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from audit_cases import FakeAttack
from sklearn.base import BaseEstimator

from linpoison.defenses import Defense
from linpoison.sets import Box


class LargestEntry(Defense):
    """Score ``scale max_j |x_j|``: what passes is a box."""

    def __init__(self, remove: float = 0.05, scale: float = 1.0) -> None:
        super().__init__(remove)
        self.scale = scale

    def _fit_detector(self, X: Any, codes: Any) -> None:
        self.width_ = X.shape[1]

    def _scores(self, X: Any, codes: Any) -> Any:
        rows = abs(X).max(axis=1)
        return self.scale * np.asarray(rows.toarray().ravel() if hasattr(rows, "toarray") else rows, dtype=np.float64)

    def _set_of(self, code: int, threshold: float) -> Box:
        bound = np.full(self.width_, threshold / self.scale)
        return Box(-bound, bound)


class EveryOther(BaseEstimator):
    """A sampler that keeps every other row of each class."""

    def fit_resample(self, X: Any, y: Any) -> Any:
        kept = np.sort(np.concatenate([np.flatnonzero(y == label)[::2] for label in np.unique(y)]))
        self.sample_indices_ = kept
        return X[kept], y[kept]


class Silent(EveryOther):
    """A sampler that does not say what it keeps."""

    def fit_resample(self, X: Any, y: Any) -> Any:
        kept = super().fit_resample(X, y)
        del self.sample_indices_
        return kept


class Repeating(EveryOther):
    """A sampler that repeats a row."""

    def fit_resample(self, X: Any, y: Any) -> Any:
        self.sample_indices_ = np.zeros(len(y), dtype=int)
        return X[self.sample_indices_], y[self.sample_indices_]


class Means(FakeAttack):
    """Quick: copies of the class means under the other label."""

    name: ClassVar[str] = "means"


def register(folder: Path, package: str = "foreign", **groups: dict[str, str]) -> None:
    """A package of version 1.5 in a folder, whose entry points are those of the groups."""
    info = folder / f"{package}-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[linpoison.{group}]", *(f"{name} = {where}" for name, where in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
