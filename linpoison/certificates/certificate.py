"""A bound together with what it takes to check it without a solver."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..core.archives import arrays_writer, check_file, read_arrays
from ..core.dataset import Dataset
from ..core.errors import CertificateInvalid, CertificateViolated, InputError
from ..core.validation import Array
from ..core.writing import text_writer, write_all
from ..losses import Problem, make_loss
from ..sets import ByLabel, pack_sets, sets_digest, unpack_sets
from .claim import Claim

Kind = Literal["budget", "score", "radius", "loss", "error", "insertions"]
Witness = Mapping[str, Array]
Recompute = Callable[[Claim, Witness], Any]
Words = Callable[[Claim, Witness], tuple[str, ...]]

KINDS: dict[str, tuple[str, int]] = {
    "budget": ("least mass of poison that can do it, per clean row", -1),
    "score": ("greatest negative margin of each row", 1),
    "radius": ("mass of poison that provably does not change a prediction", -1),
    "loss": ("greatest average loss of the clean rows", 1),
    "error": ("greatest share of the rows that is misclassified", 1),
    "insertions": ("rows whose insertion provably does not change a prediction", -1),
}
"""What each kind of bound says, and its side: 1 where no attack exceeds it, -1 where none succeeds below it."""

_CHECKS: dict[str, Recompute] = {}
_SCORES: set[str] = set()
_KIND_OF: dict[str, Kind | None] = {}
_WORDS: dict[str, Words] = {}
_FORMAT = 1
RTOL = 1e-7
"""Relative difference between a stored bound and the one recomputed that is put down to rounding."""


def check(
    name: str, *, kind: Kind | None = None, scores: bool = False, words: Words | None = None
) -> Callable[[Recompute], Recompute]:
    """Register the function that recomputes the bounds of one kind of certificate from their witnesses.

    Parameters
    ----------
    name : str
        Of the certificates.
    kind : str, optional
        What they bound, see `KINDS`; then `Certificate.verify` refuses those that say otherwise.
    scores : bool, default False
        Whether they are of kind "score" and speak of all insertions up to the budget of the claim, so that other
        certificates may build on them.
    words : callable, optional
        ``words(claim, witness)``: assumptions that a certificate must not leave out, or `verify` refuses it.
    """

    def register(function: Recompute) -> Recompute:
        _CHECKS[name] = function
        _SCORES.discard(name)
        if scores:
            _SCORES.add(name)
        _KIND_OF[name] = "score" if scores else kind
        _WORDS[name] = words or (lambda claim, witness: ())
        return function

    return register


def registered() -> frozenset[str]:
    """Names of all certificates that can be verified."""
    import_module("linpoison.certificates")
    return frozenset(_CHECKS)


def insertion_scores() -> frozenset[str]:
    """Names of the certificates of scores under insertions."""
    import_module("linpoison.certificates")
    return frozenset(_SCORES)


def claim_words(claim: Claim, witness: Witness) -> tuple[str, ...]:
    """The assumptions of a claim, for `check`."""
    return claim.assumptions()


def words_of(name: str, claim: Claim, witness: Witness) -> tuple[str, ...]:
    """Assumptions that a certificate of this name and witness must not leave out."""
    import_module("linpoison.certificates")
    return _WORDS[name](claim, witness)


def recompute(name: str, claim: Claim, witness: Witness) -> Any:
    """The bound that a witness proves.

    Raises
    ------
    InputError
        If no certificate is called `name`.
    """
    import_module("linpoison.certificates")
    if name not in _CHECKS:
        raise InputError(f"a certificate among {', '.join(sorted(_CHECKS))}", repr(name))
    return _CHECKS[name](claim, witness)


@dataclass(frozen=True, eq=False)
class Certificate:
    """A bound on what any poison of a claim can do, with its proof.

    Parameters
    ----------
    name : str
        What proved it; `verify` looks its check up under this name.
    kind : {"budget", "score", "radius", "loss", "error", "insertions"}
        What is bounded, see `KINDS`.
    claim : Claim
    bound : float or ndarray
        One number, or one for each of ``claim.rows``.
    exact : bool or ndarray of bool
        Whether an attack is known that attains the bound.
    assumptions : tuple of str
        What it rests on, in words.
    witness : dict of str to ndarray
        Multipliers. Whatever their values, what follows from them is a bound; good ones make it a tight one.
    seconds : float
        Wall time of finding it.
    info : dict
        Further numbers for a report.
    """

    name: str
    kind: Kind
    claim: Claim
    bound: float | Array
    exact: Any
    assumptions: tuple[str, ...]
    witness: dict[str, Array]
    seconds: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)

    def verify(
        self, train: Dataset | None = None, rows: Dataset | None = None, sets: ByLabel | None = None
    ) -> float | Array:
        """Recompute the bound from the witness, without a solver.

        What is checked: that the data are those of the claim, that the bound follows from claim and witness up to
        `RTOL`, that `kind` is what this proof is about, and that no assumption is missing. Whether the bound is
        attained (`exact`), `seconds`, `info` and further assumptions are the word of whoever made the certificate.
        The sets are those that came with it: give `sets` to make sure that they are the ones that you trust.

        Parameters
        ----------
        train, rows : Dataset, optional
            Data to check it against; those of the claim by default.
        sets : ByLabel, optional
            Feasible sets to check it against.

        Returns
        -------
        float or ndarray
            The bound; where rounding made the recomputed one weaker, that one.

        Raises
        ------
        CertificateInvalid
            If data or sets are others than those of the claim, or if the bound does not follow.
        """
        if sets is not None and sets_digest(sets) != sets_digest(self.claim.sets):
            raise CertificateInvalid("expected the feasible sets that the certificate speaks of, got others.")
        for what, given, own in (("training rows", train, self.claim.train), ("rows", rows, self.claim.rows)):
            if given is not None and (own is None or given.digest() != own.digest()):
                raise CertificateInvalid(f"expected the {what} that the certificate speaks of, got others.")
        try:
            found = recompute(self.name, self.claim, self.witness)
            words = words_of(self.name, self.claim, self.witness)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            if self.name not in _CHECKS:
                raise
            raise CertificateInvalid(f"expected a witness of the certificate {self.name}, got {error}") from error
        if not _agree(found, self.bound):
            raise CertificateInvalid(
                f"expected the witness of the certificate {self.name} to prove {_short(self.bound)}, "
                f"got {_short(found)} from it: witness, bound or sets were altered."
            )
        self._check_statement(words)
        return self._weaker(found)

    def _check_statement(self, words: tuple[str, ...]) -> None:
        kind = _KIND_OF[self.name] or self.kind
        if self.kind not in KINDS or self.kind != kind:
            raise CertificateInvalid(f"expected the certificate {self.name} to be of kind {kind}, got {self.kind}.")
        missing = [word for word in words if word not in self.assumptions]
        if missing:
            raise CertificateInvalid(f"expected the assumption that {missing[0]}, got none: assumptions were altered.")

    def _weaker(self, found: Any) -> float | Array:
        """Of the stored bound and the recomputed one, what claims less; the stored one itself where they are equal."""
        if np.array_equal(found, self.bound):
            return self.bound
        least = np.maximum(found, self.bound) if KINDS[self.kind][1] > 0 else np.minimum(found, self.bound)
        return least if np.ndim(least) else float(least)

    def check_attack(self, value: Any, *, tol: float = 1e-6, what: str = "an attack") -> None:
        """Hold what an attack did against the bound.

        Parameters
        ----------
        value : float or ndarray
            In the unit of the bound: for a kind whose side is -1, a budget with which an attack succeeded (a whole
            number of insertions up to the bound itself is protected, so that success needs one more).
        tol : float
            Excess that is put down to a learner's accuracy.
        what : str
            Names the attack in the error.

        Raises
        ------
        CertificateViolated
            If the attack is on the wrong side.
        """
        side = KINDS[self.kind][1]
        excess = side * (np.asarray(value, dtype=np.float64) - np.asarray(self.bound, dtype=np.float64))
        excess = excess + (self.kind == "insertions")
        if np.any(excess > tol):
            worst = int(np.argmax(excess))
            raise CertificateViolated(
                f"expected {what} to respect the certificate {self.name} ({KINDS[self.kind][0]}: "
                f"{_short(np.ravel(self.bound)[worst if np.ndim(self.bound) else 0])}), "
                f"got {_short(np.ravel(value)[worst if np.ndim(value) else 0])}: one of the two has a defect."
            )

    def summary(self) -> dict[str, Any]:
        """The entry of a report."""
        return {
            "name": self.name,
            "kind": self.kind,
            "epsilon": self.claim.epsilon,
            "bound": _plain(self.bound),
            "exact": bool(np.all(self.exact)),
            "assumptions": list(self.assumptions),
            "verified": self._verifies(),
            "seconds": self.seconds,
        }

    def _verifies(self) -> bool:
        try:
            self.verify()
        except CertificateInvalid:
            return False
        return True

    def save(self, path: Any) -> None:
        """Write ``PATH.json`` and ``PATH.npz``: claim, sets, bound and witness, but not the data, only their hashes."""
        base = _base(path)
        specification, arrays = pack_sets(self.claim.sets)
        problem = self.claim.problem
        document = {
            "format": _FORMAT,
            **self.summary(),
            "bound": {"array": "bound"} if np.ndim(self.bound) else _plain(self.bound),
            "problem": {
                "loss": {"name": problem.loss.name, **problem.loss.parameters},
                "reg": problem.reg,
                "penalize_intercept": problem.penalize_intercept,
                "fit_intercept": problem.fit_intercept,
                "scaling": problem.scaling,
                "n_reference": problem.n_reference,
            },
            "sets": specification,
            "digests": {
                "train": self.claim.train.digest(),
                "rows": None if self.claim.rows is None else self.claim.rows.digest(),
                "sets": sets_digest(self.claim.sets),
            },
            "info": self.info,
        }
        stored: dict[str, Any] = {
            **arrays,
            **{f"witness.{name}": value for name, value in self.witness.items()},
            "bound": np.asarray(self.bound),
            "exact": np.asarray(self.exact),
        }
        text = json.dumps(document, indent=2, default=_plain) + "\n"
        write_all(base.parent, {f"{base.name}.npz": arrays_writer(stored), f"{base.name}.json": text_writer(text)})

    @classmethod
    def load(cls, path: Any, train: Dataset, rows: Dataset | None = None) -> Certificate:
        """Read what `save` wrote. Its bound is believed only after `verify`.

        Raises
        ------
        CertificateInvalid
            If the data or the sets are others than those that it was saved with.
        InputError
            If the files are missing or unreadable.
        """
        base = _base(path)
        document, stored = _read(base)
        try:
            return cls._of(document, stored, train, rows)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            reason = f"files without what it needs ({type(error).__name__}: {error})"
            raise InputError(f"a certificate in {base}.json and {base}.npz", reason) from None

    @classmethod
    def _of(
        cls, document: dict[str, Any], stored: dict[str, Array], train: Dataset, rows: Dataset | None
    ) -> Certificate:
        _check_data("train", document["digests"]["train"], train)
        _check_data("rows", document["digests"]["rows"], rows)
        sets = unpack_sets(document["sets"], stored)
        if sets_digest(sets) != document["digests"]["sets"]:
            raise CertificateInvalid(f"expected sets of hash {document['digests']['sets']}, got {sets_digest(sets)}.")
        spec = dict(document["problem"])
        loss = dict(spec.pop("loss"))
        problem = Problem(make_loss(loss.pop("name"), **loss), **spec)
        bound, exact = stored["bound"], stored["exact"]
        return cls(
            name=document["name"],
            kind=document["kind"],
            claim=Claim(train, problem, sets, document["epsilon"], rows),
            bound=bound if bound.ndim else float(bound),
            exact=exact if exact.ndim else bool(exact),
            assumptions=tuple(document["assumptions"]),
            witness={name[8:]: value for name, value in stored.items() if name.startswith("witness.")},
            seconds=document["seconds"],
            info=document["info"],
        )


def _check_data(what: str, expected: Any, data: Dataset | None) -> None:
    """That data have the hash that a file says; only rows may be absent, from both."""
    if expected is None and data is None and what == "rows":
        return
    if data is None:
        raise InputError(f"the data {what!r} that the certificate speaks of", "none")
    if data.digest() != expected:
        raise CertificateInvalid(f"expected data {what!r} of hash {expected}, got {data.digest()}.")


def _read(base: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    try:
        document = json.loads(check_file(f"{base}.json", "the statement of a certificate").read_text(encoding="utf-8"))
        stored = read_arrays(f"{base}.npz", "the arrays of a certificate")
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"a certificate in {base}.json and {base}.npz", str(error)) from None
    if not isinstance(document, dict):
        raise InputError(f"a certificate in {base}.json", f"a {type(document).__name__}")
    if document.get("format") != _FORMAT:
        raise InputError(f"a certificate of format {_FORMAT}", repr(document.get("format")))
    return document, stored


def _base(path: Any) -> Path:
    base = Path(path)
    return base.with_suffix("") if base.suffix in (".json", ".npz") else base


def _agree(found: Any, stored: Any) -> bool:
    a, b = np.asarray(found, dtype=np.float64), np.asarray(stored, dtype=np.float64)
    if a.shape != b.shape or np.isnan(a).any() or np.isnan(b).any():
        return False
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= RTOL * (1e-6 + np.abs(b))
    return bool(np.all((a == b) | (finite & near)))


def _short(value: Any) -> str:
    values = np.ravel(value)
    return f"{values[0]:.6g}" if values.size == 1 else f"{values.size} bounds from {values.min():.6g}"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
