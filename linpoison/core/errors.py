"""The exceptions of the library: each message says what was expected, what came and what to do."""

from __future__ import annotations


class LinpoisonError(Exception):
    """Base class of every error that the library raises on purpose."""


class InputError(LinpoisonError, ValueError):
    """Input that cannot be used.

    Parameters
    ----------
    expected : str
        What the function takes, as a noun phrase.
    got : str
        What came instead.
    remedy : str, optional
        What the user can do about it, as a sentence.

    Examples
    --------
    >>> print(InputError("epsilon in (0, 1)", "1.5", "Give the fraction, not the percentage."))
    expected epsilon in (0, 1), got 1.5. Give the fraction, not the percentage.
    """

    def __init__(self, expected: str, got: object, remedy: str = "") -> None:
        self.expected, self.got, self.remedy = expected, _short(str(got)), remedy
        super().__init__(f"expected {expected}, got {self.got}." + (f" {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.expected, self.got, self.remedy)


def _short(text: str) -> str:
    """On one line, and of what may be a whole file its beginning."""
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= 400 else f"{text[:300]}... ({len(text)} letters)"


class CapabilityError(InputError):
    """Two parts that do not fit together, such as an attack and a loss it has no program for."""


class MissingDependency(LinpoisonError, ImportError):
    """An optional package that the requested feature needs is not installed.

    Parameters
    ----------
    package : str
    purpose : str
        What needs it.
    extra : str
        The extra of this package that brings it.
    """

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        self.package, self.purpose, self.extra = package, purpose, extra
        super().__init__(
            f"expected the package {package} ({purpose}), got none installed. "
            f"Install it with: pip install 'linpoison[{extra}]'."
        )

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.package, self.purpose, self.extra)


class WriteFailed(LinpoisonError, OSError):
    """A file that could not be written: no room, no right, a name that the system does not take."""

    def __init__(self, path: object, error: object) -> None:
        self.path, self.reason = str(path), getattr(error, "strerror", None) or str(error)
        super().__init__(
            f"expected to write {self.path}, got: {self.reason}. Make room there, or name another place with --out."
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.reason)

    def __str__(self) -> str:
        return str(self.args[0])


class WorkersLost(LinpoisonError):
    """Worker processes that were ended from outside, such as by a system that ran out of memory."""


class InfeasibleSet(LinpoisonError):
    """A feasible set that holds no point, so that nothing can be planted in it."""


class SolverFailed(LinpoisonError):
    """A convex solver ended without an answer that passes the checks made in numpy."""


class CertificateViolated(LinpoisonError):
    """An attack did more damage than a certificate allows: one of the two has a defect."""


class AttackInvalid(LinpoisonError):
    """A poison of an attack that the budget does not buy, that the domain does not hold, or that was not scored."""


class CertificateInvalid(LinpoisonError):
    """A certificate that does not follow from its witness, or speaks of other data or other sets."""
