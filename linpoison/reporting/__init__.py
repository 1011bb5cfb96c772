"""Reports are data; their text, pages and pictures are functions of it. Knows no command."""

from .answers import AnswersReport
from .budget import BudgetReport
from .certify import CertifyReport
from .findings import AttackEntry, AuditFindings, Damage
from .gates import Gates, Verdict
from .harden import HardenReport
from .inspect import InspectReport
from .report import AuditReport
from .suite import SuiteEntry, SuiteReport
from .sweep import SweepCell, SweepReport

__all__ = [
    "AnswersReport",
    "AttackEntry",
    "AuditFindings",
    "AuditReport",
    "BudgetReport",
    "CertifyReport",
    "Damage",
    "Gates",
    "HardenReport",
    "InspectReport",
    "SuiteEntry",
    "SuiteReport",
    "SweepCell",
    "SweepReport",
    "Verdict",
]
