"""Pointwise certificates for SVM and logistic regression: what no poison of a budget does to a score."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import InputError
from ...core.validation import Array, check_integer
from ..certificate import Certificate, Witness, check, claim_words
from ..claim import Claim
from ..clean.losses import soft_hinge
from ..clean.rows import extended
from ..clean.screen import Screening, screen
from ..joint import Joint
from .bound import evaluate
from .known import OuterSet, OuterSets, Ways, is_small
from .program import Multipliers
from .sharpen import NAMES, sharpened

NAME = "outer-set"
OPEN_ENTRIES = 40_000
"""Entries of ``X`` up to which "auto" solves one for the rows that nothing cheaper decides, where a ball holds."""
DOUBT = 1e-5
"""Excess over the value of the conic program, relative to ``1 + |value|``, from which on "auto" searches further."""

Method = Literal["auto", "conic", "fast"]


def certify_margin(
    claim: Claim,
    *,
    method: Method = "auto",
    tighten: bool = True,
    cap: bool = True,
    sharpen_rounds: int = 0,
    rounds: int = 2,
    refine: bool = False,
    solver: str | None = None,
    decide: bool = False,
    known: OuterSets | None = None,
) -> Certificate:
    """Bound the score of each row under every model that the poison of a claim can bring about.

    ::

        bound_j  >=  max { -k_j (z_j, 1) . v :  v minimises the learner's objective with some poison of the claim }

    Row ``j`` is certified if its bound is negative: no such poison changes its label ``k_j``. The maximum is taken over
    a convex set that contains every reachable ``v``, see `outer.bound.evaluate`: stationarity, and the optimality
    conditions of the clean rows in sum; with every parameter penalised also a cap by monotonicity, and bounds on the
    margins of the clean rows. The set lies in that of Steinhardt et al. with strong convexity, and in every ball that
    uniform stability gives. The bound is the value of the dual at the multipliers that were found, not a solver's word.

    Parameters
    ----------
    claim : Claim
        With rows; its loss is hinge, smooth hinge or logistic.
    method : {"auto", "conic", "fast"}, default "auto"
        "conic": one program for each row by `linpoison.convex.solve`. "fast": a first-order method on the dual, for all
        rows at once (`tighten` and `cap` are always on then). "auto" is the fast one, but "conic" where that is cheap
        (up to `CONIC_ENTRIES`), with the fast one besides for rows on which the conic multipliers do not prove what
        the program says, and for every row of a smooth loss, of which the programs are models; and up to `OPEN_ENTRIES`
        "conic" without bounds on the margins, for the rows alone that the answers for others do not decide.
    tighten : bool, default True
        Bound the margins of the clean rows by the cap, and use it. Needs the cap.
    cap : bool, default True
        False leaves the outer set alone, without ball and cap.
    sharpen_rounds : int, default 0
        With "conic" and `tighten`: how often to bound the margins of the clean rows anew, by two programs for each
        row that may lie on either side of the kink. For small data: the witness holds them all.
    rounds : int, default 2
        Quadratic models in turn for smooth losses; the best of them counts.
    refine : bool, default False
        With "fast": go on with rows whose bound is negative already, or will hardly become so.
    solver : str, optional
        See `linpoison.convex.solve`.
    decide : bool, default False
        Whether the sign of a bound is all that is asked for: rows have no program of their own then that what is known
        of others certifies, nor those that a model of the set misclassifies, which no program can certify.
    known : OuterSets, optional
        What programs over the same sets have answered for other rows, to which the answers are added.

    Returns
    -------
    Certificate
        Of the kind "score". ``info["failed"]`` counts rows for which no solver answered: their bound is that of the
        ball and of the closed forms, infinite if there is none. `exact` is False throughout.

    Raises
    ------
    InputError
        If the claim has no rows, or the method is unknown.
    CapabilityError
        If the loss is another.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Hinge, Problem
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[-1.0], [-0.5], [0.5], [1.0]], [-1, -1, 1, 1])
    >>> sets = ByLabel({+1: Ball([1.0], 1.0), -1: Ball([-1.0], 1.0)})
    >>> claim = Claim(train, Problem(Hinge(), 0.5, fit_intercept=False), sets, 0.05, Dataset([[1.0]], [1]))
    >>> certificate = certify_margin(claim)
    >>> bool(certificate.bound[0] < 0), bool((certificate.verify() == certificate.bound).all())
    (True, True)
    """
    if method not in ("auto", "conic", "fast"):
        raise InputError("the method 'auto', 'conic' or 'fast'", repr(method))
    check_integer(rounds, "rounds", at_least=1)
    check_integer(sharpen_rounds, "sharpen_rounds", at_least=0)
    began = time.perf_counter()
    claim.demand_rows()
    soft_hinge(claim.problem.loss)
    chosen = method if method != "auto" else _affordable(claim)
    if chosen == "fast":
        witness, failed = _fast(claim, refine), 0
    else:
        few = method == "conic" or is_small(claim)
        ways = Ways(tighten and cap, cap, rounds, sharpen_rounds, solver, few)
        witness, values = _conic(claim, (known or OuterSets()).of(claim, ways), decide)
        failed = int(np.isnan(values).sum())
        witness |= _besides(claim, witness, values) if method == "auto" and few and tighten and cap else {}
    bound = recompute_margin(claim, witness)
    info = {"method": chosen, "failed": failed, "without_bound": int((~np.isfinite(bound)).sum())}
    return Certificate.proved(NAME, claim, bound, witness, began, info=info)


@check(NAME, scores=True, words=claim_words)
def recompute_margin(claim: Claim, witness: Witness) -> Array:
    """The bound that a witness proves, without a solver.

    Parameters
    ----------
    claim : Claim
        With N rows.
    witness : mapping
        ``a0`` (n,): multipliers of the clean rows, from which follow the ball, the cap and the bounds on the margins;
        none of them without it. ``p, s, b, r, gam, del``: see `outer.bound.evaluate`; all may be left out. Or the
        ``p, e, s, width`` of `outer.dual.minimise_bound`, from which those follow, or those besides as ``fast.p, ...``.

    Returns
    -------
    ndarray, shape (N,)
        The least of the dual value, the ball and the cap alone.
    """
    screening = _screening(claim, witness)
    quick = {key.removeprefix("fast."): value for key, value in witness.items() if key.startswith("fast.")}
    bounds = [_of_program(claim, screening, part) for part in ([witness, quick] if quick else [witness])]
    if screening.capped:
        bounds += [_alone(claim, screening, 0.0), _alone(claim, screening, -1.0)]
    return np.asarray(np.min(bounds, axis=0))


def _affordable(claim: Claim) -> Method:
    few_entries = int(np.prod(claim.train.X.shape)) <= OPEN_ENTRIES
    return "conic" if is_small(claim) or (few_entries and claim.strongly_convex) else "fast"


def _screening(claim: Claim, witness: Witness) -> Screening:
    if "a0" not in witness or not np.isfinite(witness["a0"]).all():
        return screen(claim, np.zeros(claim.train.n)).bare()
    return sharpened(claim, screen(claim, witness["a0"]), witness)


def _of_program(claim: Claim, screening: Screening, witness: Witness) -> Array:
    if {"p", "e", "s", "width"} <= set(witness):
        from .witness import witness_bound

        return np.asarray(witness_bound(claim, witness, screening))
    if not {"p", "s", "b"} <= set(witness):
        return np.full(claim.demand_rows().n, np.inf)
    return evaluate(claim, screening, **{name: witness.get(key) for key, name in NAMES.items()})


def _alone(claim: Claim, screening: Screening, factor: float) -> Array:
    """The bound of the ball (factor 0) or of the cap (factor -1) by itself."""
    rows = claim.demand_rows()
    r = None if not factor else factor * extended(claim, rows.X, rows.y)
    return evaluate(claim, screening.without_margins(), np.zeros(claim.train.d + 1), 0.0, np.zeros(claim.train.n), r)


def _fast(claim: Claim, refine: bool) -> dict[str, Array]:
    from .dual import minimise_bound

    return dict(minimise_bound(claim, stop_when_decided=not refine))


def _besides(claim: Claim, witness: Witness, values: Array) -> dict[str, Array]:
    """What the fast method finds for the rows whose bound is not the value of their program."""
    from .dual import minimise_bound

    with np.errstate(invalid="ignore"):
        proved = recompute_margin(claim, witness) <= values + DOUBT * (1 + np.abs(values))
    rows = np.flatnonzero(~proved)
    if not rows.size:
        return {}
    found = minimise_bound(claim, rows, stop_when_decided=False)
    whole = {f"fast.{key}": np.zeros((values.size, *found[key].shape[1:])) for key in ("p", "e", "s", "width")}
    for key, array in whole.items():
        array[rows] = found[key.removeprefix("fast.")]
    return whole


def _conic(claim: Claim, outer: OuterSet, decide: bool) -> tuple[dict[str, Array], Array]:
    """The best multipliers of each row, and the values of their programs (N,).

    NaN where no solver answered, infinite where no program was needed.
    """
    rows = claim.demand_rows()
    closed = _alone(claim, outer.screening, 0.0) < 0 if outer.screening.capped and outer.shared else None
    chosen: list[Multipliers] = []
    values = np.full(rows.n, np.nan)
    for j, goal in enumerate(extended(claim, rows.X, rows.y)):
        if decide and closed is not None and closed[j]:
            found, values[j] = outer.nothing, np.inf
        else:
            found, values[j] = outer.answer(claim.about(rows.take([j])), goal, decide)
        chosen.append(found)
        if outer.progress is not None:
            outer.progress(j + 1, rows.n, "rows bounded")
    return outer.witness | {key: np.array([one[name] for one in chosen]) for key, name in NAMES.items()}, values


def joint_of_margin(
    claim: Claim, witness: Witness, known: OuterSets | None = None
) -> Callable[[Dataset, Array], Joint] | None:
    """For rows and bounds on their margins, programs with all of them; None where the certificate had no program."""
    if "b" not in witness:
        return None
    outer = (known or OuterSets()).of(claim, Ways(few=is_small(claim)))
    return lambda rows, most: outer.joint(extended(claim, rows.X, rows.y), most)


def scores_of(claim: Claim, v: Array) -> Array:
    """``-k (z, 1) . v`` of the rows of a claim: what the bound speaks of, at one model."""
    rows = claim.demand_rows()
    return np.asarray(-(extended(claim, rows.X, rows.y) @ v))
