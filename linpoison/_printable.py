"""Text that no terminal and no page obeys; on the standard library alone."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` without what a terminal, an editor or a browser obeys instead of showing: control characters but for
    line ends and tabs, changes of direction and other invisible formats, halves of characters.

    Examples
    --------
    >>> printable("a\\x1b[31mb\\u202ec")
    'a\\\\x1b[31mb\\\\u202ec'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _harmless(letter) else letter.encode("unicode_escape").decode() for letter in text)


def _harmless(letter: str) -> bool:
    import unicodedata  # takes a while to load, and plain text needs none of it

    return letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
