"""Public names exist, and their docstrings speak of the parameters that they really have."""

from __future__ import annotations

import inspect
import re
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from test_architecture import ALLOWED

ROOMS = ["linpoison", *(f"linpoison.{room}" for room in ALLOWED if room != "deep")]
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)


def public_names() -> list[tuple[str, str]]:
    return [(room, name) for room in ROOMS for name in import_module(room).__all__]


def value_of(room: str, name: str) -> Any:
    return getattr(import_module(room), name)


def public_callables() -> dict[str, Any]:
    """Public classes and functions, and the public methods that the classes define themselves."""
    found: dict[str, Any] = {}
    for room, name in public_names():
        value = value_of(room, name)
        if not getattr(value, "__module__", "").startswith("linpoison"):
            continue
        if inspect.isfunction(value):
            found[f"{value.__module__}.{name}"] = value
        elif inspect.isclass(value):
            found[f"{value.__module__}.{name}"] = value
            found.update(methods_of(value))
    return found


def methods_of(kind: type) -> dict[str, Any]:
    methods = {name: getattr(kind, name) for name in vars(kind) if not name.startswith("_")}
    return {
        f"{kind.__module__}.{kind.__name__}.{name}": method
        for name, method in methods.items()
        if inspect.isfunction(method) or inspect.ismethod(method)
    }


def documented(docstring: str, section: str = "Parameters") -> list[str]:
    """Names of a numpydoc section, in order."""
    text = inspect.cleandoc(docstring or "")
    heads = list(SECTION.finditer(text))
    for number, head in enumerate(heads):
        if head.group(1) == section:
            end = heads[number + 1].start() if number + 1 < len(heads) else len(text)
            lines = text[head.end() : end].splitlines()
            titles = [line.split(" : ")[0] for line in lines if line and not line.startswith(" ")]
            return [name.strip().lstrip("*") for title in titles for name in title.split(",")]
    return []


def accepted(item: Any) -> list[str]:
    """Names that a call takes, without self."""
    try:
        names = inspect.signature(item).parameters
    except ValueError:
        return []
    return [name for name in names if name not in ("self", "cls")]


def own(item: Any) -> list[str]:
    """What the item's own docstring has to list: of a dataclass the fields that it adds to its base."""
    if not inspect.isclass(item):
        return accepted(item)
    if is_dataclass(item):
        inherited = {name for base in item.__mro__[1:] for name in inspect.get_annotations(base)}
        return [name for name in accepted(item) if name in set(inspect.get_annotations(item)) - inherited]
    return accepted(item) if "__init__" in vars(item) else []


def in_order(item: Any) -> list[str]:
    """Parameters that may be given by position, in the order of the source."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    names = [name for name in accepted(item) if inspect.signature(item).parameters[name].kind is not keyword]
    return [name for name in inspect.get_annotations(item) if name in names] if is_dataclass(item) else names


CALLABLES = public_callables()

ELSEWHERE = {
    "linpoison.reporting.findings.AttackEntry": "docs/files.md",
    "linpoison.reporting.findings.AuditFindings": "docs/files.md",
    "linpoison.reporting.answers.AnswersReport": "docs/files.md",
    "linpoison.reporting.budget.BudgetReport": "docs/files.md",
    "linpoison.reporting.inspect.InspectReport": "docs/files.md",
    "linpoison.reporting.certify.CertifyReport": "docs/files.md",
    "linpoison.reporting.harden.HardenReport": "docs/files.md",
    "linpoison.auditing.hardening.HardenOptions": "linpoison/auditing/hardening.py",
    "linpoison.auditing.certifying.CertifyOptions": "linpoison/auditing/certifying.py",
    "linpoison.auditing.options.AuditOptions": "linpoison/auditing/run.py",
    "linpoison.auditing.options.LearnerOptions": "linpoison/auditing/run.py",
}
"""Pages that list the parameters which a docstring leaves to them."""


def test_all_is_sorted_and_resolves():
    for room in ROOMS:
        names = import_module(room).__all__
        assert names == sorted(names, key=lambda name: (name != name.upper(), not name[:1].isupper(), name)), room
        assert len(set(names)) == len(names), room
        assert all(value_of(room, name) is not None for name in names), room


def test_the_facade_shows_the_objects_of_the_rooms():
    import linpoison

    for name in set(linpoison.__all__) - {"__version__"}:
        value = getattr(linpoison, name)
        room = value.__module__.rsplit(".", 1)[0]
        assert getattr(import_module(room), name) is value
        assert name in import_module(room).__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = linpoison.nothing


def test_every_public_thing_says_what_it_is():
    for name, item in CALLABLES.items():
        assert (inspect.getdoc(item) or "").strip(), name
        assert inspect.getdoc(item).splitlines()[0].strip(), name


def test_documented_parameters_exist():
    for name, item in CALLABLES.items():
        assert set(documented(item.__doc__)) <= set(accepted(item)), name


@pytest.mark.parametrize("name", ["evaluate", "certify"])
def test_options_that_are_taken_by_name_are_listed(name):
    import linpoison
    from linpoison.auditing import LearnerOptions

    text = getattr(linpoison, name).__doc__.partition("**keywords")[2].partition("-------")[0]
    assert set(LearnerOptions.__dataclass_fields__) <= set(re.findall(r"`(\w+)`", text))


def test_documented_parameters_stand_in_the_order_of_the_signature():
    for name, item in CALLABLES.items():
        order = in_order(item)
        named = [key for key in documented(item.__doc__) if key in order]
        assert named == [key for key in order if key in named], name


def test_the_options_of_an_audit_are_told_one_by_one():
    from linpoison.auditing import AuditOptions, audit

    assert sorted(documented(audit.__doc__, "Other Parameters")) == sorted(accepted(AuditOptions))


def test_a_list_of_parameters_is_whole():
    for name, item in CALLABLES.items():
        listed = set(documented(item.__doc__))
        missing = set(own(item)) - listed if listed else set()
        if name in ELSEWHERE:
            page = (Path(__file__).parent.parent / ELSEWHERE[name]).read_text(encoding="utf-8")
            missing -= {word for word in missing if f"`{word}`" in page}
        assert not missing, f"{name} does not document {sorted(missing)}"


def test_three_parameters_or_more_are_listed():
    for name, item in CALLABLES.items():
        method = name != f"{item.__module__}.{item.__name__}"
        if not method and len(own(item)) >= 3 and name not in ELSEWHERE:
            assert documented(item.__doc__), f"{name} lists none of {own(item)}"


def test_annotations_are_whole():
    for name, item in CALLABLES.items():
        if inspect.isfunction(item):
            signature = inspect.signature(item)
            bare = [key for key in accepted(item) if signature.parameters[key].annotation is inspect.Parameter.empty]
            assert not bare, name
            assert signature.return_annotation is not inspect.Signature.empty, name


def test_the_reader_of_docstrings_sees_a_wrong_name():
    def function(first, second):
        """Sum.

        Parameters
        ----------
        first, third : int
            Numbers.

        Returns
        -------
        int
        """

    assert documented(function.__doc__) == ["first", "third"]
    assert documented(function.__doc__, "Returns") == ["int"]
    assert not set(documented(function.__doc__)) <= set(accepted(function))
