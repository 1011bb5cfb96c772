"""From what the user names (data, model, defences) to what an attack is given."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import Dataset, Domain, InputError, Split, as_matrix
from ..losses import Problem
from .estimators import read_estimator
from .options import LearnerOptions

if TYPE_CHECKING:
    from ..defenses import Defense
    from ..evaluation import Evaluator
    from .handed import Handed


@dataclass(frozen=True, eq=False)
class Setting:
    """The data, the learner and the defences of one question.

    Parameters
    ----------
    split : Split
        Rows as the learner sees them, after the fixed preprocessing of an estimator.
    problem : Problem
    defenses : mapping of str to Defense
        Unfitted.
    learner : str
        The learner in words, for reports.
    """

    split: Split
    problem: Problem
    defenses: Mapping[str, Defense]
    learner: str
    handed: Handed | None = None

    def digest(self) -> str:
        """A hash of all rows and of the domain's bounds."""
        code = hashlib.sha256(f"{self.split.train.digest()} {self.split.test.digest()}".encode())
        domain = self.split.train.domain
        code.update(f"{domain.kind} {domain.integral}".encode())
        for bound in (domain.lower, domain.upper):
            code.update(b"" if bound is None else np.ascontiguousarray(bound).tobytes())
        return code.hexdigest()[:16]

    def evaluator(self) -> Evaluator:
        """The scorer of poison in this setting."""
        from ..evaluation import Evaluator

        return Evaluator(self.split.train, self.problem, self.defenses)


def prepare(data: Any, options: LearnerOptions) -> Setting:
    """Load the data and build the problem and the defences."""
    split = load_split(data, options)
    if options.estimator is None:
        problem, learner, handed = options.problem(), str(options.model), None
    else:
        split, problem, learner, handed = _with_estimator(split, options)
    return Setting(split, problem, build_defenses(options, problem), learner, handed)


def build_defenses(options: LearnerOptions, problem: Problem) -> dict[str, Defense]:
    """The unfitted sanitisers of `options`."""
    from ..defenses import make_defense

    return {
        name: make_defense(name, remove=options.remove, variant=options.variant, problem=problem)
        for name in options.defenses
    }


def load_split(data: Any, options: LearnerOptions) -> Split:
    """Training and test rows of a name, a path, a `Split` or ``(X_train, y_train, X_test, y_test)``."""
    if isinstance(data, (str, os.PathLike)):
        return _load_source(data, options)
    for name in ("label", "test", "test_fraction"):
        if getattr(options, name) is not None:
            raise InputError(f"no option {name} with data given as arrays", repr(getattr(options, name)))
    split = data if isinstance(data, Split) else _split_of_arrays(data)
    return split if options.domain is None else in_domain(split, options.domain)


def _load_source(data: str | os.PathLike[str], options: LearnerOptions) -> Split:
    from ..datasets import load, names

    name = os.fspath(data)
    fraction = options.test_fraction
    named = name.startswith("mnist:") or name in {info.name for info in names()}
    if fraction is not None and named:
        raise InputError(f"no test fraction with the named data set {name}", f"{fraction:g}", "Its split is fixed.")
    extra = {} if fraction is None else {"test_fraction": fraction}
    return load(data, domain=options.domain, label=options.label, test=options.test, seed=options.seed, **extra)


def _split_of_arrays(data: Any) -> Split:
    if not isinstance(data, (tuple, list)) or len(data) != 4:
        raise InputError(
            "data as a name, a path, a Split or (X_train, y_train, X_test, y_test)", f"a {type(data).__name__}"
        )
    from ..datasets import LabelEncoding
    from ..datasets.scaling import check_scale

    X_train, y_train, X_test, y_test = data
    encoding = LabelEncoding.of(y_train)
    features = _same_names(X_train, X_test)
    rows, test_rows = as_matrix(X_train, "X_train"), as_matrix(X_test, "X_test")
    check_scale(rows, "X_train")
    check_scale(test_rows, "X_test")
    return Split(
        Dataset(rows, encoding.encode(y_train), feature_names=features),
        Dataset(test_rows, encoding.encode(y_test), feature_names=features),
    )


def _same_names(X_train: Any, X_test: Any) -> tuple[str, ...] | None:
    """Column names of the training rows; those of the test rows must be the same, in the same order."""
    names, other = (
        None if columns is None else tuple(str(name) for name in columns)
        for columns in (getattr(X_train, "columns", None), getattr(X_test, "columns", None))
    )
    if names is not None and other is not None and names != other:
        raise InputError(
            "the columns of X_train in X_test, in the same order", ", ".join(other[:5]) + ", ..." * (len(other) > 5),
            "Select them as X_test[X_train.columns].",
        )  # fmt: skip
    return names


def in_domain(split: Split, word: str) -> Split:
    """The same rows in another domain, with bounds from the training rows."""
    from ..datasets.loading import with_domain

    return with_domain(split, word)


def _with_estimator(split: Split, options: LearnerOptions) -> tuple[Split, Problem, str, Handed]:
    from ..learners import translate_estimator
    from .handed import compare

    estimator = read_estimator(options.estimator)
    translated = translate_estimator(estimator, split.train.n)
    changed = _transformed(split, translated, options.domain, getattr(estimator, "feature_names_in_", None))
    if changed.train.d != translated.model.d:
        raise InputError(
            f"data of {translated.model.d} features, as the estimator was fitted on", f"{changed.train.d} features",
            "Use the data set that it was made for.",
        )  # fmt: skip
    handed = compare(translated, changed, estimator)
    return changed, translated.problem, f"{type(estimator).__name__}: {translated.note}", handed


def _transformed(split: Split, translated: Any, domain: str | None, names: Any) -> Split:
    """`split` behind the fixed preprocessing; a changed space has the domain R^d unless one is named."""
    parts = [_apply(translated.transform, part, names) for part in (split.train, split.test)]
    if _same(parts[0], split.train.X):
        return split
    space = Domain.of(domain or "real", parts[0])
    train, test = (
        Dataset(X, part.y, part.weight, space, part.name)
        for X, part in zip(parts, (split.train, split.test), strict=True)
    )
    return Split(train, test)


def _apply(transform: Any, part: Dataset, names: Any) -> Any:
    try:
        return as_matrix(transform(_framed(part, names)), "transformed X")
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError("data that the estimator can transform", f"{part.d} features ({reason})") from None


def _framed(part: Dataset, names: Any) -> Any:
    """The rows as a data frame with the columns that an estimator was fitted on, if both have the same names."""
    if names is None or part.feature_names is None or part.is_sparse or set(names) != set(part.feature_names):
        return part.X
    import pandas as pd

    return pd.DataFrame(part.X, columns=list(part.feature_names))[list(names)]


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if one.shape != other.shape or hasattr(one, "toarray") != hasattr(other, "toarray"):
        return False
    difference = abs(one - other)
    return bool(difference.max() == 0) if hasattr(one, "toarray") else not np.any(difference)
