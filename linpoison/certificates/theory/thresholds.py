"""The least mass of poison that makes a given model optimal, when points may lie anywhere in R^d."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, linprog, minimize_scalar

from ...core.dataset import Dataset
from ...core.errors import InputError
from ...core.model import LinearModel
from ...core.validation import Array, check_number
from ...losses import MarginLoss, Problem


@dataclass(frozen=True)
class Threshold:
    """What it takes to make a model optimal with points of R^d.

    Parameters
    ----------
    epsilon : float
        Least mass of the poison, as a fraction of the clean rows: zero if any mass will do,
        infinity if none does. A positive finite value is attained by at most two points, one of each
        class, if ``theta`` is not zero; the value zero is only approached, by points ever farther out.
    numerator : float
        ``<v, g + reg P v>`` at the multipliers of least mass.
    denominator : float
        ``reach`` less ``reg <v, P v>`` under mean scaling, `reach` under sum scaling.
    reach : float
        ``sup_t t psi(t)`` of the loss.
    assumptions : str
        What it holds for, in words.
    """

    epsilon: float
    numerator: float
    denominator: float
    reach: float
    assumptions: str

    @property
    def ratio(self) -> float:
        """``max(0, numerator / denominator)``, infinite if no mass will do: the bound of `v` alone."""
        return _ratio(self.numerator, self.denominator)


@dataclass(frozen=True)
class _Need:
    """What poison of mass ``e`` must supply: ``S = s0 + e s1`` along the model, ``B = b0 + e b1`` in the intercept."""

    s0: float
    s1: float
    b0: float
    b1: float


def reachability_threshold(
    problem: Problem, model: LinearModel, train: Dataset, *, kink_tolerance: float = 1e-3
) -> Threshold:
    """Least mass of poison anywhere in R^d that makes `model` optimal on clean rows and poison.

    With ``v = (theta, b)``, ``P`` the mask of penalised entries, ``g`` the gradient of the mean
    clean loss, ``psi = -phi'`` and ``reach = sup_t t psi(t)``, poison of mass ``e`` must satisfy::

        S(e) = <v, g + c(e) P v>  =  sum_i e_i m_i psi(m_i)  <=  e reach          along the model,
        B(e) = (g + c(e) P v)_b   =  sum_i e_i y_i psi(m_i)                       in the intercept,

    where ``c(e) = (1 + e) reg`` under mean scaling and ``reg`` at the clean size under sum scaling.
    The first line alone gives ::

        epsilon >= max(0, <v, g + reg P v> / (reach - [mean] reg <v, P v>)),

    infinite if the denominator is not positive but the numerator is. Without an intercept this is the
    infimum. With one, a point pulls on the intercept exactly as much as it weighs in ``u = w x``; the
    bound is the infimum iff two points at the best margin ``t*`` (``t* psi(t*) = reach``) can supply
    ``B``, that is iff ``t* |B(epsilon)| <= S(epsilon)``. Otherwise all mass goes to the class of the
    sign of ``B``, at margin ``S / |B|``, and `Threshold.epsilon` is the least ``e`` with
    ``|B(e)| / psi(S(e) / |B(e)|) <= e``, which is greater. (For the hinge: the least ``e`` with
    ``S(e) <= e`` and ``|B(e)| <= e``.)

    The squared loss increases beyond margin 1; points there push the other way and cannot lower the
    mass, so the result holds for all points.

    Clean rows on the kink of the hinge have any multiplier in [0, 1]; the least mass over all of
    them is taken, by a linear program.

    Parameters
    ----------
    problem : Problem
    model : LinearModel
        The model that the attacker wants learned; without an intercept in `problem` its own is zero.
    train : Dataset
        Clean rows.
    kink_tolerance : float, default 1e-3
        Rows whose margin is this close to the kink count as on it, which can only lower the result.

    Returns
    -------
    Threshold

    Raises
    ------
    InputError
        If `model` has another number of features, or an intercept that `problem` does not fit.

    References
    ----------
    Lu, Kamath, Yu. Exploring the limits of model-targeted indiscriminate data poisoning attacks,
    Theorem 2, Corollary 1 and equation (3.4) of chapter 3 of Lu's thesis; there without the
    regulariser and with the intercept's feature as free as the others.

    Examples
    --------
    >>> from linpoison.losses import Hinge, Logistic
    >>> train = Dataset([[1.0], [-1.0]], [1, -1])
    >>> wrong = LinearModel([-1.0])
    >>> reachability_threshold(Problem(Hinge(), reg=0.1, fit_intercept=False), wrong, train).epsilon  # 1.1 / 0.9
    1.2222222222222223
    >>> reachability_threshold(Problem(Logistic(), reg=0.3), wrong, train).epsilon
    inf
    """
    check_number(kink_tolerance, "kink_tolerance", at_least=0)
    if model.d != train.d:
        raise InputError(f"a model of {train.d} features", f"{model.d}")
    if not problem.fit_intercept and model.intercept != 0:
        raise InputError("a model without intercept", f"{model.intercept:g}", "The problem fits none.")
    need, rows = _need(problem, model, train, kink_tolerance)
    if problem.loss.kink is None:
        epsilon, numerator = _smooth_mass(need, problem.loss, problem.fit_intercept), need.s0
    else:
        epsilon, numerator = _hinge_mass(need, rows, problem.fit_intercept)
    words = f"points anywhere in R^d, any split between the classes, {problem.scaling} scaling of the regulariser"
    return Threshold(epsilon, numerator, problem.loss.reach - need.s1, problem.loss.reach, words)


def _need(problem: Problem, model: LinearModel, train: Dataset, tolerance: float) -> tuple[_Need, Array]:
    """The need with multipliers zero on the kink; what a multiplier of 1 takes off S and B (k rows, 2 columns)."""
    margins = model.margins(train)
    pull = -problem.loss.derivative(margins)
    share = train.weight / train.total
    kink = problem.loss.kink
    loose = np.zeros(train.n, dtype=bool) if kink is None else np.abs(margins - kink) <= tolerance
    gain = share * np.where(loose, 0.0, pull)
    reg = problem.reg_at(train.total) * problem.penalty_mask(model.d)
    s1, b1 = float(reg @ model.vector**2), float(reg[-1] * model.intercept)
    s0, b0 = s1 - float(gain @ margins), b1 - float(gain @ train.y)
    grows = problem.scaling == "mean"
    rows = share[loose, None] * np.column_stack([margins[loose], train.y[loose]])
    return _Need(s0, s1 * grows, b0, b1 * grows), rows


def _ratio(numerator: float, denominator: float) -> float:
    if numerator <= 0:
        return 0.0
    return numerator / denominator if denominator > 0 else np.inf


def _hinge_mass(need: _Need, rows: Array, fit_intercept: bool) -> tuple[float, float]:
    """``(least e, numerator)``: minimise e over e >= 0 and multipliers a with ``S(e, a) <= e``, ``|B(e, a)| <= e``."""
    table = [np.append(need.s1 - 1, -rows[:, 0])]
    limits = [-need.s0]
    if fit_intercept:
        table += [np.append(sign * need.b1 - 1, -sign * rows[:, 1]) for sign in (1, -1)]
        limits += [-need.b0, need.b0]
    cost = np.append(1.0, np.zeros(len(rows)))
    bounds = [(0, None)] + [(0, 1)] * len(rows)
    found = linprog(cost, A_ub=np.array(table), b_ub=np.array(limits), bounds=bounds, method="highs")
    if found.x is None:
        return np.inf, need.s0 - float(rows[:, 0].clip(min=0).sum())
    return float(found.x[0]), need.s0 - float(rows[:, 0] @ found.x[1:])


def _smooth_mass(need: _Need, loss: MarginLoss, fit_intercept: bool) -> float:
    simple = _ratio(need.s0, loss.reach - need.s1)
    if not fit_intercept or np.isinf(simple):
        return simple
    best = _best_margin(loss)
    if best * abs(need.b0 + simple * need.b1) <= need.s0 + simple * need.s1:
        return simple

    def mass_per_mass(inverse: float) -> float:
        """The mass needed at ``e = 1 / inverse``, in units of ``e``: convex in `inverse`."""
        return _least_mass(need.s1 + inverse * need.s0, abs(need.b1 + inverse * need.b0), loss, best)

    return _least_root(mass_per_mass)


def _least_mass(along: float, intercept: float, loss: MarginLoss, best: float) -> float:
    """Least mass that supplies S = `along` and |B| = `intercept`: both classes at margin `best`, or one class."""
    if along >= best * intercept:
        return max(along, 0.0) / loss.reach
    pull = float(loss.pull(np.array(along / intercept)))
    return intercept / pull if pull > 0 else np.inf


def _best_margin(loss: MarginLoss) -> float:
    """``argmax_t t psi(t)``; every loss of the library has it below ``1 + 2 / smoothness``."""
    grid = np.linspace(0.0, 1 + 2 / loss.smoothness, 1001)
    peak = int(np.argmax(grid * loss.pull(grid)))
    around = (grid[max(peak - 1, 0)], grid[min(peak + 1, 1000)])
    found = minimize_scalar(lambda t: -t * float(loss.pull(np.array(t))), bounds=around, options={"xatol": 1e-12})
    return float(found.x)


def _least_root(need: Callable[[float], float]) -> float:
    """The least ``e = 1 / s`` with ``need(s) <= 1`` for a convex `need`; infinity if there is none."""
    high = 1.0
    while high < 1e12 and need(high) <= max(1.0, need(high / 2)):
        high *= 2
    if high >= 1e12:
        return 0.0
    low = float(minimize_scalar(need, bounds=(0.0, high), method="bounded", options={"xatol": 1e-12 * high}).x)
    if need(low) > 1:
        return np.inf
    return 1 / float(brentq(lambda inverse: need(inverse) - 1, low, high, xtol=1e-14 * high, rtol=1e-14))
