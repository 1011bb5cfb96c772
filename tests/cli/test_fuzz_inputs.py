"""The quick part of the fuzz of bad input; ``python tests/fuzz_inputs.py`` is the whole."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import fuzz_inputs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("only", "cases"), [("damaged", 150), ("arrays", 150), ("members", 150), ("call", 150)])
def test_bad_input_is_refused_or_answered(only, cases):
    told = []
    counts = fuzz_inputs.run(cases, seed=1, only=only, tell=told.append)
    assert told == []
    assert counts["refused"] > cases // 20


def test_the_fuzz_sees_what_it_looks_for():
    def call(words):
        return fuzz_inputs.fuzz_cases.Case("", words, senseless=True)

    assert fuzz_inputs.judged(call(lambda: 1 / 0)).kind == "traceback"
    assert fuzz_inputs.judged(call(lambda: None)).kind == "silent"
    assert fuzz_inputs.judged(call(["datasets"])).kind == "silent"
    assert fuzz_inputs.judged(call(["audit", "nowhere"])).kind == "refused"
