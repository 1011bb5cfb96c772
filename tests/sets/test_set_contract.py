"""The contract of sets: kept by those of the library and by one of someone else, and broken by every defect."""

from __future__ import annotations

import numpy as np
import pytest
from l1_ball import L1Ball
from set_cases import CENTER, NORMAL, SETS, D, bounded_direction

from linpoison.core import CapabilityError, InputError
from linpoison.sets import Ball, Box, ByLabel, FeasibleSet, Halfspace, Intersection, Piece, Slab, pack_sets
from linpoison.testing import check_set

L1 = L1Ball(CENTER, 1.3)
BESIDE = {
    "alone": L1,
    "box": Intersection([L1, Box(np.full(D, -1.0), np.ones(D))]),
    "slab": Intersection([Slab(NORMAL, NORMAL @ CENTER, 0.3), L1]),
    "itself": Intersection([L1, L1Ball(CENTER + 0.2, 1.1)]),
    "many": Intersection([L1, L1Ball(CENTER + 0.2, 1.1), Halfspace(NORMAL, NORMAL @ CENTER + 0.1), Ball(CENTER, 0.9)]),
}


@pytest.mark.parametrize("name", SETS)
def test_sets_keep_the_contract(name):
    rng = np.random.default_rng(4)
    check_set(SETS[name], [bounded_direction(name, rng) for _ in range(4)])


@pytest.mark.parametrize("name", BESIDE)
def test_a_set_of_someone_else_keeps_it_alone_and_beside_others(name):
    check_set(BESIDE[name])


def test_its_bound_is_the_closed_form():
    for w in np.random.default_rng(0).normal(size=(20, D)):
        true = w @ CENTER + 1.3 * np.abs(w).max()
        assert 0 <= L1.support_bound(w) - true <= 1e-11 * (1 + np.linalg.norm(w))
    assert L1.extent == pytest.approx(max(np.linalg.norm(CENTER + 1.3 * s * e) for e in np.eye(D) for s in (1, -1)))


DEFECTS = {
    "_cone": (lambda self, u, t: Ball(self.center, self.radius)._cone(u, t), "a cone that solvers take"),
    "_violation": (
        lambda self, X: Ball._violation(self, X),
        "greater than 0 outside",
    ),
    "_support": (lambda self, w: self.center, "no point of the set beyond a support point"),
    "_support_bound": (lambda self, w: self._at_support(w) - 0.1, "`support_bound` above"),
    "_project": (lambda self, X: np.tile(self.center, (len(X), 1)), "greater than 0 outside"),
    "extent": (property(lambda self: 0.1), "`extent` above the lengths"),
    "grown": (lambda self, by: type(self)(self.center, self.radius + 0.1 * by), "`grown` to hold"),
    "piece": (property(lambda self: Piece(center=self.center, radius=self.radius)), "a `piece` that is the set"),
    "packed": (lambda self, name, arrays: Ball(self.center, self.radius).packed(name, arrays), "in a copy"),
    "__getstate__": (lambda self: {"center": self.center, "radius": 2.0, "relation": "exact"}, "in a copy"),
    "project": (lambda self, X: np.multiply(X, 0, out=X) if len(X) > 2 else X, "leaves alone|InputError|alike"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_named(monkeypatch, name):
    defect, said = DEFECTS[name]
    monkeypatch.setattr(L1Ball, name, defect)
    with pytest.raises(AssertionError, match=said):
        check_set(L1Ball(CENTER, 1.3))


def test_a_loose_bound_is_named(monkeypatch):
    monkeypatch.setattr(L1Ball, "_support_bound", lambda self, w: Ball(self.center, self.radius)._support_bound(w))
    with pytest.raises(AssertionError, match="no further from the support"):
        check_set(L1)


def test_a_set_without_a_bound_says_so(monkeypatch):
    monkeypatch.setattr(L1Ball, "_support_bound", FeasibleSet._support_bound)
    check_set(L1)
    assert (L1.has_support_bound, L1Ball(CENTER, 1.3).extent > 0) == (False, True)
    with pytest.raises(CapabilityError, match=r"a bound on its support, got L1Ball\(d=5\)"):
        L1.support_bound(NORMAL)
    box = Box(np.full(D, -1.0), np.ones(D))
    assert Intersection([L1, box]).support_bound(NORMAL) == pytest.approx(box.support_bound(NORMAL), abs=1e-9)


def test_names_of_classes_are_their_own():
    with pytest.raises(InputError, match="a name of its own, got Ball, which linpoison.sets.ball has"):
        type("Ball", (FeasibleSet,), {})
    assert type("Marble", (Ball,), {}).kind == "Marble"


def test_only_numbers_words_and_arrays_are_written():
    sets = ByLabel({1: Ball(CENTER, 1.0), -1: Ball(CENTER, 1.0)})
    with pytest.raises(InputError, match="numbers, words and arrays, got feasible of"):
        pack_sets(sets.solved_by("clarabel"))
