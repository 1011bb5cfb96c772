"""Cone programs by their matrices: agreement with closed forms, with cvxpy's words and multipliers, and with sets."""

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.convex import cones as conic
from linpoison.convex.cones import Cones
from tests.sets.set_cases import SETS, bounded_direction


def mixed():
    """A program with cones of every kind, and where its rules are."""
    rng = np.random.default_rng(1)
    program = Cones()
    x, t = program.variable(4), program.variable(1)
    program.minimise(x, rng.normal(size=4))
    program.minimise(t, 0.3)
    rules = {
        "zero": program.zero([(x, np.array([1.0, 1.0, 0.0, 0.0]))], -0.2),
        "nonneg": program.nonneg([(x, 1.0)], np.full(4, 2.0)),
        "square": program.square([(x, np.eye(4))], np.full(4, 0.1), [(t, 1.0)], 0.5, size=3.0),
        "soc": program.soc([(x, sp.csr_array(np.eye(5, 4, -1)))], [2.0, 0.0, 0.0, 0.0, 0.0]),
        "exp": program.exponential([(x, np.eye(3, 4)), (t, np.array([[0.0], [1.0], [2.0]]))]),
    }
    return program, rules


def test_it_says_the_same_through_cvxpy_multipliers_included():
    program, rules = mixed()
    ours = program.solve()
    cost, A, b, kinds = program.matrices()
    others = conic._by_cvxpy(cost, A, b, kinds, "SCS")
    assert ours.value == pytest.approx(others.value, abs=1e-6)
    np.testing.assert_allclose(ours.x, others.x, atol=1e-4)
    np.testing.assert_allclose(ours.z, others.z, atol=1e-4)
    np.testing.assert_allclose(cost, -A.T @ ours.z, atol=1e-7)  # c = M' z
    assert -ours.value == pytest.approx(b @ ours.z, abs=1e-6)  # the dual value
    assert (ours.z[rules["nonneg"]] >= 0).all()
    assert np.linalg.norm(ours.z[rules["soc"]][1:]) <= ours.z[rules["soc"]][0] + 1e-9
    brisk = program.solve(brisk=True)
    assert brisk.value == pytest.approx(ours.value, abs=1e-5)


def test_the_units_of_variables_and_rules_do_not_matter(monkeypatch):
    """Scaled by powers of two, a program is solved as it was, and what comes back is in its units."""
    cost, A, b, kinds = mixed()[0].matrices()
    assert conic.Level.of(cost, A, b, kinds).data[1] is A  # which the solver scales
    monkeypatch.setattr(conic, "NEAR", -1)
    plain = conic.Level.of(cost, A, b, kinds)
    rng = np.random.default_rng(0)
    columns = 2.0 ** rng.integers(-30, 30, cost.size)
    rows = [2.0 ** rng.integers(-30, 30, n if kind in ("zero", "nonneg") else 1) * np.ones(n) for kind, n in kinds]
    rows = np.concatenate(rows)
    other = conic.Level.of(
        2.0**20 * columns * cost, sp.csc_matrix(rows[:, None] * A.toarray() * columns), rows * b, kinds
    )
    for ours, theirs in zip(plain.data[:3], other.data[:3], strict=True):
        ours, theirs = (sp.csc_matrix(item).toarray() for item in (ours, theirs))
        assert ((np.abs(theirs) <= 2 * np.abs(ours)) & (np.abs(theirs) >= np.abs(ours) / 2)).all()
    known = mixed()[0].solve()
    found = other.back(conic._by_clarabel(*other.data, False)[0])
    np.testing.assert_allclose(columns * found.x, known.x, atol=1e-5)
    np.testing.assert_allclose(rows * found.z / 2.0**20, known.z, atol=1e-5)
    assert found.value / 2.0**20 == pytest.approx(known.value, abs=1e-8)
    np.testing.assert_allclose(cost, -A.T @ (rows * found.z / 2.0**20), atol=1e-7)


def test_the_multiplier_of_a_square_is_that_of_its_room():
    values = []
    for base in (0.5, 0.5 + 1e-4):
        program = Cones()
        x = program.variable(3)
        program.minimise(x, [1.0, -2.0, 0.5])
        rule = program.square([(x, np.diag([1.0, 2.0, 3.0]))], np.zeros(3), [], base, size=0.1)
        found = program.solve()
        values.append(found.value)
    length = np.linalg.norm([1.0, -1.0, 0.5 / 3])
    assert values[0] == pytest.approx(-length * np.sqrt(0.5), abs=1e-7)
    price = found.z[rule.start] - found.z[rule.stop - 1]
    assert price == pytest.approx(-(values[1] - values[0]) / 1e-4, rel=1e-3)


@pytest.mark.parametrize("name", SETS)
def test_the_cone_over_a_set_has_its_support(name):
    part = SETS[name]
    direction = bounded_direction(name, np.random.default_rng(2))
    program = Cones()
    u, t = program.variable(part.d), program.variable(1)
    program.cone(part, u, t)
    program.zero([(t, 1.0)], -2.0)
    program.minimise(u, -direction)
    found = program.solve()
    assert -found.value == pytest.approx(2 * float(direction @ part.support(direction)), rel=1e-5, abs=1e-5)
    assert part.contains(found.x[u][None] / 2, 1e-5).all()


def test_an_exponential_cone_is_the_one_of_its_formula():
    """The least exp(t) - t is 1, at 0."""
    program, column = Cones(), np.eye(3)[:, :, None]
    t, one, z = (program.variable(1) for _ in range(3))
    program.minimise(z, 1.0)
    program.minimise(t, -1.0)
    program.zero([(one, 1.0)], -1.0)
    program.exponential([(t, column[0]), (one, column[1]), (z, column[2])])
    found = program.solve()
    assert found.value == pytest.approx(1.0, abs=1e-7)
    assert found.x[t] == pytest.approx(0.0, abs=1e-3)


def test_what_has_no_solution_has_none():
    program = Cones()
    x = program.variable(1)
    program.nonneg([(x, 1.0)], -1.0)
    program.nonneg([(x, -1.0)], 0.0)
    assert program.solve() is None
    program = Cones()
    program.minimise(program.variable(1), 1.0)
    program.nonneg([(slice(0, 1), -1.0)], 0.0)
    assert program.solve() is None


def test_a_copy_is_added_to_alone():
    program, _ = mixed()
    before = program.solve().value
    twin = program.copy()
    twin.soc([(slice(0, 4), np.eye(5, 4, -1))], [0.5, 0.0, 0.0, 0.0, 0.0])
    assert twin.solve().value > before + 1e-3
    assert program.solve().value == before
