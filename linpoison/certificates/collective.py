"""Cuts on the rows that one poison can break, and the search for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from ..core.dataset import Dataset
from ..core.errors import InputError
from ..core.journal import Journal
from ..core.poison import Poison
from ..core.validation import Array, squared_norms
from ..learners import make_learner
from .certificate import Certificate
from .claim import Claim
from .joint import Joint
from .knapsack import Cuts
from .marks import Search
from .rounding import gamma

Certify = Callable[[Claim], Certificate]
"""Bounds the negative margin of each row of a claim: a certificate of the kind "score"."""
SAVE = 1e-6
"""A bound on a count is rounded down to a whole number unless it is this close below the next."""
_LEAST = 1e-100
"""Sum of the multipliers of a cut, which any factor may scale, at least; and at most its inverse."""
_SLIVER = 1e-3
"""Least share of the multipliers that must be left when those of one label are taken from those of the other."""


@dataclass(frozen=True, eq=False)
class Combined:
    """``sum_j mu_j k_j (z_j, 1)`` for each `mu` (K, m), as `scale` (K,) times a row with its label."""

    rows: Dataset
    scale: Array
    mu: Array


@dataclass(frozen=True, eq=False)
class Share:
    """The rows that can fail, and the weight of each among all."""

    rows: Dataset
    share: Array

    @classmethod
    def of(cls, rows: Dataset, chosen: Any) -> Share:
        part = rows.take(np.asarray(chosen, dtype=bool))
        return cls(part, part.weight / rows.total)

    def vector(self, mu: Array) -> Array:
        pull = mu * self.rows.y
        return np.append(np.asarray(self.rows.X.T @ pull), pull.sum())

    def combined(self, mu: Array, fit_intercept: bool) -> Combined | None:
        """The combined rows; None where no row has this direction, or multipliers are out of range."""
        vectors, total = np.array([self.vector(row) for row in mu]), mu.sum(axis=1)
        if not ((total > _LEAST) & (total < 1 / _LEAST)).all():
            return None
        if not fit_intercept:  # of any length: one whose squares neither overflow nor vanish
            size = np.abs(vectors[:, :-1]).max(axis=1)
            size = np.where(size > 0, size, 1.0)
            return Combined(Dataset(vectors[:, :-1] / size[:, None], np.ones(len(mu))), size, mu)
        last = vectors[:, -1]
        if np.any(np.abs(last) < _SLIVER / 10 * total):
            return None
        return Combined(Dataset(vectors[:, :-1] / last[:, None], np.sign(last)), np.abs(last), mu)


def allowed(mu: Any, high: Array) -> Array:
    """Multipliers of at least 0; zero where nothing bounds the margin."""
    given = np.nan_to_num(np.asarray(mu, dtype=np.float64), nan=0.0, posinf=0.0)
    return np.where(np.isfinite(high), np.maximum(given, 0.0), 0.0)


class CutSearch:
    """Cuts, and the scores of their combined rows, as they are found."""

    def __init__(self, score: Certify, claim: Claim, share: Share, high: Array) -> None:
        self.score, self.claim, self.share, self.high = score, claim, share, high
        self.mu: list[Array] = []
        self.values: list[float] = []
        self.tree: tuple[Array, Array] | None = None
        self.attack: tuple[float, Poison] | None = None

    def add(self, mu: Array) -> float:
        """One more cut: the bound on the score of its combined row, infinite where it has none."""
        mu = self._allowed(mu)
        combined = self.share.combined(mu[None], self.claim.problem.fit_intercept)
        if combined is None:
            return math.inf
        value = float(combined.scale[0] * scores_of(self.score, self.claim.about(combined.rows))[1][0])
        if value < math.inf:
            self.mu.append(mu)
            self.values.append(value)
        return value

    def _allowed(self, mu: Array) -> Array:
        mu = mu / mu.sum()
        return allowed(_tilted(mu, self.share.rows.y) if self.claim.problem.fit_intercept else mu, self.high)

    @property
    def cuts(self) -> Cuts:
        mu = np.array(self.mu).reshape(-1, self.high.size)
        most = np.where(np.isfinite(self.high), self.high.clip(min=0), 0.0)
        return Cuts(self.share.share, mu * most, mu @ most + np.array(self.values))

    def guess(self, rounds: int) -> None:
        """The cuts that a ball of models would ask for."""
        high, share = self.high, self.share
        lengths = np.sqrt(squared_norms(share.rows.X) + self.claim.problem.fit_intercept)
        bounded = np.isfinite(high) & (high > SAVE * lengths)
        if not bounded.any():
            return
        middle = np.where(bounded, make_learner(self.claim.problem).fit(self.claim.train).margins(share.rows), 0.0)
        radius = float(np.median(((high - middle) / lengths.clip(min=1e-12))[bounded]))
        most, best = np.where(bounded, 1 / np.where(bounded, high, 1.0), 0.0), math.inf
        for _ in range(rounds):
            mu = share.share * _slopes(share, middle, most, max(radius, 0.0), self.claim)
            value = self.add(mu)
            if not value < best:
                break
            best, norm = value, _length(share.vector(self.mu[-1]), self.claim)
            radius = (value + float(self.mu[-1] @ middle)) / norm if norm else 0.0

    def branch(self, joint: Callable[[], Joint], nodes: int, journal: Journal | None = None) -> None:
        """A cut for each leaf of a tree of at most so many nodes, and the poison found on the way."""
        key = f"tree {nodes} {self.share.rows.digest()}"
        kept = None if journal is None else journal.get(key)
        if kept is None:
            kept = self._branched(joint(), nodes)
            if journal is not None:
                journal.put(key, kept)
        self.mu, self.tree = list(kept["mu"]), (kept["branch"], np.diag(kept["weight"]))
        if kept["y"].size:
            self.attack = float(kept["reached"]), Poison(kept["X"], kept["y"], kept["count"])

    def _branched(self, joint: Joint, nodes: int) -> dict[str, Array]:
        """Cuts and their weights, the tree, and the attack."""
        learner, train, rows = make_learner(self.claim.problem), self.claim.train, self.share.rows
        whole = np.ptp(self.claim.demand_rows().weight) == 0
        search = Search(
            joint,
            self.share.share,
            lambda poison: learner.fit(train.mix(poison.as_dataset())).margins(rows),
            bool(whole),
        )
        search.attack(learner.fit(train).margins(rows))
        root = search.tree(nodes)
        found = [np.zeros(rows.n) if leaf.answer is None else leaf.answer.mu for leaf in root.leaves()]
        weight = np.array([mu.sum() for mu in found])
        mu = np.array([self._allowed(mu if mu.any() else self.share.share) for mu in found])
        poison = search.poison or Poison(np.zeros((0, rows.d)), np.zeros(0), np.zeros(0))
        attack = {"X": poison.X, "y": poison.y, "count": poison.count, "reached": np.array(search.reached)}
        return {"mu": mu, "weight": weight, "branch": np.array(list(root.branch())), **attack}

    def witness(self) -> dict[str, Any]:
        """Cuts, the certificate of their combined rows, and the tree."""
        if not self.mu:
            return {}
        mu = np.array(self.mu)
        combined = self.share.combined(mu, self.claim.problem.fit_intercept)
        if combined is None:
            return {}
        found, score = scores_of(self.score, self.claim.about(combined.rows))
        self.values = list(combined.scale * score)
        branch, dual = self.tree if self.tree is not None else self._by_cuts()
        return {"cuts": mu, "branch": branch, "dual": dual, **nested("sum", found)}

    def _by_cuts(self) -> tuple[Array, Array]:
        """A tree for the cuts that were guessed, by linear programs."""
        cuts = self.cuts
        return cuts.tree(float(self.share.share @ cuts.most()) + SAVE / len(self.share.rows.y))

    def info(self) -> dict[str, Any]:
        """What was tried; rows that are not looked at are certified, so that an attack reaches none of them."""
        info: dict[str, Any] = {"cuts": len(self.mu)}
        if self.attack is not None:
            reached, poison = self.attack
            info |= {"attack": reached, "poison": {"X": poison.X, "y": poison.y, "count": poison.count}}
        return info


def _slopes(share: Share, middle: Array, most: Array, radius: float, claim: Claim) -> Array:
    """Slopes that would be best if the reachable models filled a ball of this radius."""
    rows, weight = share.rows, share.share

    def value(scaled: Array) -> tuple[float, Array]:
        slopes = scaled * most
        vector = share.vector(weight * slopes)
        if not claim.problem.fit_intercept:
            vector[-1] = 0.0
        norm = math.sqrt(float(vector @ vector) + 1e-16)
        turn = rows.y * (rows.X @ vector[:-1] + vector[-1]) / norm
        return radius * norm - float((weight * slopes) @ middle), weight * (radius * turn - middle) * most

    start = np.ones(most.size)
    found = minimize(value, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * most.size)
    return np.asarray(found.x * most)


def _tilted(mu: Array, signs: Array) -> Array:
    """Multipliers of which enough is left when one label's are taken from the other's."""
    total, left = float(mu.sum()), float(mu @ signs)
    if abs(left) >= _SLIVER * total:
        return mu
    minor = signs < 0 if left >= 0 else signs > 0
    return np.asarray(np.where(minor, mu * (1 - 4 * _SLIVER), mu))


def _length(vector: Array, claim: Claim) -> float:
    return float(np.linalg.norm(vector if claim.problem.fit_intercept else vector[:-1]))


def scores_of(score: Certify, claim: Claim) -> tuple[Certificate, Array]:
    """A score certificate and its bounds."""
    found = score(claim)
    if found.kind != "score" or np.shape(found.bound) != (claim.demand_rows().n,):
        raise InputError("a certificate of the kind 'score', a bound for each row", f"one of the kind {found.kind!r}")
    return found, np.asarray(found.bound)


def nested(prefix: str, certificate: Certificate) -> dict[str, Any]:
    """Name and witness of a certificate inside the witness of another."""
    inner = {f"{prefix}.{name}": value for name, value in certificate.witness.items()}
    return {f"{prefix}:name": np.array(certificate.name), **inner}


def proved_cuts(claim: Claim, share: Share, combined: Combined, score: Array, high: Array, margins: Array) -> Cuts:
    """The cuts that scores of combined rows prove; an infinite one, or NaN, is replaced by one that says nothing."""
    # Of any reachable model: sum_j mu_j (-m_j) <= B, the bound of the combined row, and -m_j >= -h_j (1 - b_j), for a
    # row that is not broken has m_j <= h_j, and one that is has m_j <= 0. So -sum mu h (1 - b) <= B: the cut. It holds
    # of the row that was certified; the true combination differs by the rounding of its entries, times the model.
    mu, most = combined.mu, np.where(np.isfinite(high), np.maximum(high, 0), 0.0)
    lost = np.array([_rounding(claim, share, row, margins) for row in mu])
    value = combined.scale * score
    level = (mu @ most) + value + lost + gamma(share.rows.n + 16) * (mu @ most + np.abs(value))
    useless = ~np.isfinite(level)
    A = np.where(useless[:, None], 0.0, mu * most)
    return Cuts(share.share, A, np.where(useless, 0.0, level))


def _rounding(claim: Claim, share: Share, mu: Array, margins: Array) -> float:
    """What rounding of the combined row may be worth under any reachable model, of which `margins` are bounds.

    Its entries err by ``gamma_n`` of their magnitudes. With mass ``e`` the objective of the minimiser is at most that
    of zero, so that ``|theta|^2 <= 2 (1 + e) phi(0) / reg_e``; and ``|b| <= |m_j| + |theta| |z_j|`` for each row.
    """
    at_zero = float(claim.problem.loss.value(np.zeros(1))[0])
    theta = math.sqrt(2 * (1 + claim.epsilon) * at_zero / claim.at(0.0).reg)
    lengths = np.sqrt(squared_norms(share.rows.X))
    offset = 0.0
    if claim.problem.fit_intercept:
        offset = theta if claim.strongly_convex else float(np.min(margins + theta * lengths, initial=math.inf))
    return gamma(share.rows.n + 16) * float(theta * (mu @ lengths) + (offset * mu.sum() if mu.any() else 0.0))
