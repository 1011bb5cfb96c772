"""The policy on solver statuses, with real solvers and with scripted ones."""

from __future__ import annotations

import pickle
import warnings

import cvxpy as cp
import numpy as np
import pytest

from linpoison.convex import UnboundedProblem, UnfitSolver, choice, chosen_solver, max_violation, solve
from linpoison.core import InfeasibleSet, InputError, SolverFailed


@pytest.fixture
def installed(monkeypatch):
    """Let cvxpy have these solvers only."""

    def only(*names):
        monkeypatch.setattr(cp, "installed_solvers", lambda: list(names))
        choice.installed_solvers.cache_clear()

    yield only
    choice.installed_solvers.cache_clear()


def least_sum():
    x = cp.Variable(2)
    return cp.Problem(cp.Minimize(cp.sum(x)), [x >= 1]), x


@pytest.mark.parametrize("solver", [None, "CLARABEL", "clarabel", "ECOS", "SCS", "OSQP", "HIGHS"])
def test_each_solver_solves(solver):
    problem, x = least_sum()
    info = solve(problem, solver=solver)
    assert info.solver == (solver or "CLARABEL").upper()
    assert info.status == "optimal"
    assert info.value == pytest.approx(2, abs=1e-6)
    assert info.seconds > 0
    np.testing.assert_allclose(x.value, 1, atol=1e-6)


@pytest.mark.parametrize("solver", [None, "ECOS", "HIGHS"])
def test_infeasible_is_an_empty_set(solver):
    x = cp.Variable()
    with pytest.raises(InfeasibleSet, match="infeasible"):
        solve(cp.Problem(cp.Minimize(x), [x >= 1, x <= 0]), solver=solver)


def test_unbounded_is_told_apart():
    x = cp.Variable()
    with pytest.raises(UnboundedProblem, match="finite optimum"):
        solve(cp.Problem(cp.Minimize(x)))


@pytest.mark.parametrize("solver", ["NO_SUCH", 3])
def test_unknown_solver_lists_the_installed(solver):
    with pytest.raises(InputError, match="CLARABEL"):
        solve(least_sum()[0], solver=solver)


def test_missing_optional_solver_is_an_input_error(installed):
    installed("CLARABEL", "OSQP")
    with pytest.raises(InputError, match=r"'ECOS'.*Install it"):
        solve(least_sum()[0], solver="ECOS")
    assert solve(least_sum()[0]).solver == "CLARABEL"


@pytest.mark.parametrize("solver", ["HIGHS", "OSQP"])
def test_solver_that_cannot_take_the_cone_is_refused_by_the_name_of_the_cone(solver):
    x = cp.Variable(2)
    with pytest.raises(UnfitSolver, match=f"takes second-order cones, .*got {solver}") as caught:
        solve(cp.Problem(cp.Minimize(cp.norm2(x - 1)), [cp.norm2(x) <= 1]), solver=solver)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    curved = cp.Problem(cp.Minimize(cp.sum(cp.exp(x))), [cp.norm2(x) <= 1])
    with pytest.raises(UnfitSolver, match="second-order cones and exponential cones"):
        solve(curved, solver=solver)


def test_tight_solves_give_more_digits_and_fall_back_on_the_usual_ones():
    x = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - np.arange(3.0))), [cp.norm2(x) <= 1])
    exact = np.arange(3.0) / np.sqrt(5)
    for solver, atol in (("CLARABEL", 1e-9), ("ECOS", 1e-7), ("SCS", 1e-7)):
        solve(problem, solver=solver, tight=True)
        np.testing.assert_allclose(x.value, exact, atol=atol)
    words, seen = iter(["infeasible_inaccurate", "optimal"]), []
    scripted = Scripted(ECOS="optimal")

    def one(solver, **options):
        seen.append(options)
        scripted.status = next(words)

    scripted.solve = one
    assert solve(scripted, solver="ECOS", tight=True).status == "optimal"
    assert [options.get("abstol") for options in seen] == [1e-12, None]


def test_solver_of_choice_by_name(installed):
    assert [chosen_solver(name) for name in (None, "structured", "ecos", "OSQP")] == [None, None, "ECOS", "OSQP"]
    with pytest.raises(InputError, match=r"among structured, CLARABEL.*, got 'nosuch'"):
        chosen_solver("nosuch")
    installed("CLARABEL", "OSQP", "SCS")
    with pytest.raises(InputError, match=r"among structured, CLARABEL, OSQP, SCS, got 'ecos'. Install it with: pip"):
        chosen_solver("ecos")


class Scripted:
    """A stand-in for a problem whose solvers say what the script says."""

    constraints: tuple[()] = ()

    def __init__(self, **script):
        self.script, self.tried, self.status = script, [], None
        self.objective = cp.Minimize(cp.Constant(7.0))

    def get_problem_data(self, solver):
        """Every solver takes the program."""

    def solve(self, solver, **options):
        self.tried.append(solver)
        self.status = self.script[solver]
        if self.status == "error":
            raise cp.SolverError("broke down")
        if self.status == "optimal_inaccurate":
            warnings.warn("Solution may be inaccurate. Try another solver.")


@pytest.mark.parametrize("word", ["optimal", "optimal_inaccurate"])
def test_answer_is_taken_only_if_it_passes_the_check(word):
    info = solve(Scripted(CLARABEL=word), check=lambda: 1e-8)
    assert (info.status, info.max_violation, info.value) == (word, 1e-8, 7.0)
    bad = Scripted(CLARABEL=word, ECOS="optimal")
    assert solve(bad, check=iter([1e-3, 1e-8]).__next__).solver == "ECOS"
    assert solve(bad, check=lambda: 1e-3, tol=1e-2).solver == "CLARABEL"


def test_brisk_try_comes_first_and_is_never_the_last_word():
    words = iter(["infeasible", "optimal"])
    problem = Scripted(CLARABEL="optimal")
    seen = []

    def one(solver, **options):
        seen.append(options)
        problem.status = next(words)

    problem.solve = one
    assert solve(problem, brisk=True).status == "optimal"
    assert [options.get("iterative_refinement_enable") for options in seen] == [False, None]
    assert not any(options["warm_start"] for options in seen)


def test_brisk_and_careful_solves_agree():
    x = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - np.arange(3.0))), [cp.sum(x) == 1, x >= 0])
    careful = solve(problem).value
    assert solve(problem, brisk=True).value == pytest.approx(careful, abs=1e-7)


def test_inaccurate_solution_does_not_warn_but_other_warnings_pass():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(Scripted(CLARABEL="optimal_inaccurate"))


def test_chain_is_walked_in_order_and_every_status_is_told():
    problem = Scripted(CLARABEL="error", ECOS="optimal_inaccurate", SCS="user_limit")
    with pytest.raises(
        SolverFailed, match=r"CLARABEL: solver_error \(broke down\); ECOS: .*1.0e\+00.*; SCS: user_limit"
    ) as caught:
        solve(problem, check=lambda: 1.0)
    assert problem.tried == ["CLARABEL", "ECOS", "SCS"]
    assert "Scale the features" in str(caught.value)


def test_nearly_infeasible_needs_every_solver():
    with pytest.raises(InfeasibleSet):
        solve(Scripted(CLARABEL="infeasible_inaccurate", ECOS="infeasible_inaccurate", SCS="infeasible_inaccurate"))
    with pytest.raises(SolverFailed):
        solve(Scripted(CLARABEL="infeasible_inaccurate", ECOS="error", SCS="infeasible_or_unbounded"))
    assert solve(Scripted(CLARABEL="infeasible_inaccurate", ECOS="optimal")).solver == "ECOS"


def test_named_solver_is_the_only_one_tried():
    problem = Scripted(ECOS="error", CLARABEL="optimal")
    with pytest.raises(SolverFailed):
        solve(problem, solver="ECOS")
    assert problem.tried == ["ECOS"]


def test_defects_of_the_program_are_not_hidden():
    x = cp.Variable()
    with pytest.raises(cp.DCPError):
        solve(cp.Problem(cp.Maximize(x**2)))


def test_violation_is_recomputed_from_the_variables():
    x, y = cp.Variable(2), cp.Variable()
    problem = cp.Problem(cp.Minimize(y), [x <= 1, cp.norm2(x) <= y, x[0] == 0])
    assert max_violation(problem) == float("inf")
    x.value, y.value = np.array([0.0, 1.5]), 1.5
    assert max_violation(problem) == pytest.approx(0.5)
    y.value = 0.2
    assert max_violation(problem) == pytest.approx(1.3)


def test_violation_of_an_exponential_cone():
    x, y, z = cp.Variable(), cp.Variable(), cp.Variable()
    problem = cp.Problem(cp.Minimize(z), [cp.ExpCone(x, y, z)])
    for point, expected in [
        ((1.0, 1.0, np.e), 0),
        ((1.5, 1.0, np.e), 0.5),
        ((0.0, -0.3, 1.0), 0.3),
        ((-1.0, 0.0, 0.0), 0),
    ]:
        x.value, y.value, z.value = point
        assert max_violation(problem) == pytest.approx(expected, abs=1e-9)
