"""Attacks whose programs a conic solver of choice answers, and attacks as published."""

from __future__ import annotations

import numpy as np
import pytest
from kkt_cases import EPSILON, decoy_and_sets, scenario_of
from test_saddle import CONVENTIONS, balls, rows

from linpoison import audit
from linpoison.attacks import KKT, KKTGrid, KKTProgram, LabelFlipDecoys, SaddleProgram, make_attack, make_attacks
from linpoison.cli import main
from linpoison.convex import UnfitSolver
from linpoison.core import InputError, SolverFailed
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge
from linpoison.sets import ByLabel, Slab, intersect

FEW = {"decoys": LabelFlipDecoys(quantiles=(0.3,), repeats=(3,))}
QUICK = {
    "kkt": FEW | {"generations": 0},
    "min-max": FEW | {"generations": 0},
    "min-max-basic": {"refits": 0},
    "influence": {"starts": 1, "steps": 2, "check": 2, "behind": False},
    "influence-basic": {"steps": 1, "check": 1},
}
SADDLES = [
    (Hinge(), "penalised"),
    (Hinge(), "free"),
    (Logistic(), "penalised"),
    (SquaredHinge(), "sum"),
    (Squared(), "none"),
    (SmoothHinge(0.2), "free"),
]


@pytest.mark.parametrize("data", ["counts", "breast_cancer"])
def test_kkt_program_agrees_to_six_digits(data):
    scenario = scenario_of(data)
    decoy, sets = decoy_and_sets(scenario)
    arguments = (decoy, scenario.train, scenario.problem, sets, EPSILON / 4)
    structured = KKTProgram(method="nearest").solve(*arguments)
    assert structured.residual_norm > 1e-3  # there is something to agree on
    for solver in ("CLARABEL", "ECOS", "SCS", "OSQP"):
        program = KKTProgram(solver=solver)
        if solver == "OSQP" and data == "breast_cancer":
            with pytest.raises(UnfitSolver, match="second-order cones"):
                program.solve(*arguments)
            continue
        solution = program.solve(*arguments)
        assert solution.info.solver == solver
        assert solution.residual_norm == pytest.approx(structured.residual_norm, abs=1e-6), solver


@pytest.mark.parametrize(("loss", "convention"), SADDLES, ids=lambda value: getattr(value, "name", value))
def test_min_max_program_agrees_to_six_digits(loss, convention):
    data, problem = rows(n=24, d=3), Problem(loss, 0.1, **CONVENTIONS[convention])
    ones = np.ones(3)
    sets = ByLabel({y: intersect(ball, Slab(ones, float(ones @ ball.center), 1.0)) for y, ball in balls(data).items()})
    structured = SaddleProgram(tol=1e-6, max_rounds=400).solve(data, problem, sets, 0.1)
    for solver in ("CLARABEL", "ECOS", "SCS"):
        saddle = SaddleProgram(solver=solver).solve(data, problem, sets, 0.1)
        assert saddle.info.solver == solver
        assert saddle.lower == pytest.approx(structured.lower, abs=1e-6), solver
        assert saddle.upper == pytest.approx(structured.upper, abs=1e-6), solver
        assert saddle.poison.total == pytest.approx(0.1 * data.total)
        assert sets.violation(saddle.poison).max() <= 1e-6
    with pytest.raises(UnfitSolver, match="second-order cones"):
        SaddleProgram(solver="OSQP").solve(data, problem, sets, 0.1)


def test_min_max_program_over_counts_is_a_quadratic_program():
    scenario = scenario_of("counts")
    _, sets = decoy_and_sets(scenario, 0.1, 2)  # OSQP runs out of steps on other decoys, and says so
    values = [
        SaddleProgram(tol=1e-6, solver=solver).solve(scenario.train, scenario.problem, sets, EPSILON).lower
        for solver in (None, "OSQP", "ECOS")
    ]
    assert np.ptp(values) <= 1e-6


def test_min_max_asks_for_supports_where_its_program_fails(monkeypatch):
    def fail(*_):
        raise SolverFailed("user limit")

    data, problem, sets = rows(n=24, d=3), Problem(Hinge(), 0.1), ByLabel(balls(rows(n=24, d=3)))
    whole = SaddleProgram(solver="ECOS").solve(data, problem, sets, 0.1)
    monkeypatch.setattr("linpoison.attacks.saddle.solve_conic", fail)
    by_rows = SaddleProgram(solver="ECOS", tol=1e-4).solve(data, problem, sets, 0.1)
    assert by_rows.info.solver == "saddle"
    assert by_rows.lower - 1e-6 <= whole.lower <= by_rows.upper + 1e-6


@pytest.mark.parametrize("name", QUICK)
def test_attacks_pass_the_solver_on(name):
    scenario = scenario_of("counts", defenses=("l2", "slab"))
    usual = make_attack(name, **QUICK[name]).run(scenario)
    solver = "OSQP" if name == "kkt" else "ECOS"
    result = make_attack(name, solver=solver.lower(), **QUICK[name]).run(scenario)
    assert result.poison.total == scenario.n_poison
    assert result.best.worst == pytest.approx(usual.best.worst, abs=0.05)
    if "influence" not in name:
        assert {solve.solver for solve in result.solves if not solve.status.startswith("skipped")} == {solver}
    with pytest.raises(UnfitSolver, match="OSQP"):
        make_attack(name, solver="OSQP", **QUICK[name]).run(scenario_of("gaussians"))


def test_solver_goes_to_the_attacks_that_take_one():
    made = make_attacks(["alfa", "kkt", "min-max"], solver="scs")
    assert made["kkt"] == KKT(solver="SCS")
    assert made["kkt"].program.solver == made["min-max"].program.solver == "SCS"
    assert make_attacks(["kkt"], solver="structured")["kkt"] == KKT()
    with pytest.raises(InputError, match="takes a solver, among kkt.*influence, got alfa"):
        make_attacks(["alfa"], solver="SCS")
    with pytest.raises(InputError, match="'nosuch'"):
        KKT(solver="nosuch")


def test_variant_paper_is_the_published_attack():
    made = make_attacks(["influence", "min-max", "min-max-basic", "kkt", "alfa"], variant="paper", solver="ECOS")
    assert (made["min-max"].method, made["min-max"].cap, made["min-max"].solver) == ("paper", 0.25, "ECOS")
    assert made["min-max-basic"].method == "paper"
    assert not made["influence"].behind
    assert made["influence"].ascent.objective == "loss"
    assert type(made["kkt"]) is KKTGrid
    scenario = scenario_of("counts", defenses=("l2",))
    assert make_attack("alfa", "paper").run(scenario).poison.n_distinct == 1
    with pytest.raises(InputError, match="for the variant 'paper', among random-flips.*got 'refined'"):
        make_attack("refined", "paper")
    with pytest.raises(InputError, match="among library, paper, got 'reference'"):
        make_attack("kkt", "reference")


def test_audit_and_command_line(tmp_path, capsys):
    report = audit("gaussians", attacks="min-max-basic", attack_variant="paper", solver="ecos", defenses="l2", jobs=1)
    assert (report.options["solver"], report.options["attack_variant"]) == ("ECOS", "paper")
    assert "--solver ECOS --attack-variant paper" in report.command
    line = ["audit", "gaussians", "--defenses", "l2", "--quiet", "--out", str(tmp_path / "out"), "--solver"]
    for solver, words in (("OSQP", "takes second-order cones"), ("nosuch", "among structured, CLARABEL, ECOS")):
        assert main([*line, solver, "--attack", "min-max-basic"]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
