"""What is loaded when: importing the library and asking for help load none of the heavy packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"cvxpy", "sklearn", "torch", "matplotlib", "pandas", "scipy", "numpy", "joblib", "jinja2", "tqdm"}
REPORT = f"import sys; sys.stderr.write('\\n' + ' '.join(sorted({HEAVY!r} & set(sys.modules))))"


def loaded_by(code: str) -> set[str]:
    """Heavy packages in a fresh interpreter after `code`."""
    outcome = subprocess.run([sys.executable, "-c", f"{code}\n{REPORT}"], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return set(outcome.stderr.splitlines()[-1].split())


def test_importing_the_library_loads_nothing_heavy():
    assert loaded_by("import linpoison") == set()


def test_importing_deep_loads_nothing_heavy():
    assert loaded_by("import deep") == set()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["audit", "--help"], ["evaluate", "--help"], ["sanitize", "--help"], []]
)
def test_help_loads_nothing_heavy(arguments):
    assert (
        loaded_by(f"from linpoison.cli import main\ncode = main({arguments!r})\nimport sys\nassert code == 0") == set()
    )


def test_bad_arguments_load_nothing_heavy():
    assert loaded_by("from linpoison.cli import main\nassert main(['audit', '--reg', 'much']) == 2") == set()


def test_the_check_sees_a_heavy_package():
    assert "numpy" in loaded_by("import linpoison; linpoison.Budget")


def test_core_needs_numpy_and_scipy_only():
    assert loaded_by("import linpoison.core") <= {"numpy", "scipy"}


@pytest.mark.parametrize("room", ["losses", "sets", "rounding"])
def test_the_mathematics_loads_no_solver_before_it_is_used(room):
    assert not loaded_by(f"import linpoison.{room}") & {"cvxpy", "sklearn", "torch", "matplotlib", "pandas"}
