"""What is loaded when: importing the library and asking for help load none of the heavy packages."""

from __future__ import annotations

import subprocess
import sys

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


def test_parsing_loads_nothing_heavy():
    """One process, as it would keep what any of the commands loads."""
    good = [[], ["--help"], ["--version"], ["audit", "--help"], ["evaluate", "--help"], ["sanitize", "--help"]]
    bad = [["audit", "--reg", "much"], ["audit", "--epsilon", "x"]]
    code = f"""
import linpoison
from linpoison.cli import main
from linpoison.cli.parser import build_parser
dir(linpoison)
build_parser().parse_args(['audit', 'x', '--epsilon', '0.1'])
for arguments in {good + bad!r}:
    assert main(arguments) == 2 * (arguments in {bad!r}), arguments
"""
    assert loaded_by(code) == set()


def test_the_check_sees_a_heavy_package():
    assert "numpy" in loaded_by("import linpoison; linpoison.Budget")


def test_core_needs_numpy_and_scipy_only():
    assert loaded_by("import linpoison.core") <= {"numpy", "scipy"}


def test_the_mathematics_loads_no_solver_before_it_is_used():
    loaded = loaded_by("import linpoison.losses, linpoison.sets, linpoison.rounding")
    assert not loaded & {"cvxpy", "sklearn", "torch", "matplotlib", "pandas"}
