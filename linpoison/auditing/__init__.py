"""The one place where everything meets: audit a classifier, score a poison, sanitise rows, report."""

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
    "LearnerOptions",
    "Sanitized",
    "Sweep",
    "SweepCell",
    "audit",
    "evaluate",
    "sanitize",
    "sweep",
]
