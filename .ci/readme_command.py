"""Print the README's second command: the last shell block of its section "Two commands"."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def commands(text: str) -> list[str]:
    """The shell blocks of the section."""
    section = re.search(r"^## Two commands\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    return [] if section is None else re.findall(r"^```sh\n(.*?)\n```$", section.group(1), re.MULTILINE | re.DOTALL)


def main() -> int:
    """Print it, or fail if the README has not exactly two."""
    found = commands(README.read_text(encoding="utf-8"))
    if len(found) != 2:
        sys.stderr.write(f"expected two shell blocks under 'Two commands' in README.md, got {len(found)}.\n")
        return 1
    sys.stdout.write(found[1] + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
