"""What a defender controls: the settings that `harden` tries, the classifier that each stands for, and its code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..certificates import PartitionClassifier
from ..certificates.partition.votes import flips_needed
from ..core import Dataset, InputError
from ..defenses import DEFAULTS, AllOf, Defense, RangeDefense, SanitizedClassifier, TrustedDefense, make_defense
from ..learners import LinearClassifier
from ..losses import LOSSES, Problem
from .inputs import Setting
from .options import LearnerOptions
from .remedies import enough

AS_IS = "as it is"
MOST_REMOVED = 0.5
"""Of a class."""
FACTORS = (3.0, 10.0)
"""Of the regulariser, where few rows are learned from; filters are tried with the last one."""
PARTS = (4, 8)
"""Parts for each row of the budget: a vote needs more than two."""


@dataclass(frozen=True, eq=False)
class Measure:
    """One setting of what a defender controls.

    Parameters
    ----------
    name : str
    words : str
        What to do, as a phrase.
    defenses : mapping of str to Defense
        Several stand for the best of them in hindsight, as in `audit`.
    reg : float or None
        Another regulariser than the user's.
    trusted : Dataset or None
        Rows that no poison is among.
    copies : int
        How often the trusted rows stand among the training rows.
    alone : bool
        Whether nothing else is learned from.
    n_parts : int
        Of the training rows, with a model of each, which vote; 0 for one model of all.
    """

    name: str
    words: str
    defenses: Mapping[str, Defense] = field(default_factory=dict)
    reg: float | None = None
    trusted: Dataset | None = None
    copies: int = 1
    alone: bool = False
    n_parts: int = 0

    @property
    def proved(self) -> bool:
        """Whether what poison can do at most is known without an attack."""
        return self.alone or self.n_parts > 0

    @property
    def fixed(self) -> bool:
        """Whether there are filters, which no poison moves."""
        return bool(self.defenses) and not any(one.follows_poison for one in self.defenses.values())

    def problem(self, own: Problem) -> Problem:
        """What is minimised, where the user minimises `own`."""
        return own if self.reg is None else replace(own, reg=self.reg)

    def rows(self, train: Dataset) -> Dataset:
        """What the filters see: the training rows, and the further copies of the trusted ones."""
        if self.alone and self.trusted is not None:
            return self.trusted
        if self.copies == 1 or self.trusted is None:
            return train
        more = np.tile(np.arange(self.trusted.n), self.copies - 1)
        return train.mix(self.trusted.take(more))

    def build(self, own: Problem, train: Dataset, name: str = "") -> Any:
        """The classifier, fitted on clean training rows under the user's own labels.

        Parameters
        ----------
        name : str
            Which of several filters stands before it.
        """
        rows = self.rows(train)
        labels, problem = np.asarray(rows.label_values(rows.y)), self.problem(own)
        weight = {} if (rows.weight == 1).all() else {"sample_weight": rows.weight}
        if self.n_parts:
            return parted(problem, self.n_parts).fit(rows.X, labels, **weight)
        if not self.defenses:
            return classifier(problem, rows).fit(rows.X, labels, **weight)
        defense = _in_words_of(self.filter(name), train)
        kept = defense.fit(rows.X, labels).sample_indices_
        learner = classifier(problem, rows.take(kept))
        return SanitizedClassifier(defense, learner).fit(rows.X, labels, **weight)

    def filter(self, name: str = "") -> Defense:
        """The only filter, or that of a name."""
        return self.defenses[name] if name in self.defenses else next(iter(self.defenses.values()))

    def worst_wrong(self, model: Any, n_poison: int, rows: Dataset) -> np.ndarray:
        """Of a measure that is proved, the rows that a fitted classifier may get wrong with so many poison rows."""
        labels = np.asarray(rows.label_values(rows.y))
        if self.n_parts:
            second = labels == model.classes_[1]
            votes = model.votes(rows.X)[np.arange(rows.n), second.astype(int)]
            return np.asarray(flips_needed(votes, self.n_parts, np.where(second, 1, -1)) <= n_poison)
        return np.asarray(model.predict(rows.X) != labels)


def classifier(problem: Problem, rows: Dataset) -> LinearClassifier:
    """The learner of a problem, at the regulariser that holds for these rows."""
    weight: Any = problem.class_weight
    if isinstance(weight, tuple):
        weight = dict(zip(rows.label_values([-1.0, 1.0]), weight, strict=True))
    return LinearClassifier(
        problem.loss, problem.pinned(rows.total).reg, penalize_intercept=problem.penalize_intercept,
        fit_intercept=problem.fit_intercept, class_weight=weight,
    )  # fmt: skip


def parted(problem: Problem, n_parts: int) -> PartitionClassifier:
    """The vote of so many learners of a problem."""
    return PartitionClassifier(
        n_parts, problem.loss, problem.reg, penalize_intercept=problem.penalize_intercept,
        fit_intercept=problem.fit_intercept,
    )  # fmt: skip


def measures(setting: Setting, options: LearnerOptions, n_poison: int, trusted: Dataset | None) -> list[Measure]:
    """The settings that are tried, the present one first."""
    train, problem = setting.split.train, setting.problem
    filtered = _medians(train, problem, n_poison, options)
    if trusted is not None:
        filtered += _trusted_measures(trusted, train.n, options, problem)
    proved = _proved(train, problem, n_poison, trusted)
    if options.estimator is None and problem.scaling == "mean":
        filtered += [_regularised(item, FACTORS[-1] * problem.reg) for item in filtered]
        proved += [_regularised(item, factor * problem.reg) for item in proved if item.alone for factor in FACTORS]
    return [Measure(AS_IS, "leave it as it is", setting.defenses), *proved, *filtered]


def _regularised(item: Measure, reg: float) -> Measure:
    words = f"{item.words}, and regularise with {reg:g}"
    return replace(item, name=f"{item.name}, reg {reg:g}", words=words, reg=reg)


def _medians(train: Dataset, problem: Problem, n_poison: int, options: LearnerOptions) -> list[Measure]:
    """Filters that need no trusted rows; none where a class would have to lose more than half of its rows."""
    try:
        share = enough(train, n_poison, options.remove)
    except InputError:
        return []
    if share > MOST_REMOVED:
        return []
    robust = AllOf([_robust(name, share, problem) for name in _cheap(problem)])
    words = f"take medians for means, and keep what {_listed(problem)} all keep that remove {share:.1%} of each class"
    return [Measure("medians", words, {"medians": robust})]


def _proved(train: Dataset, problem: Problem, n_poison: int, trusted: Dataset | None) -> list[Measure]:
    """What poison can do nothing to, or as much as a count of votes says."""
    found = []
    if trusted is not None:
        words = f"learn from the {trusted.n} trusted rows, and from no others"
        found.append(Measure("trusted-alone", words, trusted=trusted, alone=True))
    if problem.class_weight is None and problem.scaling == "mean":
        for factor in PARTS:
            k = factor * n_poison + 1
            words = f"divide the training rows into {k} parts by a hash, learn from each, and let the models vote"
            if 2 * k < train.n:
                found.append(Measure(f"parts-{k}", words, n_parts=k))
    return found


def _trusted_measures(trusted: Dataset, n: int, options: LearnerOptions, problem: Problem) -> list[Measure]:
    rows, found = (trusted.X, trusted.y), []
    heavy = round((n - trusted.n) / trusted.n)
    for remove in dict.fromkeys((options.remove, 2 * options.remove)):
        parts = [_robust(name, remove, problem, center="mean") for name in _cheap(problem)]
        for extra, word in (((), ""), ((RangeDefense(),), " and the range of each column")):
            fixed = TrustedDefense(AllOf([*parts, *extra]), rows)
            name = f"trusted{'-range' if extra else ''}-{100 * remove:g}"
            words = (
                f"fit {_listed(problem)}{word} on {trusted.n} trusted rows, with thresholds that {remove:.0%} of these "
                "exceed, and keep the training rows within all of them"
            )
            found.append(Measure(name, words, {name: fixed}, trusted=trusted))
            if extra and heavy > 1:
                words = f"{words}, the trusted ones {heavy} times each"
                found.append(replace(found[-1], name=f"{name}-heavy", words=words, copies=heavy))
    return found


def _cheap(problem: Problem) -> list[str]:
    """The default filters that cost next to nothing and have a convex set, so that a bound can be made behind them."""
    made = {name: make_defense(name, problem=problem) for name in DEFAULTS}
    return [name for name, one in made.items() if one.cheap and one.has_convex_set]


def _listed(problem: Problem) -> str:
    *names, last = _cheap(problem)
    return f"{', '.join(names)} and {last}"


def _robust(name: str, remove: float, problem: Problem, center: str = "median") -> Defense:
    made = make_defense(name, remove=min(remove, MOST_REMOVED), problem=problem)
    return made.set_params(center=center) if "center" in made.get_params() else made


def _in_words_of(defense: Defense, train: Dataset) -> Defense:
    """The defence, whose trusted rows carry the user's own labels."""
    given = defense.get_params(deep=False)
    if "trusted" not in given:
        return defense
    X, y = given["trusted"]
    return TrustedDefense(given["defense"], (X, np.asarray(train.label_values(y))))


def code_of(measure: Measure, own: Problem, train: Dataset, name: str = "") -> str:
    """Python code of a function that builds the classifier of a measure; see `Measure.build`."""
    weighted = not (train.weight == 1).all()
    given = ["X", "y", *["X_trusted", "y_trusted"] * (measure.trusted is not None)]
    if weighted:
        given += ["sample_weight"] * (not measure.alone)
        given += ["sample_weight_trusted"] * (measure.alone or measure.copies > 1)
    trusted = "_trusted" if measure.alone else ""
    fit = f".fit(X{trusted}, y{trusted}{f', sample_weight=sample_weight{trusted}' * weighted})"
    imports, body = _steps(measure, own, train, name)
    says = "The hardened classifier, from training rows" + " and rows known to be clean" * (measure.trusted is not None)
    lines = [f'"""{measure.words[0].upper()}{measure.words[1:]}."""', "", *imports, "", ""]
    lines += [
        f"def build({', '.join(given)}):",
        f'    """{says}, as the learner sees them."""',
        *(f"    {line}" for line in body[:-1]),
    ]
    return "\n".join([*lines, f"    return {body[-1]}{fit}"]) + "\n"


def _steps(measure: Measure, own: Problem, train: Dataset, name: str) -> tuple[list[str], list[str]]:
    """Import lines; and the lines of the function, the last of which is an unfitted classifier."""
    rows, problem = measure.rows(train), measure.problem(own)
    if measure.n_parts:
        return ["from linpoison.certificates import PartitionClassifier"], [_text(parted(problem, measure.n_parts))]
    if not measure.defenses:
        return ["from linpoison import LinearClassifier"], [_text(classifier(problem, rows))]
    body, defense = [], measure.filter(name)
    if measure.copies > 1:
        stack, more = "scipy.sparse.vstack" if train.is_sparse else "np.concatenate", measure.copies - 1
        body.append(f"X = {stack}([X, *[X_trusted] * {more}])  # trusted rows count {measure.copies} times")
        lengthened = "y", *["sample_weight"] * bool((train.weight != 1).any())
        body += [f"{one} = np.concatenate([{one}, *[{one}_trusted] * {more}])" for one in lengthened]
    given = defense.get_params(deep=False)
    fixed = "trusted" in given
    seen, inner = (measure.trusted or rows, given["defense"]) if fixed else (rows, defense)
    parts = inner.get_params(deep=False).get("defenses", [inner])
    made = [_text(part, classifier(part.estimator, seen)) if _trains(part) else _text(part) for part in parts]
    body += ["filters = AllOf(", "    [", *(f"        {text}," for text in made), "    ]", ")"]
    if fixed:
        body.append("filters = TrustedDefense(filters, (X_trusted, y_trusted))")
    kinds = sorted({type(part).__name__ for part in parts} | {"AllOf", *["TrustedDefense"] * fixed})
    kept = rows.take(_in_words_of(defense, train).fit(rows.X, np.asarray(rows.label_values(rows.y))).sample_indices_)
    body.append(f"SanitizedClassifier(filters, {_text(classifier(problem, kept))})")
    numpy = ["import numpy as np", *["import scipy.sparse"] * train.is_sparse, ""]
    return [
        *(numpy if measure.copies > 1 else []), "from linpoison import LinearClassifier, SanitizedClassifier",
        f"from linpoison.defenses import {', '.join(kinds)}",
    ], body  # fmt: skip


def _trains(part: Defense) -> bool:
    return isinstance(part.get_params(deep=False).get("estimator"), Problem)


def _text(thing: Any, estimator: Any = None) -> str:
    """The constructor of an estimator, on one line; `estimator` stands for its own."""
    usual = {"variant": "paper", "method": "auto", "class_weight": None, "sets": None}
    shown = {name: value for name, value in thing.get_params(deep=False).items() if usual.get(name, usual) != value}
    texts = {name: _value(estimator if name == "estimator" and estimator else value) for name, value in shown.items()}
    return f"{type(thing).__name__}({', '.join(f'{name}={text}' for name, text in texts.items())})"


def _value(value: Any) -> str:
    if hasattr(value, "get_params"):
        return _text(value)
    name = getattr(value, "name", None)
    known = name in LOSSES and value == LOSSES[name]()
    return repr(name if known else value)
