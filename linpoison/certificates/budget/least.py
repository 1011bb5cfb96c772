"""The least mass of poison that makes a given model optimal, when poison must lie in given sets."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import CertificateInvalid, InputError, LinpoisonError, SolverFailed
from ...core.model import LinearModel
from ...core.poison import Poison
from ...core.validation import LABELS, Array
from ...losses import Problem
from ...optimality.stationarity import VANISHING
from ...sets import ByLabel
from ..certificate import Certificate
from ..claim import Claim
from .dual import Proof, dual_ratio, recompute_min_budget
from .program import conic_budget
from .structured import structured_applies, structured_budget
from .target import Answer, BudgetTarget
from .tune import along_the_model, best_proof, toward_margins, tuned

LARGE = 2000
"""Number of features from which the structured method is tried first."""
HUGE = 20_000
"""Number of features from which no conic program is begun where the structured method fails."""
TOL = 1e-3
"""Relative difference between budget and bound up to which the one attains the other."""


def min_budget(
    train: Dataset,
    problem: Problem,
    sets: ByLabel,
    model: LinearModel,
    *,
    kink_tolerance: float = 1e-3,
    solver: str | None = None,
    method: Literal["auto", "conic", "structured"] = "auto",
) -> Certificate:
    """Least mass of poison in the sets, per clean row, that makes `model` optimal on clean rows and poison.

    With ``v0 = (theta, b)``, ``g + A a`` the gradient of the mean clean loss (multipliers `a` in [0, 1] for rows on
    the kink), ``c0 + e c1`` the regulariser's and ``rho = 1 / |phi'|``::

        minimise    e
        subject to  g + A a + c0 + e c1 = sum_y y (u_y, w_y)
                    (u_y, w_y) in cone(F_y x {1}),   sum_y w_y rho(m_y) <= e,   m_y w_y = y (u_y, w_y) . v0

    Any poison `nu` meets the constraints with ``w_y = integral |phi'| d nu`` and ``u_y = integral |phi'| x d nu``,
    since `rho` is convex (Jensen); and ``x_y = u_y / w_y`` with mass ``w_y rho(m_y)`` is a poison of one point for
    each class. The squared loss has two points for each class, one on either side of margin 1.

    The bound is not the solver's: it is the ratio of the dual direction, evaluated exactly (see
    `recompute_min_budget`), and no poison of less mass makes the model optimal.

    Parameters
    ----------
    train : Dataset
        Clean rows.
    problem : Problem
    sets : ByLabel
        Where poison may lie.
    model : LinearModel
        What the attacker wants learned.
    kink_tolerance : float, default 1e-3
        Rows whose margin is this close to the kink count as on it, which can only lower the budget.
    solver : str, optional
        A cvxpy solver for the conic program.
    method : {"auto", "conic", "structured"}
        "structured" is an interior-point method for the hinge and bounded intersections of known structure whose
        coordinates separate; "auto" takes it there from `LARGE` features on and falls back on the conic program.

    Returns
    -------
    Certificate
        Of kind "budget". It is `exact` if its poison makes the model optimal with a mass within `TOL` of the bound.
        `budget_poison` reads the poison. ``info`` holds `primal` (the budget of the program; infinite if none
        will do), `slack` (mass that only strengthens the regulariser, under mean scaling; for the hinge a point
        of margin at least 1 supplies it where there is one), `residual` (of the condition, relative), `gap`,
        `violation`, `method` and `status`.

    Raises
    ------
    InputError
        If the parts do not fit each other.
    CapabilityError
        If the loss is not covered, or "structured" does not apply.
    SolverFailed
        If no method gives an answer.

    References
    ----------
    Koh, Steinhardt, Liang (2022), section 4.2 and Theorem 1; Lu, Kamath, Yu (2023), Theorem 2, which is the case
    of sets without bounds; Suya et al. (2021), Theorem 2, whose bound for any comparator is a ratio at its difference.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> from linpoison.sets import Ball
    >>> train = Dataset([[1.0], [-1.0]], [1, -1])
    >>> sets = ByLabel({1: Ball([0.0], 2.0), -1: Ball([0.0], 2.0)})
    >>> found = min_budget(train, Problem(Hinge(), reg=0.1, fit_intercept=False), sets, LinearModel([-1.0]))
    >>> round(found.bound, 6), found.exact  # as far as everywhere: 1.1 / 0.9
    (1.222222, True)
    """
    start = time.perf_counter()
    if method not in ("auto", "conic", "structured"):
        raise InputError("method 'auto', 'conic' or 'structured'", repr(method))
    claim = Claim(train, problem, sets, 0.0)
    target = BudgetTarget.of(train, problem, sets, model, kink_tolerance)
    first = _first(target)
    how, answer = _answered(target, first, method, solver)
    _, proof = best_proof(target, [answer.proof, first])
    witness = proof.arrays(target)
    bound = float(recompute_min_budget(claim, witness))
    answer, padded = _with_padding(target, answer)
    info, exact = _facts(target, answer, bound, padded)
    info |= {"method": how, "status": answer.status}
    witness |= _poison_arrays(answer.poison)
    return Certificate.proved("min-budget", claim, bound, witness, start, exact=exact, info=info)


def _first(target: BudgetTarget) -> Proof:
    """What the model's own direction proves."""
    if not target.vector.any():
        return Proof(np.zeros_like(target.vector), np.zeros(len(target.groups)))
    own = along_the_model(target, target.vector)
    if structured_applies(target) and own is not None:
        return own
    return best_proof(target, [own, tuned(target, target.vector), *toward_margins(target)])[1]


def _answered(target: BudgetTarget, first: Proof, method: str, solver: str | None) -> tuple[str, Answer]:
    if np.isinf(dual_ratio(target, first)):
        return "closed form", Answer(np.inf, None, np.zeros(0), first, 0.0, "infeasible")
    applies = structured_applies(target)
    if method == "structured" and not applies:
        raise InputError("the hinge loss and bounded intersections of structured sets", "others", "Use 'conic'.")
    d = target.condition.train.d
    if method == "structured" or (method == "auto" and applies and d >= LARGE and solver is None):
        try:
            return "structured", structured_budget(target, TOL, first)
        except SolverFailed:
            if method == "structured" or d >= HUGE:
                raise
    unit = float(np.clip(dual_ratio(target, first), 1e-3, 10.0))
    return "conic", conic_budget(target, solver, first, unit)


def _with_padding(target: BudgetTarget, answer: Answer) -> tuple[Answer, bool]:
    """Slack as copies of a point without pull, where the hinge has one; whether no slack is left."""
    if answer.poison is None:
        return answer, False
    if answer.slack <= 1e-6 * max(answer.epsilon, 1e-12):
        return answer, True
    if target.problem.loss.kink is None:
        return answer, False
    model, poison = target.condition.decoy, answer.poison
    for label in LABELS:
        try:
            x = target.sets[int(label)].support(label * model.coef)
        except LinpoisonError:
            continue
        if label * float(x @ model.coef + model.intercept) >= 1 + 1e-5:
            count = np.append(poison.count, answer.slack * target.condition.train.total)
            more = Poison(np.vstack([poison.X, x]), np.append(poison.y, label), count)
            return answer._replace(poison=more), True
    return answer, False


def _facts(target: BudgetTarget, answer: Answer, bound: float, spent: bool) -> tuple[dict[str, object], bool]:
    """What a report says of an answer, and whether its poison attains the bound."""
    residual, violation = np.inf, 0.0
    if answer.poison is not None:
        found = target.residual(answer.poison, answer.multipliers)
        residual = float(np.linalg.norm(found)) / max(target.condition.size, 1e-300)
        violation = float(target.sets.violation(answer.poison).max(initial=0.0))
    gap = answer.epsilon / bound - 1 if 0 < bound < np.inf else (0.0 if answer.epsilon <= 1e-9 else np.inf)
    info: dict[str, object] = {
        "primal": answer.epsilon,
        "slack": answer.slack,
        "residual": residual,
        "violation": violation,
        "gap": float(gap),
    }
    return info, bool(spent and residual <= VANISHING and violation <= 1e-5 and gap <= TOL)


def _poison_arrays(poison: Poison | None) -> dict[str, Array]:
    """Kept with the witness, so that it travels with the certificate; no bound rests on it."""
    if poison is None:
        return {}
    return {"poison_X": np.asarray(poison.X), "poison_y": poison.y, "poison_count": poison.count}


def budget_poison(certificate: Certificate) -> Poison | None:
    """The poison of the least mass found, weights in copies; None where no poison will do.

    At most one row of each class (of each class and side of margin 1 for the squared loss), and one more
    where slack is spent on a row without pull.

    Raises
    ------
    InputError
        If it is no certificate of `min_budget`.
    """
    if certificate.name != "min-budget":
        raise InputError("a certificate of min_budget", repr(certificate.name))
    held = certificate.witness
    if "poison_X" not in held:
        return None
    X, y, count = (np.asarray(held.get(f"poison_{part}", ())) for part in ("X", "y", "count"))
    if not (X.ndim == 2 and y.shape == count.shape == X.shape[:1]):
        raise CertificateInvalid("expected the rows, labels and copies of a poison, got arrays that do not fit.")
    return Poison(X, y, count)
