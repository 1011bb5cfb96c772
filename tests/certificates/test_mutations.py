"""Defects planted in the code of the certificates: attacks break what it proves then, or `verify` sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from budget_cases import DISCS, PLANAR, grid_budget, problem_of
from poisoning import balls, claim_of, retrained, rows

from linpoison.certificates import (
    certify_average_loss,
    certify_ball,
    certify_deletions,
    certify_flips,
    certify_margin,
    certify_partition,
    certify_ridge,
    certify_test_error,
    deletions_smooth,
    flips_smooth,
    label_flips_ridge,
    min_budget,
    radius,
    ridge_attack,
)
from linpoison.certificates.budget import budget_poison
from linpoison.certificates.budget.target import BudgetTarget
from linpoison.certificates.certificate import Certificate, recompute
from linpoison.certificates.claim import Claim
from linpoison.certificates.clean import screen as clean_screen
from linpoison.certificates.hinge import deletions as hinge_deletions
from linpoison.certificates.hinge import frame as hinge_frame
from linpoison.certificates.outer import ball as outer_ball
from linpoison.certificates.outer import bound as outer_bound
from linpoison.certificates.outer import margin as outer_margin
from linpoison.certificates.partition import votes as partition_votes
from linpoison.certificates.ridge import flips as ridge_flips
from linpoison.certificates.ridge import model as ridge_model
from linpoison.certificates.saddle import certify as saddle_certify
from linpoison.certificates.smooth import changes as smooth_changes
from linpoison.certificates.smooth import expansion as smooth_expansion
from linpoison.certificates.theory import certify_exact, certify_naive, certify_steinhardt
from linpoison.certificates.theory import exact as hinge_exact
from linpoison.certificates.theory import sublevel as outer_baselines
from linpoison.core import CertificateInvalid, LinearModel
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared
from linpoison.sets import Ball, ByLabel, FeasibleSet


def ridge_claim() -> Claim:
    return claim_of(Squared(), epsilon=0.2)


def proofs() -> dict[str, Certificate]:
    """One certificate of each name, of code without defects."""
    hinge, squared = claim_of(Hinge(), epsilon=0.2), ridge_claim()
    few = hinge.about(hinge.rows.take([0, 1]))
    v = retrained(hinge, hinge.sets[1].center[None], np.array([-1.0]), 0.2, "reference")
    train = rows(n=40, d=2)
    small = Claim(train, Problem(Squared(), 0.3), balls(train), 0.0, rows(seed=1, n=6, d=2))
    return {
        "ball": certify_ball(hinge),
        "naive": certify_naive(hinge),
        "steinhardt": certify_steinhardt(hinge),
        "strong": certify_steinhardt(hinge, strong_convexity=True),
        "conic": certify_margin(hinge, method="conic"),
        "fast": certify_margin(claim_of(Logistic(), epsilon=0.2), method="fast", refine=True),
        "ridge": certify_ridge(squared),
        "ridge-flips": label_flips_ridge(squared, 2),
        "exact": certify_exact(few, tol=0.02, max_nodes=30, rounds=0),
        "deletions": certify_deletions(few, 1, rounds=0),
        "flips": certify_flips(few, 1, rounds=0),
        "smooth-deletions": deletions_smooth(claim_of(Logistic(), epsilon=0.1), 1),
        "smooth-flips": flips_smooth(claim_of(Logistic(), epsilon=0.05), 1),
        "average-loss": certify_average_loss(hinge),
        "average-objective": certify_average_loss(hinge, plain=False),
        "test-error": certify_test_error(squared, rounds=1),
        "radius": radius(certify_ridge, squared, tol=1 / 8),
        "min-budget": min_budget(hinge.train, hinge.problem, hinge.sets, LinearModel(v[:-1], float(v[-1]))),
        "partition": certify_partition(small, n_parts=3),
        **mirrored(hinge, few, v),
    }


def mirrored(hinge: Claim, few: Claim, v: np.ndarray) -> dict[str, Certificate]:
    """The same with the classes in each other's place, for defects in a class that did not matter."""
    other, small, w = mirror(hinge), mirror(few), -v
    return {
        "naive mirrored": certify_naive(other),
        "conic mirrored": certify_margin(other, method="conic"),
        "exact mirrored": certify_exact(small, tol=0.02, max_nodes=30, rounds=0),
        "average mirrored": certify_average_loss(other),
        "budget mirrored": min_budget(other.train, other.problem, other.sets, LinearModel(w[:-1], float(w[-1]))),
    }


def mirror(claim: Claim) -> Claim:
    train, about = claim.train, claim.demand_rows()
    sets = ByLabel({k: claim.sets[-k] for k in (1, -1)})
    return Claim(replace(train, y=-train.y), claim.problem, sets, claim.epsilon, replace(about, y=-about.y))


@pytest.fixture(scope="module")
def proved():
    return proofs()


NAMES = (
    "ball", "naive", "steinhardt", "strong", "conic", "fast", "ridge", "ridge-flips", "exact", "deletions", "flips",
    "smooth-deletions", "smooth-flips", "average-loss", "average-objective", "test-error", "radius", "min-budget",
    "partition",
)  # fmt: skip


def bent(patch):
    """Supports of the sets in the opposite direction."""
    true = FeasibleSet.support_bound
    patch.setattr(FeasibleSet, "support_bound", lambda part, w: true(part, -np.asarray(w)))


def bent_ridge(patch):
    true = ridge_model.RidgeSystem.support_bounds
    patch.setattr(ridge_model.RidgeSystem, "support_bounds", lambda self, label, W: true(self, label, -W))


def scaled(patch, factor):
    patch.setattr(Claim, "reg", property(lambda self: factor(self.epsilon) * self.problem.reg))


def kinkless(patch):
    """Clean margins taken for the poisoned ones: no row stays undecided."""
    true = clean_screen.screen

    def careless(claim, a0):
        found = true(claim, a0)
        margins = clean_screen.signed_scores(claim, found.center)
        return replace(found, lower=margins - 1e-6, upper=margins - 1e-6)

    for module in (outer_margin, outer_ball):
        patch.setattr(module, "screen", careless)


def without_class(patch, label):
    groups = BudgetTarget.__dict__["groups"].func
    own = property(lambda self: tuple(group for group in groups(self) if group.label != label))
    patch.setattr(BudgetTarget, "groups", own)


def decided(patch):
    true = hinge_frame.Frame.states

    def states(self, state=None):
        return true(self, np.where(np.asarray(state if state is not None else -np.ones(self.share.size)) < 0, 0, state))

    patch.setattr(hinge_frame.Frame, "states", states)


ALL_REG = ("ball", "naive", "steinhardt", "strong", "conic", "fast", "ridge", "exact", "average-loss")
MASSES = (*ALL_REG, "ridge-flips", "deletions", "flips", "average-objective")
MUTATIONS = {
    "no 1 + eps": (lambda p: scaled(p, lambda eps: 1.0), ALL_REG),
    "1 + 2 eps": (lambda p: scaled(p, lambda eps: 1 + 2 * eps), ALL_REG),
    "reg without n": (lambda p: scaled(p, lambda eps: (1 + eps) * 24), ALL_REG),
    "twice n": (lambda p: p.setattr(Claim, "mass", property(lambda self: 2 * self.train.total)), MASSES),
    "no 1 / n": (lambda p: p.setattr(Claim, "mass", property(lambda self: 1.0)), MASSES),
    "free entry penalised": (
        lambda p: p.setattr(Claim, "mask", property(lambda self: np.append(np.ones(self.train.d), 0.0))),
        ("steinhardt", "conic", "fast", "ridge", "exact", "average-objective"),
    ),
    "sign": (
        bent,
        (
            "conic",
            "fast",
            "naive",
            "steinhardt",
            "strong",
            "average-loss",
            "average-objective",
            "exact",
            "deletions",
            "flips",
            "min-budget",
        ),
    ),
    "sign, ridge": (bent_ridge, ("ridge", "test-error", "radius")),
    "sign of labels, ridge flips": (
        lambda p: p.setattr(ridge_flips, "_flip_gains", flip_sign(ridge_flips._flip_gains)),
        ("ridge-flips",),
    ),
    "no class -1, outer": (lambda p: p.setattr(outer_bound, "LABELS", (1,)), ("fast|conic|conic mirrored",)),
    "no class +1, outer": (lambda p: p.setattr(outer_bound, "LABELS", (-1,)), ("fast|conic|conic mirrored",)),
    "no class -1, comparator": (lambda p: p.setattr(outer_baselines, "LABELS", (1,)), ("naive|naive mirrored",)),
    "no class +1, comparator": (lambda p: p.setattr(outer_baselines, "LABELS", (-1,)), ("naive|naive mirrored",)),
    "no class, hinge": (lambda p: p.setattr(hinge_frame, "LABELS", (1,)), ("exact|exact mirrored|deletions|flips",)),
    "no class -1, ridge": (lambda p: p.setattr(ridge_model, "GROUPS", ridge_model.GROUPS[:2]), ("ridge",)),
    "no class +1, ridge": (lambda p: p.setattr(ridge_model, "GROUPS", ridge_model.GROUPS[2:]), ("ridge",)),
    "no overshoot, ridge": (lambda p: p.setattr(ridge_model, "GROUPS", ridge_model.GROUPS[::2]), ("ridge",)),
    "no undershoot, ridge": (lambda p: p.setattr(ridge_model, "GROUPS", ridge_model.GROUPS[1::2]), ("ridge",)),
    "no class, average": (
        lambda p: p.setattr(saddle_certify, "_pieces", fewer(saddle_certify._pieces)),
        ("average-loss|average mirrored",),
    ),
    "no kink, outer": (kinkless, ("conic", "fast")),
    "no kink, hinge": (decided, ("exact", "deletions", "flips")),
    "cases missing": (lambda p: p.setattr(hinge_exact, "covers", lambda states: False), ("exact",)),
    "no case of fewer rows": (
        lambda p: p.setattr(hinge_deletions, "_variants", lambda claim, removed, flips: [(claim.reg, 1 / claim.mass)]),
        ("deletions",),
    ),
    "no case of fewer rows, smooth": (
        lambda p: p.setattr(smooth_changes, "_variants", lambda claim, count, flips: [(claim.reg, count)]),
        ("smooth-deletions",),
    ),
    "changed rows are free, smooth": (
        lambda p: p.setattr(smooth_expansion, "top", lambda values, count: np.zeros(np.shape(values)[:-1])),
        ("smooth-deletions", "smooth-flips"),
    ),
    "no curvature, smooth": (
        lambda p: p.setattr(smooth_expansion.Expansion, "terms", flat(smooth_expansion.Expansion.terms)),
        ("smooth-deletions", "smooth-flips"),
    ),
    "half of the votes": (
        lambda p: p.setattr(partition_votes, "flips_needed", lambda *given: votes(*given) + 1),
        ("partition",),
    ),
}
votes = partition_votes.flips_needed


@pytest.mark.parametrize("label", [-1, 1])
@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared"])
def test_a_grid_needs_less_than_a_budget_without_a_class_says(label, loss, monkeypatch):
    """`verify` cannot see this one: at the best direction both classes pull alike, so that one stands for the other."""
    problem, model = problem_of(loss, train=PLANAR, reg=0.05), LinearModel([-0.3, 0.6], 0.1)
    sound = min_budget(PLANAR, problem, DISCS, model)
    needed = grid_budget(PLANAR, problem, DISCS, model, budget_poison(sound))
    assert sound.bound <= needed * (1 + 1e-6)
    without_class(monkeypatch, label)
    assert min_budget(PLANAR, problem, DISCS, model).bound > 1.01 * needed


def flip_sign(true):
    return lambda system, mass: -true(system, mass)


def flat(true):
    """Terms at unmoved margins: the expansion without its second order."""
    return lambda self, low, high: true(self, 0 * low, 0 * high)


def fewer(true):
    return lambda loss, plain: true(loss, plain)[:1]


def noticed(certificate) -> bool:
    try:
        replace(certificate, claim=replace(certificate.claim)).verify()
    except CertificateInvalid:
        return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_without_a_defect_all_is_well(proved, name):
    assert not noticed(proved[name])


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_defect_is_seen(proved, name, monkeypatch):
    plant, seen_by = MUTATIONS[name]
    plant(monkeypatch)
    for group in seen_by:
        assert any(noticed(proved[one]) for one in group.split("|")), f"{name} is not seen in {group}"


RIDGE_DEFECTS = (
    "no 1 + eps", "1 + 2 eps", "twice n", "no class -1, ridge", "no class +1, ridge",
    "no overshoot, ridge", "no undershoot, ridge",
)  # fmt: skip


@pytest.mark.parametrize("name", RIDGE_DEFECTS)
def test_attacks_break_what_a_defective_ridge_certificate_says(name, monkeypatch):
    """Not only a regression: poison that is really retrained exceeds the bounds of the defective code."""
    claims = [ridge_claim(), claim_of(Squared(), sets="boxes", epsilon=0.4), flipped_rows(ridge_claim())]
    achieved = [attacked(claim) for claim in claims]
    MUTATIONS[name][0](monkeypatch)
    broken = [
        (certify_ridge(replace(claim)).bound < value - 1e-6).any()
        for claim, value in zip(claims, achieved, strict=True)
    ]
    assert any(broken)


def flipped_rows(claim):
    return claim.about(replace(claim.rows, y=-claim.rows.y))


def attacked(claim):
    """The score of each row after retraining on the poison that its certificate names."""
    found = certify_ridge(claim)
    values = []
    for j in range(claim.rows.n):
        poison = ridge_attack(found, j)
        v = make_learner(claim.problem).fit(claim.train.mix(poison.as_dataset())).vector
        values.append(-claim.rows.y[j] * (claim.rows.X[j] @ v[:-1] + v[-1]))
    assert (np.array(values) <= found.bound + 1e-7).all()
    return np.array(values)


def tampered(certificate):
    """The same with each array of the witness changed."""
    rng = np.random.default_rng(0)
    for key, value in certificate.witness.items():
        array = np.asarray(value)
        if array.dtype.kind == "f" and array.size:
            yield key, replace(certificate, witness=certificate.witness | {key: array + rng.normal(size=array.shape)})


@pytest.mark.parametrize("name", NAMES)
def test_verify_sees_what_was_tampered_with(proved, name, tmp_path):
    certificate = proved[name]
    train, about = certificate.claim.train, certificate.claim.rows
    side = 1.0 if certificate.kind in ("score", "loss", "error") else -1.0
    better = np.asarray(certificate.bound) - side * (1.0 if certificate.kind == "insertions" else 1e-3)
    assert noticed(replace(certificate, bound=better if better.ndim else float(better)))
    if name not in ("ridge-flips", "partition"):
        assert any(noticed(changed) for _, changed in tampered(certificate)), "witness"
    if name not in ("ridge-flips", "partition", "flips"):  # flips: the norm alone is what bounds it here
        sets = ByLabel({k: Ball(part.center + 0.3, part.radius * 1.2) for k, part in certificate.claim.sets.items()})
        assert noticed(replace(certificate, claim=replace(certificate.claim, sets=sets))), "sets"
    other = replace(train, X=train.X + 1e-3)
    with pytest.raises(CertificateInvalid):
        certificate.verify(train=other)
    certificate.save(tmp_path / "one")
    with pytest.raises(CertificateInvalid):
        Certificate.load(tmp_path / "one", other, about)
    again = Certificate.load(tmp_path / "one", train, about)
    np.testing.assert_allclose(again.verify(), certificate.bound)
    text = (tmp_path / "one.json").read_text().replace(train.digest(), other.digest())
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(CertificateInvalid):
        Certificate.load(tmp_path / "one", train, about)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("partition", "radius", "min-budget")])
def test_no_tampered_witness_proves_what_is_false(proved, name):
    """Whatever the multipliers, the bound that follows is not below what poison has done."""
    certificate = proved[name]
    clean = retrained(certificate.claim, np.zeros((1, certificate.claim.train.d)), np.ones(1), 0.0)
    for _, changed in tampered(certificate):
        found = np.asarray(recompute(changed.name, changed.claim, changed.witness))
        if certificate.kind == "score":
            data = changed.claim.rows
            assert (found >= -data.y * (data.X @ clean[:-1] + clean[-1]) - 1e-6).all()
        else:
            assert found >= 0
