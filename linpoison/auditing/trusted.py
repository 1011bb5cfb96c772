"""The defender that a certificate speaks of: filters fixed on trusted rows, which no poison moves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..certificates import Claim
from ..core import LABELS, CapabilityError, Dataset, InputError, LinearModel, Poison
from ..defenses import Defense, TrustedDefense
from ..learners import make_learner
from ..losses import Problem
from ..sets import Box, ByLabel, FeasibleSet, domain_set, in_domain, intersect
from .inputs import Setting, warn_of_sets

COSTLY = 4_000_000
"""Entries of a subspace basis from which the set of the svd defence is left out: every support would pay for it."""


@dataclass(frozen=True, eq=False)
class Trusted:
    """Clean rows inside fixed sets, and the learner behind them.

    Parameters
    ----------
    train : Dataset
        The clean rows that the filters keep.
    sets : ByLabel
        What the filters let through.
    n_dropped : int
        Clean rows that they do not.
    names : tuple of str
        Defences with a set here.
    left_out : dict of str to str
        Defences without one, and why. The bound then holds for a defender without them.
    class_weights : tuple of float
        What a poison row labelled -1, and one labelled +1, weighs. Those of the clean rows are in `train`.
    """

    problem: Problem
    train: Dataset
    sets: ByLabel
    n_dropped: int
    names: tuple[str, ...]
    left_out: dict[str, str]
    class_weights: tuple[float, float] = (1.0, 1.0)

    def claim(self, epsilon: float, rows: Dataset) -> Claim:
        """What is to be certified, `epsilon` being a fraction of all clean rows as in an audit.

        The claim counts the same poison against the rows that the filters keep, of which there are fewer.
        """
        # a poison of m rows weighs at most m max_y w(y), and a certificate bounds every poison up to a mass
        share = max(self.class_weights) * (self.train.n + self.n_dropped) / self.train.total
        return Claim(self.train, self.problem, self.sets, epsilon * share, rows)

    def learn(self, poison: Poison) -> tuple[LinearModel, float]:
        """The model trained behind the fixed filters, and the mass of poison that passes them."""
        inside = self.sets.contains(poison.X, poison.y, 1e-7)
        low, high = self.class_weights
        mass = poison.count * np.where(poison.y > 0, high, low)
        kept = Poison(poison.X[inside], poison.y[inside], mass[inside])
        data = self.train.mix(kept.as_dataset()) if kept.total else self.train
        return make_learner(self.problem).fit(data), kept.total / self.train.total

    def counted(self, poison: Poison) -> Poison:
        """Poison given by its mass, in copies that weigh so much."""
        low, high = self.class_weights
        return replace(poison, count=poison.count / np.where(poison.y > 0, high, low))


def fixed(defense: Defense, train: Dataset) -> Defense:
    """A defence fitted on the clean rows once, whatever else it is shown."""
    return TrustedDefense(defense, (train.X, train.y))


def trusted(setting: Setting) -> Trusted:
    """Fit every defence on the clean rows once, and keep the rows that all of them keep.

    Raises
    ------
    InputError
        If nothing bounds the rows: no defence has a set, and the domain has none.
    """
    warn_of_sets(setting)
    train, domain = setting.split.train, setting.split.train.domain
    parts: dict[float, list[FeasibleSet]] = {label: [] for label in LABELS}
    names, left_out = [], {}
    for name in setting.defenses:
        detector = setting.defender.fit_detector(name)
        try:
            found = {label: in_domain(detector.feasible_set(label), domain) for label in LABELS}
        except CapabilityError:
            left_out[name] = "it has no convex set"
            continue
        unfit = [why for part in found.values() if (why := _unfit(part))]
        if unfit:
            left_out[name] = unfit[0]
            continue
        names.append(name)
        for label, part in found.items():
            parts[label].append(part)
    hull = domain_set(domain, train.d)
    if hull is not None:
        parts = {label: [*some, hull] for label, some in parts.items()}
    if not all(parts.values()):
        raise InputError(
            "a defence or a domain that bounds the rows",
            "none",
            "Without one every model is within reach. Name l2 among --defenses, or give a --domain.",
        )
    sets = ByLabel({label: intersect(*some) for label, some in parts.items()})
    inside = np.asarray(sets.contains(train.X, train.y, 1e-9))
    kept = train.take(inside)
    kept.require_both_classes("the rows that all fixed filters keep")
    problem, weights = setting.problem, (1.0, 1.0)
    if problem.class_weight is not None:
        weights = _fixed(problem, kept)
        problem, kept = problem.at(kept)
    return Trusted(problem, kept, sets, int((~inside).sum()), tuple(names), left_out, weights)


def unfiltered(setting: Setting) -> Trusted:
    """The learner alone: where labels change, a filter would look at the changed rows anew."""
    train = setting.split.train
    anywhere = Box(np.full(train.d, -np.inf), np.full(train.d, np.inf))
    why = "labels are changed in all rows, behind whatever filter"
    left_out = dict.fromkeys(setting.defenses, why)
    return Trusted(setting.problem, train, ByLabel({1: anywhere, -1: anywhere}), 0, (), left_out)


def _unfit(part: FeasibleSet) -> str:
    """Why no bound is made with a set; nothing for one that is taken."""
    if not part.has_support_bound:
        return "its set has no bound on its support"
    tube = None if part.piece is None else part.piece.tube
    if tube is not None and tube.basis.size > COSTLY:
        return f"its subspace has {part.d} features and more directions than a bound can afford"
    return ""


def _fixed(problem: Problem, data: Dataset) -> tuple[float, float]:
    """Class weights that no poison moves, beside a regulariser that no poison moves."""
    if problem.class_weight == "balanced" or problem.scaling != "sum":
        what = "balanced ones" if problem.class_weight == "balanced" else "those of a mean (--model, SGDClassifier)"
        low, high = problem.class_weights(data)
        raise CapabilityError(
            "class weights that poison does not move", what,
            "Give sample weights, or fit LinearSVC, LogisticRegression or RidgeClassifier with today's weights written "
            f"out ({low:.4g} for -1 and {high:.4g} for +1).",
        )  # fmt: skip
    return problem.class_weights(data)
