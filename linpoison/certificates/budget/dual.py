"""A lower bound on budgets from any direction, in closed form once a few multipliers are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf

import numpy as np

from ...core.errors import InputError, LinpoisonError
from ...core.model import LinearModel
from ...core.validation import Array
from ...losses import MarginLoss
from ...optimality.set_cone import SetCone
from ...sets import FeasibleSet
from ...sets.structure import structure_of
from ..certificate import check
from ..claim import Claim
from ..clean.rows import PAD
from ..rounding import UNIT
from .target import KINK, BudgetTarget

ENDLESS = 1e12
"""Bounds beyond this many times the clean mass are stated as infinite: rounding cannot tell them apart."""


@dataclass(frozen=True, eq=False)
class Proof:
    """A direction with what it takes to bound its denominator.

    Parameters
    ----------
    v : ndarray, shape (d + 1,)
    slopes : ndarray, shape (number of groups,)
        Slope of a line below ``S rho`` for each group, at least 0.
    duals : tuple of ndarray
        For each group the dual variables of its set's core and rows; empty where the set answers by itself.
    """

    v: Array
    slopes: Array
    duals: tuple[Array, ...] = field(default=())

    def arrays(self, target: BudgetTarget) -> dict[str, Array]:
        """As a witness, the model included."""
        own = {f"prices_{k}": dual for k, dual in enumerate(self.duals)}
        multipliers = target.multipliers
        return {
            "model": target.vector,
            "kink_tolerance": np.asarray(target.asked),
            "multipliers": multipliers,
            "missed": np.asarray(target.missed(multipliers)),
            "v": self.v,
            "slopes": self.slopes,
            **own,
        }

    @classmethod
    def from_arrays(cls, witness: Mapping[str, Array], count: int) -> Proof:
        """The inverse of `arrays`; what is missing or not finite becomes zero."""
        slopes = _finite(witness["slopes"])
        duals = tuple(_finite(witness.get(f"prices_{k}", np.zeros(0))) for k in range(count))
        return cls(np.asarray(witness["v"], dtype=np.float64), np.resize(slopes, count).clip(min=0), duals)


def budget_words(claim: Claim, witness: Mapping[str, Array]) -> tuple[str, ...]:
    """The assumptions of the claim that matter (no row is removed, any mass is looked at), and those of the model."""
    own = [words for words in claim.assumptions() if "mass at most" not in words]
    kink, missed = claim.problem.loss.kink, float(witness["missed"])
    if kink is not None:
        tolerance = max(float(witness["kink_tolerance"]), KINK)
        own.append(
            f"clean rows whose margin under the model is within {tolerance:.1e} of {kink:g} may pull with any share of "
            "their weight"
        )
    return (
        *own,
        "the attacker only inserts rows of the sets; fractions of a copy count as such",
        f"the model is the one given, to the last digit: without poison it misses optimality by {missed:.1e} of the "
        "terms of that condition, and a model as near as this may cost less",
    )


@check("min-budget", kind="budget", words=budget_words)
def recompute_min_budget(claim: Claim, witness: Mapping[str, Array]) -> float:
    """The budget below which no poison makes the model optimal, as far as a witness proves it.

    ::

        bound = min_a <v, g + A a + c0> / (max(0, S) - <c1, v>),    S = max_k sup_{x in F_k} |phi'(m)| s_k v . (x, 1)

    zero if the numerator is not positive, infinite if it is but the denominator is not (or is less than one part
    in `ENDLESS` of it). It holds for every `v`: multiply the condition of optimality by `v`, and bound the pull of
    every poison point by S.

    S is bounded by duality. As ``rho = 1 / |phi'|`` is convex, ``S rho(m) >= q m - S rho*(q / S)`` for any
    slope ``q >= 0`` (with the sign of the group's branch), so that S is large enough for a group as soon as

    ::

        h_F(s (v - q v0)) + S rho*(q / S) <= 0,

    which is so for `pull_cap`. The support function ``h_F`` in turn is bounded by any
    duals of the set's core and rows (`SetCone.bound`). Multipliers that are missing or bad only loosen the bound.

    Parameters
    ----------
    claim : Claim
    witness : mapping
        ``model`` and ``v`` of shape (d + 1,), ``kink_tolerance``, ``slopes`` and ``prices_k`` of each group;
        ``multipliers`` of the rows on the kink, with which the model alone has the residual ``missed``.
    """
    if claim.epsilon:
        raise InputError("a claim without a budget, which is what is bounded", f"{claim.epsilon:g}")
    model = np.asarray(witness["model"], dtype=np.float64)
    tolerance = float(witness["kink_tolerance"])
    if not (np.isfinite(model).all() and np.isfinite(tolerance) and np.isfinite(witness["v"]).all()):
        return 0.0
    known = LinearModel.from_vector(model)
    target = BudgetTarget.of(claim.train, claim.problem, claim.sets, known, max(tolerance, 0.0))
    missed = target.missed(np.clip(_finite(witness["multipliers"]), 0.0, 1.0))
    if not abs(missed - float(witness["missed"])) <= 1e-9 + 1e-6 * missed:  # what the words say
        return 0.0
    return dual_ratio(target, Proof.from_arrays(witness, len(target.groups)))


def dual_ratio(target: BudgetTarget, proof: Proof) -> float:
    """The bound of a proof, see `recompute_min_budget`."""
    v = held(target, proof.v)
    above = numerator(target, v)
    if not above > 0:
        return 0.0
    c1 = target.condition.penalty[1]
    duals = proof.duals or (np.zeros(0),) * len(target.groups)
    caps = [group_cap(target, k, v, float(proof.slopes[k]), duals[k]) for k in range(len(target.groups))]
    below = max(0.0, *caps) - float(c1 @ v) + PAD * float(np.abs(c1) @ np.abs(v))
    if np.isnan(below):
        return 0.0
    return above / below if above < ENDLESS * below else inf


def held(target: BudgetTarget, v: Array) -> Array:
    """The direction with no share of an intercept that is not fitted."""
    return np.asarray(v if target.problem.fit_intercept else np.append(v[:-1], 0.0))


def numerator(target: BudgetTarget, v: Array) -> float:
    """``min_a <v, g + A a + c0>``, rounding taken off."""
    condition = target.condition
    needed = condition.constant + condition.penalty[0]
    on_kink = condition.kink_matrix.T @ v
    size = np.abs(v) @ (np.abs(condition.constant) + np.abs(condition.penalty[0])) + np.abs(on_kink).sum()
    return float(v @ needed + np.minimum(on_kink, 0.0).sum() - PAD * size) - target.rounding * float(np.linalg.norm(v))


def group_cap(target: BudgetTarget, k: int, v: Array, slope: float, duals: Array) -> float:
    """A number that ``|phi'(m)| s v . (x, 1)`` does not exceed for any point of group `k`."""
    most = group_most(target, k, v, slope, duals)
    cap = pull_cap(target.problem.loss, target.groups[k].side, most, slope)
    return cap + PAD * abs(cap)


def group_most(target: BudgetTarget, k: int, v: Array, slope: float, duals: Array) -> float:
    """A number that ``s (v - slope v0) . (x, 1)`` does not exceed for any point of group `k`'s set."""
    group = target.groups[k]
    rest = group.sign * (v - slope * target.vector)
    try:
        most = support_by(target.feasible(group), rest[:-1], duals)
    except LinpoisonError:  # unsolved, or empty: that is not for this function to judge
        return inf
    return most + float(rest[-1]) + PAD * (abs(most) + abs(float(rest[-1])))


def pull_cap(loss: MarginLoss, side: float, most: float, slope: float) -> float:
    """The least ``S >= 0`` with ``most + S rho*(slope / S) <= 0``, or more.

    On the decreasing branch it is ``sup_m psi(m) (H + q m) = q G(H / q)`` for ``H = most, q = slope`` and the loss's
    `worst_pull` G; on the other branch margins are ``2 turn - m``, which takes ``2 turn q`` off H:

    ===============  ==============================  =======================================
    loss             ``rho(m)``                      ``S``
    ===============  ==============================  =======================================
    hinge            ``1`` up to 1                   ``(H + q)_+``
    logistic         ``1 + exp(m)``                  ``q omega(H / q - 1)``
    smoothed hinge   ``1 + exp((m - 1) / width)``    ``width q omega((H + q) / (width q) - 1)``
    squared (hinge)  ``1 / (side (1 - m))``          ``(H + side q)_+^2 / (4 q)``
    ===============  ==============================  =======================================

    with ``omega(x) + log omega(x) = x``.

    Examples
    --------
    >>> from linpoison.losses import Logistic
    >>> round(pull_cap(Logistic(), 1.0, 0.0, 1.0), 6) == round(Logistic().reach, 6)  # all of F = R^d: W(1 / e)
    True
    """
    if not np.isfinite(most) or most <= 0 == slope:
        return 0.0 if most <= 0 else inf
    if slope == 0:
        return loss.lipschitz * most
    with np.errstate(over="ignore"):
        worst = loss.worst_pull(np.array([-loss.on_branch(side, -side * most / slope)]))[0]
    return slope * max(float(worst[0]), 0.0)


def support_by(feasible: FeasibleSet, w: Array, duals: Array) -> float:
    """An upper bound on ``w . x`` over a set: by duals where there are some, else by the set itself."""
    cone = cone_of(feasible) if duals.size else None
    if cone is None or duals.size != dual_count(cone):
        return feasible.support_bound(w)
    first = int(cone.structure.radius is not None)
    mu = max(float(duals[0]), 0.0) if first else 0.0
    bound = cone.bound_by_rows(w, mu, duals[first:]) + float(w @ cone.structure.origin)
    return bound + PAD * float(np.abs(w) @ np.abs(cone.structure.origin)) + _rounding(cone, w, duals)


def _rounding(cone: SetCone, w: Array, duals: Array) -> float:
    """What rounding may take off `SetCone.bound`, whose terms may cancel: a part of all their magnitudes."""
    s = cone.structure
    first = int(s.radius is not None)
    mu, lam = (max(float(duals[0]), 0.0) if first else 0.0), np.abs(duals[first:])
    pull = float(np.linalg.norm(np.abs(w) + lam @ np.abs(s.rows))) * float(s.reach)
    center = 0.0 if s.center is None else float(np.linalg.norm(s.center))
    core = mu * (center + float(s.radius or 0.0) + float(s.reach)) ** 2
    return (s.d + 16) * UNIT * (float(lam @ cone.row_sizes) + pull + core)


@lru_cache(maxsize=8)
def cone_of(feasible: FeasibleSet) -> SetCone | None:
    """The cone over a bounded intersection whose structure is known, None for others."""
    if feasible.parts == (feasible,):
        return None
    structure = structure_of(feasible)
    if structure is None or structure.tube is not None or not np.isfinite(structure.reach):
        return None
    return SetCone(structure)


def dual_count(cone: SetCone) -> int:
    """One for the core, if there is one, and one of either sign for each row."""
    return int(cone.structure.radius is not None) + int(cone.structure.low.size)


def _finite(value: Array) -> Array:
    return np.nan_to_num(np.asarray(value, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
