"""The house rules, checked on the source: who may import whom, and what may stand in which room."""

from __future__ import annotations

import ast
import configparser
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
Definition = ast.FunctionDef | ast.ClassDef
MAX_LINES = 400

LEARNING = {"core", "losses", "convex", "sets", "learners"}
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "losses": {"core"},
    "datasets": {"core"},
    "convex": {"core"},
    "sets": {"core", "losses", "convex"},
    "risk": {"core", "losses"},
    "learners": {"core", "losses", "convex", "risk"},
    "influence": {"core", "losses", "learners", "risk"},
    "optimality": {"core", "losses", "sets"},
    "rounding": {"core", "sets"},
    "defenses": LEARNING - {"convex"},
    "defender": {"core", "losses", "learners", "defenses"},
    "subpopulations": LEARNING - {"convex", "sets"} | {"risk"},
    "attacks": LEARNING | {"risk", "influence", "optimality", "rounding", "defenses", "defender", "subpopulations"},
    "certificates": LEARNING | {"defenses", "optimality"},
    "reporting": {"core", "losses", "defenses"},
    "pipelines": {"core"},
    "auditing": LEARNING
    | {"influence", "optimality", "datasets", "rounding", "defenses", "defender"}
    | {"attacks", "certificates", "subpopulations", "reporting", "pipelines"},
    "cli": {"core", "datasets", "auditing", "reporting"},
    "testing": LEARNING | {"defenses", "defender", "attacks"},
    "deep": {"core", "losses", "datasets", "learners", "rounding", "risk", "defenses", "attacks"},
}
"""Room -> rooms that it may import. `OPEN` files are for all; facade and ``__main__`` stand above."""

OPEN = (("_version",), ("_frame",), ("_printable",), ("_progress",), ("_log",))

DRAWING = {f"reporting/{name}.py" for name in ("plots", "portraits")}
ONLY_IN = {"torch": {"deep"}, "matplotlib": {"subpopulations/pictures.py", *DRAWING, "deep/pictures.py"}}
"""Package -> rooms or files that may import it."""

SCRIPTS = sorted(path for folder in ("experiments", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


@cache
def library_files() -> list[Path]:
    return sorted([*(ROOT / "linpoison").rglob("*.py"), *(ROOT / "deep").rglob("*.py")])


def room_of(path: Path) -> str:
    """The room of a library file; "" for the few files that stand above them."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "deep":
        return "deep"
    return parts[1] if len(parts) > 2 else ""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def walked(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All nodes of a tree: every rule looks at each of them."""
    return tuple(ast.walk(tree))


def module_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def package_of(path: Path) -> tuple[str, ...]:
    return module_of(path) if path.name == "__init__.py" else module_of(path)[:-1]


def imported(path: Path, tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Absolute names of all that a file imports, at any depth and under TYPE_CHECKING too."""
    for node in walked(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                package = package_of(path)
                base = package[: len(package) - node.level + 1] + base
            yield from ((*base, alias.name) for alias in node.names)


def rooms_imported(path: Path, tree: ast.AST) -> set[str]:
    """Rooms named by the imports of a file; "" for a name of the facade."""
    found = set()
    for name in imported(path, tree):
        if name[0] == "deep":
            found.add("deep")
        elif name[0] == "linpoison" and name[1:2] not in OPEN:
            found.add(name[1] if len(name) > 1 and name[1] in ALLOWED else "")
    return found


def files_imported(path: Path, tree: ast.AST) -> set[Path]:
    """Library files that a file names in its imports, at any depth and under TYPE_CHECKING too."""
    files, found = library_modules(), set()
    for name in imported(path, tree):
        while name and name not in files:
            name = name[:-1]
        found |= {files[name]} if name else set()
    return found - {path}


@cache
def library_modules() -> dict[tuple[str, ...], Path]:
    return {module_of(path): path for path in library_files()}


def circle_of(arrows: dict[Path, set[Path]]) -> list[str]:
    """Files that import each other round and round, if there are any."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return [id_of(path) for path in error.args[1]]
    return []


def parsed(text: str, place: str = "linpoison/attacks/new.py") -> tuple[Path, ast.Module]:
    return ROOT / place, ast.parse(text)


def id_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def files_of_rooms() -> list[Path]:
    return [path for path in library_files() if room_of(path)]


def test_the_table_names_every_room():
    folders = {path.parent for path in (ROOT / "linpoison").glob("*/__init__.py")}
    assert {folder.name for folder in folders} | {"deep"} == set(ALLOWED)


def test_the_table_has_no_cycles():
    order = list(TopologicalSorter(ALLOWED).static_order())
    assert order[0] == "core"


def test_imports_flow_one_way():
    for path in files_of_rooms():
        room = room_of(path)
        assert rooms_imported(path, tree_of(path)) - {room} <= ALLOWED[room], id_of(path)


def test_no_files_import_each_other_round_and_round():
    assert circle_of({path: files_imported(path, tree_of(path)) for path in library_files()}) == []


def test_the_search_for_circles_sees_those_of_types_and_of_functions():
    attacks = ROOT / "linpoison/attacks"
    typed = "if TYPE_CHECKING:\n    from .minmax import MinMax\n"
    inside = "def f():\n    from . import kkt\n"
    arrows = {
        attacks / name: files_imported(*parsed(text, f"linpoison/attacks/{name}"))
        for name, text in (("kkt.py", typed), ("minmax.py", inside))
    }
    assert arrows[attacks / "kkt.py"] == {attacks / "minmax.py"}
    assert set(circle_of(arrows)) == {"linpoison/attacks/kkt.py", "linpoison/attacks/minmax.py"}
    arrows[attacks / "minmax.py"] = set()
    assert circle_of(arrows) == []


def test_attacks_and_certificates_are_independent():
    below = {room: reachable(room) for room in ("attacks", "certificates")}
    assert "certificates" not in below["attacks"]
    assert "attacks" not in below["certificates"]


def reachable(room: str) -> set[str]:
    return ALLOWED[room].union(*(reachable(other) for other in ALLOWED[room]))


def test_the_reader_of_imports_sees_every_form():
    text = (
        "from ..certificates import x\nfrom .. import cli\nimport linpoison.auditing.run\nimport deep\n"
        "def f():\n    from linpoison import datasets\n"
        "if TYPE_CHECKING:\n    from ..losses.base import L\nfrom .base import Attack\nfrom .. import audit\n"
        "from .._version import v\n"
    )
    found = rooms_imported(*parsed(text))
    assert found == {"certificates", "cli", "auditing", "deep", "datasets", "losses", "attacks", ""}


def solves(tree: ast.AST) -> list[int]:
    """Lines that solve a cvxpy problem: ``.solve(`` on a name or a call that is one."""
    names = {
        target.id
        for node in walked(tree)
        if isinstance(node, ast.Assign) and is_problem(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return [
        node.lineno
        for node in walked(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "solve"
        and (is_problem(node.func.value) or (isinstance(node.func.value, ast.Name) and node.func.value.id in names)
             or any(word.arg in ("solver", "warm_start", "canon_backend") for word in node.keywords))
    ]  # fmt: skip


def is_problem(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    return name in ("cp.Problem", "cvxpy.Problem")


def test_only_convex_solves_a_cvxpy_problem():
    for path in files_of_rooms():
        assert room_of(path) == "convex" or not solves(tree_of(path)), id_of(path)


def test_the_reader_of_solves_sees_them():
    assert solves(ast.parse("import cvxpy as cp\np = cp.Problem(cp.Minimize(x))\np.solve()")) == [3]
    assert solves(ast.parse("cp.Problem(cp.Minimize(x)).solve()")) == [1]
    assert solves(ast.parse("program.solve(solver='SCS')")) == [1]
    assert solves(ast.parse("attack.solve(scenario, decoy)\nnp.linalg.solve(A, b)")) == []
    convex = [line for path in (ROOT / "linpoison/convex").glob("*.py") for line in solves(tree_of(path))]
    assert len(convex) > 0


def test_heavy_packages_stay_in_their_rooms():
    for path in library_files():
        names = {name[0] for name in imported(path, tree_of(path))}
        inside = path.relative_to(ROOT).as_posix().removeprefix("linpoison/")
        for package in names & set(ONLY_IN):
            assert {room_of(path), inside} & ONLY_IN[package], f"{id_of(path)}: {package} is for {ONLY_IN[package]}"


def test_deep_needs_no_cvxpy():
    for path in library_files():
        if room_of(path) == "deep":
            assert "cvxpy" not in {name[0] for name in imported(path, tree_of(path))}, id_of(path)


def of_defences(tree: ast.AST, classes: set[str], names: set[str]) -> list[str]:
    """Where a defence is asked for by its class, or several are listed by their names."""
    found = []
    for node in walked(tree):
        if isinstance(node, ast.Name | ast.Attribute | ast.alias):
            word = getattr(node, "id", getattr(node, "attr", getattr(node, "name", "")))
            found += [f"{node.lineno}: {word}"] if word in classes else []
        elif isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            items = node.keys if isinstance(node, ast.Dict) else node.elts
            listed = [item.value for item in items if isinstance(item, ast.Constant) and item.value in names]
            found += [f"{node.lineno}: {listed}"] if len(listed) > 1 else []
    return found


def test_only_their_room_knows_defences_by_class_and_lists_their_names():
    from linpoison.defenses import DEFENSES

    classes, names = {kind.__name__ for kind in DEFENSES.values()}, set(DEFENSES)
    assert len(classes) > 5
    files = [path for path in library_files() if room_of(path) != "defenses"]
    found = {id_of(path): said for path in files if (said := of_defences(tree_of(path), classes, names))}
    assert found == {}
    text = "from ..defenses import A\nisinstance(x, defenses.A)\nd = {'a': 1, 'b': 2}\ne = ('a', 'c')\nf = A()"
    assert sorted(of_defences(ast.parse(text), {"A"}, {"a", "b"})) == ["1: A", "2: A", "3: ['a', 'b']", "5: A"]


BY_CLASS = {"deep/torch_losses.py": "torch's own forms of the margin losses, by their classes"}
"""Files outside of their rooms that ask losses or learners for their class, and why."""


def by_class(tree: ast.AST, classes: set[str]) -> list[str]:
    """Where a loss or a learner is asked for its class or its name: by itself, in a tuple, or in a tuple of a name."""
    known = set(classes)
    for node in walked(tree):
        listed = isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple | ast.BinOp)
        if listed and names_in(node.value) & known:
            known |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    found = []
    for node in walked(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            found += [ast.unparse(node)] if names_in(node.args[-1]) & known else []
        elif isinstance(node, ast.MatchClass):
            found += [ast.unparse(node)] if names_in(node.cls) & known else []
        elif isinstance(node, ast.Compare):
            text = ast.unparse(node)
            asked = any(f"{thing}.name" in text or f"type({thing})" in text for thing in ("loss", "learner"))
            found += [text] if asked or ("type(" in text and names_in(node) & known) else []
    return found


def names_in(node: ast.AST) -> set[str]:
    return {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node)}


def test_only_their_room_asks_losses_and_learners_for_their_class():
    from linpoison import learners, losses

    for room, bases in (("losses", ("MarginLoss", "MultiLoss")), ("learners", ("Learner", "LinearClassifier"))):
        home = {"losses": losses, "learners": learners}[room]
        kinds = tuple(getattr(home, name) for name in bases)
        things = (getattr(home, name) for name in home.__all__)
        classes = {thing.__name__ for thing in things if isinstance(thing, type) and issubclass(thing, kinds)}
        assert len(classes) > 5
        files = [path for path in library_files() if room_of(path) not in (room, "")]
        asking = {id_of(path): found for path in files if (found := by_class(tree_of(path), classes))}
        assert set(asking) <= set(BY_CLASS), asking
    text = (
        "isinstance(x, losses.A)\nTHEM = (A, B)\nisinstance(x, THEM)\nisinstance(x, C | A)\nissubclass(k, (A,))\n"
        "type(x) is A\nmatch x:\n    case A(): pass\np.loss.name == 'a'\nisinstance(x, C)\nA().name == 'a'\nd[A]\n"
    )
    assert len(by_class(ast.parse(text), {"A", "B"})) == 7


LEGACY_RANDOM = {"default_rng", "Generator", "SeedSequence", "PCG64", "BitGenerator"}


def offences(tree: ast.AST) -> list[str]:
    """What library code does not do: print, assert, draw from global random state."""
    found = []
    for node in walked(tree):
        if isinstance(node, ast.Assert):
            found.append(f"{node.lineno}: assert")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found.append(f"{node.lineno}: print")
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
            found += [] if node.attr in LEGACY_RANDOM else [f"{node.lineno}: np.random.{node.attr}"]
        elif isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names):
            found.append(f"{node.lineno}: import random")
    return found


def test_no_print_no_assert_no_global_random_state():
    assert {id_of(path): found for path in library_files() if (found := offences(tree_of(path)))} == {}


def test_the_reader_of_offences_sees_them():
    text = "print(1)\nassert x\nnp.random.seed(0)\nrng = np.random.default_rng(0)\nimport random\n"
    assert len(offences(ast.parse(text))) == 4


def sorted_by_class(path: Path, tree: ast.Module) -> set[str]:
    """Classes of sets whose instances a file of another room tells from others."""
    of_sets = {name[-1] for name in imported(path, tree) if name[:2] == ("linpoison", "sets")}
    checks = [node.args[1] for node in walked(tree) if isinstance(node, ast.Call)
              and ast.unparse(node.func) in ("isinstance", "issubclass") and len(node.args) > 1]  # fmt: skip
    return of_sets & {node.id for check in checks for node in ast.walk(check) if isinstance(node, ast.Name)}


def test_sets_are_asked_and_not_sorted_by_class():
    found = {id_of(path): sorted_by_class(path, tree_of(path)) for path in library_files() if room_of(path) != "sets"}
    assert {name: classes for name, classes in found.items() if classes} == {}
    text = "from ..sets import Ball\nfrom .projections import Box\nisinstance(x, Ball | Box)"
    assert sorted_by_class(*parsed(text)) == {"Ball"}


def test_files_are_small():
    lengths = {id_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in [*library_files(), *SCRIPTS]}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


WORD = r"[A-Za-z_]\w*"
MARKS = {"property", "cached_property", "classmethod", "staticmethod", "abstractmethod", "dataclass"}
"""Decorators that hand a definition to nobody."""


def definitions(tree: ast.Module) -> Iterator[Definition]:
    """Public functions, classes and methods that no decorator may have registered."""
    for node in tree.body:
        for item in [node, *(node.body if isinstance(node, ast.ClassDef) else [])]:
            if isinstance(item, Definition) and not item.name.startswith("_"):
                marks = {ast.unparse(mark).partition("(")[0] for mark in item.decorator_list}
                if marks <= MARKS:
                    yield item


def words_outside(path: Path, items: Sequence[Definition]) -> set[str]:
    """Words of a file, but for each definition's name within it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = {}
    for number, line in enumerate(lines, 1):
        for word in re.findall(WORD, line):
            found.setdefault(word, []).append(number)
    own = {item.name: range(item.lineno, (item.end_lineno or 0) + 1) for item in items}
    return {word for word, numbers in found.items() if any(number not in own.get(word, ()) for number in numbers)}


def test_no_public_name_is_used_by_tests_alone():
    defined, used = {}, set()
    for path in library_files():
        items = [*definitions(tree_of(path))]
        defined |= {item.name: f"{id_of(path)}:{item.lineno}" for item in items}
        names = {node.id for node in walked(tree_of(path)) if isinstance(node, ast.Name)}  # not what is exported only
        front = set(re.findall(WORD, ast.get_docstring(tree_of(path)) or ""))  # of a package: its page
        used |= words_outside(path, items) if path.name != "__init__.py" else names | front
    used |= set(importlib.import_module("linpoison").__all__)
    pages = [path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"]
    for room in ("docs", "experiments", "benchmarks"):
        pages += [path for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".md")]
    used |= {word for path in pages for word in words_outside(path, [])}
    assert {name: place for name, place in defined.items() if name not in used} == {}


def listed_packages() -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return set(config["options"]["packages"].split())


def test_the_package_list_is_the_tree():
    packages = {".".join(package_of(path)) for path in library_files()}
    assert listed_packages() == packages
    assert all((ROOT / Path(*name.split(".")) / "__init__.py").is_file() for name in packages)


IMPORTS = """
import importlib, json, os, runpy, sys
modules, scripts = json.load(sys.stdin)
try:
    import deep
    deep.features
    importlib.import_module("deep.cli_run")
except ImportError:
    modules = [name for name in modules if not name.startswith("deep.")]
print("cvxpy" in sys.modules)
for name in modules:
    importlib.import_module(name)
print("modules")
for path in scripts:
    sys.path[0] = os.path.dirname(path)
    runpy.run_path(path, run_name="imported")
print("scripts")
"""


def test_every_module_and_script_can_be_imported_without_running_and_deep_loads_no_cvxpy(tmp_path):
    modules = [".".join(module_of(path)) for path in library_files() if path.name != "__main__.py"]
    assert len(SCRIPTS) >= 3
    outcome = subprocess.run(
        [sys.executable, "-c", IMPORTS], input=json.dumps([modules, [str(path) for path in SCRIPTS]]),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = outcome.stdout.splitlines()
    assert (outcome.returncode, said) == (0, ["False", "modules", "scripts"]), outcome.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_quick_part_has_tests_of_every_room():
    root = Path(__file__).parent
    named = [root.parent / line for line in (root / "quick.txt").read_text(encoding="utf-8").split()]
    assert all(path.is_file() for path in named)
    rooms = {path.parent for path in root.glob("*/test_*.py")}
    assert rooms - {path.parent for path in named} == set()
