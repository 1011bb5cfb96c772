"""A small attack for tests: it plants copies of one class's mean under the other label, step by step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from linpoison.attacks.base import Attack
from linpoison.attacks.run import Run
from linpoison.attacks.scenario import Scenario
from linpoison.core import Candidate, Dataset, LinearModel, Poison, SolveInfo, Split, stack_rows
from linpoison.defender import Defender
from linpoison.reporting import html

DRAWN = html.figures_of


@dataclass
class Calls:
    """What the fake attack did, and whether it should be interrupted."""

    steps: list[int] = field(default_factory=list)
    interrupt_before: int | None = None
    fail_with: BaseException | None = None
    seeds: list[int] = field(default_factory=list)
    scenarios: list[Scenario] = field(default_factory=list)


class FakeAttack(Attack):
    """Steps are single poisons of growing reach; finished ones are read from the journal."""

    name: ClassVar[str] = "fake"
    calls: ClassVar[Calls] = Calls()
    n_steps = 3

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        self.calls.scenarios.append(scenario)
        self.calls.seeds.append(run.seed)
        rng = np.random.default_rng(run.seed)
        candidates = []
        for step in range(self.n_steps):
            noise = rng.normal(size=scenario.train.d)
            stored = None if run.journal is None else run.journal.get(f"step-{step}")
            if stored is None:
                if self.calls.interrupt_before == step:
                    raise KeyboardInterrupt
                if self.calls.fail_with is not None:
                    raise self.calls.fail_with
                self.calls.steps.append(step)
                stored = {"X": self.rows(scenario, step, noise)}
                if run.journal is not None:
                    run.journal.put(f"step-{step}", stored)
            candidates.append(self.candidate(scenario, stored["X"], time.time() - run.started))
            run.say(step + 1, self.n_steps, "steps")
        run.solves += [SolveInfo("NONE", "optimal", 0.0, 0.0), SolveInfo("NONE", "failed: no step", 0.0, 0.0)]
        run.info["steps"] = 3
        return sorted(candidates, key=lambda one: -one.worst)

    def _ranked(self, scenario: Scenario, run: Run, found: Sequence[Candidate]) -> list[Candidate]:
        return list(found)

    def rows(self, scenario: Scenario, step: int, noise: np.ndarray) -> np.ndarray:
        means = [np.asarray(scenario.train.of_class(label).X.mean(axis=0)).ravel() for label in (1.0, -1.0)]
        rows = np.stack([means[1], means[0]]) * (1 + 0.5 * step) + 0.01 * noise
        domain = scenario.train.domain
        if domain.lower is not None:
            rows = np.clip(rows, domain.lower, domain.upper)
        return np.round(rows) if domain.integral else rows

    def candidate(self, scenario: Scenario, X: np.ndarray, seconds: float) -> Candidate:
        n = scenario.n_poison
        copies = [n - n // 2, n // 2]
        poison = Poison(stack_rows(scenario.train.X[:0], X), [1.0, -1.0], copies)
        defender = Defender(scenario.train, scenario.problem, scenario.defenses)
        scores = defender.score(poison, {"target": scenario.target})
        return Candidate(
            poison, Poison(X, [1.0, -1.0], [n / 2, n / 2]), LinearModel(np.ones(scenario.train.d)), 0.1, 0.0, 0.2,
            scores.error["target"], "means", seconds,
        )  # fmt: skip


class OneClassAttack(FakeAttack):
    """All copies under one label."""

    name = "one-class"

    def candidate(self, scenario: Scenario, X: np.ndarray, seconds: float) -> Candidate:
        base = super().candidate(scenario, X, seconds)
        n = float(scenario.n_poison)
        poison = Poison(base.poison.X[[0]], [1.0], [n])
        return Candidate(poison, poison, base.decoy, 0.1, 0.0, 0.2, base.test_error, "mean", seconds)


REGISTRY = {"kkt": FakeAttack, "kkt-grid": FakeAttack, "fake": FakeAttack, "one-class": OneClassAttack}


def install(monkeypatch: Any) -> Calls:
    """Put the fake attacks where the real ones are registered."""
    from linpoison import attacks

    calls = Calls()
    monkeypatch.setattr(FakeAttack, "calls", calls)
    monkeypatch.setattr(attacks, "ATTACKS", REGISTRY, raising=False)
    monkeypatch.setattr("linpoison.attacks.variants.ATTACKS", REGISTRY)
    monkeypatch.setattr(attacks, "make_attack", lambda name: REGISTRY[name](), raising=False)
    monkeypatch.setattr(attacks, "make_attacks", lambda names, **_: {n: REGISTRY[n]() for n in names}, raising=False)
    return calls


def leave_pictures_out(monkeypatch: Any) -> None:
    """Write the pages of audits without them."""
    monkeypatch.setattr(html, "figures_of", lambda report: [])


def draw_pictures(monkeypatch: Any) -> None:
    """Let pages have their pictures all the same."""
    monkeypatch.setattr(html, "figures_of", DRAWN)


def small_split(n: int = 60, d: int = 3, seed: int = 0, **more: Any) -> Split:
    """Two Gaussian classes, a tenth of the labels wrong."""
    rng = np.random.default_rng(seed)

    def part(size: int) -> Dataset:
        y = np.where(np.arange(size) % 2 == 0, 1.0, -1.0)
        X = rng.normal(size=(size, d)) + 1.2 * y[:, None]
        y[rng.random(size) < 0.05] *= -1
        return Dataset(X, y, name="small", **more)

    return Split(part(n), part(n))


def without_times(values: Mapping[str, Any]) -> dict[str, Any]:
    """A report as plain values, less everything that a clock or the memory decides."""
    clock = ("seconds", "timeline", "timeline_by_defense", "seconds_to")
    attacks = [{key: value for key, value in entry.items() if key not in clock} for entry in values["attacks"]]
    return {key: value for key, value in values.items() if key != "peak_memory_mb"} | {"attacks": attacks}
