"""Attack and certificate side by side: what was done, and what cannot be exceeded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..attacks.aimed import Aimed
from ..certificates import (
    Certificate,
    Claim,
    certify_average_loss,
    certify_test_error,
)
from ..certificates.certificate import Kind
from ..certificates.test_error import score_certifier
from ..core import Dataset, InputError, LinearModel, Poison
from ..core.journal import Journal
from .trusted import Trusted

CERTIFICATES = ("test-error", "average-loss")
"""What is computed for each budget; the first brings the certificate of each row along."""
KIND: dict[str, Kind] = {"score": "score", "test-error": "error", "average-loss": "loss"}
"""What each of them bounds, and the certificate of each row."""
Progress = Callable[[int, int, str], None]
Stored = Callable[[str, Claim, Kind, tuple[str, ...]], Certificate | None]
"""A certificate of an earlier run, by name, claim, kind and assumptions."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One budget of a bracket.

    Parameters
    ----------
    epsilon : float
        Poison as a fraction of all clean training rows.
    clean_error : float
        Error on the scored rows behind the fixed filters, without poison.
    bound : float
        Certified: no poison brings the error on these rows above it.
    certified_fraction : float
        Share of the rows that are classified rightly whatever the poison.
    attack_error : float or None
        The greatest error that an attack reached behind the same filters; None without an attack.
    attack : str
        Which one.
    clean_loss, loss_bound, attack_loss : float or None
        The same for the mean loss of the clean training rows.
    aimed_error : float or None
        Share of the rows that err without poison, or that some poison turns, each row one of its own, by retraining
        within budget and sets; None where no row was aimed at. Rows that are neither turned nor certified are open.
    count : int or None
        Rows changed or inserted, where rows are counted. Attacks are then found, and rows certified, one row at a time.
    """

    epsilon: float
    clean_error: float
    bound: float
    certified_fraction: float
    attack_error: float | None = None
    attack: str = ""
    clean_loss: float | None = None
    loss_bound: float | None = None
    attack_loss: float | None = None
    aimed_error: float | None = None
    count: int | None = None


@dataclass(frozen=True, eq=False)
class Bracket:
    """Rungs by budget, the certificates behind them, and the poisons that no rung counts: name, epsilon and reason."""

    rungs: list[Rung]
    certificates: list[Certificate] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)

    def summaries(self) -> list[dict[str, Any]]:
        """The certificates as in a report."""
        return [item.summary() for item in self.certificates]


def certificates_of(
    claim: Claim, names: Sequence[str] = CERTIFICATES, journal: Journal | None = None, progress: Progress | None = None
) -> dict[str, Certificate]:
    """Certificates of one claim by name, that of each row under its own name first.

    Parameters
    ----------
    claim : Claim
    names : sequence of str
    journal : Journal, optional
        Of this claim: keeps what is found, row by row.
    progress : callable, optional
    """
    found: dict[str, Certificate] = {}
    if "test-error" in names:
        scores = score_certifier(claim.problem.loss, journal, progress)
        score = found["score"] = scores(claim)
        found["test-error"] = certify_test_error(claim, replace(scores, decide=lambda asked: score))
    if "average-loss" in names:
        found["average-loss"] = certify_average_loss(claim)
    return found


def build_bracket(
    defender: Trusted,
    rows: Dataset,
    epsilons: Sequence[float],
    poisons: Mapping[float, Mapping[str, Poison]],
    *,
    names: Sequence[str] = CERTIFICATES,
    aim: bool = False,
    stored: Stored | None = None,
    keep: Callable[[str, Certificate], None] | None = None,
    journal: Callable[[float], Journal | None] = lambda epsilon: None,
    progress: Progress | None = None,
) -> Bracket:
    """Certify every budget, and hold every poison against what is certified.

    Parameters
    ----------
    rows : Dataset
        The rows whose error is bounded.
    epsilons : sequence of float
        Fractions of all clean training rows.
    poisons : mapping
        For each budget, poisons by the name of their attack; a budget may have none.
    names : sequence of str
        Certificates to compute.
    aim : bool, default False
        Whether poison is aimed at each row that is not certified. It may consist of fractional copies, as the bounds
        allow.
    stored, keep : callable, optional
        Read a certificate of an earlier run, and store one that is finished.
    journal : callable, optional
        Of a budget: keeps what was found for each row, so that an interrupted budget resumes there.

    Raises
    ------
    CertificateViolated
        If a poison does more than a certificate allows.
    """
    if not rows.n:
        raise InputError("rows to certify", "none")
    clean, _ = defender.learn(Poison(np.zeros((0, rows.d)), np.zeros(0), np.zeros(0)))
    rungs: list[Rung] = []
    found: list[Certificate] = []
    left_out: list[dict[str, str]] = []
    reached = Reached(clean.margins(rows) <= 0)
    for number, epsilon in enumerate(sorted(epsilons)):
        if progress is not None:
            progress(number, len(epsilons), f"certificates, epsilon {epsilon:g}")
        claim = defender.claim(epsilon, rows)
        kept = journal(epsilon)
        prove = partial(certificates_of, claim, names, kept, progress)
        proofs = _proofs(claim, epsilon, names, stored, keep, prove)
        found += list(proofs.values())
        tried = poisons.get(epsilon, {})
        rungs.append(_rung(defender, epsilon, claim, clean, proofs, tried, left_out, aim, reached, kept, progress))
    if progress is not None:
        progress(len(epsilons), len(epsilons), "certificates")
    return Bracket(rungs, found, left_out)


@dataclass
class Reached:
    """What attacks did so far: poison within a smaller budget is within a greater one.

    Parameters
    ----------
    turned : ndarray of bool
        Rows that err without poison, or that some poison turned.
    strongest : dict
        The entries of a rung for the strongest attack.
    """

    turned: NDArray[np.bool_]
    strongest: dict[str, Any] = field(default_factory=dict)

    def take(self, name: str, error: float, loss: float | None) -> None:
        """One more attack."""
        if loss is not None:
            self.strongest["attack_loss"] = max(loss, self.strongest.get("attack_loss", 0.0))
        if error > self.strongest.get("attack_error", -1.0):
            self.strongest |= {"attack_error": error, "attack": name}


def _proofs(
    claim: Claim,
    epsilon: float,
    names: Sequence[str],
    stored: Stored | None,
    keep: Callable[[str, Certificate], None] | None,
    prove: Callable[[], dict[str, Certificate]],
) -> dict[str, Certificate]:
    parts = [name for name in ("score", *names) if name != "score" or "test-error" in names]
    if stored is not None:
        says = claim.assumptions()
        old = {name: stored(f"{name}-{float(epsilon)!r}", claim, KIND[name], says) for name in parts}
        if all(item is not None for item in old.values()):
            return {name: item for name, item in old.items() if item is not None}
    proofs = prove()
    if keep is not None:
        for name, item in proofs.items():
            keep(f"{name}-{float(epsilon)!r}", item)
    return proofs


def _rung(
    defender: Trusted,
    epsilon: float,
    claim: Claim,
    clean: LinearModel,
    proofs: Mapping[str, Certificate],
    poisons: Mapping[str, Poison],
    left_out: list[dict[str, str]],
    aim: bool,
    reached: Reached,
    journal: Journal | None,
    progress: Progress | None,
) -> Rung:
    rows = claim.demand_rows()
    values: dict[str, Any] = {"epsilon": epsilon, "clean_error": wrong(clean, rows), "bound": 1.0}
    values["certified_fraction"] = 0.0
    margins = clean.margins(rows)
    aimed: Iterator[Poison] = iter(())
    if "score" in proofs:
        bounds = np.broadcast_to(proofs["score"].bound, (rows.n,))
        values["certified_fraction"] = share(rows, bounds < 0)
        values["bound"] = float(proofs["test-error"].bound)
        if aim:
            open_ = np.flatnonzero((margins > 0) & ~(bounds < 0))
            aimed = _aimed(defender, claim, open_[np.argsort(margins[open_])], reached, journal, progress)
    if "average-loss" in proofs:
        values["clean_loss"] = mean_loss(clean, defender)
        values["loss_bound"] = float(proofs["average-loss"].bound)
    joint = _joint(defender, proofs["test-error"]) if aim and "test-error" in proofs else {}
    for name, poison in chain(poisons.items(), joint.items(), (("aimed", poison) for poison in aimed)):
        model, mass = defender.learn(poison)
        if mass <= claim.epsilon * (1 + 1e-9):
            reached.take(name, wrong(model, rows), mean_loss(model, defender) if "average-loss" in proofs else None)
            reached.turned |= model.margins(rows) <= 0
            if "score" in proofs:
                proofs["score"].check_attack(-model.margins(rows), tol=1e-4, what=name)
        else:
            total = claim.mass
            reason = f"its poison weighs {mass * total:g} rows, more than the {claim.epsilon * total:g} of the budget"
            left_out.append({"name": name, "epsilon": f"{epsilon:g}", "reason": reason})
    if aim and "score" in proofs:
        values["aimed_error"] = share(rows, reached.turned)
    _check(reached.strongest, proofs)
    return Rung(**values, **reached.strongest)


def _check(strongest: Mapping[str, Any], proofs: Mapping[str, Certificate]) -> None:
    """Hold the strongest attack within the budget against what is proved of it."""
    for name, what, tol in (("test-error", "attack_error", 1e-6), ("average-loss", "attack_loss", 1e-4)):
        if name in proofs and what in strongest:
            proofs[name].check_attack(strongest[what], tol=tol, what=strongest["attack"])


def _joint(defender: Trusted, certificate: Certificate) -> dict[str, Poison]:
    """The poison that the search for cuts found, of a model that is bad for many rows; it is trained with here."""
    found = certificate.info.get("poison")
    if not found:
        return {}
    return {"joint": defender.counted(Poison(found["X"], found["y"], found["count"]))}


def _aimed(
    defender: Trusted, claim: Claim, open_: NDArray[np.intp], reached: Reached, journal: Journal | None,
    progress: Progress | None,
) -> Iterator[Poison]:  # fmt: skip
    """Poison against each open row, unless it is turned by then, which the caller keeps up to date."""
    rows = claim.demand_rows()
    search = Aimed(defender.train, defender.problem, defender.sets, claim.epsilon * claim.mass)
    for number, row in enumerate(open_):
        if progress is not None:
            progress(number, open_.size, "rows aimed at")
        if reached.turned[row]:
            continue
        kept = None if journal is None else journal.get(f"aimed {row}")
        if kept is None:
            kept = _as_arrays(_at(search, rows.take([row])))
            if journal is not None:
                journal.put(f"aimed {row}", kept)
        if kept["y"].size:
            yield defender.counted(Poison(kept["X"], kept["y"], kept["count"]))


def _at(search: Aimed, one: Dataset) -> Poison:
    """The strongest poison found against one row, empty if there is none."""
    poison = search.at(one.X.toarray()[0] if one.is_sparse else one.X[0], float(one.y[0])).poison
    return Poison(np.zeros((0, one.d)), np.zeros(0), np.zeros(0)) if poison is None else poison


def _as_arrays(poison: Poison) -> dict[str, Any]:
    return {"X": poison.X, "y": poison.y, "count": poison.count}


def wrong(model: LinearModel, rows: Dataset) -> float:
    """Share of the rows that a model misclassifies; a score of zero counts as wrong."""
    return share(rows, model.margins(rows) <= 0)


def share(rows: Dataset, mask: NDArray[np.bool_]) -> float:
    """Weight of some rows among all."""
    return float(rows.weight @ np.asarray(mask, dtype=np.float64)) / rows.total


def mean_loss(model: LinearModel, defender: Trusted) -> float:
    """Mean loss of the clean rows behind the filters."""
    train = defender.train
    return float(train.weight @ defender.problem.loss.value(model.margins(train))) / train.total
