"""Which solver answers: the library's structured ones, or one that the user names."""

from __future__ import annotations

from functools import cache

from ..core.errors import InputError

STRUCTURED = "structured"
"""The word for no conic solver: the structured methods, and a conic program where they do not apply."""
OPTIONAL = ("ECOS", "OSQP", "SCS", "HIGHS")
"""Solvers that a package of their own brings."""


def chosen_solver(name: str | None) -> str | None:
    """The solver that a user names, in the spelling of cvxpy; None for the structured methods.

    Parameters
    ----------
    name : str or None
        "structured" or None, or an installed solver of cvxpy in any case, such as CLARABEL, ECOS, OSQP or SCS.

    Raises
    ------
    InputError
        If there is no such solver here, with those that are.

    Examples
    --------
    >>> chosen_solver("clarabel"), chosen_solver("structured"), chosen_solver(None)
    ('CLARABEL', None, None)
    """
    if name is None or (isinstance(name, str) and name == STRUCTURED):
        return None
    return installed_solver(name, STRUCTURED)


@cache
def installed_solvers() -> tuple[str, ...]:
    """What cvxpy solves with here; it tries to import each solver anew, which takes longer than a small program."""
    import cvxpy as cp

    return tuple(cp.installed_solvers())


def installed_solver(name: object, *others: str) -> str:
    """The name of an installed solver, in the spelling of cvxpy; `others` are words that the error lists too."""
    installed = installed_solvers()
    spelled = name.upper() if isinstance(name, str) else name
    if not isinstance(spelled, str) or spelled not in installed:
        known = spelled in OPTIONAL if isinstance(spelled, str) else False
        remedy = f"Install it with: pip install {str(spelled).lower()}." if known else ""
        listed = ", ".join([*others, *sorted(installed)])
        raise InputError(f"an installed solver among {listed}", repr(name), remedy)
    return spelled
