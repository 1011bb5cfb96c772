"""Fixtures of more than one room."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent / "support/l1_package"))

import audit_cases

os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
"""What a test does not ask for is done in its process: pools of workers cost more than what they are given here."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
"""Without byte code every command that a test starts, and every worker, compiles all it imports again."""

settings.register_profile("suite", deadline=None)  # a busy machine fails no test
settings.load_profile("suite")


LONGEST = (
    "test_image_experiments.py",
    "test_tampering.py",
    "test_stronger_attacks.py",
    "test_refined.py",
    "test_scripts.py",
    "test_fuzz.py",
    "test_certify.py",
    "test_theory.py",
    "test_parallel.py",
    "test_cli.py",
    "test_outer_dual.py",
    "test_torchrun.py",
    "test_cli_streams.py",
    "test_readme.py",
    "test_attack_costs.py",
    "test_architecture.py",
)
"""Files that take ten seconds or more; they come first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker is left with one of them while the others have nothing to do."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: the collector of garbage need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n``, keep the tests of a file on one worker, so that what they share is prepared once."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # in the order above, not by the number of tests
    return LoadFileScheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _pages_without_pictures() -> Iterator[None]:
    """Pictures are most of the time that a small audit takes: tests of what they show ask for them (`pictures`)."""
    with pytest.MonkeyPatch.context() as patch:
        audit_cases.leave_pictures_out(patch)
        yield


@pytest.fixture
def fake_attacks(monkeypatch: pytest.MonkeyPatch) -> audit_cases.Calls:
    """Quick attacks in the place of the real ones."""
    return audit_cases.install(monkeypatch)


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages with their pictures."""
    audit_cases.draw_pictures(monkeypatch)


@pytest.fixture
def in_tmp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
