"""linpoison: attack, defend and certify linear classifiers under data poisoning.

Public names are loaded on first use, so that ``import linpoison`` stays quick.

Examples
--------
>>> import linpoison
>>> split = linpoison.load("breast_cancer")
>>> split.train.d
30
"""

from __future__ import annotations

from importlib import import_module

from ._version import __version__

TYPE_CHECKING = False  # as in `typing`, which takes a while to load, when Ctrl-C would still be a traceback
if TYPE_CHECKING:
    from typing import Any

    from .auditing import audit, budget, certify, certify_rows, check, evaluate, harden, inspect, sanitize, sweep
    from .certificates import CertifiedClassifier
    from .core import (
        AttackInvalid,
        AttackResult,
        Budget,
        CapabilityError,
        CertificateInvalid,
        CertificateViolated,
        Dataset,
        Domain,
        InfeasibleSet,
        InputError,
        LinearModel,
        LinpoisonError,
        MissingDependency,
        Poison,
        SolverFailed,
        Split,
    )
    from .datasets import load
    from .defenses import SanitizedClassifier, make_defense
    from .learners import LinearClassifier
    from .losses import Problem
    from .reporting import (
        AnswersReport,
        AuditReport,
        BudgetReport,
        CertifyReport,
        Gates,
        HardenReport,
        InspectReport,
        SuiteReport,
        SweepReport,
    )

_WHERE = {
    "auditing": "audit budget certify certify_rows check evaluate harden inspect sanitize sweep",
    "certificates": "CertifiedClassifier",
    "core": (
        "AttackInvalid AttackResult Budget CapabilityError CertificateInvalid CertificateViolated Dataset Domain "
        "InfeasibleSet InputError LinearModel LinpoisonError MissingDependency Poison SolverFailed Split"
    ),
    "datasets": "load",
    "defenses": "SanitizedClassifier make_defense",
    "learners": "LinearClassifier",
    "losses": "Problem",
    "reporting": (
        "AnswersReport AuditReport BudgetReport CertifyReport Gates HardenReport InspectReport SuiteReport SweepReport"
    ),
}
_ROOM_OF = {name: room for room, names in _WHERE.items() for name in names.split()}

__all__ = [
    "AnswersReport",
    "AttackInvalid",
    "AttackResult",
    "AuditReport",
    "Budget",
    "BudgetReport",
    "CapabilityError",
    "CertificateInvalid",
    "CertificateViolated",
    "CertifiedClassifier",
    "CertifyReport",
    "Dataset",
    "Domain",
    "Gates",
    "HardenReport",
    "InfeasibleSet",
    "InputError",
    "InspectReport",
    "LinearClassifier",
    "LinearModel",
    "LinpoisonError",
    "MissingDependency",
    "Poison",
    "Problem",
    "SanitizedClassifier",
    "SolverFailed",
    "Split",
    "SuiteReport",
    "SweepReport",
    "__version__",
    "audit",
    "budget",
    "certify",
    "certify_rows",
    "check",
    "evaluate",
    "harden",
    "inspect",
    "load",
    "make_defense",
    "sanitize",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
