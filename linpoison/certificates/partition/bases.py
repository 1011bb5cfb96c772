"""What each base of a partition withstands: found with a base certifier, recomputed from its witnesses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import CertificateInvalid, InputError
from ...core.model import LinearModel
from ...core.validation import Array, squared_norms
from ...learners import make_learner
from ...losses import Problem
from ...sets import Ball, ByLabel
from ..certificate import Certificate, Witness, insertion_scores, recompute
from ..claim import Claim
from .votes import Levels

BaseCertifier = Callable[[Claim], Certificate]


def fit_base(problem: Problem, part: Dataset) -> LinearModel:
    """The model of one part: the minimiser, or, without rows of both classes, a constant.

    The constant is the label of the rows there are, and -1 if there are none.
    """
    only = lone_label(part)
    if only is None:
        return make_learner(problem).fit(part)
    return LinearModel(np.zeros(part.d), only)


def lone_label(part: Dataset) -> float | None:
    """What a part votes for whatever the row, if it does."""
    present = np.unique(part.y[part.weight > 0])
    return None if present.size == 2 else float(present[0]) if present.size else -1.0


def base_claim(claim: Claim, part: Dataset, m: int, rows: np.ndarray) -> Claim:
    """That a base votes for the labels of these `rows` (indices) with `m` rows inserted into its part.

    Without insertions the sets say nothing, and one ball around the part stands in for them, so that an
    unbounded set does not get in the way.
    """
    about = claim.demand_rows().take(rows)
    sets = claim.sets if m else _around(part)
    return Claim(part, claim.problem, sets, m / part.total, about)


def _around(part: Dataset) -> ByLabel:
    radius = float(np.sqrt(np.max(squared_norms(part.X), initial=0.0)))
    ball = Ball(np.zeros(part.d), radius + 1.0)
    return ByLabel({1: ball, -1: ball})


@dataclass
class _Proof:
    """That one base votes for the labels of `rows` with `m` rows inserted, and the witness in three shares."""

    m: int
    rows: np.ndarray
    check: str
    row: dict[str, Array]
    """Arrays with one entry for each row."""
    each: dict[str, Array]
    """Arrays that hold for each row alike, with a leading axis of length 1."""
    shared: dict[str, Array]
    """All others."""

    def keep(self, chosen: np.ndarray) -> _Proof:
        """The same for some of the rows."""
        row = {key: value[chosen] for key, value in self.row.items()}
        return replace(self, rows=self.rows[chosen], row=row)

    def without(self, dropped: set[str]) -> _Proof:
        """The same without some of the arrays."""
        row, each, shared = (_less(group, dropped) for group in (self.row, self.each, self.shared))
        return replace(self, row=row, each=each, shared=shared)

    @property
    def witness(self) -> Witness:
        """What the check is given."""
        return {**self.row, **_spread(self.each, self.rows.size), **self.shared}

    def packed(self, prefix: str) -> dict[str, Array]:
        """Under keys that begin with a prefix."""
        found: dict[str, Any] = {f"{prefix}.rows": self.rows, f"{prefix}.check": np.array(self.check)}
        for group, values in (("each", self.each), ("with", {**self.row, **self.shared})):
            found |= {f"{prefix}.{group}.{key}": value for key, value in values.items()}
        return found


def _less(values: Mapping[str, Array], dropped: set[str]) -> dict[str, Array]:
    return {key: value for key, value in values.items() if key not in dropped}


def _spread(each: Mapping[str, Array], n: int) -> dict[str, Array]:
    return {key: np.broadcast_to(value, (n, *value.shape[1:])) for key, value in each.items()}


def _proof_of(certificate: Certificate, m: int, rows: np.ndarray) -> _Proof:
    """All of a certificate, its arrays sorted by whether they look like one entry for each row."""
    proof = _Proof(m, rows, certificate.name, {}, {}, {})
    for key, value in certificate.witness.items():
        if not np.ndim(value) or len(value) != rows.size:
            proof.shared[key] = value
        elif (value == value[:1]).all():
            proof.each[key] = value[:1].copy()
        else:
            proof.row[key] = value
    return proof


@dataclass
class BaseProofs:
    """Runs base certifiers and keeps what they prove, for each row and base the greatest m.

    Parameters
    ----------
    claim : Claim
    parts : list of Dataset
    certifiers : sequence of callable
        ``certify(claim) -> Certificate`` of kind "score", each for the rows that those before it do not prove.
    """

    claim: Claim
    parts: list[Dataset]
    certifiers: Sequence[BaseCertifier]
    calls: int = 0
    found: dict[int, list[_Proof]] = field(default_factory=dict)
    spare: dict[str, set[str]] = field(default_factory=dict)

    def attempt(self, base: int, m: int, rows: np.ndarray) -> Any:
        """Which of the rows the base provably votes for with `m` insertions, boolean."""
        part = self.parts[base]
        only = lone_label(part)
        if only is not None:
            return (self.claim.demand_rows().y[rows] == only) & (m == 0)
        proven = np.zeros(rows.size, dtype=bool)
        for certify in self.certifiers:
            if not proven.all():
                proven[~proven] = self._certified(certify, base, m, rows[~proven])
        return proven

    def _certified(self, certify: BaseCertifier, base: int, m: int, rows: np.ndarray) -> Any:
        certificate = certify(base_claim(self.claim, self.parts[base], m, rows))
        if certificate.kind != "score" or np.shape(certificate.bound) != rows.shape:
            got = f"{certificate.kind} of shape {np.shape(certificate.bound)}"
            raise InputError(f"a base certificate of {rows.size} scores", got)
        self.calls += 1
        proven = np.asarray(certificate.bound) < 0
        if proven.any():
            older = (proof.keep(~np.isin(proof.rows, rows[proven])) for proof in self.found.get(base, []))
            kept = [proof for proof in older if proof.rows.size]
            self.found[base] = [*kept, self._least(base, m, rows, proven, certificate)]
        return proven

    def _least(self, base: int, m: int, rows: np.ndarray, proven: np.ndarray, certificate: Certificate) -> _Proof:
        """As little of a certificate as still proves the rows."""
        whole = _proof_of(certificate, m, rows)
        cut, claim = whole.keep(proven), base_claim(self.claim, self.parts[base], m, rows[proven])
        name = certificate.name
        if name not in self.spare:
            lost = {key: cut.without({key}).witness for key in cut.witness}
            self.spare[name] = {key for key, rest in lost.items() if _proven(claim, name, rest).all()}
        for proof in (cut.without(self.spare[name]), cut):
            if _proven(claim, name, proof.witness).all():
                return proof
        return _Proof(m, rows, name, {}, {}, dict(certificate.witness))

    def witness(self) -> dict[str, Any]:
        """All proofs, under keys ``BASE.M.NUMBER.NAME``."""
        packed: dict[str, Any] = {}
        for base, proofs in self.found.items():
            for number, proof in enumerate(proofs):
                packed |= proof.packed(f"{base}.{proof.m}.{number}")
        return packed


def proven_levels(claim: Claim, parts: list[Dataset], witness: Witness) -> Levels:
    """The insertions that each base provably withstands, by the checks of the base certificates.

    Parameters
    ----------
    claim : Claim
    parts : list of Dataset
    witness : mapping
        As `BaseProofs.witness` writes it; what does not prove anything counts for nothing.

    Returns
    -------
    ndarray of int, shape (rows, parts)
        -1 where not even the vote itself is proven.
    """
    labels = claim.demand_rows().y
    levels = np.full((labels.size, len(parts)), -1, dtype=np.int64)
    for base, part in enumerate(parts):
        only = lone_label(part)
        if only is not None:
            levels[labels == only, base] = 0
    for base, m, rows, name, entries in _entries(witness, len(parts), labels.size):
        if lone_label(parts[base]) is None:
            proven = rows[_proven(base_claim(claim, parts[base], m, rows), name, entries)]
            levels[proven, base] = np.maximum(levels[proven, base], m)
    return levels


def _entries(witness: Witness, n_parts: int, n_rows: int) -> Iterator[tuple[int, int, np.ndarray, str, Witness]]:
    for key in witness:
        head, _, last = key.rpartition(".")
        pieces = head.split(".")
        if last != "rows" or len(pieces) != 3 or not all(piece.isdecimal() for piece in pieces):
            continue
        base, m, rows = int(pieces[0]), int(pieces[1]), np.asarray(witness[key])
        whole = np.issubdtype(rows.dtype, np.integer) and rows.ndim == 1 and rows.size > 0
        if not whole or base >= n_parts or rows.min() < 0 or rows.max() >= n_rows:
            continue
        entries = {**_under(witness, f"{head}.with."), **_spread(_under(witness, f"{head}.each."), rows.size)}
        yield base, m, rows, str(witness.get(f"{head}.check", "")), entries


def _under(witness: Witness, start: str) -> dict[str, Array]:
    return {name[len(start) :]: value for name, value in witness.items() if name.startswith(start)}


def _proven(claim: Claim, name: str, witness: Witness) -> Any:
    """Where a base certificate proves the label; nowhere if its witness does not fit the claim."""
    nothing = np.zeros(claim.demand_rows().n, dtype=bool)
    if name not in insertion_scores():
        return nothing
    try:
        bound = np.asarray(recompute(name, claim, witness), dtype=np.float64)
    except CertificateInvalid:
        return nothing
    return bound < 0 if bound.shape == nothing.shape else nothing
