"""Every attack keeps the contract, and attacks that break it are told of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from small_attacks import FEW, SMALL

from linpoison.attacks import ATTACKS, KKT, Attack, Iterative, Scenario
from linpoison.attacks.ranking import candidate
from linpoison.attacks.run import Run
from linpoison.core import AttackInvalid, Budget, CapabilityError, Domain, Poison, SolverFailed
from linpoison.datasets import counts, gaussians
from linpoison.defenses import make_defense
from linpoison.losses import Hinge, Problem
from linpoison.testing import check_attack

OTHERS = {"iterative": Iterative(attack=KKT(decoys=FEW, generations=0, finalists=1), rounds=1)}


def scenario(kind="real") -> Scenario:
    split = counts(n=80, d=8, contrast=0.7, length=12.0, seed=4) if kind == "counts" else gaussians(n=80, d=3, seed=1)
    problem = Problem(Hinge(), 0.05)
    guards = {name: make_defense(name, problem=problem) for name in ("l2", "loss")}
    return Scenario(split.train, problem, Budget(0.08), guards, split.test)


def test_every_attack_is_held_to_the_contract():
    assert SMALL.keys() == ATTACKS.keys()


@pytest.mark.parametrize("kind", ["real", "counts"])
@pytest.mark.parametrize("name", [*SMALL, *OTHERS])
def test_attacks_keep_the_contract(name, kind):
    check_attack({**SMALL, **OTHERS}[name], scenario(kind))


@dataclass(frozen=True)
class Cheating(Attack):
    """Plants the means of either class under the other label, and breaks its word in one way."""

    name = "cheating"
    way: str = ""

    def _search(self, scenario, run):
        means = np.array([np.asarray(scenario.train.of_class(-y).X.mean(axis=0)).ravel() for y in (1.0, -1.0)])
        n = scenario.n_poison
        copies = [n, 1] if self.way == "beyond" else [n - n // 2, n // 2]
        if self.way == "domain":
            means = means + np.nextafter(1e9, 2e9)
        if self.way == "seedless":
            means = means + np.random.default_rng().normal(size=means.shape)
        poison = Poison(means, [1.0, -1.0], copies)
        found = candidate(run.started, scenario, poison, label="means")
        if self.way == "claims":
            return [replace(found, test_error=dict.fromkeys(found.test_error, 1.0))]
        return [found]

    def _ranked(self, scenario, run, found):
        if self.way == "claims":
            return list(found)
        if self.way == "unscored":
            return [replace(found[0], test_error={"none": found[0].test_error["none"]})]
        return super()._ranked(scenario, run, found)


def within_range(asked: Scenario) -> Scenario:
    return replace(asked, train=replace(asked.train, domain=Domain.range(asked.train.X)))


@pytest.mark.parametrize("way", ["beyond", "domain", "unscored"])
def test_a_poison_that_breaks_the_word_of_its_attack_is_no_result(way):
    asked = scenario()
    asked = within_range(asked) if way == "domain" else asked
    assert Cheating().run(asked).poison.total == asked.n_poison
    with pytest.raises(AttackInvalid, match="the attack cheating"):
        Cheating(way).run(asked)


@pytest.mark.parametrize(("way", "words"), [("seedless", "the same poison"), ("claims", "as the defender measures")])
def test_the_contract_tells_of_what_a_run_cannot_see(way, words):
    with pytest.raises(AssertionError, match=words):
        check_attack(Cheating(way), scenario())


def test_class_weights_are_refused_before_any_work():
    asked = scenario()
    asked = replace(asked, problem=replace(asked.problem, class_weight=(1.0, 2.0)))
    with pytest.raises(CapabilityError, match="without class weights for cheating"):
        Cheating().run(asked)


@pytest.mark.parametrize("name", SMALL)
def test_an_attack_that_finds_nothing_says_so(name, monkeypatch):
    monkeypatch.setattr(Run, "steps", lambda *given: [])
    with pytest.raises(SolverFailed, match="expected (at least one|a) poison"):
        SMALL[name].run(scenario())
