"""Certificates of single rows that are no answer to inserted poison of one budget: which rows each level leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..certificates import (
    Certificate,
    Claim,
    PartitionClassifier,
    certify_ridge,
    radius,
    ridge_attack,
)
from ..certificates.changed import Change, change_certifier
from ..certificates.partition.bases import lone_label
from ..certificates.partition.certify import base_certifiers
from ..certificates.test_error import score_certifier
from ..core import CapabilityError, Dataset, InputError, LinearModel
from ..core.validation import Array
from ..learners import make_learner
from ..losses import Problem
from .bracket import Stored
from .trusted import Trusted

Mask = NDArray[np.bool_]

FEW = 60
"""Clean rows up to which margins are bounded anew before rows are: two programs for each of them."""
PRECISION = 0.1
"""Share of what a part withstands that may stay unexplored."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a certificate of rows is asked.

    Parameters
    ----------
    defender : Trusted
    rows : Dataset
        With their true labels.
    levels : tuple of float
        Rows changed or inserted, or budgets as fractions of all clean rows; ascending.
    parts, seed : int
        Of a partition.
    stored : callable
        A certificate of an earlier run by name, claim, kind and assumptions, if there is one.
    """

    defender: Trusted
    rows: Dataset
    levels: tuple[float, ...]
    parts: int
    seed: int
    stored: Stored

    def claim(self, rows: Dataset) -> Claim:
        """About rows, without inserted poison."""
        return self.defender.claim(0.0, rows)

    def model(self) -> LinearModel:
        """What is learned without poison."""
        return make_learner(self.defender.problem).fit(self.defender.train)


@dataclass(frozen=True, eq=False)
class Held:
    """One level: the rows that keep their right label whatever is done, those that something turned, and the proof."""

    level: float
    clean: Mask
    certified: Mask
    turned: Mask | None
    certificate: Certificate | None


def changed(asked: Asked, name: Change) -> Iterator[Held]:
    """Any so many clean rows deleted, or their labels flipped: each level asks of the rows that those before leave."""
    right = asked.model().margins(asked.rows) > 0
    safe, turned = right.copy(), ~right
    for level in asked.levels:
        open_, found = np.flatnonzero(safe), None
        if open_.size:
            found, reached = _proved(asked, name, asked.claim(asked.rows.take(open_)), int(level))
            found.check_attack(reached, tol=1e-4, what=f"{int(level)} {name}")
            safe[open_] = np.asarray(found.bound) < 0
        # what turns a row at one level is open to an attacker at every higher one
        turned[open_] |= reached >= 0 if found is not None else False
        yield Held(level, right, safe.copy(), turned.copy(), found)


def _proved(asked: Asked, name: Change, claim: Claim, count: int) -> tuple[Certificate, Array]:
    """A certificate of scores, and scores that were attained by learning from rows that were changed."""
    loss, stored = claim.problem.loss, None
    certify: Callable[..., Certificate] = change_certifier(loss, name)
    if loss.kink is not None:
        certify = partial(certify, rounds=int(claim.train.n <= FEW))
        says = claim.changed_assumptions(count, name == "flips")
        stored = asked.stored(f"{name}-{count}", claim, "score", says)
    found = stored if stored is not None else certify(claim, count)
    key = "flipped" if name == "flips" else "deleted"
    if key not in found.witness:
        return found, np.asarray(found.info["attack"], dtype=np.float64)
    reached = np.full(claim.demand_rows().n, -np.inf)
    for row in np.flatnonzero(~(np.asarray(found.bound) < 0)):
        reached[row] = _retrained(found, key, int(row))
    return found, reached


def _retrained(found: Certificate, key: str, row: int) -> float:
    """The score of one row with the rows flipped, or deleted, that are worst for it."""
    claim, chosen = found.claim, found.witness[key][row]
    train, sign = claim.train, np.ones(claim.train.n)
    sign[chosen[chosen >= 0]] = -1.0
    left = replace(train, y=train.y * sign) if key == "flipped" else train.take(sign > 0)
    if lone_label(left) is not None:
        return -np.inf
    return -float(make_learner(claim.problem).fit(left).margins(claim.demand_rows().take([row]))[0])


def radii(asked: Asked) -> Iterator[Held]:
    """The mass of inserted poison up to which each row is certified, at the greatest of the budgets and below."""
    certifier = score_certifier(asked.defender.problem.loss)
    claim = asked.defender.claim(asked.levels[-1], asked.rows)
    found = asked.stored("radius", claim, "radius", claim.assumptions()) or radius(certifier, claim)
    right = asked.model().margins(asked.rows) > 0
    turned = ~right
    for level in asked.levels:
        here = asked.defender.claim(level, asked.rows)
        safe = right & (np.asarray(found.bound) >= here.epsilon * (1 - 1e-12))
        if asked.defender.problem.loss.quadratic:
            turned = turned | _attained(asked, here, np.flatnonzero(right & ~safe & ~turned))
        yield Held(level, right, safe, turned.copy() if asked.defender.problem.loss.quadratic else None, found)


def _attained(asked: Asked, claim: Claim, open_: NDArray[np.intp]) -> Mask:
    """Which of the rows the poison of the ridge bound turns, by retraining."""
    turned = np.zeros(asked.rows.n, dtype=bool)
    if open_.size:
        found = certify_ridge(claim.about(asked.rows.take(open_)))
        models = [asked.defender.learn(ridge_attack(found, row))[0] for row in range(open_.size)]
        reached = np.array(
            [-model.margins(asked.rows.take([row]))[0] for model, row in zip(models, open_, strict=True)]
        )
        found.check_attack(reached, tol=1e-4, what="the poison of the bound")
        turned[open_] = reached >= 0
    return turned


def votes(asked: Asked) -> Iterator[Held]:
    """Rows that may be inserted without changing what the majority over parts says."""
    defender, problem = asked.defender, asked.defender.problem
    model = PartitionClassifier(
        asked.parts, problem.loss, problem.reg, penalize_intercept=problem.penalize_intercept,
        fit_intercept=problem.fit_intercept, sets=defender.sets, seed=asked.seed,
    ).fit(defender.train.X, defender.train.y, defender.train.weight)  # fmt: skip
    found = model.certificate(asked.rows.X, asked.rows.y, most=int(asked.levels[-1]), precision=PRECISION)
    right = np.asarray(model.predict(asked.rows.X) == asked.rows.y)
    for level in asked.levels:
        yield Held(level, right, right & (np.asarray(found.bound) >= level), None, found)


@dataclass(frozen=True)
class RowKind:
    """A kind of certificate of rows.

    Parameters
    ----------
    run : callable
    takes : callable
        ``takes(problem)`` raises what a problem is refused with, before any work.
    filtered : bool
        Whether fixed filters stand before the learner; changed labels would have to pass them anew.
    counted : bool
        Whether levels are numbers of rows, rather than fractions of the clean rows.
    """

    run: Callable[[Asked], Iterator[Held]]
    takes: Callable[[Problem], Any]
    filtered: bool = True
    counted: bool = True


def _averaged(problem: Problem) -> None:
    base_certifiers(problem)
    if problem.scaling != "mean":
        raise CapabilityError("a learner with a mean of losses for a partition", f"scaling {problem.scaling!r}",
                              "Give --model and --reg.")  # fmt: skip


ROW_KINDS = {
    "deletions": RowKind(partial(changed, name="deletions"), lambda it: change_certifier(it.loss, "deletions")),
    "flips": RowKind(partial(changed, name="flips"), lambda it: change_certifier(it.loss, "flips"), filtered=False),
    "radius": RowKind(radii, lambda problem: score_certifier(problem.loss), counted=False),
    "partition": RowKind(votes, _averaged),
}


def refuse(kind: RowKind, problem: Problem, train: Dataset, levels: tuple[float, ...]) -> None:
    """Say in one line, before any work, what a kind does not take.

    Raises
    ------
    CapabilityError
        For a model.
    InputError
        For more rows than there are, or weights where rows are counted.
    """
    kind.takes(problem)
    if problem.class_weight is not None:
        raise CapabilityError("a learner without class weights for certificates of rows", repr(problem.class_weight))
    if kind.counted and levels[-1] >= train.n:
        raise InputError(f"fewer rows than the {train.n} of the training data", f"{levels[-1]:g}")
    if kind.counted and np.any(train.weight != 1):
        raise CapabilityError("rows without weights where rows are counted", "weights", "Leave them out.")
