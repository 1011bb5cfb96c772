"""The experiments on the stronger attacks do their work at toy size, resume, and keep the paper's figures apart."""

from __future__ import annotations

import csv
import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from linpoison.attacks import SetPolicy
from linpoison.attacks.iterative import Iterative
from linpoison.core import LinearModel

FOLDER = Path(__file__).parent.parent / "experiments" / "stronger_attacks"
MODULES = ("ablations", "alfa", "attacks", "easy_data", "iterative", "report", "runs", "transfer", "unobserved")
DEFENSES = ("l2", "slab", "loss", "svd", "knn")
Import = Callable[[str], ModuleType]


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Import]:
    """Import a script as its own command would find it; no name of the folder stays behind."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What attacks of the tables have done so far: a script reads what another has run on the same case."""
    return tmp_path_factory.mktemp("outcomes")


@pytest.fixture
def out(tmp_path: Path, outcomes: Path) -> Path:
    """A folder with nothing but these outcomes."""
    (tmp_path / "runs").symlink_to(outcomes, target_is_directory=True)
    return tmp_path


def run(module: ModuleType, out: Path, *more: str) -> None:
    assert module.main(["--quick", "--jobs", "1", "--out", str(out), *more]) == 0


def read(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def resumes(
    imported: Import, monkeypatch: pytest.MonkeyPatch, module: ModuleType, out: Path, tables: list[str], *more: str
) -> None:
    """A second run writes the same tables, and prepares no attack."""
    before = {name: (out / name).read_bytes() for name in tables}
    assert sorted(out.glob("runs/*/outcome.json"))
    assert not list(out.glob("runs/*/journal/*"))
    for name in tables:
        (out / name).unlink()

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("an attack ran again")

    monkeypatch.setattr(imported("runs"), "Scenario", refuse)
    run(module, out, *more)
    assert {name: (out / name).read_bytes() for name in tables} == before


def worst_of(row: list[str], header: list[str]) -> float:
    return min(float(row[header.index(name)].split()[0]) for name in DEFENSES)


def column(table: list[list[str]], name: str) -> list[str]:
    return [row[table[0].index(name)] for row in table[1:]]


CASES = {
    "attacks": (["--attacks", "kkt,min-max"], "table.csv", ["kkt", "min-max"], ["figure3.png", "figure4.png"]),
    "iterative": (
        [],
        "table.csv",
        ["no poison", "influence, fixed", "influence, iterative", "kkt, fixed", "kkt, iterative"],
        ["figure5.png"],
    ),
    "ablations": (
        [],
        "table.csv",
        [
            "influence",
            "influence, no envelope",
            "influence:paper",
            "influence:paper, no envelope",
            "influence-basic",
            "min-max",
            "min-max-basic",
            "min-max:paper",
            "min-max-basic:paper",
        ],
        ["figure6.png", "figure7.png"],
    ),
    "easy_data": ([], "table.csv", ["quick", "quick", "dogfish (not available)"], ["figure12.png"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_table_of_attacks_by_defence(name, imported, monkeypatch, out, capsys):
    more, file, labels, figures = CASES[name]
    module = imported(name)
    run(module, out, *more)
    table = read(out / file)
    assert [row[0] for row in table[1:]] == labels
    for row in table[1:]:
        if row[-1] != "-":
            assert worst_of(row, table[0]) == float(row[table[0].index("worst")].split()[0])
    papers = [index for index, head in enumerate(table[0]) if head.startswith("paper")]
    assert papers
    assert {row[index] for row in table[1:] for index in papers} == {"-"}
    printed = "".join(f"| {' | '.join(row)} |\n" for row in table[1:])
    assert printed in capsys.readouterr().out
    assert printed in (out / file.replace(".csv", ".md")).read_text(encoding="utf-8")
    for figure in figures:
        assert (out / figure).read_bytes().startswith(b"\x89PNG")
    resumes(imported, monkeypatch, module, out, [file], *more)


def test_the_data_table(imported, tmp_path):
    module, runs = imported("attacks"), imported("runs")
    text = module.data_table(runs.case_of("enron1", True), tmp_path)
    assert text.splitlines()[-1].startswith("| quick | 60 | 40 | 8 | ")
    assert text.splitlines()[-1].endswith(" | - |")


def test_iterative_takes_a_budget(imported, tmp_path):
    module = imported("iterative")
    run(module, tmp_path, "--epsilon", "0.3", "--attacks", "kkt")
    (fixed,) = tmp_path.glob("runs/quick-0.3-*-kkt-fixed-test-0")
    (again,) = tmp_path.glob("runs/quick-0.3-*-kkt-iterative-test-0")
    runs = imported("runs")
    case = runs.case_of("enron1", True, epsilon=0.3)
    outcomes = [
        runs.measure(case, f"kkt, {kind}", runs.small("kkt", True), tmp_path)[0] for kind in ("fixed", "iterative")
    ]
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {fixed.name, again.name}
    assert outcomes[1].worst >= outcomes[0].worst


def test_iterative_versions_differ_only_in_the_sets(imported):
    attacks = imported("iterative").variants(False, ["influence", "kkt", "min-max"])
    assert [name for name in attacks if name.endswith("fixed")] == ["influence, fixed", "kkt, fixed", "min-max, fixed"]
    assert attacks["influence, iterative"] == replace(attacks["influence, fixed"], refit=True)
    for name in ("kkt", "min-max"):
        assert attacks[f"{name}, iterative"] == Iterative(attacks[f"{name}, fixed"], 3)
        assert attacks[f"{name}, fixed"].generations == 0


def test_the_influence_switches_of_the_ablation(imported):
    parts = imported("ablations").variants(False)
    assert {name: attack.name for name, attack in parts["min-max"].items()} == {
        "min-max": "min-max",
        "min-max-basic": "min-max-basic",
        "min-max:paper": "min-max",
        "min-max-basic:paper": "min-max-basic",
    }
    assert [attack.method for attack in parts["min-max"].values()] == ["corrective"] * 2 + ["paper"] * 2
    attacks = parts["influence"]
    assert [attack.policy.envelope for attack in list(attacks.values())[:4]] == [True, False, True, False]
    papers = attacks["influence:paper"], attacks["influence-basic"]
    for attack in papers:
        assert (attack.behind, attack.refit, attack.adapt_split, attack.ascent.objective) == (
            False, False, False, "loss",
        )  # fmt: skip
    assert attacks["influence-basic"].policy == SetPolicy(assumed_removal=0.2)
    assert attacks["influence"].policy == SetPolicy()


def test_transfer(imported, monkeypatch, out):
    module = imported("transfer")
    more = ["--attacks", "kkt,influence", "--passes", "2", "--direct"]
    run(module, out, *more)
    sweep, others = read(out / "figure10.csv"), read(out / "figure11.csv")
    assert [tuple(row[:2]) for row in sweep[1:]] == [
        (name, defense) for defense in ("l2", "loss") for name in ("no poison", "kkt", "influence")
    ]
    assert sweep[0][2:] == ["reg 0.005", "reg 0.0167", "reg 0.05", "reg 0.167", "reg 0.5", "paper, least reg"]
    assert {row[-1] for row in sweep[1:]} == {"-"}
    expected = {f"{who}: {name}" for who in ("hinge, exact", "hinge, one pass of SGD", "logistic")
                for name in ("no poison", "kkt", "influence")}  # fmt: skip
    assert {row[0] for row in others[1:]} == expected | {"logistic: influence against logistic"}
    by_name = {row[0]: row[1:] for row in others[1:]}
    for name, defense in itertools.product(("no poison", "kkt", "influence"), ("l2", "loss")):
        same = next(row[4] for row in sweep[1:] if row[:2] == [name, defense])
        assert by_name[f"hinge, exact: {name}"][DEFENSES.index(defense)] == same
    for figure in ("figure10.png", "figure11.png"):
        assert (out / figure).read_bytes().startswith(b"\x89PNG")
    resumes(imported, monkeypatch, module, out, ["figure10.csv", "figure11.csv"], *more)


def test_one_pass_follows_the_recurrence(imported):
    module, runs = imported("transfer"), imported("runs")
    case = runs.case_of("enron1", True)
    first, again, other = (module.OnePass(case.problem, seed).fit(case.split.train) for seed in (0, 0, 1))
    assert isinstance(first, LinearModel)
    np.testing.assert_array_equal(first.coef, again.coef)
    assert np.linalg.norm(first.coef - other.coef) > 0
    exact = runs.defender_of(case).learner.fit(case.split.train)
    values = [case.problem.value(model, case.split.train) for model in (exact, first)]
    assert values[0] < values[1]


def test_transfer_scores_with_the_defenders_own_loss(imported):
    module, runs = imported("transfer"), imported("runs")
    case = runs.case_of("enron1", True)
    other = module.with_problem(case, module.replace(case.problem, loss=module.Logistic()))
    assert other.defenses["loss"].estimator == other.problem != case.problem
    passes = [module.errors(case, None, ["loss"], [seed])["loss"] for seed in (0, 1, 2)]
    assert module.errors(case, None, ["loss"], range(3))["loss"] == pytest.approx(np.mean(passes))


def test_unobserved(imported, monkeypatch, out):
    module = imported("unobserved")
    more = ["--attacks", "kkt,refined", "--seeds", "2"]
    run(module, out, *more)
    table = read(out / "table.csv")
    expected = [("train", "1"), ("test", "1"), ("split:0.5", "2")]
    assert [(row[0], row[1], row[2]) for row in table[1:]] == [
        (target, name, number) for target, number in expected for name in ("kkt", "refined")
    ]
    assert set(column(table, "paper")) == {"-"}
    unseen, begun = column(table, "worst, unseen rows"), column(table, "start, unseen")
    assert [cell == "-" for cell in unseen] == [False, False, True, True, False, False]
    assert [begun[index] == unseen[index - 1] for index in (1, 5)] == [True, True]
    assert [" to " in cell for cell in column(table, "range")] == [False] * 4 + [True] * 2
    assert (out / "figure9.png").read_bytes().startswith(b"\x89PNG")
    resumes(imported, monkeypatch, module, out, ["table.csv"], *more)


def test_label_flips(imported, monkeypatch, out):
    module = imported("alfa")
    run(module, out)
    table = read(out / "table.csv")
    assert [row[0] for row in table[1:]] == ["no poison", "random-flips", "alfa", "alfa:paper"]
    assert set(column(table, "paper's increase")) == {"-"}
    clean = float(column(table, "l2")[0].split()[0])
    for row in table[2:]:
        assert float(row[3].split()[0]) == pytest.approx(float(row[2].split()[0]) - clean, abs=0.1001)
    assert (out / "figure13.png").read_bytes().startswith(b"\x89PNG")
    resumes(imported, monkeypatch, module, out, ["table.csv"])


def test_every_attack_of_the_table_is_known(imported):
    """Those that are not run by default are run by the tables of ablations, label flips and unseen rows."""
    module, runs = imported("attacks"), imported("runs")
    names = module.ATTACKS.split(",")
    assert set(names) >= {"random-flips", "alfa", "influence:paper", "min-max:paper", "min-max-basic:paper"}
    for name in names:
        assert runs.small(name, True).name == {"kkt:paper": "kkt-grid"}.get(name, runs.attack_of(name))


def test_cases_do_not_mix_in_one_folder(imported, tmp_path):
    runs = imported("runs")
    cases = [
        runs.case_of("enron1", True),
        runs.case_of("enron1", True, ("l2",)),
        runs.case_of("enron1", True, epsilon=0.2),
    ]
    attack = runs.small("kkt", True, generations=0)
    for case in cases:
        runs.measure(case, "kkt", attack, tmp_path)
    assert len(list(tmp_path.glob("runs/*/outcome.json"))) == 3


def test_the_papers_figures_belong_to_its_data(imported):
    attacks, unobserved, iterative = imported("attacks"), imported("unobserved"), imported("iterative")
    assert attacks.PAPER["enron1"] == {"influence": 0.183, "kkt": 0.225, "min-max": 0.237, "min-max-basic": 0.1}
    assert unobserved.PAPER["train"] == {"influence": 0.109, "kkt": 0.165, "min-max": 0.19}
    assert set(iterative.PAPER) == {("enron1", 0.03), ("mnist17", 0.3)}


def test_the_papers_figures_stand_beside_its_data(imported, tmp_path):
    attacks, unobserved, runs = imported("attacks"), imported("unobserved"), imported("runs")
    case = replace(runs.case_of("enron1", True), name="enron1")
    errors = dict.fromkeys(("none", *DEFENSES), 0.2)
    outcome = runs.Outcome("min-max", "test", 0, 5.0, errors, errors, None, {"loss": 1.0}, {"l2": [[3.0, 0.2]]})
    cells = attacks.table(case, [outcome], tmp_path).splitlines()[-1].strip("| ").split(" | ")
    assert cells == ["min-max", *["20.0 %"] * 6, "23.7 %", "5.0", "3.0", "1700.0", "100.0 %"]
    published = replace(outcome, attack="min-max:paper")
    assert attacks.table(case, [published], tmp_path).splitlines()[2].split(" | ")[7] == "23.7 %"
    assert attacks.dashed(case, [published]) == {"min-max:paper": 0.237}
    assert unobserved.line("test", "min-max", [(outcome, None)], 0.237)[-1] == "23.7 %"
    assert attacks.data_table(case, tmp_path).splitlines()[-1].endswith("| 2.9 % |")


def test_seconds_to_a_level(imported):
    runs = imported("runs")
    lines = {"l2": [[1.0, 0.1], [4.0, 0.2]]}
    outcome = runs.Outcome("a", "test", 0, 5.0, {"l2": 0.2}, {"none": 0.1, "l2": 0.2}, None, {}, lines)
    assert [outcome.seconds_to(level, "l2") for level in (0.05, 0.2, 0.3)] == [1.0, 4.0, None]
    assert outcome.seconds_to(0.1, "slab") is None
    assert (outcome.worst, outcome.worst_unseen) == (0.2, None)
