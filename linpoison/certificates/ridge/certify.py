"""Exact or nearly exact bounds on the scores of the ridge classifier, for each test row."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np

from ...core.errors import CapabilityError, CertificateInvalid, InputError
from ...core.poison import Poison
from ...core.validation import Array, check_integer
from ..certificate import Certificate, Witness, check, claim_words
from ..claim import Claim
from .attacks import Attacks, Index, recover
from .ball import BallDual, balls_only
from .columns import TOL, ColumnDual
from .conic import RidgeProgram
from .model import RidgeSystem, comparator_bounds

Method = Literal["auto", "structured", "conic"]

EXACT = 1e-6
"""Greatest distance between a bound and the score that an attack reaches at which the bound counts as exact."""

_BATCH = 64


def certify_ridge(claim: Claim, *, method: Method = "auto") -> Certificate:
    """Bound the scores of ridge classification over all poison of a claim, row by row.

    With ``H = (1/n) sum_i c_i x_i x_i' + reg P`` and ``v0`` the minimiser without poison (both with the
    regulariser of the whole budget), every parameter vector that poison can reach is ``v0 + H^-1 u`` in ::

        u = sum_g s_g u_g,   u_g in w_g F_g,   sum_g e_g <= eps,
        u'H^-1 u + u'v0  <=  sum_g ( s_g k_g w_g - w_g^2 / e_g ),

    over four groups ``g`` of poison, by label ``k`` and sign ``s`` of the residual. The greatest ``c'v`` over
    this convex set, ``c = -k (z, 1)``, has the dual ::

        min over comparators v of   ( c'(v0 + v) + |c|_{H^-1} sqrt(|v - v0|_H^2 + eps M(v)^2) ) / 2,

    ``M(v)`` the greatest residual ``|k - x'v|`` of any poison under ``v``. Any comparator proves a bound, and
    the one found is the witness. Rounding is charged: the bound holds for the exact minimiser although it is
    computed in floating point (`linpoison.certificates.ridge.model` has the proof), and is infinite where that cannot
    be shown. The bound is attained, and then `exact`, whenever poison that meets the constraint with equality in each
    group is found; it is found whenever only one group is active.

    Parameters
    ----------
    claim : Claim
        With the squared loss, and rows.
    method : {"auto", "structured", "conic"}, default "auto"
        ``structured``: Newton's method on a diagonalised dual for many rows at once where both sets are
        balls, cutting planes with the sets' oracles otherwise. ``conic``: one cone program for each row.
        ``auto``: structured, and conic for rows that it leaves with a gap.

    Returns
    -------
    Certificate
        Of kind "score": for each row an upper bound on ``-k (z'theta + b)``, with the attacks that
        `ridge_attack` returns; ``info`` holds shares and gaps.

    Raises
    ------
    CapabilityError
        If the loss is not the squared one.
    InputError
        If the claim has no rows.

    References
    ----------
    Steinhardt, Koh, Liang. Certified defenses for data poisoning attacks, 2017, for the comparators;
    the reachable set and this dual of it are this library's.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Problem, Squared
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[1.0], [-1.0], [0.8], [-0.8]], [1, -1, 1, -1])
    >>> sets = ByLabel({1: Ball([1.0], 0.5), -1: Ball([-1.0], 0.5)})
    >>> claim = Claim(train, Problem(Squared(), 0.1, fit_intercept=False), sets, 0.1, Dataset([[1.0], [0.1]], [1, 1]))
    >>> found = certify_ridge(claim)
    >>> found.bound.round(4), found.exact
    (array([-0.9091, -0.0909]), array([ True,  True]))
    >>> round(ridge_attack(found, 0).total, 6)  # a tenth of the four clean rows
    0.4
    """
    start = time.perf_counter()
    if method not in ("auto", "structured", "conic"):
        raise InputError("method among auto, structured, conic", repr(method))
    system = RidgeSystem.of(claim)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is not finite proves nothing
        found, fallbacks = _solve(system, method)
    V = np.concatenate([V for V, _ in found])
    attacks = [attack for _, attack in found]
    bound = comparator_bounds(system, V)
    value = np.concatenate([attack.value for attack in attacks])
    witness = {"comparator": V, **_origin(system), **_stored(attacks)}
    info = _info(bound, value, fallbacks)
    return Certificate.proved("ridge", claim, bound, witness, start, exact=bound - value <= EXACT, info=info)


@check("ridge", scores=True, words=claim_words)
def recompute_ridge(claim: Claim, witness: Witness) -> Array:
    """What the comparators of a witness prove, or the clean model if that is more: one bound for each row."""
    rows, width = claim.demand_rows().n, claim.train.d + int(claim.problem.fit_intercept)
    V = np.asarray(witness.get("comparator", np.empty(0)), dtype=np.float64)
    origin = witness.get("origin")
    wrong = origin is not None and (np.shape(origin) != (claim.train.d,) or not np.isfinite(origin).all())
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        system = RidgeSystem.of(claim, origin=None if wrong else origin)
        plain = comparator_bounds(system, np.tile(system.clean, (rows, 1)))
        return plain if wrong or V.shape != (rows, width) else np.minimum(plain, comparator_bounds(system, V))


def _origin(system: RidgeSystem) -> dict[str, Array]:
    """The origin of the comparators, where it is not zero: any would do, but the same one gives the same bound."""
    return {"origin": system.rows.origin} if system.rows.origin.any() else {}


def ridge_attack(certificate: Certificate, row: int) -> Poison:
    """The strongest poison found against one row of a certificate of `certify_ridge`.

    Parameters
    ----------
    certificate : Certificate
    row : int
        Position among ``claim.rows``.

    Returns
    -------
    Poison
        Up to four points; copies are fractional and add up to the whole budget. Retraining on it gives
        the score ``certificate.bound[row]`` if ``certificate.exact[row]``.
    """
    if certificate.name != "ridge":
        raise CapabilityError("a certificate of certify_ridge", repr(certificate.name))
    row, rows = check_integer(row, "row", at_least=0), certificate.claim.demand_rows().n
    if row >= rows:
        raise InputError(f"a row below {rows}", f"{row}")
    X, y, mass, of = (np.asarray(certificate.witness.get(f"attack_{part}", ())) for part in ("X", "y", "mass", "row"))
    if not (X.ndim == 2 and X.shape[:1] == y.shape == mass.shape == of.shape):
        raise CertificateInvalid(
            "expected the rows, labels, masses and targets of attacks, got arrays that do not fit."
        )
    mine = of == row
    return Poison(X[mine], y[mine], mass[mine] * certificate.claim.mass)


def _solve(system: RidgeSystem, method: Method) -> tuple[list[tuple[Array, Attacks]], int]:
    """Comparators and attacks of all rows, and how many rows a cone program answered."""
    rows = np.arange(len(system.directions))
    if system.claim.epsilon == 0:
        return [(np.tile(system.clean, (rows.size, 1)), _nothing(system))], 0
    if method != "conic" and balls_only(system.claim.sets) and (dual := BallDual.of(system)) is not None:
        parts = np.split(rows, range(_BATCH, rows.size, _BATCH))
        return [_newton(system, dual, part) for part in parts], 0
    columns = None if method == "conic" else ColumnDual(system)
    program = None if method == "structured" else RidgeProgram(system)
    answers = [_single(system, row, columns, program) for row in range(rows.size)]
    return [answer[:2] for answer in answers], sum(answer[2] for answer in answers)


def _newton(system: RidgeSystem, dual: BallDual, rows: Index) -> tuple[Array, Attacks]:
    shares = dual.minimise(system.directions[rows], system.sizes[rows])
    plain = np.broadcast_to(system.clean, shares.V.shape)
    better = comparator_bounds(system, shares.V, rows) <= comparator_bounds(system, plain, rows)
    share = np.where(np.isfinite(shares.V).all(axis=1, keepdims=True), shares.share, 0.0)
    attacks = recover(system, np.nan_to_num(shares.points), share, rows)
    return np.where(better[:, None], shares.V, plain), attacks


def _single(
    system: RidgeSystem, row: int, columns: ColumnDual | None, program: RidgeProgram | None
) -> tuple[Array, Attacks, bool]:
    """The best of what the methods found for one row, and of two comparators that are always at hand."""
    candidates = [system.clean, np.zeros_like(system.clean)]
    points, share = np.zeros((4, system.claim.train.d)), np.zeros(4)
    gap = np.inf
    if not system.directions[row].any():  # a score of 0 whatever the model: nothing to search for
        columns = program = None
    if columns is not None and (found := columns.solve(row)) is not None:
        V, points, share, gap = found
        candidates.append(V)
    conic = program is not None and not gap <= 10 * TOL
    if conic and program is not None and (answer := program.solve(row)) is not None:
        V, points, share, _ = answer
        candidates.append(V)
    V = np.array(candidates)
    best = V[int(np.argmin(comparator_bounds(system, V, np.full(len(V), row))))]
    return best[None], recover(system, points[None], share[None], np.array([row])), conic


def _nothing(system: RidgeSystem) -> Attacks:
    none = np.zeros(0)
    return Attacks(
        (system.about.low + system.about.high) / 2,
        np.zeros((0, system.claim.train.d)),
        none,
        none,
        np.zeros(0, dtype=np.intp),
    )


def _stored(attacks: list[Attacks]) -> dict[str, Array]:
    return {
        "attack_X": np.concatenate([attack.X for attack in attacks]),
        "attack_y": np.concatenate([attack.y for attack in attacks]),
        "attack_mass": np.concatenate([attack.mass for attack in attacks]),
        "attack_row": np.concatenate([attack.row for attack in attacks]),
    }


def _info(bound: Array, value: Array, fallbacks: int) -> dict[str, object]:
    gap = bound - value
    return {
        "certified": float(np.mean(bound < 0)),
        "attacked": float(np.mean(value >= 0)),
        "exact_share": float(np.mean(gap <= EXACT)),
        "median_gap": float(np.median(gap)),
        "largest_gap": float(np.max(gap)),
        "conic_rows": fallbacks,
    }
