"""One HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from .._printable import printable
from .cells import percent
from .glossary import held, linked, terms_in
from .material import Figure


def rendered(template: str, **context: Any) -> str:
    """A template of this room with its values; every one that comes from data is escaped."""
    return str(_compiled(template).render(**context))


def plain_page(
    report: Any,
    title: str,
    subtitle: Sequence[str],
    sections: Sequence[tuple[str, Sequence[str]]],
    *,
    figures: Sequence[Figure] = (),
    code: str = "",
) -> str:
    """A page of verdict, figures, tables, code, and lists below headings, with the terms that these use.

    Parameters
    ----------
    report : Report
        The command and the versions, where it has them, stand at the end.
    code : str
        That does what the report advises.
    """
    words = [report.verdict, *(line for _, lines in sections for line in lines)]
    return rendered(
        "plain.html.j2", report=report, title=title, subtitle=[line for line in subtitle if line], sections=sections,
        figures=figures, tables=report.summary(), code=code, terms=terms_in(words),
        command=getattr(report, "command", ""), versions=getattr(report, "versions", {}),
    )  # fmt: skip


@cache
def _compiled(template: str) -> Any:
    """A template, compiled once: for the page of an audit that takes as long as fits of a small one."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("linpoison.reporting", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=harmless,
    )  # fmt: skip
    environment.filters["percent"] = percent
    environment.filters["held"] = held
    environment.filters["linked"] = linked
    return environment.get_template(template)


def harmless(value: Any) -> Any:
    """Text from data without characters that a browser obeys."""
    return printable(value) if type(value) is str else value
