"""The convex attacks of the linear core against one group, with a limit on what the others suffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from typing import ClassVar

import numpy as np

from ...core import (
    LABELS,
    Candidate,
    Dataset,
    Domain,
    InfeasibleSet,
    InputError,
    LinearModel,
    Poison,
    SolverFailed,
    check_integer,
    check_number,
)
from ...learners import make_learner
from ...losses import Problem
from ...rounding import deploy
from ...sets import Box, ByLabel, intersect
from ..aim import Aim
from ..feasible import FeasibleRegion, SetPolicy
from ..kkt_program import KKTProgram
from ..model_targeted import chase
from ..ranking import candidate
from ..run import Run, Step
from ..scenario import Scenario
from .base import ScoredOnce

QUANTILES = (0.5, 1.0)
SHELTERS = (0.0, 1.0)
WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, eq=False)
class GroupDecoy:
    """A model to be planted.

    Parameters
    ----------
    model : LinearModel
    target_damage : float
        Growth of its error on the subpopulation, against the clean model.
    collateral : float
        Growth of its error on all other rows.
    clean_loss : float
        Its mean loss on all rows, which says how dear it is to plant.
    quantile, weight : float
    """

    model: LinearModel
    target_damage: float
    collateral: float
    clean_loss: float
    quantile: float
    weight: float


def group_decoys(
    train: Dataset,
    problem: Problem,
    aim: Aim,
    *,
    quantiles: Sequence[float] = QUANTILES,
    weights: Sequence[float] = WEIGHTS,
    shelters: Sequence[float] = SHELTERS,
) -> list[GroupDecoy]:
    """Models trained with flipped rows of the subpopulation, one for each share of those rows and each weight.

    ::

        minimise    reg/2 |theta|^2 + mean training loss  +  weight / n  sum_(F) loss(theta; x, -y)
                                                      +  shelter / n  sum_(others) loss(theta; x, y)

    over the share of the rows of F of least margin. For each share the weights trace the Lagrangian of the
    convex program that minimises the flipped loss on F subject to a bound on the mean training loss; the greatest
    weight whose error outside F has grown by no more than the limit answers the collateral constraint.

    Parameters
    ----------
    train : Dataset
    problem : Problem
    aim : Aim
    quantiles : sequence of float in (0, 1]
    weights : sequence of float
        Copies of each flipped row.
    shelters : sequence of float
        Copies of each row outside F, which hold the collateral damage down and make a decoy dearer.

    Returns
    -------
    list of GroupDecoy
        The most damaging first.
    """
    learner, others = make_learner(problem), aim.rest("group decoys")
    clean = learner.fit(train)
    order = np.argsort(clean.margins(aim.target), kind="stable")
    decoys = []
    for shelter, quantile in product(shelters, quantiles):
        share = check_number(quantile, "a decoy quantile", above=0, at_most=1)
        guard = replace(others, weight=check_number(shelter, "a decoy shelter", at_least=0) * others.weight)
        base = train.mix(guard) if shelter else train
        chosen = aim.target.take(order[: max(round(share * order.size), 1)])
        model = clean
        for weight in weights:
            check_number(weight, "a decoy weight", above=0)
            flipped = Dataset(chosen.X, -chosen.y, weight * chosen.weight, train.domain)
            model = learner.fit(base.mix(flipped), start=model)
            damage, collateral = growth(aim, model, clean)
            decoys.append(GroupDecoy(model, damage, collateral, problem.mean_loss(model, train), share, weight))
    return sorted(decoys, key=lambda decoy: (-decoy.target_damage, decoy.clean_loss))


def growth(aim: Aim, model: LinearModel, clean: LinearModel) -> tuple[float, float]:
    """How much more `model` errs than `clean`, on the target and on the other rows."""
    target, others = (model.error(part) - clean.error(part) for part in (aim.target, aim.rest("group decoys")))
    return target, others


def undominated(decoys: Sequence[GroupDecoy], collateral: float) -> list[GroupDecoy]:
    """Those within the collateral that no other beats in damage and clean loss, the most damaging first."""
    kept: list[GroupDecoy] = []
    for decoy in sorted(decoys, key=lambda item: (-item.target_damage, item.clean_loss)):
        within = decoy.collateral <= collateral and decoy.target_damage > 0
        if within and (not kept or decoy.clean_loss < kept[-1].clean_loss):
            kept.append(decoy)
    return kept


METHODS = ("kkt", "model-targeted")


@dataclass(frozen=True)
class ConvexAttack(ScoredOnce):
    """Plant a model that errs on one group and hardly elsewhere, by a convex program.

    1. Decoys (`group_decoys`): the labels of the aim's rows flipped at several weights, those kept whose error on all
       other rows grows by at most the limit of the aim, pruned to the Pareto front of damage and clean loss.
    2. For each decoy one convex program gives the poison inside the sets of the defences: for "kkt" the one whose
       stationarity residual at the decoy is least (`KKTProgram`); for "model-targeted" rows are added one at a time.
    3. Rounding, retraining, and of the poisons that keep the collateral the most damaging one.

    Parameters
    ----------
    methods : sequence of {"kkt", "model-targeted"}, default both
        Which of these make a poison for each decoy. Where rows may lie anywhere only "kkt" gives one.
    tries : int, default 4
        Decoys that are planted, at most.
    quantiles, weights, shelters : sequence of float
        Of the decoys.
    reaches : sequence of float in (0, 1]
        For "kkt" in a bounded domain: parts of the way from its lower to its upper bounds that rows may go. Rows near
        by are more in number for the same pull, and suffer less from rounding.
    draws : int, default 2
        Roundings of each relaxed poison, where features are counts.
    program : KKTProgram
    policy : SetPolicy

    References
    ----------
    The attacks of Koh, Steinhardt and Liang (2022) and Suya et al. (2021), on the threat of Jagielski et al. (2021).
    """

    name: ClassVar[str] = "group-convex"
    methods: Sequence[str] = METHODS
    tries: int = 4
    quantiles: Sequence[float] = QUANTILES
    weights: Sequence[float] = WEIGHTS
    shelters: Sequence[float] = SHELTERS
    reaches: Sequence[float] = (1.0, 0.2)
    draws: int = 2
    program: KKTProgram = field(default_factory=KKTProgram)
    policy: SetPolicy = field(default_factory=SetPolicy)

    def __post_init__(self) -> None:
        if not self.methods or not set(self.methods) <= set(METHODS):
            raise InputError(f"methods among {', '.join(METHODS)}", repr(self.methods))
        check_integer(self.tries, "tries", at_least=1)
        check_integer(self.draws, "draws", at_least=1)
        for reach in self.reaches:
            check_number(reach, "reaches", above=0, at_most=1)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """Of equal damage the candidates that lose most on the target first."""
        train, problem, aim = scenario.train, scenario.problem, scenario.aim
        decoys = group_decoys(
            train, problem, aim, quantiles=self.quantiles, weights=self.weights, shelters=self.shelters
        )
        chosen = undominated(decoys, aim.collateral) or [min(decoys, key=lambda decoy: decoy.collateral)]
        region = FeasibleRegion.fit(scenario, self.policy)
        tasks = [(scenario, self, region, chosen[i], [run.seed, i]) for i in _spread(len(chosen), self.tries)]
        found = run.steps("decoys of the group", _planted, tasks)
        return sorted(found, key=lambda item: -problem.loss.value(item.decoy.margins(aim.target)).mean())

    def relaxed(
        self, scenario: Scenario, decoy: LinearModel, sets: ByLabel, rng: np.random.Generator
    ) -> Iterator[Poison]:
        """Relaxed poisons in the sets; those of the KKT attack in ever smaller parts of the domain."""
        train, problem, count = scenario.train, scenario.problem, scenario.n_poison
        for method in self.methods:
            bounded = method == "kkt" and train.domain.upper is not None
            for reach in self.reaches if bounded else (1.0,):
                inside = ByLabel({label: intersect(sets[label], *_shrunk(train.domain, reach)) for label in LABELS})
                with suppress(InfeasibleSet, SolverFailed, InputError):  # InputError: unbounded sets, for all but "kkt"
                    if method == "kkt":
                        yield self.program.solve(decoy, train, problem, inside, count / train.total).poison
                    else:
                        repeat = max(count // 40, 1)
                        yield chase(decoy, train, problem, inside, count, repeat=repeat, tol=0.0, rng=rng).poison


def _planted(
    started: float,
    scenario: Scenario,
    attack: ConvexAttack,
    region: FeasibleRegion,
    decoy: GroupDecoy,
    seed: Sequence[int],
) -> Step:
    """Every poison of one decoy, with the model that is learned with it."""
    train, rng = scenario.train, np.random.default_rng(seed)
    sets, found = region.sets(decoy.model), []
    label = f"decoy q={decoy.quantile:g} w={decoy.weight:g}"
    for relaxed in attack.relaxed(scenario, decoy.model, sets, rng):
        for _ in range(attack.draws if train.domain.integral else 1):
            poison = deploy(relaxed, scenario.n_poison, train.domain, rng, sets=sets, sparse=train.is_sparse)
            if poison.n_distinct:
                found.append(candidate(started, scenario, poison, relaxed=relaxed, label=label, full=True))
    return found, []


def _spread(n: int, most: int) -> list[int]:
    """At most `most` of the numbers below n, evenly spread."""
    return sorted({round(place) for place in np.linspace(0, n - 1, min(n, most))})


def _shrunk(domain: Domain, reach: float) -> list[Box]:
    if reach == 1 or domain.lower is None or domain.upper is None or np.isinf(domain.lower).any():
        return []
    return [Box(domain.lower, domain.lower + reach * (domain.upper - domain.lower))]
