"""The nouns of the library: data, models, budgets, poisons, results and errors (numpy and scipy only)."""

from .dataset import Dataset, Split, label_texts, stack_rows
from .domain import Domain, parse_domain
from .errors import (
    AttackInvalid,
    CapabilityError,
    CertificateInvalid,
    CertificateViolated,
    InfeasibleSet,
    InputError,
    LinpoisonError,
    MissingDependency,
    SolverFailed,
    WorkersLost,
    WriteFailed,
)
from .model import LinearModel, MultiModel, model_of
from .poison import Poison
from .results import UNDEFENDED, AttackResult, Candidate, SolveInfo, worst_case
from .threat import Budget
from .validation import as_generator, as_matrix, as_signed_labels, as_weights, check_integer, check_number, check_seed

__all__ = [
    "UNDEFENDED",
    "AttackInvalid",
    "AttackResult",
    "Budget",
    "Candidate",
    "CapabilityError",
    "CertificateInvalid",
    "CertificateViolated",
    "Dataset",
    "Domain",
    "InfeasibleSet",
    "InputError",
    "LinearModel",
    "LinpoisonError",
    "MissingDependency",
    "MultiModel",
    "Poison",
    "SolveInfo",
    "SolverFailed",
    "Split",
    "WorkersLost",
    "WriteFailed",
    "as_generator",
    "as_matrix",
    "as_signed_labels",
    "as_weights",
    "check_integer",
    "check_number",
    "check_seed",
    "label_texts",
    "model_of",
    "parse_domain",
    "stack_rows",
    "worst_case",
]
