"""Answers for rows without labels, and how many changed training rows each withstands."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import numpy as np

from ..certificates import Claim
from ..certificates.changed import Change, change_certifier, changes_withstood
from ..certificates.claim import ROW_BY_ROW
from ..certificates.clean.scaled import is_scaled
from ..core import CapabilityError, Dataset, InputError, Matrix, as_matrix, check_integer
from ..core.writing import alone_in, check_folder
from ..datasets.files import read_rows
from ..learners import make_learner
from ..reporting.answers import AnswersReport
from ..reporting.json_values import plain
from .assemble import command_line, describe_data, describe_model, versions
from .handed import read_estimator
from .inputs import Setting, prepare
from .options import LearnerOptions, influences
from .preprocessing import Preprocessing, learns_from
from .trusted import unfiltered

CHANGES: tuple[Change, ...] = ("deletions", "flips")
MOST = 100


def certify_rows(
    data: Any,
    rows: Any,
    options: LearnerOptions | None = None,
    *,
    kind: Change = "deletions",
    most: int = MOST,
    out: str | os.PathLike[str] | None = None,
    **keywords: Any,
) -> AnswersReport:
    """Answer rows without labels, and say how many changed training rows each answer withstands.

    ::

        max { k <= most : whichever k training rows are deleted (relabelled), the learner gives the same answer }

    or less. All rows of a file are trained on, and no filter stands before the learner: whatever was planted among
    them, training without it gives the answers that withstand so many.

    Parameters
    ----------
    data : str, path, Split or tuple
        As in `audit`, or ``(X, y)``; two classes.
    rows : str, path or array_like, shape (m, d)
        Of the columns of the training rows: a table (``.csv``, ``.tsv``, ``.parquet``), an ``.npz`` file with X, or
        numbers. What an estimator's pipeline does to training rows is done to them.
    options : LearnerOptions, optional
        As an object, in place of keywords.
    kind : {"deletions", "flips"}, default "deletions"
    most : int, default 100
        No more changes are looked at.
    out : path, optional
        Folder for ``answers.csv``, ``answers.json`` and ``answers.html``.
    **keywords
        The learner and file options of `audit`.

    Raises
    ------
    InputError
        For rows of other columns, and for what moves with the training rows: a scaler or another step that learns
        from rows and is not frozen, a search for settings, a fraction that is held out.
    CapabilityError
        For weights, for sparse rows before the steps of an estimator, and where nothing is proved of the model.

    Examples
    --------
    >>> train = [[-2.0], [-1.5], [-1.4], [-1.2], [1.2], [1.4], [1.5], [2.0]], [0, 0, 0, 0, 1, 1, 1, 1]
    >>> report = certify_rows(train, [[1.6], [0.1]], model="logistic", reg=0.3)
    >>> [(entry["answer"], entry["withstands"]) for entry in report.answers]
    [(1, 2), (1, 0)]
    """
    start = time.perf_counter()
    asked = replace(LearnerOptions.of(options, keywords), defenses="none")
    folder = None if out is None else check_folder(out)
    check_integer(most, "most", at_least=0)
    if kind not in CHANGES:
        raise InputError(f"a kind among {', '.join(CHANGES)} for answers", repr(kind))
    with alone_in(folder):
        estimator = read_estimator(asked.estimator)
        _refuse_choices(asked, estimator)
        setting = prepare(data, asked, whole=True)
        before = None if estimator is None else Preprocessing.of(estimator)
        X, before_steps = _rows(rows, asked, before, setting.split.train)
        _refuse(setting, kind, estimator, before, before_steps)
        report = _answered(data, X, asked, setting, kind, most)
        words = f" --kind {kind} --rows {rows if isinstance(rows, str) else '<rows>'} --count {most}"
        seconds = round(time.perf_counter() - start, 3)
        report = replace(report, seconds=seconds, command=report.command + words)
        if folder is not None:
            report.save(folder)
    return report


def _refuse_choices(options: LearnerOptions, estimator: Any) -> None:
    """What was chosen by looking at all rows, and might have been something else without the planted ones."""
    if options.test_fraction is not None:
        remedy = "Which rows it holds out depends on how many there are: give those as a file of their own."
        raise InputError("all rows to be trained on", f"test_fraction={options.test_fraction:g}", remedy)
    while hasattr(estimator, "steps") and estimator.steps and not hasattr(estimator, "best_estimator_"):
        estimator = estimator.steps[-1][1]
    if hasattr(estimator, "best_estimator_"):
        got = f"a {type(estimator).__name__}, which chose some"
        remedy = "If it chose them on other rows, hand in an estimator with these settings."
        raise InputError("settings that the training rows have no part in", got, remedy)


def _refuse(setting: Setting, kind: Change, estimator: Any, before: Preprocessing | None, asked: Any) -> None:
    """What voids the guarantee, before any work; the rows asked about are as the steps of an estimator take them."""
    train, problem = setting.split.train, setting.problem
    change_certifier(problem.loss, kind)
    if problem.class_weight is not None or (train.weight != 1).any():
        raise CapabilityError("rows and classes without weights where rows are counted", "weights", "Leave them out.")
    raw = setting.raw
    if raw is None and before is not None:
        raise CapabilityError(
            "a frame, an array or texts before the steps of an estimator", "other rows, such as sparse ones",
            "If the steps were fitted on other rows, hand in pipeline[:-1].transform(X) with pipeline[-1].",
        )  # fmt: skip
    if raw is not None and learns_from(estimator, raw.table, train.label_values(train.y), asked):
        raise InputError(
            "preprocessing that the training rows have no part in", "steps that some of these rows fit otherwise",
            "They move with planted rows: fit them on other rows, with FrozenEstimator around them, or use "
            "CertifiedClassifier.",
        )  # fmt: skip
    if not train.is_sparse and is_scaled(train.X):
        raise InputError(
            "rows that no scaler was fitted on", "columns that one has left",
            "Such a scaler moves with planted rows: fit it on other rows, or use CertifiedClassifier.",
        )  # fmt: skip


def _answered(
    data: Any, X: Matrix, options: LearnerOptions, setting: Setting, kind: Change, most: int
) -> AnswersReport:
    train = setting.split.train
    model = make_learner(setting.problem).fit(train)
    scores = model.decision_function(X)
    y = np.where(scores > 0, 1.0, -1.0)
    claim = Claim(train, setting.problem, unfiltered(setting).sets, 0.0, Dataset(X, y))
    held, answers = changes_withstood(claim, most, kind), train.label_values(y)
    told = zip(answers, scores.tolist(), held.tolist(), strict=True)
    return AnswersReport(
        dataset=describe_data(setting), model=describe_model(setting), kind=kind, most=most,
        answers=[{"row": i, "answer": plain(k), "score": s, "withstands": n} for i, (k, s, n) in enumerate(told)],
        assumptions=[*claim.assumptions()[3:], ROW_BY_ROW],
        versions=versions(), seed=options.seed, options=plain(influences(options)),
        command=command_line("certify", data, options),
    )  # fmt: skip


def _rows(rows: Any, options: LearnerOptions, before: Preprocessing | None, train: Dataset) -> tuple[Matrix, Any]:
    """The rows asked about, as the learner sees them and as the steps before it take them."""
    if isinstance(rows, (str, os.PathLike)):
        names = train.feature_names if before is None else before.columns
        rows = read_rows(rows, None if names is None else tuple(map(str, names)), options.layout())
    matrix = as_matrix(rows if before is None else before(rows, train.feature_names)[0], "rows")
    if matrix.shape[1] != train.d:
        raise InputError(f"rows of {train.d} columns, as the training rows have", f"{matrix.shape[1]}")
    return matrix, rows if before is None else before.seen[-1]
