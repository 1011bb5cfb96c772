import tracemalloc
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from outer_cases import (
    CASES,
    INTERCEPTS,
    LOSSES,
    SCALINGS,
    advised_mixtures,
    make_claim,
    membership,
    random_mixtures,
    retrained,
    true_point,
)

from linpoison.certificates.certificate import Certificate
from linpoison.certificates.claim import Claim
from linpoison.certificates.clean.anchor import anchor, clean_vector
from linpoison.certificates.clean.losses import soft_hinge
from linpoison.certificates.clean.rows import signed_scores
from linpoison.certificates.clean.screen import screen
from linpoison.certificates.outer import bound as outer_bound
from linpoison.certificates.outer import conic as outer_conic
from linpoison.certificates.outer import known as outer_known
from linpoison.certificates.outer import margin as outer_set
from linpoison.certificates.outer.bound import evaluate
from linpoison.certificates.outer.conic import make_program
from linpoison.certificates.outer.margin import certify_margin, recompute_margin
from linpoison.core import CertificateInvalid, Dataset, InputError
from linpoison.core.errors import CapabilityError
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Problem, Squared
from linpoison.sets import Ball, ByLabel, Halfspace


def worst_of(claim, mixtures):
    return np.max([retrained(claim, data) for data in mixtures], axis=0)


@pytest.mark.parametrize(("loss", "intercept", "scaling"), CASES)
def test_no_poison_exceeds_the_bound(loss, intercept, scaling):
    claim = make_claim(loss, intercept, scaling, slabs=scaling == "sum")
    certificate = certify_margin(claim, method="conic", rounds=1)
    rng = np.random.default_rng(1)
    certificate.check_attack(worst_of(claim, random_mixtures(claim, rng, 12)))
    certificate.check_attack(worst_of(claim, advised_mixtures(claim)))
    assert np.isfinite(certificate.bound).all()
    assert certificate.info["failed"] == 0


@pytest.mark.parametrize(("loss", "intercept", "scaling"), CASES)
def test_poisoned_models_satisfy_every_constraint(loss, intercept, scaling):
    claim = make_claim(loss, intercept, scaling, epsilon=0.1)
    screening = screen(claim, anchor(claim))
    for data in random_mixtures(claim, np.random.default_rng(2), 4):
        assert membership(claim, screening, true_point(claim, data)) < 2e-5


@pytest.mark.parametrize(("loss", "intercept", "scaling"), CASES)
def test_every_witness_gives_a_bound(loss, intercept, scaling):
    claim = make_claim(loss, intercept, scaling, epsilon=0.1)
    rng = np.random.default_rng(3)
    worst = worst_of(claim, random_mixtures(claim, rng, 6))
    v, a0 = clean_vector(claim), anchor(claim)
    n, d, rows = claim.train.n, claim.train.d, claim.rows.n
    finite = 0
    for trial in range(30):
        s = np.exp(rng.normal(size=rows) + 1)
        p = -s[:, None] * (v + rng.normal(size=(rows, d + 1)) * rng.choice([0.0, 0.1, 0.5]))
        b = a0 + rng.normal(size=(rows, n)) * rng.choice([0.0, 0.2])
        a = a0 if trial % 2 else np.clip(a0 + 0.1 * rng.normal(size=n), 0, 1)
        extra = {key: 0.02 * rng.normal(size=(rows, n)) * rng.choice([0.0, 1.0]) for key in ("gam", "del")}
        extra |= {"tau": np.exp(rng.normal(size=rows)), "eta": rng.random((rows, 2))} if trial % 3 else {}
        extra |= {"h": rng.normal(size=(rows, d + 1)) * rng.choice([0.1, 1.0])} if trial % 3 else {}
        witness = {"a0": a, "p": p, "s": s, "b": b, "r": rng.normal(size=(rows, d + 1)) * rng.choice([0, 0.3]), **extra}
        screening = screen(claim, a)
        rest = {key: witness[key] for key in ("tau", "h", "eta") if key in witness}
        alone = evaluate(claim, screening, p, s, b, witness["r"], witness["gam"], witness["del"], **rest)
        assert (alone >= worst - 1e-6).all()
        assert (recompute_margin(claim, witness) >= worst - 1e-6).all()
        finite += np.isfinite(alone).sum()
    assert finite > 60


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("intercept", ["penalised", "none"])
def test_without_budget_the_clean_score_remains(loss, intercept):
    claim = make_claim(loss, intercept, epsilon=0.0)
    clean = retrained(claim, claim.train)
    bound = certify_margin(claim, method="conic").bound
    assert bound == pytest.approx(clean, abs=1e-6)


def test_without_budget_a_free_intercept_stays_near():
    claim = make_claim("logistic", "free", epsilon=0.0)
    excess = certify_margin(claim, method="conic").bound - retrained(claim, claim.train)
    assert (excess > -1e-6).all()
    assert (excess < 2e-3).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_each_tightening_tightens(loss):
    claim = make_claim(loss, epsilon=0.02)
    bare = certify_margin(claim, method="conic", cap=False).bound
    capped = certify_margin(claim, method="conic", tighten=False).bound
    tight = certify_margin(claim, method="conic").bound
    assert (capped <= bare + 1e-5).all()
    assert (tight <= capped + 1e-5).all()
    assert capped.mean() < bare.mean() - 1e-2
    assert tight.mean() < capped.mean()


def test_the_dual_value_is_the_value_of_the_program():
    claim = make_claim(epsilon=0.1)
    for screening in (screen(claim, anchor(claim)), screen(claim, anchor(claim)).bare()):
        program = outer_conic.make_program(claim, screening)
        for j in range(3):
            row = claim.about(claim.rows.take([j]))
            goal = row.rows.y[0] * np.append(row.rows.X[0], 1.0)
            (found,) = program.multipliers(goal)
            value = evaluate(row, screening, **found)
            assert value[0] == pytest.approx(-program.answer.value, abs=1e-5)


def test_the_rows_near_the_kink_give_the_value_of_all(monkeypatch):
    claim = make_claim(epsilon=0.1)
    screening = screen(claim, anchor(claim)).without_margins()
    whole = outer_conic.make_program(claim, screening)
    monkeypatch.setattr(outer_conic, "WHOLE", 0)
    monkeypatch.setattr(outer_conic, "NEAR", 0.01)
    part = outer_conic.make_program(claim, screening)
    begun = (np.abs(part.seen[0][1].margins - 1) < 0.01).sum()
    for j in range(3):
        row = claim.about(claim.rows.take([j]))
        goal = row.rows.y[0] * np.append(row.rows.X[0], 1.0)
        bounds = [evaluate(row, screening, **program.multipliers(goal)[0])[0] for program in (whole, part)]
        assert bounds[1] == pytest.approx(bounds[0], abs=1e-5)
        assert part.answer.value == pytest.approx(whole.answer.value, abs=1e-5)
    assert begun < part.bent.sum() < claim.train.n
    assert begun < part.loose.sum() < claim.train.n
    assert (part.bent != part.loose).any()
    assert part.rising.any()
    assert part.below.any()
    goals = claim.rows.y[:, None] * np.column_stack([claim.rows.X, np.ones(claim.rows.n)])
    joints = [program.joint(goals, np.full(claim.rows.n, 3.0), lambda mu: None) for program in (whole, part)]
    share, free = np.full(claim.rows.n, 1 / claim.rows.n), np.full(claim.rows.n, -1)
    roots = [joint.relaxed(free, share) for joint in joints]
    free[0] = 1
    nodes = [joint.relaxed(free, share, root) for joint, root in zip(joints, roots, strict=True)]
    for every, some in (roots, nodes):
        assert some.value == pytest.approx(every.value, abs=1e-4)
    assert (part.bent != part.loose).any()


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("power", [15, -15])
def test_bounds_do_not_depend_on_the_unit_of_the_columns(loss, power):
    """Columns in another unit, with the regulariser in its square, are the same problem."""
    claim, unit = make_claim(loss, "none"), 2.0**power
    train, rows = claim.train, claim.rows
    problem = replace(claim.problem, reg=claim.problem.reg * unit**2)
    sets = ByLabel({label: Ball(unit * part.center, unit * part.radius) for label, part in claim.sets.items()})
    scaled = Claim(replace(train, X=unit * train.X), problem, sets, claim.epsilon, replace(rows, X=unit * rows.X))
    found, same = certify_margin(claim), certify_margin(scaled)
    np.testing.assert_allclose(same.bound, found.bound, atol=1e-4)
    assert same.info["failed"] == 0


@pytest.mark.parametrize("whole", [80, 0])
def test_rows_are_decided_by_what_is_known_of_others(whole, monkeypatch):
    """Bounds and models of the set that programs found for some rows speak of others, and never wrongly."""
    monkeypatch.setattr(outer_known, "CONIC_ENTRIES", 10)
    monkeypatch.setattr(outer_conic, "WHOLE", whole)
    claim = make_claim(epsilon=0.05)
    rng = np.random.default_rng(3)
    X = np.repeat(claim.rows.X, 6, axis=0) + 0.05 * rng.normal(size=(6 * claim.rows.n, claim.train.d))
    claim = claim.about(Dataset(X, np.repeat(claim.rows.y, 6)))
    asked = []
    answers = outer_conic.HingeProgram.multipliers
    monkeypatch.setattr(
        outer_conic.HingeProgram,
        "multipliers",
        lambda it, goal, brisk=False: asked.append(goal) or answers(it, goal, brisk),
    )
    every = certify_margin(claim)
    spent = len(asked)
    known = outer_known.OuterSets()
    found = certify_margin(claim, decide=True, known=known)
    assert len(asked) - spent < spent / 2
    assert ((found.bound < 0) == (every.bound < 0)).all()
    assert 0 < (every.bound < 0).sum() < claim.rows.n
    assert (found.verify() == found.bound).all()
    assert (found.bound >= every.bound - 1e-4).all()


def test_the_outer_set_is_loose_but_not_idle_on_one_point():
    """One clean row a class in 1-D: the bound is finite, between the attack and the ball."""
    train = Dataset([[-1.0], [1.0]], [-1, 1])
    sets = ByLabel({1: Ball([1.0], 0.5), -1: Ball([-1.0], 0.5)})
    claim = Claim(train, Problem(Hinge(), 0.5, fit_intercept=False), sets, 0.2, Dataset([[1.0]], [1]))
    attacked = worst_of(claim, random_mixtures(claim, np.random.default_rng(0), 40))
    bound = certify_margin(claim, method="conic").bound
    assert bound[0] >= attacked[0] - 1e-7
    assert bound[0] == pytest.approx(attacked[0], abs=0.15)


def test_sparse_rows_and_batches_give_the_same(monkeypatch):
    claim = make_claim("hinge", epsilon=0.05)
    dense = certify_margin(claim, method="conic")
    sparse = replace(
        claim,
        train=replace(claim.train, X=sp.csr_array(claim.train.X)),
        rows=replace(claim.rows, X=sp.csr_array(claim.rows.X)),
    )
    assert recompute_margin(sparse, dense.witness) == pytest.approx(dense.bound, abs=1e-8)
    assert certify_margin(sparse, method="conic").bound == pytest.approx(dense.bound, abs=1e-5)
    monkeypatch.setattr(outer_bound, "ENTRIES", 30)
    assert recompute_margin(claim, dense.witness) == pytest.approx(dense.bound, abs=1e-8)


def test_round_trip_and_tampering(tmp_path):
    certificate = certify_margin(make_claim("logistic", epsilon=0.02), method="conic", rounds=1)
    certificate.save(tmp_path / "one")
    read = Certificate.load(tmp_path / "one", certificate.claim.train, certificate.claim.rows)
    assert (read.verify() == certificate.bound).all()
    for key in ("p", "s", "b", "r", "a0"):
        worse = dict(certificate.witness)
        worse[key] = worse[key] * 0.9 + 0.01
        with pytest.raises(CertificateInvalid):
            replace(certificate, witness=worse).verify()
    with pytest.raises(CertificateInvalid):
        replace(certificate, bound=certificate.bound - 1e-4).verify()


def test_a_witness_of_nothing_proves_nothing_false():
    claim = make_claim(epsilon=0.05)
    made = certify_margin(claim, method="conic").witness
    ball = recompute_margin(claim, {"a0": made["a0"]})
    assert np.isfinite(ball).all()
    for key in ("p", "s", "b", "r", "gam", "del", "tau", "h", "eta"):
        broken = {**made, key: np.full_like(made[key], np.nan)}
        assert (recompute_margin(claim, broken) == ball).all()
    assert np.isinf(recompute_margin(claim, {})).all()
    assert np.isinf(recompute_margin(claim, {"a0": np.full(claim.train.n, np.nan)})).all()
    with pytest.raises(InputError, match="p of shape"):
        recompute_margin(claim, {**made, "p": np.zeros((2, 2))})


def test_a_failing_solver_certifies_nothing_by_itself(monkeypatch):
    whole = certify_margin(make_claim(epsilon=0.05), method="conic").bound
    monkeypatch.setattr(outer_conic.Cones, "solve", lambda *_args: None)
    for loss, intercept in product(("hinge", "logistic"), INTERCEPTS):
        claim = make_claim(loss, intercept, epsilon=0.05)
        certificate = certify_margin(claim, method="conic")
        assert certificate.info["failed"] == claim.rows.n
        certificate.check_attack(worst_of(claim, random_mixtures(claim, np.random.default_rng(0), 6)))
        assert np.isfinite(certificate.bound).all()
        if (loss, intercept) == ("hinge", "penalised"):
            assert (certificate.bound >= whole - 1e-6).all()


def test_unbounded_sets_prove_nothing():
    claim = make_claim()
    half = ByLabel({k: Halfspace([1.0, 0.0, 0.0], 5.0) for k in (1, -1)})
    certificate = certify_margin(replace(claim, sets=half), method="conic")
    assert np.isinf(certificate.bound).all()
    assert certificate.info["without_bound"] == claim.rows.n


def test_what_is_refused():
    claim = make_claim()
    with pytest.raises(CapabilityError, match="squared"):
        certify_margin(replace(claim, problem=Problem(Squared(), 0.1)))
    with pytest.raises(InputError, match="method"):
        certify_margin(claim, method="guess")
    with pytest.raises(InputError, match="rows to certify"):
        certify_margin(replace(claim, rows=None))
    with pytest.raises(InputError, match="rounds"):
        certify_margin(claim, rounds=0)


def test_more_rounds_and_the_choice_of_method(monkeypatch):
    claim = make_claim("logistic", epsilon=0.3)
    one, three = (certify_margin(claim, method="conic", rounds=rounds, tighten=False).bound for rounds in (1, 3))
    assert (three <= one + 1e-9).all()
    assert (three < one - 1e-6).any()
    assert certify_margin(claim, method="auto").info["method"] == "conic"
    monkeypatch.setattr(outer_known, "CONIC_ENTRIES", 10)
    monkeypatch.setattr(outer_set, "OPEN_ENTRIES", 10)
    monkeypatch.setattr(outer_set, "_fast", lambda claim, refine: {"a0": anchor(claim)})
    assert certify_margin(claim, method="auto").info["method"] == "fast"


def test_clean_rows_outside_the_sets_are_told():
    claim = make_claim()
    assert any("not all lie inside" in words for words in certify_margin(claim).assumptions) == (
        not claim.inside().all()
    )
    small = ByLabel({k: Ball(part.center, 0.4) for k, part in claim.sets.items()})
    assert any("not all lie inside" in words for words in certify_margin(replace(claim, sets=small)).assumptions)


@pytest.mark.parametrize("loss", LOSSES)
def test_screening_holds_for_any_dual_point(loss):
    claim = make_claim(loss, epsilon=0.05)
    rng = np.random.default_rng(5)
    models = [make_learner(claim.problem).fit(data).vector for data in random_mixtures(claim, rng, 10)]
    for noise in (0.0, 0.05):
        screening = screen(claim, anchor(claim) + noise * rng.normal(size=claim.train.n))
        for v in models:
            assert np.linalg.norm(v - screening.center) <= screening.radius + 1e-7
            margins = signed_scores(claim, v)
            assert (margins >= screening.lower - 1e-7).all()
            assert (margins <= screening.upper + 1e-7).all()
    assert screen(claim, anchor(claim)).slack < 1e-6


@pytest.mark.parametrize("loss", LOSSES)
def test_conjugates_and_prices(loss):
    form = soft_hinge(LOSSES[loss])
    m, a = np.linspace(-6, 8, 4001), np.linspace(0, 1, 21)
    phi, psi = LOSSES[loss].value(m), LOSSES[loss].pull(m)
    sup = (-a[:, None] * m - phi).max(axis=1)
    assert form.conjugate(a) == pytest.approx(sup, abs=4e-3)
    assert form.gaps(m, np.full_like(m, 0.3)) == pytest.approx(
        phi + form.conjugate(np.array([0.3])) + 0.3 * m, abs=1e-9
    )
    for s, height in ((2.0, -1.0), (0.5, 1.5), (1.0, 0.0), (3.0, -20.0)):
        best = max(0.0, (psi * (m * s + height)).max())
        assert form.price(np.array([height]), np.array([s]))[0] == pytest.approx(best, abs=4e-3 * s)
    assert form.price(np.array([1.5, -1.0]), np.zeros(2)) == pytest.approx([1.5, 0.0])


def linear_claim(scaling="mean", intercept="penalised"):
    """So strong a regulariser that every hinge is active: parameters are linear in the poison, and the bound exact."""
    claim = make_claim("hinge", intercept, scaling, epsilon=0.3, reg=30.0)
    return claim.about(claim.rows.mix(claim.train.take(range(6))))


def linear_attack(claim):
    """What the best single point does to each row, after retraining."""
    worst = []
    for z, k in zip(claim.rows.X, claim.rows.y, strict=True):
        values = []
        for label in (1.0, -1.0):
            x = claim.sets[label].support(-k * label * z)
            weight = claim.epsilon * claim.train.total
            data = claim.train.mix(Dataset(x[None, :], [label], [weight]))
            values.append(-k * make_learner(claim.problem).fit(data).decision_function(z[None, :])[0])
        worst.append(max(values))
    return np.array(worst)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("intercept", ["penalised", "none"])
def test_where_every_hinge_is_active_the_bound_is_attained(scaling, intercept):
    claim = linear_claim(scaling, intercept)
    assert certify_margin(claim, method="conic").bound == pytest.approx(linear_attack(claim), abs=1e-5)


def _opposite(original):
    return lambda self, label, q: original(self, label, -q)


MUTATIONS = {
    "sign of u": lambda patch: patch.setattr(outer_bound._Batch, "_support", _opposite(outer_bound._Batch._support)),
    "twice n": lambda patch: patch.setattr(Claim, "mass", property(lambda self: 2 * self.train.total)),
    "no 1 + eps": lambda patch: patch.setattr(Claim, "reg", property(lambda self: self.problem.reg)),
    "1 + 2 eps": lambda patch: patch.setattr(
        Claim, "reg", property(lambda self: (1 + 2 * self.epsilon) * self.problem.reg)
    ),
    "no class -1": lambda patch: patch.setattr(outer_bound, "LABELS", (1,)),
    "no class +1": lambda patch: patch.setattr(outer_bound, "LABELS", (-1,)),
    "no weights": lambda patch: patch.setattr(
        outer_bound, "signed_scores", lambda claim, v: signed_scores(claim, v) / claim.train.weight
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_defect_would_be_seen(name, monkeypatch):
    claim = linear_claim()
    attacked = linear_attack(claim)
    MUTATIONS[name](monkeypatch)
    assert (certify_margin(claim, method="conic").bound < attacked - 1e-4).any()


def test_dropping_the_kink_would_be_seen(monkeypatch):
    """Clean rows on the kink whose multiplier is taken for 0 or 1, as the clean margins have them."""
    claim = make_claim(epsilon=1e-3)

    def careless(claim, a0):
        screening = screen(claim, a0)
        margins = signed_scores(claim, screening.center)
        return replace(screening, lower=margins + 1e-6, upper=margins + 1e-6)

    point = true_point(claim, next(random_mixtures(claim, np.random.default_rng(2), 1)))
    assert membership(claim, screen(claim, anchor(claim)), point) < 1e-5
    assert membership(claim, careless(claim, anchor(claim)), point) > 1e-3
    assert certify_margin(claim, method="conic").info["failed"] == 0
    monkeypatch.setattr(outer_set, "screen", careless)
    monkeypatch.setattr(outer_known, "screen", careless)
    assert (
        certify_margin(make_claim(epsilon=1e-3), method="conic").info["failed"] == claim.rows.n
    )  # no model at all would be left


@pytest.mark.parametrize("loss", LOSSES)
def test_other_defects_would_be_seen_by_membership(loss, monkeypatch):
    claim = make_claim(loss, epsilon=0.1)
    screening = screen(claim, anchor(claim))
    v, a, pulls, masses = true_point(claim, next(random_mixtures(claim, np.random.default_rng(2), 1)))
    assert membership(claim, screening, (v, a, pulls, masses)) < 2e-5
    assert membership(claim, screening, (-v, a, pulls, masses)) > 1e-2
    assert membership(claim, screening, (v, 0.9 * a, pulls, masses)) > 1e-3
    monkeypatch.setattr(Claim, "reg", property(lambda self: self.problem.reg))
    assert membership(claim, screening, (v, a, pulls, masses)) > 1e-3


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_sharpened_margins_hold_and_help(loss):
    claim = make_claim(loss, epsilon=0.03)
    plain = certify_margin(claim, method="conic")
    sharp = certify_margin(claim, method="conic", sharpen_rounds=2)
    assert (sharp.verify() == sharp.bound).all()
    assert (sharp.bound <= plain.bound + 1e-5).all()
    assert sharp.bound.mean() < plain.bound.mean() - 1e-3
    mixtures = [*random_mixtures(claim, np.random.default_rng(8), 8), *advised_mixtures(claim)]
    sharp.check_attack(worst_of(claim, mixtures))
    screening = outer_set._screening(claim, sharp.witness)
    before = screen(claim, sharp.witness["a0"])
    assert (screening.upper - screening.lower).mean() < 0.95 * (before.upper - before.lower).mean()
    for data in mixtures:
        margins = signed_scores(claim, make_learner(claim.problem).fit(data).vector)
        assert (margins >= screening.lower - 1e-6).all()
        assert (margins <= screening.upper + 1e-6).all()


def test_sharpened_margins_of_broken_witnesses_are_dropped():
    claim = make_claim(epsilon=0.03)
    sharp = certify_margin(claim, method="conic", sharpen_rounds=1)
    attacked = worst_of(claim, random_mixtures(claim, np.random.default_rng(8), 8))
    rng = np.random.default_rng(0)
    for key in [name for name in sharp.witness if name.startswith("m0.")]:
        values = sharp.witness[key]
        for changed in (np.full_like(values, np.nan), values + rng.normal(size=values.shape), 1e4 + values):
            assert (recompute_margin(claim, {**sharp.witness, key: changed}) >= attacked - 1e-6).all()
        assert (recompute_margin(claim, {k: v for k, v in sharp.witness.items() if k != key}) >= attacked - 1e-6).all()


def test_the_fast_method_proves_the_same_kind_of_bound():
    claim = make_claim(epsilon=0.03)
    fast = certify_margin(claim, method="fast", refine=True)
    assert (fast.verify() == fast.bound).all()
    fast.check_attack(worst_of(claim, random_mixtures(claim, np.random.default_rng(8), 8)))
    assert (fast.bound <= recompute_margin(claim, {"a0": fast.witness["a0"]}) + 1e-12).all()
    conic = certify_margin(claim, method="conic").bound  # which has the product of stationarity with v besides
    assert (conic - 1e-3 <= fast.bound).all()
    assert (fast.bound <= conic + 0.5).all()


def test_where_cheap_the_fast_method_is_for_rows_that_the_programs_leave(monkeypatch):
    claim = make_claim(epsilon=0.03)
    plain, auto = certify_margin(claim, method="conic"), certify_margin(claim)
    assert (auto.bound == plain.bound).all()
    assert "fast.p" not in auto.witness
    answers = outer_conic.HingeProgram.multipliers

    def spoilt(program, goal, brisk=False):
        found = answers(program, goal, brisk)
        return [{**found[0], "p": 0 * found[0]["p"]}] if (goal == first).all() else found

    first = outer_bound.extended(claim, claim.rows.X, claim.rows.y)[0]
    monkeypatch.setattr(outer_conic.HingeProgram, "multipliers", spoilt)
    bad, mended = certify_margin(claim, method="conic"), certify_margin(claim)
    assert bad.bound[0] > plain.bound[0] + 0.1
    assert mended.bound[0] <= bad.bound[0]
    assert (mended.bound[1:] == plain.bound[1:]).all()
    assert np.flatnonzero(mended.witness["fast.p"].any(axis=1)).tolist() == [0]
    assert (mended.verify() == mended.bound).all()


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_a_program_takes_no_square_of_the_clean_rows(loss):
    """Entries of rows in their own variables alone are held sparse."""
    claim = make_claim(loss, n=1500)
    screening = screen(claim, anchor(claim))
    program = make_program(claim, screening)
    center = screening.center
    tracemalloc.start()
    try:
        if loss == "hinge":
            every, margins = np.ones(claim.train.n, dtype=bool), program.rows @ center
            program.built(every, every, outer_conic.Sides(margins, 1 - margins)).matrices()
        else:
            program.approximate(center, np.full(claim.train.n, 0.5))
            program.model.matrices()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(program.known)
    assert peak < 8 * claim.train.n**2 / 3
