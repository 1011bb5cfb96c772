"""One HTML page that needs no network."""

from __future__ import annotations

from functools import cache
from typing import Any

from .._printable import printable
from .cells import percent
from .glossary import linked


def rendered(template: str, **context: Any) -> str:
    """A template of this room with its values; every one that comes from data is escaped."""
    return str(_compiled(template).render(**context))


@cache
def _compiled(template: str) -> Any:
    """A template, compiled once: for the page of an audit that takes as long as fits of a small one."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("linpoison.reporting", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=harmless,
    )  # fmt: skip
    environment.filters["percent"] = percent
    environment.filters["linked"] = linked
    return environment.get_template(template)


def harmless(value: Any) -> Any:
    """Text from data without characters that a browser obeys."""
    return printable(value) if type(value) is str else value
