"""The convex attacks of the linear core against one subpopulation, with a collateral constraint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..attacks import FeasibleRegion, KKTProgram, SaddleProgram, Scenario, SetPolicy
from ..attacks.aim import Aim as Goal
from ..attacks.model_targeted import chase
from ..core.dataset import Dataset
from ..core.domain import Domain
from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.threat import Budget
from ..core.validation import LABELS, Mask, check_integer, check_number
from ..defenses import Defense
from ..learners import make_learner
from ..losses import Problem
from ..rounding import deploy, largest_remainder
from ..sets import Box, ByLabel, intersect, loss_cap
from .decoys import QUANTILES, SHELTERS, WEIGHTS, Aim, GroupDecoy, group_decoys, undominated
from .matching import Subpopulation
from .population import Index, Population

METHODS = ("kkt", "min-max", "model-targeted")


@dataclass(frozen=True, eq=False)
class Planted:
    """A poison, and what it does to the rows that it is judged by.

    Parameters
    ----------
    poison : Poison
        Whole copies.
    decoy : GroupDecoy
        What it aims at.
    model : LinearModel
        What is learned with it.
    target_damage, collateral : float
        Growth of the error on the subpopulation and on the other rows.
    target_loss : float
        Mean loss on the subpopulation, which tells poisons of equal damage apart.
    """

    poison: Poison
    decoy: GroupDecoy
    model: LinearModel
    target_damage: float
    collateral: float
    target_loss: float


@dataclass(frozen=True)
class ConvexAttack:
    """Plant a model that errs on one subpopulation and hardly elsewhere, by a convex program.

    1. Decoys (`group_decoys`): the subpopulation's labels flipped at several weights, those kept whose error on all
       other rows grows by at most `collateral`, pruned to the Pareto front of damage and clean loss.
    2. For each decoy one convex program gives the poison: for "kkt" the one whose stationarity residual at the
       decoy is least (`KKTProgram`); for "min-max" the one that raises the learner's objective most among rows
       of little loss under the decoy (`SaddleProgram`); for "model-targeted" rows are added one at a time.
    3. Rounding, retraining, and of the poisons that keep the collateral the most damaging one.

    An attacker who knows the training rows plants in these and judges by all auxiliary rows, as the attacks of
    `linpoison.attacks` do. One who does not plants in one half of the auxiliary rows and judges by the other half.

    Parameters
    ----------
    problem : Problem
    train : Population, optional
        The defender's rows, if the attacker knows them.
    domain : Domain, optional
        What a row may hold, R^d by default.
    defenses : mapping of str to Defense
        Sanitisers to stay inside, as fitted on the attacker's rows; none by default.
    methods : sequence of {"kkt", "min-max", "model-targeted"}, default ("kkt", "model-targeted")
        Which of these make a poison for each decoy. Where rows may lie anywhere only "kkt" gives one.
    collateral : float, default 0.01
        Greatest growth of the error outside the subpopulation.
    tries : int, default 4
        Decoys that are planted, at most.
    cap : float, default 0.25
        For "min-max": the greatest loss of a poison row under the decoy.
    quantiles, weights, shelters : sequence of float
        Of the decoys.
    reaches : sequence of float in (0, 1]
        For "kkt" in a bounded domain: parts of the way from its lower to its upper bounds that rows may go. Rows near
        by are more in number for the same pull, and suffer less from rounding.
    draws : int, default 2
        Roundings of each relaxed poison, where features are counts.
    program : KKTProgram
    saddle : SaddleProgram

    References
    ----------
    The attacks of Koh, Steinhardt and Liang (2022) and Suya et al. (2021), on the threat of Jagielski et al. (2021).
    """

    problem: Problem
    train: Population | None = None
    domain: Domain = field(default_factory=Domain.real)
    defenses: Mapping[str, Defense] = field(default_factory=dict)
    methods: Sequence[str] = ("kkt", "model-targeted")
    collateral: float = 0.01
    tries: int = 4
    cap: float = 0.25
    quantiles: Sequence[float] = QUANTILES
    weights: Sequence[float] = WEIGHTS
    shelters: Sequence[float] = SHELTERS
    reaches: Sequence[float] = (1.0, 0.2)
    draws: int = 2
    program: KKTProgram = field(default_factory=KKTProgram)
    saddle: SaddleProgram = field(default_factory=lambda: SaddleProgram(tol=1e-2, max_rounds=60))

    def __post_init__(self) -> None:
        if not self.methods or not set(self.methods) <= set(METHODS):
            raise InputError(f"methods among {', '.join(METHODS)}", repr(self.methods))
        check_number(self.collateral, "collateral", at_least=0, at_most=1, remedy="It is a share: 0.01 means 1 %.")
        check_integer(self.tries, "tries", at_least=1)
        check_integer(self.draws, "draws", at_least=1)
        check_number(self.cap, "cap", above=0)
        for reach in self.reaches:
            check_number(reach, "reaches", above=0, at_most=1)

    def poison(self, auxiliary: Population, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Population:
        """See `SubpopulationAttack.poison`; the surrogate is not used."""
        rows = replace(auxiliary.dataset(), domain=self.domain)
        mask, share = group.mask(auxiliary), 1.0
        if self.train is None:
            known, judge = _two_halves(mask, seed)
            train, aim, share = rows.take(known), Aim.of(rows.take(judge), mask[judge]), known.size / rows.n
        else:
            train, aim = replace(self.train.dataset(), domain=self.domain), Aim.of(rows, mask)
        best = self.plant(train, aim, max(round(share * count), 1), seed)[0].poison
        copies = largest_remainder(best.count * (count / best.total), count)
        full = Poison(best.X, best.y, copies).expanded() if share < 1 else best.expanded()
        return Population(full.X, full.y.astype(auxiliary.y.dtype))

    def plant(self, train: Dataset, aim: Aim, count: int, seed: int = 0) -> list[Planted]:
        """Poisons of at most `count` rows, those within the collateral first, then the most damaging.

        Parameters
        ----------
        train : Dataset
            Clean training rows.
        aim : Aim
        count : int
        seed : int

        Raises
        ------
        SolverFailed
            If no decoy could be planted.
        """
        check_integer(count, "count", at_least=1)
        decoys = group_decoys(
            train, self.problem, aim, quantiles=self.quantiles, weights=self.weights, shelters=self.shelters
        )
        chosen = undominated(decoys, self.collateral) or [min(decoys, key=lambda decoy: decoy.collateral)]
        scenario = Scenario(train, self.problem, Budget(count / train.total), self.defenses, Goal(aim.target))
        region = FeasibleRegion.fit(scenario, SetPolicy())
        clean = make_learner(self.problem).fit(train)
        planted = []
        for index in _spread(len(chosen), self.tries):
            decoy, rng = chosen[index], np.random.default_rng([seed, index])
            sets = region.sets(decoy.model)
            for relaxed in self._relaxed(train, decoy.model, sets, count, rng):
                for _ in range(self.draws if train.domain.integral else 1):
                    poison = deploy(relaxed, count, train.domain, rng, sets=sets, sparse=train.is_sparse)
                    planted += [self._judged(poison, decoy, train, aim, clean)] if poison.n_distinct else []
        if not planted:
            raise SolverFailed(f"expected a poison for at least one of {len(chosen)} decoys, got none.")
        return sorted(planted, key=self._merit, reverse=True)

    def _relaxed(
        self, train: Dataset, decoy: LinearModel, sets: ByLabel, count: int, rng: np.random.Generator
    ) -> Iterator[Poison]:
        """Relaxed poisons in the sets; those of the KKT attack in ever smaller parts of the domain."""
        for method in self.methods:
            for reach in self.reaches if method == "kkt" and train.domain.upper is not None else (1.0,):
                inside = ByLabel({label: intersect(sets[label], *_shrunk(train.domain, reach)) for label in LABELS})
                with suppress(InfeasibleSet, SolverFailed, InputError):  # InputError: unbounded sets, for all but "kkt"
                    yield self._solved(method, train, decoy, inside, count, rng)

    def _solved(
        self, method: str, train: Dataset, decoy: LinearModel, sets: ByLabel, count: int, rng: np.random.Generator
    ) -> Poison:
        epsilon = count / train.total
        if method == "kkt":
            return self.program.solve(decoy, train, self.problem, sets, epsilon).poison
        if method == "model-targeted":
            repeat = max(count // 40, 1)
            return chase(decoy, train, self.problem, sets, count, repeat=repeat, tol=0.0, rng=rng).poison
        caps = {label: loss_cap(decoy, label, self.problem.loss, self.cap) for label in LABELS}
        inside = ByLabel({label: intersect(sets[label], caps[label]) for label in LABELS})
        return self.saddle.solve(train, self.problem, inside, epsilon).poison

    def _judged(self, poison: Poison, decoy: GroupDecoy, train: Dataset, aim: Aim, clean: LinearModel) -> Planted:
        model = make_learner(self.problem).fit(train.mix(poison.as_dataset(train.domain)), start=decoy.model)
        loss = float(self.problem.loss.value(model.margins(aim.target)).mean())
        return Planted(poison, decoy, model, *aim.growth(model, clean), loss)

    def _merit(self, item: Planted) -> tuple[float, float, float]:
        over = max(item.collateral - self.collateral, 0.0)
        return (-over, item.target_damage, item.target_loss)


def _spread(n: int, most: int) -> list[int]:
    """At most `most` of the numbers below n, evenly spread."""
    return sorted({round(place) for place in np.linspace(0, n - 1, min(n, most))})


def _shrunk(domain: Domain, reach: float) -> list[Box]:
    if reach == 1 or domain.lower is None or domain.upper is None:
        return []
    return [Box(domain.lower, domain.lower + reach * (domain.upper - domain.lower))]


def _two_halves(mask: Mask, seed: int) -> tuple[Index, Index]:
    """A random half of the rows in the subpopulation and of the others, and the rest."""
    rng = np.random.default_rng(seed)
    parts = [rng.permutation(np.flatnonzero(side)) for side in (mask, ~mask)]
    return tuple(np.concatenate([part[half::2] for part in parts]) for half in (1, 0))  # type: ignore[return-value]
