"""The README does what it says."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_architecture import ALLOWED

from deep.cli_parser import build_parser as networks_parser
from linpoison.attacks import ATTACKS, Breakdown
from linpoison.auditing.options import AuditOptions
from linpoison.cli.parser import build_parser

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = runpy.run_path(str(ROOT / ".ci" / "readme_command.py"))["commands"]
WRITTEN = {"index.md", "glossary.md"}  # lead to pages that the build writes, and is one: sphinx-build -W checks them
DOCS = [
    page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in WRITTEN and "_build" not in page.parts
]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Few(Breakdown):
    """With less of everything: whether the example runs is asked, not how much it finds."""

    directions: int = 8
    ascents: int = 30
    kept: int = 2
    chains: int = 1
    steps: int = 10
    remade: int = 1
    radii: Sequence[float] = (20.0, 100.0)
    inside: bool = False


def test_the_example_runs(in_tmp, capsys, monkeypatch):
    monkeypatch.setitem(ATTACKS, "breakdown", Few)
    monkeypatch.setattr("linpoison.auditing.curve._searched", lambda *given: [])  # `test_curve.py` has it
    block, *_ = python_blocks(TEXT)
    scope: dict[str, object] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), scope)
    printed = capsys.readouterr().out.splitlines()
    report = scope["report"]
    assert [line.split()[0] for line in printed[:-1]] == ["none", "l2", "slab", "loss"]
    assert report.test_error_behind_all > report.clean["test_error"]
    assert json.loads(Path("linpoison-report/report.json").read_text())["target"] == "split:0.5"
    assert Path("linpoison-report/poison.npz").is_file()


def test_the_example_of_a_network_runs(capsys):
    pytest.importorskip("torch", reason="needs the extra deep")
    _, block, _ = python_blocks(TEXT)
    scope: dict[str, object] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), scope)
    before, after = map(float, re.findall(r"0\.\d{3}", capsys.readouterr().out.splitlines()[-1]))
    assert after < before - 0.1
    assert scope["found"].residual < scope["found"].clean_residual


def test_the_example_of_subpopulations_runs(capsys):
    *_, block = python_blocks(TEXT)
    scope: dict[str, object] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), scope)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["cluster"] * 3
    worst = scope["found"].at(1.0)[0]
    assert worst.damage.target.value > 0.3
    assert worst.damage.target.low > worst.damage.collateral.high


def test_the_example_is_short():
    block, network, groups = python_blocks(TEXT)
    assert len(network.splitlines()) <= 16
    assert len(groups.splitlines()) <= 15
    assert len([line for line in block.splitlines() if line.strip()]) <= 22


def test_there_are_two_commands_and_the_second_is_what_ci_runs():
    first, second = COMMANDS(TEXT)
    assert first.endswith("linpoison audit")
    assert "python -m pytest -n 2" in second
    assert all("-c constraints.txt" in command for command in (first, second))
    outcome = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "readme_command.py")], capture_output=True, text=True, check=True
    )
    assert outcome.stdout == second + "\n"
    assert "readme_command.py" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_without_the_section_there_are_no_commands():
    assert COMMANDS("# nothing\n") == []


def test_the_table_of_commands_is_that_of_the_parser():
    named = set(re.findall(r"^\| `linpoison (\w+)", TEXT, re.MULTILINE))
    actions = [action for action in build_parser()._actions if action.choices]
    assert named == set(actions[0].choices)


def test_every_option_in_the_readme_exists():
    parsers = [build_parser(), networks_parser()]
    commands = [action.choices.values() for parser in parsers for action in parser._actions if action.choices]
    text = "\n".join(command.format_help() for group in commands for command in group)
    options = set(re.findall(r"(--[a-z][a-z-]+)", TEXT))
    assert len(options) > 8
    assert not [option for option in options if not re.search(rf"{option}\b", text)]


def test_the_defaults_in_the_readme_are_those_of_the_audit():
    options = AuditOptions()
    assert f"`--epsilon {options.epsilon:g}`" in TEXT
    assert f"`--defenses {','.join(options.defenses)}`, `--remove {options.remove:g}`" in TEXT


def test_the_map_names_every_room():
    named = re.findall(r"^\| `(\w+)` \|", TEXT[TEXT.index("## The rooms") :], re.MULTILINE)
    assert sorted(named) == sorted(ALLOWED)
    position = {room: place for place, room in enumerate(named)}
    assert all(position[other] < position[room] for room in named for other in ALLOWED[room])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if python_blocks(page.read_text())], ids=lambda page: page.name
)
def test_blocks_of_python_compile(page):
    for block in python_blocks(page.read_text(encoding="utf-8")):
        compile(block, page.name, "exec")
