"""Better bounds on the margins of the clean rows, each from a certificate of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...core.dataset import Dataset, stack_rows
from ...core.validation import Array
from ..claim import Claim
from ..clean.losses import soft_hinge
from ..clean.rows import LABELS, PAD, extended
from ..clean.screen import Screening
from .bound import evaluate
from .conic import make_program

NAMES = {"p": "p", "s": "s", "b": "b", "r": "r", "gam": "gam", "del": "dele", "tau": "tau", "h": "h", "eta": "eta"}
"""Multipliers in a witness, and as arguments of `evaluate`."""


def sharpen(claim: Claim, screening: Screening, number: int, solver: str | None = None) -> dict[str, Array]:
    """Multipliers that bound the margins of the open clean rows, from below and from above: two programs a row.

    Parameters
    ----------
    claim : Claim
    screening : Screening
        With the cap.
    number : int
        Of the round, from 0: the names in the witness begin with ``m0.``, ``m1.``, ...
    solver : str, optional

    Returns
    -------
    dict
        ``index`` (K,), the rows, and the multipliers for 2 K bounds.
    """
    index = np.flatnonzero((screening.upper >= 1) & (screening.lower <= 1))
    if not soft_hinge(claim.problem.loss).sharp:
        index = np.arange(claim.train.n)
    about = _about(claim, index)
    program = make_program(claim, screening, rounds=1, solver=solver)
    zero, n = np.zeros(claim.train.d + 1), np.zeros(claim.train.n)
    nothing = {"p": zero, "s": 0.0, "b": n, "r": zero, "gam": n, "dele": n}
    rows = about.demand_rows() if index.size else None
    goals = extended(about, rows.X, rows.y) if rows is not None else np.zeros((0, zero.size))
    found = [(program.multipliers(goal) or [nothing])[-1] for goal in goals]
    part = {f"m{number}.{key}": np.array([one[name] for one in found]) for key, name in NAMES.items()}
    return {**part, f"m{number}.index": index.astype(np.float64)}


def sharpen_hubs(claim: Claim, screening: Screening, number: int, solver: str | None = None) -> dict[str, Array]:
    """Multipliers that bound the scores of the hubs from below and from above, four programs; see `sharpen`."""
    about = _about_hubs(claim, screening)
    program = make_program(claim, screening, rounds=1, solver=solver)
    rows = about.demand_rows()
    found = [program.multipliers(goal)[-1:] for goal in extended(about, rows.X, rows.y)]
    if not all(found):
        return {}
    return {f"hub{number}.{key}": np.array([one[0][name] for one in found]) for key, name in NAMES.items()}


def sharpened(claim: Claim, screening: Screening, witness: Mapping[str, Array]) -> Screening:
    """The screening with what the rounds of a witness prove of hubs and margins, one after the other."""
    number = 0
    while screening.hubs and f"hub{number}.p" in witness:
        about = _about_hubs(claim, screening)
        parts = {name: witness.get(f"hub{number}.{key}", np.nan) for key, name in NAMES.items()}
        bound = evaluate(about, screening.without_margins(), **parts)
        bound = bound + PAD * (1 + np.abs(bound))
        hubs = {y: screening.hubs[y].between(-bound[i], bound[i + 2]) for i, y in enumerate(LABELS)}
        screening = replace(screening, hubs=hubs)
        number += 1
    number = 0
    while screening.capped and f"m{number}.index" in witness:
        screening = _round(claim, screening, witness, number)
        number += 1
    return screening


def _round(claim: Claim, screening: Screening, witness: Mapping[str, Array], number: int) -> Screening:
    stored = np.nan_to_num(np.asarray(witness[f"m{number}.index"], dtype=np.float64), nan=-1.0)
    if not stored.size or stored.min() < 0 or stored.max() >= claim.train.n or np.any(stored % 1):
        return screening
    index = stored.astype(np.intp)
    parts = {name: witness.get(f"m{number}.{key}", np.nan) for key, name in NAMES.items()}
    bound = evaluate(_about(claim, index), screening, **parts)
    bound = bound + PAD * (1 + np.abs(bound))
    lower, upper = screening.lower.copy(), screening.upper.copy()
    np.maximum.at(lower, index, -bound[: index.size])
    np.minimum.at(upper, index, bound[index.size :])
    return replace(screening, lower=lower, upper=upper)


def _about_hubs(claim: Claim, screening: Screening) -> Claim:
    """About ``-y hub . v`` for the hub of each class, then about ``y hub . v``."""
    X, y = np.array([screening.hubs[label].center[:-1] for label in LABELS]), np.array(LABELS, dtype=np.float64)
    return claim.about(Dataset(np.vstack([X, X]), np.concatenate([y, -y])))


def _about(claim: Claim, index: Any) -> Claim:
    """About the negative margins of some clean rows, then about their margins."""
    data = claim.train
    if not np.size(index):
        return claim
    X, y = data.X[index], data.y[index]
    return claim.about(Dataset(stack_rows(X, X), np.concatenate([y, -y])))
