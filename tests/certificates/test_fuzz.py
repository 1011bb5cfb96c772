"""Random poison, adversarial poison and the library's attacks against every certificate, in a few cases."""

from __future__ import annotations

import runpy
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ridge_cases import ridge_claim
from small_attacks import SMALL

from linpoison.attacks import ATTACKS
from linpoison.certificates import certify_ridge, label_flips_ridge
from linpoison.core import Poison

SCRIPT = Path(__file__).parents[2] / "experiments" / "theory" / "fuzz.py"
KINDS = {
    "average-loss", "average-objective", "ball", "deletions", "deletions of ridge", "deletions, smooth", "exact",
    "min-budget", "naive", "outer conic", "outer fast", "partition", "radius", "ridge", "steinhardt",
    "steinhardt, strong", "test-error",
}  # fmt: skip


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        return runpy.run_path(str(SCRIPT))


@pytest.mark.filterwarnings("ignore")
def test_no_certificate_is_violated(script):
    tallies, done = script["fuzz"](30, seed=3, each=3, every=0)
    assert done >= 30
    assert set(tallies) >= KINDS
    assert [words for tally in tallies.values() for words in tally.violations] == []
    assert tallies["ridge"].closest > 0.99
    assert tallies["min-budget"].closest > 0.95


@pytest.mark.filterwarnings("ignore")
def test_no_attack_of_the_library_violates_one(script, monkeypatch):
    rng = np.random.default_rng(0)
    tallies = defaultdict(script["Tally"])
    choice = (script["LOSSES"][0], "balls", {}, {})
    claim = script["draw_claim"](choice, rng).at(0.1)
    claim = claim.at(max(0.1, 2 / claim.mass))
    case = script["prove"](choice, claim, heavy=False)
    monkeypatch.setitem(script["attacks"].__globals__, "make_attack", SMALL.__getitem__)
    planted = list(script["attacks"](case))
    assert {how.removeprefix("attack ") for how, _ in planted} >= set(ATTACKS) - {"refined"}
    for how, poison in planted:
        assert poison.total <= claim.epsilon * claim.mass * (1 + 1e-9)
        assert claim.sets.contains(poison.X, poison.y, 1e-6).all()
        script["hold"](case, how, poison, tallies, budget=False)
    assert all(not tally.violations for tally in tallies.values())


@pytest.mark.filterwarnings("ignore")
def test_a_false_bound_is_reported(script):
    rng = np.random.default_rng(0)
    choice = (script["LOSSES"][3], "balls", {}, {})
    case = script["prove"](choice, script["draw_claim"](choice, rng).at(0.2), heavy=False)
    for found in case.proved.values():
        sign = 1 if found.kind in ("score", "loss", "error") else -1
        object.__setattr__(found, "bound", np.asarray(found.bound) - sign * 0.8)
    tallies = defaultdict(script["Tally"])
    for how, poison in [*script["wild"](case, rng, 6), *script["suggested"](case)]:
        script["hold"](case, how, poison, tallies, budget=False)
    assert tallies["ridge"].violations
    assert tallies["average-loss"].violations
    assert "violations" in script["table"](tallies, 6)


def test_the_command_writes_a_table(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(script["fuzz"].__globals__, "attacks", lambda case: ())  # they are held above
    assert script["main"](["--poisons", "5", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "table.md").read_text() == capsys.readouterr().out


def test_no_bound_is_exceeded_in_60_digits(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    extremes = runpy.run_path(str(SCRIPT.with_name("extremes.py")))
    tallies, clean, done = extremes["fuzz"](3, seed=7, each=1)
    assert min(clean, done) >= 3
    assert min(tallies[name].clean for name in ("ridge", "radius", "ball", "partition")) >= 1
    assert min(tallies[name].poisoned for name in ("flips", "min-budget")) >= 1
    assert [words for tally in tallies.values() for words in tally.violations] == []
    lie = {"ridge": replace(certify_ridge(ridge_claim()), bound=certify_ridge(ridge_claim()).bound - 1.0)}
    assert extremes["hold"](ridge_claim(), lie, None, tallies)
    assert len(tallies["ridge"].violations) == ridge_claim().rows.n
    assert "violations" in extremes["table"](tallies, clean, done)


@pytest.mark.filterwarnings("ignore")
def test_rows_changed_and_inserted_at_once_of_odd_data(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    mixed = runpy.run_path(str(SCRIPT.with_name("mixed.py")))
    for seed in (0, 2):
        (tally,) = mixed["fuzz"](1, seed).values()
        assert (tally.cases, tally.violations) == (1, [])
        assert tally.poisoned > 100
    mixed["fuzz"].__globals__["verified"] = lambda way: replace(way(), bound=np.asarray(way().bound) - 1e3)
    (tally,) = mixed["fuzz"](1, 0).values()
    assert tally.violations
    assert "violations" in mixed["table"]({"a lie": tally})


def test_lies_about_changed_rows_and_planted_models_are_seen_in_60_digits(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    changes = runpy.run_path(str(SCRIPT.with_name("extremes_changes.py")))
    claim, tally = ridge_claim(), changes["Tally"]()
    truth = label_flips_ridge(claim, 1)
    flipped = changes["flipped"](claim.train, tuple(truth.witness["flipped"][0]))
    for by, seen in ((0.0, 0), (1e-9, 1)):
        told = replace(truth, bound=truth.bound - by)
        changes["hold_scores"]("flips", told, iter([flipped]), tally)
        assert bool(tally.violations) == seen
    planted, lies = changes["planted_model"], changes["Tally"]()
    poison = Poison(claim.sets[1].support(-np.ones(claim.train.d))[None] * 0.9, [1.0], [0.2 * claim.mass])
    planted(claim, poison, lies)
    assert (lies.poisoned, lies.violations) == (1, [])
    true = planted.__globals__["min_budget"]
    planted.__globals__["min_budget"] = lambda *given, **more: replace(true(*given, **more), bound=0.21)
    planted.__globals__["verified"] = lambda way: way()
    planted(claim, poison, lies)
    assert len(lies.violations) == 1
