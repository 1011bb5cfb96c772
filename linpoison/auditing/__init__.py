"""The one place where everything meets: audit a classifier, score a poison, sanitise rows, report."""

from .evaluating import evaluate
from .options import AuditOptions, LearnerOptions
from .report import AttackEntry, AuditReport
from .run import audit
from .sanitizing import Sanitized, sanitize

__all__ = [
    "AttackEntry",
    "AuditOptions",
    "AuditReport",
    "LearnerOptions",
    "Sanitized",
    "audit",
    "evaluate",
    "sanitize",
]
