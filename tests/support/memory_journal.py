"""A journal for tests of attacks that resume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Memory(dict[str, Any]):
    """A journal in a dictionary: keys to copies of the arrays."""

    def put(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Store arrays under a key."""
        self[key] = dict(arrays)
