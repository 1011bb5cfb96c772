"""The breakdown attack: what it plants, what it beats, and that it keeps what it promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from kkt_cases import scenario_of

from linpoison.attacks import Breakdown
from linpoison.core import Domain, InputError, Poison
from linpoison.evaluation import Evaluator

ALL = ("l2", "slab", "loss", "svd", "knn")
QUICK = Breakdown(directions=8, ascents=30, kept=2, chains=1, steps=10, remade=1, radii=(20.0, 100.0), inside=False)


def real(name="breast_cancer", epsilon=0.03, defenses=ALL, loss="logistic"):
    scenario = scenario_of(name, loss, epsilon, defenses)
    return replace(scenario, train=replace(scenario.train, domain=Domain.real()))


def test_it_beats_what_the_simplest_far_rows_do():
    scenario = real()
    result = QUICK.run(scenario, seed=0)
    outcome = Evaluator(scenario.train, scenario.problem, scenario.defenses)
    means = [np.asarray(scenario.train.of_class(label).X.mean(axis=0)) for label in (1.0, -1.0)]
    across = (means[1] - means[0]) / np.linalg.norm(means[1] - means[0])
    for radius in (20.0, 100.0):
        for label in (1.0, -1.0):
            naive = Poison(label * radius * across[None, :], [label], [scenario.n_poison])
            assert outcome.score(naive, {"target": scenario.target}).worst("target") <= result.best.worst
    assert result.best.test_error == outcome.score(result.poison, {"target": scenario.target}).error["target"]
    assert result.best.worst > 0.2


@pytest.mark.parametrize("domain", ["box", "counts"])
def test_poison_stays_within_budget_and_domain(domain):
    scenario = scenario_of("counts", epsilon=0.1, defenses=ALL)
    if domain == "box":
        scenario = real()
        scenario = replace(scenario, train=replace(scenario.train, domain=Domain.of("box", scenario.train.X)))
    result = QUICK.run(scenario, seed=0)
    assert not result.poison.relaxed
    assert result.poison.total <= scenario.n_poison
    assert scenario.train.domain.violation(result.poison.X).max() <= 1e-9
    assert sp.issparse(result.poison.X) == scenario.train.is_sparse


def test_four_rows_of_counts_ascend_behind_every_filter():
    scenario = scenario_of("counts", epsilon=0.1, defenses=ALL)
    scenario = replace(scenario, train=replace(scenario.train, domain=Domain.counts(np.inf, scenario.train.d)))
    start = replace(QUICK, steps=0).run(scenario, seed=0)
    result = replace(QUICK, steps=16).run(scenario, seed=0)
    assert result.poison.n_distinct == 4
    assert "rough" not in result.best.label
    scores = Evaluator(scenario.train, scenario.problem, scenario.defenses).score(result.poison, {"t": scenario.target})
    assert scores.error["t"] == pytest.approx(result.best.test_error)
    assert scores.worst("t") > start.best.worst + 0.02


def test_the_same_seed_gives_the_same_poison_for_any_number_of_jobs():
    scenario = scenario_of("counts", "logistic", 0.1, ("l2",))
    scenario = replace(scenario, train=replace(scenario.train, X=scenario.train.X.toarray(), domain=Domain.real()))
    attack = replace(QUICK, chains=2, steps=6, remade=0)
    first, second = (attack.run(scenario, seed=3, n_jobs=jobs).poison for jobs in (1, 2))
    assert (first.X == second.X).all()
    assert (first.count == second.count).all()


@pytest.mark.parametrize("defenses", [(), ("knn",)])
def test_it_plants_behind_one_filter_or_none(defenses):
    scenario = real(defenses=defenses)
    result = replace(QUICK, steps=0, remade=0).run(scenario, seed=0)
    clean = Evaluator(scenario.train, scenario.problem, scenario.defenses).score(None, {"target": scenario.target})
    assert result.best.worst > clean.worst("target") + 0.3


def test_unseen_rows_are_hurt_as_well():
    scenario = real()
    scenario = replace(scenario, target=scenario.train, goal="population")
    result = replace(QUICK, steps=0, remade=0).run(scenario, seed=0)
    test = scenario_of("breast_cancer").target
    assert (
        Evaluator(scenario.train, scenario.problem, scenario.defenses).score(result.poison, {"t": test}).worst("t")
        > 0.3
    )


def test_it_goes_on_from_a_given_poison_where_no_row_is_far():
    scenario = real()
    scenario = replace(scenario, train=replace(scenario.train, domain=Domain.of("box", scenario.train.X)))
    flipped = scenario.train.X[np.argsort(scenario.train.X[:, 0])[:4]]
    start = Poison(flipped, [1.0] * 4, [3] * 4)
    before = Evaluator(scenario.train, scenario.problem, scenario.defenses).score(start, {"t": scenario.target})
    result = replace(QUICK, start=start, steps=25, remade=0, ascents=0).run(scenario, seed=0)
    assert result.best.worst >= before.worst("t")
    with pytest.raises(InputError, match="copies to start from"):
        replace(QUICK, start=Poison(flipped, [1.0] * 4, [9] * 4)).run(scenario)
