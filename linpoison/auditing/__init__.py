"""The one place where everything meets: audit a classifier, score a poison, sanitise rows, report."""

from .budgets import BudgetReport, budget
from .certifying import CertifyOptions, CertifyReport, certify
from .evaluating import evaluate
from .options import AuditOptions, LearnerOptions
from .report import AttackEntry, AuditReport
from .run import audit
from .sanitizing import Sanitized, sanitize
from .sweeping import Sweep, SweepCell, sweep

__all__ = [
    "AttackEntry",
    "AuditOptions",
    "AuditReport",
    "BudgetReport",
    "CertifyOptions",
    "CertifyReport",
    "LearnerOptions",
    "Sanitized",
    "Sweep",
    "SweepCell",
    "audit",
    "budget",
    "certify",
    "evaluate",
    "sanitize",
    "sweep",
]
