"""Pointwise certificates for SVM and logistic regression: what no poison of a budget does to a score."""

from __future__ import annotations

import time
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from ...core.errors import InputError
from ...core.validation import Array, check_integer
from ..certificate import Certificate, Witness, check, claim_words
from ..claim import Claim
from ..clean.anchor import anchor, clean_vector
from ..clean.losses import soft_hinge
from ..clean.rows import LABELS, extended
from ..clean.screen import Screening, screen
from .bound import evaluate
from .conic import Multipliers, make_program
from .sharpen import NAMES, sharpen, sharpen_hubs, sharpened

NAME = "outer-set"
CONIC_ENTRIES = 300_000
"""Entries of ``X``, times the rows to certify, up to which "auto" solves a conic program for each row."""
OPEN_ENTRIES = 40_000
"""Dense entries of ``X`` up to which it does so for the rows that nothing cheaper decides."""
HUB_ROUNDS = 2
"""How often the scores of the hubs are bounded, by four programs each time."""
NEAR = 6
"""Rows solved before whose multipliers are tried for the next one, the nearest first."""
DOUBT = 1e-5
"""Excess over the value of the conic program, relative to ``1 + |value|``, from which on "auto" searches further."""
STEPS = (1.0, 3.0, 10.0, 30.0, 1e2, 1e3, 1e4, 1e5)
"""Weights of the optimality condition, per length of a row: tried where no program answers or no ball holds."""

Method = Literal["auto", "conic", "fast"]
_KEPT: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


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
        the program says, and for every row of a smooth loss, of which the programs are models.
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
        few = method == "conic" or _entries(claim) * claim.demand_rows().n <= CONIC_ENTRIES
        witness, values = _conic(claim, tighten and cap, cap, rounds, sharpen_rounds, solver, few)
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


def _entries(claim: Claim) -> int:
    return int(np.prod(claim.train.X.shape))


def _affordable(claim: Claim) -> Method:
    entries = _entries(claim)
    small = entries * claim.demand_rows().n <= CONIC_ENTRIES
    return "conic" if small or (entries <= OPEN_ENTRIES and claim.strongly_convex) else "fast"


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


def _conic(
    claim: Claim, tighten: bool, cap: bool, rounds: int, sharpen_rounds: int, solver: str | None, few: bool
) -> tuple[dict[str, Array], Array]:
    """The best multipliers of each row, and the values of their programs (N,), NaN where no solver answered.

    Where rows are not `few`, those that closed forms or the multipliers of others decide have no program, and none
    uses bounds on margins, which then hardly bound.
    """
    rows = claim.demand_rows()
    witness, screening, program = _prepared(claim, tighten, cap, rounds, sharpen_rounds, solver, few)
    multipliers = witness.get("a0", np.zeros(claim.train.n))
    clean, values = clean_vector(claim), np.full(rows.n, np.nan)
    chosen: list[Multipliers] = []
    known = _Known(claim, screening, few)
    for j, goal in enumerate(extended(claim, rows.X, rows.y)):
        cheap = known.of(j, goal)
        if cheap is not None:
            chosen.append(cheap)
            values[j] = np.inf
            continue
        found = program.multipliers(goal)
        values[j] = program.value(goal) if found else np.nan
        if not found or not screening.capped:
            found = found + _closed(clean, multipliers, goal)
        chosen.append(_best(claim.about(rows.take([j])), screening, found))
        known.add(goal, chosen[-1])
    return witness | {key: np.array([one[name] for one in chosen]) for key, name in NAMES.items()}, values


def _prepared(
    claim: Claim, tighten: bool, cap: bool, rounds: int, sharpen_rounds: int, solver: str | None, few: bool
) -> tuple[dict[str, Array], Screening, Any]:
    """Witness of the screening, the screening and a new program; what does not depend on the rows is kept."""
    key = (claim.problem, claim.epsilon, tighten, cap, rounds, sharpen_rounds, solver, few)
    kept = _KEPT.get(claim.train)
    if kept is not None and kept[0] is claim.sets and kept[1] == key:
        witness, screening = kept[2]
        return witness, screening, make_program(claim, screening, rounds=rounds, solver=solver)
    multipliers = anchor(claim)
    base = screen(claim, multipliers)
    witness = {"a0": multipliers} if cap else {}
    for number in range(HUB_ROUNDS if base.hubs and cap else 0):
        witness |= sharpen_hubs(claim, base.without_margins(), number, solver)
        base = sharpened(claim, screen(claim, multipliers), witness)
    for number in range(sharpen_rounds if tighten and base.capped else 0):
        witness |= sharpen(claim, base, number, solver)
        base = sharpened(claim, screen(claim, multipliers), witness)
    screening = base if tighten and few else base.without_margins() if cap else base.bare()
    _KEPT[claim.train] = (claim.sets, key, (witness, screening))
    return witness, screening, make_program(claim, screening, rounds=rounds, solver=solver)


class _Known:
    """Multipliers of the rows that were solved, and what they prove of others.

    With ``h`` changed by the difference of two rows, `q` of `outer.bound.evaluate` stays as it is.
    """

    def __init__(self, claim: Claim, screening: Screening, few: bool) -> None:
        self.claim, self.screening = claim, screening
        self.goals: list[Array] = []
        self.found: list[Multipliers] = []
        closed = _alone(claim, screening, 0.0) if screening.capped and not few else np.zeros(claim.demand_rows().n)
        self.decided, self.off = closed < 0, few or not screening.hubs

    def add(self, goal: Array, multipliers: Multipliers) -> None:
        """Those of one row."""
        self.goals.append(goal)
        self.found.append(multipliers)

    def of(self, row: int, goal: Array) -> Multipliers | None:
        """Multipliers that certify a row without a program of its own."""
        if self.off:
            return None
        if self.decided[row]:
            return _closed(self.screening.center, np.zeros(self.claim.train.n), 0 * goal)[0]
        if not self.goals:
            return None
        away = np.array(self.goals) - goal
        near = np.argsort(np.linalg.norm(away, axis=1))[:NEAR]
        about = self.claim.about(self.claim.demand_rows().take(np.full(near.size, row)))
        parts = {name: np.array([self.found[i][name] for i in near]) for name in NAMES.values()}
        parts["h"] = parts["h"] + away[near]
        bound = evaluate(about, self.screening, **parts)
        best = int(np.argmin(bound))
        return {name: value[best] for name, value in parts.items()} if bound[best] < 0 else None


def _best(claim: Claim, screening: Screening, found: list[Multipliers]) -> Multipliers:
    """Those of least bound on a single row."""
    if len(found) == 1:
        return found[0]
    return min(found, key=lambda it: float(evaluate(claim, screening, **{key: it[key] for key in NAMES.values()})[0]))


def _closed(v: Array, multipliers: Array, goal: Array) -> list[Multipliers]:
    """Multipliers without a solver: the clean minimiser as comparator, in several weights."""
    n = multipliers.size
    length = float(np.linalg.norm(goal)) or 1.0
    none: dict[str, Any] = {"b": multipliers, "r": np.zeros_like(v), "gam": np.zeros(n), "dele": np.zeros(n)}
    none |= {"tau": 0.0, "h": np.zeros_like(v), "eta": np.zeros(len(LABELS))}
    return [{"p": -step * length * v, "s": step * length, **none} for step in STEPS]


def worst_of_margin(claim: Claim, witness: Witness) -> Any:
    """For rows, what finds the model that is worst for all of them; None where the certificate had no program."""
    if "b" not in witness:
        return None
    few = _entries(claim) * claim.demand_rows().n <= CONIC_ENTRIES
    program = _prepared(claim, True, True, 2, 0, None, few)[2]
    return lambda rows: program.worst(extended(claim, rows.X, rows.y))


def scores_of(claim: Claim, v: Array) -> Array:
    """``-k (z, 1) . v`` of the rows of a claim: what the bound speaks of, at one model."""
    rows = claim.demand_rows()
    return np.asarray(-(extended(claim, rows.X, rows.y) @ v))
