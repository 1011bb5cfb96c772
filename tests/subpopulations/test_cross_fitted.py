"""Cross-fitting, weights of rows, and the attack that is chosen by rows that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
from group_cases import blob_parts, blobs, clusters

from linpoison.attacks import Aim
from linpoison.attacks.groups import (
    CrossFit,
    CrossFitted,
    CrossFittedAttack,
    Directed,
    GroupFlips,
    LabelFlip,
    PlantedDecoy,
    Recipe,
    Score,
    most_damaging,
)
from linpoison.attacks.run import Run
from linpoison.core import Dataset, Domain, InputError, Poison
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem
from linpoison.risk import Sample
from linpoison.subpopulations import ProblemTrainer, correctness, measure_damage, three_parts

DOMAIN = Domain.box(-8.0, 8.0, d=2)
LOGISTIC, HINGE = Problem(Logistic(), 0.01), Problem(Hinge(), 0.01)


@pytest.fixture(scope="module")
def case():
    parts = blob_parts(100)
    return parts, clusters().fit(parts.auxiliary).subpopulations()[0]


def flips(case, weight=1.0):
    parts, group = case
    rows = parts.auxiliary.take(group.mask(parts.auxiliary)).dataset()
    return Dataset(rows.X, -rows.y, np.full(rows.n, weight))


def scenario(case, count=20, problem=LOGISTIC, collateral=0.01):
    parts, group = case
    return Directed(None, problem, parts.train, DOMAIN, collateral).scenario(parts.auxiliary, group, count)


def fitted(case, **options):
    parts, group = case
    aim = Aim.of_group(parts.auxiliary.dataset(), group.mask(parts.auxiliary))
    return CrossFit(aim, make_learner(LOGISTIC).fit(parts.train.dataset()), **options)


def test_folds_are_disjoint_cover_all_rows_and_never_judge_their_own_poison(case):
    fit = fitted(case)
    everybody = [{tuple(x) for x in part.X} for part in fit.rows]
    left_out = []
    for fold in range(3):
        known = fit.known(fold)
        for part, rows, own in zip((known.target, known.others), everybody, fit.fold, strict=True):
            assert {tuple(x) for x in part.X} < rows
            assert part.n == (own != fold).sum()
        left_out.append(everybody[0] - {tuple(x) for x in known.target.X})
    assert set.union(*left_out) == everybody[0]
    assert sum(map(len, left_out)) == len(everybody[0])


def test_scores_are_those_of_retraining_by_hand(case):
    parts, group = case
    fit = fitted(case, folds=2, level=0.95)
    models = [make_learner(LOGISTIC).fit(parts.train.dataset().mix(flips(case, weight))) for weight in (1.0, 3.0)]
    right = np.empty((1, parts.auxiliary.n), dtype=bool)
    mask = group.mask(parts.auxiliary)
    for side, fold in zip((mask, ~mask), fit.fold, strict=True):
        for number, model in enumerate(models):
            held = np.flatnonzero(side)[fold == number]
            right[:, held] = correctness([model], parts.auxiliary.take(held))
    damage = measure_damage(correctness([fit.clean], parts.auxiliary), right, mask, 0.9)
    score = fit.score(models)
    assert (score.damage, score.collateral) == (damage.target.value, damage.collateral.value)
    assert score.collateral_high == damage.collateral.high
    nothing = fit.score([fit.clean, fit.clean])
    assert (nothing.damage, nothing.collateral) == (0, 0)
    assert 0 < nothing.collateral_high < 2 / (~mask).sum()


def test_choice_prefers_damage_within_the_limit():
    scores = {"a": Score(0.9, 0.005, 0.02), "b": Score(0.4, 0.002, 0.01), "c": Score(0.4, 0.001, 0.009)}
    assert most_damaging(scores) == "a"
    assert most_damaging(scores, 0.02) == "a"
    assert most_damaging(scores, 0.01) == "c"
    assert most_damaging(scores, 0.001) == "c"
    with pytest.raises(InputError):
        most_damaging({})


def test_shelter_holds_the_others_and_weight_pulls_the_target(case):
    asked = scenario(case)
    clean, aim = make_learner(LOGISTIC).fit(asked.train), asked.aim
    loss = lambda model, rows: float(LOGISTIC.loss.value(model.margins(rows)).mean())  # noqa: E731
    weak, strong, held = (Recipe("opposite", *pair).decoy(asked, clean) for pair in ((1, 0), (4, 0), (4, 4)))
    assert loss(strong, aim.target) > loss(weak, aim.target)
    assert loss(held, aim.others) < loss(strong, aim.others)


@pytest.mark.parametrize("problem", [LOGISTIC, HINGE], ids=["logistic", "hinge"])
def test_attack_outdoes_label_flips_within_budget_and_domain(case, problem):
    parts, group = case
    count = group.size
    trainer = ProblemTrainer(problem)
    clean, mask = trainer.fit(parts.train, 0), group.mask(parts.test)
    surrogate = trainer.fit(parts.train, 0)
    found = []
    for attack in (LabelFlip(), Directed(CrossFittedAttack(), problem, parts.train, DOMAIN, 0.05)):
        poison = attack.poison(parts.auxiliary, group, count, surrogate, 0)
        assert 0 < poison.n <= count
        assert (DOMAIN.violation(poison.X) <= 1e-9).all()
        after = trainer.fit(parts.train.mix(poison), 0)
        found.append(measure_damage(*(correctness([m], parts.test) for m in (clean, after)), mask))
    assert found[1].target.value >= found[0].target.value
    assert found[1].collateral.value <= 0.05


def test_the_limit_binds():
    parts = three_parts(blobs(100, spread=1.6), (0.4, 0.3, 0.3))
    case = parts, clusters().fit(parts.auxiliary).subpopulations()[0]
    attack = CrossFitted({f"{weight:g}": PlantedDecoy(Recipe("opposite", weight, 1.0)) for weight in (0.3, 4.0)})
    asked = scenario(case, 60, collateral=0.04)
    scores = attack.scores(asked, Run(0), attack.fit(asked, 0), attack.ways)
    free, held = most_damaging(scores), most_damaging(scores, 0.04)
    assert scores[free].collateral_high > 0.04 >= scores[held].collateral_high
    assert scores[held].damage < scores[free].damage
    assert attack.run(asked).best.label == held
    assert attack.run(scenario(case, 60, collateral=1.0)).best.label == free


@pytest.mark.parametrize(
    "options",
    [
        {"programs": ("magic",)},
        {"folds": 1},
        {"level": 0.4},
        {"tries": 0},
        {"stretch": 0.5},
        {"weights": (-1.0,)},
        {"reaches": (0.0,)},
        {"portions": (1.5,)},
        {"ways": {"a: b": GroupFlips()}},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(InputError):
        CrossFittedAttack(**options)


def test_a_fold_needs_rows_on_both_sides(case):
    asked = scenario(case)
    few = Aim(asked.target.take([0, 1]), others=asked.aim.others)
    with pytest.raises(InputError, match="3 rows in the subpopulation"):
        CrossFit(few, make_learner(LOGISTIC).fit(asked.train))


def scored(correct, high=0.0):
    correct = np.array(correct, dtype=bool)
    return Score(1 - float(correct.mean()), 0.0, high, correct)


def test_a_plain_candidate_gives_way_to_a_clear_gain_only():
    plain = scored([0] * 5 + [1] * 15)
    luck = scored([0] * 4 + [1, 0, 0] + [1] * 13)  # two rows more, one less
    gain = scored([0] * 9 + [1] * 11)  # four more
    assert not luck.beats(plain)
    assert luck.damage > plain.damage
    assert gain.beats(plain)
    assert most_damaging({"plain": plain, "luck": luck}, 0.01, plain=["plain"]) == "plain"
    assert most_damaging({"plain": plain, "luck": luck}, 0.01) == "luck"
    assert most_damaging({"plain": plain, "luck": luck, "gain": gain}, 0.01, plain=["plain"]) == "gain"
    broken = scored([0] * 5 + [1] * 15, high=0.02)
    assert most_damaging({"plain": broken, "luck": luck}, 0.01, plain=["plain"]) == "luck"


def test_a_portion_turns_the_rows_of_least_margin(case):
    asked = scenario(case)
    clean, rows = make_learner(LOGISTIC).fit(asked.train), asked.target
    margins = clean.margins(rows)
    easy = margins <= np.quantile(margins, 0.3)
    some, whole = (Recipe("opposite", 1.0, 1.0, share).decoy(asked, clean) for share in (0.3, 1.0))
    # the others keep their labels, and so suffer less
    assert some.margins(rows)[~easy].mean() > whole.margins(rows)[~easy].mean()
    assert some.margins(rows)[easy].mean() < margins[easy].mean()


def test_further_ways_are_candidates_as_plain_as_flips(case):
    attack = CrossFittedAttack(programs=(), ways={"other": GroupFlips()})
    asked = scenario(case, 6)
    fit = attack.fit(asked, 0)
    ways = attack.ways_of(asked, fit)
    scores = attack.scores(asked, Run(0), fit, ways)
    assert set(ways) == {"flip", "flip training rows", "other"} == set(attack.plain_of(asked))
    assert scores["other: rows of the aim"] == scores["flip: rows of the aim"]


def test_what_fails_with_all_rows_gives_way_to_the_next_best(case):
    class Shy(GroupFlips):
        """Makes poison of a part of the rows of the aim alone."""

        def _search(self, scenario, run):
            return [] if scenario.target.n == whole.target.n else super()._search(scenario, run)

    whole = scenario(case, 30, collateral=1.0)
    attack = CrossFitted({"shy": Shy(), "training": GroupFlips(LabelFlip(1.0), rows="train")})
    fit = attack.fit(whole, 0)
    assert most_damaging(attack.scores(whole, Run(0), fit, attack.ways)).startswith("shy")
    assert attack.run(whole).best.label == "training: rows of the train"


def test_kkt_rows_of_counts_are_whole_and_reach_the_decoy():
    rng = np.random.default_rng(0)
    X = rng.poisson([[2.0, 6.0, 1.0, 3.0]], size=(240, 4)).astype(float)
    whole = Sample(X, np.where(X @ [1.0, -0.5, 1.0, 0.2] > 1, 1.0, -1.0))
    parts = three_parts(whole, (0.4, 0.4, 0.2), 0)
    group = clusters().fit(parts.auxiliary).subpopulations()[0]
    asked = Directed(None, HINGE, parts.train, Domain.counts(30, d=4)).scenario(parts.auxiliary, group, 40)
    learner, attack = make_learner(HINGE), PlantedDecoy(Recipe("opposite", 2.0, 1.0), 3.0)
    clean = learner.fit(asked.train)
    decoy = attack.recipe.decoy(asked, clean)
    poison: Poison = attack.run(asked).poison
    assert 0 < poison.total <= 40
    assert (np.rint(poison.X) == poison.X).all()
    assert (poison.X >= 0).all()
    found = learner.fit(asked.train.mix(poison.as_dataset()))
    assert np.linalg.norm(found.vector - decoy.vector) < 0.5 * np.linalg.norm(clean.vector - decoy.vector)
