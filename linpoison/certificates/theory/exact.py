"""Exact certificates of the SVM on small data, by branch and bound over the clean rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import numpy as np

from ...core.errors import CapabilityError
from ...core.validation import Array, check_integer, check_number
from ..certificate import Certificate, check
from ..claim import Claim
from ..hinge.dual import dual_bound, stack, unstack
from ..hinge.frame import FREE, KINK, frame
from ..hinge.margins import replay, tighten
from ..hinge.program import CaseProgram, reference_multipliers
from .branching import Outcome, Search, covers

LARGEST = 2000
"""Most clean rows: beyond, a search has no chance."""


def certify_exact(
    claim: Claim,
    *,
    tol: float = 1e-3,
    max_nodes: int = 3000,
    rounds: int = 2,
    progress: Callable[[int, int, str], Any] | None = None,
) -> Certificate:
    """The greatest negative margin that poison can force, up to `tol`, with a poison that does.

    ::

        max { -k (z, 1) . v :  v minimises  reg/2 <v, P v> + (1/n) sum_i c_i phi(y_i (x_i, 1) . v)
                                            + integral phi(y (x, 1) . v) d nu(x, y),  mass of nu <= epsilon }

    for the hinge loss. The relaxation of the outer set leaves open which clean rows are support
    vectors. A search decides it row by row: ``a_i = 0, m_i >= 1``, or ``a_i = 1, m_i <= 1``, or
    ``m_i = 1``, with one conic program for each case. Points and masses of its solution are
    retrained and give a poison; the search ends where the bound of the worst case is within `tol` of the
    best one. Only that the poison of *both* classes is made of support vectors stays relaxed, to
    a sum over the classes: where both are needed, a gap may remain, more often with a free intercept.

    Interrupt it (``KeyboardInterrupt``) to have what is proved by then.

    Parameters
    ----------
    claim : Claim
        With the hinge loss and few clean rows (tens).
    tol : float, default 1e-3
        Gap at which a row counts as settled.
    max_nodes : int, default 3000
        Programs to solve at most for each row.
    rounds : int, default 2
        How often all margins are bounded by the relaxation before the search; each round costs two programs
        for each clean row, and decides rows or narrows what is left to the search.
    progress : callable, optional
        ``progress(solved, max_nodes, "nodes")`` after each program.

    Returns
    -------
    Certificate
        Of kind "score". `exact` tells for each row whether the gap is at most `tol`. In ``info``: ``attack`` (the
        value of the best poison), ``poison`` (its rows, labels and copies, None for no poison), ``nodes``,
        ``interrupted``.

    Raises
    ------
    CapabilityError
        If the loss is not the hinge, or there are too many rows.
    InputError
        If the claim names no rows to certify.

    References
    ----------
    Koh, Steinhardt, Liang, "Stronger data poisoning attacks break data sanitization defenses", section 4.2:
    the conditions of optimality that the cases state.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Hinge, Problem
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[1.0], [0.5], [-1.0], [-0.4]], [1, 1, -1, -1])
    >>> sets = ByLabel({1: Ball([0.8], 0.5), -1: Ball([-0.8], 0.5)})
    >>> claim = Claim(train, Problem(Hinge(), 0.1), sets, 0.1, Dataset([[0.3]], [1]))
    >>> found = certify_exact(claim)
    >>> bool(found.exact[0]), bool(found.bound[0] - found.info["attack"][0] <= 1e-3)
    (True, True)
    """
    start = time.perf_counter()
    check_number(tol, "tol", above=0)
    check_integer(max_nodes, "max_nodes", at_least=1)
    check_integer(rounds, "rounds", at_least=0)
    if claim.train.n > LARGEST:
        raise CapabilityError(f"at most {LARGEST} clean rows", claim.train.n, "Use the outer set.")
    aims = frame(claim, None).aims()
    a0 = reference_multipliers(frame(claim, None))
    bare = frame(claim, a0)
    program = CaseProgram(bare, floored=True)
    bare, margins = tighten(bare, program, rounds)
    search = Search(bare, program, tol=tol, max_nodes=max_nodes, progress=progress)
    outcomes: list[Outcome] = []
    for aim in aims:
        outcomes.append(search.run(aim))
        if outcomes[-1].interrupted:
            break
    witness = {"a0": a0, **stack(margins, "margin_"), **_witness(outcomes)}
    bound = recompute_exact(claim, witness)
    attack = np.array([one.value for one in outcomes] + [-inf] * (len(aims) - len(outcomes)))
    info = _info(outcomes, attack, len(aims))
    return Certificate.proved("exact", claim, bound, witness, start, exact=bound - attack <= tol + 1e-6, info=info)


def _words(claim: Claim, witness: Mapping[str, Array]) -> tuple[str, ...]:
    return (
        *claim.assumptions(),
        "within the outer set every case of support vectors among the clean rows is decided, "
        "complementarity of the poison is summed over its classes",
    )


@check("exact", scores=True, words=_words)
def recompute_exact(claim: Claim, witness: Mapping[str, Array]) -> Array:
    """The bound of a tree of cases: the greatest over its leaves, if they cover every case, else the ball.

    Parameters
    ----------
    claim : Claim
    witness : mapping
        ``a0`` (n,); the multipliers of the bounds on the margins, as ``margin_...``; and for each leaf ``row``,
        ``state`` (n,) and the multipliers of `dual_bound`.
    """
    bare = frame(claim, witness.get("a0"))
    aims = bare.aims()
    bounds = np.array([bare.direct(aim) for aim in aims])
    n, width = bare.share.size, bare.center.size
    bare = replay(bare, unstack(witness, (4, 1, n, width), "margin_") or [])
    points = unstack(witness, (4, 1, n, width))
    states, rows = np.asarray(witness.get("state", ())), np.asarray(witness.get("row", ()))
    if points is None or states.shape != (len(points), n) or rows.shape != (len(points),):
        return bounds
    if not np.isin(states, range(FREE, KINK + 1)).all():
        return bounds
    for j, aim in enumerate(aims):
        leaves = np.flatnonzero(rows == j)
        if leaves.size and covers(states[leaves]):
            found = [dual_bound(bare, bare.states(states[i]), points[i], aim) for i in leaves]
            bounds[j] = min(bounds[j], max(found))
    return bounds


def _witness(outcomes: list[Outcome]) -> dict[str, Array]:
    leaves = [(j, node) for j, one in enumerate(outcomes) for node in one.leaves]
    return {
        "row": np.array([j for j, _ in leaves], dtype=np.int64),
        "state": np.array([node.state for _, node in leaves], dtype=np.int8),
        **stack([node.point for _, node in leaves]),
    }


def _info(outcomes: list[Outcome], attack: Array, rows: int) -> dict[str, Any]:
    poisons = [
        None if one.poison is None else {"X": one.poison.X, "y": one.poison.y, "count": one.poison.count}
        for one in outcomes
    ]
    return {
        "attack": attack,
        "poison": poisons + [None] * (rows - len(outcomes)),
        "nodes": sum(one.nodes for one in outcomes),
        "interrupted": any(one.interrupted for one in outcomes),
    }
