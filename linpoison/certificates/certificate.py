"""A bound together with what it takes to check it without a solver."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np

from ..core.dataset import Dataset
from ..core.errors import CertificateInvalid, CertificateViolated, InputError
from ..core.validation import Array
from ..sets import ByLabel, sets_digest
from .claim import Claim
from .stored import plain, read_fields, write_fields

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
    """Assumptions that a certificate of this name must not leave out; `CertificateInvalid` if its witness says none."""
    import_module("linpoison.certificates")
    answer: tuple[str, ...] = _answer(_WORDS, name, claim, witness)
    return answer


def recompute(name: str, claim: Claim, witness: Witness) -> Any:
    """The bound that a witness proves.

    Parameters
    ----------
    name : str
    claim : Claim
    witness : mapping of str to ndarray

    Raises
    ------
    InputError
        If no certificate is called `name`.
    CertificateInvalid
        If the witness is no mapping of plain arrays, or its arrays do not fit the claim.
    """
    if name not in registered():
        raise InputError(f"a certificate among {', '.join(sorted(_CHECKS))}", repr(name))
    return _answer(_CHECKS, name, claim, witness)


def _answer(question: Mapping[str, Callable[[Claim, Witness], Any]], name: str, claim: Claim, witness: Witness) -> Any:
    """What the certificates called `name` say to one of the two questions that they are asked."""
    try:
        with np.errstate(all="ignore"):  # what is not finite proves nothing
            return question[name](claim, _arrays(name, witness))
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise CertificateInvalid(f"expected a witness of the certificate {name}, got {error}") from error


def _arrays(name: str, witness: Witness) -> dict[str, Array]:
    """The arrays of a witness: numbers, flags and names, nothing else."""
    found: dict[str, Any] = {}
    if not isinstance(witness, Mapping):
        raise CertificateInvalid(f"expected a witness of arrays for {name}, got a {type(witness).__name__}.")
    for key, value in witness.items():
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, OverflowError):
            array = np.empty(0, dtype=object)
        if not isinstance(key, str) or array.dtype.kind not in "biufU":
            raise CertificateInvalid(f"expected a plain array as {key!r} of the witness of {name}, got {array.dtype}.")
        found[key] = array
    return found


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
        Whether an attack is known that attains the bound. `verify` does not look at it.
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

    @classmethod
    def proved(
        cls,
        name: str,
        claim: Claim,
        bound: float | Array,
        witness: Mapping[str, Any],
        began: float,
        *,
        exact: Any = None,
        words: tuple[str, ...] = (),
        info: Mapping[str, Any] | None = None,
    ) -> Certificate:
        """What a witness proves, of the kind and with the assumptions that its check was registered with, and `words`.

        `bound` is what `recompute` makes of the witness, `began` is when the search did, by `time.perf_counter`.
        """
        exact = np.zeros(np.shape(bound), bool) if exact is None else exact
        said = tuple(dict.fromkeys((*words_of(name, claim, witness), *words)))
        kind = _KIND_OF[name] or "score"
        seconds = time.perf_counter() - began
        return cls(name, kind, claim, bound, exact, said, dict(witness), seconds, dict(info or {}))

    def verify(
        self,
        train: Dataset | None = None,
        rows: Dataset | None = None,
        sets: ByLabel | None = None,
        *,
        claim: Claim | None = None,
    ) -> float | Array:
        """Recompute the bound from the witness, without a solver.

        What is checked: that the bound follows from claim and witness up to `RTOL`, that `kind` is what this proof is
        about, and that no assumption is missing. Data, sets, problem and budget are those that came with it: give
        `claim` to make sure that they are the ones that you mean. Whether the bound is attained (`exact`), `seconds`,
        `info` and further assumptions are the word of whoever made the certificate.

        Parameters
        ----------
        train, rows : Dataset, optional
            Data to check it against; those of the claim by default.
        sets : ByLabel, optional
            Feasible sets to check it against.
        claim : Claim, optional
            All of it: data, rows, sets, learning problem and budget.

        Returns
        -------
        float or ndarray
            The bound; where rounding made the recomputed one weaker, that one, which is `bound` from then on.

        Raises
        ------
        CertificateInvalid
            If it speaks of something else, or if the bound does not follow.
        """
        self._check_parts()
        if claim is not None:
            self._check_claim(claim)
        self._check_data(train, rows, sets)
        try:
            found = recompute(self.name, self.claim, self.witness)
        except InputError as error:
            raise CertificateInvalid(str(error)) from error
        words = words_of(self.name, self.claim, self.witness)
        if not _agree(found, self.bound):
            raise CertificateInvalid(
                f"expected the witness of the certificate {self.name} to prove {_short(self.bound)}, "
                f"got {_short(found)} from it: witness, bound or sets were altered."
            )
        self._check_statement(words)
        object.__setattr__(self, "bound", self._weaker(found))  # a sign is a claim: none may rest on the tolerance
        return self.bound

    def _check_parts(self) -> None:
        """That the statement is made of what statements are made of."""
        words = isinstance(self.assumptions, tuple) and all(isinstance(word, str) for word in self.assumptions)
        if not (isinstance(self.name, str) and isinstance(self.kind, str) and isinstance(self.claim, Claim) and words):
            raise CertificateInvalid("expected a name, a kind, a claim and assumptions in words, got others.")

    def _check_claim(self, claim: Claim) -> None:
        _check_type("a claim", claim, Claim)
        self._check_data(claim.train, None, claim.sets)
        given, own = claim.rows, self.claim.rows
        if (given is None) != (own is None):
            raise CertificateInvalid("expected the rows that the certificate speaks of, got others.")
        self._check_data(None, given, None)
        for what in ("loss", "reg", "penalize_intercept", "fit_intercept", "scaling", "n_reference"):
            asked, spoken = getattr(claim.problem, what), getattr(self.claim.problem, what)
            if asked != spoken:
                raise CertificateInvalid(f"expected a certificate about {what} {asked!r}, got one about {spoken!r}.")
        if claim.epsilon != self.claim.epsilon:
            raise CertificateInvalid(
                f"expected a certificate about the budget {claim.epsilon!r}, got one about {self.claim.epsilon!r}."
            )

    def _check_data(self, train: Dataset | None, rows: Dataset | None, sets: ByLabel | None) -> None:
        for what, value, kind in (
            ("sets of each class", sets, ByLabel),
            ("rows", train, Dataset),
            ("rows", rows, Dataset),
        ):
            if value is not None:
                _check_type(what, value, kind)
        if sets is not None and sets_digest(sets) != sets_digest(self.claim.sets):
            raise CertificateInvalid("expected the feasible sets that the certificate speaks of, got others.")
        for what, given, own in (("training rows", train, self.claim.train), ("rows", rows, self.claim.rows)):
            if given is not None and (own is None or given.digest() != own.digest()):
                raise CertificateInvalid(f"expected the {what} that the certificate speaks of, got others.")

    def _check_statement(self, words: tuple[str, ...]) -> None:
        kind = _KIND_OF[self.name] or self.kind
        if self.kind not in KINDS or self.kind != kind:
            raise CertificateInvalid(f"expected the certificate {self.name} to be of kind {kind}, got {self.kind}.")
        missing = [word for word in words if word not in self.assumptions]
        if missing:
            raise CertificateInvalid(f"expected the assumption that {missing[0]}, got none: assumptions were altered.")

    def _weaker(self, found: Any) -> float | Array:
        """Of the stored bound and the recomputed one, what claims less."""
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
        verified = self._verifies()  # before the bound is told, which this may weaken
        return {
            "name": self.name,
            "kind": self.kind,
            "epsilon": self.claim.epsilon,
            "bound": plain(self.bound),
            "exact": bool(np.all(self.exact)),
            "exact_verified": False,
            "assumptions": list(self.assumptions),
            "verified": verified,
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
        summary = self.summary()  # verifies the bound
        fields = {name: getattr(self, name) for name in ("claim", "bound", "exact", "witness", "info")}
        write_fields(path, summary, **fields)

    @classmethod
    def load(cls, path: Any, train: Dataset, rows: Dataset | None = None) -> Certificate:
        """Read what `save` wrote. Its bound is believed only after `verify`.

        Sizes are held against the data before memory is taken for them.

        Raises
        ------
        CertificateInvalid
            If the data or the sets are others than those that it was saved with.
        InputError
            If the files are missing, unreadable, of another format, or greater than a claim about such data can need.
        """
        return cls(**read_fields(path, train, rows))


def _check_type(what: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{what} to verify against", f"a {type(value).__name__}")


def _agree(found: Any, stored: Any) -> bool:
    try:
        a, b = np.asarray(found, dtype=np.float64), np.asarray(stored, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return False
    if a.shape != b.shape or np.isnan(a).any() or np.isnan(b).any():
        return False
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= RTOL * (1e-6 + np.abs(b))
    return bool(np.all((a == b) | (finite & near)))


def _short(value: Any) -> str:
    try:
        values = np.ravel(np.asarray(value, dtype=np.float64))
    except (ValueError, TypeError, OverflowError):
        values = np.zeros(0)
    if not values.size:
        return f"a {type(value).__name__}"
    return f"{values[0]:.6g}" if values.size == 1 else f"{values.size} bounds from {values.min():.6g}"
