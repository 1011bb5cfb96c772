"""Everything an audit can be told, checked before any work starts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .. import attacks
from ..convex import chosen_solver
from ..core import (
    ERROR,
    Budget,
    CapabilityError,
    Dataset,
    InputError,
    Measure,
    as_weights,
    check_integer,
    check_number,
    check_once,
    check_seed,
    parse_domain,
    parse_measure,
)
from ..core.plugins import Named, named, stated
from ..datasets.layout import Layout
from ..defenses import DEFAULTS, DEFENSES, as_defense, find_defense
from ..learners import Learner
from ..losses import LOSSES, MultiProblem, Problem
from ..losses.problem import LEAST_REG
from .groups import Grouping
from .models import MANY_MODELS, MODELS, checked_model, class_weight_of, class_weight_text, learner_of, loss_of
from .portfolio import portfolio_names
from .target import Target

DEFAULT_DATA = "breast_cancer"
DEFAULT_MODEL = "svm"
DEFAULT_REG = 0.01
PORTFOLIO = "portfolio"
"""The word for a choice of attacks from cheap to dear, as far as a count of the work allows."""
EVERY = "all"
"""The word for all attacks."""
BASELINE = "kkt-grid"
"""The attack that "all" leaves out."""
_PLURAL = {"attack": "attacks", "defense": "defenses"}
"""Names of before, which stay for one version."""
LAST = "refined"
"""The attack that starts from what the others have found."""


@dataclass(frozen=True, kw_only=True)
class LearnerOptions:
    """The learner and the defences that stand before it, and how a file is read: see `audit` for each field."""

    model: Any = None
    estimator: Any = None
    reg: float | None = None
    penalize_intercept: bool | None = None
    defenses: Any = DEFAULTS
    variant: str = "paper"
    remove: float = 0.05
    domain: str | None = None
    label: str | None = None
    test: Any = None
    test_fraction: float | None = None
    seed: int = 0
    header: str | None = None
    index: str | None = None
    sample_weight: Any = None
    class_weight: Any = None
    frozen: Any = None

    def __post_init__(self) -> None:
        self._check_learner()
        _one_of(self.variant, "variant", ("paper", "reference"))
        share = check_number(self.remove, "remove", at_least=0, below=1, remedy="0.05 means 5 % per class.")
        self._set("remove", share)
        self._set("defenses", self._checked_defenses())
        if self.domain is not None:
            parse_domain(self.domain)
        if self.test_fraction is not None:
            self._set("test_fraction", check_number(self.test_fraction, "test_fraction", above=0, below=1))
        check_seed(self.seed)
        self.layout()
        if self.frozen is not None:
            if self.estimator is None:
                raise InputError("an estimator beside frozen columns", "none", "See --domain for features.")
            if self.domain is not None and parse_domain(self.domain)[0] not in ("real", "range"):
                raise InputError("a domain real or range beside frozen columns", repr(self.domain))
        if self.sample_weight is not None and not isinstance(self.sample_weight, str):
            self._set("sample_weight", as_weights(self.sample_weight, np.size(self.sample_weight), "sample_weight"))

    @classmethod
    def of(cls, options: Self | None, keywords: Mapping[str, Any]) -> Self:
        """What a command was given: an object of options, or keywords to make one of."""
        twice = [name for name, plural in _PLURAL.items() if name in keywords and plural in keywords]
        if twice:
            raise InputError(f"{_PLURAL[twice[0]]} alone", f"{twice[0]} beside it")
        keywords = {_PLURAL.get(name, name): value for name, value in keywords.items()}
        if options is None:
            return cls(**keywords)
        if type(options) is not cls:
            raise InputError(f"options as {cls.__name__}, or as keywords", f"a {type(options).__name__}")
        if keywords:
            raise InputError("options as an object or as keywords", f"both, with {', '.join(keywords)}")
        return options

    def _check_learner(self) -> None:
        if self.penalize_intercept is not None:
            _flag(self.penalize_intercept, "penalize_intercept")
        if self.estimator is not None:
            own = ("model", "reg", "penalize_intercept", "class_weight")
            given = [name for name in own if getattr(self, name) is not None]
            if given:
                raise InputError(
                    "an estimator alone", f"an estimator and {' and '.join(given)}", "The estimator brings its own."
                )
            return
        self._set("class_weight", class_weight_text(self.class_weight))
        self._set("model", checked_model(DEFAULT_MODEL if self.model is None else self.model))
        given = [name for name in ("reg", "penalize_intercept", "class_weight") if getattr(self, name) is not None]
        if given and self.learner is not None:
            raise InputError("a learner alone", f"a learner and {' and '.join(given)}", "The learner brings its own.")
        if self.learner is not None:
            return
        reg = DEFAULT_REG if self.reg is None else self.reg
        remedy = "It is lambda of the objective, such as 0.01."
        self._set("reg", check_number(reg, "reg", at_least=LEAST_REG, at_most=1 / LEAST_REG, remedy=remedy))

    def _checked_defenses(self) -> tuple[str, ...]:
        names = _names(self.defenses, "defenses", tuple(DEFENSES), lambda thing: as_defense(thing, self.remove))
        if "none" in names:
            if len(names) > 1:
                got = ",".join(map(str, names))
                raise InputError("defenses by name, or 'none' alone", repr(got), "'none' stands for no defence at all.")
            return ()
        for name in names:
            find_defense(name)
        return names

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def frozen_columns(self) -> tuple[str, ...]:
        """Names of the columns that the attacker cannot change."""
        names = self.frozen.split(",") if isinstance(self.frozen, str) else self.frozen or ()
        return tuple(dict.fromkeys(str(name).strip() for name in names))

    def layout(self) -> Layout:
        """How a table is laid out."""
        weight = self.sample_weight if isinstance(self.sample_weight, str) else None
        return Layout(self.label, self.header, self.index, weight)

    @property
    def learner(self) -> Learner | None:
        """The learner of someone else that `model` stands for; None where it stands for a loss."""
        return learner_of(self.model)

    def measure(self, train: Dataset) -> Measure:
        """What damage is measured by: the error, where nothing else can be asked for."""
        return ERROR

    def problem(self, train: Dataset | None = None) -> Problem:
        """The learning problem of `model`; `class_weight` names the labels of `train`, or -1 and 1."""
        if self.learner is not None:
            return _fitting(self.learner.problem, train)
        if train is not None and train.n_classes is not None:
            return self._problem_of_many()
        loss = loss_of(DEFAULT_MODEL if self.model is None else self.model)
        penalized = not loss.free_intercept if self.penalize_intercept is None else self.penalize_intercept
        labels = [-1, 1] if train is None else train.label_values([-1.0, 1.0])
        weight = class_weight_of(self.class_weight, labels)
        return Problem(loss, float(self.reg or DEFAULT_REG), penalize_intercept=penalized, class_weight=weight)

    def _problem_of_many(self) -> MultiProblem:
        """The learning problem of more than two classes."""
        model = str(self.model)
        if model not in MANY_MODELS:
            known = " or ".join(MANY_MODELS)
            raise CapabilityError(f"a model of more than two classes, {known}", model, "Or keep two of the classes.")
        if self.class_weight is not None:
            raise CapabilityError("no class weights with more than two classes", self.class_weight)
        penalized = model == "svm" if self.penalize_intercept is None else bool(self.penalize_intercept)
        return MultiProblem(MANY_MODELS[model](), float(self.reg or DEFAULT_REG), penalize_intercept=penalized)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(LearnerOptions):
    """Options of `evaluate`: those of a learner, and by which metric damage is measured."""

    metric: str = "error"

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_measure(self.metric)

    def measure(self, train: Dataset) -> Measure:
        """The metric, with the classes of these rows."""
        return parse_measure(self.metric).bound(train)

    def check_certifiable(self) -> None:
        """Raise unless a certificate can bound the metric."""
        if not parse_measure(self.metric).of_rows:
            raise CapabilityError(
                "a metric that a certificate bounds: error, recall:CLASS or fpr:CLASS", repr(self.metric),
                "Certify recall:CLASS of each class.",
            )  # fmt: skip


def _fitting(problem: Problem, train: Dataset | None) -> Problem:
    """The problem of a learner of someone else, if it is one of as many classes as the rows have."""
    if train is not None and problem.many_classes != (train.n_classes is not None):
        expected = "a MultiProblem" if train.n_classes is not None else "a Problem of two classes"
        raise CapabilityError(f"{expected} of the learner for rows of {train.k} classes", repr(problem))
    return problem


@dataclass(frozen=True, kw_only=True)
class AuditOptions(EvaluateOptions):
    """Options of `audit`, which says what each means, checked: wrong ones raise `InputError`.

    Examples
    --------
    >>> AuditOptions(epsilon=0.03, defenses="l2,slab").defenses
    ('l2', 'slab')
    >>> AuditOptions(epsilon=3)
    Traceback (most recent call last):
    linpoison.core.errors.InputError: expected epsilon as a number above 0 and of at most 1, got 3. ...
    """

    epsilon: float = 0.03
    attacks: Any = (PORTFOLIO,)
    target: str = "test"
    distinct: bool = False
    certify: bool = False
    solver: str | None = None
    attack_variant: str = "library"
    subpopulation: str | None = None
    jobs: int | None = None
    time_limit: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("epsilon", Budget(self.epsilon).epsilon)
        _flag(self.certify, "certify")
        if self.certify:
            self.check_certifiable()
        _flag(self.distinct, "distinct")
        self._set("attacks", self._checked_attacks())
        self._set("solver", chosen_solver(self.solver))
        _one_of(self.attack_variant, "attack_variant", ("library", "paper"))
        if Target.parse(self.target).kind == "rows" and self.metric != ERROR.name:
            raise InputError("the metric error with the target rows:...", repr(self.metric), "Or another target.")
        if self.subpopulation is not None:
            Grouping.parse(self.subpopulation)
        if self.time_limit is not None:
            seconds = check_number(self.time_limit, "time_limit", above=0, remedy="It is in seconds: 60 is a minute.")
            self._set("time_limit", seconds)
        self._set("jobs", processors() if self.jobs is None else check_integer(self.jobs, "jobs", at_least=1))

    def _checked_attacks(self) -> tuple[str, ...]:
        known = tuple(attacks.ATTACKS)
        names = _names(self.attacks, "attacks", known, attacks.as_attack)
        for word in (EVERY, PORTFOLIO):
            if word in names and len(names) > 1:
                raise InputError(
                    f"attacks by name, or {word!r} alone", ",".join(map(str, names)),
                    f"Leave out the names: {EVERY!r} runs every attack but {BASELINE}, {PORTFOLIO!r} a choice of them.",
                )  # fmt: skip
            if names == (word,):
                return names
        if not names:
            raise InputError(f"attacks among {', '.join(known)}", "none")
        for name in names:
            attacks.find_attack(name)
        return tuple(sorted(names, key=_is_last))

    @property
    def every(self) -> bool:
        """Whether all attacks run."""
        return self.attacks == (EVERY,)

    @property
    def portfolio(self) -> bool:
        """Whether the attacks are chosen by what the work allows."""
        return self.attacks == (PORTFOLIO,)

    def attack_names(self) -> tuple[str, ...]:
        """Names of the attacks in the order in which they run."""
        if self.every:
            return tuple(sorted((name for name in attacks.ATTACKS if name != BASELINE), key=_is_last))
        if self.portfolio:
            return portfolio_names()
        return tuple(self.attacks)


def _is_last(name: str) -> bool:
    """Whether an attack starts from what the others have found."""
    return name == LAST or (isinstance(name, Named) and bool(name.thing.needs_start))


def influences(options: LearnerOptions) -> dict[str, Any]:
    """The options that the result depends on, as plain values (everything but `jobs`)."""
    values = {name: value for name, value in vars(options).items() if name != "jobs"}
    if values["estimator"] is not None and not isinstance(values["estimator"], (str, os.PathLike)):
        values["estimator"] = repr(values["estimator"])
    if isinstance(values["sample_weight"], np.ndarray):
        weight = values["sample_weight"]
        values["sample_weight"] = f"{weight.size} weights, {hashlib.sha256(weight.tobytes()).hexdigest()[:12]}"
    if values["model"] is not None and is_foreign("losses", values["model"]):
        values["model"] = stated("losses" if options.learner is None else "learners", values["model"])
    for group in ("defenses", "attacks"):
        if group in values:
            values[group] = tuple(stated(group, name) if is_foreign(group, name) else name for name in values[group])
    if hasattr(values["test"], "columns"):
        values["test"] = f"frame of {len(values['test'])} rows"
    if values["frozen"] is not None:
        values["frozen"] = options.frozen_columns()
    for name in (
        "header",
        "index",
        "sample_weight",
        "frozen",
        "time_limit",
    ):  # a report that does without them is as it was
        if values.get(name, 0) is None:
            del values[name]
    if values.get("metric") == ERROR.name:
        del values["metric"]
    return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in values.items()}


def is_foreign(group: str, name: str) -> bool:
    """Whether a name is none of this library."""
    own = {"defenses": DEFENSES, "losses": [*MODELS, *LOSSES], "attacks": [EVERY, PORTFOLIO, *attacks.ATTACKS]}
    return isinstance(name, Named) or name not in list(own[group])


def _names(value: Any, what: str, known: tuple[str, ...], brought: Callable[[Any], Any]) -> tuple[str, ...]:
    """Distinct names of a comma list, or of a sequence or mapping that may hold objects, which come as `Named`.

    Parameters
    ----------
    what : str
        What is named.
    known : tuple of str
        Names that errors tell of.
    brought : callable
        From an object to what stands behind its name; raises for one that is none.
    """
    if value is None or (isinstance(value, str) and value == "none"):
        return ()
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    elif hasattr(value, "get_params") or hasattr(value, "run"):
        value = [value]
    try:
        items = dict(value) if isinstance(value, Mapping) else dict(enumerate(value))
    except (TypeError, NotImplementedError):
        raise InputError(f"{what} as names among {', '.join(known)}, or as objects", repr(value)) from None
    mapped = isinstance(value, Mapping)
    plain = {key for key, item in items.items() if item is None or (isinstance(item, str) and not mapped)}
    items = {key: item if key in plain else brought(item) for key, item in items.items()}
    value = items if mapped else items.values()
    names = named(value, what, lambda thing: str(thing.title if what == "defenses" else thing.name))
    check_once(names, what)
    return names


def _flag(value: Any, name: str) -> None:
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} as True or False", repr(value))


def _one_of(value: Any, what: str, known: Iterable[str] | Mapping[str, Any]) -> str:
    choices = tuple(known)
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{what} among {', '.join(choices)}", repr(value))
    return value


def processors() -> int:
    """How many processes this machine runs side by side."""
    from joblib import cpu_count

    return int(cpu_count())
