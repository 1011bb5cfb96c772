"""Run training rows through defences and say what went out, and why."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core import Dataset, InputError
from ..core.validation import Array
from .files import check_folder, write_all
from .inputs import Setting, prepare
from .options import LearnerOptions


@dataclass(frozen=True, eq=False)
class Sanitized:
    """Training rows after defences in a row.

    Parameters
    ----------
    data : Dataset
        All training rows, as they came.
    kept, removed : ndarray of int
        Row numbers in `data`, from 0, ascending.
    removed_by : ndarray of str, shape (n_removed,)
        The defence that took each removed row out.
    defenses : tuple of str
        In the order in which they ran.
    scores : ndarray of shape (n, n_defenses)
        Anomaly scores; NaN where a row was gone already.
    """

    data: Dataset
    kept: NDArray[np.intp]
    removed: NDArray[np.intp]
    removed_by: NDArray[np.str_]
    defenses: tuple[str, ...]
    scores: Array

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file, or a ``.csv`` of the kept rows with ``NAME.removed.csv`` beside it."""
        target = check_output(path)
        if target.suffix == ".npz":
            write_all(target.parent, {target.name: self._write_npz})
        else:
            removed = f"{target.stem}.removed.csv"
            write_all(target.parent, {removed: self._write_removed, target.name: self._write_csv})

    def _write_npz(self, path: Path) -> None:
        X = self.data.X[self.kept]
        arrays: dict[str, Any] = {
            "y": self.data.y[self.kept].astype(np.int8), "kept": self.kept, "removed": self.removed,
            "removed_by": self.removed_by, "defenses": np.asarray(self.defenses), "scores": self.scores,
        }  # fmt: skip
        if sp.issparse(X):
            arrays |= {"data": X.data, "indices": X.indices, "indptr": X.indptr, "shape": np.asarray(X.shape)}
        else:
            arrays["X"] = X
        with open(path, "wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)

    def _write_csv(self, path: Path) -> None:
        names = self.data.feature_names or tuple(f"x{column}" for column in range(self.data.d))
        with open(path, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow([*names, "label"])
            for row in self.kept:
                values = self.data.X[[row]]
                dense = values.toarray() if sp.issparse(values) else values
                writer.writerow([*(repr(float(value)) for value in dense.ravel()), int(self.data.y[row])])

    def _write_removed(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["row", "label", "removed_by", *(f"score_{name}" for name in self.defenses)])
            for row, name in zip(self.removed, self.removed_by, strict=True):
                scores = ("" if np.isnan(score) else repr(float(score)) for score in self.scores[row])
                writer.writerow([int(row), int(self.data.y[row]), name, *scores])


def sanitize(data: Any, *, out: str | os.PathLike[str] | None = None, **options: Any) -> Sanitized:
    """Run the training rows of `data` through defences, one after another.

    Each defence is fitted on the rows that the ones before it kept and removes its share of each
    class of those.

    Parameters
    ----------
    data : str, path, Split or tuple
        As in `audit`.
    out : path, optional
        ``.npz`` or ``.csv`` file to write.
    **options
        `defenses`, `variant`, `remove` and the learner and file options of `audit`.

    Examples
    --------
    >>> result = sanitize("gaussians", defenses="l2", remove=0.1)
    >>> result.kept.size, result.removed.size, result.scores.shape
    (360, 40, (400, 1))
    """
    return run_sanitize(data, LearnerOptions(**options), out=out)


def run_sanitize(data: Any, options: LearnerOptions, *, out: str | os.PathLike[str] | None = None) -> Sanitized:
    """`sanitize` with options that have been checked."""
    if out is not None:
        check_output(out)
    if not options.defenses:
        raise InputError("at least one defence", "none", "Name one with --defense, such as l2.")
    result = _one_after_another(prepare(data, options))
    if out is not None:
        result.save(out)
    return result


def check_output(path: str | os.PathLike[str]) -> Path:
    """`path` if it names a file that `Sanitized.save` can write."""
    target = Path(path)
    if target.suffix not in (".npz", ".csv"):
        raise InputError("an output file .npz or .csv", str(path))
    if target.is_dir():
        raise InputError("an output file", f"the folder {path}")
    check_folder(target.parent)
    return target


def _one_after_another(setting: Setting) -> Sanitized:
    from ..evaluation import Evaluator

    train = setting.split.train
    kept = np.arange(train.n)
    scores = np.full((train.n, len(setting.defenses)), np.nan)
    removed_by = np.full(train.n, "", dtype=f"U{max(map(len, setting.defenses))}")
    for column, (name, defense) in enumerate(setting.defenses.items()):
        detector = Evaluator(train.take(kept), setting.problem, {name: defense}).fit_detector(name)
        scores[kept, column] = detector.decision_scores_
        survivors = kept[detector.sample_indices_]
        removed_by[np.setdiff1d(kept, survivors)] = name
        kept = survivors
    removed = np.flatnonzero(removed_by != "")
    return Sanitized(train, kept, removed, removed_by[removed], tuple(setting.defenses), scores)
