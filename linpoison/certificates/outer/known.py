"""An outer set, with what programs over it have answered, and what their answers say about other rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

from ...core.journal import Journal
from ...core.validation import Array
from ..claim import Claim
from ..clean.anchor import anchor, clean_vector
from ..clean.rows import LABELS
from ..clean.screen import Screening, screen
from ..joint import Joint
from .bound import evaluate
from .conic import make_program
from .program import Multipliers
from .sharpen import NAMES, sharpen, sharpen_hubs, sharpened

CONIC_ENTRIES = 300_000
"""Entries of ``X``, times the rows to certify, up to which "auto" solves a conic program for each row."""
HUB_ROUNDS = 2
"""How often the scores of the hubs are bounded, by four programs each time."""
NEAREST = 6
"""Rows solved before whose multipliers are tried for the next one."""
THRIFT = 0.02
"""What a unit of a known bound costs where a row is written as a sum of others, per length that is left over."""
ENOUGH = 1e-3
"""Distance between what is known to be reached and the bound, per length of a row, at which no program is solved."""
STEPS = (1.0, 3.0, 10.0, 30.0, 1e2, 1e3, 1e4, 1e5)
"""Weights of the optimality condition, per length of a row: tried where no program answers or no ball holds."""


Progress = Callable[[int, int, str], None]


class Ways(NamedTuple):
    """How the programs of `certify_margin` are made, which says what each means; `few` rows have one each."""

    tighten: bool = True
    cap: bool = True
    rounds: int = 2
    sharpen_rounds: int = 0
    solver: str | None = None
    few: bool = False


def is_small(claim: Claim) -> bool:
    """Whether the rows of a claim are `few` for its size."""
    return int(np.prod(claim.train.X.shape)) * claim.demand_rows().n <= CONIC_ENTRIES


class OuterSets:
    """The outer sets that were asked for, the last for each of the `Ways`.

    Parameters
    ----------
    journal : Journal, optional
        Of one claim, whatever its rows: keeps what programs answered for each row.
    progress : callable, optional
        Called with the number of rows done, of all rows, and with words.
    """

    def __init__(self, journal: Journal | None = None, progress: Progress | None = None) -> None:
        self._kept: dict[Ways, OuterSet] = {}
        self.journal, self.progress = journal, progress

    def of(self, claim: Claim, ways: Ways) -> OuterSet:
        """The set of a claim, whatever its rows."""
        kept = self._kept.get(ways)
        if kept is None or not kept.serves(claim):
            kept = self._kept[ways] = OuterSet(claim, ways, self.journal, self.progress)
        return kept


@dataclass(eq=False)
class OuterSet:
    """The models that the outer set of a claim holds, by the answers of programs.

    For a direction `g`, the score ``-g . v`` has a bound ``B(g)`` over the set, and any model `v` of it reaches
    ``-g . v``. Both say something about other directions: the models directly, and the bounds because `B` is sublinear,

    ::

        B(g) <= sum_i t_i B(g_i) + B(g - sum_i t_i g_i),            t >= 0.

    The multipliers of the right side are the sums of those of the ``g_i``, shares weighted, and what is left over goes
    to the parameters. So a row may be decided without a program of its own.
    """

    claim: Claim
    ways: Ways
    journal: Journal | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        self.goals: list[Array] = []
        self.found: list[Multipliers] = []
        self.values: list[float] = []
        self.models: list[Array] = []

    @property
    def shared(self) -> bool:
        """Whether rows look at the answers for others."""
        return not self.ways.few

    def serves(self, claim: Claim) -> bool:
        """Whether a claim differs in its rows at most."""
        mine = self.claim
        same = mine.train is claim.train and mine.sets is claim.sets
        return same and mine.problem == claim.problem and mine.epsilon == claim.epsilon

    @cached_property
    def _screened(self) -> tuple[dict[str, Array], Screening]:
        claim, ways = self.claim, self.ways
        multipliers = anchor(claim)
        base = screen(claim, multipliers)
        witness = {"a0": multipliers} if ways.cap else {}
        for number in range(HUB_ROUNDS if base.hubs and ways.cap else 0):
            witness |= sharpen_hubs(claim, base.without_margins(), number, ways.solver)
            base = sharpened(claim, screen(claim, multipliers), witness)
        for number in range(ways.sharpen_rounds if ways.tighten and base.capped else 0):
            witness |= sharpen(claim, base, number, ways.solver)
            base = sharpened(claim, screen(claim, multipliers), witness)
        return witness, base if ways.tighten and ways.few else base.without_margins() if ways.cap else base.bare()

    @property
    def witness(self) -> dict[str, Array]:
        """Of the screening."""
        return self._screened[0]

    @property
    def screening(self) -> Screening:
        """Bounds on the margins are in it for `few` rows alone: otherwise they hardly bound."""
        return self._screened[1]

    @cached_property
    def program(self) -> Any:
        """The program of a row."""
        return make_program(self.claim, self.screening, rounds=self.ways.rounds, solver=self.ways.solver)

    @cached_property
    def nothing(self) -> Multipliers:
        """Multipliers that add nothing to the ball."""
        return {**self._none, "p": -self.screening.center, "s": 1.0}

    @cached_property
    def _none(self) -> Multipliers:
        n, zero = self.claim.train.n, np.zeros(self.claim.train.d + 1)
        none: Multipliers = {"b": self.witness.get("a0", np.zeros(n)), "r": zero, "gam": np.zeros(n)}
        return none | {"dele": np.zeros(n), "tau": 0.0, "h": zero, "eta": np.zeros(len(LABELS))}

    def answer(self, row: Claim, goal: Array, decide: bool) -> tuple[Multipliers, float]:
        """Multipliers for the one row of a claim, of ``goal = k (z, 1)``, and the value of its program.

        NaN where no solver answered, infinite where no program was needed: one that is to `decide` the sign of the
        bound can do no more, or the models that are known reach what the multipliers prove.
        """
        found = self._known(row, goal) if self.shared else []
        if found:
            best, bound = self._best(row, found)
            reached = max(float(-goal @ v) for v in self.models)
            length, solved = float(np.linalg.norm(goal)), self._away(goal).min()
            if (decide and (bound < 0 or reached >= 0)) or min(bound - reached, solved) <= ENOUGH * length:
                return best, np.inf
        key = f"row {self.ways.few} {hashlib.sha256(np.ascontiguousarray(goal).tobytes()).hexdigest()}"
        kept = None if self.journal is None else self.journal.get(key)
        if kept is None:
            kept = self._solved(row, goal, decide and self.shared)
            if self.journal is not None:
                self.journal.put(key, kept)
        multipliers: Multipliers = {name: kept[name] for name in NAMES.values()}
        self._add(goal, multipliers, float(kept["bound"]), float(kept["value"]), kept["model"])
        return multipliers, float(kept["value"])

    def _solved(self, row: Claim, goal: Array, brisk: bool) -> dict[str, Array]:
        """The best multipliers of a row and their bound, the value of its program and the model behind it."""
        answers = self.program.multipliers(goal, brisk)
        value = self.program.value(goal) if answers else np.nan
        model = self.program.member if answers else np.zeros(goal.size)
        if not answers or not self.screening.capped:
            answers = answers + self._closed(goal)
        best, bound = self._best(row, answers)
        return {**best, "bound": np.array(bound), "value": np.array(value), "model": model}

    def joint(self, goals: Array, most: Array) -> Joint:
        """Programs with several rows ``k (z, 1)``, whose answers are known from then on; `most` bounds the margins."""

        def told(mu: Array) -> None:
            if self.shared and mu.any():
                goal = mu @ goals
                value = self.program.value(goal)
                self._add(goal, self.program.found(), value, value, self.program.member)

        return self.program.joint(goals, most, told)

    def _add(self, goal: Array, multipliers: Multipliers, bound: float, value: float, model: Array) -> None:
        """What a program says of a direction; its model is one of the set if the solver is right."""
        if not self.shared or not goal.any() or not np.isfinite([bound, value]).all():
            return
        self.goals.append(goal)
        self.found.append(multipliers)
        self.values.append(bound)
        self.models.append(model)

    def _best(self, row: Claim, found: list[Multipliers]) -> tuple[Multipliers, float]:
        """Those of least bound on the one row of a claim."""
        parts = {name: np.array([one[name] for one in found]) for name in NAMES.values()}
        bound = evaluate(row.about(row.demand_rows().take(np.zeros(len(found), int))), self.screening, **parts)
        best = int(np.argmin(bound))
        return found[best], float(bound[best])

    def _known(self, row: Claim, goal: Array) -> list[Multipliers]:
        """Multipliers for a direction by those for others: near ones alone, and a sum of several."""
        if not self.goals:
            return []
        G, scale = np.array(self.goals), self._scale(goal)
        near = np.argsort(self._away(goal))[:NEAREST]
        choices = [(np.array([i]), scale[[i]]) for i in near if scale[i] > 0]
        price = np.array(self.values)
        price = THRIFT * (price - price.min() + 0.1 * float(np.linalg.norm(goal)))
        total = nnls(np.vstack([G.T, price]), np.append(goal, 0.0))[0]
        used = np.flatnonzero(total > 1e-9)
        return [self._sum(index, t) for index, t in [*choices, (used, total[used])] if index.size]

    def _scale(self, goal: Array) -> Array:
        """Of each known direction, how much of it is nearest to another one."""
        G = np.array(self.goals)
        return np.asarray(np.maximum(G @ goal, 0) / np.einsum("ij,ij->i", G, G))

    def _away(self, goal: Array) -> Array:
        """How far that is from it."""
        return np.asarray(np.linalg.norm(goal - self._scale(goal)[:, None] * np.array(self.goals), axis=1))

    def _sum(self, index: Array, t: Array) -> Multipliers:
        parts = {name: np.array([self.found[i][name] for i in index]) for name in NAMES.values()}
        both, tau = t * (parts["s"] + parts["tau"]), t * parts["tau"]
        total = {name: t @ value for name, value in parts.items() if name not in ("b", "eta")}
        total["b"] = both @ parts["b"] / max(both.sum(), 1e-300)
        return total | {"eta": tau @ parts["eta"] / max(tau.sum(), 1e-300)}

    def _closed(self, goal: Array) -> list[Multipliers]:
        """Multipliers without a solver: the clean minimiser as comparator, in several weights."""
        v, length = clean_vector(self.claim), float(np.linalg.norm(goal)) or 1.0
        return [{**self._none, "p": -step * length * v, "s": step * length} for step in STEPS]
