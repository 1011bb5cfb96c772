"""Small problems for the bounds on scores, models that poison really brings about, and what these must satisfy."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.special import rel_entr

from linpoison.certificates.claim import Claim
from linpoison.certificates.clean.anchor import anchor
from linpoison.certificates.clean.screen import screen
from linpoison.certificates.outer.conic import Sides, make_program
from linpoison.core import Dataset
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge
from linpoison.sets import Ball, ByLabel, Slab, intersect

LOSSES = {"hinge": Hinge(), "logistic": Logistic(), "smooth": SmoothHinge(0.5)}
INTERCEPTS = {"penalised": {}, "free": {"penalize_intercept": False}, "none": {"fit_intercept": False}}
SCALINGS = {"mean": {}, "sum": {"scaling": "sum", "n_reference": 20.0}}
CASES = [
    (loss, intercept, list(SCALINGS)[(i + j) % len(SCALINGS)])
    for (i, loss), (j, intercept) in product(enumerate(LOSSES), enumerate(INTERCEPTS))
]
"""Every pair of loss, intercept and scaling."""


def make_claim(
    loss="hinge", intercept="penalised", scaling="mean", *, epsilon=0.05, seed=0, slabs=False, reg=0.2, n=24
):
    """Weighted clean rows inside sets that are not symmetric, and six rows to certify."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 3 == 0, 1.0, -1.0)
    X = 0.5 * rng.normal(size=(n, 3)) + y[:, None] * np.array([0.8, 0.4, 0.0]) + 0.3
    train = Dataset(X, y, rng.choice([1.0, 1.0, 2.0], size=n))
    parts = {k: Ball(X[y == k].mean(axis=0), 2.0 + 0.4 * k) for k in (1, -1)}
    if slabs:
        normal = np.array([1.0, 0.5, 0.0])
        parts = {k: intersect(part, Slab(normal, float(normal @ part.center), 1.2)) for k, part in parts.items()}
    problem = Problem(LOSSES[loss], reg, **INTERCEPTS[intercept], **SCALINGS[scaling])
    rows = Dataset(rng.normal(size=(6, 3)), [1, -1, 1, 1, -1, -1])
    return Claim(train, problem, ByLabel(parts), epsilon, rows)


def mixture(claim, X, y, shares):
    """Clean rows with poison of the whole budget."""
    count = np.asarray(shares) / np.sum(shares) * claim.epsilon * claim.mass
    return claim.train.mix(Dataset(X, y, count))


def random_mixtures(claim, rng, tries):
    """One to four extreme rows, those against the first row to certify and the clean model among them."""
    clean = make_learner(claim.problem).fit(claim.train).coef
    for _ in range(tries):
        k = int(rng.integers(1, 5))
        y = rng.choice([-1.0, 1.0], size=k)
        ways = [rng.normal(size=(k, claim.train.d)), -y[:, None] * clean, y[:, None] * claim.rows.X[[0]]]
        directions = ways[rng.integers(3)] + 1e-3
        X = np.array([claim.sets[label].support(w) for label, w in zip(y, directions, strict=True)])
        yield mixture(claim, X, y, rng.dirichlet(np.ones(k)))


def advised_mixtures(claim, *, tighten=True):
    """The poison that the relaxation itself suggests against each row."""
    screening = screen(claim, anchor(claim))
    program = make_program(claim, screening if tighten else screening.bare(), rounds=1)
    for z, k in zip(claim.rows.X, claim.rows.y, strict=True):
        if program.multipliers(k * np.append(z, float(claim.problem.fit_intercept))):
            poison = program.poison()
            if poison is not None:
                yield mixture(claim, poison.X, poison.y, poison.count)


def retrained(claim, data):
    """Negative margins of the claim's rows after retraining."""
    return -claim.rows.y * make_learner(claim.problem).fit(data).decision_function(claim.rows.X)


def true_point(claim, data):
    """The parameters after retraining on a mixture, all multipliers, and the pull ``(w_y, u_y)`` of the poison."""
    mixed = Claim(data, claim.problem, claim.sets, 0.0)
    a = anchor(mixed)
    v = screen(mixed, a).center if claim.strongly_convex else make_learner(claim.problem).fit(data).vector
    n = claim.train.n
    pulls = {}
    for label in (1, -1):
        mine = np.flatnonzero(data.y[n:] == label) + n
        psi = data.weight[mine] * a[mine] / claim.mass
        pulls[label] = (psi.sum(), psi @ data.X[mine])
    masses = {label: data.weight[n:][data.y[n:] == label].sum() / claim.mass for label in (1, -1)}
    return v, a[:n], pulls, masses


def membership(claim, screening, point):
    """Largest violation of the production program's own constraints at a true poisoned model."""
    v, a, pulls, masses = point
    program = make_program(claim, screening)
    loss = claim.problem.loss
    if loss.kink is not None:
        every, margins = np.ones(claim.train.n, dtype=bool), program.rows @ v
        cones = program.built(every, every, Sides(margins, 1 - margins))
    else:
        program.approximate(v, a)
        cones = program.model
    x, blocks = np.zeros(cones.width), program.blocks
    for label, (w, u) in pulls.items():
        x[blocks.pull[label]], x[blocks.point[label]] = w / claim.epsilon, u / claim.epsilon
        if screening.hubs:
            x[blocks.held[label]] = w / claim.epsilon * label * float(screening.hubs[label].center @ v)
    last = (blocks.held or blocks.pull)[-1].stop
    for number, (label, (w, u)) in enumerate(
        pulls.items()
    ):  # the length, which the cone over a ball has for a variable
        x[last + number] = np.linalg.norm(u - claim.sets[label].center * w) / claim.epsilon
    if loss.kink is not None:
        losses = loss.value(program.rows @ v)
        x[blocks.v], x[program.a], x[program.xi] = v, a[program.loose], losses[program.bent]
        apart = np.where(program.below, 1 - margins, 0.0)
        apart[program.bent] = losses[program.bent]
        spent = np.where(program.rising, 1.0, 0.0)
        spent[program.loose] = a[program.loose]
        x[program.lost] = program.share @ (apart - spent)
    else:
        for number, label in enumerate((1, -1)):
            mass, w = masses[label] / claim.epsilon, pulls[label][0] / claim.epsilon
            x[program.mass.start + number] = mass
            x[program.entropy.start + number] = rel_entr(w, mass - w)
    return outside(cones, x)


def outside(cones, x):
    """How far the sums of a cone program lie outside of their cones."""
    _, A, b, kinds = cones.matrices()
    inside, start, worst = b - A @ x, 0, 0.0
    for kind, n in kinds:
        part = inside[start : start + n]
        start += n
        if kind == "zero":
            worst = max(worst, np.abs(part).max())
        elif kind == "nonneg":
            worst = max(worst, -part.min())
        elif kind == "soc":
            worst = max(worst, np.linalg.norm(part[1:]) - part[0])
        else:
            worst = max(worst, part[1] * np.exp(part[0] / part[1]) - part[2] if part[1] > 0 else max(part[0], -part[2]))
    return worst
