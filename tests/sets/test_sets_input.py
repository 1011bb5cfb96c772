"""Failure paths, containers of sets, and sets made from models and domains."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from set_cases import NORMAL, SETS, D

from linpoison.core import Domain, InputError, LinearModel, Poison
from linpoison.losses import LOSSES, Hinge, Logistic, make_loss
from linpoison.sets import (
    Ball,
    Box,
    ByLabel,
    Halfspace,
    Intersection,
    NonNegative,
    Slab,
    SubspaceTube,
    domain_set,
    intersect,
    loss_cap,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ball([0.0], -1.0), "radius"),
        (lambda: Ball([0.0], np.inf), "radius"),
        (lambda: Ball([np.nan], 1.0), "center"),
        (lambda: Ball([[0.0]], 1.0), r"center of shape \(d,\)"),
        (lambda: Ball(["a"], 1.0), "numeric center"),
        (lambda: Slab([0.0, 0.0], 0.0, 1.0), "normal other than zero"),
        (lambda: Slab([1.0], 0.0, -1.0), "halfwidth"),
        (lambda: Slab([1.0], np.nan, 1.0), "offset"),
        (lambda: Halfspace([0.0], 1.0), "normal other than zero"),
        (lambda: Halfspace([1.0], np.inf), "offset"),
        (lambda: SubspaceTube([[1.0], [1.0]], 1.0), "orthonormal"),
        (lambda: SubspaceTube([[1.0, 0.0]], 1.0), "orthonormal"),
        (lambda: SubspaceTube([[1.0], [0.0]], 1.0, [0.0]), "center"),
        (lambda: Box([1.0], [0.0]), "lower <= upper"),
        (lambda: Box([np.inf], [np.inf]), "lower <= upper"),
        (lambda: Box([0.0], [1.0, 1.0]), "upper bounds"),
        (lambda: NonNegative(0), "whole number"),
        (lambda: Intersection([]), "at least one set"),
        (lambda: Intersection([Ball([0.0], 1.0), NonNegative(2)]), "one dimension"),
        (lambda: Intersection([Ball([0.0], 1.0), "box"]), "feasible sets"),
        (lambda: ByLabel({1: Ball([0.0], 1.0)}), "mapping"),
        (lambda: ByLabel({1: Ball([0.0], 1.0), -1: NonNegative(2)}), "one dimension"),
        (lambda: domain_set(Domain.counts([1, 2]), 3), "3 features"),
        (lambda: loss_cap(LinearModel([1.0]), 0, Hinge(), 1.0), "label"),
        (lambda: loss_cap(LinearModel([1.0]), 1, Hinge(), -0.1), "cap"),
        (lambda: loss_cap(LinearModel([1.0]), 1, Logistic(), 0.0), "cap"),
        (lambda: loss_cap(LinearModel([0.0]), 1, Hinge(), 1.0), "normal other than zero"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("name", ["slab", "halfspace", "tube", "box", "non_negative", "loss_cap"])
def test_unbounded_support_is_named(name):
    w = -NORMAL if name in ("halfspace", "loss_cap") else np.ones(D)
    with pytest.raises(InputError, match="unbounded"):
        SETS[name].support(w)


def test_unbounded_intersection_is_named():
    with pytest.raises(InputError, match="unbounded"):
        Intersection([NonNegative(D), Slab(NORMAL, 0.0, 1.0)]).support(
            np.abs(NORMAL) * 0 + [0, 0, 0, 0, 1.0] + np.ones(D)
        )


def test_intersections_flatten_and_single_sets_stay():
    ball, box = Ball([0.0], 1.0), NonNegative(1)
    nested = Intersection([Intersection([ball, box]), ball])
    assert nested.sets == (ball, box, ball)
    assert intersect(None, ball) is ball
    assert intersect(ball, box).sets == (ball, box)


@pytest.mark.parametrize(
    ("relations", "expected"),
    [
        (("exact", "exact"), "exact"),
        (("exact", "outer"), "outer"),
        (("inner", "exact"), "inner"),
        (("inner", "outer"), "inner"),
    ],
)
def test_relation_of_an_intersection(relations, expected):
    assert Intersection([Ball([0.0], 1.0, relation=relation) for relation in relations]).relation == expected


def test_intersection_violation_is_the_largest():
    X = np.random.default_rng(0).normal(scale=3, size=(20, D))
    both = Intersection([SETS["ball"], SETS["slab"]])
    np.testing.assert_allclose(both.violation(X), np.maximum(SETS["ball"].violation(X), SETS["slab"].violation(X)))


def test_by_label_uses_the_set_of_each_row():
    sets = ByLabel({+1: Ball([1.0, 0.0], 1.0), -1: Ball([-1.0, 0.0], 1.0)})
    X, y = np.array([[3.0, 0.0], [3.0, 0.0], [-1.0, 0.0]]), [1, -1, -1]
    np.testing.assert_allclose(sets.violation(X, y), [1, 3, 0])
    np.testing.assert_allclose(sets.violation(sp.csr_array(X), y), [1, 3, 0])
    np.testing.assert_allclose(sets.violation(Poison(X, y, [1, 1, 1])), [1, 3, 0])
    np.testing.assert_array_equal(sets.contains(X, y), [False, False, True])
    assert sets[1.0].center[0] == 1
    assert (list(sets), len(sets), sets.d) == ([-1, 1], 2, 2)
    with pytest.raises(InputError, match="labels"):
        sets.violation(X, [0, 1, 1])
    with pytest.raises(InputError, match="labels y"):
        sets.violation(X)


def test_by_label_intersects_per_class_or_with_one_set():
    sets = ByLabel({+1: Ball([1.0], 1.0), -1: Ball([-1.0], 1.0)})
    with_one = sets.intersect(NonNegative(1))
    assert not with_one.contains([[-1.0]], [-1])[0]
    assert sets.intersect(None)[1] is sets[1]
    with_each = sets.intersect({1: NonNegative(1), -1: Ball([0.0], 0.5)})
    np.testing.assert_array_equal(with_each.contains([[0.4], [-0.9], [-0.4]], [1, -1, -1]), [True, False, True])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("label", [-1, 1])
def test_loss_cap_keeps_the_rows_of_small_loss(name, label):
    rng = np.random.default_rng(0)
    loss, model, X = make_loss(name), LinearModel(NORMAL, 0.3), rng.normal(size=(200, D))
    margin = label * model.decision_function(X)
    cap = loss_cap(model, label, loss, 0.4)
    kept = (loss.value(margin) <= 0.4) | (margin > 1)
    np.testing.assert_array_equal(cap.contains(X), kept)
    assert 0 < kept.sum() < 200
    assert cap.relation == ("outer" if name == "squared" else "exact")


def test_domain_sets():
    assert domain_set(Domain.real(), 3) is None
    box = domain_set(Domain.box(-1.0, 2.0, d=2), 2)
    np.testing.assert_array_equal([box.lower, box.upper], [[-1, -1], [2, 2]])
    counts = domain_set(Domain.counts([2, 3]), 2)
    assert counts.relation == "outer"
    np.testing.assert_array_equal(counts.contains([[2.0, 3.0], [0.0, 3.5]]), [True, False])


def test_stored_arrays_are_copies_and_read_only():
    center = np.zeros(2)
    ball = Ball(center, 1.0)
    center[0] = 5
    assert ball.center[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        ball.center[0] = 1


def test_box_of_wide_rows_off_zero_is_checked_in_blocks(monkeypatch):
    monkeypatch.setattr("linpoison.sets.box._BLOCK", 4)
    box = Box([1.0, -1.0], [2.0, 1.0])
    X = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 3.0], [4.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(box.violation(sp.csr_array(X)), [1, 0, 2, 2, 0])


def test_tube_residual_of_sparse_rows_survives_cancellation():
    basis = np.full((4, 1), 0.5)
    tube = SubspaceTube(basis, 0.0)
    X = np.array([[1e6, 1e6, 1e6, 1e6 + 1e-3]])
    np.testing.assert_allclose(tube.violation(sp.csr_array(X)), tube.violation(X), rtol=1e-9)
    assert tube.violation(X)[0] == pytest.approx(1e-3 * np.sqrt(0.75), rel=1e-6)


def test_numpy_views_need_no_conic_solver():
    use = "from linpoison.sets import Ball; Ball([0.0], 1.0).project([[2.0]])"
    code = f"import sys; {use}; sys.exit('cvxpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
