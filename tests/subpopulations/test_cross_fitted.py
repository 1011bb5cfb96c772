"""Cross-fitting, weights of rows, and the attack that is chosen by rows that it has not seen."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp
from group_cases import blob_parts, blobs, clusters
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from linpoison.core import Dataset, Domain, InputError
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem
from linpoison.optimality.stationarity import Stationarity
from linpoison.subpopulations import (
    Aim,
    CrossFit,
    CrossFittedAttack,
    LabelFlip,
    Population,
    ProblemTrainer,
    Recipe,
    Score,
    climb_rows,
    correctness,
    measure_damage,
    most_damaging,
    three_parts,
    weigh_rows,
)
from linpoison.subpopulations.cross_fitted import _Plan
from linpoison.subpopulations.row_ascent import row_gains
from linpoison.subpopulations.row_weights import at_risk, below_simplex

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


def by_cvxpy(decoy, train, problem, rows, budget):
    """The same program with a second solver: its least residual."""
    condition = Stationarity(train, problem, decoy)
    kink = condition.kink_tolerance if problem.loss.kink is not None else 0.0
    pull = -problem.loss.derivative(decoy.margins(rows) - kink)
    c0, c1 = condition.penalty
    columns = np.column_stack([c1 - p * y * np.append(x, 1) for p, y, x in zip(pull, rows.y, rows.X, strict=True)])
    c, a = cp.Variable(rows.n, nonneg=True), cp.Variable(max(int(condition.on_kink.sum()), 1), nonneg=True)
    kinks = condition.kink_matrix.toarray() @ a if condition.on_kink.any() else 0
    residual = condition.constant + c0 + columns @ c / train.total + kinks
    problem_ = cp.Problem(cp.Minimize(cp.norm(residual)), [cp.sum(c) <= budget, a <= 1])
    return problem_.solve(solver="CLARABEL")


@pytest.mark.parametrize("problem", [LOGISTIC, HINGE], ids=["logistic", "hinge"])
@pytest.mark.parametrize("budget", [5, 40])
def test_weights_agree_with_a_second_solver(case, problem, budget):
    train, rows = case[0].train.dataset(), flips(case)
    decoy = make_learner(problem).fit(train.mix(flips(case, 3.0)))
    ours = weigh_rows(decoy, train, problem, rows, budget, tol=1e-8)
    best = by_cvxpy(decoy, train, problem, rows, budget)
    assert ours.residual <= best * (1 + 1e-3) + 1e-6
    assert ours.residual >= best - 1e-6
    assert ours.poison.total <= budget * (1 + 1e-9)
    nothing = np.linalg.norm(problem.gradient(decoy, train))
    assert ours.residual < 0.9 * nothing


def test_label_flips_are_a_point_of_the_set(case):
    train, rows = case[0].train.dataset(), flips(case)
    decoy = make_learner(LOGISTIC).fit(train.mix(rows))
    found = weigh_rows(decoy, train, LOGISTIC, rows, rows.n, tol=1e-9)
    assert found.residual < 1e-5
    learned = make_learner(LOGISTIC).fit(train.mix(found.poison.as_dataset()))
    assert learned.distance(decoy) < 1e-2
    assert make_learner(LOGISTIC).fit(train).distance(decoy) > 0.1


def test_sparse_rows_get_the_same_weights(case):
    train, rows = case[0].train.dataset(), flips(case)
    decoy = make_learner(HINGE).fit(train.mix(flips(case, 2.0)))
    dense = weigh_rows(decoy, train, HINGE, rows, 10, tol=1e-8)
    thin = Dataset(sp.csr_array(train.X), train.y), Dataset(sp.csr_array(rows.X), rows.y)
    assert weigh_rows(decoy, thin[0], HINGE, thin[1], 10, tol=1e-8).residual == pytest.approx(dense.residual, rel=1e-3)


def test_rows_without_pull_are_refused(case):
    train = case[0].train.dataset()
    clean = make_learner(HINGE).fit(train)
    far = Dataset(100 * clean.coef[None, :] / (clean.coef @ clean.coef), [1.0])
    with pytest.raises(InputError, match="candidates that pull"):
        weigh_rows(clean, train, HINGE, far, 3)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_projection_below_the_simplex(values):
    point = np.array(values)
    near = below_simplex(point)
    assert (near >= 0).all()
    assert near.sum() <= 1 + 1e-9
    for other in [np.zeros(point.size), *np.eye(point.size), np.full(point.size, 1 / point.size)]:
        assert (point - near) @ (other - near) <= 1e-9  # the variational inequality of a projection


def test_rows_at_risk_are_those_that_lose_most_margin(case):
    train = case[0].train.dataset()
    clean, decoy = (make_learner(LOGISTIC).fit(rows) for rows in (train, train.mix(flips(case, 4.0))))
    loss = lambda rows: clean.margins(rows) - decoy.margins(rows)  # noqa: E731
    risky = at_risk(clean, decoy, train, 7)
    assert risky.n == 7
    assert loss(risky).min() >= np.sort(loss(train))[-7]


def test_folds_are_disjoint_cover_all_rows_and_never_judge_their_own_poison(case):
    parts, group = case
    fit = CrossFit(parts.train, parts.auxiliary, group, LOGISTIC, folds=3)
    assert (fit.parts().sum(axis=0) == 1).all()
    seen = []

    def build(rows):
        seen.append({tuple(x) for x in rows.X})
        return LabelFlip().poison(rows, group, 10, ProblemTrainer(LOGISTIC).fit(parts.train, 0), 0)

    fit.score(build)
    everybody = {tuple(x) for x in parts.auxiliary.X}
    for known, (_, held) in zip(seen, fit.splits, strict=True):
        assert known == everybody - {tuple(x) for x in parts.auxiliary.X[held]}


def test_scores_are_those_of_retraining_by_hand(case):
    parts, group = case
    fit = CrossFit(parts.train, parts.auxiliary, group, LOGISTIC)
    poison = Population(flips(case).X, flips(case).y)
    trainer = ProblemTrainer(LOGISTIC)
    models = [trainer.fit(rows, 0) for rows in (parts.train, parts.train.mix(poison))]
    damage = measure_damage(*(correctness([m], parts.auxiliary) for m in models), fit.mask, 0.9)
    score = fit.score(lambda rows: poison)
    assert (score.damage, score.collateral) == (damage.target.value, damage.collateral.value)
    assert score.collateral_high == damage.collateral.high
    nothing = fit.score(lambda rows: poison.take([]))
    assert (nothing.damage, nothing.collateral) == (0, 0)
    assert 0 < nothing.collateral_high < 2 / (~fit.mask).sum()


def test_choice_prefers_damage_within_the_limit():
    scores = {"a": Score(0.9, 0.005, 0.02), "b": Score(0.4, 0.002, 0.01), "c": Score(0.4, 0.001, 0.009)}
    assert most_damaging(scores) == "a"
    assert most_damaging(scores, 0.02) == "a"
    assert most_damaging(scores, 0.01) == "c"
    assert most_damaging(scores, 0.001) == "c"
    with pytest.raises(InputError):
        most_damaging({})


def test_shelter_holds_the_others_and_weight_pulls_the_target(case):
    parts, group = case
    plan = _Plan(CrossFittedAttack(LOGISTIC, parts.train, DOMAIN), group, 20, 0)
    mask, rows = group.mask(parts.auxiliary), parts.auxiliary.dataset()
    loss = lambda model, side: float(LOGISTIC.loss.value(model.margins(rows.take(side))).mean())  # noqa: E731
    weak, strong, held = (plan.decoy(Recipe("opposite", *pair), parts.auxiliary) for pair in ((1, 0), (4, 0), (4, 4)))
    assert loss(strong, mask) > loss(weak, mask)
    assert loss(held, ~mask) < loss(strong, ~mask)


def test_climbing_takes_the_rows_of_greatest_gain_and_outdoes_label_flips(case):
    parts, group = case
    train, aim = parts.train.dataset(), Aim.of(parts.auxiliary.dataset(), group.mask(parts.auxiliary))
    rows = flips(case)
    clean = make_learner(LOGISTIC).fit(train)
    first = climb_rows(train, LOGISTIC, aim, rows, 5, rounds=1)
    gains = row_gains(clean, train, LOGISTIC, aim, rows, 1.0)
    assert first.total == 5
    assert {tuple(x) for x in first.X} == {tuple(x) for x in rows.X[np.argsort(-gains)[:5]]}
    best = climb_rows(train, LOGISTIC, aim, rows, rows.n // 2, rounds=10)
    drawn = rows.take(np.random.default_rng(0).permutation(rows.n)[: rows.n // 2])
    learner = make_learner(LOGISTIC)
    models = [learner.fit(train.mix(extra)) for extra in (best.as_dataset(), drawn)]
    losses = [expit(-model.margins(aim.target)).mean() for model in models]
    assert losses[0] > losses[1]


@pytest.mark.parametrize("problem", [LOGISTIC, Problem(Logistic(), 0.05, penalize_intercept=False)])
def test_gains_are_the_slopes_of_the_learned_objective(case, problem):
    parts, group = case
    train, aim = parts.train.dataset(), Aim.of(parts.auxiliary.dataset(), group.mask(parts.auxiliary))
    rows, learner, weight = flips(case).take(np.arange(3)), make_learner(problem), 0.02
    clean = learner.fit(train)
    gains = row_gains(clean, train, problem, aim, rows, 2.0) / train.n
    worth = []
    for row in range(3):
        model = learner.fit(train.mix(Dataset(rows.X[[row]], rows.y[[row]], [weight])))
        errors = [expit(-model.margins(part)).mean() for part in (aim.target, aim.others)]
        worth.append((errors[0] - 2 * errors[1]) / weight)
    # the regulariser's share of a row is the same for all rows, so that differences are compared
    assert np.diff(worth) == pytest.approx(np.diff(gains), rel=0.02)
    assert np.abs(np.diff(gains)).max() > 1e-5


@pytest.mark.parametrize("problem", [LOGISTIC, HINGE], ids=["logistic", "hinge"])
def test_attack_outdoes_label_flips_within_budget_and_domain(case, problem):
    parts, group = case
    count = group.size
    trainer = ProblemTrainer(problem)
    clean, mask = trainer.fit(parts.train, 0), group.mask(parts.test)
    surrogate = trainer.fit(parts.train, 0)
    found = []
    for attack in (LabelFlip(), CrossFittedAttack(problem, parts.train, DOMAIN, collateral=0.05)):
        poison = attack.poison(parts.auxiliary, group, count, surrogate, 0)
        assert 0 < poison.n <= count
        assert (DOMAIN.violation(poison.X) <= 1e-9).all()
        after = trainer.fit(parts.train.mix(poison), 0)
        found.append(measure_damage(*(correctness([m], parts.test) for m in (clean, after)), mask))
    assert found[1].target.value >= found[0].target.value
    assert found[1].collateral.value <= 0.05


def test_the_limit_binds():
    parts = three_parts(blobs(100, spread=1.6), (0.4, 0.3, 0.3))
    group = clusters().fit(parts.auxiliary).subpopulations()[0]
    surrogate = ProblemTrainer(LOGISTIC).fit(parts.train, 0)
    attack = CrossFittedAttack(LOGISTIC, parts.train, DOMAIN, programs=("climb",), costs=(0.0, 10.0), shares=(0.1, 1.0))
    _, scores = attack.candidates(parts.auxiliary, group, 60, surrogate, 0)
    free, held = most_damaging(scores), most_damaging(scores, 0.04)
    assert scores[free].collateral_high > 0.04 >= scores[held].collateral_high
    assert scores[held].damage < scores[free].damage


@pytest.mark.parametrize(
    "options", [{"programs": ("magic",)}, {"collateral": 2}, {"tries": 0}, {"stretch": 0.5}, {"weights": (-1.0,)}]
)
def test_options_out_of_range(case, options):
    with pytest.raises(InputError):
        CrossFittedAttack(LOGISTIC, case[0].train, **options)


def test_a_fold_needs_rows_on_both_sides(case):
    parts, group = case
    few = parts.auxiliary.take(np.flatnonzero(~group.mask(parts.auxiliary)))
    with pytest.raises(InputError, match="in the subpopulation"):
        CrossFit(parts.train, few, group, LOGISTIC)


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
    parts, group = case
    attack = CrossFittedAttack(LOGISTIC, parts.train, DOMAIN)
    plan = _Plan(attack, group, 10, 0)
    rows = parts.auxiliary.take(group.mask(parts.auxiliary)).dataset()
    clean = plan.clean.margins(rows)
    easy = clean <= np.quantile(clean, 0.3)
    some, whole = (plan.decoy(Recipe("opposite", 1.0, 1.0, share), parts.auxiliary) for share in (0.3, 1.0))
    # the others keep their labels, and so suffer less
    assert some.margins(rows)[~easy].mean() > whole.margins(rows)[~easy].mean()
    assert some.margins(rows)[easy].mean() < clean[easy].mean()


def test_other_attacks_are_candidates(case):
    parts, group = case
    surrogate = ProblemTrainer(LOGISTIC).fit(parts.train, 0)

    class Other:
        def poison(self, auxiliary, group, count, surrogate, seed):
            return LabelFlip().poison(auxiliary, group, count, surrogate, seed)

    attack = CrossFittedAttack(LOGISTIC, parts.train, DOMAIN, programs=("climb",), others={"other": Other()})
    builders, scores = attack.candidates(parts.auxiliary, group, 6, surrogate, 0)
    assert scores["other"] == scores["flip"]
    assert builders["other"](parts.auxiliary).n == 6
    same = {"other": scores["flip"], "flip training rows": scores["flip"]}
    assert attack.choose(same) in same


def test_kkt_rows_of_counts_are_whole_and_reach_the_decoy():
    rng = np.random.default_rng(0)
    X = rng.poisson([[2.0, 6.0, 1.0, 3.0]], size=(240, 4)).astype(float)
    whole = Population(X, np.where(X @ [1.0, -0.5, 1.0, 0.2] > 1, 1.0, -1.0))
    parts = three_parts(whole, (0.4, 0.4, 0.2), 0)
    group = clusters().fit(parts.auxiliary).subpopulations()[0]
    domain = Domain.counts(30, d=4)
    plan = _Plan(CrossFittedAttack(HINGE, parts.train, domain), group, 40, 0)
    decoy = plan.decoy(Recipe("opposite", 2.0, 1.0), parts.auxiliary)
    poison = plan._kkt(decoy, parts.auxiliary, 3.0)
    assert 0 < poison.total <= 40
    assert (np.rint(poison.X) == poison.X).all()
    assert (poison.X >= 0).all()
    learner = make_learner(HINGE)
    clean, found = (learner.fit(rows) for rows in (plan.train, plan.train.mix(poison.as_dataset())))
    assert np.linalg.norm(found.vector - decoy.vector) < 0.5 * np.linalg.norm(clean.vector - decoy.vector)


@pytest.mark.parametrize("options", [{"reaches": (0.0,)}, {"portions": (1.5,)}, {"shares": (0.0,)}])
def test_shares_and_reaches_out_of_range(case, options):
    with pytest.raises(InputError):
        CrossFittedAttack(LOGISTIC, case[0].train, **options)
