"""Pages that follow from the sources: one of the reference for each package, and the glossary."""

from __future__ import annotations

import configparser
import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from linpoison.reporting.glossary import glossary

ROOT = Path(__file__).resolve().parent.parent
TICKED = re.compile(r"(``.*?``|`.*?`)")


def packages() -> list[str]:
    """The packages that setup.cfg lists and that have public names."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return [name for name in config["options"]["packages"].split() if hasattr(import_module(name), "__all__")]


def names_of(package: str) -> list[str]:
    """Its public names but the version, and packages, which have pages of their own."""
    module = import_module(package)
    return [name for name in module.__all__ if name != "__version__" and not inspect.ismodule(getattr(module, name))]


@cache
def homes() -> dict[str, tuple[str, str]]:
    """Where each public object is described, by package and name: in the outermost package below the facade."""
    found: dict[str, tuple[str, str]] = {}
    seen: dict[Any, tuple[str, str]] = {}
    for package in sorted(packages(), key=lambda name: (name == "linpoison", name.count("."))):
        for name in names_of(package):
            value = getattr(import_module(package), name)
            told = inspect.isclass(value) or inspect.isfunction(value)
            key = (id(value), name) if told else (package, name)
            found[f"{package}.{name}"] = seen.setdefault(key, (package, name))
    return found


def write_pages(folder: Path) -> None:
    """One page for each package."""
    folder.mkdir(exist_ok=True)
    for package in packages():
        put(folder / f"{package}.rst", page(package))
    entries = "".join(f"   {package}\n" for package in packages())
    put(folder / "index.rst", f"Reference\n=========\n\n.. toctree::\n   :maxdepth: 1\n\n{entries}")


def page(package: str) -> str:
    """A table of all public names, then those whose home this package is."""
    names = [f"{package}.{name}" for name in names_of(package)]
    title = [package, "=" * len(package), "", f".. automodule:: {package}", "   :no-members:", ""]
    table = [".. list-table::", "   :widths: 30 70", ""]
    for name in names:
        home = ".".join(homes()[name])
        table += [f"   * - :py:obj:`{name.removeprefix(package + '.')} <{home}>`", f"     - {summary(home)}"]
    told = [name for name in names if ".".join(homes()[name]) == name]
    return "\n".join([*title, *table, "", *(entry(name) for name in told)]) + "\n"


def entry(name: str) -> str:
    """The directive that describes one object."""
    value = value_of(name)
    if hasattr(value, "__origin__"):  # an alias of a type, whose signature autodoc cannot read
        return f".. py:data:: {name}\n"
    if inspect.isclass(value):
        return f".. autoclass:: {name}\n   :members:\n   :member-order: bysource\n"
    return f".. auto{'function' if inspect.isfunction(value) else 'data'}:: {name}\n" + (
        "" if inspect.isfunction(value) else "   :no-value:\n"
    )


def summary(name: str) -> str:
    """The first line of a docstring."""
    value = value_of(name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return ""
    return escaped((inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " "))


def value_of(name: str) -> Any:
    package, _, last = name.rpartition(".")
    return getattr(import_module(package), last)


def escaped(line: str) -> str:
    """Bars and stars outside of backticks as they stand: norms and products."""
    parts = TICKED.split(line)
    return "".join(part if part.startswith("`") else re.sub(r"(?<!\\)([|])", r"\\\1", part) for part in parts)


def write_glossary(path: Path) -> None:
    """The glossary, whose text the report carries too."""
    lines = ["# Glossary", "", "```{glossary}"]
    for term, meaning in glossary().items():
        lines += [term, f"  {meaning}", ""]
    put(path, "\n".join([*lines, "```"]) + "\n")


def put(path: Path, text: str) -> None:
    """Write a page if it has changed, so that the others are not read again."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """A name in backticks that is public in one package only leads there."""
    last = node.get("reftarget", "").removesuffix("()")
    places = {".".join(home) for name, home in homes().items() if name == last or name.endswith(f".{last}")}
    if node.get("refdomain") != "py" or len(places) != 1:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", places.pop(), node, content)
