"""Run training rows through defences and say what went out, and why."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..core import Array, Dataset, InputError
from ..core.archives import arrays_writer, parts_of, user_path
from ..core.parts import dense
from ..core.writing import Writer, as_text, check_folder, table_writer, write_all
from ..datasets.files import SUFFIXES
from ..datasets.layout import Layout
from ..datasets.loading import is_named
from ..datasets.rewriting import same_kind, write_rows
from ..datasets.tables import kind_of
from ..defender import Defender
from ..reporting.base import Report, Table
from ..reporting.cells import listed
from ..reporting.page import plain_page
from ..reporting.words import ROWS_ARE_NUMBERED, label_words
from .inputs import Setting, prepare
from .options import LearnerOptions

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class SanitizeReport(Report, stem="sanitize"):
    """Rows after defences in a row; a row of `to_frame` is a removed row. `save_rows` writes those that are kept.

    Parameters
    ----------
    data : Dataset
        All rows that were looked at, behind the preprocessing of an estimator if there is one.
    kept, removed : ndarray of int
        Positions in `data`, from 0, ascending. Their numbers in the user's file are ``data.numbers[kept]``: the same,
        unless test rows were held out of it.
    removed_by : ndarray of str, shape (n_removed,)
        The defence that took each removed row out.
    defenses : tuple of str
        In the order in which they ran.
    scores : ndarray of shape (n, n_defenses)
        Anomaly scores; NaN where a row was gone already.
    source : Path, optional
        The file that the rows come from.
    layout : Layout, optional
        Of a table.
    n_held_out : int
        Rows of the file or frame that were held out as test rows, and are not in the result.
    """

    data: Dataset
    kept: NDArray[np.intp]
    removed: NDArray[np.intp]
    removed_by: NDArray[np.str_]
    defenses: tuple[str, ...]
    scores: Array
    source: Path | None = None
    layout: Layout = field(default_factory=Layout)
    n_held_out: int = 0

    @property
    def verdict(self) -> str:
        """How many rows are kept, and which defence removed how many."""
        by = ", ".join(f"{name} {int((self.removed_by == name).sum())}" for name in self.defenses)
        rows = self.data.n + self.n_held_out
        return f"{self.kept.size} of {rows} {self._rows} kept, {self.removed.size} removed ({by})."

    @property
    def _rows(self) -> str:
        return f"training rows of {self.data.name}" if self.source is None else f"rows of {self.source.name}"

    @property
    def _notes(self) -> list[str]:
        """How rows are numbered, what the labels are, and what was not looked at."""
        held_out = (
            f"{self.n_held_out} held out as test rows and not in the output (without --test-fraction none are)"
            if self.n_held_out
            else ""
        )
        numbered = "" if self.source is None else ROWS_ARE_NUMBERED.removeprefix("; ")
        return [f"{line[0].upper()}{line[1:]}." for line in (held_out, label_words(self.data), numbered) if line]

    def summary(self) -> list[Table]:
        """What each defence saw and removed, class by class."""
        names = {code: str(self.data.label_values(np.array([code]))[0]) for code in np.unique(self.data.y)}
        header = ("defence", "rows seen", "removed", *(f"of {name}" for name in names.values()))
        body = []
        for column, name in enumerate(self.defenses):
            gone = self.removed[self.removed_by == name]
            by_class = [str(int((self.data.y[gone] == code).sum())) for code in names]
            seen = int((~np.isnan(self.scores[:, column])).sum())
            body.append((name, str(seen), str(gone.size), *by_class))
        return [("Rows removed by each defence, one after another", [header, *body])]

    def records(self) -> list[dict[str, Any]]:
        """Number, label, defence and scores of each removed row."""
        labels = self.data.label_values(self.data.y[self.removed])
        return [
            {"row": int(self.data.numbers[row]), "label": label, "removed_by": str(by), **self._scores_of(row)}
            for row, label, by in zip(self.removed, labels, self.removed_by, strict=True)
        ]

    def columns(self) -> list[str]:
        """See `Report.columns`; there may be no row."""
        return ["row", "label", "removed_by", *(f"score_{name}" for name in self.defenses)]

    def _scores_of(self, row: int) -> dict[str, float | None]:
        return {
            f"score_{name}": None if np.isnan(score) else float(score)
            for name, score in zip(self.defenses, self.scores[row], strict=True)
        }

    def values(self) -> dict[str, Any]:
        """Counts, defences and the removed rows, as in ``sanitize.json``."""
        return {
            "schema": SCHEMA, "dataset": {"name": self.data.name, "labels": label_words(self.data)},
            "defenses": list(self.defenses), "n_rows": self.data.n + self.n_held_out, "n_held_out": self.n_held_out,
            "n_kept": int(self.kept.size), "removed": self.records(),
        }  # fmt: skip

    def to_text(self) -> str:
        """What became of the rows, in words."""
        return "\n\n".join([str(self), *([listed(self._notes)] if self._notes else [])]) + "\n"

    def to_html(self) -> str:
        """The same as one self-contained page."""
        return plain_page(self, f"Rows of {self.data.name} behind filters", (), [("How to read this", self._notes)])

    def save_rows(self, path: str | os.PathLike[str]) -> None:
        """Write the kept rows, as a table like the input where they come from a file of the same kind.

        Then every column, the header and the label values are those of the input. Removed rows stand beside it in
        ``NAME.removed.csv``, or in arrays of an ``.npz`` file, by their numbers in the user's file: from 0, a header
        not counted.
        """
        target = check_output(path)
        suffix = kind_of(target)
        like = self.source is not None and same_kind(self.source, target)
        if not like and suffix not in (".npz", ".csv"):
            raise InputError("an output file .npz or .csv", str(path), f"{suffix} is for rows of such a file.")

        def write(stream: BinaryIO) -> None:
            if like and self.source is not None:
                extra = self._outcome() if suffix == ".npz" else {}
                write_rows(self.source, stream, self.data.numbers[self.kept], self.layout, suffix, **extra)
            elif suffix == ".npz":
                self._write_npz(stream)
            else:
                self._write_csv(stream)

        writers: dict[str, Writer] = {target.name: write}
        if suffix != ".npz":
            writers = {f"{target.stem}.removed.csv": self._removed_writer(), **writers}
        write_all(target.parent, writers)

    def writers(self) -> dict[str, Writer]:
        """``removed.csv``, the page and the JSON file."""
        return {"removed.csv": self._removed_writer(), **super().writers()}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the files of the report, all or none; `save_rows` writes the kept rows."""
        if kind_of(Path(folder)) in SUFFIXES:
            raise InputError("a folder for the report", str(folder), "save_rows writes the kept rows to a file.")
        super().save(folder)

    def _removed_writer(self) -> Writer:
        return table_writer(self.records, self.columns)

    def _outcome(self) -> dict[str, Any]:
        return {
            "kept": self.data.numbers[self.kept], "removed": self.data.numbers[self.removed],
            "removed_by": self.removed_by, "defenses": np.asarray(self.defenses), "scores": self.scores,
        }  # fmt: skip

    def _write_npz(self, stream: BinaryIO) -> None:
        X = self.data.X[self.kept]
        y = self.data.y[self.kept].astype(np.int8)
        arrays: dict[str, Any] = {
            "y": y if self.data.classes is None else np.asarray(self.data.label_values(y)),
            **self._outcome(),
        }
        arrays_writer({**arrays, **parts_of(X)})(stream)

    def _write_csv(self, stream: BinaryIO) -> None:
        names = self.data.feature_names or tuple(f"x{column}" for column in range(self.data.d))
        with as_text(stream) as text:
            writer = csv.writer(text)
            writer.writerow([*names, self.data.label_name or "label"])
            for row, label in zip(self.kept, self.data.label_values(self.data.y[self.kept]), strict=True):
                writer.writerow([*(repr(float(value)) for value in dense(self.data.X[[row]]).ravel()), label])


def sanitize(
    data: Any, options: LearnerOptions | None = None, *, out: str | os.PathLike[str] | None = None, **keywords: Any
) -> SanitizeReport:
    """Run the rows of `data` through defences, one after another.

    Each defence is fitted on the rows that the ones before it kept and removes its share of each
    class of those. All rows of a file are looked at, unless `test_fraction` holds some out.

    Parameters
    ----------
    data : str, path, Split or tuple
        As in `audit`, or ``(X, y)``.
    options : LearnerOptions, optional
        As an object, in place of keywords.
    out : path, optional
        File to write, see `SanitizeReport.save_rows`.
    **keywords
        `defenses`, `variant`, `remove` and the learner and file options of `audit`.

    Examples
    --------
    >>> result = sanitize("gaussians", defenses="l2", remove=0.1)
    >>> result.kept.size, result.removed.size, result.scores.shape
    (360, 40, (400, 1))
    """
    asked = LearnerOptions.of(options, keywords)
    if out is not None:
        _check_apart(data, check_output(out))
    if not asked.defenses:
        raise InputError("at least one defence", "none", "Name one with --defenses, such as l2.")
    setting = prepare(data, asked, whole=True, many=True)
    held_out = 0 if asked.test_fraction is None or asked.test is not None else setting.split.test.n
    result = replace(_one_after_another(setting), n_held_out=held_out)
    if isinstance(data, (str, os.PathLike)) and not is_named(os.fspath(data)):
        result = replace(result, source=user_path(data, "a data file"), layout=asked.layout())
    if out is not None:
        result.save_rows(out)
    return result


def check_output(path: str | os.PathLike[str]) -> Path:
    """`path` if it names a file that `SanitizeReport.save_rows` can write."""
    if not isinstance(path, (str, os.PathLike)):
        raise InputError("the name of an output file", repr(path))
    target = Path(path)
    if kind_of(target) not in SUFFIXES:
        raise InputError("an output file .npz or .csv, or of the kind of the input", str(path))
    if target.is_dir():
        raise InputError("an output file", f"the folder {path}")
    check_folder(target.parent)
    return target


def _check_apart(data: Any, target: Path) -> None:
    """Raise if the kept rows, or the table of the removed ones, would be written over the file that they come from."""
    if not isinstance(data, (str, os.PathLike)) or is_named(os.fspath(data)):
        return
    source = user_path(data, "a data file").resolve()
    if source in (target.resolve(), target.with_name(f"{target.stem}.removed.csv").resolve()):
        raise InputError("an output file that leaves the data as they are", str(target), "Name another file.")


def _one_after_another(setting: Setting) -> SanitizeReport:
    train = setting.split.train
    kept = np.arange(train.n)
    scores = np.full((train.n, len(setting.defenses)), np.nan)
    removed_by = np.full(train.n, "", dtype=f"U{max(map(len, setting.defenses))}")
    for column, (name, defense) in enumerate(setting.defenses.items()):
        detector = Defender(train.take(kept), setting.problem, {name: defense}).fit_detector(name)
        scores[kept, column] = detector.decision_scores_
        survivors = kept[detector.sample_indices_]
        removed_by[np.setdiff1d(kept, survivors)] = name
        kept = survivors
    removed = np.flatnonzero(removed_by != "")
    return SanitizeReport(train, kept, removed, removed_by[removed], tuple(setting.defenses), scores)
