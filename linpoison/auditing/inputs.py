"""From what the user names (data, model, defences) to what an attack is given."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._printable import printable
from ..core import ERROR, CapabilityError, Dataset, Domain, InputError, Measure, Split, as_matrix, parse_domain
from ..core.sizes import check_scale
from ..datasets import LabelEncoding, load
from ..datasets.loading import is_named, load_path
from ..datasets.scaling import scale_caution
from ..defender import Defender
from ..defenses import DEFAULTS, Defense, make_defense, tried
from ..learners import Learner, translate_estimator
from ..losses import Problem
from ..pipelines import RawRows, raw_rows
from ..reporting.cells import RANGE, REAL
from .frames import is_frame, parts_of_frame
from .handed import Handed, compare, read_estimator
from .journal import run_digest
from .options import LearnerOptions, is_foreign
from .preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Setting:
    """The data, the learner and the defences of one question.

    Parameters
    ----------
    split : Split
        Rows as the learner sees them, after the fixed preprocessing of an estimator.
    defenses : mapping of str to Defense
        Unfitted.
    learner : str
        The learner in words, for reports.
    own : Learner, optional
        The learner itself, where it is someone else's.
    raw : RawRows, optional
        What stands before the fixed preprocessing of an estimator.
    measure : Measure
        Of the damage.
    defender : Defender, optional
        Made of these; one that is given shares its memory, as that of a setting does with those that replace its parts.
    """

    split: Split
    problem: Problem
    defenses: Mapping[str, Defense]
    learner: str
    handed: Handed | None = None
    own: Learner | None = None
    raw: RawRows | None = None
    measure: Measure = ERROR
    defender: Defender = field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        parts = self.split.train, self.problem, self.defenses, self.own, self.measure
        object.__setattr__(self, "defender", Defender(*parts, like=self.defender))

    def digest(self) -> str:
        """A hash of all rows and of the domain's bounds."""
        code = hashlib.sha256(f"{self.split.train.digest()} {self.split.test.digest()}".encode())
        domain = self.split.train.domain
        code.update(f"{domain.kind} {domain.integral}".encode())
        for bound in (domain.lower, domain.upper):
            code.update(b"" if bound is None else np.ascontiguousarray(bound).tobytes())
        return code.hexdigest()[:16]

    def key(self, options: Mapping[str, Any], **more: Any) -> str:
        """What a journal of this question is kept under: a hash of rows, problem, learner, options and versions."""
        if self.measure != ERROR:
            more["measure"] = repr(self.measure)
        return run_digest(data=self.digest(), problem=repr(self.problem), options=options, learner=self.learner, **more)


def prepare(data: Any, options: LearnerOptions, *, whole: bool = False, many: bool = False) -> Setting:
    """Load the data and build the problem and the defences.

    With `whole` no row of a file is held out unasked, with `many` there may be more than two classes.
    """
    if options.estimator is None:
        split, handed, raw = load_split(data, options, whole=whole, many=many), None, None
        split = Split(of_mean_one(split.train)[0], split.test)
        problem = options.problem(split.train)
        learner = str(options.model)
    else:
        split, problem, learner, handed, raw = _with_estimator(data, options, whole)
    _warn_of_scales(split)
    defenses = build_defenses(options, problem)
    for name, defense in defenses.items():
        if is_foreign("defenses", name):
            tried(name, defense, split.train.X, split.train.y)
    return Setting(split, problem, defenses, learner, handed, options.learner, raw, options.measure(split.train))


def warn_of_sets(setting: Setting) -> None:
    """Say before the work which defences of someone else no attack works inside, and no certificate takes."""
    for name, defense in setting.defenses.items():
        if is_foreign("defenses", name) and not defense.has_convex_set:
            _caution(f"{name} has no convex set: nothing is certified behind it. {defense.passed_by}")


def _warn_of_scales(split: Split) -> None:
    """Say once, before hours of work, that columns are on scales that solvers are slow with."""
    said = scale_caution(split.train.X, split.train.feature_names)
    if said:
        _caution(said)


def _caution(said: str) -> None:
    if said not in _SAID:
        _SAID.add(said)
        _log.warning("linpoison: caution: %s", printable(said))


_SAID: set[str] = set()
_log = logging.getLogger("linpoison")


def build_defenses(options: LearnerOptions, problem: Problem) -> dict[str, Defense]:
    """The unfitted sanitisers of `options`; of the default ones those that take so many classes."""
    made = {
        name: make_defense(name, remove=options.remove, variant=options.variant, problem=problem)
        for name in options.defenses
    }
    if not problem.many_classes:
        return made
    able = {name: one for name, one in made.items() if one.many_classes}
    if options.defenses != DEFAULTS and len(able) < len(made):
        lost = ", ".join(name for name in made if name not in able)
        raise CapabilityError("defences of more than two classes", lost, f"Leave it out: {', '.join(able) or 'none'}.")
    return able


def load_split(
    data: Any,
    options: LearnerOptions,
    *,
    through: Preprocessing | None = None,
    whole: bool = False,
    many: bool = False,
) -> Split:
    """Training and test rows of a name, a path, a `Split` or ``(X_train, y_train, X_test, y_test)``.

    Parameters
    ----------
    through : Preprocessing, optional
        What the rows of files and arrays pass first, so that they may hold text and missing values.
    whole : bool, default False
        Hold out nothing of a file unless `options` names a share: the test rows are the training rows.
    many : bool, default False
        Take more than two classes.
    """
    split = _split_of_data(data, options, through, whole)
    if not many:
        split.train.require_both_classes()
    return _weighted(split, options)


def _split_of_data(data: Any, options: LearnerOptions, through: Preprocessing | None, whole: bool) -> Split:
    """The rows in the domain of the options, with what a file brings of weights, and without those of the options."""
    if isinstance(data, (str, os.PathLike)):
        return _load_source(data, options, through, whole)
    if is_frame(data):
        data, weight, places = parts_of_frame(data, options, whole)
        split = _split_of_arrays(data, through, whole)
        if places is not None:
            train, test = (replace(p, row_numbers=at) for p, at in zip((split.train, split.test), places, strict=True))
            split = Split(train, test)
        split = split if weight is None else Split(replace(split.train, weight=weight), split.test)
        return split if options.domain is None else split.in_domain(options.domain)
    for name in ("label", "test", "test_fraction", "header", "index"):
        if getattr(options, name) is not None:
            raise InputError(f"no option {name} with data given as arrays", repr(getattr(options, name)))
    split = data if isinstance(data, Split) else _split_of_arrays(data, through, whole)
    if options.domain is not None:
        split = split.in_domain(options.domain)
    split.train.domain.check(split.train.X, "training rows")
    split.test.domain.check_kind(split.test.X, "test rows")
    return split


def _load_source(
    data: str | os.PathLike[str], options: LearnerOptions, through: Preprocessing | None, whole: bool
) -> Split:
    name, fraction = os.fspath(data), options.test_fraction
    named = is_named(name)
    if fraction is not None and named:
        raise InputError(f"no test fraction with the named data set {name}", f"{fraction:g}", "Its split is fixed.")
    if named:
        layout: dict[str, Any] = options.layout().given()
        if "trusted" in layout:
            raise InputError(
                f"no column of trusted rows with the named data set {name}", layout["trusted"], "Number them."
            )
        return load(data, domain=options.domain, test=options.test, seed=options.seed, **layout)
    share = fraction if fraction is not None else None if whole else _HELD_OUT
    return load_path(
        name, options.layout(), domain=options.domain, test=options.test, seed=options.seed, through=through,
        test_fraction=share,
    )  # fmt: skip


_HELD_OUT = 0.3  # as in `linpoison.load`


def _split_of_arrays(data: Any, through: Preprocessing | None, whole: bool) -> Split:
    if whole and isinstance(data, (tuple, list)) and len(data) == 2:
        data = (*data, *data)
    if not isinstance(data, (tuple, list)) or len(data) != 4:
        raise InputError(
            "data as a name, a path, a Split or (X_train, y_train, X_test, y_test)", f"a {type(data).__name__}"
        )
    X_train, y_train, X_test, y_test = data
    encoding = LabelEncoding.of(y_train)
    label = None if getattr(y_train, "name", None) is None else str(y_train.name)
    names = _same_names(X_train, X_test)

    def part(X: Any, y: Any, name: str) -> Dataset:
        rows, columns = (X, names) if through is None else through(X, names)
        matrix = as_matrix(rows, name)
        check_scale(matrix, name)
        return Dataset(
            matrix,
            encoding.encode(y),
            feature_names=columns,
            classes=encoding.values,
            n_classes=encoding.n_classes,
            label_name=label,
        )

    return Split(part(X_train, y_train, "X_train"), part(X_test, y_test, "X_test"))


def _weighted(split: Split, options: LearnerOptions) -> Split:
    """The training rows with the sample weights that were given, as an array or (read by now) as a column."""
    weight, train = options.sample_weight, split.train
    if weight is None:
        return split
    if not isinstance(weight, str):
        if np.size(weight) != train.n:
            of_file = "" if train.row_numbers is None else "Of a file, name the column of weights."
            raise InputError(f"{train.n} sample weights, one for each training row", f"{np.size(weight)}", of_file)
        train = replace(train, weight=np.asarray(weight))
    train.require_all_classes("training rows of positive weight")
    return Split(train, split.test)


def of_mean_one(train: Dataset) -> tuple[Dataset, float]:
    """The rows with sample weights of mean 1, so that a poison row weighs as much as the average row; and their mean.

    ``C sum_i w_i phi_i`` is ``(C m) sum_i (w_i / m) phi_i``: the constant of a problem takes the mean ``m`` up.
    """
    mean = train.total / train.n
    return (train, 1.0) if mean == 1 else (replace(train, weight=train.weight / mean), mean)


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


def _with_estimator(
    data: Any, options: LearnerOptions, whole: bool
) -> tuple[Split, Problem, str, Handed, RawRows | None]:
    estimator = read_estimator(options.estimator)
    before = Preprocessing.of(estimator)
    if before is not None and _is_numeric(data):
        split = load_split(data, replace(options, domain=None), whole=whole)
        split = _transformed(split, before, options.domain)
    else:
        split = load_split(data, options, through=before, whole=whole)
    raw = raw_rows(None if before is None else before.table(split.train), estimator, options.frozen_columns())
    split = in_table(split, raw, options.domain)
    train, mean = of_mean_one(split.train)
    split = Split(train, split.test)
    translated = translate_estimator(estimator, train.n, mean_weight=mean)
    if split.train.d != translated.model.d:
        raise InputError(
            f"data of {translated.model.d} features, as the estimator was fitted on", f"{split.train.d} features",
            "Use the data set that it was made for.",
        )  # fmt: skip
    handed = compare(translated, split, estimator)
    return split, translated.problem, f"{type(estimator).__name__}: {translated.note}", handed, raw


def in_table(split: Split, raw: RawRows | None, word: str | None) -> Split:
    """The rows in the domain that the steps leave, in the range of the clean ones if the `word` says so."""
    kind = REAL if word is None else parse_domain(word)[0]
    if raw is None or not raw.origins or kind not in (REAL, RANGE):
        return split
    split = Split(*(replace(part, domain=raw.domain) for part in (split.train, split.test)))
    return split if kind == REAL else split.in_domain(str(word))


def _is_numeric(data: Any) -> bool:
    """Whether the rows are numbers already: those of a `Split` and of the data sets that have a name."""
    return isinstance(data, Split) or (isinstance(data, (str, os.PathLike)) and is_named(os.fspath(data)))


def _transformed(split: Split, before: Preprocessing, domain: str | None) -> Split:
    """`split` behind the fixed preprocessing; a changed space has the domain R^d unless one is named."""
    parts = [before(part.X, part.feature_names) for part in (split.train, split.test)]
    if _same(parts[0][0], split.train.X):
        return split if domain is None else split.in_domain(domain)
    space = Domain.of(domain or "real", parts[0][0], parts[1][0])
    train, test = (
        replace(part, X=X, domain=space, feature_names=names, image_shape=None)
        for (X, names), part in zip(parts, (split.train, split.test), strict=True)
    )
    return Split(train, test)


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if one.shape != other.shape or hasattr(one, "toarray") != hasattr(other, "toarray"):
        return False
    difference = abs(one - other)
    return bool(difference.max() == 0) if hasattr(one, "toarray") else not np.any(difference)
