"""The one place where everything meets: audit a classifier, score a poison, sanitise rows, report."""

from ..reporting import (
    AnswersReport,
    AttackEntry,
    AuditReport,
    BudgetReport,
    CertifyReport,
    InspectReport,
    SweepCell,
    SweepReport,
)
from .answering import certify_rows
from .budgets import budget
from .certifying import CertifyOptions, certify
from .evaluating import evaluate
from .hardening import HardenOptions, harden
from .inspecting import inspect
from .options import AuditOptions, EvaluateOptions, LearnerOptions
from .run import audit
from .sanitizing import SanitizeReport, sanitize
from .suites import Suite, check
from .sweeping import sweep

__all__ = [
    "AnswersReport",
    "AttackEntry",
    "AuditOptions",
    "AuditReport",
    "BudgetReport",
    "CertifyOptions",
    "CertifyReport",
    "EvaluateOptions",
    "HardenOptions",
    "InspectReport",
    "LearnerOptions",
    "SanitizeReport",
    "Suite",
    "SweepCell",
    "SweepReport",
    "audit",
    "budget",
    "certify",
    "certify_rows",
    "check",
    "evaluate",
    "harden",
    "inspect",
    "sanitize",
    "sweep",
]
