"""The words of a report, each with one meaning, and links to them. The site shows the same file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from .._printable import printable

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_SHARE = re.compile(r"(?<=\d) %")


@cache
def glossary() -> dict[str, str]:
    """Each term and what it means."""
    text = files(__package__).joinpath("glossary.txt").read_text(encoding="utf-8")
    return dict(line.split(": ", 1) for line in text.splitlines())


def terms_in(lines: Iterable[str]) -> list[tuple[str, str, str]]:
    """Anchor, term and meaning of the terms that occur in some text, in order."""
    found = {_key(match[1]) for line in lines for match in _pattern().finditer(line)}
    return [(anchor(term), term, meaning) for term, meaning in glossary().items() if term in found]


def linked(text: str) -> Any:
    """Text as HTML, escaped, with its terms as links to the section of words."""
    from markupsafe import Markup

    parts = _pattern().split(printable(text))  # what lies between, then the term and its plural, in turn
    out = [held(parts[0])]
    for term, plural, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        link = Markup('<a class="term" href="#{}">{}</a>').format(anchor(_key(term)), term + (plural or ""))
        out += [link, held(rest)]
    return Markup("").join(out)


def held(text: str) -> Any:
    """Text as HTML, escaped, with options and per cents that no line breaks."""
    from markupsafe import Markup, escape

    options = _OPTION.sub(r'<span class="option">\g<0></span>', str(escape(printable(text))))
    return Markup(_SHARE.sub("&nbsp;%", options))


def anchor(term: str) -> str:
    """The name of a term's place in the page."""
    return "term-" + term.replace(" ", "-")


@cache
def _pattern() -> re.Pattern[str]:
    words = "|".join(re.escape(term) for term in sorted(glossary(), key=len, reverse=True))
    return re.compile(rf"(?<!--)\b({words})(s)?\b", re.IGNORECASE)


def _key(found: str) -> str:
    return next(term for term in glossary() if term.lower() == found.lower())
