"""The least poison that damages one subpopulation by so much, and the rest by no more than so much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..certificates import Certificate, min_budget
from ..core.dataset import Dataset
from ..core.errors import InputError, SolverFailed
from ..core.validation import check_number
from ..losses import Problem
from ..sets import ByLabel
from .decoys import QUANTILES, WEIGHTS, Aim, GroupDecoy, group_decoys, undominated


@dataclass(frozen=True, eq=False)
class BudgetRung:
    """One model and what it takes to plant it.

    Parameters
    ----------
    decoy : GroupDecoy
    certificate : Certificate
        Of `min_budget`: no less poison in the sets makes this model optimal, and its poison attains that
        where the certificate is exact.
    """

    decoy: GroupDecoy
    certificate: Certificate

    @property
    def epsilon(self) -> float:
        """Poison rows for each clean row that do it."""
        return float(self.certificate.info["primal"])


@dataclass(frozen=True, eq=False)
class BudgetLadder:
    """Models of growing damage, each with its least budget.

    Parameters
    ----------
    rungs : tuple of BudgetRung
        The cheapest first.
    """

    rungs: tuple[BudgetRung, ...]

    def least(self, damage: float) -> BudgetRung:
        """The cheapest of the models that damage the subpopulation by at least `damage`.

        An upper bound on the least budget over all models that do.

        Raises
        ------
        InputError
            If none does.
        """
        check_number(damage, "damage", at_least=0, at_most=1)
        enough = [rung for rung in self.rungs if rung.decoy.target_damage >= damage]
        if not enough:
            most = max(rung.decoy.target_damage for rung in self.rungs)
            raise InputError(f"a damage of at most {most:.3f}, which the decoys reach", f"{damage:g}")
        return min(enough, key=lambda rung: rung.epsilon)


def least_budgets(
    train: Dataset,
    problem: Problem,
    sets: ByLabel,
    aim: Aim,
    *,
    collateral: float = 0.01,
    quantiles: Sequence[float] = QUANTILES,
    weights: Sequence[float] = WEIGHTS,
) -> BudgetLadder:
    """The least budget of each decoy against a subpopulation that keeps the collateral.

    Parameters
    ----------
    train : Dataset
    problem : Problem
    sets : ByLabel
        Where poison may lie.
    aim : Aim
        The rows by which damage is judged.
    collateral : float, default 0.01
        Greatest growth of the error on the other rows.
    quantiles, weights : sequence of float
        Of `group_decoys`.

    Raises
    ------
    SolverFailed
        If no decoy keeps the collateral, or none has a budget.
    """
    chosen = undominated(group_decoys(train, problem, aim, quantiles=quantiles, weights=weights), collateral)
    rungs = []
    for decoy in chosen:
        try:
            rungs.append(BudgetRung(decoy, min_budget(train, problem, sets, decoy.model)))
        except SolverFailed:
            continue
    if not rungs:
        raise SolverFailed(f"expected a budget for at least one of {len(chosen)} decoys, got none.")
    return BudgetLadder(tuple(sorted(rungs, key=lambda rung: rung.epsilon)))
